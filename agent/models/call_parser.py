"""Finds tool calls inside a model's text while it streams, whatever the pieces it arrives in.

`CallParser` is a state machine over characters. Its states, and what moves it on::

    TEXT      outside a call; words go out as `Text`           -- opening mark -->  HEADER
    HEADER    between the opening mark and the first bracket   -- name line -->     VALUE
                                                               -- "{", no name -->  ENVELOPE
    VALUE     the arguments of a call whose name is known      -- JSON closes -->   TRAILER
    ENVELOPE  an object that holds name and arguments          -- JSON closes -->   TRAILER
    GARBAGE   inside a call, after something that is no JSON   -- any mark -->      TEXT or HEADER
    TRAILER   after a call's JSON; swallowed                   -- any mark -->      TEXT or HEADER
    PREAMBLE  before the object of a dialect without marks     -- "{" -->           ENVELOPE

Invariants (property-tested in ``tests/test_call_parser.py``):

- The events are the same at any chunking, save for where `Text` and `CallDelta` are cut.
- Nothing from an opening mark to its closing mark ever reaches `Text`. Marks inside JSON strings are not marks.
- Every opening mark gives exactly one `CallOpen` and one `CallClose`. `CallOpen` comes with the character that
  completes the name; a call that never names itself is named "" when it ends. `CallClose` comes with the character that
  closes the JSON of the arguments (or the envelope that has none), whether or not the closing mark ever comes.
- The deltas of a call concatenate to `CallClose.raw`. ``arguments`` is None unless that is a whole JSON object;
  a call that was cut off before is closed, with None, by the next opening mark or by `CallParser.close`.
- Held back between two pieces is at most one character less than a mark; time is linear in the length of the text.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field
from enum import Enum, auto

from sayso.models.base import CallClose, CallDelta, CallOpen, Text
from sayso.models.call_dialects import CONSTRAINED, CONSTRAINED_PREFIX, LENIENT, QWEN, STEP_AUDIO, Dialect
from sayso.models.json_stream import (
    BLANKS,
    Member,
    ObjectReader,
    StringDecoder,
    ValueScanner,
    parse_object,
    parse_string,
)

__all__ = [
    "CONSTRAINED",
    "CONSTRAINED_PREFIX",
    "LENIENT",
    "QWEN",
    "STEP_AUDIO",
    "CallParser",
    "Dialect",
    "ParserEvent",
]

ParserEvent = Text | CallOpen | CallDelta | CallClose

_NOT_BLANK = re.compile(rf"[^{BLANKS}]")


class _State(Enum):
    """Where the parser is; see the module docstring."""

    TEXT = auto()
    HEADER = auto()
    VALUE = auto()
    ENVELOPE = auto()
    GARBAGE = auto()
    TRAILER = auto()
    PREAMBLE = auto()


@dataclass(slots=True)
class _Call:
    """The call being read."""

    line: list[str] = field(default_factory=list[str])
    function_seen: bool = False
    name: str | None = None
    name_parts: list[str] = field(default_factory=list[str])
    raw: list[str] = field(default_factory=list[str])
    raw_whole: bool = False
    value: ValueScanner | None = None
    envelope: ObjectReader = field(default_factory=ObjectReader)
    opened: bool = False
    closed: bool = False
    speech: ObjectReader | None = None
    spoken: StringDecoder = field(default_factory=StringDecoder)


class CallParser:
    """Turns the text of one generation into `Text` and call events; see the module docstring for what it promises."""

    def __init__(self, dialect: Dialect = LENIENT, prefix: str = "") -> None:
        """Begin outside a call.

        Args:
            dialect: How this model writes calls.
            prefix: Text that the prompt already holds, for example `CONSTRAINED_PREFIX`: it is read before the stream.
        """
        self._dialect = dialect
        self._marks = tuple(mark for mark in (dialect.open_mark, dialect.close_mark) if mark)
        self._mark = re.compile("|".join(map(re.escape, self._marks))) if self._marks else None
        self._longest_mark = max(map(len, self._marks), default=0)
        self._header_stop = re.compile(r"[\n{" + "".join(re.escape(mark[0]) for mark in self._marks[:1]) + "]")
        self._state = _State.TEXT if self._marks else _State.PREAMBLE
        self._steps = {
            _State.TEXT: self._text,
            _State.HEADER: self._header,
            _State.VALUE: self._value,
            _State.ENVELOPE: self._envelope,
            _State.GARBAGE: self._garbage,
            _State.TRAILER: self._trailer,
            _State.PREAMBLE: self._preamble,
        }
        self._call = _Call()
        self._index = 0
        self._held = ""
        self._events: list[ParserEvent] = []
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._read(prefix)

    @property
    def in_call(self) -> bool:
        """Between an opening mark and its closing mark (or inside an object that is no speech)."""
        return self._state is not _State.TEXT and self._call.speech is None

    def feed(self, piece: str) -> list[ParserEvent]:
        """Read the next piece of the stream, of any length; returns what it completes, in order."""
        self._read(piece)
        events, self._events = self._events, []
        return events

    def feed_bytes(self, piece: bytes) -> list[ParserEvent]:
        """As `feed`, for UTF-8 cut anywhere; invalid bytes become U+FFFD."""
        return self.feed(self._utf8.decode(piece))

    def close(self) -> list[ParserEvent]:
        """Settle what is open at the end of the stream: held text is text, a call that is cut off closes with None."""
        self._read(self._utf8.decode(b"", final=True))
        held, self._held = self._held, ""
        if self._state is _State.TEXT and held:
            self._events.append(Text(held))
        elif self._state is _State.GARBAGE:
            self._argument(held)
        if self._state not in (_State.TEXT, _State.PREAMBLE):
            self._finish(whole=False)
        self._state = _State.TRAILER
        return self.feed("")

    def _read(self, piece: str) -> None:
        text = self._held + piece
        pos = 0
        while pos < len(text):
            state, start = self._state, pos
            pos = self._steps[state](text, pos)
            if pos == start and self._state is state:
                break
        self._held = text[pos:]

    # --- One method a state: reads text from pos, returns where it stopped. What it leaves unread is held back. ---

    def _text(self, text: str, pos: int) -> int:
        end, mark = self._before_mark(text, pos)
        if end > pos:
            self._events.append(Text(text[pos:end]))
        return self._take_mark(end, mark)

    def _header(self, text: str, pos: int) -> int:
        stop = self._header_stop.search(text, pos)
        end = stop.start() if stop else len(text)
        self._call.line.append(text[pos:end])
        match stop and stop.group():
            case None:
                return end
            case "\n":
                self._header_line()
                return end + 1
            case "{":
                self._header_line()
                if self._state is _State.HEADER:
                    self._begin_object()
                return end
            case _:
                return self._header_mark(text, end)

    def _header_line(self) -> None:
        call = self._call
        words = "".join(call.line).split(maxsplit=0 if call.function_seen else 1)
        call.line.clear()
        if words and words[0] == "function" and not call.function_seen:
            call.function_seen = True
            del words[0]
        name = " ".join(words).strip()
        if name and self._dialect.header:
            self._open(name)
            self._state = _State.VALUE

    def _begin_object(self) -> None:
        if self._dialect.envelope:
            self._state = _State.ENVELOPE
        else:
            self._open("")
            self._state = _State.VALUE

    def _header_mark(self, text: str, pos: int) -> int:
        """At the first character of a mark before any bracket: a call without arguments, or no call at all."""
        window = text[pos : pos + self._longest_mark]
        mark = next((mark for mark in self._marks if window.startswith(mark)), "")
        if not mark and any(mark.startswith(window) for mark in self._marks):
            return pos  # it may become one
        if not mark:
            self._call.line.append(text[pos])
            return pos + 1
        blank = not self._call.function_seen and not "".join(self._call.line).strip()
        if mark == self._dialect.open_mark and blank:
            self._call.line.clear()
            return pos + len(mark)  # the opening mark stuttered
        self._header_line()
        return self._take_mark(pos, mark)

    def _value(self, text: str, pos: int) -> int:
        call = self._call
        if call.value is None:
            start = _NOT_BLANK.search(text, pos)
            if start is None:
                return len(text)
            pos = start.start()
            if text[pos] not in '{["':
                self._state = _State.GARBAGE
                return pos
            call.value = ValueScanner()
        end = call.value.scan(text, pos)
        self._argument(text[pos:end])
        if call.value.done:
            self._finish(whole=True)
            self._state = _State.TRAILER
        elif end < len(text):
            self._state = _State.GARBAGE
        return end

    def _envelope(self, text: str, pos: int) -> int:
        envelope = self._call.envelope
        while True:
            pos, member = envelope.read(text, pos)
            if member is None:
                break
            self._member(member)
        if envelope.done:
            self._finish(whole=True)
            self._state = _State.TRAILER
        elif envelope.broken:
            self._state = _State.GARBAGE
        return pos

    def _garbage(self, text: str, pos: int) -> int:
        end, mark = self._before_mark(text, pos)
        self._argument(text[pos:end])
        return self._take_mark(end, mark)

    def _trailer(self, text: str, pos: int) -> int:
        return self._take_mark(*self._before_mark(text, pos))

    def _preamble(self, text: str, pos: int) -> int:
        start = text.find("{", pos)
        if start < 0:
            return len(text)
        self._state = _State.ENVELOPE
        return start

    # --- Marks ---

    def _before_mark(self, text: str, pos: int) -> tuple[int, str]:
        """Up to where no mark begins, and the mark that begins there if it is whole (else "")."""
        if self._mark is None:
            return len(text), ""
        found = self._mark.search(text, pos)
        if found:
            return found.start(), found.group()
        start = text.rfind(self._marks[0][0], max(pos, len(text) - self._longest_mark + 1))
        if start >= 0 and any(mark.startswith(text[start:]) for mark in self._marks):
            return start, ""
        return len(text), ""

    def _take_mark(self, end: int, mark: str) -> int:
        """Move on from a mark at ``end``, if there is one."""
        if not mark:
            return end
        if self._state is not _State.TEXT:
            self._finish(whole=mark == self._dialect.close_mark)
        if mark == self._dialect.open_mark:
            self._call = _Call()
            self._state = _State.HEADER
        else:
            self._state = _State.TEXT
        return end + len(mark)

    # --- The call being read ---

    def _member(self, member: Member) -> None:
        """Take news of a member of the envelope."""
        call = self._call
        if member.key in self._dialect.name_keys and call.name is None:
            call.name_parts.append(member.piece)
            if member.closed:
                self._name_member(parse_string("".join(call.name_parts)))
        elif member.key in self._dialect.argument_keys and not call.raw_whole:
            call.raw_whole = member.closed
            if call.speech is not None:
                self._speak(member.piece)
            else:
                self._argument(member.piece)
                self._finish_if_known()

    def _name_member(self, name: str | None) -> None:
        self._call.name_parts.clear()
        if name is None:
            return
        if name == self._dialect.speech_name:
            self._call.name = name
            self._call.speech = ObjectReader()
            self._speak("".join(self._call.raw))
        else:
            self._open(name)
            self._finish_if_known()

    def _speak(self, piece: str) -> None:
        """Read a piece of the arguments of the speech pseudo-tool."""
        call = self._call
        pos = 0
        while call.speech is not None and pos < len(piece):
            pos, member = call.speech.read(piece, pos)
            if member is None:
                break
            if member.key == self._dialect.speech_key and (words := call.spoken.decode(member.piece)):
                self._events.append(Text(words))

    def _open(self, name: str) -> None:
        call = self._call
        call.name = name
        call.opened = True
        self._events.append(CallOpen(self._index, name))
        if call.raw:
            self._events.append(CallDelta(self._index, "".join(call.raw)))

    def _argument(self, piece: str) -> None:
        """Take a piece of the arguments' text; it is kept until the call is open."""
        call = self._call
        if call.closed or call.speech is not None or not piece:
            return
        call.raw.append(piece)
        if call.opened:
            self._events.append(CallDelta(self._index, piece))

    def _finish_if_known(self) -> None:
        if self._call.opened and self._call.raw_whole:
            self._finish(whole=True)

    def _finish(self, *, whole: bool) -> None:
        """Close the call if it is not closed yet; without ``whole`` its text was cut off."""
        call = self._call
        if call.closed or call.speech is not None:
            return
        if not call.opened:
            self._open("")
        raw = "".join(call.raw)
        self._events.append(CallClose(self._index, parse_object(raw) if whole else None, raw))
        call.closed = True
        self._index += 1
