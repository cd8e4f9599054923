"""Whether the arguments of a call are those that a scenario expects, comparators included."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, cast

from sayso.evals.comparators import (
    COMPARATORS,
    ENTITY_OF,
    MIN_SIMILARITY,
    NOTHING,
    TOLERANCE,
    Known,
    same_number,
    similar_text,
)
from sayso.evals.expectations import Entity, Matching
from sayso.items import JsonObject

MISSING: Final = object()
"""In place of an argument that was left out."""
_PATH: Final = re.compile(r"\.?([A-Za-z_][\w-]*)|\[(\d+)\]")


def is_match(expected: Any, found: Any, matching: Matching = "exact", known: Known = NOTHING) -> bool:
    """Whether ``found`` fits; see `sayso.evals.expectations.CallExpectation`."""
    return all(right for _, right in parameters(expected, found, matching, known).values())


def parameters(
    expected: Any,
    found: Any,
    matching: Matching = "exact",
    known: Known = NOTHING,
    defaults: Mapping[str, Any] | None = None,
) -> dict[str, tuple[Any, bool]]:
    """What is expected of each parameter, and whether it is so; of one that should not be there `MISSING` is expected.

    Args:
        expected: As the scenario has it; its keys are parameters, although one may be named as a comparator.
        found: The arguments of the call.
        matching: How to compare.
        known: What comparators may look at.
        defaults: Values that count as left out, by parameter.
    """
    if expected is None:
        return {}
    if matching == "schema":
        return {"": (expected, _fits(expected, found))}
    if not (isinstance(expected, dict) and isinstance(found, dict)):
        return {"": (expected, equal(expected, found, known, whole=matching == "exact"))}
    wanted, there = cast("JsonObject", expected), cast("JsonObject", found)
    verdicts: dict[str, tuple[Any, bool]] = {}
    for name, value in wanted.items():
        given = there.get(name, MISSING)
        right = _accepts(value, given, matching, known)
        if given is MISSING and not right and defaults is not None and name in defaults:
            right = _accepts(value, defaults[name], matching, known)
        verdicts[name] = (value, right)
    for name, value in there.items():
        if name not in wanted and matching != "subset" and (defaults or {}).get(name, MISSING) != value:
            verdicts[name] = (MISSING, False)
    return verdicts


def equal(expected: Any, found: Any, known: Known = NOTHING, *, whole: bool = True) -> bool:
    """Whether a value is as expected: comparators, then types and values; 1 is 1.0, True is not 1.

    Args:
        expected: A value, or a comparator.
        found: What there is; may be `MISSING`.
        known: What comparators may look at.
        whole: Objects have no other keys.
    """
    if (kind := comparator(expected)) is not None:
        return found is not MISSING and _compares(kind, expected, found, known)
    if isinstance(expected, dict) and isinstance(found, dict):
        wanted, there = cast("JsonObject", expected), cast("JsonObject", found)
        keys_fit = wanted.keys() == there.keys() if whole else wanted.keys() <= there.keys()
        return keys_fit and all(equal(value, there[name], known, whole=whole) for name, value in wanted.items())
    if isinstance(expected, list) and isinstance(found, list):
        one, two = cast("list[Any]", expected), cast("list[Any]", found)
        return len(one) == len(two) and all(equal(a, b, known, whole=whole) for a, b in zip(one, two, strict=True))
    if isinstance(expected, bool) or isinstance(found, bool):
        return expected is found
    if isinstance(expected, int | float) and isinstance(found, int | float):
        return expected == found
    plain: list[Any] = [expected, found]
    return type(plain[0]) is type(plain[1]) and bool(plain[0] == plain[1])


def comparator(expected: Any) -> str | None:
    """The kind of a comparator, or None where it is a plain value."""
    if not isinstance(expected, dict):
        return None
    keys = set(cast("JsonObject", expected))
    if len(keys) == 1 and (kind := next(iter(keys))) in _ALONE:
        return kind
    return "number" if keys == {"number", "tol"} else "text" if keys == {"text", "min_sim"} else None


_ALONE: Final = frozenset({*COMPARATORS, "number", "text", "re", "from", "any", "equals"})


def entity_of(expected: Any) -> Entity:
    """What kind of thing an expected value is."""
    kind = comparator(expected)
    if kind is not None:
        return ENTITY_OF.get(kind, "other")
    return "number" if isinstance(expected, int | float) and not isinstance(expected, bool) else "other"


def example(expected: Any, matching: Matching = "exact", known: Known = NOTHING) -> Any:
    """Arguments that fit: what a perfect agent sends."""
    if matching == "any_of" and isinstance(expected, dict):
        accepted = {name: _listed(values) for name, values in cast("JsonObject", expected).items()}
        return {name: example(values[0], "exact", known) for name, values in accepted.items() if "" not in values}
    if (kind := comparator(expected)) is not None:
        value = expected[kind]
        return looked_up(str(value), known.results) if kind == "from" else "x" if kind in ("re", "any") else value
    if isinstance(expected, dict):
        return {name: example(value, "exact", known) for name, value in cast("JsonObject", expected).items()}
    if isinstance(expected, list):
        return [example(value, "exact", known) for value in cast("list[Any]", expected)]
    return expected


def looked_up(path: str, results: Mapping[str, Any]) -> Any:
    """What stands at ``id.result[0].field`` in the results of earlier calls; `MISSING` where nothing does."""
    parts = [found[1] or int(found[2]) for found in _PATH.finditer(path)]
    here: Any = results.get(str(parts[0]), MISSING) if parts else MISSING
    for part in parts[2:] if parts[1:2] == ["result"] else parts[1:]:
        try:
            here = here[part]
        except (LookupError, TypeError):
            return MISSING
    return here


def _accepts(expected: Any, given: Any, matching: Matching, known: Known) -> bool:
    if matching != "any_of":
        return equal(expected, given, known, whole=matching == "exact")
    values = _listed(expected)
    if given is MISSING:
        return "" in values
    return any(_accepted(value, given, known) for value in values)


def _accepted(value: Any, given: Any, known: Known) -> bool:
    if isinstance(value, str) and isinstance(given, str):
        return _bare(value) == _bare(given)
    if isinstance(value, dict) and isinstance(given, dict) and comparator(value) is None:
        return is_match(value, given, "any_of", known)
    return equal(value, given, known)


def _listed(values: Any) -> list[Any]:
    return cast("list[Any]", values) if isinstance(values, list) else [values]


def _bare(text: str) -> str:
    """A text as sets of accepted values compare it: without case, spaces and light punctuation."""
    return re.sub(r"[\s,./\-_*^]", "", text).casefold().replace("'", '"')


def _compares(kind: str, expected: Any, found: Any, known: Known) -> bool:
    value = expected[kind]
    match kind:
        case "equals":
            return value == found
        case "any":
            return True
        case "number":
            return same_number(value, found, float(expected.get("tol", TOLERANCE)))
        case "text":
            return similar_text(value, found, float(expected.get("min_sim", MIN_SIMILARITY)))
        case "re":
            return isinstance(found, str | int | float) and re.search(str(value), str(found)) is not None
        case "from":
            return (there := looked_up(str(value), known.results)) is not MISSING and equal(there, found, known)
        case _:
            return COMPARATORS[kind](value, found, known)


def _fits(schema: Any, found: Any) -> bool:
    from jsonschema import Draft202012Validator

    validator: Any = Draft202012Validator(schema)
    return bool(validator.is_valid(found))
