"""What a session gives its tools, and the checks of what an agent's definition names."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import tzinfo
from zoneinfo import ZoneInfo

from sayso.errors import UsageError
from sayso.models.base import Profile
from sayso.models.named import THINKING
from sayso.tools.context import Calls, Context, local_timezone
from sayso.voices import Voice


def new_context(
    timezone: str | None,
    clock: Callable[[], float] | None,
    user: str,
    speak_as: Callable[[str | None], None],
    calls: Calls,
    profile: Profile,
) -> Context:
    """The session's side of every tool's `Context`.

    Raises:
        UsageError: There is no such time zone.
    """
    facts = {voice.name: voice for voice in profile.voice_facts}
    return Context(
        user=user,
        timezone=timezone_named(timezone),
        clock=clock or _wall_clock(),
        speak_as=speak_as,
        calls=calls,
        voices=tuple(facts.get(name, Voice(name)) for name in profile.voices),
    )


def timezone_named(name: str | None) -> tzinfo:
    """The zone with an IANA name; the machine's for None.

    Raises:
        UsageError: There is no such zone.
    """
    if name is None:
        return local_timezone()
    try:
        return ZoneInfo(name)
    except (ValueError, LookupError, OSError):
        raise UsageError(f"There is no time zone {name!r}.", "Use an IANA name such as Europe/Lisbon.") from None


def _wall_clock() -> Callable[[], float]:
    try:
        return getattr(asyncio.get_running_loop(), "wall_time", time.time)
    except RuntimeError:
        return time.time


def check_thinking(thinking: bool, profile: Profile) -> None:
    """Refuse to think with a model that does not.

    Raises:
        UsageError: It does not.
    """
    if thinking and not profile.thinks:
        raise UsageError(
            f"The model {profile.name} does not think before it answers.", f"These do: {', '.join(THINKING)}."
        )


def check_voice(voice: str | None, known: tuple[str, ...]) -> str | None:
    """``voice``, where the model has it; ``a:0.6+b:0.4`` mixes two.

    Raises:
        UsageError: There is no such voice.
    """
    for name in (part.partition(":")[0].strip() for part in (voice or "").split("+")):
        if name and known and name not in known:
            raise UsageError(f"There is no voice {name!r}.", "List them with: sayso voices")
    return voice
