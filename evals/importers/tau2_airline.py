"""The tools of tau2-bench's airline over a `World` with flights, users and reservations; written for sayso.

What a call leaves in the world follows the original's rules (prices, payments, refunds, ids); its words do not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal, TypeAlias

from typing_extensions import TypedDict

from sayso import tool
from sayso.errors import ToolError
from sayso.evals.comparators import value_of
from sayso.evals.world import World, world_of
from sayso.items import JsonObject
from sayso.tools.context import Context

Cabin: TypeAlias = Literal["basic_economy", "economy", "business"]

NOW: Final = "2024-05-15T15:00:00"
"""When all of the set's conversations take place."""
INSURANCE: Final = 30
BAG: Final = 50
NEW_RESERVATIONS: Final = ("HATHAT", "HATHAU", "HATHAV")
NEW_CERTIFICATES: Final = ("certificate_3221322", "certificate_3221323", "certificate_3221324")


class Leg(TypedDict):
    """A flight that is booked."""

    flight_number: str
    date: str


class Passenger(TypedDict):
    """Who flies; dob as YYYY-MM-DD."""

    first_name: str
    last_name: str
    dob: str


class Payment(TypedDict):
    """What is paid with which of the user's methods."""

    payment_id: str
    amount: float


@tool(effect="read", thread=False)
def get_user_details(ctx: Context, user_id: str) -> JsonObject:
    """Get the details of a user, including their reservations.

    Args:
        ctx: Leads to the world.
        user_id: Such as 'sara_doe_496'.
    """
    return world_of(ctx).row("users", user_id)


@tool(effect="read", thread=False)
def get_reservation_details(ctx: Context, reservation_id: str) -> JsonObject:
    """Get the details of a reservation.

    Args:
        ctx: Leads to the world.
        reservation_id: Such as '8JX2WO'.
    """
    return world_of(ctx).row("reservations", reservation_id)


@tool(effect="read", thread=False)
def list_all_airports(ctx: Context) -> list[str]:
    """List the codes of all airports."""
    return sorted({flight["origin"] for flight in world_of(ctx).rows("flights")})


@tool(effect="read", thread=False)
def get_flight_status(ctx: Context, flight_number: str, date: str) -> str:
    """Get the status of a flight.

    Args:
        ctx: Leads to the world.
        flight_number: Such as 'HAT001'.
        date: As YYYY-MM-DD.
    """
    return _day(world_of(ctx), flight_number, date)["status"]


@tool(effect="read", thread=False)
def search_direct_flight(ctx: Context, origin: str, destination: str, date: str) -> list[JsonObject]:
    """Search for direct flights between two airports on a day.

    Args:
        ctx: Leads to the world.
        origin: Three letters, such as 'JFK'.
        destination: Three letters, such as 'LAX'.
        date: As YYYY-MM-DD.
    """
    return _direct(world_of(ctx), date, origin, destination)


@tool(effect="read", thread=False)
def search_onestop_flight(ctx: Context, origin: str, destination: str, date: str) -> list[list[JsonObject]]:
    """Search for flights with one stop between two airports on a day.

    Args:
        ctx: Leads to the world.
        origin: Three letters, such as 'JFK'.
        destination: Three letters, such as 'LAX'.
        date: As YYYY-MM-DD.
    """
    world = world_of(ctx)
    found: list[list[JsonObject]] = []
    for first in _direct(world, date, origin, None):
        arrival = first["scheduled_arrival_time_est"]
        day = _next_day(date) if arrival.endswith("+1") else date
        for second in _direct(world, day, first["destination"], destination):
            if second["scheduled_departure_time_est"] >= arrival.removesuffix("+1"):
                found.append([first | {"date": date}, second | {"date": day}])
    return found


@tool(effect="pure", thread=False)
def calculate(expression: str) -> str:
    """Calculate the result of an expression.

    Args:
        expression: Numbers, + - * /, parentheses and spaces, such as '2 * (350 - 122)'.
    """
    value = value_of(expression) if re.fullmatch(r"[\d+\-*/(). ]+", expression) else None
    if value is None:
        raise ToolError("Give an expression of numbers, + - * / and parentheses.")
    return str(round(value, 2))


@tool(effect="pure", thread=False)
def transfer_to_human_agents(summary: str) -> str:
    """Transfer the user to a human agent: where they ask for one, or the policy and the tools cannot solve the issue.

    Args:
        summary: The user's issue.
    """
    return "Transfer successful"


@tool(effect="write", thread=False)
def book_reservation(
    ctx: Context,
    user_id: str,
    origin: str,
    destination: str,
    flight_type: Literal["one_way", "round_trip"],
    cabin: Cabin,
    flights: list[Leg],
    passengers: list[Passenger],
    payment_methods: list[Payment],
    total_baggages: int,
    nonfree_baggages: int,
    insurance: Literal["yes", "no"],
) -> JsonObject:
    """Book a reservation.

    Args:
        ctx: Leads to the world.
        user_id: Such as 'sara_doe_496'.
        origin: Three letters, such as 'SFO'.
        destination: Three letters, such as 'JFK'.
        flight_type: One way or round trip.
        cabin: The class.
        flights: Each flight.
        passengers: Each passenger.
        payment_methods: What is paid how; the sum has to be the price.
        total_baggages: Bags.
        nonfree_baggages: Bags that are paid for.
        insurance: Whether there is one.
    """
    world = world_of(ctx)
    user = world.row("users", user_id)
    legs = [_leg(world, one, cabin, len(passengers)) for one in flights]
    extras = INSURANCE * len(passengers) * (insurance == "yes") + BAG * nonfree_baggages
    price = sum(leg["price"] for leg in legs) * len(passengers) + extras
    for payment in payment_methods:
        _affordable(user, payment["payment_id"], payment["amount"])
    if (paid := sum(payment["amount"] for payment in payment_methods)) != price:
        raise ToolError(f"The price is {price}, the payments come to {paid}.")
    for payment in payment_methods:
        _pay(user, payment["payment_id"], payment["amount"])
    number = next((one for one in NEW_RESERVATIONS if one not in world["reservations"]), None)
    if number is None:
        raise ToolError("There are too many new reservations.")
    made: JsonObject = {
        "reservation_id": number,
        "user_id": user_id,
        "origin": origin,
        "destination": destination,
        "flight_type": flight_type,
        "cabin": cabin,
        "flights": legs,
        "passengers": [dict(one) for one in passengers],
        "payment_history": [dict(one) for one in payment_methods],
        "created_at": NOW,
        "total_baggages": total_baggages,
        "nonfree_baggages": nonfree_baggages,
        "insurance": insurance,
    }
    world["reservations"][number] = made
    user["reservations"].append(number)
    return made


@tool(effect="write", thread=False)
def cancel_reservation(ctx: Context, reservation_id: str) -> JsonObject:
    """Cancel the whole reservation.

    Args:
        ctx: Leads to the world.
        reservation_id: Such as 'ZFA04Y'.
    """
    reservation = world_of(ctx).row("reservations", reservation_id)
    paid = reservation["payment_history"]
    paid += [{"payment_id": one["payment_id"], "amount": -one["amount"]} for one in paid]
    reservation["status"] = "cancelled"
    return reservation


@tool(effect="write", thread=False)
def update_reservation_baggages(
    ctx: Context, reservation_id: str, total_baggages: int, nonfree_baggages: int, payment_id: str
) -> JsonObject:
    """Update the bags of a reservation.

    Args:
        ctx: Leads to the world.
        reservation_id: Such as 'ZFA04Y'.
        total_baggages: All bags after the update.
        nonfree_baggages: Those of them that are paid for.
        payment_id: One of the user's methods, such as 'credit_card_7815826'.
    """
    world = world_of(ctx)
    reservation = world.row("reservations", reservation_id)
    price = BAG * max(0, nonfree_baggages - reservation["nonfree_baggages"])
    _charge(world, reservation, payment_id, price)
    reservation.update(total_baggages=total_baggages, nonfree_baggages=nonfree_baggages)
    return reservation


@tool(effect="write", thread=False)
def update_reservation_flights(
    ctx: Context, reservation_id: str, cabin: Cabin, flights: list[Leg], payment_id: str
) -> JsonObject:
    """Update the flights of a reservation.

    Args:
        ctx: Leads to the world.
        reservation_id: Such as 'ZFA04Y'.
        cabin: The class of the whole reservation.
        flights: All flights of the new reservation, those that stay as well.
        payment_id: One of the user's methods, such as 'credit_card_7815826'.
    """
    world = world_of(ctx)
    reservation = world.row("reservations", reservation_id)
    count = len(reservation["passengers"])
    legs = [_kept(reservation, one, cabin) or _leg(world, one, cabin, count) for one in flights]
    price = (sum(leg["price"] for leg in legs) - sum(leg["price"] for leg in reservation["flights"])) * count
    _charge(world, reservation, payment_id, price)
    reservation.update(flights=legs, cabin=cabin)
    return reservation


@tool(effect="write", thread=False)
def update_reservation_passengers(ctx: Context, reservation_id: str, passengers: list[Passenger]) -> JsonObject:
    """Update the passengers of a reservation; their number stays.

    Args:
        ctx: Leads to the world.
        reservation_id: Such as 'ZFA04Y'.
        passengers: All of them.
    """
    reservation = world_of(ctx).row("reservations", reservation_id)
    if len(passengers) != len(reservation["passengers"]):
        raise ToolError("The number of passengers has to stay as it is.")
    reservation["passengers"] = [dict(one) for one in passengers]
    return reservation


@tool(effect="write", thread=False)
def send_certificate(ctx: Context, user_id: str, amount: int) -> str:
    """Send a certificate to a user. Be careful!

    Args:
        ctx: Leads to the world.
        user_id: Such as 'sara_doe_496'.
        amount: In dollars.
    """
    methods = world_of(ctx).row("users", user_id)["payment_methods"]
    number = next((one for one in NEW_CERTIFICATES if one not in methods), None)
    if number is None:
        raise ToolError("There are too many certificates.")
    methods[number] = {"source": "certificate", "id": number, "amount": amount}
    return f"Certificate {number} of {amount} dollars was sent to {user_id}."


def _day(world: World, flight_number: str, date: str) -> JsonObject:
    days: JsonObject = world.row("flights", flight_number)["dates"]
    if date not in days:
        raise ToolError(f"Flight {flight_number} does not fly on {date}.")
    return days[date]


def _direct(world: World, date: str, origin: str, destination: str | None) -> list[JsonObject]:
    found: list[JsonObject] = []
    for flight in world.rows("flights", origin=origin):
        day = flight["dates"].get(date)
        if destination not in (None, flight["destination"]) or day is None or day["status"] != "available":
            continue
        about = {key: value for key, value in flight.items() if key != "dates"}
        found.append(about | {key: day[key] for key in ("status", "available_seats", "prices")})
    return found


def _next_day(date: str) -> str:
    return datetime.fromordinal(datetime.fromisoformat(date).toordinal() + 1).date().isoformat()


def _leg(world: World, wanted: Leg, cabin: str, count: int) -> JsonObject:
    number, date = wanted["flight_number"], wanted["date"]
    flight, day = world.row("flights", number), _day(world, number, date)
    if day["status"] != "available":
        raise ToolError(f"Flight {number} is not available on {date}.")
    if day["available_seats"][cabin] < count:
        raise ToolError(f"Flight {number} has not enough seats on {date}.")
    about = {"origin": flight["origin"], "destination": flight["destination"]}
    return {**about, "flight_number": number, "date": date, "price": day["prices"][cabin]}


def _kept(reservation: JsonObject, wanted: Leg, cabin: str) -> JsonObject | None:
    """A flight that the reservation has already: it keeps its price."""
    legs: Sequence[JsonObject] = reservation["flights"] if reservation["cabin"] == cabin else ()
    same = ("flight_number", "date")
    return next((dict(leg) for leg in legs if all(leg[key] == wanted[key] for key in same)), None)


def _method(user: JsonObject, payment_id: str) -> JsonObject:
    if payment_id not in user["payment_methods"]:
        raise ToolError(f"The user has no payment method {payment_id}.")
    return user["payment_methods"][payment_id]


def _affordable(user: JsonObject, payment_id: str, amount: float) -> None:
    method = _method(user, payment_id)
    if method["source"] in ("gift_card", "certificate") and method["amount"] < amount:
        raise ToolError(f"There is not enough balance on {payment_id}.")


def _pay(user: JsonObject, payment_id: str, amount: float) -> None:
    """A gift card loses what is paid, a certificate is used up."""
    method = _method(user, payment_id)
    if method["source"] == "gift_card":
        method["amount"] -= amount
    elif method["source"] == "certificate":
        del user["payment_methods"][payment_id]


def _charge(world: World, reservation: JsonObject, payment_id: str, price: float) -> None:
    """Pay for a change, or get money back for it."""
    user = world.row("users", reservation["user_id"])
    if _method(user, payment_id)["source"] == "certificate":
        raise ToolError("A certificate cannot pay for a change.")
    _affordable(user, payment_id, price)
    if price == 0:
        return
    _pay(user, payment_id, price)
    reservation["payment_history"].append({"payment_id": payment_id, "amount": price})


TOOLS = [
    book_reservation,
    calculate,
    cancel_reservation,
    get_reservation_details,
    get_user_details,
    list_all_airports,
    search_direct_flight,
    search_onestop_flight,
    send_certificate,
    transfer_to_human_agents,
    update_reservation_baggages,
    update_reservation_flights,
    update_reservation_passengers,
    get_flight_status,
]
