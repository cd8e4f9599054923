"""Typed comparison: whether what was found is what is expected, in whatever form it is written or said."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Any, Final, cast

from sayso.evals.entities import Found, currency_of, entities, letters_of, normalised
from sayso.evals.expectations import Entity

TOLERANCE: Final = 1e-6
MIN_SIMILARITY: Final = 0.3


@dataclass(frozen=True, slots=True)
class Known:
    """What a comparison may look at.

    Attributes:
        today: For "tomorrow".
        results: What earlier calls of the scenario returned, by the id of the expectation.
    """

    today: date | None = None
    results: Mapping[str, Any] = field(default_factory=dict[str, Any])


NOTHING: Final = Known()


def same_city(expected: Any, found: Any, known: Known = NOTHING) -> bool:
    """Places: without case, accents, "city", "市" and what follows a comma; Chinese names and pinyin are equal."""
    return bool(city := _city(str(expected))) and city == _city(str(found))


def same_date(expected: Any, found: Any, known: Known = NOTHING) -> bool:
    """Days in any form; one without a year is of any year."""
    days = [one.value for one in entities(str(found), known.today) if one.kind == "date"]
    return any(_is_day(str(expected), day) for day in days)


def same_time(expected: Any, found: Any, known: Known = NOTHING) -> bool:
    """Times of day; "2:00" is not 14:00."""
    one, two = _time(str(expected)), _time(str(found))
    return one is not None and two is not None and one.rstrip("?").zfill(5) == two.rstrip("?").zfill(5)


def same_money(expected: Any, found: Any, known: Known = NOTHING) -> bool:
    """Amounts; the currency counts where both name one."""
    one, two = _amount(expected), _amount(found)
    if one is None or two is None:
        return False
    return math.isclose(one[0], two[0], abs_tol=0.005) and (not one[1] or not two[1] or one[1] == two[1])


def same_phone(expected: Any, found: Any, known: Known = NOTHING) -> bool:
    """Telephone numbers by their digits; a country's code may be missing."""
    one, two = (re.sub(r"\D", "", normalised(str(value))).lstrip("0") for value in (expected, found))
    short, long = sorted((one, two), key=len)
    return one == two or (len(short) >= 7 and len(long) - len(short) <= 3 and long.endswith(short))


def same_code(expected: Any, found: Any, known: Known = NOTHING) -> bool:
    """Codes without case, spaces, dashes and spelling."""
    return bool(code := letters_of(str(expected))) and code == letters_of(str(found))


def same_number(expected: Any, found: Any, tolerance: float = TOLERANCE) -> bool:
    """Numbers, in figures or words."""
    one, two = _number(expected), _number(found)
    return one is not None and two is not None and abs(one - two) <= tolerance


def same_value(expected: Any, found: Any, known: Known = NOTHING) -> bool:
    """Arithmetic expressions of one value."""
    one, two = value_of(str(expected)), value_of(str(found))
    return one is not None and two is not None and math.isclose(one, two, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def similar_text(expected: Any, found: Any, least: float = MIN_SIMILARITY) -> bool:
    """Texts that ask the same: pairs of letters in common, and every number; of a Chinese text its Latin words too."""
    one, two = normalised(str(expected)), normalised(str(found))
    needed = re.findall(r"\d+(?:\.\d+)?", one)
    if re.search(r"[\u3400-\u9fff]", one):
        needed += re.findall(r"[a-z]{2,}", one)
    return all(part in two for part in needed) and _similarity(one, two) >= least


COMPARATORS: Final[Mapping[str, Callable[[Any, Any, Known], bool]]] = {
    "city": same_city,
    "date": same_date,
    "time": same_time,
    "money": same_money,
    "phone": same_phone,
    "code": same_code,
    "expr": same_value,
}
ENTITY_OF: Final[Mapping[str, Entity]] = {
    "city": "place",
    "date": "date",
    "time": "time",
    "money": "money",
    "phone": "phone",
    "code": "code",
    "number": "number",
    "expr": "number",
    "text": "text",
    "re": "other",
}


def is_said(expected: Any, text: str, today: date | None = None) -> bool:
    """Whether a text holds a value: words as they are, a typed value (``{time: "14:00"}``) in any spoken form."""
    if not isinstance(expected, dict):
        return holds(text, str(expected))
    typed = cast("dict[str, Any]", expected)
    kind = next(iter(typed))
    return says(kind, typed[kind], text, today)


def says(kind: str, value: Any, text: str, today: date | None = None) -> bool:
    """Whether a text holds a value of this kind in any spoken form."""
    found = entities(text, today)
    match kind:
        case "time":
            return any(_is_time(str(value), one.value) for one in found if one.kind == "time")
        case "date":
            return any(_is_day(str(value), one.value) for one in found if one.kind == "date")
        case "money":
            amounts = [one for one in found if one.kind in ("money", "number")]
            return any(same_money(value, one.value) for one in amounts)
        case "number":
            return any(same_number(value, one.value.split(" ")[0]) for one in found if one.kind in ("money", "number"))
        case "phone":
            digits = re.sub(r"\D", "", str(value))
            return digits in re.sub(r"[\s().,+-]", "", normalised(text))
        case "code":
            return letters_of(str(value)) in letters_of(text)
        case "re":
            return re.search(str(value), text) is not None
        case "city":
            return holds(text, str(value)) or _city(str(value)) in _city(text)
        case "text":
            return holds(text, str(value))
        case _:
            return holds(text, str(value))


def holds(text: str, part: str) -> bool:
    """Whether a text holds another, without regard to case, width, spaces and how numbers are written.

    Latin words and numbers count as wholes: "2" is not in "12", "two" is in "at two, then".
    """
    plain, wanted = _plain(text), _plain(part)
    return _holds(plain, wanted) or _holds(normalised(plain), normalised(wanted))


def _holds(text: str, part: str) -> bool:
    if not part:
        return True
    before = r"(?<![^\W_\u3400-\u9fff])" if re.match(r"[^\W_\u3400-\u9fff]", part) else ""
    behind = r"(?![^\W_\u3400-\u9fff])" if re.search(r"[^\W_\u3400-\u9fff]$", part) else ""
    return re.search(f"{before}{re.escape(part)}{behind}", text) is not None


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().replace("’", "'").split())


def _is_day(expected: str, found: str) -> bool:
    return expected == found or (found.startswith("--") and expected[-5:] == found[-5:])


def _is_time(expected: str, found: str) -> bool:
    wanted = _time(expected)
    if wanted is None:
        return False
    if wanted == found:
        return True
    hour, minute = (int(part) for part in wanted.rstrip("?").split(":"))
    return found.endswith("?") and found == f"{hour % 12}:{minute:02}?"


def _time(text: str) -> str | None:
    if exact := re.fullmatch(r"\s*([01]\d|2[0-3]):([0-5]\d)(?::\d{2})?\s*", text):
        return f"{exact[1]}:{exact[2]}"
    return next((one.value for one in entities(text) if one.kind == "time"), None)


def _amount(value: Any) -> tuple[float, str] | None:
    if isinstance(value, int | float):
        return float(value), ""
    text = str(value)
    if plain := re.fullmatch(r"\s*(-?\d+(?:\.\d+)?)\s*([^\d\s]*)\s*", text):
        return float(plain[1]), currency_of(plain[2])
    for one in entities(text):
        if one.kind == "money":
            amount, _, unit = one.value.partition(" ")
            return float(amount), unit
        if one.kind == "number":
            return float(one.value), ""
    return None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return float(value)
    found: list[Found] = [one for one in entities(str(value)) if one.kind in ("number", "money")]
    return float(found[0].value.split(" ")[0]) if len(found) == 1 else None


def value_of(text: str) -> float | None:
    """The value of an arithmetic expression; None where it has none."""
    from simpleeval import SimpleEval

    plain = normalised(text).translate(str.maketrans("×÷−–^", "*/--^")).replace("^", "**").replace("=", "").strip()
    try:
        evaluator: Any = SimpleEval(functions={"sqrt": math.sqrt, "abs": abs, "round": round})
        return float(evaluator.eval(plain))
    except Exception:  # whatever it is, it has no value
        return None


def _similarity(one: str, two: str) -> float:
    """Jaccard index of the pairs of letters."""
    left, right = (_pairs(re.sub(r"[\W_]+", "", text)) for text in (one, two))
    return len(left & right) / len(left | right) if left | right else 1.0


def _pairs(text: str) -> set[str]:
    return {text[at : at + 2] for at in range(len(text) - 1)} or {text}


@lru_cache(maxsize=4096)
def _city(name: str) -> str:
    text = re.split(r"[,，(（]", name, maxsplit=1)[0]
    text = re.sub(r"(市|省)$", "", text.strip())
    if re.search(r"[\u3400-\u9fff]", text):
        text = _pinyin(text)
    folded = unicodedata.normalize("NFKD", text).casefold()
    plain = "".join(character for character in folded if character.isalnum())
    plain = plain.removesuffix("city") or plain
    return _ALIASES.get(plain, plain)


_ALIASES: Final = {
    "nyc": "newyork",
    "la": "losangeles",
    "sf": "sanfrancisco",
    "peking": "beijing",
    "xianggang": "hongkong",
}
_CITIES: Final[dict[str, str]] = dict(
    (pair.split(":")[0], pair.split(":")[1])
    for pair in (
        "北京:beijing 上海:shanghai 广州:guangzhou 深圳:shenzhen 成都:chengdu 重庆:chongqing "
        "杭州:hangzhou 武汉:wuhan 西安:xian 南京:nanjing 天津:tianjin 苏州:suzhou "
        "长沙:changsha 青岛:qingdao 大连:dalian 厦门:xiamen 昆明:kunming 沈阳:shenyang "
        "哈尔滨:haerbin 郑州:zhengzhou 济南:jinan 福州:fuzhou 合肥:hefei 南昌:nanchang "
        "贵阳:guiyang 南宁:nanning 海口:haikou 三亚:sanya 拉萨:lhasa 兰州:lanzhou "
        "西宁:xining 银川:yinchuan 乌鲁木齐:urumqi 太原:taiyuan 石家庄:shijiazhuang "
        "长春:changchun 宁波:ningbo 无锡:wuxi 珠海:zhuhai 东莞:dongguan 佛山:foshan "
        "桂林:guilin 丽江:lijiang 大理:dali 香港:hongkong 澳门:macau 台北:taipei "
        "东京:tokyo 大阪:osaka 首尔:seoul 伦敦:london 巴黎:paris 纽约:newyork "
        "旧金山:sanfrancisco 洛杉矶:losangeles 柏林:berlin 罗马:rome 悉尼:sydney "
        "新加坡:singapore 曼谷:bangkok 莫斯科:moscow 里斯本:lisbon 马德里:madrid "
        "奥斯陆:oslo "
    ).split()
)


def _pinyin(text: str) -> str:
    if (known := _CITIES.get(text)) is not None:
        return known
    try:
        from pypinyin import lazy_pinyin
    except ModuleNotFoundError:
        return text
    return "".join(lazy_pinyin(text))
