"""Voices as models name them, and clips of people's speech that a model can speak like.

`sayso voices add` puts a clip into the data folder. Where its licence and the speaker's consent are stated, a JSON file
of the same name beside it makes it a voice; models that speak by example read nothing else of the library.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from sayso.settings import data_root

Gender: TypeAlias = Literal["female", "male", "unknown"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice of a model.

    Attributes:
        name: What `sayso.models.base.ModelRequest.voice` takes.
        language: BCP 47 tag of the language it was made for; ``und`` where unknown.
        gender: As it sounds.
        description: A few words for people: pitch, pace, brightness, who it is.
        clip: The file with the speech that it is like, for a model that speaks by example.
    """

    name: str
    language: str = "und"
    gender: Gender = "unknown"
    description: str = ""
    clip: Path | None = None


def clips_folder() -> Path:
    """Where the clips of the user's library are."""
    return data_root() / "voices" / "clips"


def write_facts(clip: Path, voice: Voice, *, licence: str, consent: str) -> None:
    """Make a clip of the library a voice."""
    facts = {
        "name": voice.name,
        "description": voice.description,
        "gender": voice.gender,
        "language": voice.language,
        "licence": licence,
        "consent": consent,
    }
    path = facts_of(clip)
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(facts, ensure_ascii=False, indent=1), encoding="utf-8")
    part.replace(path)


def facts_of(clip: Path) -> Path:
    """The file that makes a clip a voice."""
    return clip.with_suffix(".json")


def clip_voices(folder: Path | None = None) -> tuple[Voice, ...]:
    """The clips that may be spoken like, by name; a file that does not read is passed over and logged.

    Args:
        folder: Where they are; None: the user's library.
    """
    found: dict[str, Voice] = {}
    for path in sorted((folder or clips_folder()).glob("*.json")):
        clip = path.with_suffix(".flac")
        try:
            facts: dict[str, Any] = json.loads(path.read_text("utf-8"))
            name = str(facts["name"])
            gender = facts.get("gender")
            voice = Voice(
                name,
                str(facts.get("language") or "und"),
                gender if gender in ("female", "male") else "unknown",
                str(facts.get("description", "")),
                clip,
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            _log.warning("%s is no description of a voice: %s", path, error)
            continue
        if clip.is_file():
            found[name] = voice
    return tuple(found[name] for name in sorted(found))
