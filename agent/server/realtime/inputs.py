"""`Input`: what the user says: the audio buffer, speech in it, and the items it becomes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sayso.events import SpeechEnded, SpeechStarted
from sayso.items import Audio, JsonObject, Samples
from sayso.live import Live
from sayso.server.errors import InvalidRequest
from sayso.server.realtime.config_models import ServerVad
from sayso.server.realtime.items import Entry, Items, message, new_id
from sayso.server.realtime.outgoing import Outgoing
from sayso.server.realtime.session_config import SessionConfig, echoed_detection
from sayso.server.realtime.sound import from_base64

MAX_BUFFER_S = 300.0
"""As long as a question may be (`sayso.intake.MAX_QUESTION_S`)."""
MIN_COMMIT_MS = 100
SLICE_MS = 100
"""So much is heard at once: an hour that comes in one message must not keep the other sessions waiting."""


class Input:
    """The user's side of one connection.

    Args:
        out: Takes the events.
        items: Of the conversation.
        config: What is set now.
        live: Finds speech; None where nothing is heard.
        said: Takes what was committed by hand: the item and its sound.
    """

    def __init__(
        self,
        out: Outgoing,
        items: Items,
        config: Callable[[], SessionConfig],
        live: Live,
        said: Callable[[Entry, Audio], None],
    ) -> None:
        self._out = out
        self._items = items
        self._config = config
        self._live = live
        self._said = said
        self._buffer = bytearray()  # where the client says what a turn is
        self._part: bytes = b""  # of a sample
        self._item_id = ""
        self._started_ms = 0
        self._received_ms = 0.0

    @property
    def position_ms(self) -> int:
        """How much sound came."""
        return int(self._received_ms)

    def item_id(self) -> str:
        """Of what is being said, or was said last."""
        self._item_id = self._item_id or new_id("item")
        return self._item_id

    async def append(self, text: str) -> None:
        """The next sound, as base64.

        Raises:
            InvalidRequest: It is none, or the buffer is full.
        """
        await self.hear_bytes(from_base64(text, "audio"))

    async def hear_bytes(self, data: bytes) -> None:
        """The next sound in the input format, cut anywhere.

        Raises:
            InvalidRequest: The buffer is full.
        """
        format = self._config().input_format
        data = self._part + data
        whole = len(data) - len(data) % format.bytes_per_sample
        data, self._part = data[:whole], data[whole:]
        self._received_ms += format.milliseconds(len(data))
        if self._config().turn_detection is None:
            self._fill(data)
        else:
            await self.hear(format.samples(data))

    async def hear(self, samples: Samples) -> None:
        """The next sound as samples at the input format's rate, where turns are detected."""
        size = self._config().input_format.rate_hz * SLICE_MS // 1000
        for start in range(0, len(samples), size):
            await self._live.hear(samples[start : start + size])
            if len(samples) > size:
                await asyncio.sleep(0)

    def _fill(self, data: bytes) -> None:
        format = self._config().input_format
        if format.milliseconds(len(self._buffer) + len(data)) > MAX_BUFFER_S * 1000:
            raise InvalidRequest(
                f"The input audio buffer holds {MAX_BUFFER_S:.0f} seconds at most; this sound was not added.",
                "Commit it or clear it.",
                code="input_audio_buffer_full",
                param="audio",
            )
        self._buffer += data

    async def commit(self) -> None:
        """What came so far is what the user said.

        Raises:
            InvalidRequest: It is too little.
        """
        if self._config().turn_detection is not None:
            if not await self._live.commit():
                raise _empty("it holds no speech")
            return
        format = self._config().input_format
        length_ms = format.milliseconds(len(self._buffer))
        if length_ms < MIN_COMMIT_MS:
            raise _empty(f"expected at least {MIN_COMMIT_MS} ms of audio, but it has {length_ms:.2f} ms")
        audio = Audio(format.samples(bytes(self._buffer)), format.rate_hz)
        self._buffer.clear()
        self._item_id = new_id("item")
        entry = self._commit(length_ms / 1000)
        self._said(entry, audio)

    async def clear(self) -> None:
        """Forget what came so far."""
        self._buffer.clear()
        self._part = b""
        await self._live.use(self._live.taking, self._config().input_format.rate_hz)
        self._out.send({"type": "input_audio_buffer.cleared"})

    def forget(self) -> None:
        """Another format or another way to end turns is used from now on."""
        self._buffer.clear()
        self._part = b""

    def speech(self, event: SpeechStarted | SpeechEnded) -> Entry | None:
        """Speech was found in what came; the item that it is, once it ended."""
        if isinstance(event, SpeechStarted):
            self._item_id, self._started_ms = new_id("item"), event.at_ms
            start_ms = max(0, event.at_ms - self._detection("prefix_padding_ms", 300))
            self._speech("started", {"audio_start_ms": start_ms})
            return None
        end_ms = event.at_ms + self._detection("silence_duration_ms", 0)
        self._speech("stopped", {"audio_end_ms": min(end_ms, max(event.at_ms, self.position_ms))})
        return self._commit((event.at_ms - self._started_ms) / 1000)

    def time_out(self, since_ms: int) -> Entry:
        """The user has said nothing for long."""
        self._item_id = new_id("item")
        self._out.send(
            {
                "type": "input_audio_buffer.timeout_triggered",
                "audio_start_ms": since_ms,
                "audio_end_ms": max(since_ms, self.position_ms),
                "item_id": self._item_id,
            }
        )
        return self._commit(0.0)

    def _speech(self, what: str, fields: JsonObject) -> None:
        self._out.send({"type": f"input_audio_buffer.speech_{what}", "item_id": self.item_id(), **fields})

    def _detection(self, name: str, usual: int) -> int:
        detection = self._config().turn_detection
        shown = echoed_detection(detection) if isinstance(detection, ServerVad) else None
        return int(shown[name]) if shown else usual

    def _commit(self, seconds: float) -> Entry:
        id = self.item_id()
        entry = Entry(message("user", [{"type": "input_audio", "transcript": None}], id=id), id, seconds=seconds)
        committed = {"type": "input_audio_buffer.committed", "item_id": id}
        self._out.send(committed | {"previous_item_id": self._items.last_id})
        self._items.add(entry)
        self._items.done(entry)
        return entry


def _empty(why: str) -> InvalidRequest:
    return InvalidRequest(f"Error committing input audio buffer: {why}.", code="input_audio_buffer_commit_empty")
