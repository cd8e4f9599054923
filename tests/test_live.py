"""Live audio through a session: one utterance from a stream, and a conversation that can be interrupted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest

from sayso import Agent
from sayso.errors import AudioError, ModelError, UsageError
from sayso.events import Event
from sayso.items import AssistantReply, Audio
from sayso.speech.audio import load, resample
from sayso.testing import ScriptedModel, fail, hear, run, say, wait

QUESTION = Path(__file__).parent.parent / "examples" / "questions" / "what_time.wav"
RATE_HZ = 16_000
FRAME = 320


def samples(*parts: Audio | float) -> np.ndarray:
    """Pieces of sound and seconds of silence, one after another, at 16 kHz."""
    return np.concatenate(
        [
            np.zeros(round(part * RATE_HZ), np.float32) if isinstance(part, float) else resample(part, RATE_HZ).samples
            for part in parts
        ]
    )


async def live(sound: np.ndarray) -> AsyncIterator[np.ndarray]:
    """Frames of 20 ms, as fast as they come from a microphone."""
    for start in range(0, len(sound), FRAME):
        yield sound[start : start + FRAME]
        await asyncio.sleep(FRAME / RATE_HZ)


def talk(model: ScriptedModel, sound: np.ndarray, **options: object) -> tuple[list[Event], tuple[object, ...]]:
    async def main() -> tuple[list[Event], tuple[object, ...]]:
        async with Agent(model=model).session() as session:
            async with aclosing(session.converse(live(sound), sample_rate_hz=RATE_HZ, **options)) as stream:
                events = [event async for event in stream]
            return events, session.history

    return run(main())


def kinds(events: list[Event]) -> list[str]:
    kept = {"speech_started", "speech_ended", "turn_started", "heard", "interrupted", "turn_done", "turn_failed"}
    return [event.type for event in events if event.type in kept]


def test_a_stream_is_one_utterance() -> None:
    model = ScriptedModel(
        (lambda request: request.items[-1].audio.seconds > 1, [*hear("what time is it"), *say("Nine.")])
    )
    sound = samples(0.5, load(QUESTION), 2.0)

    async def main() -> None:
        result = await Agent(model=model).ask(live(sound), sample_rate_hz=RATE_HZ)
        assert (result.heard, result.text) == ("what time is it", "Nine.")

    run(main())


def test_a_stream_of_silence_holds_no_speech() -> None:
    async def main() -> None:
        result = await Agent(model=ScriptedModel()).ask(live(samples(3.0)), sample_rate_hz=RATE_HZ)
        assert (result.reason, result.text) == ("no_speech", "")

    run(main())


def test_a_stream_needs_its_rate() -> None:
    with pytest.raises(UsageError, match="sample_rate_hz"):
        run(Agent(model=ScriptedModel()).ask(live(samples(1.0))))


def test_two_turns_in_one_conversation() -> None:
    model = ScriptedModel((None, [*hear("one"), *say("First.")]), (None, [*hear("two"), *say("Second.")]))
    events, history = talk(model, samples(0.3, load(QUESTION), 3.0, load(QUESTION), 3.0))
    turn = ["speech_started", "speech_ended", "turn_started", "heard", "turn_done"]
    assert kinds(events) == [*turn, *turn]
    assert [item.text for item in history] == ["one", "First.", "two", "Second."]


def test_speaking_interrupts_a_running_turn() -> None:
    model = ScriptedModel(
        (None, [*hear("count"), *say("one two three four"), wait(60)]), (None, [*hear("stop"), *say("Yes?")])
    )
    events, history = talk(model, samples(0.3, load(QUESTION), 3.0, load(QUESTION), 3.0), played_ms=lambda: 500)
    started = ["speech_started", "speech_ended", "turn_started", "heard"]
    assert kinds(events) == [*started, "interrupted", "turn_done", *started, "turn_done"]
    assert history[1] == AssistantReply("one two", interrupted=True)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))


def test_speaking_interrupts_a_reply_that_still_plays() -> None:
    model = ScriptedModel((None, [*hear("count"), *say("one two three four")]), (None, [*hear("stop"), *say("Yes?")]))
    events, history = talk(model, samples(0.3, load(QUESTION), 3.0, load(QUESTION), 3.0), played_ms=lambda: 500)
    assert "interrupted" in kinds(events)
    assert history[1] == AssistantReply("one two", interrupted=True)


def test_without_barge_in_a_turn_is_not_disturbed() -> None:
    model = ScriptedModel((None, [*hear("count"), wait(8), *say("one two")]))
    events, history = talk(model, samples(0.3, load(QUESTION), 1.0, load(QUESTION), 1.0), barge_in=False)
    assert kinds(events).count("turn_done") == 1
    assert history[1] == AssistantReply("one two")


def test_a_turn_that_fails_does_not_end_the_conversation() -> None:
    model = ScriptedModel((None, fail(ModelError("It broke."))), (None, [*hear("two"), *say("Second.")]))
    events, _ = talk(model, samples(0.3, load(QUESTION), 3.0, load(QUESTION), 3.0))
    assert kinds(events).count("turn_failed") == 1
    assert events[-1].type == "turn_done"


@pytest.mark.parametrize(
    ("sound", "told"),
    [
        (np.zeros(0, np.float32), "0 samples"),
        (np.full(16_000, np.nan, np.float32), "finite"),
        (np.zeros(16_000, np.float32), "silen"),
    ],
)
def test_sound_that_is_no_sound(sound: np.ndarray, told: str) -> None:
    with pytest.raises(AudioError, match=told):
        run(Agent(model=ScriptedModel()).ask(sound, sample_rate_hz=RATE_HZ))


def test_noise_is_no_speech_and_the_model_is_not_asked() -> None:
    noise = np.random.default_rng(1).normal(0, 0.05, 3 * RATE_HZ).astype(np.float32)
    model = ScriptedModel()
    result = run(Agent(model=model).ask(noise, sample_rate_hz=RATE_HZ))
    assert (result.reason, model.requests) == ("no_speech", [])


def test_a_model_without_ears_says_so() -> None:
    with pytest.raises(UsageError, match="takes no audio"):
        run(Agent(model=ScriptedModel(hears=False)).ask(QUESTION))


@pytest.mark.parametrize("as_stereo", [False, True])
def test_a_file_its_bytes_and_its_samples_are_heard_alike(as_stereo: bool) -> None:
    audio = load(QUESTION)
    whole = np.stack([audio.samples, audio.samples], axis=1) if as_stereo else audio.samples
    lengths: list[float] = []

    def takes(request: object) -> bool:
        lengths.append(round(request.items[-1].audio.seconds, 3))  # type: ignore[attr-defined]
        return True

    for what, rate in ((QUESTION, None), (QUESTION.read_bytes(), None), (audio, None), (whole, audio.sample_rate_hz)):
        run(Agent(model=ScriptedModel((takes, [*hear("x"), *say("y")]))).ask(what, sample_rate_hz=rate))
    assert len(set(lengths)) == 1


def test_human_speech_reaches_the_model(shared_data: Path) -> None:
    rows = [json.loads(line) for line in (shared_data / "speech" / "manifest.jsonl").read_text().splitlines()]
    for row in [row for row in rows if row["file"].startswith("speech/assistant")]:
        model = ScriptedModel((None, [*hear(row["transcript"]), *say("Yes.")]))
        assert run(Agent(model=model).ask(shared_data / row["file"])).text == "Yes."


def test_what_is_said_at_the_very_end_of_the_frames_is_answered() -> None:
    model = ScriptedModel((None, [*hear("one"), *say("First.")]))
    events, history = talk(model, samples(0.3, load(QUESTION), 0.3))
    assert kinds(events)[-1] == "turn_done"
    assert len(history) == 2


def test_a_pause_in_a_sentence_loses_none_of_it() -> None:
    lengths: list[float] = []

    def takes(request: object) -> bool:
        lengths.append(request.items[-1].audio.seconds)  # type: ignore[attr-defined]
        return True

    model = ScriptedModel((takes, wait(30)), (takes, [*hear("all of it"), *say("Yes.")]))
    _, history = talk(model, samples(0.3, load(QUESTION), 1.5, load(QUESTION), 3.0))
    assert lengths[1] > 1.8 * lengths[0]
    assert [item.text for item in history] == ["all of it", "Yes."]


def test_a_recording_is_no_question() -> None:
    tone = np.sin(np.arange(3600 * 4000) * 0.3).astype(np.float32)
    with pytest.raises(AudioError, match="60 minutes"):
        run(Agent(model=ScriptedModel()).ask(tone, sample_rate_hz=4000))


def test_a_guess_that_the_app_cuts_off_is_answered_after_all() -> None:
    model = ScriptedModel((None, wait(30)), (None, [*hear("what time is it"), *say("Nine.")]))

    async def main() -> None:
        async with Agent(model=model).session() as session:

            async def frames() -> AsyncIterator[np.ndarray]:
                cut = False
                async for frame in live(samples(0.3, load(QUESTION), 3.0)):
                    yield frame
                    if model.requests and not cut:  # the turn began in the pause and does not count yet
                        cut = await session.interrupt()
                        assert session.history == ()

            async with aclosing(session.converse(frames(), sample_rate_hz=RATE_HZ)) as stream:
                events = [event async for event in stream]
            assert kinds(events) == ["speech_started", "speech_ended", "turn_started", "heard", "turn_done"]
            assert [item.text for item in session.history] == ["what time is it", "Nine."]

    run(main())


def test_leaving_during_a_guess_ends_it() -> None:
    async def main() -> None:
        async with Agent(model=ScriptedModel((None, wait(30)))).session() as session:
            begun = asyncio.Event()

            async def frames() -> AsyncIterator[np.ndarray]:
                async for frame in live(samples(0.3, load(QUESTION), 3.0)):
                    yield frame
                    if session.is_busy:
                        begun.set()
                        await asyncio.sleep(99)

            async def follow() -> None:
                async with aclosing(session.converse(frames(), sample_rate_hz=RATE_HZ)) as stream:
                    async for _ in stream:
                        pass

            talking = asyncio.create_task(follow())
            await begun.wait()
            talking.cancel()
            await asyncio.wait([talking])
            assert not session.is_busy and session.history == ()

    run(main())
