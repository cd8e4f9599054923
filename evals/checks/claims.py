"""Claims: what a reply states comes from a tool's result, the user or the policy; what it says was done, was done.

Entities (times, dates, amounts, numbers above ten, telephone numbers, codes) are looked up in what was known by then.
"Done" is understood from verbs: a claim needs a write that worked, in this turn if there was one in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Final

from sayso.evals.checks.case import Case, CheckedTurn, checked
from sayso.evals.comparators import says
from sayso.evals.entities import Found, entities
from sayso.evals.records import Check
from sayso.evals.run.trace import CallTrace

SMALL: Final = 10
"""Numbers up to this are counts and turns of phrase."""
_VERBS: Final = (
    "booked|reserved|scheduled|rescheduled|moved|changed|updated|cancell?ed|sent|transferred|paid|ordered|placed|added|"
    "removed|deleted|created|saved|submitted|refunded|confirmed|registered|set up|turned (?:on|off)|locked|unlocked"
)
_DONE: Final = (
    re.compile(rf"\b(?:i've|i have|i just|we've|we have)(?: (?:just|now|already|successfully))* (?:{_VERBS})\b"),
    re.compile(
        rf"\b(?:is|it's|that's|are|was|were|has been|have been|been)(?: (?:now|all|already|successfully))*"
        rf" (?:{_VERBS}|done|complete)\b"
    ),
    re.compile(r"\b(?:all done|it's done|that's done|done[.!,]|all set|you're all set)"),
    re.compile(
        r"(?:已经?|成功)(?:为[您你]|帮[您你]|给[您你]|把\S{1,8})?(?:成功)?"
        r"(?:预订|预约|订|改|修改|更改|取消|发送|发|转账|转|支付|下单|添加|删除|创建|保存|提交|退款|确认|设置|打开|关闭|锁)"
    ),
    re.compile(r"(?:订|改|取消|发|转|付|设|办|约|加|删|存|换)(?:好|成功|完成)了"),
)
_NOT: Final = re.compile(
    r"\b(?:not|never|unable|failed|cannot|if|once|when|before|after|would|could|should|shall|will|let me)\b|n't\b"
    r"|没有?|未|无法|不能|失败|如果|要是|的话|之后|吗"
)
_SENTENCE: Final = re.compile(r"[^.!?。！？;；\n]+[.!?。！？;；]?")


def check(case: Case) -> Iterator[Check]:
    """All checks of claims."""
    for turn in case.turns:
        grounded = turn.expect.reply.grounded if turn.expect.reply is not None else None
        if grounded in ("entities", "all"):
            yield _entities(case, turn)
        if grounded in ("claims", "all"):
            yield _claims(case, turn)


def _entities(case: Case, turn: CheckedTurn) -> Check:
    sources = "\n".join(_sources(case, turn.index))
    known = entities(sources, case.today)
    wrong = [
        found
        for found in entities(turn.trace.written, case.today)
        if not _is_small(found) and not _is_known(found, known, sources, case.today)
    ]
    events = turn.trace.reply_events or turn.trace.last_event
    told = ", ".join(found.raw.strip() for found in wrong)
    return checked(
        "claims.grounded", turn, not wrong, f"Nobody said {told}.", events=events, found=[found.raw for found in wrong]
    )


def _claims(case: Case, turn: CheckedTurn) -> Check:
    claimed = next((part for part in _SENTENCE.findall(turn.trace.written) if is_claim(part)), None)
    events = turn.trace.reply_events or turn.trace.last_event
    if claimed is None:
        return checked("claims.supported", turn, True, "", events=events)
    writes = [_writes(case, one) for one in case.turns[: turn.index + 1]]
    here = writes[-1]
    worked = _all_worked(here) if here else any(_all_worked(calls) for calls in writes if calls)
    shown = tuple(call.events[-1] for call in here)
    message = f"{claimed.strip()!r} is not so: {'the call failed' if here else 'nothing was done'}."
    return checked("claims.supported", turn, worked, message, events=(*shown, *events), found=claimed.strip())


def is_claim(sentence: str) -> bool:
    """Whether a sentence says that something was done."""
    plain = sentence.casefold().replace("’", "'")
    if plain.rstrip().endswith(("?", "？")) or _NOT.search(plain):
        return False
    return any(pattern.search(plain) for pattern in _DONE)


def _writes(case: Case, turn: CheckedTurn) -> list[CallTrace]:
    return [call for call in turn.calls if case.trace.effect(call.tool) in ("write", "irreversible")]


def _all_worked(calls: Sequence[CallTrace]) -> bool:
    """Whether the last call of each tool worked."""
    last = {call.tool: call for call in calls}
    return all(call.status in ("ok", "running") for call in last.values())


def _sources(case: Case, index: int) -> Iterator[str]:
    """All that the agent could know by the end of a turn."""
    yield case.trace.instructions
    if case.now is not None:
        yield case.now.isoformat()
    for past in case.scenario.history:
        yield from filter(None, (past.user, past.agent, str(past.call.result) if past.call else None))
    for turn in case.turns[: index + 1]:
        yield turn.trace.user
        for call in turn.calls:
            yield call.output


def _is_small(found: Found) -> bool:
    return found.kind == "number" and abs(float(found.value)) <= SMALL


def _is_known(found: Found, known: Sequence[Found], sources: str, today: date | None) -> bool:
    match found.kind:
        case "time":
            hours = {hour for one in known if one.kind == "time" for hour in _hours(one.value)}
            return bool(_hours(found.value) & hours)
        case "date":
            return any(one.kind == "date" and one.value[-5:] == found.value[-5:] for one in known)
        case "money" | "number":
            return says("number", found.value.split(" ")[0], sources, today)
        case _:
            return says(found.kind, found.value, sources, today)


def _hours(time: str) -> set[str]:
    """A time, and where its half of the day is open both."""
    hour, minute = (int(part) for part in time.rstrip("?").split(":"))
    hours = {hour % 12, hour % 12 + 12} if time.endswith("?") else {hour}
    return {f"{hour:02}:{minute:02}" for hour in hours}
