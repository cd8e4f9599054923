"""The embedded model: real, small models from the package registries that run on a laptop CPU.

Whisper hears (tiny.en for English, base for every other language), Qwen2.5-Coder thinks and calls under a grammar,
Kokoro or Piper speaks.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias

from sayso.models.base import Profile
from sayso.models.cascade import CascadeModel, Recognizer
from sayso.models.llm import LlamaModel, LlmOptions
from sayso.models.parts import Part
from sayso.models.store import Store
from sayso.settings import cache_root
from sayso.speech.tts.base import Synthesizer
from sayso.voices import Voice

Size: TypeAlias = Literal["default", "small"]
Engine: TypeAlias = Literal["kokoro", "piper"]

LANGUAGE_MODELS: dict[Size, str] = {"default": "qwen2.5-coder-1.5b", "small": "qwen2.5-coder-0.5b"}
CONTEXT_TOKENS = 4096


def embedded_model(*, size: Size = "default", tts: Engine = "kokoro", language: str | None = "en") -> CascadeModel:
    """The embedded `VoiceModel`. One per process and setting; its parts are loaded when it is first asked or warmed.

    Args:
        size: ``default``: the language model with 1.5 billion parameters; ``small``: 0.5 billion.
        tts: What speaks. ``piper`` answers about a second sooner and has one voice; it needs ``sayso[piper]``.
        language: BCP 47 tag of what users speak; None: find out each time.

    Raises:
        ModelMissingError: A model's files are not here; later, when it is first used, packages are missing.
    """
    return _embedded(size, tts, language)


@cache
def _embedded(size: Size, tts: Engine, language: str | None) -> CascadeModel:
    path = Store().path
    threads = os.cpu_count() or 1
    english = language is not None and language.split("-")[0] == "en"
    ears = path("whisper-tiny.en" if english else "whisper-base")
    interpreter = path("whisper-base") if english and Store().has("whisper-base") else None
    voice = synthesizer(tts, threads)
    return CascadeModel(
        Profile(
            name=f"embedded-{size}-{tts}",
            hears=True,
            speaks=True,
            says_lines=True,
            constrains_calls=True,
            forces_calls=True,
            constrains_answers=True,
            transcribes=True,
            translates=not english or interpreter is not None,
            paces=True,
            sample_rate_hz=voice.sample_rate_hz,
            voices=tuple(known.name for known in voice.voices),
            voice_facts=voice.voices,
            languages=("en",) if english else (),
            context_tokens=CONTEXT_TOKENS,
        ),
        Part("ears", lambda: whisper(ears, threads, language)),
        LlamaModel(
            LlmOptions(
                path=path(LANGUAGE_MODELS[size]),
                threads=threads,
                context_tokens=CONTEXT_TOKENS,
                states=cache_root() / "prompts",
            )
        ),
        Part("voice", lambda: loaded(voice)),
        language=language,
        interpreter=Part("interpreter", lambda: whisper(interpreter, threads)) if interpreter else None,
    )


def whisper(folder: Path, threads: int, language: str | None = None) -> Recognizer:
    """Load a recogniser that is to hear ``language``; None: any that it finds.

    Raises:
        UsageError: It does not know the language.
    """
    from sayso.models.whisper import WhisperRecognizer

    recognizer = WhisperRecognizer(folder, threads=threads)
    recognizer.load()
    recognizer.check(language)
    return recognizer


def synthesizer(tts: Engine, threads: int | None = None) -> Synthesizer:
    """A synthesiser that is not loaded yet.

    Raises:
        ModelMissingError: Its files are not here.
    """
    path = Store().path
    if tts == "piper":
        from sayso.speech.tts.piper import Piper

        return Piper(path("piper-joe"))
    from sayso.speech.tts.kokoro import Kokoro

    return Kokoro(path("kokoro-82m"), path("kokoro-voices"), threads=threads)


def loaded(synthesizer: Synthesizer) -> Synthesizer:
    """``synthesizer``, after it was loaded."""
    synthesizer.load()
    return synthesizer


def all_voices() -> tuple[Voice, ...]:
    """The voices of the engines whose files are here.

    Raises:
        ModelMissingError: There is not even the default engine.
    """
    more = synthesizer("piper").voices if Store().has("piper-joe") else ()
    return (*synthesizer("kokoro").voices, *more)
