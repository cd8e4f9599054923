"""Thinking, seen from outside the model: what it is asked for, what is told, and that nothing of it is said or kept."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace

import pytest

from sayso import Agent
from sayso.cli import as_data, print_result
from sayso.events import Thought
from sayso.items import AssistantReply, UserInput
from sayso.testing import ScriptedModel, run, say, think, wait
from sayso.turn_policy import TurnPolicy


def thinker(*steps: object) -> ScriptedModel:
    model = ScriptedModel(*steps)  # type: ignore[arg-type]
    model.profile = replace(model.profile, thinks=True)
    return model


def test_the_budget_reaches_the_model() -> None:
    model = thinker((None, say("Yes.")), (None, say("Yes.")), (None, say("Yes.")))
    run(Agent(model=model).ask("Well?"))
    run(Agent(model=model, thinking=True).ask("Well?"))
    run(Agent(model=model, thinking=True, policy=TurnPolicy(thinking_tokens=64)).ask("Well?"))
    assert [request.thinking for request in model.requests] == [0, 512, 64]


def test_a_thought_is_told_and_neither_said_nor_kept() -> None:
    model = thinker((None, [*think("They greet "), *think("me."), *say("Hello.")]))

    async def main() -> None:
        async with Agent(model=model, thinking=True).session() as session:
            result = await session.ask("Hi.")
            assert [event.text for event in result.events if isinstance(event, Thought)] == ["They greet ", "me."]
            assert result.text == "Hello."
            assert session.history == (UserInput("Hi."), AssistantReply("Hello."))
            assert result.audio is not None and result.audio.seconds == pytest.approx(0.06 * len("Hello."))

    run(main())


def test_an_interruption_while_it_thinks_leaves_the_question() -> None:
    model = thinker((None, [*think("Hm."), wait(60), *say("Yes.")]), (None, say("Well.")))

    async def main() -> None:
        async with Agent(model=model, thinking=True).session() as session:
            async with aclosing(session.stream("Is it?")) as stream:
                async for event in stream:
                    if isinstance(event, Thought):
                        await session.interrupt()
            assert session.history == (UserInput("Is it?"),)
            assert (await session.ask("Now?")).text == "Well."

    run(main())


def test_the_command_line_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    model = thinker((None, [*think("They greet me."), *say("Hello.")]))
    result = run(Agent(model=model, thinking=True).ask("Hi."))
    assert as_data(result, None)["thought"] == "They greet me."
    print_result(result)
    assert "thought They greet me." in capsys.readouterr().out
