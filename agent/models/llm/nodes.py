"""A small grammar of JSON texts: written out for the decoder, and walked to find text that is already certain.

A `Grammar` says which texts may follow. `lark` writes it for llguidance, the grammar engine inside llama.cpp. `Walker`
follows one text through it and tells what must come next whatever the model thinks: such text need not be decoded.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class Lit:
    """Exactly this text."""

    text: str


@dataclass(frozen=True, slots=True)
class Str:
    """A JSON string of ``least`` to ``most`` characters; without its first quote when ``open``."""

    least: int
    most: int
    open: bool = False


@dataclass(frozen=True, slots=True)
class Leaf:
    """A string or number that only the decoder checks exactly; ``rule`` is Lark, ``kind`` is enough to see its end."""

    kind: Literal["string", "number"]
    rule: str


@dataclass(frozen=True, slots=True)
class Seq:
    """One part after the other."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Alt:
    """One of several."""

    options: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Many:
    """``least`` to ``most`` times ``node``."""

    node: Node
    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Ref:
    """The rule of this name."""

    name: str


@dataclass(frozen=True, slots=True)
class _Inside:
    """Where the walker stands in a `Leaf` (or behind a backslash in a `Str`)."""

    leaf: Leaf | Str
    escaped: bool = False


Node: TypeAlias = Lit | Str | Leaf | Seq | Alt | Many | Ref
_Top: TypeAlias = Node | _Inside
_Stack: TypeAlias = "tuple[_Top, _Stack] | None"

_NUMBER = frozenset("-+.eE0123456789")


@dataclass(frozen=True, slots=True)
class Grammar:
    """A start node and the named rules that it and they refer to."""

    start: Node
    rules: Mapping[str, Node]


class Walker:
    """Follows one text through a grammar, character by character.

    In a `Leaf` it lets too much pass: so text it calls certain is certain, and text it refuses is wrong.
    """

    def __init__(self, grammar: Grammar) -> None:
        self._rules = grammar.rules
        self._stacks: frozenset[_Stack] = frozenset(self._settle((grammar.start, None)))

    def fork(self) -> Walker:
        """Another walker that stands where this one does."""
        return copy(self)

    def may_be_string(self) -> bool:
        """Whether the next character may open or close a string, an object or an array."""
        return any(_is_string_like(stack[0]) for stack in self._stacks if stack is not None)

    @property
    def dead(self) -> bool:
        """The text read so far fits no text of the grammar."""
        return not self._stacks

    @property
    def may_end(self) -> bool:
        """The text read so far is a whole text of the grammar."""
        return None in self._stacks

    @property
    def must_end(self) -> bool:
        """Nothing more may follow."""
        return len(self._stacks) == 1 and None in self._stacks

    def feed(self, text: str) -> None:
        """Read the next characters."""
        for character in text:
            self._stacks = self._after(self._stacks, character)

    def certain(self) -> str:
        """The longest text that must come next."""
        stacks, found = self._stacks, ""
        while (character := self._only(stacks)) is not None:
            found += character
            stacks = self._after(stacks, character)
        return found

    def rest(self) -> Grammar:
        """The grammar of what may follow the text read so far.

        Raises:
            ValueError: The text ends inside an escape or a `Leaf`, for which there is no rule.
        """
        return Grammar(Alt(tuple(self._as_node(stack) for stack in self._stacks)), self._rules)

    def _as_node(self, stack: _Stack) -> Node:
        parts: list[Node] = []
        while stack is not None:
            top, stack = stack
            if isinstance(top, _Inside):
                raise ValueError("There is no rule for the rest of a number or an escape.")
            parts.append(top)
        return Seq(tuple(parts))

    def _only(self, stacks: frozenset[_Stack]) -> str | None:
        """The one character that may come next, if it is certain."""
        firsts: set[str] = set()
        for stack in stacks:
            if stack is None:
                return None
            match stack[0]:
                case Lit(text):
                    firsts.add(text[0])
                case Str(open=False):
                    firsts.add('"')
                case _:  # also a `Leaf`: there is no rule for the rest of one
                    return None
        return firsts.pop() if len(firsts) == 1 else None

    def _after(self, stacks: Iterable[_Stack], character: str) -> frozenset[_Stack]:
        return frozenset(
            settled
            for stack in stacks
            if stack is not None
            for moved in self._step(stack[0], stack[1], character)
            for settled in self._settle(moved)
        )

    def _step(self, top: _Top, below: _Stack, character: str) -> Iterator[_Stack]:
        """The stacks after one character that ``top`` reads."""
        match top:
            case Lit(text):
                if text[0] == character:
                    yield (Lit(text[1:]), below)
            case Str(least, most, open=False):
                if character == '"':
                    yield (Str(least, most, True), below)
            case Str(least, most):
                if character == '"':
                    if least <= 0:
                        yield below
                elif most > 0 and character >= " ":
                    shorter = Str(max(0, least - 1), most - 1, True)
                    yield (_Inside(shorter, True) if character == "\\" else shorter, below)
            case Leaf(kind="string"):
                if character == '"':
                    yield (_Inside(top), below)
            case Leaf():
                if character in _NUMBER:
                    yield (_Inside(top), below)
            case _Inside(leaf, escaped):
                yield from self._inside(leaf, escaped, below, character)
            case _:
                raise AssertionError(f"{top} was not settled")

    def _inside(self, leaf: Leaf | Str, escaped: bool, below: _Stack, character: str) -> Iterator[_Stack]:
        if isinstance(leaf, Str):
            yield (leaf, below)
        elif leaf.kind == "number":
            if character in _NUMBER:
                yield (_Inside(leaf), below)
        elif character == '"' and not escaped:
            yield below
        else:
            yield (_Inside(leaf, character == "\\" and not escaped), below)

    def _settle(self, stack: _Stack) -> Iterator[_Stack]:
        """``stack`` with a node on top that reads a character, in every way that there is."""
        if stack is None:
            yield None
            return
        top, below = stack
        match top:
            case Lit(text):
                yield from self._settle(below) if not text else [stack]
            case Seq(parts):
                for part in reversed(parts):
                    below = (part, below)
                yield from self._settle(below)
            case Alt(options):
                for option in options:
                    yield from self._settle((option, below))
            case Many(node, least, most):
                if least <= 0:
                    yield from self._settle(below)
                if most > 0:
                    yield from self._settle((node, (Many(node, max(0, least - 1), most - 1), below)))
            case Ref(name):
                yield from self._settle((self._rules[name], below))
            case _Inside(Leaf(kind="number")):
                yield stack
                yield from self._settle(below)
            case _:
                yield stack


def _is_string_like(top: _Top) -> bool:
    match top:
        case Lit(text):
            return text[0] in '"{}[]'
        case Leaf(kind=kind):
            return kind == "string"
        case _:
            return isinstance(top, Str)


def lark(grammar: Grammar) -> str:
    """Write ``grammar`` for llguidance, without blanks between the parts of the JSON."""
    return _Writer(grammar.rules).write(grammar.start)


class _Writer:
    def __init__(self, rules: Mapping[str, Node]) -> None:
        self._rules = rules
        self._lines: dict[str, str] = {}
        self._leaves: dict[str, str] = {}

    def write(self, start: Node) -> str:
        body = self._node(start)
        leaves = [f"{name}: {rule}" for rule, name in self._leaves.items()]
        return "\n".join(["%llguidance {}", f"start: {body}", *self._lines.values(), *leaves, ""])

    def _node(self, node: Node) -> str:
        match node:
            case Lit(text):
                return json.dumps(text, ensure_ascii=False)
            case Str(least, most, opened):
                return f'/{"" if opened else chr(34)}{_CHARACTER}{{{least},{most}}}"/'
            case Leaf(rule=rule):
                return self._leaves.setdefault(rule, f"leaf{len(self._leaves)}")
            case Seq(parts):
                return " ".join(self._node(part) for part in parts if part != Lit("")) or '""'
            case Alt(options):
                return "(" + " | ".join(self._node(option) for option in options) + ")"
            case Many(part, least, most):
                return f"({self._node(part)}){{{least},{most}}}"
            case Ref(name):
                return self._rule(name)

    def _rule(self, name: str) -> str:
        if name not in self._lines:
            self._lines[name] = ""
            self._lines[name] = f"{name}: {self._node(self._rules[name])}"
        return name


_CHARACTER = r'([^"\\\x00-\x1F\x7F]|\\["\\bnt])'
"""One character of a JSON string. Escapes that nobody needs are left out: a character is written in one way."""
