"""The ids of one round as words, calls and sound, in the order in which they are to be heard."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra step-audio is not installed")
pytest.importorskip("xgrammar", reason="the extra step-audio is not installed")

import torch

from sayso.errors import ModelError
from sayso.models.base import CallClose, CallOpen, ModelEvent, Speech, Text
from sayso.models.parts import Part
from sayso.models.step_audio2.chat import Opening
from sayso.models.step_audio2.interleave import build
from sayso.models.step_audio2.loaded import Loaded, Options, load_all
from sayso.models.step_audio2.reader import Reader
from sayso.models.step_audio2.token2wav.stream import Stream
from sayso.models.step_audio2.tokenizer import Tokenizer
from sayso.testing import run

CALL = '<tool_call>function\nweather\n{"city": "Oslo"}</tool_call>'


@pytest.fixture(scope="module")
def part(tiny_checkpoint: Path) -> Iterator[Part[Loaded]]:
    torch.set_num_threads(1)
    part = Part("test", lambda: load_all(Options(tiny_checkpoint, device="cpu", dtype="float32", max_length=64)))
    yield part
    part.close()


def spoken(tokenizer: Tokenizer, words: str, codes: int) -> list[int]:
    return build(tokenizer, tokenizer.encode(words), [(31 * at) % 6561 for at in range(codes)])


def read(part: Part[Loaded], ids: Sequence[int], opening: Opening = "speak") -> tuple[list[ModelEvent], int]:
    """The events of these ids, and how many voices were opened."""
    opened: list[Stream] = []

    async def open_voice() -> Stream:
        opened.append(await part.use(lambda loaded: loaded.token2wav.stream("default_female", first_chunk_tokens=10)))
        return opened[-1]

    async def main() -> list[ModelEvent]:
        events: list[ModelEvent] = []
        reader = Reader((await part.get()).tokenizer, part, open_voice, events.append, opening)
        for token_id in ids:
            await reader.feed(token_id)
        await reader.finish()
        await reader.aclose()
        return events

    return run(main(), virtual=False), len(opened)


def seconds(events: Sequence[ModelEvent]) -> float:
    return sum(event.audio.seconds for event in events if isinstance(event, Speech))


def test_what_is_said_behind_a_call_is_played_behind_it(part: Part[Loaded], step_tokenizer: Tokenizer) -> None:
    tokenizer = step_tokenizer
    call = tokenizer.encode_marked(CALL)
    ids = [*spoken(tokenizer, "One moment.", 30), *call, tokenizer.tts_start, *spoken(tokenizer, "And this.", 20)]
    events, voices = read(part, [*ids, *call, tokenizer.eot])
    first, second = [at for at, event in enumerate(events) if isinstance(event, CallOpen)]
    closed = next(at for at, event in enumerate(events) if isinstance(event, CallClose))
    assert voices == 2
    assert seconds(events[:first]) == pytest.approx(30 / 25)
    assert seconds(events[first:closed]) == 0
    assert seconds(events[closed:second]) == pytest.approx(20 / 25)
    assert seconds(events[second:]) == 0
    words = "".join(event.text for event in events[closed:second] if isinstance(event, Text))
    assert words == "And this."


def test_sound_behind_a_call_needs_no_mark(part: Part[Loaded], step_tokenizer: Tokenizer) -> None:
    tokenizer = step_tokenizer
    behind = [tokenizer.audio_0 + code for code in range(20)]
    events, voices = read(part, [*tokenizer.encode_marked(CALL)[1:], *behind, tokenizer.eot], "call")
    assert voices == 1 and isinstance(events[-1], Speech) and seconds(events) == pytest.approx(20 / 25)


def test_no_voice_is_opened_for_what_is_written(part: Part[Loaded], step_tokenizer: Tokenizer) -> None:
    events, voices = read(part, [*step_tokenizer.encode("Written."), step_tokenizer.eot], "write")
    assert voices == 0 and "".join(event.text for event in events if isinstance(event, Text)) == "Written."


def test_a_voice_that_cannot_be_opened_is_told(part: Part[Loaded], step_tokenizer: Tokenizer) -> None:
    async def broken() -> Stream:
        raise ModelError("No voice today.")

    async def main() -> None:
        reader = Reader(step_tokenizer, part, broken, lambda event: None, "speak")
        try:
            await asyncio.sleep(0)
            await reader.feed(step_tokenizer.audio_0)
            await reader.finish()
        finally:
            await reader.aclose()

    with pytest.raises(ModelError, match="No voice today"):
        run(main())
