"""Calls that outlast their turn: in the background, cancelled, late; and those that nobody answers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sayso import Agent, Context, Session, tool
from sayso.events import CallFinished, CallProgress, CallStarted, Event, SpeechEnded, SpeechStarted, TurnDone
from sayso.items import AssistantReply, ToolCall, ToolOutput, unanswered_calls
from sayso.outbox import KEPT_PROGRESS
from sayso.speech.audio import load, resample
from sayso.testing import ScriptedModel, Step, call, hear, run, say, wait
from sayso.tools import Executor, Tool
from sayso.tools.journal import Journal, JournalError
from sayso.tools.round import STOPPED, STOPPED_WRITE

SPEECH = Path(__file__).parent.parent / "examples" / "questions" / "what_time.wav"


def now() -> float:
    return asyncio.get_running_loop().time()


@tool(effect="read", background=True, timeout_s=100)
async def search(seconds: float, ctx: Context) -> str:
    """Search for a long time."""
    for part in ("begun", "half"):
        await ctx.report(part)
        await asyncio.sleep(seconds / 2)
    return "three flights"


@tool(effect="write", background=True, timeout_s=100, say="The {what} is ordered.")
async def order(what: str, seconds: float, ctx: Context) -> dict[str, str]:
    """Order something, which takes long."""
    await asyncio.sleep(seconds)
    ctx.state.setdefault("ordered", []).append(what)
    return {"what": what}


def session_of(tools: list[Tool], *steps: Step, journal: Journal | None = None) -> Session:
    return Agent(tools=tools, model=ScriptedModel(*steps), journal=journal or Journal()).session()


def outputs(session: Session) -> list[tuple[str, str]]:
    return [(item.status, item.output) for item in session.history if isinstance(item, ToolOutput)]


# --- in the background ----------------------------------------------------------------------------------------------


def test_a_background_call_is_answered_at_once_and_told_later() -> None:
    async def main() -> None:
        steps: list[Step] = [(None, call("search", seconds=10)), {"in the background": say("I am on it.")}]
        async with session_of([search], *steps, {"three flights": say("Three flights.")}) as session:
            first = await session.ask("Find flights")
            assert (first.text, first.calls[0].status) == ("I am on it.", "running")
            assert now() < 1 and not session.has_news
            assert [(running.name, running.background) for running in session.running] == [("search", True)]
            assert await session.follow_up() is None
            await asyncio.sleep(11)
            assert session.has_news and session.running == ()
            told = await session.follow_up()
            assert told is not None and told.text == "Three flights." and not session.has_news
            events = [event for event in told.events if isinstance(event, CallStarted | CallProgress | CallFinished)]
            assert [(event.type, event.call_id) for event in events] == [  # nobody followed when they happened
                ("call_started", "call_1_1"),
                ("call_progress", "call_1_1"),
                ("call_progress", "call_1_1"),
                ("call_finished", "call_1_1"),
            ]
            assert [type(item) for item in session.history[1:]] == [
                ToolCall,
                ToolOutput,
                AssistantReply,
                ToolOutput,
                AssistantReply,
            ]

    run(main())


def test_a_result_with_words_of_its_own_is_told_without_the_model() -> None:
    async def main() -> None:
        steps: list[Step] = [(None, call("order", what="tea", seconds=5)), (None, say("Yes."))]
        async with session_of([order], *steps) as session:
            await session.ask("Order tea")
            await asyncio.sleep(6)
            told = await session.follow_up()
            assert told is not None and told.text == "The tea is ordered."

    run(main())


def test_a_result_that_came_before_the_next_question_is_shown_with_it() -> None:
    async def main() -> None:
        steps: list[Step] = [(None, call("search", seconds=10)), (None, say("I am on it."))]
        seen = (lambda request: request.items[-2].output == "three flights", say("Three flights, and it is nine."))
        async with session_of([search], *steps, seen) as session:
            await session.ask("Find flights")
            await asyncio.sleep(11)
            assert (await session.ask("What time is it?")).text == "Three flights, and it is nine."
            assert not session.has_news and await session.follow_up() is None

    run(main())


def test_a_result_that_comes_in_the_middle_of_a_turn_is_put_behind_it() -> None:
    async def main() -> None:
        steps: list[Step] = [
            (None, call("search", seconds=3)),
            (None, say("I am on it.")),
            (None, [wait(9), *say("A")]),
        ]
        async with session_of([search], *steps, {"three flights": say("Three flights.")}) as session:
            await session.ask("Find flights")
            await session.ask("Tell me a story")
            assert [type(item) for item in session.history[-2:]] == [AssistantReply, ToolOutput]
            told = await session.follow_up()
            assert told is not None and told.text == "Three flights."

    run(main())


def test_a_result_that_comes_while_the_user_is_being_understood_is_still_news() -> None:
    async def main() -> None:
        steps: list[Step] = [(None, call("search", seconds=3)), (None, say("I am on it."))]
        spoken = (None, [wait(5), *hear("what time is it"), *say("Nine.")])
        async with session_of([search], *steps, spoken, {"three flights": say("Three flights.")}) as session:
            await session.ask("Find flights")
            assert (await session.ask(SPEECH)).text == "Nine."
            assert session.has_news

    run(main())


async def live(session: Session, sound: list[float | Path]) -> list[Event]:
    async def frames() -> AsyncIterator[np.ndarray]:
        for part in sound:
            whole = np.zeros(round(part * 16_000), np.float32) if isinstance(part, float) else None
            whole = resample(load(part), 16_000).samples if whole is None else whole  # type: ignore[arg-type]
            for start in range(0, len(whole), 320):
                yield whole[start : start + 320]
                await asyncio.sleep(0.02)

    async with aclosing(session.converse(frames(), sample_rate_hz=16_000)) as stream:
        return [event async for event in stream]


def test_in_a_live_conversation_it_is_told_when_nobody_speaks() -> None:
    async def main() -> None:
        steps: list[Step] = [
            (None, [*hear("find flights"), *call("search", seconds=4)]),
            (None, say("On it.")),
            {"three flights": say("Three flights.")},
        ]
        async with session_of([search], *steps) as session:
            events = await live(session, [0.3, SPEECH, 10.0])
        assert [event.text for event in events if isinstance(event, TurnDone)] == ["On it.", "Three flights."]
        finished = next(event for event in events if isinstance(event, CallFinished) and event.status == "ok")
        assert finished.output == "three flights"
        assert events[-1].time_s == pytest.approx(finished.time_s, abs=0.1)

    run(main())


def test_in_a_live_conversation_it_is_never_told_while_the_user_speaks() -> None:
    async def main() -> None:
        steps: list[Step] = [
            (None, [*hear("find flights"), *call("search", seconds=4.5)]),
            (None, say("On it.")),
            (
                lambda request: request.items[-2].output == "three flights",
                [*hear("and hotels"), *say("Three. Hotels?")],
            ),
        ]
        async with session_of([search], *steps) as session:
            events = await live(session, [0.3, SPEECH, 2.0, SPEECH, 5.0])
        assert [event.text for event in events if isinstance(event, TurnDone)] == ["On it.", "Three. Hotels?"]
        second = [event for event in events if isinstance(event, SpeechStarted | SpeechEnded)][2:]
        came = next(event for event in events if isinstance(event, CallFinished) and event.status == "ok")
        assert second[0].time_s < came.time_s < second[1].time_s

    run(main())


@pytest.mark.parametrize("right", [True, False])
def test_a_guess_begins_nothing_in_the_background(right: bool) -> None:
    """An anticipated turn calls a background tool: it begins once the turn counts, and never where it does not."""

    async def main() -> None:
        events: list[Event] = []
        async with session_of([order], (None, call("order", what="tea", seconds=2)), (None, say("Yes."))) as session:
            confirmed = asyncio.Event()
            turn = asyncio.create_task(
                session.conductor.run_turn(session.conductor.answer("Order tea"), events.append, confirmed)
            )
            await asyncio.sleep(1)
            if right:
                session.conductor.turns.confirm(confirmed)
            else:
                await session.conductor.turns.withdraw()
            await turn
            await asyncio.sleep(9)
            if right:
                assert session.state["ordered"] == ["tea"] and session.has_news
                assert [status for status, _ in outputs(session)] == ["running", "ok"]
            else:
                assert (session.state, session.history, session.has_news, events) == ({}, (), False, [])

    run(main())


def test_an_interrupted_turn_leaves_the_background_alone() -> None:
    async def main() -> None:
        steps: list[Step] = [(None, call("order", what="tea", seconds=5)), (None, [*say("I am on it"), wait(9)])]
        async with session_of([order], *steps) as session:
            turn = asyncio.create_task(session.ask("Order tea"))
            await asyncio.sleep(1)
            await session.interrupt(100)
            await turn
            await asyncio.sleep(9)
            assert session.state["ordered"] == ["tea"] and session.has_news

    run(main())


def test_closing_stops_what_only_reads_and_waits_for_what_writes() -> None:
    journal = Journal()

    async def main() -> None:
        both = [*call("search", seconds=50), *call("order", what="tea", seconds=5)]
        async with session_of([search, order], (None, both), (None, say("Yes.")), journal=journal) as session:
            await session.ask("Both")
            await asyncio.sleep(1)
        assert now() == pytest.approx(5, abs=0.1)
        assert [entry.status for entry in journal.entries(session.id)] == ["cancelled", "ok"]
        assert session.state["ordered"] == ["tea"]

    run(main())
    journal.close()


def test_a_background_call_that_cannot_be_written_down_does_not_run_and_ends() -> None:
    async def main() -> None:
        journal = Journal()
        late: list[Any] = []
        executor = Executor([order], session="talk", journal=journal, late=late.append)
        journal.close()
        arguments = {"what": "tea", "seconds": 1}
        assert (await executor.call(ToolCall("c", "order", arguments))).status == "running"
        await executor.aclose()
        assert [(outcome.call_id, outcome.status) for outcome in late] == [("c", "error")]
        assert "was not run" in late[0].output and executor.running.calls() == ()

    run(main())


@pytest.mark.parametrize("inline", [False, True])
def test_a_call_that_cannot_be_written_down_does_not_run_and_says_why(inline: bool) -> None:
    ran: list[int] = []

    @tool(effect="pure", thread=False)
    def count() -> int:
        """Count."""
        ran.append(1)
        return 1

    @tool(effect="write")
    async def book() -> None:
        """Book."""
        ran.append(1)

    async def main() -> None:
        journal = Journal()
        model = ScriptedModel((None, call("count" if inline else "book")))
        async with Agent(tools=[count, book], model=model, journal=journal).session() as session:
            journal.close()
            with pytest.raises(JournalError):
                await session.ask("Go")
            ((status, output),) = outputs(session)
            assert status == "error" and "was not run: The journal" in output
            assert ran == [] and session.running == ()

    run(main())


def test_a_result_is_not_lost_where_its_end_cannot_be_written_down() -> None:
    journal = Journal()

    @tool(effect="write")
    async def book() -> str:
        """Book."""
        journal.close()  # the disk is full, the file is gone
        return "booked"

    result = run(
        Agent(tools=[book], model=ScriptedModel((None, call("book")), (None, say("Yes."))), journal=journal).ask("B")
    )
    assert [(report.status, report.output) for report in result.calls] == [("ok", "booked")]


# --- cancelled ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "line"), [("Stop that.", "All right, I stopped that."), ("算了吧", "好的，已经停止了。")]
)
def test_the_user_stops_what_runs_in_the_background(words: str, line: str) -> None:
    async def main() -> None:
        both = [*call("search", seconds=50), *call("order", what="tea", seconds=50)]
        async with session_of([search, order], (None, both), (None, say("Yes."))) as session:
            await session.ask("Both")
            await asyncio.sleep(1)
            assert (await session.ask(words)).text == line
            await asyncio.sleep(0)
            assert session.running == () and not session.has_news
            assert outputs(session)[2:] == [("cancelled", STOPPED), ("cancelled", STOPPED_WRITE)]
            assert session.state == {} and now() < 5
            assert not unanswered_calls(session.history)

    run(main())


def test_stop_that_with_nothing_to_stop_is_for_the_model() -> None:
    async def main() -> None:
        async with session_of([search], {"stop that": say("Stop what?")}) as session:
            assert (await session.ask("Stop that")).text == "Stop what?"

    run(main())


def test_the_app_stops_a_call_by_its_id() -> None:
    async def main() -> None:
        both = [*call("search", seconds=50), *call("order", what="tea", seconds=3)]
        async with session_of([search, order], (None, both), (None, say("Yes."))) as session:
            await session.ask("Both")
            assert session.cancel_call("call_1_1")
            assert not session.cancel_call("call_9_9")
            await asyncio.sleep(5)
            assert not session.cancel_call("call_1_1") and not session.cancel_call("call_1_2")
            assert [status for status, _ in outputs(session)[2:]] == ["cancelled", "ok"]

    run(main())


def test_of_the_progress_that_nobody_followed_the_last_is_kept() -> None:
    @tool(effect="read", background=True, timeout_s=None)
    async def watch(ctx: Context) -> str:
        """Watch."""
        for minute in range(1000):
            await ctx.report(minute)
            await asyncio.sleep(60)
        return "seen"

    async def main() -> None:
        async with session_of(
            [watch], (None, call("watch")), (None, say("I watch.")), (None, say("Still."))
        ) as session:
            await session.ask("Watch")
            await asyncio.sleep(600.5 * 60)
            async with aclosing(session.stream("And?")) as stream:
                told = [event async for event in stream]
            shown = [event.value for event in told if isinstance(event, CallProgress)]
            assert shown == list(range(601 - KEPT_PROGRESS, 601))

    run(main())


def test_a_call_that_is_stopped_before_its_first_step_ends_too() -> None:
    async def main() -> None:
        late: list[Any] = []
        executor = Executor([search], late=late.append)
        async with executor.round(Context()) as calls:
            calls.start(ToolCall("c", "search", {"seconds": 5}))
            assert executor.running.cancel("c")
        await executor.aclose()
        await asyncio.sleep(0)
        assert [(outcome.status, outcome.output) for outcome in late] == [("cancelled", STOPPED)]
        assert executor.running.calls() == ()

    run(main())


def test_a_stopped_write_that_waits_has_changed_nothing() -> None:
    async def main() -> None:
        both = [*call("order", what="tea", seconds=5), *call("order", what="milk", seconds=5)]
        async with session_of([order], (None, both), (None, say("Yes."))) as session:
            await session.ask("Both")
            session.cancel_call("call_1_2")
            await asyncio.sleep(20)
            assert session.state["ordered"] == ["tea"]
            assert sorted(outputs(session)[2:]) == [("cancelled", STOPPED), ("ok", '{"what":"tea"}')]

    run(main())


# --- silent and late -------------------------------------------------------------------------------


def test_a_silent_tool_is_recorded_and_not_answered() -> None:
    @tool(effect="write", reply=False)
    async def note(text: str) -> str:
        """Take a note."""
        return "noted"

    async def main() -> None:
        model = ScriptedModel((None, call("note", text="tea")), (lambda r: len(r.items) == 4, say("You noted tea.")))
        async with Agent(tools=[note], model=model, journal=Journal()).session() as session:
            result = await session.ask("Note tea")
            assert (result.text, result.audio, result.reason) == ("", None, "completed")
            assert outputs(session) == [("ok", "noted")]
            assert (await session.ask("What did I note?")).text == "You noted tea."

    run(main())


def test_a_silent_tool_that_fails_is_answered() -> None:
    @tool(effect="write", reply=False)
    async def note(text: str) -> str:
        """Take a note."""
        raise ValueError("no paper")

    model = ScriptedModel((None, call("note", text="tea")), {"no paper": say("I could not note that.")})
    result = run(Agent(tools=[note], model=model, journal=Journal()).ask("Note tea"))
    assert result.text == "I could not note that."


def test_a_thread_that_comes_back_late_is_offered() -> None:
    go_on = threading.Event()

    @tool(effect="write", timeout_s=0.05)
    def book() -> str:
        """Book in a thread, too slowly."""
        go_on.wait()
        return "booked after all"

    async def main() -> None:
        journal = Journal()
        steps: list[Step] = [(None, call("book")), {"not known whether": say("I am not sure that worked.")}]
        async with session_of([book], *steps, {"booked after all": say("It worked.")}, journal=journal) as session:
            assert (await session.ask("Book")).text == "I am not sure that worked."
            assert [entry.status for entry in journal.entries(session.id)] == ["timeout"]
            assert not session.has_news
            came = asyncio.Event()
            with session.conductor.followed_by(lambda event: None, came.set):
                go_on.set()
                await came.wait()
            assert [status for status, _ in outputs(session)] == ["timeout", "ok"]
            told = await session.follow_up()
            assert told is not None and told.text == "It worked."
            assert [entry.status for entry in journal.entries(session.id)] == ["ok"]

    run(main(), virtual=False)
