"""Written text to plain text: no markdown, no emoji, links and addresses as one says them."""

from __future__ import annotations

import re
import unicodedata

_LIST_ITEM = re.compile(r"^[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]+", re.MULTILINE)
_MARKDOWN: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"```[\w+-]*\n?"), " "),
    (re.compile(r"</?[A-Za-z][^<>\n]{0,80}>"), ""),
    (re.compile(r"!?\[([^\]\n]*)\]\([^)\s]*\)"), r"\1"),
    (re.compile(r"^[ \t]*#{1,6}[ \t]+", re.MULTILINE), ""),
    (re.compile(r"^[ \t]*>[ \t]?", re.MULTILINE), ""),
    (re.compile(r"^[ \t]*(?:[-*_][ \t]*){3,}$", re.MULTILINE), ""),
    (_LIST_ITEM, ""),
    (re.compile(r"^[ \t]*\|?[ \t:|-]*-{3,}[ \t:|-]*$", re.MULTILINE), ""),
    (re.compile(r"[ \t]*\|[ \t]*"), ", "),
    (re.compile(r"(\*{1,3}|~~)(?=\S)(.+?)(?<=\S)\1"), r"\2"),
    (re.compile(r"(?<!\w)(_{1,3})(?=\S)(.+?)(?<=\S)\1(?!\w)"), r"\2"),
    (re.compile(r"`+"), ""),
    (re.compile(r"(?<![\d ])[*]+|[*]+(?![\d ])"), ""),
)
_CHARACTERS = str.maketrans(
    {
        "‘": "'",
        "’": "'",
        "“": '"',
        "”": '"',
        "\u00a0": " ",
        "\u202f": " ",
        "\u2009": " ",
        "‐": "-",
        "‑": "-",
        "−": "-",
        "⁄": "/",
        "℃": "°C",
        "℉": "°F",
        "×": " times ",
        "÷": " divided by ",
        "≈": " about ",
        "±": " plus or minus ",
        "²": "^2",
        "³": "^3",
    }
)
_FRACTIONS = str.maketrans({"½": " 1/2", "¼": " 1/4", "¾": " 3/4", "⅓": " 1/3", "⅔": " 2/3", "⅛": " 1/8"})
_KEPT_SYMBOLS = frozenset("°")
_URL = re.compile(r"\b(?:https?://|www\.)[^\s<>\"')\]]+", re.IGNORECASE)
_BARE_HOST = re.compile(
    r"\b(?:[a-z0-9-]+\.)+(?:com|org|net|edu|gov|io|dev|ai|app|co\.uk|de|fr)\b(?:/[\w./-]*\w)?(?![\w@])", re.IGNORECASE
)
_EMAIL = re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b")
_ADDRESS_WORDS = {
    ".": " dot ",
    "/": " slash ",
    "-": " dash ",
    "_": " underscore ",
    "@": " at ",
    "+": " plus ",
    ":": " colon ",
    "#": " hash ",
}


def plain(text: str) -> str:
    """``text`` without markdown marks, emoji and odd white space; addresses in words; one line.

    A line of a list or a heading that ends without punctuation gets a full stop, so that it is heard as one.
    """
    text = _close_items(text.translate(_FRACTIONS).translate(_CHARACTERS))
    for pattern, replacement in _MARKDOWN:
        text = pattern.sub(replacement, text)
    text = _EMAIL.sub(lambda match: say_address(match[0]), text)
    text = _URL.sub(_say_url, text)
    text = _BARE_HOST.sub(lambda match: say_address(match[0]), text)
    return re.sub(r"\s+", " ", drop_emoji(text)).strip()


def _close_items(text: str) -> str:
    lines = [line.rstrip() for line in text.split("\n")]
    heads = [bool(_LIST_ITEM.match(line) or re.match(r"^[ \t]*#{1,6}[ \t]", line)) for line in lines]
    return "\n".join(
        f"{line}." if head and line[-1:].isalnum() else line for line, head in zip(lines, heads, strict=True)
    )


def drop_emoji(text: str) -> str:
    """``text`` without pictures, variation selectors, joiners and control characters."""
    return "".join(character if _speakable(character) else " " if character.isspace() else "" for character in text)


def _speakable(character: str) -> bool:
    if character.isascii():
        return character.isprintable()
    category = unicodedata.category(character)
    if 0xFE00 <= ord(character) <= 0xFE0F:  # variation selectors: how to draw, not what to say
        return False
    return character in _KEPT_SYMBOLS or category[0] in "LNPZ" or category in ("Mn", "Mc", "Sc", "Sm")


def _say_url(match: re.Match[str]) -> str:
    url = match[0]
    body = url.rstrip(".,;:!?")
    tail = url[len(body) :]
    host = re.sub(r"^https?://(?:www\.)?|^www\.", "", body, flags=re.IGNORECASE).split("?")[0].rstrip("/")
    return say_address(host) + tail


def say_address(address: str) -> str:
    """``"ann@example.com"`` as "ann at example dot com"."""
    words = "".join(_ADDRESS_WORDS.get(character, character) for character in address)
    return re.sub(r" +", " ", words).strip()
