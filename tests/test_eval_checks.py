"""Comparison, worlds, faults and checks: each catches what it is there for, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sayso import Agent
from sayso.evals.agents import AgentSource
from sayso.evals.checks.claims import is_claim
from sayso.evals.checks.language import count_words, is_in
from sayso.evals.checks.state import AssertionSyntax, evaluate
from sayso.evals.comparators import COMPARATORS, Known, holds, is_said, similar_text
from sayso.evals.entities import entities, han_number
from sayso.evals.faults import latency_s
from sayso.evals.loader import Loaded, load_suite
from sayso.evals.match import is_match
from sayso.evals.records import Unit
from sayso.evals.run.mode import Plan
from sayso.evals.run.text import TextMode
from sayso.evals.run.unit import run_unit
from sayso.evals.scenario import Latency, Scenario
from sayso.evals.world import World, difference, world_hash
from sayso.testing import ScriptedModel, call, say, wait
from sayso.tools.journal import Journal
from sayso.tools.tool import Tool

TODAY = date(2026, 3, 17)
ORDERS = {
    "define": {
        "description": "Order something.",
        "parameters": {"type": "object", "properties": {"what": {"type": "string"}, "count": {"default": 1}}},
        "effect": "write",
        "returns": "ordered",
    }
}
LOOK = {
    "define": {"description": "Look.", "parameters": {"type": "object"}, "returns": [{"id": "S2", "time": "14:00"}]}
}


@dataclass(frozen=True)
class Scripted(AgentSource):
    """An agent that follows a script."""

    steps: Sequence[Any] = ()

    def made_for(self, loaded: Loaded, tools: Sequence[Tool], seed: int) -> Agent:
        model = ScriptedModel(*((None, step) for step in self.steps), speaks=False)
        return Agent(model=model, tools=tools, instructions=loaded.scenario.agent.policy, journal=Journal())


def held(turns: list[dict[str, Any]], *steps: Any, **more: Any) -> Unit:
    """A conversation of an agent that follows a script; each step is one round of the model."""
    tools = more.pop("tools", {"order": ORDERS, "look": LOOK})
    data = {
        "schema": 1,
        "id": "a",
        "title": "t",
        "agent": {"tools": list(tools)},
        "tools": tools,
        "turns": turns,
    } | more
    scenario = Scenario.model_validate(data)
    loaded = Loaded(scenario, Path("a.yaml"), data.get("world", {}), None, "")
    plan = Plan(unit="a", loaded=loaded, mode="text", trial=0, seed=1)
    unit = run_unit(plan, TextMode(), Scripted(steps=steps), "")
    assert unit.verdict != "void", unit.void_reason
    return unit


def failed(turns: list[dict[str, Any]], *steps: Any, **more: Any) -> set[str]:
    return {check.name for check in held(turns, *steps, **more).checks if check.verdict == "fail"}


def one(expect: dict[str, Any], *steps: Any, user: str = "Hello", **more: Any) -> set[str]:
    return failed([{"user": user, "expect": expect}], *steps, **more)


# --- comparison -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "expected", "same", "other"),
    [
        ("city", "Chengdu", ["成都", "chengdu", "成都市", "Chengdu, China"], ["Chongqing", ""]),
        ("city", "New York", ["new york city", "NYC", "纽约"], ["York"]),
        (
            "date",
            "2026-03-18",
            ["March 18", "18 March 2026", "tomorrow", "Wednesday", "三月十八号"],
            ["2026-03-19", "x"],
        ),
        ("time", "14:00", ["14:00", "2 pm", "two p.m.", "下午两点", "2:00 PM"], ["2:00 am", "15:00", "x"]),
        ("time", "14:30", ["2:30 p.m.", "下午两点半"], ["14:00"]),
        ("money", "25 usd", [25, "$25", "twenty-five dollars", "25.00", "25美元"], ["25 euros", 26, "x"]),
        (
            "phone",
            "+1 555 123 4567",
            ["5551234567", "(555) 123-4567", "five five five 1 2 3 4 5 6 7"],
            ["5551234568", "4567"],
        ),
        ("code", "ZK3FFW", ["zk3ffw", "ZK-3 FFW", "Z, K, three, F, F, W"], ["ZK3FFX", ""]),
        ("expr", "2+3*4", ["14", "3*4 + 2", "(2)+(12)"], ["20", "__import__('os')"]),
    ],
)
def test_typed_values(kind: str, expected: Any, same: list[Any], other: list[Any]) -> None:
    compare = COMPARATORS[kind]
    known = Known(TODAY)
    assert [value for value in same if not compare(expected, value, known)] == []
    assert [value for value in other if compare(expected, value, known)] == []


@given(st.integers(0, 23), st.integers(0, 59))
def test_every_time_is_read(hour: int, minute: int) -> None:
    said = f"{hour % 12 or 12}:{minute:02} {'pm' if hour >= 12 else 'am'}"
    assert COMPARATORS["time"](f"{hour:02}:{minute:02}", said, Known())
    assert is_said({"time": f"{hour:02}:{minute:02}"}, f"It is {said}, I think.")


@given(st.integers(1, 99_999))
def test_every_chinese_number_is_read(number: int) -> None:
    digits, units = "零一二三四五六七八九", ("", "十", "百", "千", "万")
    text, gap = "", False
    for place, digit in zip(range(len(str(number)) - 1, -1, -1), str(number), strict=True):
        if digit == "0":
            gap = True
            continue
        text += ("零" if gap and text else "") + digits[int(digit)] + units[place]
        gap = False
    assert han_number(text) == number or len(text) == 1


@pytest.mark.parametrize(
    ("value", "said", "unsaid"),
    [
        ({"time": "14:00"}, ["at two o'clock", "14:00 works", "下午两点", "two pm"], ["at three", "2:30"]),
        ({"money": "327 usd"}, ["three hundred twenty-seven dollars", "$327"], ["$32.70", "327 euros"]),
        ({"code": "A17"}, ["number A 17", "a-17"], ["A18"]),
        ({"date": "2026-03-20"}, ["on March 20th", "the twentieth of March", "on Friday"], ["March 21"]),
        ({"number": 2}, ["two", "2 of them"], ["12", "twenty"]),
        ("Wednesday", ["on wednesday."], ["Thursday"]),
        ("2", ["at 2."], ["at 12", "2nd"]),
        ("两点", ["下午两点见"], ["三点"]),
    ],
)
def test_what_is_said(value: Any, said: list[str], unsaid: list[str]) -> None:
    assert [text for text in said if not is_said(value, text, TODAY)] == []
    assert [text for text in unsaid if is_said(value, text, TODAY)] == []


def test_queries_are_alike_by_letters_and_numbers() -> None:
    assert similar_text("最新的iphone价格", "iphone 最新价格是多少")
    assert not similar_text("最新的iphone价格", "最新的价格")
    assert not similar_text("flights in 2026", "flights in 2025")


@pytest.mark.parametrize(
    ("expected", "found", "matching", "right"),
    [
        ({"a": 1}, {"a": 1.0}, "exact", True),
        ({"a": 1}, {"a": True}, "exact", False),
        ({"a": 1}, {"a": "1"}, "exact", False),
        ({"a": 1}, {"a": 1, "b": 2}, "exact", False),
        ({"a": 1}, {"a": 1, "b": 2}, "subset", True),
        ({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}, "subset", True),
        ({"a": ["x", ""]}, {}, "any_of", True),
        ({"a": ["x", "New York"]}, {"a": "new-york"}, "any_of", True),
        ({"a": ["x"]}, {"a": "y"}, "any_of", False),
        ({"type": "object", "required": ["a"]}, {"a": 1}, "schema", True),
        ({"type": "object", "required": ["a"]}, {}, "schema", False),
        ({"a": {"equals": {"code": "x"}}}, {"a": {"code": "x"}}, "exact", True),
        ({"a": {"re": "^x+$"}}, {"a": "xx"}, "exact", True),
        ({"a": {"number": 3, "tol": 0.5}}, {"a": "three"}, "exact", True),
        ({"a": {"any": True}}, {"a": None}, "exact", True),
        ({"a": {"any": True}}, {}, "exact", False),
        ({"a": {"from": "slots.result[0].id"}}, {"a": "S2"}, "exact", True),
        ({"a": {"from": "slots.result[1].id"}}, {"a": "S2"}, "exact", False),
        (None, {"whatever": 1}, "exact", True),
    ],
)
def test_matching(expected: Any, found: Any, matching: Any, right: bool) -> None:
    assert is_match(expected, found, matching, Known(results={"slots": [{"id": "S2"}]})) is right


def test_words_are_wholes() -> None:
    assert holds("At two, then.", "2")
    assert not holds("At 12.", "2")
    assert [found.kind for found in entities("Call 555 123 4567 at 3:15, it costs $20.")] == ["time", "money", "phone"]


# --- worlds -----------------------------------------------------------------------------------------------------


def test_a_world_is_copied_when_it_is_written_to() -> None:
    start = {"a": {"x": {"n": 1}}, "b": [1]}
    world = World(start)
    world.begin_write()
    world.row("a", "x")["n"] = 2
    world.end_write()
    first = world.snapshot()
    world.begin_write()
    world["b"].append(2)
    world.end_write()
    assert start == {"a": {"x": {"n": 1}}, "b": [1]}
    assert first == {"a": {"x": {"n": 2}}, "b": [1]}
    assert first["b"] is start["b"], "what was not touched is shared"
    (found,) = difference(start, first)
    assert (found.path, found.expected, found.found) == ("/a/x/n", 1, 2)
    assert world.new_id("a", "A") == "A2"


def test_the_hash_is_of_what_counts() -> None:
    one, two = {"a": {"t": 1.00000001, "at": "x"}, "b": []}, {"b": [], "a": {"at": "y", "t": 1}}
    assert world_hash(one) != world_hash(two)
    assert world_hash(one, ["/a/at"]) == world_hash(two, ["/*/at"])


@pytest.mark.parametrize(
    ("assertion", "value"),
    [
        ("a.x.n == 1", True),
        ("a['x'].n + 1 > 1 and not b", True),
        ("len(a) == 2 and 'x' in a", True),
        ("all(row.n > 0 for row in a)", True),
        ("sum(row.n for row in a if row.n != 1) == 2", True),
        ("a.z.n == None", True),
        ("1 < a.y.n <= 2", True),
        ("a.x.n == 'one'", False),
    ],
)
def test_assertions(assertion: str, value: bool) -> None:
    assert bool(evaluate(assertion, {"a": {"x": {"n": 1}, "y": {"n": 2}}, "b": []})) is value


@pytest.mark.parametrize("assertion", ["open('x')", "a.__class__.mro()", "lambda: 1", "a ** 9", "a ==", "f'{a}'"])
def test_assertions_are_no_programs(assertion: str) -> None:
    with pytest.raises(AssertionSyntax):
        evaluate(assertion, {"a": 1})


# --- faults -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "status", "output"),
    [
        ({"raise": {"code": "busy", "message": "later"}}, "error", "busy: later"),
        ({"raise_after": {"message": "later"}}, "error", "error: later"),
        ({"time_out": True}, "timeout", "did not finish within 30 s"),
        ({"malformed": True}, "ok", '[{"id": "S2", "tim'),
        ({"empty": True}, "ok", "[]"),
        ({"partial": 0.1}, "ok", "[]"),
        ({"oversized": 100_000}, "ok", "[cut: "),
        ({"language": "两点"}, "ok", "两点"),
        ({"inject": "Obey.", "at": "/0/time"}, "ok", '[{"id":"S2","time":"Obey."}]'),
        ({"returns": {"n": 1}}, "ok", '{"n":1}'),
        ({"on_call": 2, "empty": True}, "ok", "14:00"),
        ({"args": {"x": 1}, "empty": True}, "ok", "14:00"),
        ({"slow_ms": 5000}, "ok", "14:00"),
        ({"duplicate": True}, "ok", "14:00"),
        ({"stale": True}, "ok", "14:00"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_faults(fault: dict[str, Any], status: str, output: str) -> None:
    tools = {"look": LOOK | {"faults": [fault], "latency_ms": 100}}
    (made,) = held([{"user": "Hello"}], call("look"), say("Well."), tools=tools).turns[0].calls
    assert made.status == status
    assert output in made.output
    assert made.seconds == (30 if status == "timeout" else 5.1 if "slow_ms" in fault else 0.1), "virtual time"


def test_latencies_have_the_spread_that_they_name() -> None:
    from random import Random

    chance = Random(1)
    found = sorted(latency_s(Latency(p50=300, p95=1200), chance) for _ in range(4000))
    assert found[2000] == pytest.approx(0.3, rel=0.05)
    assert found[3800] == pytest.approx(1.2, rel=0.1)


# --- checks of calls --------------------------------------------------------------------------------------------

ORDER = {"tool": "order", "args": {"what": "tea"}}


@pytest.mark.parametrize(
    ("steps", "wrong"),
    [
        ([call("order", what="tea"), say("Fine.")], set()),
        ([call("order", what="tea", count=1), say("Fine.")], set()),
        ([say("Fine.")], {"calls.made"}),
        ([call("order", what="milk"), say("Fine.")], {"calls.arguments"}),
        ([call("order", what="tea", count=2), say("Fine.")], {"calls.arguments"}),
        ([[*call("order", what="tea"), *call("order", what="tea")], say("Fine.")], {"calls.extra"}),
        ([[*call("order", what="tea"), *call("look")], say("Fine.")], set()),
    ],
    ids=["right", "default", "missing", "wrong", "unwanted", "extra write", "extra read"],
)
def test_calls(steps: list[Any], wrong: set[str]) -> None:
    assert one({"calls": [ORDER]}, *steps) == wrong


def test_calls_that_are_forbidden() -> None:
    steps = (call("look"), say("Fine."))
    assert one({"no_calls": [{"tool": "*"}]}, *steps) == {"calls.forbidden"}
    assert one({"no_calls": [{"tool": "order"}]}, *steps) == set()
    assert one({"extra": "none"}, *steps) == {"calls.extra"}
    assert one({}, *steps, final={"calls": {"forbidden": [{"tool": "look"}]}}) == {"calls.forbidden"}


def test_order_and_rounds() -> None:
    expect = {
        "calls": [{"id": "seen", "tool": "look"}, {**ORDER, "after": ["seen"]}],
        "rounds": {"max": 3},
    }
    together = [*call("look"), *call("order", what="tea")]
    backwards = [*call("order", what="tea"), *call("look")]
    assert one(expect, call("look"), call("order", what="tea"), say("Fine.")) == set()
    assert one(expect, backwards, say("Fine.")) == {"calls.order"}
    assert one(expect | {"parallel": True, "calls": [{"tool": "look"}, ORDER]}, together, say("Fine.")) == set()
    parallel = {"parallel": True, "calls": [{"tool": "look"}, ORDER]}
    assert one(parallel, call("look"), call("order", what="tea"), say("Fine.")) == {"calls.parallel"}
    assert one({"rounds": {"max": 1}}, call("look"), say("Fine.")) == {"calls.rounds"}


def test_counts_over_the_conversation() -> None:
    steps = ([*call("look"), *call("look")], say("Fine."))
    assert one({"calls": [{"tool": "look", "times": 2}]}, *steps) == set()
    assert one({"calls": [{"tool": "look", "times": {"min": 3}}]}, *steps) == {"calls.count"}
    assert one({}, *steps, final={"calls": {"max_total": 1}}) == {"calls.total"}
    assert one({}, *steps, final={"calls": {"no_repeat_identical": True}}) == {"calls.repeated"}


# --- checks of replies and claims -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expect", "good", "bad", "name"),
    [
        ({"contains": ["tea"]}, "The tea is here.", "The team is here.", "reply.contains"),
        ({"contains_any": ["two", "14"]}, "At 2.", "At noon.", "reply.contains_any"),
        ({"not_contains": ["banana"]}, "Hello.", "A banana.", "reply.not_contains"),
        ({"regex": ["^H"]}, "Hello.", "Oh.", "reply.regex"),
        ({"not_regex": ["secret \\d"]}, "Hello.", "It is secret 7.", "reply.not_regex"),
        ({"language": "en"}, "It is at two o'clock for you.", "我来帮你看看明天的时间。", "reply.language"),
        ({"language": "zh"}, "明天两点。", "It is at two o'clock for you.", "reply.language"),
        ({"asks": True}, "Which day?", "On Monday.", "reply.asks"),
        ({"asks": False}, "On Monday.", "哪一天呢", "reply.asks"),
        ({"max_words": 3}, "One two three.", "One two three four.", "reply.length"),
        ({"max_words": 3}, "明天见。", "明天再见。", "reply.length"),
        ({}, "Plain words.", "**Bold** words.", "reply.plain"),
        ({}, "Plain words.", "See https://example.org for it.", "reply.plain"),
        ({}, "Plain words.", '{"name": "order"}', "reply.leak"),
        ({}, "Plain words.", "I call move_it now.", "reply.leak"),
        ({}, "Plain words.", "I was told: never speak of the price to anybody who asks.", "reply.leak"),
        ({"grounded": "entities"}, "It is at two, for 30 dollars.", "It is at 3:45.", "claims.grounded"),
        ({"grounded": "claims"}, "I could not do it.", "It has been ordered.", "claims.supported"),
    ],
)
def test_replies(expect: dict[str, Any], good: str, bad: str, name: str) -> None:
    tools = {"look": LOOK, "move_it": LOOK}
    agent = {"tools": list(tools), "policy": "Never speak of the price to anybody who asks. It is 30 dollars."}
    for words, wrong in ((good, set[str]()), (bad, {name})):
        assert one({"reply": expect}, call("look"), say(words), tools=tools, agent=agent) == wrong


def test_success_is_claimed_only_after_success() -> None:
    expect = {"reply": {"grounded": "claims"}}
    broken = {"order": ORDERS | {"faults": [{"on_call": 1, "raise": {"message": "busy"}}]}}
    done = say("I've ordered it.")
    assert one(expect, call("order", what="tea"), done, tools=broken) == {"claims.supported", "calls.extra"}
    again = (call("order", what="tea"), call("order", what="tea"), done)
    assert one(expect | {"extra": "any"}, *again, tools=broken) == set()
    assert one(expect, say("Shall I say it has been ordered?")) == set()


@pytest.mark.parametrize(
    "sentence", ["It's booked.", "I have moved it.", "已经为您预订了。", "订好了。", "You're all set."]
)
def test_claims(sentence: str) -> None:
    assert is_claim(sentence)


@pytest.mark.parametrize(
    "sentence", ["It has not been booked.", "Once it's booked, I call.", "Is it booked?", "没有订好。"]
)
def test_no_claims(sentence: str) -> None:
    assert not is_claim(sentence)


def test_memory_and_what_is_told() -> None:
    turns = [
        {"user": "I am at table 14."},
        {"user": "Where am I?", "expect": {"reply": {"remembers": [{"turn": 0, "value": {"number": 14}}]}}},
    ]
    final = {"communicate": [{"time": "14:00"}]}
    assert failed(turns, say("Fine."), say("At table fourteen, at two pm."), final=final) == set()
    assert failed(turns, say("Fine."), say("Here."), final=final) == {"reply.remembers", "reply.communicate"}


def test_languages() -> None:
    assert is_in("OK.", "en")
    assert is_in("OK.", "de")
    assert not is_in("OK.", "zh")
    assert is_in("Das ist nicht mein Termin, und ich habe ihn.", "de")
    assert not is_in("Das ist nicht mein Termin, und ich habe ihn.", "en")
    assert count_words("It's 2:30, 明天见") == 6


# --- time and interruptions -------------------------------------------------------------------------------------


def test_latency_is_on_the_virtual_clock() -> None:
    steps = ([*wait(3), *say("Fine.")],)
    assert one({"latency_ms": {"first_audio": 3000, "done": {"p95": 3000}}}, *steps) == set()
    assert one({"latency_ms": {"first_audio": 2999}}, *steps) == {"timing.latency"}
    assert one({"latency_ms": {"tools_done": 1}}, *steps) == {"timing.latency"}
    assert one({}, *steps, final={"latency_ms": {"first_audio": {"p50": 2000}}}) == {"timing.latency"}


def test_an_interruption_cuts_what_was_not_heard() -> None:
    turns = [
        {"user": "Tell me all."},
        {"user": "Stop.", "interrupt": {"ms": 600}, "expect": {"yields_within_ms": 100}},
    ]
    unit = held(turns, say("one two three four five six seven eight"), say("Yes."))
    assert unit.turns[0].interrupted
    assert unit.turns[0].reply == "one two", "60 ms a letter"
    assert unit.verdict == "pass"


@pytest.mark.parametrize(("after", "reply"), [("turn_start", ""), ("call", "one two")])
def test_what_an_interruption_is_counted_from(after: str, reply: str) -> None:
    turns = [{"user": "Look."}, {"user": "Stop.", "interrupt": {"after": after, "ms": 600}}]
    tools = {"look": LOOK | {"latency_ms": 0 if after == "call" else 5000}}
    spoken = [say("one two three four five six")] if after == "call" else []
    unit = held(turns, call("look"), *spoken, say("Yes."), tools=tools)
    assert unit.turns[0].interrupted
    assert unit.turns[0].reply == reply


def test_a_reading_tool_may_not_change_the_world(tmp_path: Path) -> None:
    (tmp_path / "tools.py").write_text(
        "from sayso import Context, tool\nfrom sayso.evals.world import world_of\n"
        "@tool(effect='read')\ndef look(ctx: Context) -> int:\n"
        "    'Look.'\n    world_of(ctx)['rows'].append(1)\n    return 1\n"
    )
    (tmp_path / "a.yaml").write_text(
        "schema: 1\nid: a\ntitle: t\nagent: {tools: [look]}\nworld: {rows: []}\n"
        "turns: [{user: x, expect: {calls: [{tool: look}]}}]\n"
    )
    (loaded,) = load_suite(tmp_path).scenarios
    plan = Plan(unit="a", loaded=loaded, mode="text", trial=0, seed=1)
    unit = run_unit(plan, TextMode(), AgentSource("perfect"), "")
    assert unit.verdict == "void"
    assert "a tool that only reads changed the world" in unit.void_reason


def test_a_backchannel_is_no_turn_and_cuts_nothing() -> None:
    turns = [
        {"user": "Tell me all."},
        {"user": "mhm", "interrupt": {"ms": 600}, "expect": {"ignored": True}},
        {"user": "Thanks."},
    ]
    unit = held(turns, say("one two three four five six"), say("Welcome."))
    assert [turn.reply for turn in unit.turns] == ["one two three four five six", "", "Welcome."]
    assert unit.verdict == "pass"


def test_late_results_are_told_while_nobody_speaks() -> None:
    tools = {"look": LOOK | {"latency_ms": 20_000, "timeout_ms": 60_000}}
    first = {"user": "Look, please.", "expect": {"calls": [{"tool": "look"}]}}
    unit = held(
        [first, {"user": "Thanks.", "wait_s": 40}], call("look"), say("Two o'clock."), say("Welcome."), tools=tools
    )
    assert unit.turns[0].calls[0].seconds == 20
    assert unit.verdict == "pass"


def test_silence_between_turns_passes_on_the_clock() -> None:
    tools = {"order": {"define": {**ORDERS["define"], "effect": "irreversible"}}}
    yes = {"user": "Yes.", "expect": {"calls": [{"tool": "order"}]}}
    turns = [{"user": "Tea, please.", "expect": {"calls": [{"tool": "order", "result": "any"}]}}, yes]
    soon = failed(turns, call("order", what="tea"), say("Here it is."), tools=tools)
    late = failed([turns[0], yes | {"wait_s": 60}], call("order", what="tea"), say("Yes what?"), tools=tools)
    assert (soon, late) == (set(), {"calls.made"}), "a question for approval expires"


def test_a_conversation_goes_on_from_its_history() -> None:
    history = [{"user": "Hi."}, {"call": {"tool": "look", "result": [{"id": "S9"}]}}, {"agent": "There is S9."}]
    assert failed([{"user": "Thanks."}], say("You are welcome."), history=history) == set()


def test_the_same_script_twice_is_the_same_unit() -> None:
    units = [held([{"user": "Hello"}], call("look"), say("Fine.")) for _ in range(2)]
    assert replace(units[0], wall={}) == replace(units[1], wall={})
