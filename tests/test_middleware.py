"""Middleware: each wrapper over tools of every mode, alone and around one another."""

from __future__ import annotations

import asyncio
import itertools
import re
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydantic import BaseModel

from sayso.errors import ToolDefinitionError, UsageError
from sayso.events import CallProgress
from sayso.items import ToolCall
from sayso.testing import run
from sayso.tools import CallOutcome, Context, Executor, Mode, Tool, ToolError, tool
from sayso.tools.middleware import (
    around,
    budget,
    cache,
    keep,
    prefix,
    rate_limit,
    record,
    redact,
    rename,
    replay,
    require_approval,
)

MODES = ["inline", "thread", "async", "stream"]


@dataclass
class Clock:
    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Counting:
    """Tools of every mode that count their runs and greet; asked for nobody, they fail."""

    runs: list[str] = field(default_factory=list)

    def greet(self, name: str) -> dict[str, str]:
        self.runs.append(name)
        if not name:
            raise ToolError("Nobody to greet; the key is k-123.")
        return {"greeting": f"hello {name}"}

    def tool(self, mode: str, **options: Any) -> Tool:
        options = {"effect": "read", "say": "{greeting}!", "examples": {"greet Ann": {"name": "Ann"}}, **options}

        @tool(**options, thread=mode != "inline", name="greet")
        def greet(name: str) -> dict[str, str]:
            """Greet somebody."""
            return self.greet(name)

        @tool(**options, name="greet")
        async def greet_soon(name: str) -> dict[str, str]:
            """Greet somebody."""
            await asyncio.sleep(0)
            return self.greet(name)

        @tool(**{**options, "say": None}, name="greet")
        async def greet_stepwise(name: str) -> AsyncIterator[dict[str, str]]:
            """Greet somebody."""
            yield {"greeting": "wait, k-123"}
            yield self.greet(name)

        return {"inline": greet, "thread": greet, "async": greet_soon, "stream": greet_stepwise}[mode]


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


def call(wrapped: Tool, ctx: Context | None = None, /, **arguments: Any) -> CallOutcome:
    if wrapped.__name__.startswith("greet") and not arguments:
        arguments = {"name": "Ann"}
    return run(Executor([wrapped]).call(ToolCall("1", wrapped.name, arguments), ctx))


WRAPPERS: dict[str, Callable[[Tool], Tool]] = {
    "around": lambda inner: around(inner, lambda arguments, ctx: (yield ctx)),
    "rate_limit": lambda inner: rate_limit(inner, 100, 1),
    "waiting": lambda inner: rate_limit(inner, 100, 1, wait_s=5),
    "cache": lambda inner: cache(inner, 60),
    "redact": lambda inner: redact(inner, ["k-[0-9]+"]),
    "budget": lambda inner: budget([inner], calls=100)[0],
    "record": lambda inner: record(inner, "tape.jsonl"),
}


@pytest.mark.parametrize("wrapper", list(WRAPPERS.values()), ids=list(WRAPPERS))
def test_a_wrapped_tool_is_the_same_tool(
    wrapper: Callable[[Tool], Tool], mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    inner = Counting().tool(mode, untrusted=True, filler="One moment.", timeout_s=7, max_concurrency=3)
    wrapped = wrapper(inner)
    for kept in ("spec", "effect", "policy", "speak", "timeout_s", "limit", "question", "where", "name", "__name__"):
        assert getattr(wrapped, kept) is getattr(inner, kept) or getattr(wrapped, kept) == getattr(inner, kept)
    outcome = call(wrapped)
    assert (outcome.status, outcome.value) == ("ok", {"greeting": "hello Ann"})
    assert outcome.say == (None if mode == "stream" else "hello Ann!")
    assert call(wrapped, nobody="x").status == "invalid"
    failed = call(wrapped, name="")
    assert failed.status == "error"
    assert "Nobody to greet" in failed.output


@pytest.mark.parametrize("pair", [*itertools.permutations(WRAPPERS, 2)], ids="-".join)
def test_wrappers_go_around_each_other(
    pair: tuple[str, str], mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    counting = Counting()
    wrapped = rename(counting.tool(mode), "hail")
    for name in pair:
        wrapped = WRAPPERS[name](wrapped)
    assert call(wrapped).value == {"greeting": "hello Ann"}
    assert counting.runs == ["Ann"]


def test_inline_and_sync_tools_stay_what_they_are() -> None:
    for name, wrapper in WRAPPERS.items():
        if name != "waiting":
            assert wrapper(Counting().tool("inline")).mode is Mode.INLINE
    assert WRAPPERS["redact"](Counting().tool("thread")).mode is Mode.THREAD
    assert WRAPPERS["cache"](Counting().tool("thread")).mode is Mode.ASYNC


def test_progress_is_kept_and_redacted() -> None:
    events: list[Any] = []
    wrapped = redact(cache(Counting().tool("stream"), 60), ["k-[0-9]+"])
    run(Executor([wrapped]).call(ToolCall("1", "greet", {"name": "Ann"}), None, events.append))
    values = [event.value for event in events if isinstance(event, CallProgress)]
    assert values == [{"greeting": "wait, [redacted]"}, {"greeting": "hello Ann"}]


@pytest.mark.parametrize("name", ["around", "rate_limit", "waiting", "cache", "redact", "budget", "record"])
def test_a_method_is_wrapped_bound(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    class Shop:
        @tool(effect="read")
        def opens(self) -> str:
            """When it opens."""
            return "nine"

    with pytest.raises(ToolDefinitionError, match=r"Wrap the bound one: `obj\.opens`"):
        WRAPPERS[name](Shop.opens)
    assert call(WRAPPERS[name](Shop().opens)).value == "nine"


def test_steps_may_answer_and_refuse(mode: str) -> None:
    counting = Counting()

    def answer(arguments: dict[str, Any], ctx: Context) -> Any:
        if arguments["name"] == "Bob":
            raise ToolError("Not Bob.")
        return {"greeting": "from memory"}
        yield ctx

    wrapped = around(counting.tool(mode), answer)
    assert call(wrapped).value == {"greeting": "from memory"}
    assert call(wrapped, name="Bob").output == "Not Bob."
    assert counting.runs == []


def test_steps_yield_once(mode: str) -> None:
    def twice(arguments: dict[str, Any], ctx: Context) -> Any:
        try:
            yield ctx
        except ToolError:
            pass
        yield ctx

    for name in ("Ann", ""):
        outcome = call(around(Counting().tool(mode), twice), name=name)
        assert "steps around a tool yield once" in outcome.output


def test_names() -> None:
    tools = [Counting().tool("inline"), Counting().tool("async", effect="write")]
    assert [renamed.name for renamed in prefix(tools, "home_")] == ["home_greet", "home_greet"]
    assert prefix(tools, "home_")[0].__name__ == "greet"
    assert keep(tools, lambda kept: kept.effect.changes_something) == tools[1:]
    with pytest.raises(ToolDefinitionError, match="which models cannot call"):
        prefix(tools, "at home ")
    with pytest.raises(ToolDefinitionError, match="no tool"):
        rename(tools[0], "none")


def test_approval_is_required() -> None:
    inner = Counting().tool("inline")
    assert require_approval(inner).policy.approval
    asking = require_approval(inner, "Shall I greet {name}?")
    assert asking.question is not None
    assert asking.question({"name": "Ann"}) == "Shall I greet Ann?"
    with pytest.raises(ToolDefinitionError, match="which is no parameter"):
        require_approval(inner, "Shall I greet {whom}?")


def test_a_rule_decides_which_calls_need_approval(caplog: pytest.LogCaptureFixture) -> None:
    def long(arguments: dict[str, Any]) -> bool:
        return len(arguments["name"]) > 3

    asking = require_approval(Counting().tool("inline"), when=long)
    executor = Executor([asking])
    for name, status in (("Ann", "ok"), ("Annabel", "waiting")):
        assert run(executor.call(ToolCall(name, asking.name, {"name": name}))).status == status

    broken = require_approval(asking, when=lambda arguments: arguments["no such"])
    assert run(Executor([broken]).call(ToolCall("c1", broken.name, {"name": "Ann"}))).status == "waiting"
    assert "the rule for approval failed" in caplog.text


def test_too_many_calls_are_refused(mode: str) -> None:
    clock, counting = Clock(), Counting()
    ctx = Context(clock=clock)
    wrapped = rate_limit(counting.tool(mode), 2, 10)
    assert call(wrapped, ctx).status == "ok"
    clock.now_s += 4
    assert call(wrapped, ctx).status == "ok"
    clock.now_s += 0.5
    assert call(wrapped, ctx).output == "greet was called too often. Try again in 6 seconds, not before."
    clock.now_s += 5.5
    assert call(wrapped, ctx).status == "ok"
    assert call(wrapped, ctx).status == "error"
    clock.now_s -= 5000
    assert call(wrapped, ctx).status == "ok"
    assert len(counting.runs) == 4


def test_a_call_waits_for_its_turn(mode: str) -> None:
    async def main() -> tuple[list[CallOutcome], float]:
        loop = asyncio.get_running_loop()
        ctx = Context(clock=loop.time)
        executor = Executor([rate_limit(Counting().tool(mode), 1, 10, wait_s=15)])
        begun_s = loop.time()
        async with executor.round(ctx) as calls:
            for number in range(3):
                calls.start(ToolCall(str(number), "greet", {"name": "Ann"}))
            return await calls.outcomes(), loop.time() - begun_s

    outcomes, seconds = run(main())
    assert sorted(outcome.status for outcome in outcomes) == ["error", "ok", "ok"]
    assert seconds == pytest.approx(10)


@pytest.mark.parametrize(("calls", "per_s", "wait_s"), [(0, 1, 0), (1, 0, 0), (1, float("inf"), 0), (1, 1, -1)])
def test_a_limit_makes_sense(calls: int, per_s: float, wait_s: float) -> None:
    with pytest.raises(ToolDefinitionError, match="1 or more calls"):
        rate_limit(Counting().tool("inline"), calls, per_s, wait_s=wait_s)


def test_results_are_kept(mode: str) -> None:
    clock, counting = Clock(), Counting()
    wrapped = cache(counting.tool(mode), 60, size=2)

    def ask(name: str, user: str = "ann") -> str:
        return call(wrapped, Context(clock=clock, user=user), name=name).status

    for name in ("a", "a", "b", "a", "c", "a", "b"):  # "b" made room for "c"
        ask(name)
    assert counting.runs == ["a", "b", "c", "b"]
    ask("a", "bob")
    assert counting.runs[4:] == ["a"]
    clock.now_s += 60
    ask("a", "bob")
    clock.now_s -= 1
    ask("a", "bob")
    assert counting.runs[4:] == ["a", "a", "a"]
    assert [ask(""), ask("")] == ["error", "error"]
    assert counting.runs[7:] == ["", ""]


def test_a_pure_tools_results_are_everybodys(mode: str) -> None:
    counting = Counting()
    wrapped = cache(counting.tool(mode, effect="pure"), 60)
    for user in ("ann", "bob"):
        call(wrapped, Context(user=user))
    assert counting.runs == ["Ann"]


@dataclass
class Slow:
    """A tool that takes a second, or for ever."""

    begun: int = 0
    cancelled: int = 0

    def tool(self, seconds: float = 1.0) -> Tool:
        @tool(effect="read")
        async def look_up(what: str) -> str:
            """Look something up."""
            self.begun += 1
            try:
                await asyncio.sleep(seconds)
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
            if not what:
                raise ToolError("Nothing to look up.")
            return f"all about {what}"

        return look_up


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_equal_calls_share_one_run() -> None:
    slow = Slow()

    async def main() -> list[CallOutcome]:
        executor = Executor([cache(slow.tool(), 60)])
        names = ["tea", "tea", "", "", "tea"]
        return await asyncio.gather(
            *(executor.call(ToolCall(str(at), "look_up", {"what": name})) for at, name in enumerate(names))
        )

    outcomes = run(main())
    assert [outcome.output for outcome in outcomes[:3]] == ["all about tea", "all about tea", "Nothing to look up."]
    assert slow.begun == 2


def test_a_shared_run_ends_with_the_last_that_waits() -> None:
    slow = Slow()

    async def main() -> str:
        executor = Executor([cache(slow.tool(), 60)])
        first, second, third = (
            asyncio.create_task(executor.call(ToolCall(str(at), "look_up", {"what": what})))
            for at, what in enumerate(["tea", "tea", "milk"])
        )
        await settle()
        first.cancel()
        third.cancel()
        await settle()
        assert slow.cancelled == 1  # the milk: somebody still waits for tea
        again = executor.call(ToolCall("4", "look_up", {"what": "milk"}))
        assert (await again).status == "ok"
        return (await second).output

    assert run(main()) == "all about tea"
    assert slow.begun == 3


def test_a_cached_sync_tool_that_is_given_up_is_told() -> None:
    told = threading.Event()

    @tool(effect="read", timeout_s=5)
    def look_up(ctx: Context) -> str:
        """Look up."""
        if ctx.cancelled.wait(30):
            told.set()
        return "late"

    async def main() -> None:
        executor = Executor([cache(look_up, 60)])
        task = asyncio.create_task(executor.call(ToolCall("1", "look_up", {})))
        await settle()
        task.cancel()
        await asyncio.wait([task])

    run(main(), virtual=False)
    assert told.wait(30)


@pytest.mark.parametrize("effect", ["write", "irreversible"])
def test_what_changes_something_is_not_cached(effect: str) -> None:
    with pytest.raises(ToolDefinitionError, match="it cannot be cached"):
        cache(Counting().tool("async", effect=effect), 60)
    with pytest.raises(ToolDefinitionError, match="Give more than 0 of both"):
        cache(Counting().tool("async"), 0)


class Level(Enum):
    KEY = "k-7"


class Row(NamedTuple):
    key: str
    size: int


class Model(BaseModel):
    key: str
    when: int = 1


@dataclass(frozen=True, slots=True)
class Frozen:
    key: str
    parts: tuple[Row, ...] = ()
    seen: str = field(default="k-6", init=False)


class Odd:
    def __str__(self) -> str:
        return "odd k-9"


@pytest.mark.parametrize(
    ("result", "shown"),
    [
        ("a k-1 b", "a [redacted] b"),
        ({"k-1": ["k-2", ("k-3", 4)]}, {"[redacted]": ["[redacted]", ("[redacted]", 4)]}),
        (Row("k-1", 2), Row("[redacted]", 2)),
        (Model(key="k-1"), Model(key="[redacted]")),
        (4111111111111111, "[redacted]"),
        (Decimal("1.5"), Decimal("1.5")),
        ({"k-1", "x"}, {"[redacted]", "x"}),
        (Level.KEY, "[redacted]"),
        (Odd(), "odd [redacted]"),
        (None, None),
        (True, True),
    ],
)
def test_results_are_redacted(result: Any, shown: Any) -> None:
    @tool(effect="read", thread=False)
    def show() -> Any:
        """Show."""
        return result

    assert call(redact(show, [r"k-\d+", re.compile(r"\d{16}")])).value == shown


def test_a_single_pattern_is_not_read_letter_by_letter() -> None:
    @tool(effect="read", thread=False)
    def show() -> str:
        """Show."""
        return "key k-4711"

    assert call(redact(show, r"k-\d+")).value == "key [redacted]"


def test_a_frozen_dataclass_is_redacted_throughout() -> None:
    @tool(effect="read", thread=False)
    def show() -> Frozen:
        """Show."""
        return Frozen("k-1", (Row("k-2", 3),))

    value = call(redact(show, [r"k-\d"], "*")).value
    assert (value.key, value.parts, value.seen) == ("*", (Row("*", 3),), "*")


class Stubborn(Exception):
    def __str__(self) -> str:
        return "it is k-5"


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (ToolError("The key k-1 is wrong.", "Not k-2."), "The key [redacted] is wrong. Not [redacted]."),
        (ValueError("k-1", 2), "show failed: ValueError: ('[redacted]', 2)"),
        (Stubborn(), "show failed: Stubborn: it is [redacted]"),
        (KeyError("plain"), "show failed: KeyError: 'plain'"),
    ],
)
def test_errors_are_redacted(error: Exception, shown: str, mode: str, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> str:
        """Show."""
        raise error from RuntimeError("k-3")

    async def fail_soon() -> str:
        """Show."""
        raise error from RuntimeError("k-3")

    failing = tool(effect="read", thread=mode != "inline", name="show")(fail_soon if mode == "async" else fail)
    assert call(redact(failing, [r"k-\d"])).output == shown
    assert "k-" not in re.sub(r'File ".*|raise .*|    .*', "", caplog.text)


def test_refused_arguments_are_redacted() -> None:
    @tool(effect="read")
    def pay(amount: int) -> str:
        """Pay."""
        return "paid"

    assert "k-1" in call(pay, amount="k-1").output
    outcome = call(redact(pay, [r"k-\d"]), amount="k-1")
    assert outcome.status == "invalid"
    assert "k-1" not in outcome.output
    with pytest.raises(ToolDefinitionError, match="bad pattern"):
        redact(pay, ["("])


def test_a_tape_answers_as_the_tool_did(mode: str, tmp_path: Path) -> None:
    tape = tmp_path / "tape.jsonl"
    counting = Counting()
    names = ["Ann", "", "Bob", "Ann"]
    recorded = [call(record(counting.tool(mode), tape), name=name) for name in names]
    played = replay(counting.tool(mode), tape)
    for name, before in zip(names, recorded, strict=True):
        after = call(played, name=name)
        assert (after.status, after.output, after.value, after.say) == (
            before.status,
            before.output,
            before.value,
            before.say,
        )
    assert counting.runs == names
    unknown = call(played, name="Eve")
    assert unknown.status == "error"
    assert 'has no call of greet with {"name":"Eve"}. Record it again.' in unknown.output


def test_a_tape_plays_equal_calls_in_order(tmp_path: Path) -> None:
    tape = tmp_path / "tape.jsonl"
    numbers = itertools.count(1)

    @tool(effect="read", thread=False)
    def count() -> int:
        """Count."""
        return next(numbers)

    @tool(effect="read", thread=False)
    def explode() -> int:
        """Explode."""
        raise ValueError("boom")

    for taped in (count, explode, count):
        call(record(taped, tape))
    played = replay(count, tape)
    assert [call(played).value for _ in range(3)] == [1, 2, 2]
    assert call(replay(explode, tape)).output == "explode failed: ValueError: boom"


def test_credentials_are_not_taped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sayso import settings

    monkeypatch.setattr(settings, "_secrets", {})
    monkeypatch.setenv("SAYSO_TEST_KEY", "4711")
    settings.secret("SAYSO_TEST_KEY")

    @tool(effect="read")
    def show(number: int, text: str) -> str:
        """Show."""
        return f"{number} {text}"

    arguments = {"number": 4711, "text": '"4711"'}
    call(record(show, tmp_path / "tape"), **arguments)
    assert "4711" not in (tmp_path / "tape").read_text()
    assert call(replay(show, tmp_path / "tape"), **arguments).value == '[SAYSO_TEST_KEY] "[SAYSO_TEST_KEY]"'


def test_a_full_disk_spoils_no_call(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert call(record(Counting().tool("async"), tmp_path)).status == "ok"  # a folder cannot be written
    assert "could not be recorded" in caplog.text


@pytest.mark.parametrize("text", ["nonsense", "[]", '{"tool": 1}', '{"tool": "greet", "arguments": {}}', "\xff"])
def test_a_broken_tape_is_refused(text: str, tmp_path: Path) -> None:
    tape = tmp_path / "tape"
    tape.write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match="tape"):
        replay(Counting().tool("async"), tape)
    with pytest.raises(UsageError, match="cannot be read"):
        replay(Counting().tool("async"), tmp_path / "absent")


def test_a_budget_of_calls_is_shared(mode: str) -> None:
    counting = Counting()
    first, second = budget([counting.tool(mode), rename(counting.tool("async"), "hail")], calls=2)
    ctx = Context()
    assert [call(wrapped, ctx).status for wrapped in (first, second, first)] == ["ok", "ok", "error"]
    assert "The budget of 2 calls is used up" in call(second, ctx).output
    assert call(second, Context()).status == "ok"  # another session
    assert len(counting.runs) == 3


def test_a_budget_of_this_process() -> None:
    (wrapped,) = budget([Counting().tool("inline")], calls=1, per="process")
    assert [call(wrapped, Context()).status for _ in range(2)] == ["ok", "error"]


def test_a_budget_of_seconds() -> None:
    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        executor = Executor(budget([Slow().tool(2.0)], seconds=3))
        ctx = Context(clock=loop.time)
        arguments: dict[str, Any] = {"what": ""}  # failures take time too
        return [(await executor.call(ToolCall(str(at), "look_up", arguments), ctx)).output for at in range(3)]

    assert run(main())[1:] == [
        "Nothing to look up.",
        "The budget of 3 seconds is used up, so this was not done. Answer with what you have.",
    ]


def test_a_budget_of_money(mode: str) -> None:
    ctx = Context()
    (wrapped,) = budget([Counting().tool(mode)], money="0.25", price="0.10")
    assert [call(wrapped, ctx).status for _ in range(3)] == ["ok", "ok", "error"]


def test_a_price_by_result(caplog: pytest.LogCaptureFixture) -> None:
    ctx = Context()

    def price(result: dict[str, str]) -> Decimal:
        return Decimal(len(result["greeting"]))

    (wrapped,) = budget([Counting().tool("inline")], money=15, price=price)
    assert [call(wrapped, ctx, name=name).status for name in ("Ann", "", "Ann", "Ann")] == [
        "ok",
        "error",
        "ok",
        "error",
    ]
    (wrapped,) = budget([Counting().tool("inline")], money=15, price=lambda result: result["nothing"])
    assert [call(wrapped, ctx).status for _ in range(2)] == ["ok", "error"]
    assert "the price of a call cannot be told" in caplog.text


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({}, "limits nothing"),
        ({"money": 1}, "money and price together"),
        ({"calls": 1, "price": 1}, "money and price together"),
        ({"calls": -1}, "calls=-1"),
        ({"seconds": float("nan")}, "seconds=nan"),
        ({"money": "much", "price": 1}, "money='much'"),
        ({"money": 1, "price": 0.1}, "price=0.1"),
        ({"money": -1, "price": 1}, "money=-1"),
        ({"calls": 1, "per": "day"}, "per='day'"),
    ],
)
def test_a_budget_makes_sense(limits: dict[str, Any], message: str) -> None:
    with pytest.raises(ToolDefinitionError, match=re.escape(message)):
        budget([], **limits)
