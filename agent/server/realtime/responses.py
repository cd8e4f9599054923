"""`Response`: what clients are shown of one response while it is made."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

import orjson

from sayso.history import Voiced
from sayso.items import Audio, CallStatus, JsonObject
from sayso.server.realtime.items import Entry, Items, message, new_id
from sayso.server.realtime.outgoing import AudioDelta, Heard, Outgoing
from sayso.server.realtime.sound import PCM, Format, Pieces

Reason: TypeAlias = Literal["turn_detected", "client_cancelled", "max_output_tokens"]
Place: TypeAlias = Callable[[str], tuple[str, str] | None]
"""From the name of a tool that the server runs to the label of its server and its name there; None: it is not shown."""

GOES_ON = ("ok", "running", "waiting")
"""How a call stands whose output is no failure."""
CUT_OFF = "It was cut off."


class AudioSink(Protocol):
    """Where sound goes that is not sent as events: a track of a call, say."""

    def play(self, response_id: str, audio: Audio, heard: Heard) -> None:
        """The next sound of a response; never fails, never waits. ``heard.sent_ms`` grows as it is played."""
        ...

    def end(self, response_id: str) -> None:
        """All sound of the response came."""
        ...

    def drop(self, response_id: str) -> None:
        """The response was cut off: what of it was not played is void."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What was asked of a response.

    Attributes:
        modality: Spoken or written.
        format: Of its sound.
        voice: As the client named it.
        max_output_tokens: Of each round of the model.
        metadata: The client's, given back.
        keeps: It is part of the conversation.
    """

    modality: Literal["text", "audio"] = "audio"
    format: Format = PCM
    voice: str = ""
    max_output_tokens: int | Literal["inf"] = "inf"
    metadata: dict[str, str] | None = None
    keeps: bool = True


@dataclass(slots=True, eq=False)
class _Message:
    """The message that is being written."""

    entry: Entry
    index: int
    delta: AudioDelta
    pieces: Pieces
    filler: bool
    words: list[str] = field(default_factory=list[str])
    words_ended: bool = False


@dataclass(slots=True, eq=False)
class _Call:
    """A call that is shown."""

    entry: Entry
    index: int


class Response:
    """Writes one response.

    Args:
        out: Takes the events.
        items: The conversation's.
        terms: What was asked.
        conversation_id: Shown where the response is part of it.
        place: Of tools that the server runs.
        sink: Takes the sound, in place of events.

    Attributes:
        id: Its id.
        is_over: It was told that it is done.
        audio_ms: How much sound it has.
        first_audio_s: When the first of it was made, on the loop's clock.
        word_ids: The messages that hold words of the reply, in order.
    """

    def __init__(
        self, out: Outgoing, items: Items, terms: Terms, conversation_id: str, place: Place, sink: AudioSink | None
    ) -> None:
        self.id = new_id("resp")
        self.terms = terms
        self.is_over = False
        self.audio_ms = 0.0
        self.first_audio_s: float | None = None
        self.word_ids: list[str] = []
        self._out = out
        self._items = items
        self._conversation_id = conversation_id
        self._place = place
        self._sink = sink
        self._output: list[Entry] = []
        self._message: _Message | None = None
        self._calls: dict[str, _Call] = {}  # of the server, that are not over
        self._prompt_tokens = self._text_tokens = self._audio_tokens = 0
        self._full = False
        out.send({"type": "response.created", "response": self.shown("in_progress")})

    def shown(self, status: str, details: JsonObject | None = None) -> JsonObject:
        """As the protocol shows it."""
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": status,
            "status_details": details,
            "output": [entry.shown for entry in self._output],
            "conversation_id": self._conversation_id if self.terms.keeps else None,
            "output_modalities": [self.terms.modality],
            "max_output_tokens": self.terms.max_output_tokens,
            "audio": {"output": {"format": self.terms.format.echo(), "voice": self.terms.voice}},
            "usage": None if status == "in_progress" else self._usage(),
            "metadata": self.terms.metadata,
        }

    def write(self, text: str) -> None:
        """The next words of the reply."""
        message = self._message
        if message is None or message.words_ended or message.filler:
            if not text.strip():
                return
            message = self._open(filler=False)
            message.entry.named = message.entry.id
            self.word_ids.append(message.entry.id)
        self._words(message, text)

    def play(self, audio: Audio, text: str, *, filler: bool) -> None:
        """The next sound of it."""
        if self.terms.modality == "text":
            return
        message = self._message
        if message is None or message.filler != filler:
            message = self._open(filler=filler)
        if filler:
            self._words(message, text)
        length_ms = audio.seconds * 1000
        message.entry.voiced.append(Voiced(text, round(length_ms)))
        self.audio_ms += length_ms
        if self.first_audio_s is None:
            self.first_audio_s = asyncio.get_running_loop().time()
        if self._sink is not None:
            message.entry.heard.made_ms += length_ms
            self._sink.play(self.id, audio, message.entry.heard)
            return
        for piece in message.pieces.feed(audio):
            self._send_sound(message, piece)

    @property
    def sent_ms(self) -> float | None:
        """How much of its sound was sent; None where that is all of it."""
        heard = [entry.heard for entry in self._output]
        sent_ms = sum(one.sent_ms for one in heard)
        return None if sent_ms >= sum(one.made_ms for one in heard) else sent_ms

    def end_words(self) -> None:
        """A call begins: words that follow are another message; sound that follows may speak those before."""
        if self._message is not None:
            self._message.words_ended = True

    def round_done(self, prompt_tokens: int, completion_tokens: int) -> None:
        """The model has written all of a round."""
        self.close_message()
        self._prompt_tokens += prompt_tokens
        if self.terms.modality == "audio":
            self._audio_tokens += completion_tokens
        else:
            self._text_tokens += completion_tokens
        limit = self.terms.max_output_tokens
        self._full = self._full or (limit != "inf" and completion_tokens >= limit)

    def call_client(self, call_id: str, name: str, arguments: JsonObject) -> Entry:
        """A call that the client has to run."""
        text = orjson.dumps(arguments).decode()
        shown: JsonObject = {
            "id": new_id("item"),
            "object": "realtime.item",
            "type": "function_call",
            "status": "in_progress",
            "call_id": new_id("call"),  # a client may bring back items of other sessions, with their ids
            "name": name,
            "arguments": "",
        }
        call = self._add_call(Entry(shown, call_id))
        at = self._at(call.index, call.entry.id) | {"call_id": shown["call_id"]}
        self._out.send({"type": "response.function_call_arguments.delta", "delta": text, **at})
        self._out.send({"type": "response.function_call_arguments.done", "arguments": text, "name": name, **at})
        call.entry.shown |= {"arguments": text, "status": "completed"}
        self._end_item(call.entry, call.index)
        return call.entry

    def call_server(self, call_id: str, name: str, arguments: JsonObject, approval_id: str | None) -> None:
        """A call that runs here."""
        if (place := self._place(name)) is None:
            return
        label, there = place
        text = orjson.dumps(arguments).decode()
        shown: JsonObject = {
            "id": new_id("mcp"),
            "type": "mcp_call",
            "server_label": label,
            "name": there,
            "arguments": "",
            "approval_request_id": approval_id,
            "output": None,
            "error": None,
        }
        call = self._calls[call_id] = self._add_call(Entry(shown, call_id))
        at = self._at(call.index, call.entry.id)
        self._out.send({"type": "response.mcp_call_arguments.delta", "delta": text, **at})
        self._out.send({"type": "response.mcp_call_arguments.done", "arguments": text, **at})
        call.entry.shown["arguments"] = text
        self._out.send({"type": "response.mcp_call.in_progress", **self._at(call.index, call.entry.id, short=True)})

    def finish_call(self, call_id: str, status: CallStatus, output: str) -> bool:
        """A call that ran here is over; whether it was shown."""
        if (call := self._calls.pop(call_id, None)) is None:
            return False
        worked = status in GOES_ON
        if worked:
            call.entry.shown["output"] = output
        else:
            call.entry.shown["error"] = {"type": "tool_execution_error", "message": output}
        kind = "completed" if worked else "failed"
        self._out.send({"type": f"response.mcp_call.{kind}", **self._at(call.index, call.entry.id, short=True)})
        self._end_item(call.entry, call.index)
        return True

    def ask(self, name: str, arguments: str) -> Entry:
        """A person has to agree to a call."""
        label, there = self._place(name) or ("", name)
        shown = {
            "id": new_id("mcpr"),
            "type": "mcp_approval_request",
            "server_label": label,
            "name": there,
            "arguments": arguments,
        }
        entry = Entry(shown)
        if label:
            self._end_item(entry, self._begin_item(entry))
        return entry

    def close_message(self, *, cut_off: bool = False) -> None:
        """The message that is being written is complete, or was cut off."""
        message, self._message = self._message, None
        if message is None:
            return
        at = self._at(message.index, message.entry.id) | {"content_index": 0}
        text = "".join(message.words)
        if self.terms.modality == "audio":
            if not cut_off and self._sink is None:
                for piece in message.pieces.flush():
                    self._send_sound(message, piece)
            part = {"type": "audio", "transcript": text}
            content = {"type": "output_audio", "transcript": text}
            self._out.send({"type": "response.output_audio.done", **at})
            self._out.send({"type": "response.output_audio_transcript.done", "transcript": text, **at})
        else:
            part, content = {"type": "text", "text": text}, {"type": "output_text", "text": text}
            self._out.send({"type": "response.output_text.done", "text": text, **at})
        self._out.send({"type": "response.content_part.done", "part": part, **at})
        message.entry.shown |= {"content": [content], "status": "incomplete" if cut_off else "completed"}
        self._end_item(message.entry, message.index)

    def end(self) -> None:
        """It is complete."""
        if self._full:
            self._finish("incomplete", {"type": "incomplete", "reason": "max_output_tokens"})
        else:
            self._finish("completed", {"type": "completed"})

    def cut_off(self, reason: Reason) -> None:
        """It was interrupted; what was not sent yet is not sent any more."""
        if self.is_over:
            return
        self._out.drop(self.id)
        if self._sink is not None:
            self._sink.drop(self.id)
        self._finish("cancelled", {"type": "cancelled", "reason": reason})

    def fail(self, text: str) -> None:
        """Something broke."""
        error = {"type": "server_error", "code": "response_failed", "message": text}
        self._finish("failed", {"type": "failed", "error": error})

    def _finish(self, status: str, details: JsonObject) -> None:
        if self.is_over:
            return
        self.is_over = True
        self.close_message(cut_off=status in ("cancelled", "failed"))
        for call_id in list(self._calls):
            self.finish_call(call_id, "cancelled", CUT_OFF)
        self._out.send({"type": "response.done", "response": self.shown(status, details)})
        if self._sink is not None:
            self._sink.end(self.id)

    def _open(self, *, filler: bool) -> _Message:
        self.close_message()
        entry = Entry(message("assistant", [], id=new_id("item"), status="in_progress"))
        index = self._begin_item(entry)
        delta = AudioDelta.of(self.id, entry.id, index, entry.heard)
        self._message = _Message(entry, index, delta, Pieces(self.terms.format), filler)
        is_audio = self.terms.modality == "audio"
        part = {"type": "audio", "transcript": ""} if is_audio else {"type": "text", "text": ""}
        at = self._at(index, entry.id)
        self._out.send({"type": "response.content_part.added", "content_index": 0, "part": part, **at})
        return self._message

    def _words(self, message: _Message, text: str) -> None:
        message.words.append(text)
        kind = "output_audio_transcript" if self.terms.modality == "audio" else "output_text"
        at = self._at(message.index, message.entry.id)
        event = {"type": f"response.{kind}.delta", "content_index": 0, "delta": text, **at}
        self._out.send(event, response_id=self.id)

    def _send_sound(self, message: _Message, data: bytes) -> None:
        self._out.send_audio(message.delta, data, self.terms.format.milliseconds(len(data)))

    def _add_call(self, entry: Entry) -> _Call:
        self.end_words()
        return _Call(entry, self._begin_item(entry))

    def _begin_item(self, entry: Entry) -> int:
        index = len(self._output)
        self._output.append(entry)
        added = {"type": "response.output_item.added", "response_id": self.id, "output_index": index}
        self._out.send(added | {"item": entry.shown})
        if self.terms.keeps:
            self._items.add(entry)
        return index

    def _end_item(self, entry: Entry, index: int) -> None:
        done = {"type": "response.output_item.done", "response_id": self.id, "output_index": index}
        self._out.send(done | {"item": entry.shown})
        if self.terms.keeps:
            self._items.done(entry)

    def _at(self, index: int, item_id: str, *, short: bool = False) -> JsonObject:
        place: JsonObject = {"item_id": item_id, "output_index": index}
        return place if short else {"response_id": self.id, **place}

    def _usage(self) -> JsonObject:
        output = self._text_tokens + self._audio_tokens
        return {
            "total_tokens": self._prompt_tokens + output,
            "input_tokens": self._prompt_tokens,
            "output_tokens": output,
            "input_token_details": {
                "text_tokens": self._prompt_tokens,
                "audio_tokens": 0,
                "image_tokens": 0,
                "cached_tokens": 0,
                "cached_tokens_details": {"text_tokens": 0, "audio_tokens": 0, "image_tokens": 0},
            },
            "output_token_details": {"text_tokens": self._text_tokens, "audio_tokens": self._audio_tokens},
        }
