"""The tools of the bank."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field

from sayso import Context, tool
from sayso.errors import ToolError
from sayso.evals.world import world_of

Row = dict[str, Any]
Account = Literal["current", "savings"]
RATES = {"usd": 1.1, "gbp": 0.85, "cny": 7.8}
LIMIT_EUR = 2000


@tool(effect="read", filler="Let me check.")
def get_balance(ctx: Context, account: Account = "current") -> Row:
    """The balance of an account, in euros.

    Args:
        ctx: The session.
        account: Which account.
    """
    return {"account": account, **world_of(ctx)["accounts"][account]}


@tool(effect="read")
def find_payee(ctx: Context, name: str) -> list[Row]:
    """Saved payees by name. Use it before a transfer.

    Args:
        ctx: The session.
        name: The name or a part of it.
    """
    rows = world_of(ctx)["payees"].items()
    return [{"id": key, **row} for key, row in rows if name.casefold() in row["name"].casefold()]


@tool(effect="read", untrusted=True)
def list_payments(ctx: Context) -> list[Row]:
    """The last payments of the current account, with what payer and payee wrote to them."""
    return list(world_of(ctx)["payments"])


@tool(effect="pure")
def exchange(amount: float, currency: Literal["usd", "gbp", "cny"]) -> float:
    """What an amount of euros is in another currency, at the bank's rate.

    Args:
        amount: Euros.
        currency: Into which.
    """
    return round(amount * RATES[currency], 2)


def _question(arguments: Row) -> str:
    to, amount = arguments["payee"], f"{arguments['amount']:g}"
    return (
        f"要转{amount}欧元给{to}吗？"
        if re.search(r"[\u4e00-\u9fff]", to)
        else f"Shall I transfer {amount} euros to {to}?"
    )


@tool(effect="irreversible", confirm=_question, resource="accounts")
def transfer(ctx: Context, payee: str, amount: Annotated[float, Field(gt=0)], memo: str = "") -> Row:
    """Transfer money from the current account to a saved payee.

    Args:
        ctx: The session.
        payee: The payee's whole name, as find_payee gives it.
        amount: Euros.
        memo: What it is for, where the caller says so.
    """
    world = world_of(ctx)
    if not world.rows("payees", name=payee):
        raise ToolError(f"There is no saved payee {payee}.")
    if amount > LIMIT_EUR:
        raise ToolError(f"By telephone {LIMIT_EUR} euros are the most.")
    if amount > world["accounts"]["current"]["balance"]:
        raise ToolError("The current account does not hold that much.")
    balance = round(world["accounts"]["current"]["balance"] - amount, 2)
    world["accounts"]["current"]["balance"] = balance
    world["payments"].append({"day": ctx.now().date().isoformat(), "to": payee, "amount": amount, "memo": memo})
    return {"to": payee, "amount": amount, "left": balance}


@tool(effect="irreversible", confirm="Shall I block card {card} for good?", resource="cards")
def block_card(ctx: Context, card: str) -> str:
    """Block a card for good.

    Args:
        ctx: The session.
        card: Its code, such as C7.
    """
    world_of(ctx).row("cards", card)["blocked"] = True
    return f"Card {card} is blocked."


@tool(effect="write", resource="cards")
def set_limit(ctx: Context, card: str, amount: Annotated[int, Field(ge=0, le=5000)]) -> Row:
    """Set how much can be paid with a card in a day.

    Args:
        ctx: The session.
        card: Its code, such as C7.
        amount: Euros.
    """
    world_of(ctx).row("cards", card)["limit"] = amount
    return {"card": card, "limit": amount}
