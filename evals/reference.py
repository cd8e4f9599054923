"""What a perfect agent does in a scenario: as the scenario's ``reference`` says, else made from what is expected."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeAlias, cast

from sayso.evals.comparators import Known
from sayso.evals.expectations import CallExpectation
from sayso.evals.loader import Loaded
from sayso.evals.match import example
from sayso.items import Item, ToolCall, ToolOutput, UserInput

Planned: TypeAlias = tuple[str, dict[str, Any]]
"""A call: the tool and its arguments."""


def plan_of(loaded: Loaded, turn: int, items: Sequence[Item]) -> list[list[Planned]]:
    """The calls of a turn, by round.

    Args:
        loaded: The scenario.
        turn: Index of the turn.
        items: The conversation so far; what earlier calls returned is looked up in it.
    """
    turns = loaded.scenario.turns
    if turn >= len(turns):
        return []
    reference = turns[turn].reference
    if reference is not None and reference.rounds is not None:
        return [[(call.tool, call.args) for call in calls] for calls in reference.rounds]
    known = Known(results=_results(loaded, turn, items))
    rounds: list[list[Planned]] = []
    for calls in _levels(turns[turn].expect.calls):
        rounds.append([planned for call in calls for planned in _planned(call, known)])
    return rounds


def reply_of(loaded: Loaded, turn: int, items: Sequence[Item]) -> str:
    """The words of a turn."""
    scenario = loaded.scenario
    if turn >= len(scenario.turns):
        return ""
    here = scenario.turns[turn]
    if here.reference is not None and here.reference.reply is not None:
        return here.reference.reply
    reply = here.expect.reply
    if reply is not None and reply.empty:
        return ""
    last = turn == len(scenario.turns) - 1
    wanted: list[Any] = [*here.expect.communicate, *(scenario.final.communicate if last else ())]
    language = scenario.language
    if reply is not None:
        wanted += [*reply.contains, *reply.contains_any[:1], *(memory.value for memory in reply.remembers)]
        language = reply.language if isinstance(reply.language, str) else language
    words = [_said(value) for value in wanted]
    if language.startswith("zh"):
        return f"好的。{'，'.join(words)}{'，好吗？' if reply is not None and reply.asks else '。' if words else ''}"
    end = ", is that so?" if reply is not None and reply.asks else "." if words else ""
    return f"All right. {', '.join(words)}{end}"


def _said(value: Any) -> str:
    return str(next(iter(value.values()))) if isinstance(value, dict) else str(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]


def _planned(call: CallExpectation, known: Known) -> list[Planned]:
    if call.tool == "*" or call.least == 0:
        return []
    wanted: object = call.args
    if call.match == "any_of" or not isinstance(wanted, dict):
        arguments: Any = example(wanted, call.match, known)
    else:
        parameters = cast("dict[str, Any]", wanted)
        arguments = {name: example(value, "exact", known) for name, value in parameters.items()}
    return [(call.tool, arguments if isinstance(arguments, dict) else {})] * call.least


def _levels(calls: Sequence[CallExpectation]) -> list[list[CallExpectation]]:
    """Calls that may be made together, in the order that ``after`` and ``from`` ask for."""
    names = {call.id for call in calls if call.id}
    levels: list[list[CallExpectation]] = []
    done: set[str] = set()
    left = list(calls)
    while left:
        ready = [call for call in left if not ((_needs(call) & names) - done)] or left
        levels.append(ready)
        done |= {call.id for call in ready if call.id}
        left = [call for call in left if call not in ready]
    return levels


def _needs(call: CallExpectation) -> set[str]:
    text = json.dumps(call.args, ensure_ascii=False, default=str)
    paths = [part.split('"')[0] for part in text.split('"from": "')[1:]]
    return {*call.after, *(path.split(".")[0].split("[")[0] for path in paths)} - {call.id or ""}


def _results(loaded: Loaded, turn: int, items: Sequence[Item]) -> dict[str, Any]:
    """What the calls of the scenario returned so far, by the id of the expectation."""
    by_turn: list[list[ToolCall]] = []
    outputs: dict[str, str] = {}
    for item in items:
        match item:
            case UserInput():
                by_turn.append([])
            case ToolCall() if by_turn:
                by_turn[-1].append(item)
            case ToolOutput():
                outputs[item.call_id] = item.output
            case _:
                pass
    past = sum(one.user is not None for one in loaded.scenario.history)
    results: dict[str, Any] = {}
    for index, calls in enumerate(by_turn[past : past + turn + 1]):
        left = list(calls)
        for expected in loaded.scenario.turns[index].expect.calls:
            made = next((call for call in left if call.name == expected.tool), None)
            if made is not None:
                left.remove(made)
                if expected.id:
                    results[expected.id] = _value(outputs.get(made.call_id, ""))
    return results


def _value(output: str) -> Any:
    try:
        return json.loads(output)
    except ValueError:
        return output
