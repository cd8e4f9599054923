"""One reply a turn: bundled with a write, or after the result, or forced out of a promise; never two, never none."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from sayso import Agent, tool
from sayso.events import AudioDelta, Event, TextDelta
from sayso.items import AssistantReply, ToolCall
from sayso.models.base import ModelRequest
from sayso.testing import Expectation, ScriptedModel, Step, call, run, say
from sayso.tools.journal import Journal


@tool(effect="write")
async def set_timer(minutes: int) -> str:
    """Set a timer."""
    if minutes < 0:
        raise ValueError("too short")
    return f"{minutes} minutes"


@tool(effect="write", background=True)
async def long_timer(minutes: int) -> str:
    """Set a timer, in the background."""
    await asyncio.sleep(5)
    return f"{minutes} minutes"


@tool(effect="read")
async def look_up(what: str) -> str:
    """Look something up."""
    return f"{what} is fine"


def forced(request: ModelRequest) -> bool:
    return request.force_call


def free(request: ModelRequest) -> bool:
    return not request.force_call


def asked(*steps: Step, **options: bool) -> tuple[str, ScriptedModel, Sequence[Event]]:
    model = ScriptedModel(*steps, **options)
    agent = Agent(tools=[set_timer, long_timer, look_up], model=model, journal=Journal())
    result = run(agent.ask("Please"))
    model.assert_finished()
    return result.text, model, result.events


def test_words_that_come_with_a_write_that_worked_are_the_reply() -> None:
    text, model, events = asked((None, [*say("Your timer is set."), *call("set_timer", minutes=5)]))
    assert text == "Your timer is set." and len(model.requests) == 1
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == text
    assert "".join(event.text for event in events if isinstance(event, AudioDelta)) == text


def test_words_that_come_with_writes_of_which_one_failed_are_followed_up() -> None:
    both = [*call("set_timer", minutes=5), *call("set_timer", minutes=-1)]
    text, _, _ = asked((None, [*say("Your timers are set."), *both]), {"too short": say("Only one was.")})
    assert text == "Your timers are set. Only one was."


@pytest.mark.parametrize(
    ("words", "made"),
    [
        ("Let me set that.", call("set_timer", minutes=5)),  # an announcement is no reply
        ("Shall I set another one?", call("set_timer", minutes=5)),  # nor is a question
        ("One moment.", call("look_up", what="tea")),
        ("The tea is good.", call("look_up", what="tea")),  # a read answers something
    ],
)
def test_an_announcement_a_call_and_its_result_are_one_reply(words: str, made: list) -> None:
    text, model, _ = asked((None, [*say(words), *made]), (None, say("Here it is.")))
    assert text == f"{words} Here it is." and len(model.requests) == 2


def test_a_background_call_and_its_words_are_one_reply() -> None:
    text, _, _ = asked((None, [*say("I am on it."), *call("long_timer", minutes=5)]), (None, say("It will take long.")))
    assert text == "I am on it. It will take long."


# --- promises -------------------------------------------------------------------------------------------------------


def test_a_promise_is_kept() -> None:
    text, model, _ = asked(
        (free, say("Let me check that for you.")),
        (forced, call("look_up", what="tea")),
        (free, say("The tea is fine.")),
    )
    assert text == "Let me check that for you. The tea is fine."
    assert len(model.requests) == 3


def test_a_promise_is_asked_for_once() -> None:
    text, model, _ = asked((free, say("Let me check that.")), (forced, say("One moment, please.")))
    assert text == "Let me check that. One moment, please." and len(model.requests) == 2


@pytest.mark.parametrize("words", ["It is nine.", "Shall I look it up?", "Let me know.", "I have set your timer."])
def test_an_answer_forces_no_call(words: str) -> None:
    assert asked((free, say(words)))[0] == words


def test_a_promise_after_a_call_forces_no_other() -> None:
    text, model, _ = asked((None, call("look_up", what="tea")), (None, say("Let me check the milk too.")))
    assert text == "Let me check the milk too." and len(model.requests) == 2


def test_a_model_that_cannot_be_forced_is_left_alone() -> None:
    class Free(ScriptedModel):
        def __init__(self, *steps: tuple[Expectation, list]) -> None:
            super().__init__(*steps)
            self.profile = replace(self.profile, forces_calls=False)

    result = run(Agent(tools=[look_up], model=Free((free, say("Let me check.")))).ask("Please"))
    assert result.text == "Let me check."


def test_an_agent_without_tools_promises_what_it_likes() -> None:
    assert run(Agent(model=ScriptedModel((free, say("Let me check.")))).ask("Please")).text == "Let me check."


def test_what_was_said_before_the_call_is_in_history_before_it() -> None:
    async def main() -> None:
        model = ScriptedModel((None, [*say("Let me look."), *call("look_up", what="tea")]), (None, say("Fine.")))
        async with Agent(tools=[look_up], model=model, journal=Journal()).session() as session:
            await session.ask("Tea?")
            kinds = [type(item) for item in session.history]
            assert kinds.index(AssistantReply) < kinds.index(ToolCall)
            shown = model.requests[1].items
            assert shown[1] == AssistantReply("Let me look.")  # the model sees what it said, and does not repeat it

    run(main())
