"""Reading JSON while it arrives: where a value ends, what a string says, the members of an object.

All three readers take text in pieces of any size, look at each character once, and keep no text. None of them checks
that what it reads is valid JSON; they follow its structure, and whoever collects a whole value parses it.
"""

from __future__ import annotations

import json
import re
from enum import Enum, auto
from typing import Any, NamedTuple, cast

from sayso.items import JsonObject

BLANKS = " \t\r\n"
_OUTSIDE_STRINGS = re.compile(r'[^"\[\]{}<]*')
_INSIDE_STRING = re.compile(r'[^"\\]*')
_SCALAR = re.compile(r"[^,\]}<\s]*")
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_HEX = frozenset("0123456789abcdefABCDEF")
_REPLACEMENT = "�"


def parse_object(raw: str) -> JsonObject | None:
    """Parse the text of one JSON object as language models write it.

    Raw line breaks in strings, repeated keys (the last one counts) and an object inside a JSON string are taken; blank
    text is an empty object. NaN, infinities and unpaired surrogates are not.

    Returns:
        The object, or None where ``raw`` is anything else.
    """
    if not raw.strip():
        return {}
    try:
        value = _loads(raw)
        if isinstance(value, str):
            value = _loads(value)
        if "\\u" in raw:
            json.dumps(value, ensure_ascii=False).encode()  # refuses unpaired surrogates
    except (ValueError, RecursionError):
        return None
    return cast(JsonObject, value) if isinstance(value, dict) else None


def parse_string(raw: str) -> str | None:
    """The text of a JSON string with its quotes, or None where ``raw`` is anything else."""
    try:
        value = _loads(raw)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, str) else None


def _loads(raw: str) -> Any:
    return json.loads(raw, strict=False, parse_constant=_refuse)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _after(run: re.Pattern[str], text: str, pos: int) -> int:
    """Where a run of characters from ``pos`` ends; ``run`` may be empty."""
    match = run.match(text, pos)
    return match.end() if match else pos


class ValueScanner:
    """Finds where one JSON value ends; it begins at the first character given.

    Objects and arrays end with their last bracket, strings with their quote, and anything else before the next comma,
    closing bracket, blank or ``<``.

    Attributes:
        done: The value has ended.
    """

    __slots__ = ("_depth", "_escaped", "_in_string", "_started", "done")

    def __init__(self) -> None:
        """Begin before the value."""
        self.done = False
        self._started = False
        self._depth = 0
        self._in_string = False
        self._escaped = False

    def scan(self, text: str, pos: int) -> int:
        """Read ``text`` from ``pos``.

        Returns:
            Where reading stopped: after the value, or at the end of ``text``, or at a ``<`` outside strings. The last
            cannot be JSON, so the value is broken unless `done`.
        """
        size = len(text)
        while pos < size and not self.done:
            if self._escaped:
                self._escaped = False
                pos += 1
            elif self._in_string:
                pos = self._scan_string(text, pos)
            elif self._depth or (not self._started and text[pos] in '{["'):
                pos = _after(_OUTSIDE_STRINGS, text, pos)
                if pos == size or text[pos] == "<":
                    break
                self._bracket_or_quote(text[pos])
                pos += 1
            else:
                pos = _after(_SCALAR, text, pos)
                self.done = pos < size and text[pos] != "<"
                self._started = True
                break
            self._started = True
        return pos

    def _scan_string(self, text: str, pos: int) -> int:
        pos = _after(_INSIDE_STRING, text, pos)
        if pos == len(text):
            return pos
        if text[pos] == "\\":
            self._escaped = True
        else:
            self._in_string = False
            self.done = self._depth == 0
        return pos + 1

    def _bracket_or_quote(self, char: str) -> None:
        if char == '"':
            self._in_string = True
        elif char in "{[":
            self._depth += 1
        else:
            self._depth -= 1
            self.done = self._depth == 0


class StringDecoder:
    r"""Decodes one JSON string as it arrives, opening quote first.

    An escape gives its character as soon as it is whole, a surrogate pair with its second half. A broken escape gives
    U+FFFD or, for an unknown letter, the letter.

    Attributes:
        done: The closing quote was read; what follows is ignored.
    """

    __slots__ = ("_escape", "_high", "_opened", "done")

    def __init__(self) -> None:
        """Begin before the opening quote."""
        self.done = False
        self._opened = False
        self._escape = ""
        self._high = 0

    def decode(self, piece: str) -> str:
        """The characters that ``piece`` completes."""
        out: list[str] = []
        pos = 0
        if piece and not self._opened:
            self._opened = True
            self.done = piece[0] != '"'
            pos = 1
        while pos < len(piece) and not self.done:
            if self._escape:
                pos = self._in_escape(piece, pos, out)
            else:
                pos = self._plain(piece, pos, out)
        return "".join(out)

    def _plain(self, piece: str, pos: int, out: list[str]) -> int:
        end = _after(_INSIDE_STRING, piece, pos)
        if end > pos:
            self._emit(piece[pos:end], out)
        if end == len(piece):
            return end
        if piece[end] == "\\":
            self._escape = "\\"
        else:
            self._emit("", out)
            self.done = True
        return end + 1

    def _in_escape(self, piece: str, pos: int, out: list[str]) -> int:
        char = piece[pos]
        if self._escape == "\\":
            if char == "u":
                self._escape = "\\u"
            else:
                self._escape = ""
                self._emit(_ESCAPES.get(char, char), out)
            return pos + 1
        if char not in _HEX:
            self._escape = ""
            self._emit(_REPLACEMENT, out)
            return pos
        self._escape += char
        if len(self._escape) == len("\\uXXXX"):
            code = int(self._escape[2:], 16)
            self._escape = ""
            self._unit(code, out)
        return pos + 1

    def _unit(self, code: int, out: list[str]) -> None:
        """Take one UTF-16 unit."""
        if 0xD800 <= code < 0xDC00:
            self._emit("", out)
            self._high = code
        elif 0xDC00 <= code < 0xE000 and self._high:
            pair = 0x10000 + ((self._high - 0xD800) << 10) + (code - 0xDC00)
            self._high = 0
            self._emit(chr(pair), out)
        else:
            self._emit(_REPLACEMENT if 0xDC00 <= code < 0xE000 else chr(code), out)

    def _emit(self, text: str, out: list[str]) -> None:
        if self._high:
            self._high = 0
            out.append(_REPLACEMENT)
        out.append(text)


class Member(NamedTuple):
    """News of one member of an object: the next piece of its value as written, and whether the value is whole."""

    key: str
    piece: str
    closed: bool


class _At(Enum):
    """What an `ObjectReader` expects next."""

    OPEN = auto()
    KEY = auto()
    IN_KEY = auto()
    COLON = auto()
    VALUE = auto()
    IN_VALUE = auto()
    COMMA = auto()
    DONE = auto()
    BROKEN = auto()


class ObjectReader:
    """Reads one JSON object member by member as its text arrives; a comma before the closing bracket is forgiven."""

    __slots__ = ("_at", "_key", "_key_parts", "_scanner")

    def __init__(self) -> None:
        """Begin before the opening bracket."""
        self._at = _At.OPEN
        self._key = ""
        self._key_parts: list[str] = []
        self._scanner = ValueScanner()

    @property
    def done(self) -> bool:
        """The closing bracket was read."""
        return self._at is _At.DONE

    @property
    def broken(self) -> bool:
        """A character was met that cannot follow; it and what comes after it is not read."""
        return self._at is _At.BROKEN

    def read(self, text: str, pos: int) -> tuple[int, Member | None]:
        """Read ``text`` from ``pos`` up to the next news.

        Returns:
            Where reading stopped, and the news; None once ``text`` has no more (or the object is `done` or `broken`).
        """
        while pos < len(text) and self._at not in (_At.DONE, _At.BROKEN):
            if self._at is _At.IN_KEY:
                pos = self._read_key(text, pos)
            elif self._at is _At.IN_VALUE:
                return self._read_value(text, pos)
            elif text[pos] in BLANKS:
                pos += 1
            else:
                pos += self._structure(text[pos])
        return pos, None

    def _read_key(self, text: str, pos: int) -> int:
        end = self._scanner.scan(text, pos)
        self._key_parts.append(text[pos:end])
        if self._scanner.done:
            key = parse_string("".join(self._key_parts))
            self._key_parts.clear()
            self._key = key or ""
            self._at = _At.BROKEN if key is None else _At.COLON
        return end

    def _read_value(self, text: str, pos: int) -> tuple[int, Member | None]:
        end = self._scanner.scan(text, pos)
        if self._scanner.done:
            self._at = _At.COMMA
        elif end < len(text):
            self._at = _At.BROKEN
        return end, Member(self._key, text[pos:end], self._scanner.done)

    def _structure(self, char: str) -> int:
        """Take one character between strings and values; returns 1 where it is used up and 0 where it is not."""
        used = 1
        match self._at, char:
            case _At.OPEN, "{":
                self._at = _At.KEY
            case _At.KEY, '"':
                self._at, self._scanner, used = _At.IN_KEY, ValueScanner(), 0
            case ((_At.KEY | _At.COMMA), "}"):
                self._at = _At.DONE
            case _At.COLON, ":":
                self._at = _At.VALUE
            case _At.COMMA, ",":
                self._at = _At.KEY
            case _At.VALUE, _ if char not in ",:]}<":
                self._at, self._scanner, used = _At.IN_VALUE, ValueScanner(), 0
            case _:
                self._at, used = _At.BROKEN, 0
        return used
