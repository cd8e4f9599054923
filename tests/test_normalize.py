from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sayso.speech.tts import numbers
from sayso.speech.tts.normalize import normalize
from sayso.speech.tts.plain import plain


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        # clock times
        ("Meet at 9:45.", "Meet at nine forty-five."),
        ("at 3:05 PM.", "at three oh five p.m."),
        ("It's 7:05 a.m. and sunny", "It's seven oh five a.m. and sunny"),
        ("15:30 to 16:00", "fifteen thirty to sixteen hundred"),
        ("9:00 AM", "nine a.m."),
        ("12:00", "twelve o'clock"),
        ("00:00", "midnight"),
        ("20:05", "twenty oh five"),
        ("9-5pm", "nine to five p.m."),
        ("10am-5pm", "ten a.m. to five p.m."),
        ("open 9:00–17:30", "open nine o'clock to seventeen thirty"),
        ("9:45:30", "nine forty-five and thirty seconds"),
        # dates
        ("November 22, 2026", "November twenty-second, twenty twenty-six"),
        ("Nov 3", "November third"),
        ("Jan. 5th", "January fifth"),
        ("22 November", "the twenty-second of November"),
        ("3rd of May 2024", "the third of May, twenty twenty-four"),
        ("12-14 May", "the twelfth to the fourteenth of May"),
        ("May 2024", "May twenty twenty-four"),
        ("2026-11-22", "November twenty-second, twenty twenty-six"),
        ("2026-11-22T09:45", "November twenty-second, twenty twenty-six at nine forty-five"),
        ("11/22/2026", "November twenty-second, twenty twenty-six"),
        ("25/12/2026", "December twenty-fifth, twenty twenty-six"),
        ("in 1905", "in nineteen oh five"),
        ("the 1980s", "the nineteen eighties"),
        ("the '90s", "the nineties"),
        ("2020-2024", "twenty twenty to twenty twenty-four"),
        # money
        ("$22.50", "twenty-two dollars and fifty cents"),
        ("$1", "one dollar"),
        ("$0.99", "ninety-nine cents"),
        ("$0.01", "one cent"),
        ("€3", "three euros"),
        ("£1,200", "one thousand two hundred pounds"),
        ("£1.01", "one pound and one penny"),
        ("-$5", "minus five dollars"),
        ("$3.5 million", "three point five million dollars"),
        ("$2bn", "two billion dollars"),
        ("$5-10", "five to ten dollars"),
        ("12 EUR", "twelve euros"),
        ("$1.50/day", "one dollar and fifty cents per day"),
        # units
        ("25%", "twenty-five percent"),
        ("21°C", "twenty-one degrees Celsius"),
        ("-4 °C", "minus four degrees Celsius"),
        ("72°F", "seventy-two degrees Fahrenheit"),
        ("100 km/h", "one hundred kilometers per hour"),
        ("1 kg", "one kilogram"),
        ("2.5 kg", "two point five kilograms"),
        ("5 m²", "five square meters"),
        ("20 min", "twenty minutes"),
        ("10–12 kg", "ten to twelve kilograms"),
        # numbers
        ("1/2 cup", "one half cup"),
        ("1 1/2 cups", "one and a half cups"),
        ("2½ hours", "two and a half hours"),
        ("3/4", "three quarters"),
        ("2/3", "two thirds"),
        ("50/50", "fifty fifty"),
        ("24/7", "twenty-four seven"),
        ("5-7 days", "five to seven days"),
        ("250 - 35 = 215", "two hundred fifty minus thirty-five equals two hundred fifteen"),
        ("5 x 3", "five times three"),
        ("1st, 2nd and 23rd", "first, second and twenty-third"),
        ("2.5", "two point five"),
        ("1,250", "one thousand two hundred fifty"),
        ("1,000,000.5", "one million point five"),
        ("007", "zero zero seven"),
        ("-40", "minus forty"),
        ("version 3.11.2", "version three point eleven point two"),
        ("10k runs", "ten thousand runs"),
        ("call 555-123-4567", "call five five five, one two three, four five six seven"),
        ("020 7946 0958", "zero two zero, seven nine four six, zero nine five eight"),
        ("12345678", "one two three four five six seven eight"),
        # codes and names
        ("gate AB12", "gate A.B. one two"),
        ("room 7B", "room seven B."),
        ("A7", "ay seven"),
        ("COVID-19", "COVID-nineteen"),
        ("Dr. Smith", "Doctor Smith"),
        ("In St. Louis", "In Saint Louis"),
        ("on Main St.", "on Main Street"),
        ("Dr. Lee of Ocean Dr. said", "Doctor Lee of Ocean Drive said"),
        ("e.g. apples", "for example, apples"),
        ("No. 5", "number five"),
        ("AT&T", "A.T. and T."),
        ("café, naïve, Zoë", "cafe, naive, Zoe"),
        # addresses and marks
        ("see https://www.example.com/a-b?x=1.", "see example dot com slash a dash b."),
        ("mail ann.lee@example.co.uk now", "mail ann dot lee at example dot co dot uk now"),
        ("**bold** and *it* and `code`", "bold and it and code"),
        ("- one\n- two\n3. three", "one. two. three."),
        ("# Title\ntext", "Title. text"),
        ("[a link](https://example.com)", "a link"),
        ("<b>hi</b>", "hi"),
        ("hello 😀👍🏽 world", "hello world"),
        ("😀", ""),
        ("...", ""),
        ("", ""),
    ],
)
def test_normalize(written: str, spoken: str) -> None:
    assert normalize(written) == spoken


def test_words_are_left_alone() -> None:
    text = "It's a quarter past nine, said O'Brien; isn't it?"
    assert normalize(text) == text


@given(st.text(alphabet=st.sampled_from("0123456789:/.-,$€%°C kmAPMabth+#*_`\n😀é"), max_size=40))
def test_no_digit_is_left(text: str) -> None:
    spoken = normalize(text)
    assert not any(character in "0123456789" for character in spoken)
    assert "  " not in spoken and "\n" not in spoken


@given(st.text(max_size=60))
def test_any_text_is_one_clean_line(text: str) -> None:
    for line in (plain(text), normalize(text)):
        assert line == line.strip()
        assert "\n" not in line and "\ufe0f" not in line


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "zero"),
        (19, "nineteen"),
        (21, "twenty-one"),
        (100, "one hundred"),
        (1205, "one thousand two hundred five"),
        (1_000_001, "one million one"),
        (-7, "minus seven"),
        (10**18, "one " + "zero " * 17 + "zero"),
    ],
)
def test_cardinal(number: int, words: str) -> None:
    assert numbers.cardinal(number) == words


def test_other_numbers() -> None:
    assert [numbers.ordinal(number) for number in (1, 3, 12, 20, 101)] == [
        "first",
        "third",
        "twelfth",
        "twentieth",
        "one hundred first",
    ]
    assert [numbers.year(number) for number in (1066, 1900, 2000, 2005, 2010)] == [
        "ten sixty-six",
        "nineteen hundred",
        "two thousand",
        "two thousand five",
        "twenty ten",
    ]
    assert numbers.decimal("2.50") == "two point five zero"
