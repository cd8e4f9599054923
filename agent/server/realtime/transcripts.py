"""`Transcripts`: what the user said, in words, told beside the responses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from sayso.conversation import Conversation
from sayso.errors import SaysoError
from sayso.items import Audio, Item, JsonObject, UserInput
from sayso.models.transcription import Task, separator
from sayso.server.realtime.items import Entry, Items
from sayso.server.realtime.outgoing import Outgoing
from sayso.server.realtime.session_config import SessionConfig
from sayso.settings import redact

_log = logging.getLogger(__name__)


class Transcripts:
    """Tells transcripts of user items, from the model's turns or else from its recogniser.

    Args:
        out: Takes the events.
        items: Of the conversation.
        conversation: Where recognised words are kept too.
        config: What is set now: without ``transcription`` nothing is told.
        model: Recognises, where it is a `sayso.models.transcription.Transcribing`.
        tasks: Own the recognition.
    """

    def __init__(
        self,
        out: Outgoing,
        items: Items,
        conversation: Conversation,
        config: Callable[[], SessionConfig],
        model: Any,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._out = out
        self._items = items
        self._conversation = conversation
        self._config = config
        self._model = model
        self._tasks = tasks
        self._running: dict[str, asyncio.Task[None]] = {}

    def heard(self, text: str) -> None:
        """The model understood this in what was said last."""
        if (entry := self._items.find(_waits)) is None:
            return
        if (task := self._running.pop(entry.id, None)) is not None:
            task.cancel()
        if self._config().transcription is None:
            entry.shown["content"][0]["transcript"] = text
            return
        if text:
            self._send(entry, "delta", {"delta": text})
        self._complete(entry, text)

    def recognise(self, entry: Entry, audio: Audio | None = None) -> None:
        """No turn tells what was said in this item: ask the recogniser, where words are wanted and there is one.

        Args:
            entry: A user's item.
            audio: What was said; None: as the conversation has it.
        """
        if self._config().transcription is None or entry.id in self._running or not _waits(entry.shown):
            return
        if audio is None:
            audio = self._kept(entry.id)
        if audio is not None and self._model.profile.transcribes:
            self._running[entry.id] = self._tasks.create_task(self._recognise(entry, audio))

    def _kept(self, id: str) -> Audio | None:
        users = (item for item in self._conversation.items if isinstance(item, UserInput))
        return next((user.audio for user in users if user.id == id), None)

    async def _recognise(self, entry: Entry, audio: Audio) -> None:
        wanted = self._config().transcription or {}
        task = Task(language=wanted.get("language"), prompt=wanted.get("prompt") or "")
        text = ""
        try:
            async with aclosing(self._model.transcribe(audio, task)) as segments:
                async for segment in segments:
                    piece = separator(text, segment.text) + segment.text
                    text += piece
                    self._send(entry, "delta", {"delta": piece})
        except SaysoError as error:
            self._fail(entry, str(error))
            return
        except Exception as error:
            _log.warning("what was said could not be transcribed: %s", type(error).__name__)
            self._fail(entry, "It could not be transcribed.")
            return
        finally:
            self._running.pop(entry.id, None)

        def with_words(item: Item) -> Item:
            return replace(item, text=text) if isinstance(item, UserInput) and not item.text else item

        if text:
            self._conversation.change(entry.id, with_words)
        self._complete(entry, text)

    def _fail(self, entry: Entry, text: str) -> None:
        error = {"type": "transcription_error", "code": "transcription_failed", "message": redact(text)}
        self._send(entry, "failed", {"error": error})

    def _complete(self, entry: Entry, text: str) -> None:
        entry.shown["content"][0]["transcript"] = text
        usage = {"type": "duration", "seconds": round(entry.seconds, 3)}
        self._send(entry, "completed", {"transcript": text, "usage": usage})

    def _send(self, entry: Entry, what: str, fields: JsonObject) -> None:
        kind = f"conversation.item.input_audio_transcription.{what}"
        self._out.send({"type": kind, "item_id": entry.id, "content_index": 0, **fields})


def _waits(shown: JsonObject) -> bool:
    """Whether this is speech whose words are not known."""
    if shown.get("role") != "user":
        return False
    part = shown["content"][0]
    return part["type"] == "input_audio" and part.get("transcript") is None
