"""StepEval-Audio-Toolcall (StepFun): Chinese conversations whose last words need a tool, or must not use it.

Both forms are read: ``cases.jsonl`` with ``messages`` and ``expected_call``, and the set's own files, named
``TOOL_positive.jsonl`` and ``TOOL_negative.jsonl``, with a list of turns a line and calls as text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from sayso.evals.file_errors import invalid
from sayso.evals.importers.base import Folder, Imported, Row, Source, objects, read
from sayso.evals.loader import as_object
from sayso.items import JsonObject

SOURCE: Final = Source("stepeval", "StepEval-Audio-Toolcall", "404d8dea", "Apache-2.0")
POLICY: Final = "你是语音助手小跃。需要工具时就调用工具，不需要时直接回答。回答要简短、口语化。"
_CALL: Final = re.compile(r"<tool_call>\s*function\s+([A-Za-z_]\w*)\s*(\{.*?\})?\s*</tool_call>", re.DOTALL)
_FILE: Final = re.compile(r"(?P<target>[a-z_]+?)_(?P<polarity>positive|negative)$")
_FULL: Final = {"timbre": "timbre_rag", "audio_search": "timbre_rag"}


def _tool(description: str, parameter: str | None, about: str, returns: Any) -> JsonObject:
    properties = {} if parameter is None else {parameter: {"type": "string", "description": about}}
    schema: JsonObject = {"type": "object", "properties": properties, "required": list(properties)}
    return {"define": {"description": description, "parameters": schema, "effect": "read", "returns": returns}}


TOOLS: Final[dict[str, JsonObject]] = {
    "timbre_rag": _tool("按描述检索音色，换成用户想要的声音。", "query", "想要的声音的描述", {"音色": "已找到"}),
    "get_date_time": _tool("查询现在的日期和时间。", None, "", {"现在": "2025年7月18日星期五15点20分"}),
    "get_weather": _tool("查询一个城市的天气。", "location", "城市名的拼音", {"天气": "多云，26度"}),
    "web_search": _tool("上网搜索最新的或自己不知道的信息。", "query", "搜索词", ["没有更多结果"]),
    "calculate": _tool("计算一个算式。", "expression", "算式", {"结果": "已算出"}),
}


@dataclass(frozen=True, slots=True)
class Case:
    """One conversation.

    Attributes:
        row: Where it stands.
        id: Of the set.
        target: The tool that it is about.
        positive: Whether that tool is needed.
        past: What was said before the last words of the user.
        words: These.
        call: The call that follows in the set, of any tool.
        sound: The file of the last words, where it is there.
    """

    row: Row
    id: str
    target: str
    positive: bool
    past: tuple[JsonObject, ...]
    words: str
    call: JsonObject | None
    sound: Path | None = None


def load(path: Path, source: Source = SOURCE) -> Imported:
    """Read ``cases.jsonl``, or the set's own files.

    Raises:
        ScenarioError: A row is not as expected; file and line are told.
    """
    imported = Imported(source)
    files = [path] if path.is_file() else sorted(path.glob("*.jsonl"))
    folder = Folder(defaults={"language": "zh", "agent": {"policy": POLICY, "tools": list(TOOLS)}, "tools": TOOLS})
    for file in files:
        for case in _cases(file):
            if not case.words:
                imported.left_out["nothing is said by a user"] += 1
            elif case.target not in TOOLS:
                imported.left_out[f"target {case.target} is not among the tools"] += 1
            elif case.positive and (case.call is None or case.call["name"] != case.target):
                imported.left_out["positive, but its call is not there"] += 1
            else:
                _add(imported, folder, case)
    imported.folders.append(folder)
    imported.notes.append(
        "Arguments are compared by rules (city, value, similar text), where the published score asks a judge; the "
        "words of the last turn are rendered where the set's sound is not beside the texts."
    )
    return imported


def _add(imported: Imported, folder: Folder, case: Case) -> None:
    polarity = "positive" if case.positive else "negative"
    expected: JsonObject
    if case.positive:
        arguments = _typed(case.target, cast("JsonObject", (case.call or {}).get("arguments") or {}))
        expected = {"calls": [{"tool": case.target, "args": arguments, "result": "any"}]}
    else:
        expected = {"no_calls": [{"tool": case.target}]}
    turn: JsonObject = {"user": case.words, "expect": expected | {"extra": "any"}}
    if case.sound is not None:
        turn["audio"] = f"speech/{case.sound.name}"
        folder.files[turn["audio"]] = case.sound
    other = case.call is not None and case.call["name"] != case.target
    data: JsonObject = {
        "title": f"{case.target}, {polarity}: {case.words[:60]}",
        "tags": [case.target, polarity, *(["another-tool"] if other else [])],
        "target_tools": [case.target],
        "history": list(case.past),
        "turns": [turn],
    }
    folder.scenarios.append(imported.scenario(case.row, case.id, f"{case.target} {polarity}", data))


def _typed(tool: str, arguments: JsonObject) -> JsonObject:
    """Arguments with what makes two of them equal."""
    kinds = {"get_weather": "city", "calculate": "expr"}
    kind = kinds.get(tool)
    return {name: {kind: value} if kind else {"text": value, "min_sim": 0.3} for name, value in arguments.items()}


def _cases(file: Path) -> Iterator[Case]:
    for number, line in enumerate(read(file).splitlines(), 1):
        if not line.strip():
            continue
        try:
            value: object = json.loads(line)
        except ValueError as error:
            raise invalid(file, number, f"one conversation as JSON is expected: {error}") from None
        if (data := as_object(value)) is not None:
            yield _reshaped(Row(file, number, data))
        elif turns := objects(value):
            yield _own(Row(file, number, {"turns": turns}), turns)
        else:
            raise invalid(file, number, "a conversation is expected: an object with messages, or a list of turns")


def _reshaped(row: Row) -> Case:
    messages = objects(row.items("messages"))
    past, words = _split(row, [_message(row, message) for message in messages])
    call = row.data.get("expected_call")
    if call is not None and not (isinstance(call, dict) and isinstance(cast("JsonObject", call).get("name"), str)):
        raise row.wrong("expected_call: null, or an object with name and arguments is expected")
    positive = row.need("polarity", str) == "positive"
    return Case(row, row.need("id", str), row.need("target_tool", str), positive, past, words, cast("Any", call))


def _message(row: Row, message: JsonObject) -> tuple[str, Any]:
    role, text = message.get("role"), str(message.get("text") or "")
    match role:
        case "user":
            return "user", text
        case "assistant" if isinstance(call := message.get("tool_call"), dict):
            return "call", (text, cast("JsonObject", call))
        case "assistant":
            return "agent", text
        case "tool_result":
            return "result", message.get("text", message.get("value", ""))
        case _:
            raise row.wrong(f"messages: role {role!r} was found; user, assistant or tool_result is expected")


def _own(row: Row, turns: list[JsonObject]) -> Case:
    """A conversation in the set's own form: the call after the user's last words is the expected one."""
    stem = _FILE.search(row.path.stem)
    if stem is None:
        raise row.wrong("the file's name tells no tool: TOOL_positive.jsonl or TOOL_negative.jsonl is expected")
    target = _FULL.get(stem["target"], stem["target"])
    parts: list[tuple[str, Any]] = []
    call: JsonObject | None = None
    sound: Path | None = None
    last = max((at for at, turn in enumerate(turns) if turn.get("from") == "Human"), default=-1)
    for at, turn in enumerate(turns):
        text = str(turn.get("text") or "")
        value = turn.get("value")
        recording = str((as_object(value) or {}).get("value") or "")
        found = _CALL.search(text)
        match turn.get("from"):
            case "Human":
                parts.append(("user", text))
                sound = row.path.parent / recording if at == last and recording else None
            case "Assistant" if found is not None:
                made: JsonObject = {"name": found[1], "arguments": _arguments(row, found[2])}
                call = made if at > last and call is None else call
                parts.append(("call", (_CALL.sub("", text).strip(), made)))
            case "Assistant":
                parts.append(("agent", text))
            case "Input":
                parts.append(("result", text))
            case other:
                raise row.wrong(f"from: {other!r} was found; Human, Assistant or Input is expected")
    until = [part for at, part in enumerate(parts) if at <= last]
    past, words = _split(row, until)
    sound = sound if sound is not None and sound.is_file() else None
    identity = f"{row.path.name}-{row.line - 1}"
    return Case(row, identity, target, stem["polarity"] == "positive", past, words, call, sound)


def _arguments(row: Row, text: str | None) -> JsonObject:
    try:
        return as_object(json.loads(text or "{}")) or {}
    except ValueError as error:
        raise row.wrong(f"a call's arguments are no JSON: {error}") from None


def _split(row: Row, parts: list[tuple[str, Any]]) -> tuple[tuple[JsonObject, ...], str]:
    """The past, and the user's last words. What is said beside a call comes before it."""
    if not parts or parts[-1][0] != "user":
        raise row.wrong("the last message is expected to be the user's")
    past: list[JsonObject] = []
    for kind, value in parts[:-1]:
        match kind:
            case "call":
                said, call = value
                past += [{"agent": said}] if said else []
                past.append({"call": {"tool": call["name"], "args": call.get("arguments") or {}}})
            case "result":
                if not past or "call" not in past[-1]:
                    raise row.wrong("a tool's result is expected behind its call")
                past[-1] = {"call": past[-1]["call"] | {"result": value}}
            case _:
                past += [{kind: value}] if value else []
    return tuple(past), str(parts[-1][1]).strip()
