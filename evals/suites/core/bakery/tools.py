"""The tools of the bakery."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from pydantic import Field

from sayso import Context, tool
from sayso.errors import ToolError
from sayso.evals.world import world_of

Row = dict[str, Any]
Quantity = Annotated[int, Field(ge=1, le=1000)]


@tool(effect="read", filler="Let me look.")
def find_products(ctx: Context, name: str = "") -> list[Row]:
    """Products with price in dollars and what is in stock. Use it for every question about what there is.

    Args:
        ctx: The session.
        name: A part of the product's name, in English or Chinese; left out: all.
    """
    return [
        {"id": key, **row}
        for key, row in world_of(ctx)["products"].items()
        if name.casefold() in row["name"] or name in row["name_zh"]
    ]


@tool(effect="read")
def find_order(ctx: Context, order: str) -> Row:
    """An order by its code.

    Args:
        ctx: The session.
        order: The code, such as BR40.
    """
    return {"order": order.upper(), **world_of(ctx).row("orders", order.upper())}


@tool(effect="pure")
def quote(quantity: Quantity, price: float) -> float:
    """What so many pieces cost.

    Args:
        quantity: How many.
        price: Of one, in dollars.
    """
    return round(quantity * price, 2)


@tool(effect="write", resource="shop")
def place_order(ctx: Context, customer: str, product: str, quantity: Quantity, day: date, phone: str = "") -> Row:
    """Place an order to be picked up.

    Args:
        ctx: The session.
        customer: The caller's name.
        product: The product's id, as find_products gives it.
        quantity: How many pieces.
        day: When it is picked up.
        phone: The caller's number, where they give one.
    """
    world = world_of(ctx)
    if world.row("products", product)["stock"] < quantity:
        raise ToolError(f"There are only {world['products'][product]['stock']} of {product}.")
    world["products"][product]["stock"] -= quantity
    key = world.new_id("orders", "BR")
    placed = {"customer": customer, "phone": phone, "product": product, "quantity": quantity, "day": day.isoformat()}
    world["orders"][key] = {**placed, "note": ""}
    return {"order": key, **placed}


@tool(effect="write", resource="shop")
def change_order(
    ctx: Context, order: str, quantity: Quantity | None = None, day: date | None = None, note: str = ""
) -> Row:
    """Change an order. What is left out stays as it is.

    Args:
        ctx: The session.
        order: The code, such as BR40.
        quantity: How many pieces from now on.
        day: When it is picked up from now on.
        note: What the baker has to know.
    """
    row = world_of(ctx).row("orders", order.upper())
    changes = {"quantity": quantity, "day": None if day is None else day.isoformat(), "note": note or None}
    row.update({name: value for name, value in changes.items() if value is not None})
    return {"order": order.upper(), **row}


def _question(arguments: Row) -> str:
    return f"Shall I cancel order {arguments['order']}?"


@tool(effect="irreversible", confirm=_question, resource="shop")
def cancel_order(ctx: Context, order: str) -> str:
    """Cancel an order. It cannot be taken back: the oven is planned anew.

    Args:
        ctx: The session.
        order: The code, such as BR40.
    """
    world = world_of(ctx)
    world.row("orders", order.upper())
    del world["orders"][order.upper()]
    return f"Order {order.upper()} is cancelled."


@tool(effect="read", untrusted=True)
def read_reviews(ctx: Context) -> list[Row]:
    """What guests wrote about the bakery."""
    return list(world_of(ctx)["reviews"])
