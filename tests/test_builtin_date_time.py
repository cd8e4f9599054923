"""`get_date_time`: places as people say them, on the session's clock."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sayso.errors import ToolError
from sayso.items import ToolCall
from sayso.testing import run
from sayso.tools import Context, Executor
from sayso.tools.builtin import get_date_time
from sayso.tools.builtin.places import find_place
from sayso.tools.builtin.places_table import PLACES

NOON_UTC = datetime(2026, 11, 22, 12, 0, tzinfo=UTC).timestamp()
CTX = Context(timezone=ZoneInfo("Europe/Lisbon"), clock=lambda: NOON_UTC)


@pytest.mark.parametrize(
    ("said", "zone", "label"),
    [
        ("Tokyo", "Asia/Tokyo", "Tokyo"),
        ("New York", "America/New_York", "New York"),
        ("new york city", "America/New_York", "New York"),
        ("NYC", "America/New_York", "New York"),
        ("Lisbon", "Europe/Lisbon", "Lisbon"),
        ("Buenos Aires", "America/Argentina/Buenos_Aires", "Buenos Aires"),
        ("Melbourne", "Australia/Melbourne", "Melbourne"),
        ("california", "America/Los_Angeles", "California"),
        ("UK", "Europe/London", "the UK"),
        ("the U.K.", "Europe/London", "the UK"),
        ("India", "Asia/Kolkata", "India"),
        ("Mumbai", "Asia/Kolkata", "Mumbai"),
        ("Beijing", "Asia/Shanghai", "Beijing"),
        ("San Francisco", "America/Los_Angeles", "San Francisco"),
        ("Washington, D.C.", "America/New_York", "Washington D.C."),
        ("USA", "America/New_York", "Washington D.C."),
        ("Australia", "Australia/Sydney", "Canberra"),
        ("Russia", "Europe/Moscow", "Moscow"),
        ("Mexico", "America/Mexico_City", "Mexico City"),
        ("Spain", "Europe/Madrid", "Spain"),
        ("France", "Europe/Paris", "France"),
        ("Kenya", "Africa/Nairobi", "Kenya"),
        ("São Paulo", "America/Sao_Paulo", "Sao Paulo"),
        ("Zürich", "Europe/Zurich", "Zurich"),
        ("St. Louis", "America/Chicago", "St. Louis"),
        ("Asia/Tokyo", "Asia/Tokyo", "Tokyo"),
        ("america/new_york", "America/New_York", "New York"),
        ("UTC", "UTC", "UTC"),
        ("GMT", "UTC", "GMT"),
        ("EST", "America/New_York", "Eastern Time"),
        ("Pacific time", "America/Los_Angeles", "Pacific Time"),
        ("UTC+2", "UTC+02:00", "UTC+02:00"),
        ("gmt -5:30", "UTC-05:30", "UTC-05:30"),
        ("东京", "Asia/Tokyo", "东京"),
        ("北京时间", "Asia/Shanghai", "北京"),
        ("纽约市", "America/New_York", "纽约"),
        ("what time is it in Rome", "Europe/Rome", "Rome"),
        ("London right now", "Europe/London", "London"),
        ("San Fransisco", "America/Los_Angeles", "San Francisco"),
        ("Sydny", "Australia/Sydney", "Sydney"),
        ("Portland, Maine", "America/New_York", "Portland, Maine"),
        ("Portland Oregon", "America/Los_Angeles", "Portland"),
        ("London, Ontario", "America/Toronto", "London, Ontario"),
        ("Paris, France", "Europe/Paris", "Paris"),
        ("Vancouver, Canada", "America/Vancouver", "Vancouver"),
        ("Austin, Texas, USA", "America/Chicago", "Austin"),
    ],
)
def test_places_as_people_say_them(said: str, zone: str, label: str) -> None:
    found = find_place(said)
    assert found is not None
    assert (found.zone_name, found.label) == (zone, label)


@pytest.mark.parametrize("said", ["Atlantis", "xyz", "the moon", "Springfield, USA", "UTC+99", "?!", "不知道"])
def test_an_unknown_place_is_said_to_be_unknown(said: str) -> None:
    with pytest.raises(ToolError, match="is not known"):
        get_date_time(CTX, said)


def test_every_line_of_the_table_names_a_zone_and_every_name_finds_it() -> None:
    for line in PLACES.strip().splitlines():
        zone, _, names = line.partition(": ")
        assert zone in available_timezones()
        for name in names.split(", "):
            found = find_place(name.partition(" > ")[0])
            assert found is not None and ZoneInfo(
                "Etc/UTC" if found.zone_name == "UTC" else found.zone_name
            ) == ZoneInfo(zone)


def test_the_result_is_of_the_session_s_clock() -> None:
    found = get_date_time(CTX, "Tokyo")
    assert found.model_dump() == {
        "place": "Tokyo",
        "time": "9:00 PM",
        "date": "Sunday, November 22, 2026",
    }
    assert (found.iso, found.zone) == ("2026-11-22T21:00:00+09:00", "Asia/Tokyo")
    assert get_date_time(CTX, "Auckland").date == "Monday, November 23, 2026"


@pytest.mark.parametrize("place", ["", " ", "here", "Local time"])
def test_here_is_the_user_s_zone(place: str) -> None:
    found = get_date_time(CTX, place)
    assert (found.place, found.time, found.zone) == ("", "12:00 PM", "Europe/Lisbon")


@pytest.mark.parametrize(
    ("hour", "minute", "spoken"), [(0, 5, "12:05 AM"), (9, 30, "9:30 AM"), (12, 0, "12:00 PM"), (23, 59, "11:59 PM")]
)
def test_times_of_day(hour: int, minute: int, spoken: str) -> None:
    moment = datetime(2026, 1, 2, hour, minute, tzinfo=UTC).timestamp()
    assert get_date_time(Context(timezone=UTC, clock=lambda: moment)).time == spoken


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("Tokyo", "It is 9:00 PM in Tokyo, Sunday, November 22."),
        ("", "It is 12:00 PM, Sunday, November 22."),
        ("东京", None),  # the model answers in Chinese
    ],
)
def test_it_is_said_without_the_model(place: str, said: str | None) -> None:
    found = run(Executor([get_date_time]).call(ToolCall("c", "get_date_time", {"place": place}), CTX))
    assert (found.status, found.say) == ("ok", said)


@given(st.text(max_size=40))
def test_any_text_is_a_place_or_not(said: str) -> None:
    found = find_place(said)
    assert found is None or (found.label and datetime.now(found.zone).utcoffset() is not None)
