"""From a call to its outcome: whatever the model sends and whatever the tool does."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import re
from collections.abc import AsyncIterator
from contextvars import ContextVar
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from sayso.errors import CallInDoubt, ToolDefinitionError, ToolError
from sayso.events import CallFinished, CallProgress, CallStarted
from sayso.items import ToolCall, ToolOutput
from sayso.testing import run
from sayso.tools import CallOutcome, Context, Executor, Tool, tool
from sayso.tools.policy import Policy
from sayso.tools.text import neutralise


def outcome(made: Tool, arguments: Any = None, ctx: Context | None = None, **options: Any) -> CallOutcome:
    return run(Executor([made], **options).call(ToolCall("c1", made.name, arguments or {}), ctx))


@tool(effect="read", thread=False)
def echo(value: Any) -> Any:
    """Give back.

    Args:
        value: What.
    """
    return value


# --- calls that cannot run ------------------------------------------------------------------------------------


def test_an_unknown_name_is_told_which_names_exist_and_the_closest() -> None:
    @tool
    def get_weather(city: str) -> str:
        """Weather."""
        return city

    found = run(Executor([get_weather, echo]).call(ToolCall("c1", "get_wether", {})))
    assert (found.status, found.value, found.seconds) == ("unknown", None, 0.0)
    assert found.output == "There is no tool 'get_wether'. Did you mean get_weather? The tools are: get_weather, echo."


def test_no_tools_and_very_long_names() -> None:
    assert run(Executor([]).call(ToolCall("c1", "x" * 10_000, {}))).output.endswith("there are none at all.")
    many = [dataclasses.replace(echo, spec=dataclasses.replace(echo.spec, name=f"t{index}")) for index in range(50)]
    text = run(Executor(many).call(ToolCall("c1", "<|im_end|>", {}))).output
    assert "and 30 more" in text and "<|" not in text


def test_wrong_arguments_are_told_and_the_function_does_not_run() -> None:
    ran: list[int] = []

    @tool
    def act(x: int) -> None:
        """Act."""
        ran.append(x)

    found = outcome(act, {"x": "many"})
    assert found.status == "invalid" and "x: Input should be a valid integer" in found.output
    assert ran == []


@pytest.mark.parametrize(
    ("raw", "reason"),
    [('{"x": ', "line 1 column 7"), ("[1]", "not an object"), ("", "line 1 column 1"), ("[" * 99_999, "")],
)
def test_arguments_that_are_no_json_object(raw: str, reason: str) -> None:
    async def main() -> CallOutcome:
        async with Executor([echo]).round(Context()) as calls:
            calls.reject(ToolCall("c1", "echo", {}), raw)
            return (await calls.outcomes())[0]

    found = run(main())
    assert found.status == "invalid" and "no JSON object" in found.output and reason in found.output
    assert len(found.output) < 300


def test_a_validator_of_the_user_that_breaks_is_an_error_not_a_crash() -> None:
    class Odd(BaseModel):
        x: int

        @classmethod
        def __get_validators__(cls) -> Any:  # never called by pydantic 2
            raise AssertionError

        def model_post_init(self, context: Any) -> None:
            raise RuntimeError("odd")

    @tool
    def act(odd: Odd) -> None:
        """Act."""

    found = outcome(act, {"odd": {"x": 1}})
    assert (found.status, found.output) == ("error", "act failed: RuntimeError: odd")


# --- tools that break -----------------------------------------------------------------------------------------


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ToolError("The shop is closed."), "The shop is closed."),
        (ToolError("No such shop.", "Ask for another."), "No such shop. Ask for another."),
        (ValueError("bad\nTraceback: File secret.py"), "act failed: ValueError: bad"),
        (KeyError("key"), "act failed: KeyError: 'key'"),
        (ValueError(), "act failed: ValueError"),
        (ValueError("x" * 9999), f"act failed: ValueError: {'x' * 272} [cut: 9727 more characters]"),
        (TimeoutError("upstream"), "act failed: TimeoutError: upstream"),
        (StopIteration(3), "act failed: StopIteration: 3"),
        (SystemExit(1), "act failed: SystemExit: 1"),
        (Unprintable(), "act failed: Unprintable"),
        (ExceptionGroup("several", [ValueError("a")]), "act failed: ExceptionGroup: several (1 sub-exception)"),
    ],
)
@pytest.mark.parametrize("kind", ["inline", "thread", "async", "stream"])
def test_an_exception_becomes_short_text(error: BaseException, told: str, kind: str) -> None:
    def body() -> None:
        raise error

    async def awaited() -> None:
        raise error

    async def streamed() -> AsyncIterator[int]:
        yield 1
        raise error

    function = {"inline": body, "thread": body, "async": awaited, "stream": streamed}[kind]
    found = outcome(tool(name="act", effect="read", thread=kind == "thread")(function))
    assert found.status == "error"
    if isinstance(error, StopIteration) and kind in ("async", "stream"):
        assert found.output.startswith("act failed: RuntimeError")  # Python's own rule for coroutines
    elif isinstance(error, StopIteration) and kind == "thread":
        assert found.output.startswith("act failed: ")
    elif isinstance(error, SystemExit) and kind == "thread":
        assert found.output == "act failed: RuntimeError: SystemExit: 1"
    else:
        assert found.output == told


def test_the_traceback_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    @tool
    async def act() -> None:
        """Act."""
        raise ValueError("for the log")

    outcome(act)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR and "ValueError: for the log" in record.getMessage()


def test_a_tool_error_is_meant_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    @tool
    async def act() -> None:
        """Act."""
        raise ToolError("No.")

    outcome(act)
    assert caplog.records == []


def test_a_tool_that_lost_sight_of_what_it_did_is_in_doubt() -> None:
    @tool
    async def act() -> None:
        """Act."""
        raise CallInDoubt("The line went dead; the order may have gone through.")

    found = outcome(act)
    assert (found.status, found.output) == ("in_doubt", "The line went dead; the order may have gone through.")


def test_a_tool_that_cancels_itself_is_an_error_not_a_cancellation() -> None:
    @tool
    async def act() -> None:
        """Act."""
        raise asyncio.CancelledError

    assert outcome(act).status == "error"


def test_an_inline_tool_that_returns_a_coroutine_is_told_how() -> None:
    async def later() -> int:
        return 1

    @tool(effect="pure", thread=False)
    def act() -> Any:
        """Act."""
        return later()

    assert outcome(act).output == "act failed: TypeError: returned a coroutine; define it with 'async def'"


# --- time-outs ------------------------------------------------------------------------------------------------


def test_a_time_out_cancels_an_async_tool_and_waits_for_its_cleanup() -> None:
    ended: list[str] = []

    @tool(effect="read", timeout_s=2)
    async def hang(ctx: Context) -> None:
        """Hang."""
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(1)
            ended.append("cleaned up")

    async def main() -> tuple[CallOutcome, float]:
        ctx = Context()
        clock = asyncio.get_running_loop().time
        found = await Executor([hang], clock=clock).call(ToolCall("c1", "hang", {}), ctx)
        return found, clock()

    found, at_s = run(main())
    assert found.status == "timeout"
    assert found.output == "hang did not finish within 2 s and was stopped."
    assert ended == ["cleaned up"]
    assert (found.seconds, at_s) == (pytest.approx(3), pytest.approx(3))


def test_a_timed_out_write_is_said_to_be_in_doubt() -> None:
    @tool(effect="write", timeout_s=1)
    async def hang() -> None:
        """Hang."""
        await asyncio.Event().wait()

    assert "not known whether it took effect" in outcome(hang).output


def test_a_time_out_closes_a_stream() -> None:
    ended: list[str] = []

    @tool(effect="read", timeout_s=1)
    async def hang() -> AsyncIterator[int]:
        """Hang."""
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            ended.append("closed")

    assert outcome(hang).status == "timeout"
    assert ended == ["closed"]


def test_an_exception_during_the_cleanup_of_a_time_out_is_still_a_time_out() -> None:
    @tool(effect="read", timeout_s=1)
    async def hang() -> None:
        """Hang."""
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ValueError("cleanup broke") from None

    assert outcome(hang).status == "timeout"


@tool(effect="read", timeout_s=0.01)
def hang(ctx: Context) -> str:
    """Hang until told to stop."""
    ctx.cancelled.wait()
    return "late"


def test_a_thread_that_times_out_is_told_and_its_late_result_is_kept() -> None:
    async def main() -> tuple[CallOutcome, CallOutcome]:
        late: asyncio.Queue[CallOutcome] = asyncio.Queue()
        found = await Executor([hang], late=late.put_nowait).call(ToolCall("c1", "hang", {}))
        return found, await late.get()

    found, late = run(main(), virtual=False)
    assert (found.status, found.value) == ("timeout", None)
    assert (late.call_id, late.status, late.value) == ("c1", "ok", "late")


def test_a_thread_that_fails_after_its_time_out_tells_that_too() -> None:
    @tool(effect="write", timeout_s=0.01)
    def fail(ctx: Context) -> str:
        """Fail."""
        ctx.cancelled.wait()
        raise ToolError("the door is stuck")

    async def main() -> CallOutcome:
        late: asyncio.Queue[CallOutcome] = asyncio.Queue()
        await Executor([fail], late=late.put_nowait).call(ToolCall("c1", "fail", {}))
        return await late.get()

    late = run(main(), virtual=False)
    assert (late.status, late.output) == ("error", "the door is stuck")


class Told(logging.Handler):
    """Says when a message was logged."""

    def __init__(self, words: str) -> None:
        super().__init__(logging.INFO)
        self._words = words
        self.told = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if self._words in record.getMessage():
            self.told.set()


def test_what_a_thread_read_for_a_turn_that_was_cut_off_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sayso.tools.executor")
    late: list[CallOutcome] = []

    async def main() -> None:
        executor = Executor([replace(hang, timeout_s=None)], late=late.append)
        begun, dropped = asyncio.Event(), Told("its result is dropped")
        logger = logging.getLogger("sayso.tools.executor")
        logger.addHandler(dropped)

        async def turn() -> None:
            async with executor.round(Context(), lambda event: begun.set()) as calls:
                calls.start(ToolCall("c1", "hang", {}))
                await calls.outcomes()

        task = asyncio.create_task(turn())
        await begun.wait()
        task.cancel()
        await asyncio.wait([task])
        await dropped.told.wait()
        logger.removeHandler(dropped)

    run(main(), virtual=False)
    assert late == []


# --- results --------------------------------------------------------------------------------------------------


class Colour(Enum):
    red = "red"


class Shop(BaseModel):
    name: str
    opened: date


@dataclasses.dataclass
class Pair:
    left: int
    right: Any


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        ("", ""),
        (None, "Done."),
        (True, "true"),
        (3.5, "3.5"),
        (float("nan"), '"NaN"'),
        (Shop(name="Café", opened=date(2026, 1, 2)), '{"name":"Café","opened":"2026-01-02"}'),
        (Pair(1, [Colour.red]), '{"left":1,"right":["red"]}'),
        ({"b": 1, "a": 2}, '{"b":1,"a":2}'),
        ([Decimal("1.10"), datetime(2026, 1, 2, tzinfo=UTC)], '["1.10","2026-01-02T00:00:00Z"]'),
        (Colour.red, '"red"'),
        ((1, (2,)), "[1,[2]]"),
        (b"\xff\x00", '"_wA="'),
        ({"x": object()}, '{"x":"(object)"}'),
    ],
)
def test_results_as_text(value: Any, text: str) -> None:
    @tool(effect="read", thread=False)
    def get() -> Any:
        """Get."""
        return value

    found = outcome(get)
    assert (found.status, found.output) == ("ok", text)
    assert found.value is value
    assert found.item == ToolOutput("c1", "get", text, "ok")


def test_a_result_that_cannot_be_shown_is_still_a_success() -> None:
    endless: list[Any] = []
    endless.append(endless)

    @tool(effect="write")
    def act() -> Any:
        """Act."""
        return endless

    found = outcome(act)
    assert found.status == "ok" and found.output.startswith("Done.") and "list" in found.output


def test_long_results_are_cut_with_a_mark() -> None:
    @tool(effect="read", thread=False)
    def get() -> str:
        """Get."""
        return "x" * 10_000

    found = outcome(replace(get, policy=Policy(max_output_tokens=25)))
    assert len(found.output) <= 100
    kept = found.output.count("x")
    assert found.output.endswith(f"[cut: {10_000 - kept} more characters]")
    assert found.value == "x" * 10_000


@pytest.mark.parametrize(
    ("token", "safe"),
    [
        ("<tool_call>", "‹tool_call>"),
        ("</tool_call>", "‹/tool_call>"),
        ("<|im_start|>system", "‹|im_start|›system"),
        ("<|BOT|>", "‹|BOT|›"),
        ("<tts_start>", "‹tts_start>"),
        ("<audio_1234>", "‹audio_1234>"),
        ("</s>", "‹/s>"),
        ("<<SYS>>", "<‹SYS>>"),
        ("<｜tool▁calls▁begin｜>", "‹｜tool▁calls▁begin｜›"),
        ("[INST] [/INST] [TOOL_CALLS]", "⟦INST] ⟦/INST] ⟦TOOL_CALLS]"),
        ("<\u200btool_call>", "‹tool_call>"),
        ("<\x00|im_end|>", "‹|im_end|›"),
        ("\x1b[31mred", "[31mred"),
        ("a\ud800b", "ab"),
        ("3 < 4 and a -> b, x <= y | z [1]", "3 < 4 and a -> b, x <= y | z [1]"),
        ("two\nlines\tof 中文 🎉 می‌خواهم", "two\nlines\tof 中文 🎉 می‌خواهم"),
    ],
)
def test_nothing_can_forge_a_control_token(token: str, safe: str) -> None:
    assert neutralise(token) == safe
    assert outcome(echo, {"value": token}).output == safe
    assert "<tool_call" not in outcome(echo, {"value": [token]}).output


@given(st.text(st.sampled_from("<>|/｜[]tool_callINSTs \n\u200b\x00▁!")))
def test_no_text_slips_a_token_through(text: str) -> None:
    safe = neutralise(text)
    assert neutralise(safe) == safe
    assert not re.search(r"</?[A-Za-z|｜▁]|[|｜]>|\[/?(?:INST|TOOL_)|[\x00\u200b]", safe)


# --- context --------------------------------------------------------------------------------------------------


def test_the_context_of_a_call() -> None:
    seen: list[Context] = []

    @tool(effect="read")
    async def peek(ctx: Context) -> str:
        """Peek."""
        seen.append(ctx)
        ctx.state["peeks"] = ctx.state.get("peeks", 0) + 1
        await ctx.report({"done": 0.5})
        return ctx.now().isoformat()

    events: list[Any] = []

    async def main() -> list[CallOutcome]:
        session = Context(timezone=UTC, clock=lambda: 1_800_000_000.0)
        executor = Executor([peek])
        results = [await executor.call(ToolCall(f"c{index}", "peek", {}), session, events.append) for index in range(2)]
        assert session.state == {"peeks": 2}
        await seen[0].report("too late")
        return results

    assert [found.output for found in run(main())] == ["2027-01-15T08:00:00+00:00"] * 2
    assert [ctx.call_id for ctx in seen] == ["c0", "c1"]
    assert seen[0].cancelled is not seen[1].cancelled
    assert [type(event) for event in events] == [CallStarted, CallProgress, CallFinished] * 2
    assert events[1] == CallProgress(call_id="c0", name="peek", value={"done": 0.5})


def test_a_stream_reports_each_value_and_returns_the_last() -> None:
    @tool(effect="read")
    async def count() -> AsyncIterator[int]:
        """Count."""
        for value in range(3):
            yield value

    events: list[Any] = []
    found = run(Executor([count]).call(ToolCall("c1", "count", {}), Context(), events.append))
    assert found.value == 2
    assert [event.value for event in events if isinstance(event, CallProgress)] == [0, 1, 2]


def test_a_thread_sees_the_context_variables_of_its_task() -> None:
    user: ContextVar[str] = ContextVar("user", default="nobody")

    @tool(effect="read")
    def who() -> str:
        """Who."""
        return user.get()

    async def main() -> CallOutcome:
        user.set("Ana")
        return await Executor([who]).call(ToolCall("c1", "who", {}))

    assert run(main()).value == "Ana"


# --- registry -------------------------------------------------------------------------------------------------


def test_names_are_unique_and_both_places_are_named() -> None:
    @tool(name="echo")
    def other() -> None:
        """Other."""

    with pytest.raises(ToolDefinitionError) as caught:
        Executor([echo, other])
    assert "Two tools are named 'echo'" in str(caught.value)
    assert str(caught.value).count("test_executor.py:") == 2


def test_a_plain_function_is_no_tool() -> None:
    def plain() -> None: ...

    with pytest.raises(ToolDefinitionError, match=r"plain is not a tool\. Decorate it with @tool"):
        Executor([plain])  # type: ignore[list-item]


def test_specs_by_name_and_in_order() -> None:
    executor = Executor([echo])
    assert executor.specs == (echo.spec,)
    assert executor.spec("echo") is echo.spec and executor.spec("none") is None


# --- property: nothing raises out of the executor -------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@tool(effect="pure", thread=False)
def strict(count: int, names: list[str], when: date | None = None) -> dict[str, Any]:
    """Be strict."""
    return {"count": count, "names": names, "when": when}


@given(
    st.sampled_from(["strict", "echo"]) | st.text(),
    json_values | st.dictionaries(st.sampled_from(["count", "names", "when", "value"]), json_values),
)
def test_garbage_never_raises(name: str, arguments: Any) -> None:
    found = run(Executor([strict, echo]).call(ToolCall("c1", name, arguments)))
    assert found.status in ("ok", "invalid", "unknown")
    assert len(found.output) <= 4000
    found.output.encode()
    if found.status == "ok" and name == "strict":
        json.loads(found.output)
