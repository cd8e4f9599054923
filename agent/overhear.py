"""`Overhearer`: the model begins to hear while the user still speaks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from sayso.intake import listen
from sayso.items import Audio
from sayso.models.base import Overhearing, VoiceModel

LEAST_S = 0.5
"""Between two calls: in a pause nothing is missing that would come."""

_log = logging.getLogger(__name__)


class Overhearer:
    """Has the model take in what a user says before it is over, where the model can; one call at a time.

    It only saves time: what goes wrong here is met again, and told, by the turn.

    Args:
        model: Called where its profile says so (`sayso.models.base.Profile.overhears_s`).
    """

    def __init__(self, model: VoiceModel) -> None:
        self._model = model if isinstance(model, Overhearing) and model.profile.overhears_s else None
        self._first_s = self._due_s = model.profile.overhears_s
        self._task: asyncio.Task[None] | None = None

    def hear(self, seconds: float, audio: Callable[[], Audio]) -> None:
        """The user has spoken for so long. Takes no time unless a call is due.

        Args:
            seconds: Since the user began.
            audio: Gives what was said.
        """
        if self._model is None or seconds < self._due_s or (self._task is not None and not self._task.done()):
            return
        self._task = asyncio.create_task(self._overhear(self._model, seconds, audio()))

    def drop(self) -> None:
        """The turn begins, or what was said is forgotten."""
        self._due_s = self._first_s
        if self._task is not None:
            self._task.cancel()

    async def aclose(self) -> None:
        """Leave nothing running."""
        self.drop()
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _overhear(self, model: Overhearing, seconds: float, audio: Audio) -> None:
        self._due_s = float("inf")
        try:
            user = await listen(audio)  # the turn will cut the silence before it just so
            if user is not None and user.audio is not None:
                missing_s = await model.overhear(user.audio) - user.audio.seconds
                self._due_s = seconds + max(missing_s, LEAST_S)
        except Exception:
            _log.debug("the model could not overhear", exc_info=True)
