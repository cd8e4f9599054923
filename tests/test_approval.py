"""Approval of one exact call: by voice, by text, by an app; and all that does not count as one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sayso import Agent, Context, Session, tool
from sayso.approval import EXPIRED, REFUSED
from sayso.errors import NeedsApproval, UsageError
from sayso.events import ApprovalRequested, ApprovalResolved, Event, Heard
from sayso.items import AssistantReply, ToolCall, ToolOutput, UserInput
from sayso.speech.audio import load, resample
from sayso.speech.vad import trim
from sayso.testing import ScriptedModel, Step, call, hear, run, say
from sayso.tools import Tool
from sayso.tools.journal import Journal
from sayso.turn_policy import TurnPolicy

SPEECH = Path(__file__).parent.parent / "examples" / "questions" / "what_time.wav"
ROWS = [json.loads(line) for line in (Path(__file__).parent / "data/consent.jsonl").read_text().splitlines()]
QUESTION = "Shall I send 50 euros to Ann?"


def ask() -> Step:
    return (None, call("send", to="Ann", amount=50))


class Bank:
    """A counter that stands for what cannot be taken back."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, int]] = []

        @tool(effect="irreversible", confirm="Shall I send {amount} {currency} to {to}?", say="Sent {amount}.")
        async def send(to: str, amount: int, currency: str = "euros") -> dict[str, int]:
            """Send money."""
            self.sent.append((to, amount))
            return {"amount": amount}

        self.send: Tool = send

    def session(self, *steps: Step, speaks: bool = True, **policy: Any) -> Session:
        model = ScriptedModel(*steps, speaks=speaks)
        return Agent(tools=[self.send], model=model, policy=TurnPolicy(**policy), journal=Journal()).session()


def outputs(session: Session) -> list[tuple[str, str, str]]:
    return [(item.call_id, item.status, item.output) for item in session.history if isinstance(item, ToolOutput)]


def resolutions(events: Sequence[Event]) -> list[tuple[str, str]]:
    return [(event.decision, event.by) for event in events if isinstance(event, ApprovalResolved)]


async def followed(session: Session, what: Any) -> list[Event]:
    async with aclosing(session.stream(what)) as stream:
        return [event async for event in stream]


# --- the answer -----------------------------------------------------------------------------------------------------


def test_a_call_is_read_back_and_waits() -> None:
    async def main() -> None:
        bank = Bank()
        async with bank.session(ask()) as session:
            events = await followed(session, "Send Ann fifty")
            asked = next(event for event in events if isinstance(event, ApprovalRequested))
            assert (asked.call_id, asked.name, asked.question) == ("call_1_1", "send", QUESTION)
            assert json.loads(asked.arguments) == {"to": "Ann", "amount": 50, "currency": "euros"}
            assert session.approval is not None and session.approval.question == QUESTION
            assert session.approval.arguments == asked.arguments
            assert bank.sent == []
            _, made, waiting, question = session.history
            assert isinstance(made, ToolCall) and isinstance(waiting, ToolOutput)
            assert waiting.status == "waiting" and QUESTION in waiting.output
            assert question == AssistantReply(QUESTION)

    run(main())


def test_yes_runs_it_as_it_was_read_back() -> None:
    async def main() -> None:
        bank = Bank()
        async with bank.session(ask()) as session:
            await session.ask("Send Ann fifty")
            events = await followed(session, "Yes, please.")
            assert resolutions(events) == [("approved", "user")]
            assert (bank.sent, session.approval) == ([("Ann", 50)], None)
            said, made, output, reply = session.history[4:]
            assert said == UserInput("Yes, please.")
            assert made == ToolCall("call_2_1", "send", {"to": "Ann", "amount": 50})
            assert isinstance(output, ToolOutput) and (output.call_id, output.status) == ("call_2_1", "ok")
            assert reply == AssistantReply("Sent 50.")

    run(main())


def test_what_runs_is_what_was_validated_when_it_was_read_back() -> None:
    """A default that has changed, or an argument object that was written to, since the question."""

    async def main() -> None:
        bank = Bank()
        async with bank.session(ask()) as session:
            await session.ask("Send Ann fifty")
            made = session.history[1]
            assert isinstance(made, ToolCall)
            made.arguments["amount"] = 5000
            await session.ask("yes")
            assert bank.sent == [("Ann", 50)]

    run(main())


def test_no_drops_it() -> None:
    async def main() -> None:
        bank = Bank()
        async with bank.session(ask()) as session:
            await session.ask("Send Ann fifty")
            result = await session.ask("No, don't.")
            assert resolutions(result.events) == [("refused", "user")]
            assert (bank.sent, session.approval, result.text) == ([], None, "All right, I won't.")
            assert outputs(session)[1:] == [("call_1_1", "refused", REFUSED)]
            assert [type(item) for item in session.history[4:]] == [ToolOutput, UserInput, AssistantReply]

    run(main())


def test_a_correction_is_a_new_request() -> None:
    async def main() -> None:
        bank = Bank()
        async with bank.session(ask(), {"fifteen": call("send", to="Ann", amount=15)}) as session:
            await session.ask("Send Ann fifty")
            result = await session.ask("yes, no wait, fifteen")
            assert resolutions(result.events) == [("expired", "user")]
            assert bank.sent == [] and session.approval is not None
            assert session.approval.question == "Shall I send 15 euros to Ann?"
            assert [(call_id, status) for call_id, status, _ in outputs(session)] == [
                ("call_1_1", "waiting"),
                ("call_1_1", "refused"),
                ("call_2_1", "waiting"),
            ]
            assert EXPIRED in outputs(session)[1]
            await session.ask("yes")
            assert bank.sent == [("Ann", 15)]

    run(main())


def test_another_wish_expires_it_and_a_later_yes_confirms_nothing() -> None:
    async def main() -> None:
        bank = Bank()
        async with bank.session(ask(), {"time": say("Nine.")}, {"yes": say("What do you mean?")}) as session:
            await session.ask("Send Ann fifty")
            assert (await session.ask("What time is it?")).text == "Nine."
            assert (await session.ask("yes")).text == "What do you mean?"
            assert bank.sent == []

    run(main())


def test_silence_expires_it() -> None:
    async def main() -> None:
        bank = Bank()
        async with bank.session(ask(), {"yes": say("What do you mean?")}, approval_s=10) as session:
            result = await session.ask("Send Ann fifty")
            played_s = result.audio.seconds  # type: ignore[union-attr]
            await asyncio.sleep(played_s + 9.9)  # the time begins when the question has been heard
            assert session.approval is not None
            await asyncio.sleep(0.2)
            assert session.approval is None
            late = await session.ask("yes")
            assert (resolutions(late.events), late.text) == ([("expired", "time")], "What do you mean?")
            assert bank.sent == []
            assert outputs(session)[1:] == [("call_1_1", "refused", EXPIRED)]

    run(main())


def test_whoever_follows_is_told_when_it_expires() -> None:
    async def main() -> None:
        told: list[Event] = []
        async with Bank().session(ask(), approval_s=10) as session:
            with session.conductor.events.to(told.append):
                events = (await session.ask("Send Ann fifty")).events
                await asyncio.sleep(60)
        (asked,) = (event for event in events if isinstance(event, ApprovalRequested))
        assert resolutions(told) == [("expired", "time")]
        assert told[-1].time_s == pytest.approx(asked.expires_s)

    run(main())


@pytest.mark.parametrize("at_s", [0.0, 0.5])
def test_a_question_that_is_cut_off_confirms_nothing(at_s: float) -> None:
    """The user interrupts while the question is made, or while it plays."""

    class Slow(ScriptedModel):
        async def say(self, text: str, voice: str | None = None) -> AsyncIterator[Any]:  # type: ignore[override]
            async for piece in super().say(text, voice):
                yield piece
                await asyncio.sleep(at_s)

    async def main() -> None:
        bank = Bank()
        model = Slow(ask(), {"yes": say("What do you mean?")})
        async with Agent(tools=[bank.send], model=model, journal=Journal()).session() as session:
            turn = asyncio.create_task(session.ask("Send Ann fifty"))
            await asyncio.sleep(0.1)
            assert await session.interrupt(300)
            await turn
            assert session.approval is None
            assert outputs(session)[1:] == [("call_1_1", "refused", EXPIRED)]
            assert (await session.ask("yes")).text == "What do you mean?"
            assert bank.sent == []

    run(main())


def test_a_yes_that_is_interrupted_before_the_call_began_is_used_up() -> None:
    async def main() -> None:
        bank = Bank()

        @tool(effect="write")
        async def slow() -> None:
            """Take long."""
            await asyncio.sleep(9)

        model = ScriptedModel((None, call("slow")), ask(), {"yes": say("What?")})
        async with Agent(tools=[bank.send, slow], model=model, journal=Journal()).session() as session:
            turn = asyncio.create_task(session.ask("Begin"))
            await asyncio.sleep(1)
            await session.interrupt()
            await turn
            await session.ask("Send Ann fifty")
            turn = asyncio.create_task(session.ask("yes"))  # it waits behind the slow write
            await asyncio.sleep(1)
            await session.interrupt()
            assert (await turn).calls[0].status == "cancelled"
            await asyncio.sleep(20)
            await session.ask("yes")
            assert bank.sent == []

    run(main())


# --- the app --------------------------------------------------------------------------------------------------------


def test_an_app_agrees() -> None:
    async def main() -> None:
        bank = Bank()
        async with bank.session(ask()) as session:
            await session.ask("Send Ann fifty")
            result = await session.approve("call_1_1")
            assert (resolutions(result.events), result.text) == ([("approved", "app")], "Sent 50.")
            assert bank.sent == [("Ann", 50)]
            with pytest.raises(UsageError, match="No call 'call_1_1' waits"):
                await session.approve("call_1_1")
            with pytest.raises(UsageError, match="was decided, or expired"):
                session.refuse("call_1_1")
            assert bank.sent == [("Ann", 50)]

    run(main())


def test_an_app_refuses() -> None:
    async def main() -> None:
        bank = Bank()
        async with bank.session(ask(), {"yes": say("What do you mean?")}) as session:
            await session.ask("Send Ann fifty")
            session.refuse("call_1_1")
            assert outputs(session)[1:] == [("call_1_1", "refused", REFUSED)]
            result = await session.ask("yes")
            assert (resolutions(result.events), result.text) == ([("refused", "app")], "What do you mean?")
            assert bank.sent == []

    run(main())


def test_an_app_that_names_another_call_changes_nothing() -> None:
    async def main() -> None:
        bank = Bank()
        async with bank.session(ask(), {"sixty": call("send", to="Ann", amount=60)}) as session:
            with pytest.raises(UsageError, match="waits"):
                await session.approve("call_1_1")
            await session.ask("Send Ann fifty")
            for wrong in ("", "call_1_2", "call_2_1"):
                with pytest.raises(UsageError, match="waits"):
                    await session.approve(wrong)
            await session.ask("No, sixty")
            with pytest.raises(UsageError, match="waits"):  # the id of a question that was corrected
                await session.approve("call_1_1")
            assert bank.sent == [] and session.approval is not None
            await session.approve("call_2_1")
            assert bank.sent == [("Ann", 60)]

    run(main())


def test_an_app_agrees_too_late_or_while_a_turn_runs() -> None:
    async def main() -> None:
        bank = Bank()
        async with bank.session(ask(), (None, say("Well."))) as session:
            await session.ask("Send Ann fifty")
            turn = asyncio.create_task(session.ask("Um, what?"))
            await asyncio.sleep(0)
            with pytest.raises(UsageError):
                await session.approve("call_1_1")
            await turn
        async with bank.session(ask(), approval_s=5) as session:
            await session.ask("Send Ann fifty")
            await asyncio.sleep(60)
            with pytest.raises(UsageError, match="expired"):
                await session.approve("call_1_1")
        assert bank.sent == []

    run(main())


# --- more than one --------------------------------------------------------------------------------------------------


def test_one_action_is_confirmed_at_a_time() -> None:
    both = [*call("send", to="Ann", amount=50), *call("send", to="Bob", amount=60)]

    async def main() -> None:
        bank = Bank()
        async with bank.session((None, both)) as session:
            result = await session.ask("Send both")
            assert [report.status for report in result.calls] == ["waiting", "refused"]
            assert "only one action can be confirmed at a time" in result.calls[1].output
            assert "Make this call again afterwards" in result.calls[1].output
            assert result.text == QUESTION
            await session.ask("yes")
            assert bank.sent == [("Ann", 50)]

    run(main())


@pytest.mark.parametrize("by", ["user", "app"])
def test_a_model_that_speaks_for_itself_asks_one_question_a_turn(by: str) -> None:
    """It cannot be given a line, so it phrases the question; what a spoken yes is an answer to is not known."""
    more = {"Waits for the user": call("send", to="Bob", amount=60)}

    async def main() -> None:
        bank = Bank()
        model = ScriptedModel(ask(), more, (None, say("Shall I read you the news?")), (None, say("Here it is.")))
        model.profile = replace(model.profile, says_lines=False)
        async with Agent(tools=[bank.send], model=model, journal=Journal()).session() as session:
            result = await session.ask("Send money")
            assert [report.status for report in result.calls] == ["waiting", "refused"]
            assert result.text == "Shall I read you the news?" and model.said == []
            assert session.approval is not None and session.approval.call_id == "call_1_1"
            answer = session.ask("yes") if by == "user" else session.approve("call_1_1")
            assert (await answer).text == "Here it is."
            assert bank.sent == ([] if by == "user" else [("Ann", 50)])

    run(main())


def test_a_written_conversation_asks_too() -> None:
    async def main() -> None:
        bank = Bank()
        async with bank.session(ask(), speaks=False) as session:
            assert (await session.ask("Send Ann fifty")).text == QUESTION
            assert (await session.ask("yes")).text == "Sent 50."
            assert bank.sent == [("Ann", 50)]

    run(main())


def test_a_write_that_was_made_before_is_confirmed_where_its_tool_says_so() -> None:
    made: list[str] = []

    @tool(effect="write", on_duplicate="confirm", say="Ordered {item}.", confirm="Shall I order {item}?")
    async def order(item: str) -> dict[str, str]:
        """Order."""
        made.append(item)
        return {"item": item}

    model = ScriptedModel(*[(None, call("order", item=item)) for item in ("tea", "tea", "milk")])

    async def main() -> None:
        async with Agent(tools=[order], model=model, journal=Journal()).session() as session:
            assert (await session.ask("Order tea")).text == "Ordered tea."
            again = await session.ask("Order tea")
            assert "was done before" in again.text and again.text.endswith("Shall I order tea?")
            assert made == ["tea"]
            assert (await session.ask("yes")).text == "Ordered tea."
            assert (await session.ask("Order milk")).text == "Ordered milk."
            assert made == ["tea", "tea", "milk"]

    run(main())


def test_a_question_that_was_answered_with_no_does_not_count_as_done() -> None:
    made: list[str] = []

    @tool(effect="write", on_duplicate="reject", say="It comes.")
    async def taxi(to: str, ctx: Context) -> None:
        """Order a taxi."""
        question = "It costs seventy. Shall I order it?"
        if ctx.agreed != question:
            raise NeedsApproval(question)
        made.append(to)

    async def main() -> None:
        model = ScriptedModel(*[(None, call("taxi", to="town"))] * 2)
        async with Agent(tools=[taxi], model=model, journal=Journal()).session() as session:
            await session.ask("A taxi to town")
            await session.ask("No")
            assert (await session.ask("A taxi to town after all")).text == "It costs seventy. Shall I order it?"
            assert (await session.ask("Yes")).text == "It comes."
            assert made == ["town"]

    run(main())


@pytest.mark.parametrize(
    ("question", "read"),
    [
        ("Pay <b>70</b>\nto <|im_end|>?", "Pay ‹b>70‹/b> to ‹|im_end|›?"),  # it is agreed to as the tool wrote it
        ("", "cannot"),
        ("x" * 401, "cannot"),
    ],
)
def test_a_tools_own_question_is_read_out_safely_and_agreed_to_in_its_words(question: str, read: str) -> None:
    made: list[str] = []

    @tool(effect="write", say="Done.")
    async def pay(ctx: Context) -> None:
        """Pay."""
        if ctx.agreed != question or not question:
            raise NeedsApproval(question)
        made.append("paid")

    async def main() -> None:
        model = ScriptedModel((None, call("pay")), {"a person has to agree first": say("That cannot be asked.")})
        async with Agent(tools=[pay], model=model, journal=Journal()).session() as session:
            asked = await session.ask("Pay")
            if read == "cannot":
                assert asked.calls[0].status == "error" and session.approval is None
                return
            assert asked.text == read
            assert (await session.ask("Yes")).text == "Done."
            assert made == ["paid"]

    run(main())


def test_a_question_from_the_background_is_refused_as_that() -> None:
    @tool(effect="write", background=True)
    async def pay() -> None:
        """Pay."""
        raise NeedsApproval("Shall I pay?")

    async def main() -> None:
        model = ScriptedModel((None, call("pay")), (None, say("On it.")), {"background cannot ask": say("No.")})
        async with Agent(tools=[pay], model=model, journal=Journal()).session() as session:
            await session.ask("Pay")
            await asyncio.sleep(1)
            assert (await session.follow_up()) is not None and session.approval is None

    run(main())


# --- by voice -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "language", "sent"),
    [("Yes.", "en", True), ("好的", "zh", True), ("oui", "fr", False), ("", None, False), ("yes fifteen", "en", False)],
)
def test_a_spoken_answer(words: str, language: str | None, sent: bool) -> None:
    async def main() -> None:
        bank = Bank()
        async with bank.session(
            (None, [*hear("Send Ann fifty"), *call("send", to="Ann", amount=50)]),
            (None, [*hear(words, language), *say("Pardon?")]),
        ) as session:
            await session.ask(SPEECH)
            assert (await session.ask(SPEECH)).text == ("Sent 50." if sent else "Pardon?")
            assert bank.sent == ([("Ann", 50)] if sent else [])

    run(main())


async def live(*parts: Path | float) -> AsyncIterator[np.ndarray]:
    """Speech and seconds of silence, as a microphone gives them."""
    for part in parts:
        sound = np.zeros(round(part * 16_000), np.float32) if isinstance(part, float) else None
        for piece in np.array_split(resample(trim(load(part)), 16_000).samples if sound is None else sound, 50):
            yield piece
            await asyncio.sleep(len(piece) / 16_000)


def test_half_an_answer_in_live_speech_is_none() -> None:
    """ "Yes ... no wait": the pause after "yes" must not be taken for the end of the answer."""
    bank = Bank()
    model = ScriptedModel(
        (None, [*hear("Send Ann fifty"), *call("send", to="Ann", amount=50)]),
        (lambda request: request.items[-1].audio.seconds > 3.5, [*hear("yes, no wait"), *say("Yes?")]),  # type: ignore[union-attr]
    )

    async def main() -> None:
        async with Agent(tools=[bank.send], model=model, journal=Journal()).session() as session:
            sound = live(0.3, SPEECH, 4.0, SPEECH, 0.1, SPEECH, 4.0)
            async with aclosing(session.converse(sound, sample_rate_hz=16_000)) as stream:
                events = [event async for event in stream]
            assert [event.text for event in events if isinstance(event, Heard)] == ["Send Ann fifty", "yes, no wait"]
            assert resolutions(events) == [("expired", "user")]

    run(main())
    assert bank.sent == []
    model.assert_finished()


def test_a_guess_is_not_made_while_something_waits() -> None:
    async def main() -> None:
        bank = Bank()
        async with bank.session(ask()) as session:
            assert session.conductor.may_anticipate
            await session.ask("Send Ann fifty")
            assert not session.conductor.may_anticipate
            await asyncio.sleep(60)
            assert session.conductor.may_anticipate

    run(main())


def test_a_withdrawn_guess_asks_nobody() -> None:
    async def main() -> None:
        bank = Bank()
        async with bank.session(ask()) as session:
            events: list[Event] = []
            turn = asyncio.create_task(
                session.conductor.run_turn(session.conductor.answer("Send"), events.append, asyncio.Event())
            )
            await asyncio.sleep(1)
            await session.conductor.turns.withdraw()
            await turn
            assert (events, session.history, session.approval, bank.sent) == ([], (), None, [])

    run(main())


# --- the adversarial list, through the whole loop -------------------------------------------------------------------


async def is_called(row: dict[str, Any]) -> bool:
    """Whether the tool was called after the row's answer to its question."""
    called: list[dict[str, Any]] = []

    @tool(name="act", effect="irreversible")
    async def act() -> None:
        """Act."""

    async def handler(arguments: dict[str, Any], _: Any) -> str:
        called.append(arguments)
        return "done"

    question = row.get("question", "Shall I begin?")
    act = replace(act, validate=dict, handler=handler, question=lambda _: question)
    model = ScriptedModel((None, call("act", **row["arguments"])), (None, say("Well, well.")), speaks=False)
    async with Agent(tools=[act], model=model, journal=Journal()).session() as session:
        await session.ask("Do it")
        assert session.approval is not None and called == []
        user = UserInput(row["answer"], language=row["language"])
        await session.conductor.run_turn(lambda turn: turn.run(user), lambda event: None)
        assert called in ([], [row["arguments"]])
        return bool(called)


def test_only_a_yes_of_the_list_calls_the_tool() -> None:
    async def main() -> list[tuple[str, str]]:
        return [
            (row["verdict"], row["answer"]) for row in ROWS if (await is_called(row)) is not (row["verdict"] == "yes")
        ]

    assert run(main()) == []
