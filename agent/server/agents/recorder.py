"""`Recorder`: the sound of both sides of a session, a file a turn and side."""

from __future__ import annotations

import logging
import re
import shutil
from pathlib import Path

from sayso.conductor import USER_AUDIO
from sayso.events import AudioDelta, Event, TurnDone, TurnFailed, TurnStarted
from sayso.items import Audio
from sayso.session import Session
from sayso.settings import data_root

_NAME = re.compile(r"turn-\d{4,}-(user|reply)\.wav")
_log = logging.getLogger(__name__)


class Recorder:
    """Writes ``turn-0001-user.wav``, ``turn-0001-reply.wav``, ...; fillers are part of what was heard.

    Args:
        session: Whose.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._folder = recordings_folder(session.id)
        self._reply: list[Audio] = []
        self._user: Audio | None = None  # recorded already

    def take(self, event: Event) -> None:
        """The next event. A file that cannot be written is logged: the conversation goes on."""
        match event:
            case TurnStarted():
                self._reply = []
            case AudioDelta(audio=audio):
                self._reply.append(audio)
            case TurnDone(turn=turn) | TurnFailed(turn=turn):
                self._write(turn)
            case _:
                pass

    def _write(self, turn: int) -> None:
        from sayso.speech.audio import concatenate, save

        said = self._session.state.get(USER_AUDIO)
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if isinstance(said, Audio) and said is not self._user:
                save(self._folder / f"turn-{turn:04}-user.wav", said)
                self._user = said
            if self._reply:
                save(self._folder / f"turn-{turn:04}-reply.wav", concatenate(self._reply))
        except OSError as error:
            _log.error("turn %d of session %s is not recorded: %s", turn, self._session.id, error)


def recordings_folder(session: str) -> Path:
    """Where a session's sound is kept."""
    return data_root() / "recordings" / session


def recordings(session: str) -> list[Path]:
    """The files of a session, in order."""
    folder = recordings_folder(session)
    return sorted(file for file in folder.glob("turn-*.wav") if _NAME.fullmatch(file.name)) if folder.is_dir() else []


def forget_recordings(session: str) -> None:
    """Delete a session's sound."""
    shutil.rmtree(recordings_folder(session), ignore_errors=True)
