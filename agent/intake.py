"""From whatever somebody asks with to a `UserInput`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from sayso.errors import AudioError, UsageError
from sayso.items import Audio, UserInput

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Frames: TypeAlias = "AsyncIterable[NDArray[np.float32]]"
"""Live sound: mono float32 pieces of any length."""

Input: TypeAlias = "str | Path | bytes | Audio | NDArray[Any] | Frames"
"""Words (str), a sound file (Path, or its bytes), an `Audio`, samples, or live frames."""


MAX_QUESTION_S = 300.0
"""More is no question: it would keep the agent busy for minutes, and its model cannot hold it."""


async def listen(
    what: Input, sample_rate_hz: int | None = None, *, hears: bool = True, id: str = ""
) -> UserInput | None:
    """Make a turn's input: words as they are, sound loaded and trimmed to its speech.

    Args:
        what: See `Input`; of live frames, the first utterance.
        sample_rate_hz: Needed for samples and frames.
        hears: Whether the model takes audio.
        id: Of the item.

    Returns:
        The input, or None where the sound holds no speech.

    Raises:
        UsageError: There is nothing to answer, or the model cannot hear.
        AudioError: The sound cannot be used.
    """
    if isinstance(what, str):
        if not (text := what.strip()):
            raise UsageError("There is nothing to answer: the text is empty.", "Ask with some words.")
        return UserInput(text, id=id)
    if not hears:
        raise UsageError("This model takes no audio.", "Ask it with text.")
    if isinstance(what, AsyncIterable):
        if sample_rate_hz is None:
            raise UsageError("Frames need their sample rate.", "Pass sample_rate_hz.")
        audio = await _first_utterance(what, sample_rate_hz)
    else:
        audio = await asyncio.to_thread(_speech_in, what, sample_rate_hz)
    return None if audio is None else UserInput(audio=audio, id=id)


def _speech_in(what: Path | bytes | Audio | NDArray[Any], sample_rate_hz: int | None) -> Audio | None:
    from sayso.speech.audio import load
    from sayso.speech.vad import trim

    audio = load(what, sample_rate_hz=sample_rate_hz)
    if audio.seconds > MAX_QUESTION_S:
        raise AudioError(
            f"This is {audio.seconds / 60:.0f} minutes of audio; a question may last {MAX_QUESTION_S / 60:.0f}.",
            "Cut out the question.",
        )
    return trim(audio)


async def _first_utterance(frames: Frames, sample_rate_hz: int) -> Audio | None:
    from sayso.speech.endpointing import Endpointer, Utterance

    endpointer = Endpointer(sample_rate_hz)
    async for frame in frames:
        for found in endpointer.feed(frame):
            if isinstance(found, Utterance):
                return found.audio
    return next((found.audio for found in endpointer.flush() if isinstance(found, Utterance)), None)
