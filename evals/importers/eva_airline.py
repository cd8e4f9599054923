"""The tools of EVA's airline over a `World` with reservations, journeys and vouchers; written for sayso.

What a call leaves in the world follows the original's rules (fees aside: these are only told); its words do not.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

from sayso import tool
from sayso.errors import ToolError
from sayso.evals.world import World, world_of
from sayso.items import JsonObject
from sayso.tools.context import Context

Fare: TypeAlias = Literal["basic_economy", "main_cabin", "premium_economy", "business", "first"]
Rebooking: TypeAlias = Literal[
    "voluntary",
    "same_day",
    "irrops_cancellation",
    "irrops_delay",
    "irrops_schedule_change",
    "missed_flight_passenger_fault",
    "missed_connection_airline_fault",
]
SeatType: TypeAlias = Literal["window", "aisle", "middle", "no_preference"]
FARES: Final = ("basic_economy", "main_cabin", "premium_economy", "business", "first")
FIRST_ROW: Final = {"basic_economy": 25, "main_cabin": 20, "premium_economy": 10, "business": 5, "first": 1}
SEAT_LETTER: Final = {"window": "A", "aisle": "C", "middle": "B", "no_preference": "C"}
MEAL_VOUCHERS: Final = {
    "delay_over_2_hours": 12,
    "delay_over_4_hours": 15,
    "cancellation_wait_same_day": 15,
    "irrops_overnight": 25,
}
CHANGE_FEE: Final = 75
SAME_DAY_BASIC_FEE: Final = 199
CANCELLATION_FEE: Final = 100
MOST_NIGHTS: Final = 3
MOST_BAGS: Final = 5
_SHOWN: Final = ("origin", "destination", "scheduled_departure", "scheduled_arrival")


@tool(effect="read", thread=False)
def get_reservation(ctx: Context, confirmation_number: str, last_name: str) -> JsonObject:
    """Find a reservation by its code and the passenger's last name: the first thing in every call.

    Args:
        ctx: Leads to the world.
        confirmation_number: Six letters and digits.
        last_name: The passenger's.
    """
    world = world_of(ctx)
    reservation = reservation_of(world, confirmation_number)
    if not any(one["last_name"].lower() == last_name.lower() for one in reservation["passengers"]):
        raise ToolError(f"The last name does not fit reservation {confirmation_number.upper()}.")
    shown: JsonObject = copy.deepcopy(reservation)
    for booking in shown["bookings"]:
        journey = world["journeys"].get(booking["journey_id"], {"segments": []})
        flights = {one["flight_number"]: one for one in journey["segments"]}
        for segment in booking["segments"]:
            flight = flights.get(segment["flight_number"], {})
            segment.update({key: flight[key] for key in _SHOWN if key in flight})
    shown["bookings"].sort(key=_when)
    return shown


@tool(effect="read", thread=False)
def get_flight_status(ctx: Context, flight_number: str, flight_date: str) -> JsonObject:
    """Find out about a flight: airports, times, delay, cancellation, gate.

    Args:
        ctx: Leads to the world.
        flight_number: Such as SK123; of a connection any of its flights.
        flight_date: As YYYY-MM-DD.
    """
    for journey in world_of(ctx).rows("journeys", date=flight_date):
        if any(one["flight_number"].upper() == flight_number.upper() for one in journey["segments"]):
            return journey
    raise ToolError(f"There is no flight {flight_number} on {flight_date}.")


@tool(effect="read", thread=False)
def get_disruption_info(ctx: Context, flight_number: str, date: str) -> JsonObject:
    """Find out why a flight is disrupted, and to what its passengers are entitled.

    Args:
        ctx: Leads to the world.
        flight_number: Such as SK123.
        date: As YYYY-MM-DD.
    """
    found = world_of(ctx).get("disruptions", {}).get(f"{flight_number.upper()}_{date}")
    if found is None:
        raise ToolError(f"No disruption of flight {flight_number} is known.")
    return found


@tool(effect="read", thread=False)
def search_rebooking_options(
    ctx: Context,
    origin: str,
    destination: str,
    date: str,
    passenger_count: int,
    fare_class: Literal["basic_economy", "main_cabin", "premium_economy", "business", "first", "any"],
) -> list[JsonObject]:
    """Search for flights to which passengers can be rebooked.

    Args:
        ctx: Leads to the world.
        origin: Airport's code, such as JFK.
        destination: Airport's code, such as LAX.
        date: As YYYY-MM-DD.
        passenger_count: How many seats are needed.
        fare_class: The class; 'any' for the cheapest.
    """
    found: list[JsonObject] = []
    for journey in world_of(ctx).rows("journeys", origin=origin.upper(), destination=destination.upper(), date=date):
        seats = _seats(journey)
        wanted = [one for one in FARES if fare_class in (one, "any") and seats.get(one, 0) >= passenger_count]
        if journey["status"] not in ("scheduled", "on_time", "delayed") or not journey.get("bookable") or not wanted:
            continue
        prices = [fare for one in wanted if (fare := journey.get("fares", {}).get(one)) is not None]
        legs: list[JsonObject] = journey["segments"]
        about = {key: journey[key] for key in ("journey_id", "origin", "destination", "num_stops") if key in journey}
        times = {"departure_time": legs[0]["scheduled_departure"], "arrival_time": legs[-1]["scheduled_arrival"]}
        more = {"segments": legs, "available_seats": seats, "fare": min(prices, default=None)}
        found.append(about | times | more)
    return sorted(found, key=lambda one: one["departure_time"])


@tool(effect="write", thread=False)
def rebook_flight(
    ctx: Context,
    confirmation_number: str,
    journey_id: str,
    new_journey_id: str,
    rebooking_type: Rebooking,
    waive_change_fee: bool,
    new_fare_class: Fare | None = None,
    flight_number: str | None = None,
) -> JsonObject:
    """Rebook to another flight, by wish or because of a disruption.

    Args:
        ctx: Leads to the world.
        confirmation_number: The reservation's code.
        journey_id: The booking that is changed, from get_reservation.
        new_journey_id: The new flight, from search_rebooking_options.
        rebooking_type: Why.
        waive_change_fee: Whether the fee is waived.
        new_fare_class: Another class; leave out to keep it.
        flight_number: Of a connection, the only flight that is replaced.
    """
    world = world_of(ctx)
    reservation = reservation_of(world, confirmation_number)
    booking = booking_of(reservation, journey_id)
    journey: JsonObject = world.row("journeys", new_journey_id)
    old_fare_class: str = booking["fare_class"]
    fare_class: str = new_fare_class or old_fare_class
    price = journey.get("fares", {}).get(fare_class)
    if not journey.get("bookable", True) or price is None or _seats(journey).get(fare_class, 0) <= 0:
        raise ToolError(f"{new_journey_id} cannot be booked in {fare_class}.")
    replaced = _segments(booking, flight_number) if flight_number else booking["segments"]
    kept: list[JsonObject] = [one for one in booking["segments"] if flight_number and one not in replaced]
    paid = sum(one["fare_paid"] for one in replaced) if flight_number else booking["fare_paid"]
    disrupted = "irrops" in rebooking_type
    booking["status"] = "cancelled"
    reservation["bookings"].append(
        {
            "journey_id": new_journey_id,
            "fare_class": fare_class,
            "fare_paid": paid if disrupted else price,
            "status": "confirmed",
            "segments": [
                {
                    "flight_number": flight["flight_number"],
                    "date": journey["date"],
                    "fare_paid": _segment_fare(flight, fare_class, replaced[at : at + 1] if disrupted else ()),
                    "seat": None,
                    "bags_checked": 0,
                    "meal_request": None,
                }
                for at, flight in enumerate(journey["segments"])
            ],
        }
    )
    if kept:
        rest_paid = sum(one["fare_paid"] for one in kept)
        rest = {"journey_id": journey_id, "fare_class": old_fare_class, "fare_paid": rest_paid}
        reservation["bookings"].append(rest | {"status": "confirmed", "segments": copy.deepcopy(kept)})
    reservation["status"] = "changed"
    taken(journey, fare_class, 1)
    taken(world["journeys"].get(journey_id), old_fare_class, -1)
    fee = 0 if disrupted or waive_change_fee else _fee(rebooking_type, old_fare_class)
    difference = price - paid
    collected = 0 if disrupted else fee + max(0, difference)
    cost = {"change_fee": fee, "fare_difference": difference, "credit_due": max(0, -difference)}
    return cost | {"total_collected": collected, "journey_id": new_journey_id, "fare_class": fare_class}


@tool(effect="write", thread=False)
def add_to_standby(ctx: Context, confirmation_number: str, journey_id: str, passenger_ids: list[str]) -> JsonObject:
    """Put passengers on the standby list of a flight.

    Args:
        ctx: Leads to the world.
        confirmation_number: The reservation's code.
        journey_id: The flight.
        passenger_ids: Such as ['PAX002'].
    """
    world = world_of(ctx)
    journey: JsonObject = world.row("journeys", journey_id)
    reservation = reservation_of(world, confirmation_number)
    known = {one["passenger_id"] for one in reservation["passengers"]}
    if journey.get("status") == "cancelled" or not known.issuperset(passenger_ids):
        raise ToolError("The flight is cancelled, or a passenger is none of this reservation.")
    queue: list[JsonObject] = journey.setdefault("standby_list", [])
    position = len(queue) + len(passenger_ids)
    entry = {"journey_id": journey_id, "passenger_ids": passenger_ids, "position": position, "status": "pending"}
    reservation.setdefault("standby_list", []).append(entry)
    for passenger in passenger_ids:
        number = confirmation_number.upper()
        queue.append({"confirmation_number": number, "passenger_id": passenger, "position": len(queue) + 1})
    return {"journey_id": journey_id, "position": position}


@tool(effect="write", thread=False)
def assign_seat(
    ctx: Context,
    confirmation_number: str,
    passenger_id: str,
    journey_id: str,
    seat_preference: SeatType,
    flight_number: str | None = None,
) -> str:
    """Give a passenger a seat.

    Args:
        ctx: Leads to the world.
        confirmation_number: The reservation's code.
        passenger_id: Such as 'PAX001'.
        journey_id: From get_reservation.
        seat_preference: Window, aisle, middle, or none.
        flight_number: Of a connection, the flight.
    """
    world = world_of(ctx)
    booking = booking_of(reservation_of(world, confirmation_number), journey_id)
    (segment,) = _segments(booking, flight_number)
    fare_class: str = booking["fare_class"]
    flights: list[JsonObject] = world["journeys"].get(journey_id, {"segments": []})["segments"]
    flight = next((one for one in flights if one["flight_number"] == segment["flight_number"]), None)
    if flight is not None:
        free: dict[str, list[str]] = flight.get("available_seat_types") or {}
        kinds = free.get(fare_class, [*SEAT_LETTER])
        if seat_preference != "no_preference" and seat_preference not in kinds:
            raise ToolError(f"There is no {seat_preference} seat in {fare_class}.")
        if flight["available_seats"].get(fare_class, 0) <= 0:
            raise ToolError(f"There are no seats in {fare_class}.")
    row = FIRST_ROW[fare_class] + int("".join(filter(str.isdigit, passenger_id[-3:])) or 0)
    segment["seat"] = f"{row}{SEAT_LETTER[seat_preference]}"
    return segment["seat"]


@tool(effect="write", thread=False)
def add_baggage_allowance(
    ctx: Context, confirmation_number: str, journey_id: str, num_bags: int, flight_number: str | None = None
) -> str:
    """Set how many bags are checked.

    Args:
        ctx: Leads to the world.
        confirmation_number: The reservation's code.
        journey_id: From get_reservation.
        num_bags: From 0 to 5.
        flight_number: Of a connection, the only flight that it is for.
    """
    booking = booking_of(reservation_of(world_of(ctx), confirmation_number), journey_id)
    if not 0 <= num_bags <= MOST_BAGS:
        raise ToolError(f"From 0 to {MOST_BAGS} bags can be checked.")
    for segment in _segments(booking, flight_number) if flight_number else booking["segments"]:
        segment["bags_checked"] = num_bags
    return f"{num_bags} bags"


@tool(effect="write", thread=False)
def add_meal_request(
    ctx: Context,
    confirmation_number: str,
    passenger_id: str,
    journey_id: str,
    meal_type: Literal[
        "vegetarian",
        "vegan",
        "kosher",
        "halal",
        "gluten_free",
        "diabetic",
        "low_sodium",
        "child",
        "hindu",
        "standard",
        "none",
    ],
    flight_number: str | None = None,
) -> str:
    """Set a passenger's meal.

    Args:
        ctx: Leads to the world.
        confirmation_number: The reservation's code.
        passenger_id: Such as 'PAX001'.
        journey_id: From get_reservation.
        meal_type: The meal.
        flight_number: Of a connection, the only flight that it is for.
    """
    booking = booking_of(reservation_of(world_of(ctx), confirmation_number), journey_id)
    for segment in _segments(booking, flight_number) if flight_number else booking["segments"]:
        segment["meal_request"] = meal_type
    return meal_type


def reservation_of(world: World, code: str) -> JsonObject:
    """A reservation by its code."""
    return world.row("reservations", code.upper())


def booking_of(reservation: JsonObject, journey_id: str) -> JsonObject:
    """The booking of a journey: one that holds before one that was cancelled."""
    found = [one for one in reservation["bookings"] if one["journey_id"] == journey_id]
    if not found:
        raise ToolError(f"{journey_id} is not in this reservation.")
    return next((one for one in found if one["status"] != "cancelled"), found[0])


def _segments(booking: JsonObject, flight_number: str | None) -> list[JsonObject]:
    segments: list[JsonObject] = booking["segments"]
    if flight_number:
        segments = [one for one in segments if one["flight_number"] == flight_number]
    if len(segments) != 1:
        raise ToolError("Name one flight of the journey by its flight_number.")
    return segments


def _when(booking: JsonObject) -> tuple[str, str]:
    return booking["segments"][0]["date"] if booking["segments"] else "", booking["journey_id"]


def _seats(journey: JsonObject) -> dict[str, int]:
    """Free seats by class: of a connection those of its fullest flight."""
    tables: list[dict[str, int]] = [one.get("available_seats", {}) for one in journey["segments"]]
    return {fare: min(table.get(fare, 0) for table in tables) for fare in FARES} if tables else {}


def _segment_fare(flight: JsonObject, fare_class: str, old: Sequence[JsonObject]) -> float:
    """What a flight costs; in a disruption what was paid for the one that it replaces."""
    return old[0]["fare_paid"] if old else flight.get("fares", {}).get(fare_class, 0)


def taken(journey: JsonObject | None, fare_class: str, seats: int) -> None:
    """So many seats fewer on each flight of a journey."""
    for segment in journey["segments"] if journey is not None else ():
        table = segment.setdefault("available_seats", {})
        table[fare_class] = table.get(fare_class, 0) - seats


def _fee(rebooking_type: str, fare_class: str) -> int:
    if rebooking_type == "same_day":
        return SAME_DAY_BASIC_FEE if fare_class == "basic_economy" else CHANGE_FEE
    return 0 if fare_class in ("business", "first") else CHANGE_FEE
