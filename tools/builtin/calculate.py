"""`calculate`: arithmetic, written or spoken, exact in decimal, without `eval`.

The words become an expression, Python's parser makes a tree of it, and simpleeval walks the tree with everything taken
away but numbers, operators, three constants and a few functions. Numbers are decimals of 50 digits, so 0.1 + 0.2 is
0.3; a result beyond 10**999 is refused while it is computed, so no power can hang the process.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable
from decimal import Context as DecimalContext
from decimal import Decimal, DecimalException, DivisionByZero, InvalidOperation, Overflow, localcontext
from functools import cache
from typing import Any

from pydantic import BaseModel, Field

from sayso.errors import ToolError
from sayso.tools.spoken_numbers import replace_number_words
from sayso.tools.tool import tool

MAX_CHARS = 300
MAX_FACTORIAL = 300
DIGITS = 12
"""Significant digits of a result that is not a whole number."""

_MATHS = DecimalContext(prec=50, Emax=999, Emin=-999, traps=[DivisionByZero, InvalidOperation, Overflow])

_WORDS: tuple[tuple[str, str], ...] = (
    (r"\bwhat(?:'s| is)\b|\bcalculate\b|\bcompute\b|\bequals?\b|[=?]\s*$", " "),
    (r"(?<=\d),(?=\d{3}\b)|(?<=\d)_(?=\d)|[$€£¥]", ""),
    (r"[×✕·⋅]", "*"),
    (r"[÷∶]", "/"),
    (r"[−–—]", "-"),
    (r"√", " sqrt "),
    (r"π", " pi "),
    (r"²|\bsquared\b", "**2"),
    (r"³|\bcubed\b", "**3"),
    (r"\^|\b(?:raised )?to the power(?: of)?\b", "**"),
    (r"\bplus\b", "+"),
    (r"\bminus\b", "-"),
    (r"\b(?:times|multiplied by)\b|(?<=[\d)%])\s*x\s*(?=[\d(.])", "*"),
    (r"\b(?:divided by|over)\b", "/"),
    (r"\b(?:mod|modulo)\b", " % "),
    (r"\bper cent\b", "percent"),
    (r"\b(?:dollars?|euros?|pounds?|bucks?|yuan)\b", " "),
    (r"\bthe\b", " "),
    (r"\bsquare root(?: of)?\b", " sqrt "),
    (r"\b(?:a |one )?half of\b", "1/2*"),
    (r"\b(?:a |one |1 )?third of\b", "1/3*"),
    (r"\b(?:a |one |1 )?quarter of\b", "1/4*"),
    (r"\bthree quarters of\b", "3/4*"),
    (r"\btwo thirds of\b", "2/3*"),
)
_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"
_SUM_OF_PERCENT = re.compile(rf"^(.+?)\s*([+-])\s*{_NUMBER}\s*(?:percent|%)\s*$")
_PERCENT_OF = re.compile(rf"{_NUMBER}\s*(?:percent|%)\s*of\b")
_PERCENT = re.compile(rf"{_NUMBER}\s*(?:percent|%(?!\s*[\d(.]))")
_BARE_FUNCTION = re.compile(rf"\b(sqrt|sin|cos|tan|log|ln|abs|exp)\s*(?:of\s+)?(-?{_NUMBER}|pi|e|tau)(?![\w.(])")
_FACTORIAL = re.compile(r"\bfactorial of (\d+)|\b(\d+)\s*(?:factorial\b|!)")
_TOKENS = re.compile(r"\s*(?:(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?(?![\w.])|([a-z]+)(?!\w)|\*\*|//|[-+*/%(),])")
_PI = Decimal("3.1415926535897932384626433832795028841971693993751")
_E = Decimal("2.7182818284590452353602874713526624977572470937000")
_LEFT_OUT_TIMES = re.compile(r"(?<=[\d)])\s*(?=\()|(?<=\))\s*(?=[\d(a-z])|(?<=\d)\s+(?=(?:pi|tau|sqrt)\b)")


class Calculation(BaseModel):
    """An expression and what it comes to.

    Attributes:
        expression: What was computed, as it was given.
        result: The value; whole, or to 12 significant digits.
        spoken: The value as it can be said; the model is shown ``result``.
    """

    expression: str
    result: str
    spoken: str = Field(exclude=True)


@tool(
    effect="pure",
    thread=False,
    say="The answer is {spoken}.",
    filler="Let me work that out.",
    examples={
        "what do I pay with a 12 percent tip on 85": {"expression": "85 + 12%"},
        "how much is 64 divided by 2.5": {"expression": "64 / 2.5"},
    },
)
def calculate(expression: str) -> Calculation:
    """Do arithmetic with numbers: add, multiply, divide, percentages, powers, roots.

    Args:
        expression: The sum in digits and signs, such as "18% of 250", "(7 + 5) * 3" or "sqrt(90)".
    """
    value = evaluate(expression)
    return Calculation(expression=expression.strip(), result=_written(value), spoken=_spoken(value))


def evaluate(expression: str) -> Decimal:
    """The value of a written or spoken expression.

    Raises:
        ToolError: It is no arithmetic, has no value, or is too large.
    """
    if len(expression) > MAX_CHARS:
        raise ToolError(f"The expression is longer than {MAX_CHARS} characters.", "Split it.")
    text = to_expression(expression)
    try:
        _check(text)
        with localcontext(_MATHS):
            return _evaluator()(text)
    except (ZeroDivisionError, DivisionByZero):
        raise ToolError("That divides by zero, which has no answer.") from None
    except (Overflow, OverflowError):
        raise ToolError("The result is too large to work out.") from None
    except (DecimalException, ArithmeticError, ValueError):
        raise ToolError(f"'{expression.strip()[:60]}' has no value among the real numbers.") from None
    except (SyntaxError, TypeError, LookupError, RecursionError, MemoryError):
        raise ToolError(
            f"'{expression.strip()[:60]}' is not arithmetic.",
            "Write it with digits and + - * / ^ ( ) % and sqrt, such as '18% of 250'.",
        ) from None


def to_expression(said: str) -> str:
    """What was said as a Python expression: words, signs and percentages rewritten."""
    text = said.casefold()
    for pattern, sign in _WORDS[-2:]:  # before their numbers are read
        text = re.sub(pattern, sign, text)
    text = replace_number_words(text)
    for pattern, sign in _WORDS:
        text = re.sub(pattern, sign, text)
    text = _PERCENT_OF.sub(r"(\1/100)*", text.strip())
    if found := _SUM_OF_PERCENT.match(text):  # "80 + 15%": of the 80, as pocket calculators have it
        before = _PERCENT.sub(r"(\1/100)", found[1])
        text = f"({before})*(1{found[2]}{found[3]}/100)"
    text = _PERCENT.sub(r"(\1/100)", text)
    text = _FACTORIAL.sub(lambda found: f"factorial({found[1] or found[2]})", text)
    text = _BARE_FUNCTION.sub(r"\1(\2)", text)
    return " ".join(_LEFT_OUT_TIMES.sub("*", text).split())


def _check(text: str) -> None:
    """Refuse whatever is not a number, a sign or a known name, before Python's parser sees it.

    Raises:
        SyntaxError: There is something else in it.
    """
    at = 0
    while at < len(text):
        token = _TOKENS.match(text, at)
        if token is None or (token[1] and token[1] not in _NAMES and token[1] not in _FUNCTIONS):
            raise SyntaxError(text[at : at + 20])
        at = token.end()


@cache
def _evaluator() -> Callable[[str], Decimal]:
    """Simpleeval with nothing left but arithmetic."""
    from simpleeval import SimpleEval  # needed only where something is computed

    evaluator: Any = SimpleEval(
        operators={
            ast.Add: operator.add,
            ast.Sub: operator.sub,
            ast.Mult: operator.mul,
            ast.Div: operator.truediv,
            ast.FloorDiv: operator.floordiv,
            ast.Mod: lambda a, b: a - b * (a / b).to_integral_value("ROUND_FLOOR"),
            ast.Pow: operator.pow,
            ast.USub: operator.neg,
            ast.UAdd: operator.pos,
        },
        functions=_FUNCTIONS,
        names=_NAMES,
    )
    allowed = (ast.Expr, ast.BinOp, ast.UnaryOp, ast.Call, ast.Name)
    evaluator.nodes = {node: evaluate for node, evaluate in evaluator.nodes.items() if node in allowed}
    evaluator.nodes[ast.Constant] = _constant

    def run(text: str) -> Decimal:
        from simpleeval import InvalidExpression

        try:
            value = evaluator.eval(text)
        except InvalidExpression as error:
            raise TypeError(str(error)) from None
        if not isinstance(value, Decimal):
            raise TypeError("not a number")
        return +value

    return run


def _constant(node: ast.Constant) -> Decimal:
    if isinstance(node.value, bool) or not isinstance(node.value, (int, float)):
        raise TypeError("not a number")
    if isinstance(node.value, float) and not math.isfinite(node.value):
        raise Overflow
    return +Decimal(repr(node.value))  # repr: 0.1 is what was written, not its nearest binary fraction


def _functions() -> dict[str, Callable[..., Decimal]]:
    def by_float(function: Callable[..., float]) -> Callable[..., Decimal]:
        return lambda *values: Decimal(repr(round(function(*map(float, values)), 14)))

    return {
        "sqrt": Decimal.sqrt,
        "cbrt": by_float(lambda x: math.copysign(abs(x) ** (1 / 3), x)),
        "abs": abs,
        "min": min,
        "max": max,
        "round": _round,
        "floor": lambda x: x.to_integral_value("ROUND_FLOOR"),
        "ceil": lambda x: x.to_integral_value("ROUND_CEILING"),
        "factorial": _factorial,
        "sin": by_float(math.sin),
        "cos": by_float(math.cos),
        "tan": by_float(math.tan),
        "ln": Decimal.ln,
        "exp": Decimal.exp,
        "log": lambda x, base=Decimal(10): x.ln() / base.ln() if base != 10 else x.log10(),
    }


def _round(value: Decimal, places: Decimal = Decimal(0)) -> Decimal:
    if places != int(places) or not 0 <= places <= 30:
        raise ValueError
    return value.quantize(Decimal(1).scaleb(-int(places)), "ROUND_HALF_UP")


def _factorial(value: Decimal) -> Decimal:
    if value != int(value) or value < 0:
        raise ValueError
    if value > MAX_FACTORIAL:
        raise Overflow
    return +Decimal(math.factorial(int(value)))


_NAMES = {"pi": _PI, "e": _E, "tau": 2 * _PI}
_FUNCTIONS = _functions()


def _written(value: Decimal) -> str:
    """Whole numbers in full up to 50 digits, others to 12 significant digits."""
    if value == value.to_integral_value() and value.adjusted() < 50:
        return f"{value.to_integral_value() or Decimal(0):f}"
    rounded = DecimalContext(prec=DIGITS).create_decimal(value).normalize()
    return f"{rounded:f}" if -7 <= rounded.adjusted() < 50 else f"{rounded:E}"


def _spoken(value: Decimal) -> str:
    """At most 4 decimals, "about" where that rounds; powers of ten from a quadrillion on and below a ten-thousandth."""
    size = value.adjusted()
    if value and not -4 <= size < 15:
        digits = DecimalContext(prec=3).create_decimal(value.scaleb(-size)).normalize()
        about = "" if digits == value.scaleb(-size) else "about "
        return f"{about}{digits:f} times 10 to the power of {size}"
    rounded = value.quantize(Decimal("0.0001") if size >= -1 else Decimal("0.000001"), context=_MATHS).normalize()
    exact = rounded == value or abs(rounded - value) < Decimal("1e-13")
    return f"{'' if exact else 'about '}{rounded:f}" if rounded else "0"
