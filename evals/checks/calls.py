"""Calls: made, with which arguments, how they ended, how often, in which order, and which must not be made."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from sayso.evals.checks.case import Assigned, Case, CheckedTurn, checked
from sayso.evals.comparators import Known
from sayso.evals.expectations import ForbiddenCall, Limits
from sayso.evals.match import MISSING, is_match, parameters
from sayso.evals.records import Check
from sayso.evals.run.trace import CallTrace
from sayso.items import JsonObject

_CHANGES = frozenset({"write", "irreversible"})


def check(case: Case) -> Iterator[Check]:
    """All checks of calls."""
    for turn in case.turns:
        for assigned in turn.assigned:
            yield from _expected(case, turn, assigned)
        yield from _order(turn)
        yield from _rounds(turn)
        yield from _forbidden(turn, turn.expect.no_calls, turn.known)
        yield from _forbidden(turn, case.scenario.final.calls.forbidden, turn.known)
        yield from _extra(case, turn)
    yield from _whole(case)


def _expected(case: Case, turn: CheckedTurn, assigned: Assigned) -> Iterator[Check]:
    expected, made = assigned.expected, assigned.made
    shown = {"tool": expected.tool, "args": expected.args}
    if not made:
        if not expected.optional and expected.least:
            others = [call.tool for call in turn.calls]
            found = f"called was {', '.join(others)}" if others else "nothing was called"
            message = f"{expected.tool} was not called; {found}."
            yield checked(
                "calls.made", turn, False, message, events=turn.trace.last_event, expected=shown, found=others
            )
        return
    calls = [call for call, _ in made]
    yield checked("calls.made", turn, True, "", events=_seen(calls), expected=shown)
    for call, fit in made:
        if expected.args is not None:
            yield _arguments(case, turn, assigned, call)
        if fit != "arguments" and expected.result != "any":
            ok = call.status == expected.result
            message = f"{call.tool} ended as {call.status}, not {expected.result}: {call.output[:200]}"
            yield checked(
                "calls.result", turn, ok, message, events=call.events, expected=expected.result, found=call.status
            )
    most = expected.most
    enough = len(made) >= expected.least and (most is None or len(made) <= most)
    if expected.least != 1 or most != 1 or not enough:
        message = f"{expected.tool} was called {len(made)} times as expected of it."
        yield checked(
            "calls.count", turn, enough, message, events=_seen(calls), expected=[expected.least, most], found=len(made)
        )


def _arguments(case: Case, turn: CheckedTurn, assigned: Assigned, call: CallTrace) -> Check:
    expected = assigned.expected
    verdicts = parameters(expected.args, call.arguments, expected.match, turn.known, case.trace.defaults(call.tool))
    wrong = {name: value for name, (value, right) in verdicts.items() if not right}
    told = "; ".join(_difference(name, value, call.arguments) for name, value in wrong.items())
    return checked(
        "calls.arguments",
        turn,
        not wrong,
        f"{call.tool} was called with wrong arguments: {told}.",
        events=call.events[:1],
        expected=expected.args,
        found=call.arguments,
    )


def _difference(name: str, expected: object, arguments: JsonObject) -> str:
    found = json.dumps(arguments[name], ensure_ascii=False) if name in arguments else "nothing"
    if name == "":
        return f"{json.dumps(arguments, ensure_ascii=False)} in place of {json.dumps(expected, ensure_ascii=False)}"
    wanted = "nothing" if expected is MISSING else json.dumps(expected, ensure_ascii=False, default=str)
    return f"{name} is {found} in place of {wanted}"


def _order(turn: CheckedTurn) -> Iterator[Check]:
    by_id = {one.expected.id: one.made for one in turn.assigned if one.expected.id}
    for assigned in turn.assigned:
        for name in assigned.expected.after:
            if name not in by_id or not assigned.made or not by_id[name]:
                continue  # of an earlier turn, or missing, which is told elsewhere
            before, then = by_id[name][0][0], assigned.made[0][0]
            ok = before.ended_s <= then.started_s and before.events[0] < then.events[0]
            message = f"{then.tool} was called before {before.tool} had ended."
            yield checked("calls.order", turn, ok, message, events=(before.events[-1], then.events[0]), expected=name)


def _rounds(turn: CheckedTurn) -> Iterator[Check]:
    if turn.expect.parallel:
        made = [call for one in turn.assigned for call, _ in one.made]
        rounds = sorted({call.round for call in made})
        message = f"The calls were made in {len(rounds)} rounds, not in one."
        yield checked(
            "calls.parallel", turn, len(rounds) <= 1, message, events=_seen(made), expected=1, found=len(rounds)
        )
    if (limits := turn.expect.rounds) is not None:
        count = turn.trace.rounds
        message = f"The model was asked {count} times."
        yield checked(
            "calls.rounds",
            turn,
            within(count, limits),
            message,
            events=turn.trace.last_event,
            expected=limits.model_dump(exclude_none=True),
            found=count,
        )


def _forbidden(turn: CheckedTurn, forbidden: Sequence[ForbiddenCall], known: Known) -> Iterator[Check]:
    for one in forbidden:
        hit = [call for call in turn.calls if _is(one, call, known)]
        what = "Nothing was to be called" if one.tool == "*" else f"{one.tool} was not to be called"
        message = f"{what}, but {', '.join(shown(call) for call in hit)} was."
        expected = {"tool": one.tool, "args": one.args}
        yield checked("calls.forbidden", turn, not hit, message, events=_seen(hit), expected=expected)


def _is(forbidden: ForbiddenCall, call: CallTrace, known: Known) -> bool:
    return forbidden.tool in ("*", call.tool) and is_match(forbidden.args, call.arguments, "subset", known)


def _extra(case: Case, turn: CheckedTurn) -> Iterator[Check]:
    """Calls that nobody expected: reads are harmless, writes are not."""
    allowed = turn.expect.extra or case.scenario.final.calls.extra
    if allowed == "any" or (case.scenario.user_sim is not None and not turn.expect.calls and turn.expect.extra is None):
        return
    ran = [call for call in turn.extra if call.status not in ("unknown", "invalid")]
    wrong = [call for call in ran if allowed == "none" or case.trace.effect(call.tool) in _CHANGES]
    message = f"Nobody asked for {', '.join(shown(call) for call in wrong)}."
    yield checked("calls.extra", turn, not wrong, message, events=_seen(wrong), found=[call.tool for call in wrong])


def _whole(case: Case) -> Iterator[Check]:
    limits = case.scenario.final.calls
    every = [call for turn in case.turns for call in turn.calls]
    if limits.max_total is not None or limits.min_total is not None:
        bounds = Limits(min=limits.min_total, max=limits.max_total)
        message = f"{len(every)} calls were made."
        yield checked(
            "calls.total",
            None,
            within(len(every), bounds),
            message,
            events=_seen(every),
            expected=bounds.model_dump(exclude_none=True),
            found=len(every),
        )
    if limits.no_repeat_identical:
        again = list(_repeated(every))
        message = f"{', '.join(shown(call) for call in again)} was called again with the same arguments."
        yield checked("calls.repeated", None, not again, message, events=_seen(again))


def _repeated(calls: Iterable[CallTrace]) -> Iterator[CallTrace]:
    """Calls that were made before and worked; one that waited for a person and one that failed may come again."""
    seen: set[str] = set()
    for call in calls:
        key = json.dumps([call.tool, call.arguments], sort_keys=True, ensure_ascii=False)
        if key in seen:
            yield call
        if call.status in ("ok", "running"):
            seen.add(key)


def within(value: float, limits: Limits) -> bool:
    """Whether a number keeps to its bounds."""
    return (limits.min is None or value >= limits.min) and (limits.max is None or value <= limits.max)


def shown(call: CallTrace) -> str:
    """A call in one line."""
    arguments = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in call.arguments.items())
    return f"{call.tool}({arguments})"


def _seen(calls: Iterable[CallTrace]) -> tuple[int, ...]:
    return tuple(call.events[0] for call in calls)
