"""`set_timer` and `list_timers`, and lengths of time as people say them."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sayso.items import ToolCall
from sayso.testing import run
from sayso.tools import CallOutcome, Context, Executor
from sayso.tools.builtin import BUILTIN_TOOLS, list_timers, set_timer
from sayso.tools.builtin.durations import parse_duration, speak_duration, speak_roughly


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("25 minutes", 1500),
        ("25-minute", 1500),
        ("twenty-five minutes", 1500),
        ("25min", 1500),
        ("an hour and a half", 5400),
        ("one and a half hours", 5400),
        ("two hours and a half", 9000),
        ("two and a half minutes", 150),
        ("2 1/2 hours", 9000),
        ("½ hour", 1800),
        ("1½ hours", 5400),
        ("1.5 hours", 5400),
        ("half an hour", 1800),
        ("half hour", 1800),
        ("a quarter of an hour", 900),
        ("quarter hour", 900),
        ("three quarters of an hour", 2700),
        ("three-quarters of an hour", 2700),
        ("3/4 of an hour", 2700),
        ("an hour and three quarters", 6300),
        ("one and three quarter hours", 6300),
        ("an hour and a quarter", 4500),
        ("an hour and 15 minutes", 4500),
        ("a minute and a half", 90),
        ("90 seconds", 90),
        ("90s", 90),
        ("a hundred and twenty seconds", 120),
        ("one hour, twenty minutes and five seconds", 4805),
        ("1 hour 30", 5400),
        ("1h30m", 5400),
        ("1h 30", 5400),
        ("1:30", 90),
        ("1:30 hours", 5400),
        ("0:45", 45),
        ("1:00:05", 3605),
        ("PT1H30M", 5400),
        ("P1DT1M", 86_460),
        ("a couple of minutes", 120),
        ("for ten minutes from now", 600),
        ("in 5 minutes.", 300),
        ("1 day", 86_400),
        ("a week", 604_800),
        ("25分钟", 1500),
        ("二十五分钟", 1500),
        ("半小时", 1800),
        ("半个小时", 1800),
        ("一个半小时", 5400),
        ("两分半", 150),
        ("三刻钟", 2700),
        ("一小时十五分钟", 4500),
    ],
)
def test_lengths_of_time(said: str, seconds: float) -> None:
    assert parse_duration(said) == seconds


@pytest.mark.parametrize(
    "said",
    ["", "soon", "25", "minutes", "a half", "-5 minutes", "5 apples", "1 hour 30 40", "tomorrow", "P", "PT", "::"],
)
def test_what_is_no_length_of_time(said: str) -> None:
    assert parse_duration(said) is None


@given(st.integers(1, 7 * 86_400))
def test_a_spoken_length_is_read_back(seconds: int) -> None:
    assert parse_duration(speak_duration(seconds)) == seconds
    unit = 1 if seconds < 3600 else 60 if seconds < 86_400 else 3600
    assert parse_duration(speak_roughly(seconds)) == seconds // unit * unit


@given(st.text(max_size=40) | st.text(st.sampled_from("0123456789/: andhlfqurteomis半个小时分钟"), max_size=30))
def test_any_text_is_a_length_or_not(said: str) -> None:
    seconds = parse_duration(said)
    assert seconds is None or seconds >= 0


class Kitchen:
    """A session whose clock is set by hand."""

    def __init__(self) -> None:
        self.now_s = 1_800_000_000.0  # 08:00 UTC
        self.ctx = Context(timezone=UTC, clock=lambda: self.now_s)

    def call(self, name: str, **arguments: Any) -> CallOutcome:
        return run(Executor([set_timer, list_timers]).call(ToolCall("c", name, arguments), self.ctx))


def test_a_timer_is_set_and_listed_and_runs_out() -> None:
    kitchen = Kitchen()
    assert kitchen.call("list_timers").say == "You have no timers."
    found = kitchen.call("set_timer", duration="25 minutes", label="egg")
    assert found.say == "Egg timer set for 25 minutes."
    assert found.output == '{"duration":"25 minutes","label":"egg","ends_at":"8:25 AM"}'
    assert kitchen.call("set_timer", duration="an hour and a half").say == "Timer set for 1 hour and 30 minutes."
    kitchen.now_s += 20 * 60
    listed = kitchen.call("list_timers")
    assert listed.say == (
        "Your egg timer has 5 minutes left. Your 1 hour and 30 minutes timer has 1 hour and 10 minutes left."
    )
    kitchen.now_s += 6 * 60
    assert kitchen.call("list_timers").say.startswith("Your egg timer has run out.")  # type: ignore[union-attr]
    assert [timer.finished for timer in kitchen.call("list_timers").value.timers] == [True, False]


def test_many_timers_are_summed_up_by_the_model() -> None:
    kitchen = Kitchen()
    for minutes in range(1, 5):
        kitchen.call("set_timer", duration=f"{minutes} minutes")
    assert kitchen.call("list_timers").say is None


@pytest.mark.parametrize(
    ("duration", "told"),
    [("soon", "'soon' is not a length of time"), ("0 minutes", "from one second"), ("9 weeks", "seven days")],
)
def test_a_bad_length_is_told_and_sets_nothing(duration: str, told: str) -> None:
    kitchen = Kitchen()
    found = kitchen.call("set_timer", duration=duration)
    assert found.status == "error" and told in found.output
    assert kitchen.call("list_timers").value.timers == []


def test_there_is_an_end_to_timers() -> None:
    kitchen = Kitchen()
    for _ in range(100):
        set_timer("1 minute", kitchen.ctx)
    assert "100 timers already" in kitchen.call("set_timer", duration="1 minute").output


def test_the_built_in_tools_are_short_and_have_examples() -> None:
    assert [made.name for made in BUILTIN_TOOLS] == ["get_date_time", "calculate", "set_timer", "list_timers"]
    for made in BUILTIN_TOOLS:
        assert len(made.spec.description) < 120 and made.spec.fillers and 1 <= len(made.spec.examples) <= 2
