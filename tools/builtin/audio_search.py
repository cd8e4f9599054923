"""`audio_search`: speak with another voice, found by description or by example, or find a sound.

A session may set in its state: ``user_audio``, an `Audio` of what the user said last, and ``user_audio_consent``, how
the user agreed that the agent may speak similarly. Both are needed for ``example="me"``.
"""

from __future__ import annotations

import re
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field

from sayso.errors import SaysoError, ToolError
from sayso.items import Audio
from sayso.tools.context import Context
from sayso.tools.tool import tool

if TYPE_CHECKING:
    from sayso.tools.voices.library import Entry, VoiceLibrary
    from sayso.tools.voices.mixture import Fit
    from sayso.tools.voices.speakable import Speakable
    from sayso.tools.voices.words import Wish

USER_AUDIO = "user_audio"
USER_AUDIO_CONSENT = "user_audio_consent"
STATE_KEY = "audio_search"

_ME = frozenset({"me", "my voice", "user", "the user", "myself", "我", "我的声音"})
_CHINESE = re.compile(r"[\u3400-\u9fff]")
_ACCENTS = {
    "en-US": "American",
    "en-GB": "British",
    "es": "Spanish",
    "fr": "French",
    "hi": "Indian",
    "it": "Italian",
    "ja": "Japanese",
    "pt-BR": "Brazilian",
    "zh": "Chinese",
}


class AudioFound(BaseModel):
    """What was found. The session speaks as a voice from its next sentence on; a sound is for the app to play.

    Attributes:
        found: A ``similar voice`` is not the example's: ``similarity`` says how near it comes, from 0 to 1.
        name: In the library.
        description: In words for speech.
        similarity: To the example; None where a voice was found by description.
        others: Names of what would fit too, the best first.
        seconds: Length of a sound.
        licence: Of the voice or sound.
        path: Where it can be heard, if it is on the disk; for code, the model is not shown it.
        voice: What the session speaks as; likewise.
        chinese: Whether it was asked for in Chinese; likewise.
    """

    found: Literal["voice", "similar voice", "sound", "normal voice"]
    name: str = ""
    description: str = ""
    similarity: float | None = None
    others: list[str] = []
    seconds: float | None = None
    licence: str = ""
    path: Path | None = Field(default=None, exclude=True)
    voice: str | None = Field(default=None, exclude=True)
    chinese: bool = Field(default=False, exclude=True)


def _say(found: AudioFound) -> str | None:
    if found.chinese:
        return None  # asked in Chinese: the model answers in Chinese
    match found.found:
        case "normal voice":
            return "This is my normal voice again."
        case "sound":
            return f"Here is {found.description}."
        case "similar voice":
            return "This is the most similar voice that I have. It is not the same."
        case "voice":
            return f"This is {found.description}. Is that what you had in mind?"


@tool(
    effect="write",
    timeout_s=60,
    say=_say,
    filler="Let me find that.",
    examples={
        "could you talk like an older British gentleman": {"description": "older British gentleman"},
        "go back to your normal voice": {"description": "your normal voice"},
        "play me the sound of rain": {"description": "the sound of rain"},
    },
)
def audio_search(ctx: Context, description: str = "", example: str = "") -> AudioFound:
    """Change your voice, or find a sound: use it when the user wants another voice, your normal voice, or a sound.

    Not for speaking louder, faster or with another feeling.

    Args:
        ctx: The session.
        description: The voice or sound in the user's words: gender, accent, age, deep, bright, slow, or a name.
        example: "me" to sound similar to the user, or the name of a clip in the library. Leave out otherwise.
    """
    return _answer(description, example, ctx)


@tool(
    effect="write",
    timeout_s=60,
    say=_say,
    filler="Let me find that.",
    examples={
        "用一个低沉的男声跟我说话": {"query": "低沉的男声"},
        "换回你原来的声音": {"query": "默认音色"},
    },
)
def timbre_rag(query: str, ctx: Context) -> AudioFound:
    """Switch the timbre of your voice by a description of it; the default timbre is found too.

    Not for emotion, speed or volume. (`audio_search` under the name and with the parameter that Step-Audio 2 knows.)

    Args:
        query: The timbre that is wanted.
        ctx: The session.
    """
    return _answer(query, "", ctx)


def _answer(description: str, example: str, ctx: Context) -> AudioFound:
    from sayso.tools.voices.library import open_library
    from sayso.tools.voices.speakable import Speakable

    try:
        library = open_library()
        voices = Speakable(library, ctx.voices)
        if example.strip() and (_is_example(library, example.strip()) or not description.strip()):
            return _by_example(library, voices, example.strip(), ctx)
        found = _by_description(library, voices, description.strip()[:300], ctx)
    except ToolError:
        raise
    except (SaysoError, sqlite3.Error, OSError) as error:  # a model that is not here, a library that went away
        raise ToolError(f"Voices cannot be searched: {error}") from error
    return found.model_copy(update={"chinese": bool(_CHINESE.search(description))})


def _by_description(library: VoiceLibrary, voices: Speakable, description: str, ctx: Context) -> AudioFound:
    from sayso.tools.voices.ranking import read_wish

    if not description:
        raise ToolError("Nothing was described.", "Ask the user which voice or sound is wanted.")
    wish = read_wish(voices, description)
    default = voices.entry(f"default_{wish.gender}")  # Step-Audio has one of each gender, and is asked for them
    if wish.normal and default is not None:
        return _present(library, voices, default, [], ctx)
    if wish.normal:
        _speak_as(ctx, None)
        ctx.state.pop(STATE_KEY, None)
        return AudioFound(found="normal voice")
    names = _candidates(voices, description, wish, ctx)
    if not names:
        known = f"Voices have a gender, an accent ({', '.join(sorted(_ACCENTS.values()))}), pitch, pace and brightness."
        raise ToolError(
            f"No voice or sound fits '{description[:60]}'.",
            f"{known if voices.mixes else f'There are the voices {voices.in_words()}.'} Ask for one of these.",
        )
    entry = voices.entry(names[0])
    if entry is None:
        raise ToolError("That voice was removed from the library just now.", "Ask for another.")
    return _present(library, voices, entry, names[1:], ctx)


def _candidates(voices: Speakable, description: str, wish: Wish, ctx: Context) -> list[str]:
    """Names that fit, the best first; for "another one" without the one that is spoken with now."""
    from sayso.tools.voices.ranking import search

    if voices.entry(description) is not None:
        return [description]
    last: dict[str, Any] = ctx.state.get(STATE_KEY, {})
    if wish.another and not wish.has_facts and not wish.rest:
        if last.get("others"):
            return list(last["others"])
        if not voices.mixes:
            return _others([voice.name for voice in ctx.voices], ctx)
        wish = replace(wish, language="en")
    hits = search(voices, _in_the_language(wish, description)) or search(voices, wish)
    names = [hit.entry.name for hit in hits]
    return _others(names, ctx) if wish.another else names


def _others(names: list[str], ctx: Context) -> list[str]:
    """``names`` without the voice that is spoken with now."""
    from sayso.speech.tts.kokoro_voices import DEFAULT_VOICE

    default = next((voice.name for voice in ctx.voices), DEFAULT_VOICE)
    return [name for name in names if name != ctx.state.get(STATE_KEY, {}).get("name", default)]


def _in_the_language(wish: Wish, description: str) -> Wish:
    """Who asks in Chinese and names no accent wants a voice that speaks Chinese."""
    chinese = wish.has_facts and not wish.language and _CHINESE.search(description)
    return replace(wish, language="zh") if chinese else wish


def _present(library: VoiceLibrary, voices: Speakable, entry: Entry, others: list[str], ctx: Context) -> AudioFound:
    own = voices.voice(entry.name)
    if entry.kind == "clip" and own is None:
        return _similar(entry.name, _fit_of_clip(library, voices, entry, ctx), ctx, entry.licence, others)
    found = AudioFound(
        found="sound" if entry.kind == "sound" else "voice",
        name=entry.name,
        description=_in_words(entry),
        others=others,
        seconds=entry.seconds,
        licence=entry.licence,
        path=own.clip if own is not None and own.clip is not None else library.path(entry),
    )
    if entry.kind == "sound":
        return found
    from sayso.tools.voices.samples import spoken_name

    voice = entry.name
    if entry.speaks_as == entry.name:  # one of the library's, made for one language
        voice = spoken_name(voice, entry.language, str(ctx.state.get("language", "en")))
    _speak_as(ctx, voice)
    ctx.state[STATE_KEY] = {"name": entry.name, "others": others}
    return found.model_copy(update={"voice": voice})


def _is_example(library: VoiceLibrary, example: str) -> bool:
    """Small models fill in an example, too, where there is a description alone: that is then passed over."""
    return example.casefold() in _ME or library.entry(example.casefold()) is not None


def _by_example(library: VoiceLibrary, voices: Speakable, example: str, ctx: Context) -> AudioFound:
    if example.casefold() in _ME:
        return _similar("your voice", _fit_of_user(voices, ctx), ctx)
    entry = library.entry(example.casefold())
    if entry is None:
        raise ToolError(
            f"There is no clip '{example[:60]}' in the library.", "Clips are added with `sayso voices add`; use a name."
        )
    return _present(library, voices, entry, [], ctx)


def _fit_of_clip(library: VoiceLibrary, voices: Speakable, entry: Entry, ctx: Context) -> Fit:
    from sayso.tools.voices.clips import may_speak
    from sayso.tools.voices.likeness import like_clip

    if not may_speak(entry):
        raise ToolError(
            f"The clip '{entry.name}' may not be imitated: its licence or its speaker's consent is not stated.",
            "Tell the user so, and offer a voice by description.",
        )
    _check_mixes(voices)
    return like_clip(library, entry, stopped=ctx.cancelled.is_set)


def _fit_of_user(voices: Speakable, ctx: Context) -> Fit:
    from sayso.tools.voices.clips import stated
    from sayso.tools.voices.likeness import like_audio

    if not stated(str(ctx.state.get(USER_AUDIO_CONSENT, ""))):
        raise ToolError("Nobody has agreed to be imitated in this conversation.", "Offer a voice by description.")
    audio = ctx.state.get(USER_AUDIO)
    if not isinstance(audio, Audio):
        raise ToolError("There is no recording of the user's voice here.", "Offer a voice by description.")
    _check_mixes(voices)
    return like_audio(audio, stopped=ctx.cancelled.is_set)


def _check_mixes(voices: Speakable) -> None:
    if not voices.mixes:
        raise ToolError("This agent cannot sound like that.", f"Its voices are {voices.in_words()}. Offer one of them.")


def _similar(name: str, fit: Fit, ctx: Context, licence: str = "", others: list[str] | None = None) -> AudioFound:
    if not fit.similar:
        raise ToolError(
            f"No voice here is similar enough to {name}: the nearest reaches {fit.likeness:.2f}.",
            "Say that it cannot be imitated, and offer a voice by description.",
        )
    _speak_as(ctx, fit.voice)
    ctx.state[STATE_KEY] = {"name": name, "others": others or []}
    return AudioFound(
        found="similar voice",
        name=name,
        description=f"the voice most similar to {name}",
        similarity=round(fit.likeness, 2),
        others=others or [],
        licence=licence,
        voice=fit.voice,
    )


def _speak_as(ctx: Context, voice: str | None) -> None:
    if ctx.cancelled.is_set():  # given up: nobody expects another voice any more
        raise ToolError("The search was stopped.")
    try:
        ctx.speak_as(voice)
    except SaysoError as error:
        raise ToolError(f"This agent has no voice '{voice}'.", "Say so, and keep the voice that you have.") from error


def _in_words(entry: Entry) -> str:
    """A voice as one would introduce it: "Emma, a British woman"."""
    if entry.kind == "sound":
        return entry.description.partition(",")[0]
    if entry.speaks_as != entry.name:  # a clip, or a voice that the model describes
        return entry.description
    name = entry.name.partition("_")[2].capitalize() or entry.name
    accent = _ACCENTS.get(entry.language, "")
    who = {"child": "child", "female": "woman", "male": "man"}.get(entry.note or entry.gender) or (
        "woman" if entry.gender == "female" else "man"
    )
    article = "an" if accent[:1] in "AI" and accent else "a"
    whisper = " who whispers" if entry.note == "whisper" else ""
    return f"{name}, {article} {accent} {who}{whisper}".replace("  ", " ")
