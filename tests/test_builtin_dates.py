"""`find_date`, `days_between` and `convert_time`: days and hours as people say them."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sayso.errors import ToolError
from sayso.tools import Context, Tool, invoke
from sayso.tools.builtin.convert_time import convert_time
from sayso.tools.builtin.days_between import days_between
from sayso.tools.builtin.find_date import find_date
from sayso.tools.builtin.spoken_clock import parse_time
from sayso.tools.builtin.spoken_dates import add_months, easter, parse_date, speak_date, speak_span

SUNDAY = date(2026, 11, 22)
CTX = Context(timezone=ZoneInfo("Europe/Lisbon"), clock=lambda: datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp())


def say(tool: Tool, **arguments: Any) -> str | None:
    """What is said of a call."""
    assert tool.speak is not None
    return tool.speak(asyncio.run(invoke.run(tool, tool.validate(arguments), CTX)))


@pytest.mark.parametrize(
    ("said", "day"),
    [
        ("today", "2026-11-22"),
        ("tonight", "2026-11-22"),
        ("tomorrow morning", "2026-11-23"),
        ("yesterday", "2026-11-21"),
        ("the day after tomorrow", "2026-11-24"),
        ("the day before yesterday", "2026-11-20"),
        ("Sunday", "2026-11-22"),
        ("on Friday", "2026-11-27"),
        ("this Friday", "2026-11-27"),
        ("next Friday", "2026-11-27"),
        ("next Sunday", "2026-11-29"),
        ("last Friday", "2026-11-20"),
        ("last Sunday", "2026-11-15"),
        ("three weeks from Friday", "2026-12-18"),
        ("a week on Friday", "2026-12-04"),
        ("a week from tomorrow", "2026-11-30"),
        ("in a fortnight", "2026-12-06"),
        ("in two months' time", "2027-01-22"),
        ("100 days from now", "2027-03-02"),
        ("one hundred days from today", "2027-03-02"),
        ("90 days ago", "2026-08-24"),
        ("2 weeks and 3 days after Easter", "2027-04-14"),
        ("the day after Christmas", "2026-12-26"),
        ("ten days before Christmas", "2026-12-15"),
        ("two years before 1 March 2024", "2022-03-01"),
        ("4 July 1976", "1976-07-04"),
        ("July fourth nineteen seventy six", "1976-07-04"),
        ("the fourth of July, 1976", "1976-07-04"),
        ("march 1 two thousand and five", "2005-03-01"),
        ("Sept 3", "2027-09-03"),
        ("December twenty-fifth", "2026-12-25"),
        ("25th December 2027", "2027-12-25"),
        ("Friday, December 25, 2026", "2026-12-25"),
        ("the 25th", "2026-11-25"),
        ("the 21st", "2026-12-21"),
        ("29 February", "2028-02-29"),
        ("2026-12-25", "2026-12-25"),
        ("Christmas", "2026-12-25"),
        ("last Christmas", "2025-12-25"),
        ("New Year's Eve", "2026-12-31"),
        ("St. Patrick's Day", "2027-03-17"),
        ("Easter 2025", "2025-04-20"),
        ("Good Friday", "2027-03-26"),
        ("Thanksgiving", "2026-11-26"),
        ("Labor Day", "2027-09-06"),
        ("明天", "2026-11-23"),
        ("大后天", "2026-11-25"),
        ("周五", "2026-11-27"),
        ("下星期五", "2026-11-27"),
        ("上周日", "2026-11-15"),
        ("星期天", "2026-11-22"),
        ("礼拜一", "2026-11-23"),
        ("in a year's time", "2027-11-22"),
        ("this evening", "2026-11-22"),
    ],
)
def test_days_as_people_say_them(said: str, day: str) -> None:
    assert str(parse_date(said, SUNDAY)) == day


@pytest.mark.parametrize(
    "said",
    ["", "banana", "3/4", "31 June", "February 30", "in 999999 years", "the 45th", "last", "2026-13-01", "May", "soon"],
)
def test_what_is_no_day(said: str) -> None:
    assert parse_date(said, SUNDAY) is None


@given(st.text(max_size=40) | st.text(st.sampled_from("0123456789 -/th ofrmadysinexlw年月"), max_size=30))
def test_any_text_is_a_day_or_not(said: str) -> None:
    found = parse_date(said, SUNDAY)
    assert found is None or isinstance(found, date)


@given(st.dates(date(1583, 1, 1), date(2999, 12, 31)))
def test_a_spoken_date_is_read_back(day: date) -> None:
    assert parse_date(speak_date(day), SUNDAY) == day


@given(st.dates(date(1900, 1, 1), date(2100, 1, 1)), st.integers(0, 40_000))
def test_a_span_leads_from_one_day_to_the_other(start: date, days: int) -> None:
    end = start + timedelta(days)
    counts = dict.fromkeys(("year", "month", "day"), 0)
    for piece in speak_span(start, end).replace(" and ", ", ").split(", "):
        count, name = piece.split()
        counts[name.removesuffix("s")] = int(count)
    assert add_months(start, counts["year"] * 12 + counts["month"]) + timedelta(counts["day"]) == end


@pytest.mark.parametrize(  # from the tables of the US Naval Observatory
    ("year", "day"),
    [(1961, "04-02"), (2000, "04-23"), (2008, "03-23"), (2019, "04-21"), (2024, "03-31"), (2038, "04-25")],
)
def test_easter(year: int, day: str) -> None:
    assert str(easter(year)) == f"{year}-{day}"


def test_find_date() -> None:
    assert say(find_date, when="three weeks from Friday") == "That is Friday, December 18, 2026, in 26 days."
    assert say(find_date, when="4 July 1976") == ("That was Sunday, July 4, 1976, 50 years, 4 months and 18 days ago.")
    assert say(find_date, when="yesterday") == "That was Saturday, November 21, 2026, yesterday."
    with pytest.raises(ToolError, match="'3/4' is not a day that is understood"):
        say(find_date, when="3/4")


def test_days_between() -> None:
    assert say(days_between, end="Christmas") == (
        "From Sunday, November 22, 2026 to Friday, December 25, 2026 it is 33 days."
    )
    found = days_between(ctx=CTX, start="10 May 2026", end="3 March 2026")  # in any order
    assert (found.days, found.weeks, found.calendar) == (68, "9 weeks and 5 days", "2 months and 7 days")
    assert days_between(ctx=CTX, end="today").weeks == "0 days"
    with pytest.raises(ToolError, match="'whenever' is not a day"):
        days_between(ctx=CTX, end="whenever")


@pytest.mark.parametrize(
    ("said", "clock"),
    [
        ("nine", time(9)),
        ("9 a.m.", time(9)),
        ("nine o'clock in the evening", time(21)),
        ("seven thirty pm", time(19, 30)),
        ("9.30 pm", time(21, 30)),
        ("twelve oh five", time(12, 5)),
        ("half past three", time(3, 30)),
        ("quarter to five pm", time(16, 45)),
        ("twenty past ten", time(10, 20)),
        ("five to midnight", time(23, 55)),
        ("noon", time(12)),
        ("12 am", time(0)),
        ("11 at night", time(23)),
        ("21:30", time(21, 30)),
        ("1530", time(15, 30)),
    ],
)
def test_times_as_people_say_them(said: str, clock: time) -> None:
    assert parse_time(said) == clock


@pytest.mark.parametrize("said", ["", "banana", "25:00", "10:75", "13 am", "sixty past nine"])
def test_what_is_no_time(said: str) -> None:
    assert parse_time(said) is None


@given(st.text(max_size=30) | st.text(st.sampled_from("0123456789: apmhlfqurteosc'"), max_size=20))
def test_any_text_is_a_time_or_not(said: str) -> None:
    found = parse_time(said)
    assert found is None or isinstance(found, time)


def test_convert_time() -> None:
    assert say(convert_time, time="nine", from_place="London", to_place="Tokyo") == (
        "When it is 9:00 AM in London, it is 6:00 PM in Tokyo."
    )
    assert say(convert_time, time="9:00", from_place="London", to_place="Tokyo", date="1 July") == (
        "When it is 9:00 AM in London, it is 5:00 PM in Tokyo."  # summer time
    )
    assert say(convert_time, time="6 pm", to_place="Auckland") == (
        "When it is 6:00 PM where you are, it is 7:00 AM the next day in Auckland."
    )
    assert say(convert_time, time="1 am", from_place="Berlin", to_place="New York") == (
        "When it is 1:00 AM in Berlin, it is 7:00 PM the day before in New York."
    )
    assert say(convert_time, time="9:00", from_place="北京") is None  # the model answers, in Chinese


def test_an_hour_that_daylight_saving_skips_is_moved_on() -> None:
    assert say(convert_time, time="2:30", from_place="New York", to_place="UTC", date="14 March 2027") == (
        "When it is 3:30 AM in New York, it is 7:30 AM in UTC."
    )


def test_what_cannot_be_converted() -> None:
    with pytest.raises(ToolError, match="'banana' is not a time of day"):
        say(convert_time, time="banana")
    with pytest.raises(ToolError, match="The place 'Qwertyville' is not known"):
        say(convert_time, time="9:00", to_place="Qwertyville")
    with pytest.raises(ToolError, match="'someday' is not a day"):
        say(convert_time, time="9:00", to_place="Tokyo", date="someday")
