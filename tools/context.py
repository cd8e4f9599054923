"""`Context`: what a tool may know about the conversation and the call it runs in."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from sayso.tools.running import RunningCall
    from sayso.voices import Voice


def local_timezone() -> tzinfo:
    """The machine's time zone: by IANA name where it can be found out, else its present offset from UTC."""
    name = os.environ.get("TZ", "")
    if not name:
        try:
            name = str(Path("/etc/localtime").readlink()).partition("zoneinfo/")[2]
        except OSError:
            name = ""
    try:
        return ZoneInfo(name)
    except (ValueError, LookupError, OSError):
        return datetime.now().astimezone().tzinfo or ZoneInfo("UTC")


def _ignore(value: Any) -> None:
    """Where nobody listens for progress, and nobody speaks."""


class Calls(Protocol):
    """The calls of a session that are at work."""

    def calls(self) -> Sequence[RunningCall]:
        """All of them, in the order in which they were started."""
        ...

    def cancel(self, call_id: str) -> bool:
        """Stop one; whether it ran."""
        ...


class _NoCalls:
    def calls(self) -> Sequence[RunningCall]:
        return ()

    def cancel(self, call_id: str) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Context:
    """A parameter of this type is filled in by the executor and never shown to the model.

    A session makes one and keeps it; the executor derives one a call. ``Context()`` is enough to call a tool by hand
    in a test.

    Attributes:
        state: The session's dict in which tools keep what they must remember. One per session, shared by its tools.
        user: Whom the session serves, as the app names them; tools that remember something for a person use it.
        call_id: The call's id, or an empty string outside a call.
        agreed: The question that a person said yes to before this call ran; empty where none was asked.
        timezone: The user's time zone.
        clock: Unix time in seconds; a session may run on a virtual clock, so ask this and not `time.time`.
        cancelled: Set when the call was cancelled or timed out. An async tool is cancelled anyway; a sync tool runs
            in a thread, which nothing can stop from outside, so a long one should look here
            (``ctx.cancelled.wait(0.1)``).
        speak_as: Changes the session's voice from the next sentence on: one of the model's voices, or a mixture of
            them (``af_heart:0.6+bf_emma:0.4``); None is the agent's own again.
        calls: The session's calls at work, and how one is stopped.
        voices: Those of the session's model; empty where they are not known.
    """

    state: dict[str, Any] = field(default_factory=dict[str, Any])
    user: str = "local"
    call_id: str = ""
    agreed: str = ""
    timezone: tzinfo = field(default_factory=local_timezone)
    clock: Callable[[], float] = time.time
    cancelled: threading.Event = field(default_factory=threading.Event, repr=False)
    speak_as: Callable[[str | None], None] = field(default=_ignore, repr=False)
    calls: Calls = field(default_factory=_NoCalls, repr=False)
    voices: Sequence[Voice] = ()
    _report: Callable[[Any], None] = field(default=_ignore, repr=False)

    def now(self) -> datetime:
        """The session clock's time, aware, in the user's zone."""
        return datetime.fromtimestamp(self.clock(), self.timezone)

    async def report(self, value: Any) -> None:
        """Tell whoever follows the session how the call gets on (an event `CallProgress`). The model is not shown it.

        Dropped once the call has ended.
        """
        self._report(value)
        await asyncio.sleep(0)  # lets the progress be shown before the tool computes on

    def reporting(self, report: Callable[[Any], Any]) -> Context:
        """The same call, whose progress is what ``report`` makes of each value."""
        return replace(self, _report=lambda value: self._report(report(value)))

    def for_call(self, call_id: str, report: Callable[[Any], None], agreed: str = "") -> Context:
        """The context of one call: the same session, with its own id, progress and cancellation."""
        return Context(
            self.state,
            self.user,
            call_id,
            agreed,
            self.timezone,
            self.clock,
            threading.Event(),
            self.speak_as,
            self.calls,
            self.voices,
            report,
        )
