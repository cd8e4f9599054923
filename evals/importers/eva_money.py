"""The tools of EVA's airline that cancel, pay back and give vouchers; the second half of `eva_airline`."""

from __future__ import annotations

from typing import Literal

from sayso import tool
from sayso.errors import ToolError
from sayso.evals.importers.eva_airline import (
    CANCELLATION_FEE,
    MEAL_VOUCHERS,
    MOST_NIGHTS,
    add_baggage_allowance,
    add_meal_request,
    add_to_standby,
    assign_seat,
    booking_of,
    get_disruption_info,
    get_flight_status,
    get_reservation,
    rebook_flight,
    reservation_of,
    search_rebooking_options,
    taken,
)
from sayso.evals.world import World, world_of
from sayso.items import JsonObject
from sayso.tools.context import Context


@tool(effect="write", thread=False)
def cancel_reservation(
    ctx: Context,
    confirmation_number: str,
    journey_id: str,
    cancellation_reason: Literal[
        "voluntary", "irrops_refund", "24_hour_rule", "schedule_unacceptable", "medical", "bereavement"
    ],
) -> JsonObject:
    """Cancel one booking of a reservation.

    Args:
        ctx: Leads to the world.
        confirmation_number: The reservation's code.
        journey_id: The booking, from get_reservation.
        cancellation_reason: Why.
    """
    world = world_of(ctx)
    reservation = reservation_of(world, confirmation_number)
    booking = booking_of(reservation, journey_id)
    if booking["status"] == "cancelled":
        raise ToolError(f"{journey_id} is cancelled already.")
    booking["status"] = "cancelled"
    taken(world["journeys"].get(journey_id), booking["fare_class"], -1)
    if all(one["status"] == "cancelled" for one in reservation["bookings"]):
        reservation["status"] = "cancelled"
    back = cancellation_reason in ("irrops_refund", "24_hour_rule") or reservation.get("fare_type") == "refundable"
    paid: float = booking["fare_paid"]
    credit = max(0, paid - CANCELLATION_FEE)
    return {
        "is_refundable": back,
        "cancellation_fee": 0 if back else CANCELLATION_FEE,
        "refund_amount_eligible": paid if back else 0,
        "credit_amount_eligible": 0 if back else credit,
    }


@tool(effect="write", thread=False)
def process_refund(
    ctx: Context,
    confirmation_number: str,
    refund_amount: float,
    refund_type: Literal["full_fare", "partial_fare", "taxes_only", "ancillary_fees"],
) -> JsonObject:
    """Pay money back after a cancellation; fare and ancillary fees in calls of their own.

    Args:
        ctx: Leads to the world.
        confirmation_number: The reservation's code.
        refund_amount: In dollars, as cancel_reservation told.
        refund_type: What is paid back.
    """
    world = world_of(ctx)
    reservation_of(world, confirmation_number)
    if refund_amount <= 0:
        raise ToolError("The amount has to be above 0.")
    code = f"REF-{confirmation_number.upper()}-{len(world.get('refunds', {})) + 1:03}"
    about = {"refund_amount": refund_amount, "refund_type": refund_type, "processing_days": 7}
    more = {"initiated_date": world["_current_date"], "status": "processing"}
    return _kept(world, "refunds", "refund_id", code, confirmation_number, about | more)


@tool(effect="write", thread=False)
def issue_travel_credit(
    ctx: Context,
    confirmation_number: str,
    passenger_id: str,
    amount: float,
    credit_reason: Literal[
        "cancellation_non_refundable",
        "fare_difference_negative",
        "service_recovery",
        "goodwill",
        "downgrade_compensation",
    ],
) -> JsonObject:
    """Give a passenger a travel credit.

    Args:
        ctx: Leads to the world.
        confirmation_number: The reservation's code.
        passenger_id: Such as 'PAX001'.
        amount: In dollars.
        credit_reason: Why.
    """
    world = world_of(ctx)
    reservation_of(world, confirmation_number)
    today: str = world["_current_date"]
    code = f"TC{confirmation_number.upper()}{passenger_id[:3].upper()}"
    about = {"passenger_id": passenger_id, "amount": amount, "credit_reason": credit_reason, "issued_date": today}
    more = {"expiry_date": f"{int(today[:4]) + 1}{today[4:]}", "status": "active"}
    return _kept(world, "travel_credits", "credit_code", code, confirmation_number, about | more)


@tool(effect="write", thread=False)
def issue_hotel_voucher(ctx: Context, confirmation_number: str, passenger_id: str, num_nights: int) -> JsonObject:
    """Give a passenger a voucher for a hotel.

    Args:
        ctx: Leads to the world.
        confirmation_number: The reservation's code.
        passenger_id: Such as 'PAX001'.
        num_nights: Three at most.
    """
    world = world_of(ctx)
    reservation_of(world, confirmation_number)
    if num_nights > MOST_NIGHTS:
        raise ToolError(f"At most {MOST_NIGHTS} nights can be given.")
    code = f"HOTEL-{confirmation_number.upper()}"
    about = {"passenger_id": passenger_id, "num_nights": num_nights}
    more = {"issued_date": world["_current_date"], "status": "active"}
    return _kept(world, "hotel_vouchers", "voucher_code", code, confirmation_number, about | more)


@tool(effect="write", thread=False)
def issue_meal_voucher(
    ctx: Context,
    confirmation_number: str,
    passenger_id: str,
    voucher_reason: Literal[
        "delay_over_2_hours", "delay_over_4_hours", "cancellation_wait_same_day", "irrops_overnight"
    ],
) -> JsonObject:
    """Give a passenger a voucher for a meal.

    Args:
        ctx: Leads to the world.
        confirmation_number: The reservation's code.
        passenger_id: Such as 'PAX001'.
        voucher_reason: Why.
    """
    world = world_of(ctx)
    reservation_of(world, confirmation_number)
    code = f"MEAL-{confirmation_number.upper()}-{passenger_id[:4].upper()}"
    about = {"passenger_id": passenger_id, "amount": MEAL_VOUCHERS[voucher_reason], "voucher_reason": voucher_reason}
    more = {"issued_date": world["_current_date"], "status": "active"}
    return _kept(world, "meal_vouchers", "voucher_code", code, confirmation_number, about | more)


@tool(effect="read", thread=False)
def transfer_to_agent(ctx: Context, confirmation_number: str, transfer_reason: str, issue_summary: str) -> str:
    """Transfer the call to a live agent, when the passenger asks for one and agreed to wait.

    Args:
        ctx: Leads to the world.
        confirmation_number: The reservation's code.
        transfer_reason: Why, in a word.
        issue_summary: What it is about, and what was tried.
    """
    reservation_of(world_of(ctx), confirmation_number)
    return "Transferring to a live agent; the wait is two to three minutes."


def _kept(world: World, table: str, key: str, code: str, reservation: str, about: JsonObject) -> JsonObject:
    """A new row of a table, which may be the first."""
    made: JsonObject = {key: code, "confirmation_number": reservation.upper(), **about}
    world[table] = {**world.get(table, {}), code: made}
    return made


TOOLS = [
    get_reservation,
    get_flight_status,
    get_disruption_info,
    search_rebooking_options,
    rebook_flight,
    add_to_standby,
    assign_seat,
    add_baggage_allowance,
    add_meal_request,
    issue_travel_credit,
    issue_hotel_voucher,
    issue_meal_voucher,
    cancel_reservation,
    process_refund,
    transfer_to_agent,
]
