"""Long sound is cut at pauses and written down piece by piece."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sayso.errors import UsageError
from sayso.items import Audio
from sayso.models.base import Profile
from sayso.models.cascade import CascadeModel
from sayso.models.parts import Part
from sayso.models.transcription import Segment, Task, Transcribing, Word, joined, pieces, separator, transcribe
from sayso.models.whisper import Recognition
from sayso.speech.audio import concatenate, load
from sayso.testing import run

QUESTIONS = sorted((Path(__file__).parent.parent / "examples" / "questions").glob("*.wav"))


def silence(seconds: float, rate_hz: int) -> Audio:
    return Audio(np.zeros(round(seconds * rate_hz), np.float32), rate_hz)


def said(times: int, gap_s: float = 1.0) -> Audio:
    """A spoken question again and again."""
    one = load(QUESTIONS[0])
    return concatenate([part for _ in range(times) for part in (one, silence(gap_s, one.sample_rate_hz))])


class Notes:
    """A recogniser that writes down what it was given."""

    def __init__(self, language: str | None = None) -> None:
        self.given: list[tuple[float, Task]] = []
        self.language = language

    def transcribe(self, audio: Audio, language: str | None = None) -> Recognition:
        raise NotImplementedError

    def write_down(self, audio: Audio, task: Task) -> list[Segment]:
        self.given.append((audio.seconds, task))
        words = (Word(" a", 0.0, 0.5),) if task.words else ()
        return [Segment(f"piece {len(self.given)}", 0.0, audio.seconds, self.language, words)]


def cascade(ears: Notes, *, language: str | None = "en", interpreter: Notes | None = None) -> CascadeModel:
    other = None if interpreter is None else Part("interpreter", lambda: interpreter)
    unused: Any = None
    return CascadeModel(
        Profile("notes", transcribes=True), Part("ears", lambda: ears), unused, unused, language=language,
        interpreter=other,
    )  # fmt: skip


def test_pieces_are_cut_at_pauses_and_know_where_they_were() -> None:
    audio = said(12)
    found = list(pieces(audio, 10.0))
    assert len(found) > 1
    assert all(piece.seconds <= 10.5 for _, piece in found)
    for start_s, piece in found:
        first = round(start_s * audio.sample_rate_hz)
        assert np.array_equal(piece.samples, audio.samples[first : first + len(piece.samples)])
    ends = [start_s + piece.seconds for start_s, piece in found]
    assert all(start_s >= end_s - 0.5 for (start_s, _), end_s in zip(found[1:], ends, strict=False))


def test_speech_without_a_pause_is_cut_anyway() -> None:
    audio = said(8, gap_s=0.0)
    assert all(piece.seconds <= 2.5 for _, piece in pieces(audio, 2.0))


def test_no_speech_is_no_piece() -> None:
    assert list(pieces(silence(3, 16_000))) == []


def test_a_long_sound_is_written_down_in_pieces_with_its_own_times() -> None:
    ears, audio = Notes(), said(16)
    found = run(transcribe(cascade(ears), audio, Task(words=True)), virtual=False)
    assert len(found.segments) == len(ears.given) > 1
    assert found.seconds == audio.seconds
    assert found.text.startswith("piece 1 piece 2")
    second = found.segments[1]
    assert second.start_s > found.segments[0].end_s - 0.5
    assert second.words[0].start_s == second.start_s
    assert all(task.language == "en" for _, task in ears.given)


def test_the_language_that_was_found_is_kept() -> None:
    ears = Notes("pt")
    found = run(transcribe(cascade(ears, language=None), said(16)), virtual=False)
    assert [task.language for _, task in ears.given] == [None, *["pt"] * (len(ears.given) - 1)]
    assert found.language == "pt"


@pytest.mark.parametrize(
    ("task", "by_interpreter"),
    [
        (Task(), False),
        (Task(language="en-GB"), False),
        (Task(language="de"), True),
        (Task(translate=True), True),
        (Task(language="en", translate=True), True),
    ],
)
def test_who_writes_it_down(task: Task, by_interpreter: bool) -> None:
    ears, interpreter = Notes(), Notes()
    run(transcribe(cascade(ears, interpreter=interpreter), said(1), task), virtual=False)
    assert bool(interpreter.given) == by_interpreter
    assert bool(ears.given) != by_interpreter


def test_a_language_that_nobody_knows() -> None:
    with pytest.raises(UsageError, match="writes down en alone"):
        run(transcribe(cascade(Notes()), said(1), Task(language="de")), virtual=False)


def test_leaving_early_ends_the_work() -> None:
    ears = Notes()

    async def main() -> None:
        stream = cascade(ears).transcribe(said(60))
        await anext(stream)
        await stream.aclose()
        await asyncio.sleep(0)

    run(main(), virtual=False)
    assert len(ears.given) == 1


def test_texts_are_joined_as_they_are_written() -> None:
    parts = [Segment(text, 0, 1, language) for text, language in (("", None), ("你好。", "zh"), ("再见。", "zh"))]
    assert joined(parts, 2.0).text == "你好。再见。"
    assert joined(parts, 2.0).language == "zh"
    assert (separator("one", "two"), separator("", "two"), separator("一", "two")) == (" ", "", "")


@pytest.mark.models
def test_whisper_knows_when_words_were_said(model_path: Any) -> None:
    from sayso.models.whisper import WhisperRecognizer

    ears = WhisperRecognizer(model_path("whisper-tiny.en"), threads=1)
    audio = load(QUESTIONS[-1])
    plain = ears.write_down(audio, Task())
    timed = ears.write_down(audio, Task(words=True))
    words = [word for segment in timed for word in segment.words]
    assert "".join(word.text for word in words).split() == " ".join(segment.text for segment in timed).split()
    assert len(plain) == 1 and plain[0].text
    assert all(0 <= word.start_s <= word.end_s <= audio.seconds for word in words)
    assert [word.start_s for word in words] == sorted(word.start_s for word in words)
    assert ears.write_down(silence(2, 16_000), Task(times=True)) == []
    with pytest.raises(UsageError, match="does not translate"):
        ears.write_down(audio, Task(translate=True))


def test_step_audio_writes_down_what_it_hears(tiny_checkpoint: Path) -> None:
    pytest.importorskip("torch")
    from sayso.models.step_audio2.loaded import Options
    from sayso.models.step_audio2.model import StepAudio2Model

    async def main() -> None:
        options = Options(tiny_checkpoint, device="cpu", dtype="float32", max_tokens=30, max_length=1024, sessions=2)
        model = StepAudio2Model(options)
        try:
            assert model.profile.transcribes and isinstance(model, Transcribing)
            audio = said(1)
            found = await transcribe(model, audio, Task(language="en"))
            for segment in found.segments:  # its weights are random: what holds whatever it writes
                assert 0 <= segment.start_s < segment.end_s <= audio.seconds
            with pytest.raises(UsageError, match="translates nothing"):
                await transcribe(model, audio, Task(translate=True))
        finally:
            await model.aclose()

    run(main(), virtual=False)
