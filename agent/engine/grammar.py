"""Calls that cannot be wrong: from an opening id to a closing one, only text that a grammar allows.

The grammar is compiled by xgrammar (Apache-2.0) from alternatives, each a fixed beginning and the JSON Schema of what
follows. It is armed by the opening id and dropped at the closing one; outside there is no mask and no cost. JSON is
written as Python's `json.dumps` writes it, without free blanks, keys in the order of the schema: what models are
trained on.

Beginning and object are two grammars, one after the other: joined ones go through a text form in which xgrammar 0.2.8
confuses a letter such as "ü" with the hexadecimal digits behind it ("Küche").
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor

from sayso.engine.masks import words
from sayso.errors import ModelMissingError

JsonObject: TypeAlias = dict[str, Any]
Alternative: TypeAlias = tuple[str, JsonObject]
"""A fixed beginning, and the JSON Schema of the object behind it. No beginning may be the start of another one."""

_KEPT = 32
_COUNTED_CHARS = 32


class Grammars:
    """Compiles grammars for one vocabulary, and keeps those used last.

    Args:
        pieces: The bytes of each id that may stand in the text, by id; empty for control tokens, which never may.
        vocab_size: Width of the network's logits.
        open_id: Arms the grammar.
        close_id: Drops it; allowed only where the text is complete.

    Raises:
        ModelMissingError: The package xgrammar is not here.
    """

    def __init__(self, pieces: Sequence[bytes], vocab_size: int, *, open_id: int, close_id: int) -> None:
        self._xgrammar: Any = _package()
        self.vocab_size = vocab_size
        self.open_id = open_id
        self.close_id = close_id
        vocabulary = [*pieces, *[b""] * (vocab_size - len(pieces))]
        for control in (open_id, close_id):
            vocabulary[control] = b""
        self.pieces = vocabulary
        info = self._xgrammar.TokenizerInfo(vocabulary, vocab_size=vocab_size, stop_token_ids=[close_id])
        self._compiler = self._xgrammar.GrammarCompiler(info, max_threads=1)
        self._compiled: OrderedDict[str, CallGrammar] = OrderedDict()

    def compile(self, alternatives: Sequence[Alternative]) -> CallGrammar:
        """The grammar of these alternatives. Where it is not kept, that takes up to some hundred milliseconds.

        What a schema asks that no grammar can express is left out (such as `allOf` of several, or the lengths of long
        texts): validate what comes.
        """
        key = json.dumps(alternatives)
        if key not in self._compiled:
            begin = " | ".join(json.dumps(begin) for begin, _ in alternatives)
            objects = {begin.encode(): self._object(schema) for begin, schema in alternatives}
            self._compiled[key] = CallGrammar(self, self._compiler.compile_grammar(f"root ::= {begin}"), objects)
            if len(self._compiled) > _KEPT:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(key)
        return self._compiled[key]

    def matcher(self, compiled: Any) -> Any:
        """A fresh matcher of a compiled grammar."""
        return self._xgrammar.GrammarMatcher(compiled)

    def _object(self, schema: JsonObject) -> Any:
        compile_schema = self._compiler.compile_json_schema
        try:
            return compile_schema(json.dumps(_countable(schema)), any_whitespace=False)
        except RuntimeError:  # a schema beyond xgrammar: at least an object
            return compile_schema('{"type": "object"}', any_whitespace=False)


@dataclass(frozen=True, slots=True)
class CallGrammar:
    """A compiled grammar; any number of requests may use it. Made by `Grammars.compile`."""

    grammars: Grammars
    begin: Any
    objects: Mapping[bytes, Any]

    def guide(self, *, armed: bool = False) -> CallGuide:
        """A guide for one request; ``armed`` where the prompt ends with the opening id."""
        return CallGuide(self, armed=armed)


class CallGuide:
    """A `sayso.engine.Guide` that leaves everything free but calls."""

    def __init__(self, grammar: CallGrammar, *, armed: bool) -> None:
        self._grammar = grammar
        self._grammars = grammars = grammar.grammars
        self._mask = torch.full((words(grammars.vocab_size),), -1, dtype=torch.int32)
        self._matcher: Any = None
        self._begun = b""
        if armed:
            self._arm()

    @property
    def is_armed(self) -> bool:
        """Inside a call."""
        return self._matcher is not None

    def constraint(self) -> int | Tensor | None:
        """What the next id may be."""
        if self._matcher is None:
            return None
        self._matcher.fill_next_token_bitmask(self._mask[None])
        return self._mask

    def accept(self, token_id: int) -> None:
        """Take note of the id that was generated.

        Raises:
            ValueError: It was not allowed.
        """
        if self._matcher is None:
            if token_id == self._grammars.open_id:
                self._arm()
        elif not self._matcher.accept_token(token_id):
            raise ValueError(f"id {token_id} does not fit the grammar of calls")
        elif token_id == self._grammars.close_id:
            self._matcher = None
        elif self._begun not in self._grammar.objects:
            self._begun += self._grammars.pieces[token_id]
            if (compiled := self._grammar.objects.get(self._begun)) is not None:
                self._matcher = self._grammars.matcher(compiled)

    def _arm(self) -> None:
        self._matcher = self._grammars.matcher(self._grammar.begin)
        self._begun = b""


class Banned:
    """A `sayso.engine.Guide` that never lets some ids be drawn."""

    def __init__(self, mask: Tensor) -> None:
        """Make ``mask`` with `sayso.engine.masks.all_but`."""
        self._mask = mask

    def constraint(self) -> int | Tensor | None:
        """What the next id may be."""
        return self._mask

    def accept(self, token_id: int) -> None:
        """Take note of the id that was generated."""


def _countable(schema: Any) -> Any:
    """A schema without the lengths of long texts: compiling takes 30 ms a character with 150,000 ids (2 cores)."""
    if isinstance(schema, list):
        return [_countable(part) for part in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    return {
        key: value if key in ("enum", "const", "default", "examples") else _countable(value)
        for key, value in cast("JsonObject", schema).items()
        if not (key in ("minLength", "maxLength") and isinstance(value, int) and value > _COUNTED_CHARS)
    }


def _package() -> Any:
    try:
        import xgrammar
    except ImportError as error:
        raise ModelMissingError(
            f"The package xgrammar does not load: {error}.", "Install it with: pip install 'sayso[step-audio]'"
        ) from error
    return xgrammar
