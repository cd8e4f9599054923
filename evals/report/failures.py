"""What did not pass, unit by unit: transcript, calls expected against found, state, checks and their evidence."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

from sayso.evals.compare import reasons
from sayso.evals.records import Call, Check, ExpectedCall, Turn, Unit

Match: TypeAlias = Literal["right", "wrong", "missing", "extra", "forbidden"]

SOUND_BYTES = 1_000_000
"""A recording up to this size goes into the page; a larger one is linked."""
ALL_SOUND_BYTES = 24_000_000
"""All recordings in a page."""
MEDIA_TYPES = {
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
}
ABSENT = object()
NOT_SHOWN = frozenset({"seq", "type", "time_s", "turn", "generation", "audio"})
"""Of an event: what has a place of its own, or says nothing to people."""


@dataclass(frozen=True, slots=True)
class FieldDiff:
    """One argument: what was wanted and what was there; None: it was absent, or nothing was wanted of it."""

    name: str
    expected: str | None
    found: str | None
    right: bool


@dataclass(frozen=True, slots=True)
class CallDiff:
    """A call that was wanted, made, or both.

    Attributes:
        match: ``right`` and ``wrong`` speak of the arguments of a call that was wanted and made.
        call: The call that was made, or None.
    """

    tool: str
    match: Match
    fields: tuple[FieldDiff, ...]
    call: Call | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """An event that a check points to; only its number is known where the events were not kept."""

    seq: int
    kind: str = ""
    time_s: float | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class CheckView:
    """A check that did not pass, and the events that show it."""

    check: Check
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class TurnView:
    """A turn as the report shows it."""

    index: int
    turn: Turn
    calls: tuple[CallDiff, ...]
    failed: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """A unit that failed or is void.

    Attributes:
        reasons: Why, in words.
        failed: Names of the checks that failed.
        audio: A data URI or a path beside the report; empty where there is none.
        embedded: ``audio`` is a data URI.
    """

    unit: Unit
    reasons: tuple[str, ...]
    failed: tuple[str, ...]
    checks: tuple[CheckView, ...]
    turns: tuple[TurnView, ...]
    audio: str
    embedded: bool


def failures(units: Iterable[Unit], folder: Path, page: Path) -> Iterator[Failure]:
    """What did not pass; what must pass comes first, void units last.

    Args:
        units: Of a run.
        folder: Of the run: paths of audio and events begin there.
        page: The folder in which the page will lie.
    """
    chosen = sorted(
        (unit for unit in units if unit.verdict != "pass"),
        key=lambda unit: (unit.verdict == "void", not unit.must_pass, unit.scenario, unit.mode == "speech", unit.trial),
    )
    left = ALL_SOUND_BYTES
    for unit in chosen:
        audio, size = _audio(unit, folder, page, left)
        left -= size
        bad = [check for check in unit.checks if check.verdict != "pass"]
        events = _events(unit, folder) if any(check.events for check in bad) else {}
        yield Failure(
            unit,
            tuple(reasons(unit)),
            tuple(dict.fromkeys(check.name for check in bad if check.verdict == "fail")),
            tuple(CheckView(check, tuple(events.get(seq, Evidence(seq)) for seq in check.events)) for check in bad),
            tuple(_turn(unit, index, turn, bad) for index, turn in enumerate(unit.turns)),
            audio,
            size > 0,
        )


def call_diffs(unit: Unit, index: int) -> tuple[CallDiff, ...]:
    """The calls of a turn, each beside the one that was wanted: first the wanted ones, then the others."""
    turn = unit.turns[index]
    left = list(turn.calls)
    rights = {
        (one.tool, one.parameter): all(
            other.right
            for other in unit.arguments
            if (other.turn, other.tool, other.parameter) == (index, one.tool, one.parameter)
        )
        for one in unit.arguments
        if one.turn == index
    }
    diffs: list[CallDiff] = []
    for expected in turn.expected_calls:
        made = _nearest(expected, left)
        if made is not None:
            left.remove(made)
        diffs.append(_diff(expected, made, rights))
    forbidden = set(turn.no_calls)
    for call in left:
        match: Match = "forbidden" if forbidden & {call.tool, "*"} else "extra"
        fields = tuple(FieldDiff(name, None, _json(found), match == "extra") for name, found in call.arguments.items())
        diffs.append(CallDiff(call.tool, match, fields, call))
    return tuple(diffs)


def _turn(unit: Unit, index: int, turn: Turn, bad: Sequence[Check]) -> TurnView:
    failed = tuple(check for check in bad if check.turn == index)
    return TurnView(index, turn, call_diffs(unit, index), failed)


def _nearest(expected: ExpectedCall, made: Sequence[Call]) -> Call | None:
    """Of the calls of the same tool the one with most arguments in common, one that worked before one that did not."""
    wanted = _mapping(expected.args) or {}
    same = [call for call in made if call.tool == expected.tool]

    def nearness(call: Call) -> tuple[int, bool]:
        return sum(call.arguments.get(name, ABSENT) == value for name, value in wanted.items()), call.status == "ok"

    return max(same, key=nearness, default=None)


def _diff(expected: ExpectedCall, made: Call | None, rights: Mapping[tuple[str, str], bool]) -> CallDiff:
    found: dict[str, Any] = made.arguments if made is not None else {}
    wanted = _mapping(expected.args)
    if wanted is None:
        shown = None if expected.args is None else _json(expected.args)
        field = FieldDiff("arguments", shown, None if made is None else _json(found), made is not None)
        fields = (field,) if shown is not None or found else ()
    else:
        names = [*wanted, *(name for name in found if name not in wanted)]
        fields = tuple(
            FieldDiff(
                name,
                _json(wanted[name]) if name in wanted else None,
                _json(found[name]) if name in found else None,
                made is not None
                and rights.get((expected.tool, name), name not in wanted or found.get(name, ABSENT) == wanted[name]),
            )
            for name in names
        )
    if made is None:
        return CallDiff(expected.tool, "missing", fields, None)
    return CallDiff(expected.tool, "right" if all(field.right for field in fields) else "wrong", fields, made)


def _mapping(args: Any) -> dict[str, Any] | None:
    return cast("dict[str, Any]", args) if isinstance(args, dict) else None


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def inside(folder: Path, name: str) -> Path | None:
    """The file of this name, if it is there and lies in the folder: anybody may have written the name."""
    path = (folder / name).resolve()
    return path if path.is_relative_to(folder.resolve()) and path.is_file() else None


def _audio(unit: Unit, folder: Path, page: Path, left: int) -> tuple[str, int]:
    """Where the recording is found, and how many bytes of it go into the page."""
    path = inside(folder, unit.audio) if unit.audio else None
    media_type = MEDIA_TYPES.get(path.suffix.lower()) if path is not None else None
    if path is None or media_type is None:
        return "", 0
    size = path.stat().st_size
    if size <= min(SOUND_BYTES, left):
        return f"data:{media_type};base64,{base64.b64encode(path.read_bytes()).decode()}", size
    try:
        return path.relative_to(page.resolve()).as_posix(), 0
    except ValueError:
        return path.as_uri(), 0


def _events(unit: Unit, folder: Path) -> dict[int, Evidence]:
    """A unit's events by number, from lines of ``{"event": {...}}``; lines that are none are passed over."""
    path = inside(folder, unit.events) if unit.events else None
    found: dict[int, Evidence] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path is not None else ():
        try:
            event = _mapping((_mapping(json.loads(line)) or {}).get("event")) or {}
        except ValueError:
            continue
        if isinstance(seq := event.get("seq"), int):
            found[seq] = _evidence(seq, event)
    return found


def _evidence(seq: int, event: Mapping[str, Any]) -> Evidence:
    rest = {k: v for k, v in event.items() if k not in NOT_SHOWN and v not in ("", None)}
    time_s = event.get("time_s")
    text = _json(rest) if rest else ""
    return Evidence(
        seq,
        str(event.get("type", "")),
        float(time_s) if isinstance(time_s, int | float) else None,
        text if len(text) <= 300 else text[:300] + "…",
    )
