"""Importers: tiny files in the form of each set, and the real ones where they are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from sayso.cli import main
from sayso.errors import UsageError
from sayso.evals.file_errors import ScenarioError
from sayso.evals.importers import import_set, write_suite
from sayso.evals.importers.base import json_array, patches, slug, world_text
from sayso.evals.importers.bfcl_schema import Unusable, accepted, schema_of, speakable, spelled, tool_name
from sayso.evals.importers.slurp import offered
from sayso.evals.loader import Loaded, load_suite
from sayso.evals.match import is_match
from sayso.evals.patch import patched
from sayso.evals.scenario import Patch, Scenario
from sayso.evals.tools import known_tools


def lines(path: Path, rows: Iterable[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def suite(name: str, path: Path, out: Path) -> dict[str, Loaded]:
    write_suite(import_set(name, path), out)
    return {loaded.id: loaded for loaded in load_suite(out).scenarios}


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def fault(name: str, path: Path) -> str:
    with pytest.raises(ScenarioError) as caught:
        import_set(name, path)
    (told,) = caught.value.faults
    return told


def step(loaded: Loaded) -> Scenario:
    return loaded.scenario


# StepEval


def stepeval_row(**changes: Any) -> dict[str, Any]:
    return {
        "id": "w.jsonl-0",
        "target_tool": "get_weather",
        "polarity": "positive",
        "messages": [
            {"role": "user", "text": "换个声音。"},
            {"role": "assistant", "text": "好。", "tool_call": {"name": "timbre_rag", "arguments": {"query": "男声"}}},
            {"role": "tool_result", "text": "换好了"},
            {"role": "user", "text": "里斯本天气怎么样？"},
        ],
        "expected_call": {"name": "get_weather", "arguments": {"location": "lisbon"}},
    } | changes


def test_stepeval_has_the_past_as_history_and_the_last_words_as_the_turn(tmp_path: Path) -> None:
    negative = stepeval_row(id="w.jsonl-1", polarity="negative", expected_call=None)
    lost = stepeval_row(id="w.jsonl-2", expected_call=None)
    file = lines(tmp_path / "cases.jsonl", [stepeval_row(), negative, lost])
    imported = import_set("stepeval", file)
    assert dict(imported.left_out) == {"positive, but its call is not there": 1}
    made = suite("stepeval", file, tmp_path / "out")
    scenario = step(made["stepeval.w.jsonl-0"])
    past = [next(iter(one.model_fields_set)) for one in scenario.history]
    assert past == ["user", "agent", "call"] and scenario.history[2].call is not None
    assert scenario.history[2].call.result == "换好了"
    (turn,) = scenario.turns
    (call,) = turn.expect.calls
    assert turn.user == "里斯本天气怎么样？" and scenario.target_tools == ("get_weather",) and scenario.language == "zh"
    assert is_match(call.args, {"location": "Lisbon"}) and not is_match(call.args, {"location": "porto"})
    assert step(made["stepeval.w.jsonl-1"]).turns[0].expect.no_calls[0].tool == "get_weather"
    assert scenario.origin is not None and scenario.origin.licence == "Apache-2.0"


@pytest.mark.parametrize("gap", ["\n", "  \n", " \n "])
def test_stepeval_reads_the_sets_own_form(tmp_path: Path, gap: str) -> None:
    def turn(who: str, text: str, sound: str = "") -> dict[str, Any]:
        return {"from": who, "text": text, "value": {"type": "wav", "value": sound} if sound else text}

    call = f'马上。<tool_call>function{gap}timbre_rag{gap}{{"query": "男声"}}</tool_call>'
    row = [turn("Human", "在吗？", "wav/0.wav"), turn("Assistant", "在。"), turn("Human", "换男声。", "wav/2.wav")]
    (tmp_path / "wav").mkdir()
    (tmp_path / "wav/2.wav").write_bytes(b"RIFF")
    lines(tmp_path / "timbre_positive.jsonl", [[*row, turn("Assistant", call), turn("Input", "好")]])
    made = suite("stepeval", tmp_path / "timbre_positive.jsonl", tmp_path / "out")
    scenario = step(made["stepeval.timbre_positive.jsonl-0"])
    assert len(scenario.history) == 2 and scenario.turns[0].user == "换男声。"
    assert scenario.turns[0].audio == "speech/2.wav" and (tmp_path / "out/speech/2.wav").read_bytes() == b"RIFF"
    assert scenario.turns[0].expect.calls[0].args == {"query": {"text": "男声", "min_sim": 0.3}}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"messages": []}, "the last message is expected to be the user's"),
        ({"messages": [{"role": "human", "text": "x"}]}, "role 'human' was found; user, assistant or tool_result"),
        ({"messages": [{"role": "tool_result"}, {"role": "user", "text": "x"}]}, "expected behind its call"),
        ({"expected_call": "x"}, "expected_call: null, or an object with name and arguments"),
        ({"id": 5}, "id: a text is expected, there is a number"),
    ],
)
def test_stepeval_tells_what_is_wrong_with_a_row(tmp_path: Path, row: dict[str, Any], told: str) -> None:
    file = lines(tmp_path / "cases.jsonl", [stepeval_row(), stepeval_row(**row)])
    found = fault("stepeval", file)
    assert found.startswith(f"{file}:2: ") and told in found


# BFCL


def bfcl_files(folder: Path, rows: list[dict[str, Any]], answers: list[dict[str, Any]]) -> Path:
    lines(folder / "BFCL_v4_simple_python.json", rows)
    lines(folder / "possible_answer/BFCL_v4_simple_python.json", answers)
    return folder


BFCL_ROW: dict[str, Any] = {
    "id": "simple_0",
    "question": [
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Five factorial, item ZK3FFW"}]
    ],
    "function": [
        {
            "name": "math.factorial",
            "description": "n!",
            "parameters": {
                "type": "dict",
                "properties": {
                    "number": {"type": "integer"},
                    "type": {"type": "any"},
                    "at": {"type": "tuple", "items": {"type": "float"}},
                },
                "required": ["number"],
            },
        }
    ],
}
BFCL_ANSWER = {"id": "simple_0", "ground_truth": [{"math.factorial": {"number": [5], "type": ["", "x"]}}]}


def test_bfcl_makes_a_tool_of_a_function_and_any_of_of_its_answer(tmp_path: Path) -> None:
    java = {**BFCL_ROW, "id": "simple_1", "function": [{"name": "f", "parameters": {"type": "HashMap"}}]}
    twice = {**BFCL_ROW, "id": "simple_2", "question": [[], []]}
    folder = bfcl_files(tmp_path / "data", [BFCL_ROW, java, twice], [BFCL_ANSWER])
    lines(folder / "BFCL_v4_irrelevance.json", [{**BFCL_ROW, "id": "irrelevance_0"}])
    lines(folder / "BFCL_v4_multi_turn_base.json", [{"id": "multi_turn_base_0"}, {"id": "multi_turn_base_1"}])
    imported = import_set("bfcl", folder)
    assert dict(imported.left_out) == {
        "types of another language than Python": 1,
        "more than one turn": 1,
        "multi-turn: needs the set's own stateful interfaces": 2,
    }
    made = suite("bfcl", folder, tmp_path / "out")
    loaded = made["bfcl.simple_0"]
    parameters = known_tools(loaded)["math_factorial"].spec.parameters
    assert parameters["type"] == "object" and parameters["properties"]["type"] == {}
    assert parameters["properties"]["at"] == {"type": "array", "items": {"type": "number"}}
    (call,) = step(loaded).turns[0].expect.calls
    assert call.tool == "math_factorial" and is_match(call.args, {"number": 5, "type": "X"}, "any_of")
    assert not is_match(call.args, {"number": 6}, "any_of")
    assert step(loaded).agent.policy == "Be brief." and "speakable-spell" in step(loaded).tags
    assert step(loaded).turns[0].say == "Five factorial, item <spell>ZK3FFW</spell>"
    assert step(made["bfcl.irrelevance_0"]).turns[0].expect.no_calls[0].tool == "*"


def test_bfcl_tells_what_is_wrong_with_an_answer(tmp_path: Path) -> None:
    other = {"id": "simple_0", "ground_truth": [{"cos": {"x": [1]}}]}
    folder = bfcl_files(tmp_path, [BFCL_ROW], [other])
    assert "possible_answer/BFCL_v4_simple_python.json:1: ground_truth: cos is expected" in fault("bfcl", folder)
    shutil.rmtree(folder / "possible_answer")
    with pytest.raises(UsageError, match="There are no answers"):
        import_set("bfcl", folder)


def test_objects_are_accepted_in_every_form() -> None:
    assert accepted([[{"a": [1, 2], "b": ["", "x"]}]]) == [
        {"equals": [{"a": 1}]},
        {"equals": [{"a": 1, "b": "x"}]},
        {"equals": [{"a": 2}]},
        {"equals": [{"a": 2, "b": "x"}]},
    ]
    with pytest.raises(Unusable, match="too many"):
        accepted([{str(key): [1, 2] for key in range(9)}])
    for nothing in ([], "x"):
        with pytest.raises(Unusable):
            accepted(nothing)


def test_schemas_are_changed_by_place_not_by_name() -> None:
    with pytest.raises(Unusable):
        schema_of({"type": "dict", "properties": {"x": {"type": "ArrayList"}}})
    assert schema_of({"type": "dict", "properties": {"optional": {"type": "float", "optional": True}}}) == {
        "type": "object",
        "properties": {"optional": {"type": "number"}},
    }
    assert tool_name("a.b c") == "a_b_c" and tool_name("1x") == "_1x"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What is the weather in Lisbon?", "yes"),
        ("Order 12 of them for 20 dollars", "yes"),
        ("My code is ZK3FFW", "spell"),
        ("User 7890123", "spell"),
        ("Move final_report.pdf to temp", "no"),
        ("Look at https://example.com/x", "no"),
        ("Sort [1, 2, 3]", "no"),
        ("a " * 500, "no"),
    ],
)
def test_what_can_be_said(text: str, expected: str) -> None:
    assert speakable(text) == expected


def test_codes_are_spelled() -> None:
    assert spelled("Flight SK621 at 10") == "Flight <spell>SK621</spell> at 10"


# SLURP and orders


def slurp_row(**changes: Any) -> dict[str, Any]:
    return {
        "slurp_id": 1,
        "sentence": "one dollar in yen",
        "sentence_annotation": "one [currency_name : dollar] in [currency_name : yen]",
        "intent": "qa_currency",
    } | changes


def test_slurp_makes_a_tool_of_each_intent(tmp_path: Path) -> None:
    wake = slurp_row(
        slurp_id=2, sentence="wake me at ten", sentence_annotation="wake me at [time : ten]", intent="alarm_set"
    )
    recordings = [
        {"file": "bad.flac", "wer": 0.5},
        {"file": "good.flac", "wer": 0.1},
        {"file": "gone.flac", "wer": 0.0},
    ]
    file = lines(tmp_path / "slurp/devel.jsonl", [slurp_row(recordings=recordings), wake])
    (tmp_path / "audio").mkdir()
    for name in ("bad", "good"):
        (tmp_path / f"audio/{name}.flac").write_text(name)
    made = suite("slurp", file.parent, tmp_path / "out")
    loaded = made["slurp.1"]
    (call,) = step(loaded).turns[0].expect.calls
    assert step(loaded).agent.tools == ("alarm_set", "qa_currency")
    assert is_match(call.args, {"currency_name": ["dollar", "yen"]})
    assert not is_match(call.args, {"currency_name": ["yen", "dollar"]})
    tools = known_tools(loaded)
    assert tools["qa_currency"].spec.parameters["properties"]["currency_name"]["type"] == "array"
    assert (tmp_path / "out" / str(step(loaded).turns[0].audio)).read_text() == "good"
    assert step(made["slurp.2"]).turns[0].audio is None
    assert "intent: 'a b' was found" in fault("slurp", lines(tmp_path / "test.jsonl", [slurp_row(intent="a b")]))


def test_the_tools_of_a_request_hold_the_right_one_and_those_beside_it() -> None:
    known = [f"{area}_{number}" for area in "abcdef" for number in range(4)]
    found = offered("c_2", known)
    assert len(found) == 12 and {"c_0", "c_1", "c_2", "c_3"} <= set(found) and found == offered("c_2", known)


def test_orders_have_sound_alone(tmp_path: Path) -> None:
    rows = [
        {
            "file": "speech/commands/one.flac",
            "intent": "orderDrink",
            "slots": {"coffeeDrink": "latte", "size": "small"},
        },
        {"file": "speech/commands/two.flac", "intent": "orderDrink", "slots": {"size": "small"}},
        {"file": "speech/digits/3.flac", "intent": None},
    ]
    (tmp_path / "speech/commands").mkdir(parents=True)
    (tmp_path / "speech/commands/one.flac").write_bytes(b"fLaC")
    vocabulary = tmp_path / "speech/commands/slots.yaml"
    vocabulary.write_text("slots:\n  coffeeDrink: [latte]\n  size: [small]\n")
    lines(tmp_path / "speech/manifest.jsonl", rows)
    imported = import_set("orders", tmp_path / "speech")
    assert (imported.count, dict(imported.left_out)) == (1, {"the clip is not there": 1})
    loaded = suite("orders", tmp_path / "speech", tmp_path / "out")["orders.one"]
    assert step(loaded).modes == ("speech",) and step(loaded).turns[0].user == ""
    assert step(loaded).turns[0].expect.calls[0].args == {"coffee_drink": "latte", "size": "small"}
    vocabulary.write_text("slots:\n  coffeeDrink: [mocha]\n")
    assert "manifest.jsonl:1: slots: coffeeDrink is 'latte'" in fault("orders", tmp_path / "speech")
    vocabulary.unlink()
    with pytest.raises(UsageError, match=r"no slots\.yaml"):
        import_set("orders", tmp_path / "speech")


# aiewf


def test_aiewf_is_one_long_conversation(tmp_path: Path) -> None:
    vote = {"name": "vote", "args": {"name": "Ann Lee", "session_id": "936902"}}
    turns = [
        {"input": "When is lunch?", "golden_text": "At noon.", "required_function_call": None, "audio_file": "t/0.wav"},
        {"input": "I vote for it.", "golden_text": "Done.", "required_function_call": vote},
    ]
    tool = {"name": "vote", "description": "Vote.", "properties": {"session_id": {"type": "string"}}, "required": []}
    (tmp_path / "set/t").mkdir(parents=True)
    (tmp_path / "set/t/0.wav").write_bytes(b"RIFF")
    (tmp_path / "set/knowledge_base.txt").write_text("Lunch is at noon.")
    (tmp_path / "set/tools.json").write_text(json.dumps([tool]))
    (tmp_path / "set/turns.json").write_text(json.dumps(turns))
    loaded = suite("aiewf", tmp_path / "set", tmp_path / "out")["aiewf.conversation"]
    first, second = step(loaded).turns
    assert first.expect.no_calls[0].tool == "*" and first.audio == "speech/0.wav"
    assert second.audio is None and is_match(second.expect.calls[0].args, {"name": "ann lee", "session_id": "936 902"})
    assert "Lunch is at noon." in step(loaded).agent.policy and len(step(loaded).final.judge) == 2
    (tmp_path / "set/tools.json").write_text("[]")
    assert "turns.json:1: required_function_call: 'vote' was found" in fault("aiewf", tmp_path / "set")


# What all share


def test_the_same_input_makes_the_same_bytes(tmp_path: Path) -> None:
    file = lines(tmp_path / "cases.jsonl", [stepeval_row()])
    for name in ("one", "two"):
        suite("stepeval", file, tmp_path / name)
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_an_import_is_replaced_by_the_next_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "out"
    suite("stepeval", lines(tmp_path / "cases.jsonl", [stepeval_row(), stepeval_row(id="w-2")]), out)
    suite("stepeval", lines(tmp_path / "cases.jsonl", [stepeval_row()]), out)
    assert not (out / "stepeval.w-2.yaml").exists()
    other = import_set("slurp", lines(tmp_path / "devel.jsonl", [slurp_row()]))
    with pytest.raises(UsageError, match="holds no import of slurp"):
        write_suite(other, out)


def test_nothing_to_import_is_told_with_the_reasons(tmp_path: Path) -> None:
    file = lines(tmp_path / "cases.jsonl", [stepeval_row(expected_call=None)])
    with pytest.raises(UsageError, match="Nothing was imported") as caught:
        write_suite(import_set("stepeval", file), tmp_path / "out")
    assert caught.value.hint == "Left out: 1 positive, but its call is not there."


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[{"a": 1},\n {"b" 2}]', ":2: a JSON object is expected: Expecting ':' delimiter"),
        ('[\n\n{"a": 1}\n{"b": 2}]', ":4: a comma or the end of the array is expected"),
        ("[\n3]", ":2: a JSON object is expected, there is a number"),
        ("{}", ":1: an array of JSON objects is expected"),
    ],
)
def test_what_is_wrong_in_an_array_is_told_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ScenarioError) as caught:
        list(json_array(tmp_path / "x.json"))
    assert told in caught.value.faults[0]


def test_a_large_set_is_written_as_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = lines(tmp_path / "cases.jsonl", [stepeval_row(), stepeval_row(id="w-2")])
    files = suite("stepeval", file, tmp_path / "files")
    monkeypatch.setattr("sayso.evals.importers.base.MOST_FILES", 1)
    made = suite("stepeval", file, tmp_path / "lines")
    assert [path.name for path in (tmp_path / "lines").glob("*.jsonl")] == ["scenarios.jsonl"]
    assert {name: one.scenario for name, one in made.items()} == {name: one.scenario for name, one in files.items()}


def test_rows_of_an_array_know_their_lines(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('[\n {"a": 1},\n\n {\n "b": 2}\n]\n')
    assert [row.line for row in json_array(tmp_path / "x.json")] == [2, 4]


def test_patches_make_one_world_out_of_another() -> None:
    before = {"a": {"x/y": 1, "gone": 2, "list": [1, 2]}, "same": [{"k": 1}]}
    after = {"a": {"x/y": 3, "new": 4, "list": [1]}, "same": [{"k": 2}]}
    changes = [Patch.model_validate(one) for one in patches(before, after)]
    assert patched(before, changes) == after
    assert json.loads(world_text(after)) == after and json.loads(world_text({})) == {}
    assert slug("[mobile]a b") == "mobile-a-b"


def test_the_command_tells_what_was_imported_and_what_was_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = lines(tmp_path / "cases.jsonl", [stepeval_row(), stepeval_row(expected_call=None)])
    out = tmp_path / "out"
    assert main(["eval", "import", "stepeval", str(file), "--out", str(out), "--version", "v9"]) == 0
    told = capsys.readouterr().out
    assert "StepEval-Audio-Toolcall v9 (Apache-2.0): 1 scenarios" in told
    assert "positive, but its call is not there" in told and "adapted" in told
    summary = json.loads((out / "import.json").read_text())
    assert summary["scores"] == "adapted" and summary["left_out"] == {"positive, but its call is not there": 1}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(("nothing", "."), "There is no importer for 'nothing'"), (("bfcl", "/nowhere"), "There is no /nowhere")],
)
def test_the_command_tells_what_it_cannot_import(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, str], told: str
) -> None:
    assert main(["eval", "import", *arguments, "--out", str(tmp_path / "out")]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("name", ["bfcl", "tau2", "eva", "slurp", "orders", "agentdojo", "aiewf"])
def test_a_folder_without_the_set_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        import_set(name, tmp_path)
