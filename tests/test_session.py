"""The loop as a user meets it: turns, rounds, interruptions, history."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

import pytest

from sayso import Agent, Context, tool
from sayso.errors import ModelError, UsageError
from sayso.events import AudioDelta, CallFinished, CallOpened, Event, Interrupted, TextDelta, TurnDone, TurnFailed
from sayso.items import AssistantReply, ToolCall, ToolOutput, UserInput, unanswered_calls
from sayso.models.base import CallClose, CallDelta, CallOpen, Speech, Text
from sayso.testing import ScriptedModel, broken_call, call, fail, run, say, tone, wait
from sayso.turn import TurnPolicy


@tool(effect="read")
async def opening_hours(shop: str, day: str = "today") -> str:
    """When a shop is open.

    Args:
        shop: Name of the shop.
        day: Which day.
    """
    return f"{shop} on {day}: 9 to 5"


@tool(effect="read", say="It is {degrees} degrees.")
async def temperature(city: str) -> dict[str, int]:
    """The temperature in a city."""
    return {"degrees": len(city)}


async def collect(session, what: str) -> list[Event]:
    async with aclosing(session.stream(what)) as stream:
        return [event async for event in stream]


def test_an_answer_without_a_tool() -> None:
    model = ScriptedModel({"hello": say("Good morning.")})
    result = run(Agent(model=model).ask("Hello!"))
    assert (result.heard, result.text, result.calls, result.reason) == ("Hello!", "Good morning.", (), "completed")
    assert result.audio is not None and result.audio.seconds == pytest.approx(0.06 * len("Good morning."), abs=0.01)
    model.assert_finished()


def test_a_call_its_result_and_the_answer() -> None:
    model = ScriptedModel(
        {"corner shop": [call("opening_hours", shop="corner", day="friday")]},
        {"corner on friday: 9 to 5": say("From nine to five.")},
    )
    result = run(Agent(tools=[opening_hours], model=model).ask("When is the corner shop open on Friday?"))
    assert result.text == "From nine to five."
    (report,) = result.calls
    assert (report.name, report.arguments) == ("opening_hours", {"shop": "corner", "day": "friday"})
    assert (report.status, report.output) == ("ok", "corner on friday: 9 to 5")
    model.assert_finished()


def test_parallel_calls_come_back_in_call_order() -> None:
    finished: list[str] = []

    @tool(effect="read")
    async def slow(name: str, seconds: float) -> str:
        """Take a while."""
        await asyncio.sleep(seconds)
        finished.append(name)
        return name

    model = ScriptedModel(
        (None, [call("slow", name="first", seconds=3), call("slow", name="second", seconds=1)]),
        (
            lambda request: [i.output for i in request.items if isinstance(i, ToolOutput)] == ["first", "second"],
            say("Done."),
        ),
    )
    result = run(Agent(tools=[slow], model=model).ask("Go"))
    assert finished == ["second", "first"]
    assert [report.output for report in result.calls] == ["first", "second"]
    assert result.events[-1].time_s == pytest.approx(3, abs=0.01)


def test_a_template_answers_without_asking_the_model_again() -> None:
    model = ScriptedModel({"warm": [call("temperature", city="Oslo")]})
    result = run(Agent(tools=[temperature], model=model).ask("How warm is it?"))
    assert result.text == "It is 4 degrees."
    assert model.said == ["It is 4 degrees."]
    model.assert_finished()


def test_one_template_and_one_plain_result_are_phrased_by_the_model() -> None:
    model = ScriptedModel(
        (None, [call("temperature", city="Oslo"), call("opening_hours", shop="x")]),
        (None, say("Four degrees, and open.")),
    )
    result = run(Agent(tools=[temperature, opening_hours], model=model).ask("Both?"))
    assert result.text == "Four degrees, and open."


@pytest.mark.parametrize(
    ("action", "status", "told"),
    [
        (call("no_such_tool", x=1), "unknown", "no_such_tool"),
        (call("opening_hours", place="corner"), "invalid", "shop"),
        (broken_call("opening_hours", '{"shop": '), "invalid", "JSON"),
    ],
)
def test_a_bad_call_goes_back_to_the_model_as_text(action: list, status: str, told: str) -> None:
    model = ScriptedModel((None, action), (told, say("Sorry.")))
    result = run(Agent(tools=[opening_hours], model=model).ask("Try"))
    assert result.calls[0].status == status
    assert "Traceback" not in result.calls[0].output
    assert result.text == "Sorry."


def test_the_number_of_rounds_is_limited() -> None:
    again = (None, [call("opening_hours", shop="x")])
    model = ScriptedModel(again, again, (lambda request: not request.allow_calls, say("Enough.")))
    result = run(Agent(tools=[opening_hours], model=model, policy=TurnPolicy(max_rounds=2)).ask("Loop"))
    assert result.text == "Enough."
    model.assert_finished()


def test_a_model_that_calls_after_the_last_round_is_refused_and_the_turn_ends() -> None:
    again = (None, [call("opening_hours", shop="x")])
    model = ScriptedModel(again, again)
    result = run(Agent(tools=[opening_hours], model=model, policy=TurnPolicy(max_rounds=1)).ask("Loop"))
    assert [report.status for report in result.calls] == ["ok", "cancelled"]
    assert result.reason == "completed"


def test_text_inside_a_call_is_never_spoken() -> None:
    leak = [
        CallOpen(-1, "opening_hours"),
        Text("<tool_call>"),
        CallDelta(-1, '{"shop":"x"}'),
        CallClose(-1, {"shop": "x"}, ""),
    ]
    model = ScriptedModel((None, leak), (None, say("Open.")))
    result = run(Agent(tools=[opening_hours], model=model).ask("Leak"))
    assert result.text == "Open."
    assert "".join(event.text for event in result.events if isinstance(event, AudioDelta)) == "Open."


def test_words_before_a_call_stay_in_history_before_it() -> None:
    model = ScriptedModel((None, [*say("Let me look."), *call("opening_hours", shop="x")]), (None, say("Open.")))

    async def main() -> None:
        async with Agent(tools=[opening_hours], model=model).session() as session:
            await session.ask("When?")
            assert [type(item) for item in session.history] == [
                UserInput,
                AssistantReply,
                ToolCall,
                ToolOutput,
                AssistantReply,
            ]

    run(main())


def test_the_next_turn_is_shown_the_whole_conversation() -> None:
    model = ScriptedModel(
        (None, [call("opening_hours", shop="x")]),
        (None, say("Nine to five.")),
        (lambda request: len(request.items) == 5, say("You asked about x.")),
    )

    async def main() -> None:
        async with Agent(tools=[opening_hours], model=model).session() as session:
            await session.ask("When is x open?")
            assert (await session.ask("What did I ask?")).text == "You asked about x."

    run(main())


def test_events_are_stamped_in_order() -> None:
    model = ScriptedModel((None, [call("opening_hours", shop="x"), wait(2)]), (None, say("Open.")))

    async def main() -> None:
        async with Agent(tools=[opening_hours], model=model).session() as session:
            events = await collect(session, "When?")
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert {(event.turn, event.generation) for event in events} == {(1, 0)}
        assert events[-1].type == "turn_done"
        assert events[-1].time_s == pytest.approx(2.0, abs=0.01)

    run(main())


def test_a_failing_model_fails_the_turn_and_the_session_lives_on() -> None:
    model = ScriptedModel(
        (None, [*call("opening_hours", shop="x"), *fail(ModelError("The model broke."))]),
        {"again": say("Here I am.")},
    )

    async def main() -> None:
        async with Agent(tools=[opening_hours], model=model).session() as session:
            events: list[Event] = []
            with pytest.raises(ModelError, match="The model broke"):
                async with aclosing(session.stream("When?")) as stream:
                    async for event in stream:
                        events.append(event)
            assert isinstance(events[-1], TurnFailed)
            assert not unanswered_calls(session.history)
            assert (await session.ask("again")).text == "Here I am."

    run(main())


def test_a_script_that_does_not_fit_says_what_was_shown() -> None:
    with pytest.raises(AssertionError, match="expects 'tea'; the model was shown: coffee"):
        run(Agent(model=ScriptedModel({"tea": say("Tea.")})).ask("coffee"))
    with pytest.raises(AssertionError, match="1 of 1 scripted steps were not used"):
        ScriptedModel({"tea": say("Tea.")}).assert_finished()


def test_an_interruption_cuts_history_at_what_was_heard() -> None:
    text = "one two three four five six seven eight"
    model = ScriptedModel((None, [*say(text), wait(60)]), (lambda r: r.items[1].interrupted, say("Yes?")))

    async def main() -> None:
        async with Agent(model=model).session() as session:
            events: list[Event] = []
            async with aclosing(session.stream("Count")) as stream:
                async for event in stream:
                    events.append(event)
                    if isinstance(event, AudioDelta) and event.text == "eight":
                        asyncio.get_running_loop().call_soon(
                            lambda: stopping.append(asyncio.ensure_future(session.interrupt(850)))
                        )
            await asyncio.gather(*stopping)
            assert isinstance(events[-2], Interrupted) and events[-2].played_ms == 850
            assert isinstance(events[-1], TurnDone) and events[-1].reason == "interrupted"
            assert events[-1].generation == 1
            assert session.history[1] == AssistantReply("one two three", interrupted=True)
            assert (await session.ask("Go on")).text == "Yes?"

    stopping: list[asyncio.Future[None]] = []
    run(main())


def test_an_interrupted_read_is_cancelled_and_history_stays_valid() -> None:
    cancelled: list[bool] = []

    @tool(effect="read")
    async def forever() -> str:
        """Never return."""
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        return ""

    model = ScriptedModel((None, call("forever")), (None, say("Fine.")))

    async def main() -> None:
        async with Agent(tools=[forever], model=model).session() as session:
            turn = asyncio.create_task(session.ask("Wait"))
            await asyncio.sleep(1)
            await session.interrupt()
            assert (await turn).reason == "interrupted"
            assert cancelled == [True]
            output = session.history[-1]
            assert isinstance(output, ToolOutput) and output.status == "cancelled"
            assert (await session.ask("Next")).text == "Fine."

    run(main())


def test_an_interrupted_write_runs_on_and_its_result_is_kept() -> None:
    done: list[int] = []

    @tool(effect="write")
    async def book(seat: int) -> str:
        """Book a seat."""
        await asyncio.sleep(5)
        done.append(seat)
        return f"booked {seat}"

    model = ScriptedModel(
        (None, call("book", seat=7)), (lambda r: "booked 7" in r.items[3].output, say("It is booked."))
    )

    async def main() -> None:
        async with Agent(tools=[book], model=model).session() as session:
            turn = asyncio.create_task(session.ask("Book seat 7"))
            await asyncio.sleep(1)
            await asyncio.gather(session.interrupt(), session.interrupt())
            result = await turn
            assert result.reason == "interrupted"
            assert [(report.name, report.status) for report in result.calls] == [("book", "running")]
            await asyncio.sleep(10)
            assert done == [7]
            assert (await session.ask("Did it work?")).text == "It is booked."

    run(main())


def test_a_second_turn_at_once_is_refused() -> None:
    async def main() -> None:
        async with Agent(model=ScriptedModel((None, wait(5)))).session() as session:
            turn = asyncio.create_task(session.ask("one"))
            await asyncio.sleep(1)
            with pytest.raises(UsageError, match="still running"):
                await session.ask("two")
            assert (await turn).reason == "completed"

    run(main())


def test_leaving_a_stream_early_ends_its_turn() -> None:
    async def main() -> None:
        async with Agent(
            model=ScriptedModel((None, [*say("a b c"), wait(99)]), (None, say("Next.")))
        ).session() as session:
            async with aclosing(session.stream("Count")) as stream:
                async for event in stream:
                    if isinstance(event, TextDelta):
                        break
            assert (await session.ask("and now")).text == "Next."
            assert asyncio.get_running_loop().time() < 1

    run(main())


@pytest.mark.parametrize("empty", ["", "  \n"])
def test_empty_text_is_refused(empty: str) -> None:
    with pytest.raises(UsageError, match="empty"):
        run(Agent(model=ScriptedModel()).ask(empty))


def test_tools_keep_state_in_the_session() -> None:
    @tool(effect="write", say="{count}")
    async def count(context: Context) -> dict[str, int]:
        """Count the calls."""
        context.state["count"] = context.state.get("count", 0) + 1
        return {"count": context.state["count"]}

    model = ScriptedModel((None, call("count")), (None, call("count")))

    async def main() -> None:
        async with Agent(tools=[count], model=model).session() as session:
            assert (await session.ask("one")).text == "1"
            assert (await session.ask("two")).text == "2"
            assert session.state == {"count": 2}

    run(main())


def test_ask_sync_and_where_it_may_not_be_used() -> None:
    assert Agent(model=ScriptedModel((None, say("Hi.")))).ask_sync("Hello").text == "Hi."

    async def main() -> None:
        with pytest.raises(UsageError, match="await"):
            Agent(model=ScriptedModel()).ask_sync("Hello")

    asyncio.run(main())


def test_progress_and_call_events_come_in_order() -> None:
    @tool(effect="read")
    async def search(query: str, context: Context) -> str:
        """Search."""
        await context.report("half")
        return "found"

    model = ScriptedModel((None, call("search", query="x")), (None, say("Found.")))

    async def main() -> None:
        async with Agent(tools=[search], model=model).session() as session:
            events = await collect(session, "Search")
        kinds = [
            event.type
            for event in events
            if isinstance(event, CallOpened | CallFinished) or event.type.startswith("call_")
        ]
        assert kinds == [
            "call_opened",
            "call_arguments",
            "call_ready",
            "call_started",
            "call_progress",
            "call_finished",
        ]

    run(main())


def test_a_reply_that_still_plays_after_its_turn_can_be_cut() -> None:
    model = ScriptedModel((None, say("one two three four")), (lambda r: r.items[1].text == "one two", say("Yes?")))

    async def main() -> None:
        async with Agent(model=model).session() as session:
            await session.ask("Count")
            assert await session.interrupt(500)
            assert session.history[1] == AssistantReply("one two", interrupted=True)
            assert not await session.interrupt(500)
            result = await session.ask("Go on")
            assert result.text == "Yes?"
            assert {event.generation for event in result.events} == {1}
            assert not await session.interrupt(10_000)
            assert not await session.interrupt()

    run(main())


def test_a_call_that_breaks_off_is_told_to_the_model_and_closes_nothing_else() -> None:
    cut = [*call("opening_hours", shop="a"), CallOpen(-1, "opening_hours"), CallDelta(-1, '{"shop": "b')]
    model = ScriptedModel((None, cut), (None, say("Only a is open.")))
    result = run(Agent(tools=[opening_hours], model=model).ask("Both?"))
    assert [report.status for report in result.calls] == ["ok", "invalid"]
    assert result.text == "Only a is open."


def test_speech_in_a_call_that_speaks_nothing_written_before_it_is_dropped() -> None:
    stray = Speech(tone("{shop: x}"), "{shop: x}")
    model = ScriptedModel(
        (None, [*say("Wait."), CallOpen(-1, "opening_hours"), stray, CallClose(-1, {"shop": "x"}, "")]),
        (None, say("Open.")),
    )
    result = run(Agent(tools=[opening_hours], model=model).ask("When?"))
    assert [event.text for event in result.events if isinstance(event, AudioDelta)] == ["Wait.", "Open."]


@pytest.mark.parametrize("error", [RuntimeError("a bug"), ModelError("It broke.")])
def test_every_failure_ends_with_one_event(error: Exception) -> None:
    async def main() -> None:
        async with Agent(model=ScriptedModel((None, fail(error)))).session() as session:
            events: list[Event] = []
            with pytest.raises(type(error)):
                async with aclosing(session.stream("Hi")) as stream:
                    async for event in stream:
                        events.append(event)
            assert [event.type for event in events] == ["turn_started", "heard", "turn_failed"]

    run(main())


def test_a_cut_after_a_late_result_keeps_the_result() -> None:
    @tool(effect="write")
    async def book() -> str:
        """Book."""
        await asyncio.sleep(5)
        return "booked"

    model = ScriptedModel((None, [*say("one two three four"), *call("book")]))

    async def main() -> None:
        async with Agent(tools=[book], model=model).session() as session:
            turn = asyncio.create_task(session.ask("Book"))
            await asyncio.sleep(1)
            await session.interrupt(500)
            await turn
            await asyncio.sleep(9)
            _, reply, _, running, output = session.history
            assert isinstance(running, ToolOutput) and running.status == "running"
            assert reply == AssistantReply("one two", interrupted=True)
            assert isinstance(output, ToolOutput) and output.output == "booked"

    run(main())


def test_a_turn_cut_off_from_outside_marks_its_reply() -> None:
    model = ScriptedModel((None, [*say("one two"), wait(99)]))

    async def main() -> None:
        async with Agent(model=model).session() as session:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(session.ask("Count"), 2)
            assert session.history[1] == AssistantReply("one two", interrupted=True)

    run(main())


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"after_untrusted": "Forbid"}, "Use allow, ask, forbid"),
        ({"approval_s": -1}, "approval_s=-1"),
        ({"filler_after_s": float("nan")}, "filler_after_s=nan"),
        ({"max_rounds": "4"}, "max_rounds='4'"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(values: dict, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        TurnPolicy(**values)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"journal": "calls.sqlite"}, "Give a Journal"),
        ({"policy": None}, "Give a TurnPolicy"),
        ({"tools": opening_hours}, "Put it into a list"),
    ],
)
def test_an_agent_that_cannot_be_is_refused(values: dict, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        Agent(**values)


def test_an_unknown_voice_is_refused() -> None:
    with pytest.raises(UsageError, match="no voice 'nobody'"):
        run(Agent(model=ScriptedModel(), voice="nobody").ask("Hi"))
    with pytest.raises(UsageError, match="no voice 'nobody'"):
        run(Agent(model=ScriptedModel(), voice="tone:0.5+nobody:0.5").ask("Hi"))


def test_an_unknown_time_zone_is_refused() -> None:
    with pytest.raises(UsageError, match="Atlantis"):
        run(Agent(model=ScriptedModel(), timezone="Europe/Atlantis").ask("Hi"))


def test_the_virtual_clock_tells_when_nothing_can_happen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sayso.testing.GRACE_S", 0.0)

    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="hangs"):
        run(main())


def test_tools_are_shown_the_virtual_wall_clock() -> None:
    @tool(effect="read")
    async def hours(ctx: Context) -> str:
        """The hour."""
        await asyncio.sleep(7200)
        return f"{ctx.now():%Y-%m-%d %H:%M}"

    model = ScriptedModel((None, call("hours")), (None, say("Eleven.")))
    slow = replace(hours, timeout_s=None)
    result = run(Agent(tools=[slow], model=model, timezone="UTC").ask("When?"))
    assert result.calls[0].output == "2026-01-01 11:00"
