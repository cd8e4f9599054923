"""`Outgoing`: what waits to be sent to a client: encoded once, bounded, and dropped where it is void."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from dataclasses import dataclass
from uuid import uuid4

import orjson

from sayso.items import JsonObject
from sayso.server.errors import LimitReached
from sayso.server.realtime.sound import to_base64

MAX_QUEUED_BYTES = 8 << 20
"""Two minutes of speech as PCM."""
STALLED_S = 5.0
"""A reader who is so far behind, and took nothing for so long, does not come back."""
FACTOR = 4
"""So many times as much is too much whatever the reader does."""


class SlowReader(LimitReached):
    """A client does not read what it is sent."""

    default_code = "client_too_slow"
    close_code = 1008


@dataclass(slots=True, eq=False)
class Heard:
    """How much of an item's sound was handed to the transport.

    Attributes:
        sent_ms: So much.
        made_ms: And so much was made.
    """

    sent_ms: float = 0.0
    made_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class AudioDelta:
    """The unchanging parts of the deltas of one content part.

    Attributes:
        response_id: Its response.
        head: The JSON before the event's id.
        heard: Counts what is sent.
    """

    response_id: str
    head: str
    heard: Heard

    @classmethod
    def of(cls, response_id: str, item_id: str, output_index: int, heard: Heard) -> AudioDelta:
        """For the first part of an item."""
        fixed = {
            "type": "response.output_audio.delta",
            "response_id": response_id,
            "item_id": item_id,
            "output_index": output_index,
            "content_index": 0,
        }
        return cls(response_id, orjson.dumps(fixed).decode()[:-1] + ',"event_id":"', heard)


@dataclass(frozen=True, slots=True)
class _Waiting:
    text: str
    response_id: str = ""  # of a delta, which is void once its response is
    heard: Heard | None = None
    length_ms: float = 0.0


class Outgoing:
    """The way out of one connection. One task reads it with `next`.

    Args:
        limit_bytes: Of what waits where nothing is taken for `STALLED_S`; it never is more than `FACTOR` times that.
    """

    def __init__(self, limit_bytes: int = MAX_QUEUED_BYTES) -> None:
        self._limit = limit_bytes
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._taken_s = 0.0
        self._woken: asyncio.Future[None] | None = None
        self._error: SlowReader | None = None
        self._breaks: asyncio.Future[None] | None = None
        self._prefix = f"event_{uuid4().hex[:12]}"
        self._count = 0

    @property
    def queued_bytes(self) -> int:
        """How much waits."""
        return self._bytes

    def send(self, event: JsonObject, *, response_id: str = "") -> None:
        """Send an event; it is given an id unless it has one.

        Args:
            event: As JSON.
            response_id: Of a delta: it is dropped with the rest of a response that was cut off.
        """
        event.setdefault("event_id", self._new_id())
        try:
            text = orjson.dumps(event).decode()
        except TypeError:  # half a surrogate pair, as a model may write it
            text = json.dumps(event)
        self._put(_Waiting(text, response_id))

    def send_audio(self, delta: AudioDelta, data: bytes, length_ms: float) -> None:
        """Send a piece of sound; no object is made of it on the way."""
        delta.heard.made_ms += length_ms
        text = f'{delta.head}{self._new_id()}","delta":"{to_base64(data)}"}}'
        self._put(_Waiting(text, delta.response_id, delta.heard, length_ms))

    def drop(self, response_id: str) -> None:
        """Forget the deltas of a response that still wait."""
        kept = deque(one for one in self._waiting if one.response_id != response_id)
        if len(kept) < len(self._waiting):
            self._waiting, self._bytes = kept, sum(len(one.text) for one in kept)

    async def next(self) -> str:
        """The next message, once there is one.

        Raises:
            SlowReader: Too much waited.
        """
        while not self._waiting:
            if self._error is not None:
                raise self._error
            self._woken = asyncio.get_running_loop().create_future()
            try:
                await self._woken
            finally:
                self._woken = None
        return self._take()

    async def broken(self) -> None:
        """Wait until too much waits: who sends may be stuck in what the client does not read.

        Raises:
            SlowReader: Always.
        """
        if self._error is None:
            self._breaks = asyncio.get_running_loop().create_future()
            await self._breaks
        assert self._error is not None
        raise self._error

    def take_all(self) -> list[str]:
        """All that waits."""
        return [self._take() for _ in range(len(self._waiting))]

    def _take(self) -> str:
        one = self._waiting.popleft()
        self._bytes -= len(one.text)
        self._taken_s = time.monotonic()
        if one.heard is not None:
            one.heard.sent_ms += one.length_ms
        return one.text

    def _put(self, one: _Waiting) -> None:
        if self._error is not None:
            return
        self._waiting.append(one)
        self._bytes += len(one.text)
        if not self._bytes - len(one.text):
            self._taken_s = time.monotonic()  # it had nothing to take
        if self._bytes > self._limit and self._is_too_much:
            self._error = SlowReader(
                f"{self._bytes >> 20} MiB wait to be read.", "Read faster, or ask for shorter responses."
            )
            self._waiting.clear()
            self._bytes = 0
            if self._breaks is not None and not self._breaks.done():
                self._breaks.set_result(None)
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    @property
    def _is_too_much(self) -> bool:
        return self._bytes > FACTOR * self._limit or time.monotonic() - self._taken_s > STALLED_S

    def _new_id(self) -> str:
        self._count += 1
        return f"{self._prefix}{self._count:x}"
