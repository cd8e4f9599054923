"""Which entries of the library fit a wish best: words and measured figures together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sayso.tools.voices.clips import may_speak
from sayso.tools.voices.library import Entry
from sayso.tools.voices.meaning import nearest_known
from sayso.tools.voices.words import Figure, Wish, parse_wish, replace_words

_FIGURES: Mapping[Figure, Callable[[Entry], float | None]] = {
    "pitch": lambda entry: entry.pitch_hz,
    "pace": lambda entry: entry.words_per_s,
    "tone": lambda entry: entry.centroid_hz,
    "melody": lambda entry: entry.pitch_sd_semitones,
}
_DEFAULT = "af_heart"


class Searchable(Protocol):
    """What is searched: a `sayso.tools.voices.library.VoiceLibrary`, or a part of it."""

    def entries(self) -> list[Entry]:
        """Everything."""
        ...

    def matches(self, words: Iterable[str]) -> dict[str, float]:
        """How well each entry's text fits."""
        ...


def read_wish(library: Searchable, description: str) -> Wish:
    """What a description asks for; words that neither are known nor occur in the library are read by their meaning.

    For that MiniLM has to be on this machine (``sayso models pull minilm``); without it such words are ignored.
    """
    wish = parse_wish(description)
    near = nearest_known([word for word in wish.rest if not library.matches([word])])
    return parse_wish(replace_words(description, near))


@dataclass(frozen=True, slots=True)
class Hit:
    """An entry and how well it fits; scores compare within one search only."""

    entry: Entry
    score: float


def search(library: Searchable, wish: Wish, limit: int = 5) -> list[Hit]:
    """The entries that fit best, the best first; none where nothing fits.

    Gender, language and notes must fit. Of figures, what counts is an entry's place among those that are left: the
    deepest of the British men is a deep British man. Words count by the share of them that name or description hold.

    Args:
        library: Where to look.
        wish: What for.
        limit: Most hits.
    """
    entries = library.entries()
    voices = [] if wish.sound else _voices(entries, wish, library.matches(wish.rest))
    sounds = [] if wish.gender or wish.language or wish.notes else _sounds(entries, wish, library.matches(wish.words))
    order = {entry.name: place for place, entry in enumerate(entries)}
    hits = sorted([*voices, *sounds], key=lambda hit: (-hit.score, *_plainness(hit.entry), order[hit.entry.name]))
    return hits[:limit]


def _sounds(entries: Sequence[Entry], wish: Wish, texts: Mapping[str, float]) -> list[Hit]:
    found = [entry for entry in entries if entry.kind == "sound" and entry.name in texts]
    return [Hit(entry, texts[entry.name] * len(wish.words)) for entry in found]


def _voices(entries: Sequence[Entry], wish: Wish, texts: Mapping[str, float]) -> list[Hit]:
    group = [entry for entry in entries if entry.kind != "sound" and _fits(entry, wish)]
    # a clip that may not be imitated, asked for by name, is refused later
    group = [entry for entry in group if entry.kind == "voice" or may_speak(entry) or entry.name in texts]
    if not wish.has_facts:
        group = [entry for entry in group if entry.name in texts]
    scores = dict.fromkeys((entry.name for entry in group), 0.0)
    for figure, weight in wish.leanings.items():
        for name, place in _places(group, _FIGURES[figure]).items():
            scores[name] += abs(weight) * (place if weight > 0 else 1 - place)
    return [Hit(one, scores[one.name] + texts.get(one.name, 0.0) * len(wish.rest)) for one in group]


def _fits(entry: Entry, wish: Wish) -> bool:
    if wish.gender and entry.gender != wish.gender:
        return False
    if wish.language and not entry.language.startswith(wish.language):
        return False
    return not wish.notes or entry.note in wish.notes


def _places(group: Sequence[Entry], figure: Callable[[Entry], float | None]) -> dict[str, float]:
    """Each entry's place in the group from 0 (least) to 1 (most); one half where it was not measured."""
    known = sorted((value, entry.name) for entry in group if (value := figure(entry)) is not None)
    last = max(1, len(known) - 1)
    places = {name: place / last for place, (_, name) in enumerate(known)} if len(known) > 1 else {}
    return {entry.name: places.get(entry.name, 0.5) for entry in group}


def _plainness(entry: Entry) -> tuple[bool, bool]:
    """Among equals the default voice comes first, and whispers and characters last."""
    return entry.name != _DEFAULT, bool(entry.note)
