"""The exact text that the language model continues: system prompt, tools, conversation, in Qwen's ChatML.

What stays comes first, so that the beginning is evaluated once: instructions, tools, examples, then the conversation. A
conversation that grew is rendered as what it was plus what is new, and what the model wrote is rendered as it wrote it.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from sayso.items import (
    AssistantReply,
    Instruction,
    Item,
    JsonObject,
    ToolCall,
    ToolExample,
    ToolOutput,
    ToolSpec,
    UserInput,
)
from sayso.models.call_parser import CONSTRAINED_PREFIX
from sayso.models.llm.grammar import SPEECH, compact
from sayso.prompts import load

EXAMPLES_PER_TOOL = 2
EXAMPLES = 6
"""So many in all, where an agent has few tools."""
MAX_OUTPUT_CHARS = 1500
MAX_INPUT_CHARS = 2000
_ANSWER_TOKENS = 320
_BLOCKS = 4


def opening(instructions: str, tools: Sequence[ToolSpec], language: str = "en") -> str:
    """What all conversations of an agent begin with: the system prompt, and worked examples as turns.

    The model follows examples better as turns than as text (55 against 50 of 62 right tools on the tuning requests).
    """
    system = load("embedded/system", language).substitute(
        instructions=instructions.strip() or load("embedded/instructions", language).template,
        tools="\n".join(tool_line(tool) for tool in tools),
    )
    worked = (_turn("user", said) + _turn("assistant", answer) for said, answer in _examples(tools, language))
    return _turn("system", system) + "".join(worked)


def prefix(opening_text: str, items: Sequence[Item] = (), language: str = "en") -> str:
    """What is certain of the next prompt while its question is not known: all up to where the user's words begin."""
    return f"{opening_text}{_turns_text(items, language)}<|im_start|>user\n"


def render(opening_text: str, items: Sequence[Item], language: str = "en") -> str:
    """The whole prompt; it ends where the name of the tool begins."""
    return f"{opening_text}{_turns_text(items, language)}<|im_start|>assistant\n{CONSTRAINED_PREFIX}"


async def fitting(
    opening_text: str,
    items: Sequence[Item],
    context_tokens: int,
    count: Callable[[str], Awaitable[int]],
    language: str = "en",
) -> list[Item]:
    """``items`` without the oldest turns that have no room.

    A turn (what a user said and all that followed) goes or stays as a whole. Turns are dropped in blocks of a quarter
    of the room whose borders depend only on what came before: the cut stays for many turns and the cache is kept.

    Args:
        opening_text: What comes before them.
        items: The conversation.
        context_tokens: How much the model holds.
        count: Counts the tokens of a text.
        language: Of the prompts.
    """
    room = context_tokens - _ANSWER_TOKENS - await count(opening_text)
    turns = _turns(items)
    sizes = [await count(_turns_text(turn, language)) for turn in turns]
    first, block, left = 0, 0, sum(sizes)
    for at, size in enumerate(sizes[:-1]):
        if left <= room:
            break
        block += size
        if block >= room / _BLOCKS:
            first, left, block = at + 1, left - block, 0
    if left > room:
        first = len(turns) - 1
    return [item for turn in turns[max(0, first) :] for item in turn]


def tool_line(tool: ToolSpec) -> str:
    """A tool in one line: name, arguments with types, description."""
    schema = tool.parameters
    required = schema.get("required", ())
    arguments = ", ".join(
        f"{key}{'' if key in required else '?'}: {_type_words(value, schema)}"
        for key, value in schema.get("properties", {}).items()
    )
    notes = " ".join(
        f"{key}: {value['description'].strip()}"
        for key, value in schema.get("properties", {}).items()
        if value.get("description")
    )
    return f"- {tool.name}({arguments}): {' '.join(f'{tool.description} {notes}'.split())}"


def answer_text(name: str, arguments: JsonObject) -> str:
    """What the model writes for a call."""
    return f'{CONSTRAINED_PREFIX}{name}","arguments":{compact(arguments)}}}'


def _examples(tools: Sequence[ToolSpec], language: str) -> list[tuple[str, str]]:
    """Requests and answers: the first example of each tool, then the second ones, with speech spread among them."""
    worked = {tool.name: tool.examples or made_up_examples(tool) for tool in tools}
    ranks = [
        (worked[tool.name][rank].request, answer_text(tool.name, worked[tool.name][rank].arguments))
        for rank in range(max(EXAMPLES_PER_TOOL, EXAMPLES // max(1, len(tools))))
        for tool in tools
        if rank < len(worked[tool.name])
    ]
    chat = load("embedded/chat", language).template.splitlines()
    spoken = [(said, answer_text(SPEECH, {"say": reply})) for said, reply in zip(chat[::2], chat[1::2], strict=True)]
    mixed: list[tuple[str, str]] = []
    for at, example in enumerate(ranks):
        mixed.append(example)
        if at % 3 == 2 and spoken:
            mixed.append(spoken.pop(0))
    return [*mixed, *spoken]


def made_up_examples(tool: ToolSpec) -> tuple[ToolExample, ...]:
    """An example for a tool that has none: without one the model rather invents an answer than calls.

    The request is the tool's description with a value for each required argument; none where a value cannot be made up.
    """
    schema = tool.parameters
    arguments: JsonObject = {}
    for name in schema.get("required", ()):
        value = _sample(schema["properties"][name], schema)
        if value is None:
            return ()
        arguments[name] = value
    said = tool.description.strip().split("\n")[0].rstrip(".") or tool.name.replace("_", " ")
    values = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in arguments.items())
    return (ToolExample(f"{said[0].lower()}{said[1:]}{': ' if values else ''}{values}", arguments),)


def _sample(schema: JsonObject, root: JsonObject) -> Any:
    """A value for a simple schema, or None."""
    if "$ref" in schema:
        return _sample(root.get("$defs", {}).get(schema["$ref"].rpartition("/")[2], {}), root)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if {"pattern", "format", "anyOf", "oneOf", "multipleOf"} & schema.keys():
        return None
    low, high = schema.get("minimum", 3), schema.get("maximum", 3)
    samples = {"string": "Marlow", "boolean": True, "integer": max(low, min(3, high)), "number": max(low, min(3, high))}
    value = samples.get(str(schema.get("type")))
    return (
        None
        if isinstance(value, str) and not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 99)
        else value
    )


def _type_words(schema: JsonObject, root: JsonObject) -> str:
    """A type in a few words, as a programmer would write it."""
    if "$ref" in schema:
        return _type_words(root.get("$defs", {}).get(schema["$ref"].rpartition("/")[2], {}), root)
    if "const" in schema:
        return compact(schema["const"])
    if "enum" in schema:
        return " or ".join(compact(value) for value in schema["enum"])
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        return " or ".join(dict.fromkeys(_type_words(option, root) for option in options))
    if schema.get("type") == "array":
        return f"[{_type_words(schema.get('items', {}), root)}, ...]"
    if "properties" in schema:
        inner = ", ".join(f"{key}: {_type_words(value, root)}" for key, value in schema["properties"].items())
        return f"{{{inner}}}"
    kind = schema.get("type", "any")
    bounds = [f"{word} {schema[key]}" for key, word in (("minimum", "from"), ("maximum", "to")) if key in schema]
    kinds = cast("list[str]", kind) if isinstance(kind, list) else [str(kind)]
    return " ".join([" or ".join(kinds), *bounds])


def _turns_text(items: Sequence[Item], language: str) -> str:
    return "".join(_render_item(item, language) for item in items)


def _render_item(item: Item, language: str) -> str:
    match item:
        case UserInput(text=text):
            return _turn("user", _short(text, MAX_INPUT_CHARS))
        case Instruction(text=text):
            return _turn("system", _short(text, MAX_INPUT_CHARS))
        case AssistantReply(text=text):
            return _turn("assistant", answer_text(SPEECH, {"say": text.strip()}))
        case ToolCall(name=name, arguments=arguments):
            return _turn("assistant", answer_text(name, arguments))
        case ToolOutput(output=output, status=status):
            prompt = load("embedded/result" if status == "ok" else "embedded/failed", language)
            return _turn("user", prompt.substitute(output=_short(plain_result(output), MAX_OUTPUT_CHARS)))


def plain_result(output: str) -> str:
    """A result in few tokens, as each costs 25 ms: a flat JSON object becomes ``key value, key value``."""
    try:
        found = json.loads(output)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict) and found:
        values = cast("dict[str, object]", found)
        if not any(isinstance(value, dict | list) for value in values.values()):
            shown = (f"{key} {value if isinstance(value, str) else compact(value)}" for key, value in values.items())
            output = ", ".join(part for part in shown if not part.endswith(" "))
    return " ".join(output.split())


def _turn(role: str, text: str) -> str:
    # The marks of the format are the runtime's alone: what users and tools write must not forge a turn.
    return f"<|im_start|>{role}\n{text.replace('<|', '< |')}<|im_end|>\n"


def _short(text: str, most: int) -> str:
    """At most ``most`` characters; the mark at the end of a text from outside stays (`sayso.tools.text.quoted`)."""
    if len(text) <= most:
        return text
    at = text.rfind("[[")
    mark = text[at:] if at > 0 and text.endswith("]]") and len(text) - at < most else ""
    return f"{text[: most - 2 - len(mark)]} …{mark}"


def _turns(items: Sequence[Item]) -> list[list[Item]]:
    turns: list[list[Item]] = []
    for item in items:
        if isinstance(item, UserInput) or not turns:
            turns.append([])
        turns[-1].append(item)
    return turns
