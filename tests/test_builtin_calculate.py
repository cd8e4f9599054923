"""`calculate`: what people ask, exactly; and nothing but arithmetic."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sayso.errors import ToolError
from sayso.items import ToolCall
from sayso.testing import run
from sayso.tools import Executor
from sayso.tools.builtin import calculate
from sayso.tools.builtin.calculate import evaluate
from sayso.tools.spoken_numbers import replace_number_words


@pytest.mark.parametrize(
    ("asked", "result"),
    [
        ("0.1 + 0.2", "0.3"),
        ("1.10 * 3", "3.3"),
        ("12 times 9", "108"),
        ("7 × 8", "56"),
        ("9 ÷ 2", "4.5"),
        ("10 − 4", "6"),
        ("3 x 4", "12"),
        ("2^10", "1024"),
        ("2**0.5", "1.41421356237"),
        ("1,234,567 + 1", "1234568"),
        ("15% of 240", "36"),
        ("fifteen percent of two hundred and forty", "36"),
        ("20% of 50% of 300", "30"),
        ("200 + 10%", "220"),
        ("80 - 25 percent", "60"),
        ("100 * 5%", "5"),
        ("50 per cent", "0.5"),
        ("17 % 5", "2"),
        ("17 mod 5", "2"),
        ("-7 % 5", "3"),
        ("square root of 144", "12"),
        ("the square root of 2", "1.41421356237"),
        ("√81", "9"),
        ("5 squared", "25"),
        ("2 to the power of ten", "1024"),
        ("half of 90", "45"),
        ("three quarters of 80", "60"),
        ("two thirds of 90", "60"),
        ("five thousand divided by four", "1250"),
        ("what is 25 plus 17?", "42"),
        ("2 million / 8", "250000"),
        ("minus five plus two", "-3"),
        ("$5 + 3 dollars", "8"),
        ("3(4 + 5)", "27"),
        ("(1 + 2)(3 + 4)", "21"),
        ("2 pi", "6.28318530718"),
        ("log(1000)", "3"),
        ("ln(e)", "1"),
        ("sin(0) + cos(0)", "1"),
        ("round(2.5)", "3"),
        ("round(2.567, 2)", "2.57"),
        ("max(1, 2, 3) - min(4, 5)", "-1"),
        ("abs(-5)", "5"),
        ("30!", "265252859812191058636308480000000"),
        ("factorial of 6", "720"),
        ("1e3 + .5", "1000.5"),
        ("0 * -5", "0"),
        ("2 ** -1", "0.5"),
        ("99999999999999999999 + 1", "100000000000000000000"),
    ],
)
def test_results(asked: str, result: str) -> None:
    assert calculate(asked).result == result


@pytest.mark.parametrize(
    ("asked", "spoken"),
    [
        ("36/1", "36"),
        ("1/3", "about 0.3333"),
        ("1/8", "0.125"),
        ("100/7", "about 14.2857"),
        ("2/3000", "about 0.000667"),
        ("10**20", "1 times 10 to the power of 20"),
        ("30!", "about 2.65 times 10 to the power of 32"),
        ("0.00001 * 3", "3 times 10 to the power of -5"),
        ("-5 / 2", "-2.5"),
    ],
)
def test_what_is_spoken(asked: str, spoken: str) -> None:
    assert calculate(asked).spoken == spoken


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("9**9**9", "too large"),
        ("9**9**9**9**9", "too large"),
        ("10**1000", "too large"),
        ("1e400", "too large"),
        ("factorial(301)", "too large"),
        ("exp(99999)", "too large"),
        ("1/0", "divides by zero"),
        ("5 % 0", "divides by zero"),
        ("0/0", "no value|divides by zero"),
        ("(-8)**0.5", "no value"),
        ("sqrt(-1)", "no value"),
        ("ln(-1)", "no value"),
        ("factorial(2.5)", "no value"),
        ("1+" * 200, "longer than 300"),
        ("(" * 200, "not arithmetic"),
    ],
)
def test_what_has_no_answer_says_why(asked: str, told: str) -> None:
    with pytest.raises(ToolError, match=told):
        calculate(asked)


@pytest.mark.parametrize(
    "asked",
    [
        "",
        "hello",
        "x + 1",
        "__import__('os').system('true')",
        "().__class__",
        "(1).real",
        "'a' * 5",
        "[1, 2]",
        "{1: 2}",
        "lambda: 1",
        "1 if 1 else 2",
        "1 < 2",
        "1 and 2",
        "1; 2",
        "print(1)",
        "pi(2)",
        "sqrt",
        "max()",
        "1j",
        "0x1f",
        "5or 6",
        "1..2",
        "10!!",
        "True",
        "None",
        "x := 5",
        "f'{1}'",
        "sqrt(x=4)",
        "max(*[1])",
        "1\n2",
    ],
)
def test_what_is_no_arithmetic_is_refused(asked: str) -> None:
    with pytest.raises(ToolError):
        calculate(asked)


@given(st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12))
def test_whole_numbers_are_exact(a: int, b: int) -> None:
    assert evaluate(f"({a}) + ({b})") == a + b
    assert evaluate(f"({a}) * ({b})") == a * b
    assert calculate(f"({a}) - ({b})").result == str(a - b)


@given(st.decimals(0, 10**6, places=2), st.decimals(0, 10**6, places=2))
def test_money_is_exact(a: Decimal, b: Decimal) -> None:
    assert evaluate(f"{a} + {b}") == a + b


@given(st.text(max_size=60) | st.text(st.sampled_from("0123456789.+-*/^%()! eofpilnsqrtx,"), max_size=60))
def test_any_text_is_a_number_or_a_tool_error(asked: str) -> None:
    try:
        found = calculate(asked)
    except ToolError as error:
        assert len(str(error)) < 300
    else:
        Decimal(found.result)
        assert found.spoken


def test_it_is_said_without_the_model() -> None:
    found = run(Executor([calculate]).call(ToolCall("c", "calculate", {"expression": "15% of 240"})))
    assert found.say == "The answer is 36."


# --- number words -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "digits"),
    [
        ("two hundred and forty", "240"),
        ("a hundred", "100"),
        ("fifteen hundred", "1500"),
        ("twenty-five", "25"),
        ("one million two hundred thousand and three", "1200003"),
        ("two thousand and five", "2005"),
        ("2 million", "2000000"),
        ("1.5 million", "1500000.0"),
        ("three point one four", "3.14"),
        ("zero point five", "0.5"),
        ("one two three", "1 2 3"),
        ("nineteen ninety", "19 90"),
        ("seven and eight", "7 and 8"),
        ("five point", "5 point"),
        ("a cat and an hour", "a cat and an hour"),
        ("Sixty SECONDS", "60 seconds"),
        ("someone often weighs", "someone often weighs"),
        ("3 + 4", "3 + 4"),
    ],
)
def test_number_words(said: str, digits: str) -> None:
    assert replace_number_words(said) == digits


ONES = (
    "zero one two three four five six seven eight nine "
    "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
).split()
TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()


def in_words(number: int) -> str:
    """English number words by the school's rule, written apart from the reader."""
    for scale, name in ((10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred")):
        if number >= scale:
            above, below = divmod(number, scale)
            rest = "" if not below else f" {'and ' if below < 100 else ''}{in_words(below)}"
            return f"{in_words(above)} {name}{rest}"
    if number >= 20:
        return TENS[number // 10] + (f"-{ONES[number % 10]}" if number % 10 else "")
    return ONES[number]


@given(st.integers(0, 10**12 - 1))
def test_every_number_in_words_is_read_back(number: int) -> None:
    assert replace_number_words(f"add {in_words(number)} to it") == f"add {number} to it"
