"""Scenario files: what they may hold, and how what is wrong in them is told."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from sayso.errors import UsageError
from sayso.evals.file_errors import ScenarioError
from sayso.evals.loader import as_data, load_file, load_suite, published_schema, save, save_lines
from sayso.evals.scenario import Scenario

EVALS = Path(__file__).parent.parent / "evals"
FULL = """\
schema: 1
id: booking.move
title: Caller corrects the day, the tool fails once
clock: {now: 2026-03-17T10:45:00-05:00}
agent: {policy: !include policies/clinic.md, tools: [find_slots, move], max_tool_rounds: 6}
world:
  $ref: worlds/clinic.json
  patch: [{op: replace, path: /appointments/A17/day, value: 2026-03-20}]
tools:
  move:
    faults: [{on_call: 1, raise: {code: unavailable, message: "calendar busy"}}]
    latency_ms: {dist: lognormal, p50: 300, p95: 1200}
turns:
  - user: "Move it to Tuesday, no, Wednesday."
    expect:
      calls:
        - {id: slots, tool: find_slots, args: {day: 2026-03-18}}
      no_calls: [{tool: move}]
      reply: {language: en, asks: true, max_words: 45, contains_any: [two, "14"]}
      latency_ms: {first_audio: {p95: 2500}, done: 4000}
  - interrupt: {after: agent_audio, ms: 600}
    user: "Wait."
    expect:
      calls:
        - {tool: move, args: {slot: {from: "slots.result[0].id"}}, after: [slots], times: {max: 2}}
final:
  state: {assert: ["appointments.A17.slot == 'S2'"]}
  communicate: ["Wednesday", {time: "14:00"}]
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    folder = tmp_path / "clinic"
    (folder / "policies").mkdir(parents=True)
    (folder / "worlds").mkdir()
    (folder / "policies/clinic.md").write_text("Be brief.\n")
    (folder / "worlds/clinic.json").write_text('{"appointments": {"A17": {"day": "2026-03-17"}}}')
    (folder / "full.yaml").write_text(FULL)
    return folder


def faults(path: Path) -> tuple[str, ...]:
    with pytest.raises(ScenarioError) as caught:
        load_suite(path)
    return caught.value.faults


def test_a_file_is_read_with_all_that_it_names(suite: Path) -> None:
    (loaded,) = load_suite(suite).scenarios
    scenario = loaded.scenario
    assert scenario.agent.policy == "Be brief."
    assert loaded.world == {"appointments": {"A17": {"day": "2026-03-20"}}}
    assert scenario.suite == "clinic"
    assert scenario.turns[0].expect.calls[0].args == {"day": "2026-03-18"}, "a date stays a text"
    assert scenario.tools["move"].faults[0].kind == "raises"
    assert scenario.turns[1].expect.calls[0].most == 2


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("contains_any", "containz_any", "full.yaml:19: turns[0].expect.reply.containz_any: there is no such key"),
        ("max_words: 45", "max_words: many", "full.yaml:19: turns[0].expect.reply.max_words: 'many' was found"),
        ("op: replace", "op: swap", "full.yaml:8: world.source.patch[0].op: 'swap' was found; expected is 'add'"),
        ("path: /appointments/A17/day", "path: /rooms/A17/day", "full.yaml:8: world.patch: replace '/rooms/A17/day'"),
        ("worlds/clinic.json", "worlds/none.json", "full.yaml:7: world: there is no worlds/none.json"),
        ("policies/clinic.md", "policies/none.md", "full.yaml:5: !include: there is no policies/none.md"),
        ("after: [slots]", "after: [slot]", "full.yaml:25: after: 'slot' is none; the id of another"),
        ("raise: {", "empty: true, raise: {", "full.yaml:11: tools.move.faults[0]: exactly one of raise"),
        ("id: booking.move\n", "", "full.yaml:1: id: is missing"),
        ("-05:00", "", "full.yaml:4: clock.now:"),
        ("p50: 300", "p50: 3000", "full.yaml:12: tools.move.latency_ms"),
        ("title: C", "id: again\ntitle: C", 'full.yaml:3: no YAML: found duplicate key "id"'),
        ("agent: {", "agent: {{", "full.yaml:6: no YAML"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(suite: Path, old: str, new: str, expected: str) -> None:
    assert old in FULL
    (suite / "full.yaml").write_text(FULL.replace(old, new))
    assert any(expected in fault for fault in faults(suite)), faults(suite)


def test_all_files_are_told_at_once(suite: Path) -> None:
    for name in ("a", "b"):
        (suite / f"{name}.yaml").write_text("schema: 2\nid: x\ntitle: t\nturns: []\n")
    assert [fault.split(": ")[0].rsplit("/", 1)[1] for fault in faults(suite)] == ["a.yaml:1", "b.yaml:1"]


def test_one_id_is_taken_once(suite: Path) -> None:
    (suite / "again.yaml").write_text(FULL)
    with pytest.raises(UsageError, match=r"again\.yaml and .*full\.yaml have one id"):
        load_suite(suite)


def test_a_suite_says_what_its_scenarios_have_in_common(suite: Path) -> None:
    (suite / "suite.yaml").write_text("suite: core\ndefaults: {language: zh, agent: {max_tool_rounds: 2, voice: v}}\n")
    (loaded,) = load_suite(suite).scenarios
    agent = loaded.scenario.agent
    assert (loaded.scenario.suite, loaded.scenario.language) == ("core", "zh")
    assert (agent.max_tool_rounds, agent.voice) == (6, "v")
    (suite / "suite.yaml").write_text("defaultz: {}\n")
    assert "suite.yaml:1: defaultz: not known" in faults(suite)[0]


def test_the_hash_is_of_all_that_decides(suite: Path) -> None:
    def digest() -> str:
        return load_suite(suite).scenarios[0].hash

    before = digest()
    assert digest() == before
    (suite / "policies/clinic.md").write_text("Be long.\n")
    assert (changed := digest()) != before
    (suite / "tools.py").write_text("TOOLS = []\n")
    assert digest() not in (before, changed)


def test_scenarios_are_written_and_read_back(tmp_path: Path) -> None:
    made = Scenario.model_validate(
        {"schema": 1, "id": "a", "title": "two\nlines", "turns": [{"user": "你好"}], "world": {"t": [1, None]}}
    )
    save(made, tmp_path / "one/a.yaml")
    save_lines([made], tmp_path / "many/a.jsonl")
    for name in ("one/a.yaml", "many/a.jsonl"):
        (loaded,) = load_file(tmp_path / name)
        assert as_data(loaded.scenario) == as_data(made) | {"suite": name.split("/")[0]}


def test_what_is_no_scenario_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no "):
        load_suite(tmp_path / "none")
    with pytest.raises(UsageError, match="There is no scenario in"):
        load_suite(tmp_path)
    (tmp_path / "a.yaml").write_text("- 1\n")
    assert "a.yaml:1: a scenario is expected" in faults(tmp_path)[0]
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read" in faults(tmp_path)[0]


def test_the_published_schema_is_that_of_the_models(suite: Path) -> None:
    published = (EVALS / "schema.json").read_text()
    assert published == published_schema(), "write it again: python -m sayso.evals.loader"
    schema = json.loads(published)
    jsonschema.Draft202012Validator.check_schema(schema)
    text = FULL.replace("!include policies/clinic.md", "text").replace("2026-03-17T10:45:00-05:00", "'2026'")
    data = YAML(typ="safe").load(text.replace("2026-03-18", "'2026-03-18'").replace("2026-03-20", "'2026-03-20'"))
    jsonschema.validate(data, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data | {"turn": []}, schema)
