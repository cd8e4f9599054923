"""`budget`: what the calls of some tools may cost together, in calls, seconds and money."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from sayso.errors import ToolDefinitionError, ToolError
from sayso.tools.context import Context
from sayso.tools.middleware.around import around
from sayso.tools.tool import Tool

Price: TypeAlias = Decimal | int | str | Callable[[Any], Decimal]

_log = logging.getLogger(__name__)
_numbers = itertools.count(1)


def budget(
    tools: Iterable[Tool],
    *,
    calls: int | None = None,
    seconds: float | None = None,
    money: Decimal | int | str | None = None,
    price: Price | None = None,
    per: Literal["session", "process"] = "session",
) -> list[Tool]:
    """``tools``, whose calls share a budget; once it is used up they are refused, and the model is told so.

    Calls and a fixed price are taken when a call begins, and not given back where it fails. Seconds, and a price that
    depends on the result, are known at the end: calls that run already may overdraw those.

    Args:
        tools: Functions', or methods' that are bound to their object.
        calls: Most calls.
        seconds: Most seconds that calls run, by the session clock, added up.
        money: Most money, in any one currency; a text or a Decimal, so that no cent is lost.
        price: Of a call: an amount, or a function of the result. Needed for ``money``.
        per: Whose budget it is: each session's (kept in ``ctx.state``), or that of all sessions of this process.

    Raises:
        ToolDefinitionError: Nothing is limited, a number makes no sense, or a tool is a method without its object.
    """
    if per not in ("session", "process"):
        raise ToolDefinitionError(f"A budget is per={per!r}.", "Use session or process.")
    limits = _limits(calls, seconds, money, price)
    key = f"sayso.budget.{next(_numbers)}"
    of_process = Spent()

    def steps(arguments: dict[str, Any], ctx: Context) -> Generator[Context, Any, Any]:
        spent = of_process if per == "process" else ctx.state.setdefault(key, Spent())
        limits.begin(spent)
        started_s = ctx.clock()
        try:
            result = yield ctx
        finally:
            spent.add(seconds=ctx.clock() - started_s)
        if callable(limits.price):
            spent.add(money=_priced(limits.price, result))
        return result

    return [around(tool, steps) for tool in tools]


class Spent:
    """What was used of a budget.

    Attributes:
        calls: How many began.
        seconds: How long those that ended ran.
        money: What they cost.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.seconds = 0.0
        self.money = Decimal(0)
        self.lock = threading.Lock()  # sync tools spend in their threads

    def add(self, *, seconds: float = 0.0, money: Decimal = Decimal(0)) -> None:
        """Note what is known at the end of a call."""
        with self.lock:
            self.seconds += seconds
            self.money += money


@dataclass(frozen=True, slots=True)
class _Limits:
    calls: int | None
    seconds: float | None
    money: Decimal | None
    price: Decimal | Callable[[Any], Decimal]

    def begin(self, spent: Spent) -> None:
        """Take a call out of the budget.

        Raises:
            ToolError: It is used up.
        """
        price = Decimal(0) if callable(self.price) else self.price
        with spent.lock:
            if self.calls is not None and spent.calls >= self.calls:
                raise _used_up(f"{self.calls} calls")
            if self.seconds is not None and spent.seconds >= self.seconds:
                raise _used_up(f"{self.seconds:g} seconds")
            if self.money is not None and (spent.money + price > self.money or spent.money >= self.money):
                raise _used_up(f"{self.money} for calls")
            spent.calls += 1
            spent.money += price


def _limits(
    calls: int | None, seconds: float | None, money: Decimal | int | str | None, price: Price | None
) -> _Limits:
    if calls is None and seconds is None and money is None:
        raise ToolDefinitionError("A budget limits nothing.", "Give calls, seconds or money.")
    if (money is None) != (price is None):
        raise ToolDefinitionError("A budget needs money and price together.", "Give both, or neither.")
    if (calls is not None and calls < 0) or (seconds is not None and not seconds >= 0):
        raise ToolDefinitionError(f"A budget has calls={calls}, seconds={seconds}.", "Give 0 or more.")
    each = price if callable(price) else _amount("price", price)
    return _Limits(calls, seconds, None if money is None else _amount("money", money), each)


def _amount(what: str, value: Decimal | int | str | None) -> Decimal:
    try:
        amount = Decimal("NaN") if isinstance(value, float) else Decimal(value or 0)
    except ArithmeticError:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise ToolDefinitionError(f"A budget has {what}={value!r}.", 'Give 0 or more as text or Decimal: "0.05".')
    return amount


def _priced(price: Callable[[Any], Decimal], result: Any) -> Decimal:
    """What a call cost. One whose price cannot be told uses the budget up: the call itself has worked."""
    try:
        return _amount("price", price(result))
    except Exception:
        _log.exception("the price of a call cannot be told")
        return Decimal("Infinity")


def _used_up(what: str) -> ToolError:
    return ToolError(f"The budget of {what} is used up, so this was not done. Answer with what you have.")
