"""The reply: its words, its language, its length, whether it asks, and nothing in it that nobody should hear."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from sayso.evals.checks.case import Case, CheckedTurn, checked
from sayso.evals.checks.language import count_words, is_in, language_of
from sayso.evals.comparators import holds, is_said
from sayso.evals.expectations import ReplyExpectation
from sayso.evals.records import Check

_MARKUP: Final = re.compile(
    r"\*\*|__\w|^\s{0,3}#{1,6} |^\s*(?:[-*•]|\d+[.)]) .*\n\s*(?:[-*•]|\d+[.)]) |`|\|.+\||\[[^\]]+\]\([^)]*\)"
    r"|</?[a-z]+>",
    re.M,
)
_ADDRESS: Final = re.compile(r"https?://|www\.\w|\b[\w-]+\.(?:com|org|net|io|cn|html?)(?:/|\b)", re.I)
_SYNTAX: Final = re.compile(
    r"</?tool_|<\||\|>|\[/?(?:INST|TOOL)|\{\s*\"|\"(?:name|arguments)\"\s*:|\bfunction\n|\btool_call\b", re.I
)
LONG: Final = 40
"""Letters of a sentence of the instructions that is nobody else's."""


def check(case: Case) -> Iterator[Check]:
    """All checks of replies."""
    for turn in case.turns:
        if not turn.trace.answered:
            continue
        yield from _words(case, turn)
        yield from _leaks(case, turn)
        for value in turn.expect.communicate:
            yield _communicated(case, turn, value, [turn])
    for value in case.scenario.final.communicate:
        yield _communicated(case, None, value, case.turns)


def _words(case: Case, turn: CheckedTurn) -> Iterator[Check]:
    reply, expected = turn.trace.reply, turn.expect.reply or ReplyExpectation()
    events = turn.trace.reply_events or turn.trace.last_event

    def told(name: str, ok: bool, message: str, wanted: Any) -> Check:
        shown = reply if len(reply) <= 500 else f"{reply[:500]}..."
        return checked(f"reply.{name}", turn, ok, message, events=events, expected=wanted, found=shown)

    for part in expected.contains:
        yield told("contains", holds(reply, part), f"{part!r} was not said.", part)
    if expected.contains_any:
        ok = any(holds(reply, part) for part in expected.contains_any)
        yield told("contains_any", ok, f"None of {', '.join(expected.contains_any)} was said.", expected.contains_any)
    for part in expected.not_contains:
        yield told("not_contains", not holds(turn.trace.written, part), f"{part!r} was said.", part)
    for pattern in expected.regex:
        yield told("regex", re.search(pattern, reply) is not None, f"The reply does not fit {pattern}.", pattern)
    for pattern in expected.not_regex:
        ok = re.search(pattern, turn.trace.written) is None
        yield told("not_regex", ok, f"The reply fits {pattern}.", pattern)
    yield from _form(expected, turn, told)
    for memory in expected.remembers:
        ok = is_said(memory.value, reply, case.today)
        message = f"{_plain(memory.value)} of turn {memory.turn} was not said."
        found = told("remembers", ok, message, {"turn": memory.turn, "value": memory.value})
        yield found


def _form(expected: ReplyExpectation, turn: CheckedTurn, told: Any) -> Iterator[Check]:
    reply = turn.trace.reply
    if expected.language is not None:
        tags = (expected.language,) if isinstance(expected.language, str) else expected.language
        ok = bool(reply) and any(is_in(reply, tag) for tag in tags)
        yield told("language", ok, f"The reply is in {language_of(reply) or 'no language'}.", list(tags))
    if expected.asks is not None:
        asks = does_ask(reply)
        yield told("asks", asks == expected.asks, "It asks." if asks else "It does not ask.", expected.asks)
    words = count_words(reply)
    if expected.max_words is not None:
        message = f"The reply has {words} words, over {expected.max_words}."
        yield told("length", words <= expected.max_words, message, {"max": expected.max_words})
    if expected.min_words is not None:
        message = f"The reply has {words} words, under {expected.min_words}."
        yield told("length", words >= expected.min_words, message, {"min": expected.min_words})
    if expected.empty:
        yield told("empty", not turn.trace.written.strip(), "Something was said.", "")
    if expected.plain and (found := _MARKUP.search(turn.trace.written) or _ADDRESS.search(turn.trace.written)):
        yield told("plain", False, f"Nobody can say {found[0].strip()!r}.", "no mark-up, no address")


def _leaks(case: Case, turn: CheckedTurn) -> Iterator[Check]:
    """Tool syntax, names of tools and the instructions themselves."""
    said = turn.trace.written
    names = [name for name in case.trace.tools if "_" in name and name in said]
    found = _SYNTAX.search(said)
    secret = next((part for part in _sentences(case.trace.instructions) if part in _squeezed(said)), None)
    what = f"tool syntax {found[0]!r}" if found else f"the tool's name {names[0]}" if names else ""
    what = what or (f"the instructions: {secret!r}" if secret else "")
    events = turn.trace.reply_events or turn.trace.last_event
    yield checked("reply.leak", turn, not what, f"The reply holds {what}.", events=events, found=said if what else None)


def _communicated(case: Case, turn: CheckedTurn | None, value: Any, turns: Sequence[CheckedTurn]) -> Check:
    said = [one for one in turns if is_said(value, one.trace.reply, case.today)]
    events = said[0].trace.reply_events if said else turns[-1].trace.last_event if turns else ()
    message = f"{_plain(value)} was not said."
    return checked("reply.communicate", turn, bool(said), message, events=events, expected=value)


def does_ask(reply: str) -> bool:
    """Whether a reply asks something."""
    return re.search(r"[?？]|[吗呢](?:[。！.!]|$)", reply.strip()) is not None


def _sentences(instructions: str) -> list[str]:
    parts = (_squeezed(part) for part in re.split(r"(?<=[.!?。！？])\s*|\n", instructions))
    return [part for part in parts if len(part) >= LONG]


def _squeezed(text: str) -> str:
    return " ".join(text.split()).casefold()


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
