"""Fixed lines in the session's voice: rendered once per voice and line, kept on disk, played at no cost."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import threading
import zlib
from collections.abc import Iterable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import BadZipFile

from sayso.items import Audio, ToolSpec
from sayso.models.base import VoiceModel
from sayso.settings import cache_root

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Filler:
    """A line that is ready to be played while a call runs."""

    text: str
    audio: Audio = field(repr=False)


class Lines:
    """The fixed lines of one voice.

    Args:
        model: Says them, where its profile says that it can.
        voice: One of its voices, or None for the default.
        folder: Where rendered lines are kept; default: the cache folder.
    """

    def __init__(self, model: VoiceModel, voice: str | None, folder: Path | None = None) -> None:
        self._model = model
        self._voice = voice
        self._folder = folder or cache_root() / "lines"
        self._ready: dict[str, Audio] = {}
        self._played = -1

    async def prepare(self, lines: Iterable[str | None]) -> None:
        """Make ``lines`` ready: from disk, else by letting the model say them."""
        if not self._model.profile.says_lines:
            return
        for text in dict.fromkeys(line for line in lines if line):
            if text not in self._ready:
                self._ready[text] = await self._stored(text) or await self._render(text)

    def filler(self, tool: ToolSpec | None) -> Filler | None:
        """The next filler of ``tool`` that is ready or on disk; it is never rendered here, while somebody waits."""
        if tool is None or not self._model.profile.says_lines:
            return None
        ready = [Filler(line, audio) for line in tool.fillers if (audio := self._at_hand(line))]
        if not ready:
            return None
        self._played += 1
        return ready[self._played % len(ready)]

    def _at_hand(self, line: str) -> Audio | None:
        if line not in self._ready and (stored := _read(self._path(line))):
            self._ready[line] = stored
        return self._ready.get(line)

    async def _stored(self, text: str) -> Audio | None:
        return await asyncio.to_thread(_read, self._path(text))

    async def _render(self, text: str) -> Audio:
        from sayso.speech.audio import concatenate

        pieces: list[Audio] = []
        async with aclosing(self._model.say(text, self._voice)) as stream:
            async for piece in stream:
                pieces.append(piece.audio)
        audio = concatenate(pieces)
        await asyncio.to_thread(_write, self._path(text), audio)
        return audio

    def _path(self, text: str) -> Path:
        profile = self._model.profile
        voice = self._voice or next(iter(profile.voices), "")  # a model may have one voice, and no name for it
        clip = next((known.clip for known in profile.voice_facts if known.name == voice), None)
        parts = [profile.name, str(profile.sample_rate_hz), voice, text]
        key = "\0".join([*parts, clip.name] if clip is not None else parts)  # a new clip may take an old one's name
        return self._folder / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.npz"


def _read(path: Path) -> Audio | None:
    import numpy as np

    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return Audio(stored["samples"].astype(np.float32), int(stored["sample_rate_hz"]))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error):
        return None  # absent or broken: it is rendered anew


def _write(path: Path, audio: Audio) -> None:
    import numpy as np

    partial = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.partial.npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(partial, samples=audio.samples, sample_rate_hz=audio.sample_rate_hz)
        partial.replace(path)
    except OSError as error:  # it is still in memory; the next process renders it again
        _log.warning("a spoken line cannot be kept in %s: %s", path.parent, error)
        with suppress(OSError):
            partial.unlink(missing_ok=True)
