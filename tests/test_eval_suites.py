"""The suites that come with sayso: the reference agents fare in them as they should, and they hold what they say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

from sayso.evals.agents import AgentSource
from sayso.evals.loader import Loaded, load_suite
from sayso.evals.records import Unit
from sayso.evals.run.mode import Plan, make_mode
from sayso.evals.run.unit import run_unit, seed_of, unit_id

SUITES = Path(__file__).parent.parent / "evals" / "suites"
KINDS_OF_CORE = (
    "pure read write irreversible no-call repair ambiguity refusal approval long background interruption memory "
    "code-switch fault recovery parallel empty contradiction entity-name entity-date entity-time entity-number "
    "entity-code entity-place entity-money entity-phone"
).split()
KINDS_OF_ADVERSARIAL = (
    "injection name-field system-prompt pretend authority urgency policy-exception homophone spelled silence cut-start "
    "two-speakers noise monologue dtmf clock zone fault time-out late malformed empty contradiction huge stale line"
).split()


@cache
def scenarios(suite: str) -> tuple[Loaded, ...]:
    return load_suite(SUITES / suite).scenarios


def run(agent: str, chosen: Iterable[Loaded]) -> list[Unit]:
    mode, source = make_mode("text", {}), AgentSource(agent=agent)
    units: list[Unit] = []
    for loaded in chosen:
        unit, seed = unit_id(loaded.id, "text", 0), seed_of(1, loaded.id, "text", 0)
        units.append(run_unit(Plan(unit=unit, loaded=loaded, mode="text", trial=0, seed=seed), mode, source, agent))
    return units


def told(units: Iterable[Unit]) -> list[str]:
    """What is wrong, in lines that can be read."""
    lines: list[str] = []
    for unit in units:
        checks = [f"{one.name} {one.message}" for one in unit.checks if one.verdict != "pass"]
        lines.append(f"{unit.scenario} {unit.verdict} {unit.void_reason} {'; '.join(checks)}")
    return lines


def in_words(suite: str) -> list[Loaded]:
    """Those that can be held in words; a turn of pure silence cannot."""
    return [loaded for loaded in scenarios(suite) if "text" in loaded.scenario.modes]


def tagged(suite: str, tag: str) -> list[Loaded]:
    return [loaded for loaded in in_words(suite) if tag in loaded.scenario.tags]


@pytest.mark.parametrize("suite", ["core", "adversarial"])
def test_the_perfect_agent_passes(suite: str) -> None:
    assert told(unit for unit in run("perfect", in_words(suite)) if unit.verdict != "pass") == []


@pytest.mark.parametrize("suite", ["core", "adversarial"])
def test_the_silent_agent_passes_nothing(suite: str) -> None:
    """Also where nothing is to be called something is to be said."""
    units = run("silent", in_words(suite))
    assert [unit.scenario for unit in units if unit.verdict != "fail"] == []


@pytest.mark.parametrize("suite", ["core", "adversarial"])
def test_the_agent_that_always_calls_fails_where_nothing_is_to_be_called(suite: str) -> None:
    chosen = tagged(suite, "no-call")
    assert len(chosen) >= 8
    assert told(unit for unit in run("always-call", chosen) if unit.verdict != "fail") == []


def test_the_parrot_fails_every_injection() -> None:
    chosen = tagged("adversarial", "injection")
    units = run("parrot", chosen)
    assert len(chosen) >= 15
    assert told(unit for unit in units if unit.numbers.get("attack_success") != 1.0) == []


def test_the_core_suite_is_as_large_and_as_wide_as_it_says() -> None:
    found = [loaded.scenario for loaded in scenarios("core")]
    languages = Counter(one.language for one in found)
    tags = Counter(tag for one in found for tag in one.tags)
    assert len(found) >= 60
    assert min(languages["en"], languages["zh"]) >= 25
    assert [tag for tag in KINDS_OF_CORE if tags[tag] < 2] == []
    assert len({loaded.code for loaded in scenarios("core")}) == 7


def test_the_adversarial_suite_is_pairs_of_twins() -> None:
    found = {loaded.id: loaded.scenario for loaded in scenarios("adversarial")}
    tags = Counter(tag for one in found.values() for tag in one.tags)
    assert [tag for tag in KINDS_OF_ADVERSARIAL if not tags[tag]] == []
    hostile = [one for one in found.values() if {"attack", "hard"} & set(one.tags)]
    assert len(hostile) >= 40
    for one in hostile:
        twin = found[one.twin or ""]
        assert twin.twin == one.id
        assert "benign" in twin.tags
        assert (twin.language, twin.agent.tools) == (one.language, one.agent.tools)
    assert len(found) == 2 * len(hostile)
    assert Counter(one.language for one in hostile)["zh"] >= 15


@pytest.mark.parametrize("suite", ["smoke", "core", "adversarial"])
def test_every_scenario_says_why_it_exists(suite: str) -> None:
    assert [loaded.id for loaded in scenarios(suite) if len(loaded.scenario.why) < 20] == []
    assert {loaded.scenario.suite for loaded in scenarios(suite)} == {suite}
