"""Web text made fit for speech: no tags, addresses, tracking or ellipses, and no half sentences."""

from __future__ import annotations

import html
import re
from urllib.parse import parse_qsl, urlencode, urlsplit

_TAG = re.compile(r"<(?:/?[A-Za-z][^<>]{0,2000}|!--.{0,2000}?--|![A-Za-z][^<>]{0,200})>", re.S)
_HIDDEN = re.compile(r"<(script|style)\b[^>]{0,2000}>.*?</\1\s*>", re.S | re.I)
_LINK = re.compile(r"!?\[([^\[\]]{0,300})\]\((?:[^()\s]{1,2000})\)")
_ADDRESS = re.compile(r"\(?\b(?:https?://|www\.)[^\s<>()，。、；]+\)?", re.I)
_MARKS = re.compile(
    r"\[(?:\d{1,3}|edit|citation needed|来源请求)\]|[*_#]{2,}|^[#>*•▪●-]+ +|(?<=\s)[*#•▪●]+(?=\s)", re.M
)
_INVISIBLE = re.compile(r"[`\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufffc\ufffd]")
_DOTS = re.compile(r"\s*(?:\[?(?:…|\.{3,}|。{3,})\]?\s*)+")
_MORE = re.compile(
    r"(?:\s|^)(?:read more|learn more|continue reading|see more|阅读全文|查看更多)(?: at| on)?\W*$", re.I
)
_SENTENCE_END = re.compile(r"[.!?][\"'”’)\]]*(?=\s+[\"'“‘(\[]?[^\Wa-z_]|\s*$)|[。！？；][”’）」]*")
_NO_END = re.compile(
    r"\b(?:[A-Za-z]|Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|No|vs|etc|approx|Inc|Ltd|Co|Gen|Col|Sen|Rep|Gov|Jan|Feb|Mar|Apr|Jun|Jul|"
    r"Aug|Sept?|Oct|Nov|Dec|e\.g|i\.e|U\.S|U\.K|a\.m|p\.m)\.$"
)
_TRACKING = re.compile(
    r"utm_\w+|(?:g|fb|ms|tw|dc|y|t)clid|gbraid|wbraid|mc_[ce]id|igshid|_ga|_gl|ref_(?:src|url)|cmpid|ocid|spm|smid|ncid|"
    r"__twitter_impression|share_source\w*",
    re.I,
)
_INDEX = re.compile(r"/(?:index|default)\.(?:html?|php|aspx?)$", re.I)
_CHINESE_SITE = re.compile(r"(?<=[\u4e00-\u9fff」》）！？])_[^_\s]{2,16}$")
_BARS = re.compile(r"\s+[|·›»]\s+")
_DASHES = re.compile(r"\s+(?:[|·•›»]|[-–—])\s+")


def plain(text: str) -> str:
    """What a service sent, on one line and at most 4,000 characters, without tags and entities; and `line`."""
    text = _TAG.sub("", _HIDDEN.sub(" ", text[:4000]))
    return line(_TAG.sub("", html.unescape(text)))  # services escape what they quote


def line(text: str) -> str:
    """Text without addresses, markdown and invisible characters, and with single spaces."""
    text = _LINK.sub(r"\1", _INVISIBLE.sub("", text))
    return " ".join(_MARKS.sub(" ", _ADDRESS.sub("", text)).split())


def passage(text: str, limit_bytes: int) -> str:
    """A passage that can be spoken: `plain`, whole sentences where there are any, no ellipses.

    Args:
        text: As a search service sent it, often cut off in the middle.
        limit_bytes: Of the answer in UTF-8; that is about as long in speech and tokens in English and in Chinese.
    """
    pieces = (piece.strip(" ,;:-–—·|") for piece in _DOTS.split(_MORE.sub("", plain(text))))
    joined = ""
    for piece in filter(None, pieces):
        joined = f"{joined}{_pause(joined, piece)}{piece}"
    return cut(_BARS.sub(", ", joined), limit_bytes)


def cut(text: str, limit_bytes: int) -> str:
    """The beginning of ``text`` that fits: whole sentences, or else whole words.

    Text that ends in the middle of a sentence loses that, if a sentence is left and it is most of the text.
    """
    fitting = text.encode()[:limit_bytes].decode("utf-8", "ignore")
    whole = fitting == text
    if whole and _ends(text):
        return text
    end = 0
    for found in _SENTENCE_END.finditer(text):
        if found.end() > len(fitting):
            break
        if _ends(text[max(0, found.end() - 12) : found.end()]):
            end = found.end()
    if end * 3 >= len(fitting):
        return fitting[:end]
    if whole:
        return text
    words = fitting.rpartition(" ")[0] if " " in fitting[-60:] else fitting
    return words.rstrip(" ,;:-–—·(\"'“‘")


def title(text: str, site: str) -> str:
    """A page's title without the name of its site behind a dash, at most 120 bytes."""
    words = _CHINESE_SITE.sub("", _DOTS.sub(" ", plain(text)).strip())
    head, *rest = _DASHES.split(words)
    core = _letters(max(site.split("."), key=len))  # "foodsafety" of foodsafety.co.uk
    if rest and _is_name(_letters(rest[-1]), site, core):
        at = words.rindex(rest[-1])
        words = words[:at].rstrip(" |·•›»-–—")
    elif rest and _letters(head) == core:
        words = words[len(head) :].lstrip(" |·•›»-–—")
    if len(words.encode()) <= 120:
        return words
    return words.encode()[:120].decode("utf-8", "ignore").rpartition(" ")[0] or words[:40]


def site_of(url: str) -> str:
    """The name of a page's server, as people say it: ``www`` and the like gone."""
    try:
        name = (urlsplit(url).hostname or "").removesuffix(".")
    except ValueError:
        return ""
    return re.sub(r"^(?:www\d?|m|mobile|amp)\.(?=[^.]+\.)", "", name)


def is_web(url: str) -> bool:
    """Whether ``url`` is an address of a web page."""
    return url.startswith(("http://", "https://")) and bool(site_of(url))


def without_tracking(url: str) -> str:
    """``url`` without what only tells where somebody came from, and without its fragment."""
    parts = urlsplit(url)
    pairs = [pair for pair in parts.query.split("&") if not _TRACKING.fullmatch(pair.partition("=")[0])]
    return parts._replace(query="&".join(pairs), fragment="").geturl()


def same_page(url: str) -> str:
    """A key that is equal for addresses of one page: scheme, ``www``, order, tracking and the like do not count."""
    parts = urlsplit(without_tracking(url))
    path = re.sub(r"/amp$", "", _INDEX.sub("", parts.path.rstrip("/")))
    query = urlencode(sorted(pair for pair in parse_qsl(parts.query) if pair[0] != "amp"))
    return f"{site_of(url)}{path}?{query}".casefold()


def same_text(text: str) -> str:
    """A key that is equal for texts that differ only in case, spaces and punctuation."""
    return _letters(text)


def _ends(text: str) -> bool:
    return bool(re.search(r"[.!?。！？；][\"'”’）」)\]]*$", text)) and not _NO_END.search(text)


def _pause(before: str, after: str) -> str:
    """What stands for an ellipsis between two pieces of a passage."""
    if not before or _ends(before):
        return " " if before else ""
    if "\u3400" <= before[-1] <= "\u9fff":
        return "。"
    return ", " if after[0].islower() else ". "


def _is_name(words: str, site: str, core: str) -> bool:
    """Whether the last part of a title names the site."""
    return (len(words) > 2 and words in _letters(site)) or (len(core) > 3 and core in words)


def _letters(text: str) -> str:
    return "".join(sign for sign in text.casefold() if sign.isalnum())
