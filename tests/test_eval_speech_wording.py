"""How lines are spoken, and when two texts say the same."""

from __future__ import annotations

import pytest

pytest.importorskip("pypinyin", reason="the extra chinese is not installed")

from sayso.errors import UsageError
from sayso.evals.speech.wording import (
    Pause,
    character_error_rate,
    parts_of,
    same_words,
    spelled,
    word_error_rate,
    words_of,
)


def test_pauses_divide_a_line() -> None:
    line = "I'd like to move my appointment to Tuesday <pause 300/> no, sorry <pause 200/> Wednesday."
    assert parts_of(line) == [
        "I'd like to move my appointment to Tuesday",
        Pause(0.3),
        "no, sorry",
        Pause(0.2),
        "Wednesday.",
    ]
    assert words_of(line) == "I'd like to move my appointment to Tuesday no, sorry Wednesday."


@pytest.mark.parametrize(
    ("line", "spoken"),
    [
        ("My code is ZK3FFW.", "My code is Z, K, three, F, F, W."),
        ("It is ZK3-FFW, isn't it?", "It is Z, K, three, F, F, W, isn't it?"),
        ("Take <spell>anna</spell> instead.", "Take Ay, N, N, Ay, instead."),
        ("Flight BA212 at 5PM, 20KM away.", "Flight B, Ay, two, one, two, at 5PM, 20KM away."),
        ("The weather in NASA's town.", "The weather in NASA's town."),
    ],
)
def test_codes_are_spoken_with_separators(line: str, spoken: str) -> None:
    assert parts_of(line) == [spoken]


def test_a_code_in_chinese() -> None:
    assert spelled("zk3", "zh") == "Z, K, 三"


@pytest.mark.parametrize("line", ["Hello <break/> you", "<spell>abc", "a <pause 99999/> b", "x </spell>"])
def test_unknown_markup_is_told(line: str) -> None:
    with pytest.raises(UsageError):
        parts_of(line)


def test_marks_alone_are_no_part() -> None:
    assert parts_of("Well <pause 100/>.") == ["Well", Pause(0.1)]
    assert parts_of("<pause 500/>") == [Pause(0.5)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("My code is Z, K, three, F, F, W.", "my code is ZK3FFW"),
        ("Two p.m., twenty-five dollars!", "2 PM $25"),
        ("I'm fine, it's okay.", "i am fine it is OK"),
        ("March twentieth at three thirty p.m.", "March 20th at 3:30 PM"),
        ("Uh, five percent", "5%"),
        ("Two o'clock, please.", "2:00 please"),
        ("Move A17 to slot S3, please.", "Move A 1 7 to slot S, 3 please."),
        ("My booking code is ZK3FFW, please.", "My booking code is Z, K3FFW please."),
        ("A cosy harbour theatre was organised.", "a cozy harbor theater was organized"),
        ("Send sixty-two fifty, five five five one.", "send 6250 5551"),
        ("It is ZK3-FFW or B12.", "it is z k three F F W or b 12"),
        ("帮我取消预约。", "幫我取消預約"),
        ("明天下午两点半,提醒我十五分钟", "明天下午 2点半 提醒我15分钟。"),
    ],
)
def test_the_same_in_other_letters(one: str, other: str) -> None:
    assert same_words(one) == same_words(other)
    assert word_error_rate(one, other) == 0.0


@pytest.mark.parametrize(
    ("one", "other"),
    [("slot S3", "slot S13"), ("code ZK3", "code ZG3"), ("at 2:30 p.m.", "at 2:13 p.m."), ("a 15", "a 50")],
)
def test_what_is_not_the_same(one: str, other: str) -> None:
    assert word_error_rate(one, other) > 0


def test_a_pronoun_is_no_part_of_a_number() -> None:
    assert same_words("It is nine. I have a 2 in room A 17.") == "it is 9 i have a2 in room a17"


def test_error_rates() -> None:
    assert word_error_rate("book a table for two", "book the table for two") == pytest.approx(0.2)
    assert word_error_rate("fifteen minutes", "fifty minutes") == pytest.approx(0.5)
    assert word_error_rate("book a table", "") == 1.0
    assert word_error_rate("", "") == 0.0
    assert word_error_rate("", "thank you") == 1.0
    assert word_error_rate("今天天气好", "今天天地好") == pytest.approx(0.2)
    assert character_error_rate("black tea", "blacktea") == 0.0
    assert character_error_rate("abcde", "abcdf") == pytest.approx(0.2)
