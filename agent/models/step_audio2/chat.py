"""The chat format of Step-Audio 2: a conversation as ids, and pieces of sound that are encoded elsewhere.

Every message is `<|BOT|>`, role, line feed, content, `<|EOT|>`, without anything between messages (specification,
sections 2.2 to 3.3). Header and contents are tokenised piece by piece. What people and tools wrote is encoded as plain
text, so that it can open no message, no call and no speech.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, cast

from sayso.items import Audio, Instruction, JsonObject, ToolOutput, ToolSpec, UserInput
from sayso.models.step_audio2.tokenizer import Tokenizer

SUMMARY: Final = "请用口语化形式总结检索结果，简短地回答用户的问题。"
"""What StepFun's examples put behind a result: "sum up the result in spoken style, answer the question briefly"."""

Opening: TypeAlias = Literal["speak", "write", "think", "call"]
"""How the assistant's message begins: with `<tts_start>`, with nothing, with a thought, with a call."""

_OPENINGS: Final[dict[Opening, str]] = {
    "speak": "<tts_start>",
    "write": "",
    "think": "\n<think>\n",
    "call": "<tool_call>",
}
# The order in which StepFun's examples write a schema's keywords; whatever else there is follows by name.
_KEYWORDS = ("type", "description", "properties", "items", "enum", "required", "additionalProperties")


@dataclass(frozen=True, slots=True)
class Sound:
    """A piece of sound in a prompt: to be encoded, and put in as `sound_ids` say.

    Attributes:
        audio: What was said. Pieces are equal only if they are the same object.
    """

    audio: Audio


Segment: TypeAlias = tuple[int, ...] | Sound


@dataclass(frozen=True, slots=True)
class Prefix:
    """What all conversations of an agent begin with.

    Attributes:
        ids: System prompt and tools.
        handle: Names the content: the same for the same prompt and tools.
    """

    ids: tuple[int, ...]
    handle: str

    @classmethod
    def of(cls, ids: Sequence[int]) -> Prefix:
        """The prefix of these ids."""
        return cls(tuple(ids), hashlib.sha256(repr([*ids]).encode()).hexdigest())


class ChatFormat:
    """Writes messages.

    Args:
        tokenizer: The checkpoint's.
        summary: What follows the results of calls; empty: nothing.
    """

    def __init__(self, tokenizer: Tokenizer, summary: str = SUMMARY) -> None:
        self.tokenizer = tokenizer
        self._summary = summary

    def prefix(self, instructions: str, tools: Sequence[ToolSpec] = ()) -> Prefix:
        """The messages ``system`` and ``tool_json_schemas``; each only where it has a content."""
        ids: list[int] = []
        if instructions.strip():
            ids += self.message("system", instructions)
        if tools:
            ids += self.message("tool_json_schemas", tool_json(tools))
        return Prefix.of(ids)

    def message(self, role: str, *contents: str) -> list[int]:
        """A whole message of text, each content tokenised on its own."""
        return [*self.header(role), *(i for content in contents for i in self.tokenizer.encode(content)), self._end]

    def header(self, role: str) -> list[int]:
        """How a message begins."""
        return [self.tokenizer.bot, *self.tokenizer.encode(f"{role}\n")]

    def open(self, opening: Opening) -> list[int]:
        """The assistant's header and what its message is to begin with: the model goes on from there."""
        return [*self.header("assistant"), *self.begin(opening)]

    def begin(self, opening: Opening) -> list[int]:
        """What the assistant's message begins with."""
        return self.tokenizer.encode_marked(_OPENINGS[opening])

    def user(self, item: UserInput | Instruction) -> list[Segment]:
        """What a user said: the sound where it is kept, else the words; or what the app tells the model."""
        if isinstance(item, Instruction):
            return [tuple(self.message("system", item.text))]
        if item.audio is None:
            return [tuple(self.message("human", item.text))]
        return [tuple(self.header("human")), Sound(item.audio), (self._end,)]

    def reply(self, ids: Sequence[int], opening: Opening) -> list[int]:
        """What the model generated in one message, as it is; ``ids`` end with `<|EOT|>`."""
        return [*self.open(opening), *ids]

    def line(self, text: str) -> list[int]:
        """What comes before a line that is to be spoken as it stands (`interleave.SpokenLine`)."""
        del text  # its ids are forced: no word of it has to be shown before
        return self.open("speak")

    def call(self, name: str, arguments: JsonObject) -> list[int]:
        """A call as the model writes it; only for calls whose ids are not known."""
        tokenizer = self.tokenizer
        text = f"function\n{name}\n{json.dumps(arguments, ensure_ascii=False)}"
        return [tokenizer.tool_call, *tokenizer.encode(text), tokenizer.tool_call_end]

    def results(self, outputs: Sequence[ToolOutput], late: frozenset[str] = frozenset()) -> list[int]:
        """The results of calls, one message each; the last one asks for an answer.

        A result says whose it is where that is not plain: there are several, or it is ``late`` (ids of such calls).
        """
        ids: list[int] = []
        for output in outputs:
            named = len(outputs) > 1 or output.call_id in late
            asked = [f"\n\n\n{self._summary}"] if self._summary and output is outputs[-1] else []
            ids += self.message("input", f"{output.name}: {output.output}" if named else output.output, *asked)
        return ids

    @property
    def _end(self) -> int:
        return self.tokenizer.eot


def sound_ids(tokenizer: Tokenizer, patches: Sequence[int]) -> list[int]:
    """The ids that stand for a sound: each piece of it has so many patches, whose embeddings are put over them."""
    ids: list[int] = []
    for count in patches:
        ids += [tokenizer.audio_start, *[tokenizer.audio_patch] * count, tokenizer.audio_end]
    return ids


def tool_json(tools: Sequence[ToolSpec]) -> str:
    """The tools as the model was trained to read them: a JSON array of function objects, Python's separators.

    The same tools give the same text, in whatever order their schemas' keywords stand. Properties keep their order.
    """
    functions = [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": canonical_schema(tool.parameters),
            },
        }
        for tool in tools
    ]
    return json.dumps(functions, ensure_ascii=False)


def call_alternatives(tools: Sequence[ToolSpec]) -> list[tuple[str, JsonObject]]:
    """How the text of a call may begin, and the schema of the arguments behind it, for `sayso.engine.grammar`."""
    return [(f"function\n{tool.name}\n", canonical_schema(tool.parameters)) for tool in tools]


def canonical_schema(schema: Any) -> Any:
    """A JSON Schema with its keywords in one order."""
    if isinstance(schema, list):
        return [canonical_schema(part) for part in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    keywords = cast("JsonObject", schema)
    known = [key for key in _KEYWORDS if key in keywords]
    ordered: JsonObject = {}
    for key in [*known, *sorted(keywords.keys() - {*known})]:
        value = keywords[key]
        if key in ("properties", "$defs", "definitions", "patternProperties") and isinstance(value, dict):
            named = cast("JsonObject", value).items()
            ordered[key] = {name: canonical_schema(part) for name, part in named}
        elif key in ("enum", "const", "default", "examples", "required"):
            ordered[key] = value
        else:
            ordered[key] = canonical_schema(value)
    return ordered
