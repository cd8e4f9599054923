"""What goes wrong in other frameworks, each as a test of what happens here.

Others have files of their own: one reply a turn, promises, words before a call (test_one_reply.py), silent tools
(test_long_tools.py), approval by voice (test_approval.py), fillers (test_fillers.py, test_filler_pacing.py).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from sayso import Agent, Context, tool
from sayso.events import AudioDelta, CallFinished, CallOpened, CallProgress, CallReady, CallStarted, Event, TextDelta
from sayso.items import Audio, ToolOutput, unanswered_calls
from sayso.models.base import CallClose, CallOpen, ModelRequest, Text
from sayso.speech.audio import load
from sayso.testing import ScriptedModel, call, hear, run, say, wait
from sayso.tools.journal import Journal
from sayso.turn_policy import TurnPolicy

SPEECH = Path(__file__).parent.parent / "examples" / "questions" / "what_time.wav"


def test_a_tool_that_blocks_stops_neither_the_filler_nor_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Complaint 2: tools block the read loop, so even the filler never reaches the caller."""
    monkeypatch.setenv("SAYSO_CACHE", str(tmp_path))
    go_on = threading.Event()

    @tool(effect="read", filler="One moment.")
    def block() -> str:
        """Block its thread until it is let go."""
        go_on.wait()
        return "done"

    async def main() -> list[str]:
        heard: list[str] = []
        model = ScriptedModel((None, call("block")), (None, say("Done.")), (None, call("block")))
        agent = Agent(tools=[block], model=model, policy=TurnPolicy(filler_after_s=0), journal=Journal())
        async with agent.session() as session:
            await session.warm()
            async with aclosing(session.stream("Block")) as stream:
                async for event in stream:
                    if isinstance(event, AudioDelta) and event.text:
                        heard.append(event.text)
                        go_on.set()  # it ends because the filler was heard
            go_on.clear()
            async with aclosing(session.stream("Block again")) as stream:
                async for event in stream:
                    if isinstance(event, CallStarted):
                        break
            assert not session.is_busy and session.running == ()  # and the user is listened to
            go_on.set()
        return heard

    assert run(main(), virtual=False) == ["One moment.", "Done."]


def test_what_was_done_is_known_after_a_barge_in() -> None:
    """Complaint 9: completed tool results are discarded on barge-in, so the model calls again: duplicate orders."""
    ordered: list[str] = []

    @tool(effect="write")
    async def order(what: str) -> str:
        """Order."""
        ordered.append(what)
        return f"order 7: {what}"

    def knows(request: ModelRequest) -> bool:
        return any(isinstance(item, ToolOutput) and item.output == "order 7: tea" for item in request.items)

    async def main() -> None:
        model = ScriptedModel((None, call("order", what="tea")), (knows, [wait(9)]), (knows, say("Yes, it is.")))
        async with Agent(tools=[order], model=model, journal=Journal()).session() as session:
            turn = asyncio.create_task(session.ask("Order tea"))
            await asyncio.sleep(1)
            await session.interrupt(0)
            await turn
            assert (await session.ask("Is it ordered?")).text == "Yes, it is."
            assert ordered == ["tea"]

    run(main())


@tool(effect="read")
async def look(seconds: float) -> str:
    """Look."""
    await asyncio.sleep(seconds)
    return "seen"


@tool(effect="write")
async def change(seconds: float) -> str:
    """Change."""
    await asyncio.sleep(seconds)
    return "changed"


def two_calls() -> tuple[Any, ...]:
    calls = [*say("Well."), *call("look", seconds=1), *call("change", seconds=1), wait(0.5), *call("change", seconds=1)]
    return ((None, calls), (None, say("It is done.")))


def test_an_interruption_at_any_moment_leaves_nothing_open() -> None:
    """Complaints 10 and 11: a call that was cut off stays in progress for ever, or history has a call and no output.

    Each event of a turn is once the moment of the interruption. The next turn then works, as a provider would demand.
    """

    async def interrupted_at(number: int) -> bool:
        model = ScriptedModel(*two_calls())
        async with Agent(tools=[look, change], model=model, journal=Journal()).session() as session:
            events: list[Event] = []
            stopping: asyncio.Task[bool] | None = None
            async with aclosing(session.stream("Go")) as stream:
                async for event in stream:
                    events.append(event)
                    if len(events) == number:
                        stopping = asyncio.create_task(session.interrupt(0))
            if stopping is not None:
                await stopping
            assert not unanswered_calls(session.history)
            await asyncio.sleep(9)  # writes that had begun end
            assert session.running == ()
            outputs = [item for item in session.history if isinstance(item, ToolOutput)]
            last = {item.call_id: item.status for item in outputs}
            assert set(last.values()) <= {"ok", "cancelled"}
            model._steps, model._next = [(None, say("I am here."))], 0
            result = await session.ask("And now?")
            assert result.text == "I am here."
            every = [*events, *result.events]
            ready = [event.call_id for event in every if isinstance(event, CallReady)]
            ended = [event.call_id for event in every if isinstance(event, CallFinished) and event.status != "running"]
            assert sorted(ready) == sorted(ended) == sorted(last)
            return stopping is not None

    number = 1
    while run(interrupted_at(number)):
        number += 1
    assert number > 20


def test_a_time_out_ends_the_tool_whatever_progress_it_reports() -> None:
    """Complaint 12: a time-out does not cancel the handler, and an intermediate result disarms it."""
    ended: list[float] = []

    @tool(effect="read", timeout_s=3.5)
    async def stream() -> AsyncIterator[int]:
        """Report for ever."""
        try:
            for number in range(1000):
                yield number
                await asyncio.sleep(1)
        finally:
            ended.append(asyncio.get_running_loop().time())

    model = ScriptedModel((None, call("stream")), {"did not finish within 3.5 s": say("It took too long.")})
    result = run(Agent(tools=[stream], model=model, journal=Journal()).ask("Go"))
    assert [event.value for event in result.events if isinstance(event, CallProgress)] == [0, 1, 2, 3]
    assert (ended, result.calls[0].status) == ([pytest.approx(3.5)], "timeout")
    assert result.text == "It took too long."


def test_a_guess_that_was_right_costs_nothing_twice() -> None:
    """Complaint 15: preemptive generation doubles the cost, and runs hooks with side effects before it counts."""
    ran: list[float] = []

    @tool(effect="write")
    async def book() -> str:
        """Book."""
        ran.append(asyncio.get_running_loop().time())
        return "booked"

    async def main() -> None:
        model = ScriptedModel((None, call("book")), {"booked": say("It is booked.")})
        async with Agent(tools=[book], model=model, journal=Journal()).session() as session:
            events: list[Event] = []
            confirmed = asyncio.Event()
            turn = asyncio.create_task(
                session.conductor.run_turn(session.conductor.answer("Book"), events.append, confirmed)
            )
            await asyncio.sleep(2)
            assert (ran, events, session.history) == ([], [], ())
            session.conductor.turns.confirm(confirmed)
            await turn
            assert ran == [2.0] and len(model.requests) == 2
            assert [event.seq for event in events] == list(range(1, len(events) + 1))

    run(main())


def test_nothing_is_said_about_a_tool_that_still_runs() -> None:
    """Complaint 15 too: a reply invents the outcome of a tool that is still running."""
    model = ScriptedModel((None, call("look", seconds=5)), {"seen": say("I saw it.")})
    result = run(Agent(tools=[look], model=model, journal=Journal()).ask("Look"))
    ended = next(event for event in result.events if isinstance(event, CallFinished))
    words = [event for event in result.events if isinstance(event, TextDelta)]
    assert words and all(event.time_s >= ended.time_s for event in words)


def test_no_syntax_of_a_call_is_spoken() -> None:
    """Complaint 17: the model speaks tool syntax."""
    leak = [
        Text("Well."),
        CallOpen(0, "look"),
        Text('<tool_call>{"name": "look"}'),
        Text("tool outputs"),
        CallClose(0, {"seconds": 0}, ""),
    ]
    model = ScriptedModel((None, leak), (None, say("I saw it.")))
    result = run(Agent(tools=[look], model=model, journal=Journal()).ask("Look"))
    assert result.text == "Well. I saw it."
    spoken = "".join(event.text for event in result.events if isinstance(event, AudioDelta | TextDelta))
    assert "tool" not in spoken and "{" not in spoken


@pytest.mark.parametrize("what", ["Look", SPEECH])
@pytest.mark.parametrize("speak", [True, False])
@pytest.mark.parametrize("followed", [True, False])
def test_every_way_to_ask_has_the_same_tools(what: str | Path, speak: bool, followed: bool) -> None:
    """Complaints 19 and 20: the spoken path loses a rule that the written one has; a switch makes tools vanish."""
    sent: list[str] = []

    @tool(effect="irreversible", confirm="Shall I send it?")
    async def send() -> str:
        """Send."""
        sent.append("it")
        return "sent"

    async def main() -> None:
        heard = hear("send it") if isinstance(what, Path) else []
        model = ScriptedModel((None, [*heard, *call("send")]))
        agent = Agent(tools=[look, send], model=model, journal=Journal())
        sound: Audio | str = load(what) if isinstance(what, Path) else what
        async with agent.session(speak=speak) as session:
            if followed:
                async with aclosing(session.stream(sound)) as stream:
                    opened = [event async for event in stream if isinstance(event, CallOpened)]
                assert [event.name for event in opened] == ["send"]
            else:
                await session.ask(sound)
            assert session.approval is not None and sent == []
            assert [spec.name for spec in model.requests[0].tools] == ["look", "send"]

    run(main())


def test_a_call_that_waits_for_its_output_blocks_no_session() -> None:
    """Complaint 11 too: a session that waits for an owed result is stuck."""

    @tool(effect="write", timeout_s=None)
    async def never(ctx: Context) -> str:
        """Never end."""
        await asyncio.Event().wait()
        return ""

    async def main() -> None:
        model = ScriptedModel((None, call("never")), (None, say("I am here.")))
        async with Agent(tools=[never], model=model, journal=Journal()).session() as session:
            turn = asyncio.create_task(session.ask("Begin"))
            await asyncio.sleep(1)
            await session.interrupt()
            await turn
            assert (await session.ask("Are you there?")).text == "I am here."
            assert session.cancel_call("call_1_1")

    run(main())
