"""What of the library a session's model can speak, and the voices that the model alone knows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from sayso.tools.voices.clips import may_speak
from sayso.tools.voices.library import Entry, VoiceLibrary
from sayso.tools.voices.words import searchable
from sayso.voices import Voice


class Speakable:
    """Searched like the library. A model's voice is found by the library's entry of its name, if there is one.

    Args:
        library: The user's.
        voices: Those of the session's model; empty where they are not known: then all of the library's.
    """

    def __init__(self, library: VoiceLibrary, voices: Sequence[Voice]) -> None:
        self._library = library
        self._own = {voice.name: voice for voice in voices}
        held = library.entries()
        stock = {entry.name for entry in held if entry.kind == "voice"}
        self.mixes = not voices or not stock.isdisjoint(self._own)
        """Whether the model has the library's voices, of which mixtures can be made."""
        names = {entry.name for entry in held}
        self._more = [_entry(voice) for voice in voices if voice.name not in names]
        self._entries = [*self._more, *(entry for entry in held if self._is_of_use(entry))]

    def entries(self) -> list[Entry]:
        """What can be spoken or played; and clips that may not be imitated, for whoever asks for them by name."""
        return self._entries

    def entry(self, name: str) -> Entry | None:
        """One of `entries`, or None."""
        return next((entry for entry in self._entries if entry.name == name), None)

    def voice(self, name: str) -> Voice | None:
        """The model's voice of this name."""
        return self._own.get(name)

    def matches(self, words: Iterable[str]) -> dict[str, float]:
        """As `VoiceLibrary.matches`; of voices that the library does not hold, every word counts the same."""
        wanted = list(dict.fromkeys(words))
        scores = self._library.matches(wanted)
        for entry in self._more:
            text = set(re.findall(r"[^\W_]+", searchable(f"{entry.name} {entry.description}").casefold()))
            if found := sum(word in text for word in wanted):
                scores[entry.name] = found / len(wanted)
        return scores

    def in_words(self) -> str:
        """The model's own voices for a reader: "ada (our guide), ...", at most a dozen."""
        return ", ".join(
            f"{voice.name} ({voice.description})" if voice.description else voice.name
            for voice in list(self._own.values())[:12]
        )

    def _is_of_use(self, entry: Entry) -> bool:
        if entry.kind == "sound" or not self._own or entry.name in self._own:
            return True
        return entry.kind == "clip" and (self.mixes or not may_speak(entry))


def _entry(voice: Voice) -> Entry:
    return Entry(
        voice.name,
        "voice",
        voice.description or voice.name,
        gender="" if voice.gender == "unknown" else voice.gender,
        language="" if voice.language == "und" else voice.language,
    )
