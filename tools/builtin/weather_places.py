"""From a place as people say it to the one that is meant: "Paris, Texas", "bei jing", "xian", "St. Louis"."""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import Iterator

from sayso.tools.builtin.open_meteo import OpenMeteo, Spot

_INITIALS = "(?:zh|ch|sh|[bpmfdtnlgkhjqxrzcsyw])"
_FINALS = (
    "(?:iang|iong|uang|ueng|ang|eng|ing|ong|iao|ian|uai|uan|van|ai|ei|ao|ou|an|en|in|un|vn|ia|ie|iu|ua|uo|ui|ue|ve|er"
    "|a|o|e|i|u|v)"
)
_SYLLABLE = re.compile(rf"{_INITIALS}?{_FINALS}")
_TWO_SYLLABLES = re.compile(rf"({_INITIALS}{_FINALS})([aeo](?:ng|n|i|o|u|r)?)")
_COUNTRIES = {"usa": "US", "us": "US", "america": "US", "uk": "GB", "britain": "GB", "england": "GB", "uae": "AE"}
_STATES = dict(
    pair.split("=")
    for pair in (
        "al=alabama ak=alaska az=arizona ar=arkansas ca=california co=colorado ct=connecticut de=delaware fl=florida "
        "ga=georgia hi=hawaii id=idaho il=illinois in=indiana ia=iowa ks=kansas ky=kentucky la=louisiana me=maine "
        "md=maryland ma=massachusetts mi=michigan mn=minnesota ms=mississippi mo=missouri mt=montana ne=nebraska "
        "nv=nevada nh=new|hampshire nj=new|jersey nm=new|mexico ny=new|york nc=north|carolina nd=north|dakota oh=ohio "
        "ok=oklahoma or=oregon pa=pennsylvania ri=rhode|island sc=south|carolina sd=south|dakota tn=tennessee tx=texas "
        "ut=utah vt=vermont va=virginia wa=washington wv=west|virginia wi=wisconsin wy=wyoming bc=british|columbia "
        "on=ontario nsw=new|south|wales"
    ).split()
)
_AROUND = re.compile(
    r"^(?:(?:in|at|for|the city of|city of|downtown|weather)\s+)+|\s+(?:right now|now|today|city)$|天气$"
)
_WITH_REGION = frozenset({"US", "CA", "AU"})
"""Countries where people name the state."""
_SHORT = {"US": "USA", "GB": "UK", "AE": "UAE"}
_NOT_A_TOWN = 10
"""A region counts for a tenth of its people: "New York" is the city, "Texas" is still not a hamlet of that name."""


async def find_spot(service: OpenMeteo, said: str) -> Spot | None:
    """The place that is meant, or None. Of several of one name it is the one with the most people.

    Raises:
        ToolError: The service cannot be asked.
    """
    said = _AROUND.sub("", " ".join(said.strip(" .?!,").split())).strip()
    language = "zh" if re.search(r"[\u3400-\u9fff]", said) else "en"
    for names, region in _readings(said):
        answers = await asyncio.gather(*(service.places(name, language) for name in names))
        if found := _best(list(zip(names, answers, strict=True)), region):
            return found
    return None


def spoken_name(spot: Spot) -> str:
    """Such as "Paris, Texas, USA" or "Oslo, Norway"; only letters and what names are written with."""
    country = _SHORT.get(spot.country_code, spot.country)
    parts = [spot.name, spot.admin1 if spot.country_code in _WITH_REGION else "", country]
    clean = [re.sub(r"[^\w\s'’.()-]", "", part).strip()[:60] for part in parts]
    return ", ".join(dict.fromkeys(part for part in clean if part))


def _readings(said: str) -> Iterator[tuple[list[str], str]]:
    """(spellings to ask for, region that the place must be in), the likeliest reading first; at most four."""
    if not said:
        return
    name, comma, region = said.partition(",")
    if comma:
        yield _spellings(name.strip()), region.strip()
        return
    yield _spellings(said), ""
    words = said.split()
    for count in (1, 2, 3):
        if len(words) > count:
            yield _spellings(" ".join(words[:-count])), " ".join(words[-count:])


def _spellings(name: str) -> list[str]:
    """The name, and for what may be pinyin the way atlases write it: "bei jing" Beijing, "xian" Xi'an."""
    spellings = [name]
    plain = _key(name, " ")
    syllables = plain.split()
    if len(syllables) > 1 and all(_SYLLABLE.fullmatch(syllable) for syllable in syllables):
        first = syllables[0]
        spellings.append(first + "".join(f"'{s}" if s[0] in "aeo" else s for s in syllables[1:]))
    if (found := _TWO_SYLLABLES.fullmatch(plain)) and "'" not in name:
        spellings.append(f"{found[1]}'{found[2]}")
    if not name.isascii() and plain.isascii() and re.search(r"[a-z]", plain):
        spellings.append(plain)  # "Běijīng"
    return list(dict.fromkeys(spellings))


def _best(answers: list[tuple[str, list[Spot]]], region: str) -> Spot | None:
    """The most populous of those of that very name and of the first of each answer.

    The first stands for other names: "Peking" is answered with Beijing. The rest may only begin like it.
    """
    meant: list[Spot] = []
    for name, spots in answers:
        fitting = [spot for spot in spots if not region or _is_in(spot, region)]
        meant += fitting[:1] + [spot for spot in fitting if _key(spot.name) == _key(name)]
    return max(meant, key=_weight, default=None)


def _weight(spot: Spot) -> float:
    return spot.population if spot.feature_code.startswith("PPL") else spot.population / _NOT_A_TOWN


def _is_in(spot: Spot, region: str) -> bool:
    """Whether every part of "Texas, USA" is a region or the country of the place."""
    known = {_key(part) for part in (spot.admin1, spot.admin2, spot.country, spot.country_code) if part}
    for part in region.split(","):
        key = _key(part)
        names = {key, _key(_STATES.get(key, "").replace("|", " ")), _COUNTRIES.get(key, "").casefold()} - {""}
        if key and not names & known:
            return False
    return True


def _key(name: str, separator: str = "") -> str:
    """Without case, accents and punctuation, and without spaces unless a separator is given."""
    plain = unicodedata.normalize("NFKD", name.casefold())
    plain = "".join(sign for sign in plain if not unicodedata.combining(sign))
    return separator.join(re.findall(r"[^\W_]+", re.sub(r"['’.]", "", plain)))
