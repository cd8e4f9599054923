from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sayso.speech.tts.phrases import EarlyPhrases, chunks, first_phrase
from sayso.speech.tts.sentences import SentenceSplitter, split_sentences

PIECES = [
    "Dr. Smith",
    " is here. ",
    "It costs $3.5",
    " now! ",
    "9:45",
    "e.g. ",
    "U.S. ",
    "The ",
    "“Hi.” ",
    "\n",
    "1. ",
    "...",
    " …",
    "? ",
    "你好。",
    "真的吗？",
    "，",
    "No. 5",
    "a.m. ",
    "word ",
    ", and ",
    ")",
    '" ',
    "I. ",
    "x" * 40,
    " ",
    "😀",
    "!!",
]


def cut(text: str, sizes: list[int], **options: int) -> list[str]:
    splitter = SentenceSplitter(**options)
    pieces: list[str] = []
    start = 0
    for size in sizes:
        pieces += splitter.feed(text[start : start + size])
        start += size
    return pieces + splitter.feed(text[start:]) + splitter.flush()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello. How are you? Fine!", ["Hello. ", "How are you? ", "Fine!"]),
        ("Dr. Smith arrived. Good.", ["Dr. Smith arrived. ", "Good."]),
        ("It is 3.5 degrees. Cold.", ["It is 3.5 degrees. ", "Cold."]),
        ("At 9:45. Then go.", ["At 9:45. ", "Then go."]),
        ("Fruit, e.g. apples, is good. Yes.", ["Fruit, e.g. apples, is good. ", "Yes."]),
        ("He lives in the U.S. The end.", ["He lives in the U.S. ", "The end."]),
        ("The U.S. Army came. Ok.", ["The U.S. Army came. ", "Ok."]),
        ("At 5 p.m. we eat. Come.", ["At 5 p.m. we eat. ", "Come."]),
        ("J. R. Smith wrote it. Ok.", ["J. R. Smith wrote it. ", "Ok."]),
        ("See No. 5 now. Say no. Really.", ["See No. 5 now. ", "Say no. ", "Really."]),
        ("“Stop.” He left.", ["“Stop.” ", "He left."]),
        ("Well... maybe. Well... No.", ["Well... maybe. ", "Well... ", "No."]),
        ("你好。真的吗？好！", ["你好。", "真的吗？", "好！"]),
        ("他说：“好。”然后走了。", ["他说：“好。”", "然后走了。"]),
        ("One line\nNext line", ["One line\n", "Next line"]),
        ("1. First\n2. Second", ["1. First\n", "2. Second"]),
        ("Visit example.com now. Ok.", ["Visit example.com now. ", "Ok."]),
        ("\n\nHi.", ["\n\nHi."]),
        ("", []),
        ("...", ["..."]),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert split_sentences(text) == expected


def test_a_sentence_comes_out_with_the_space_after_it() -> None:
    splitter = SentenceSplitter()
    assert splitter.feed("It is nine o'clock.") == []
    assert splitter.feed(" ") == ["It is nine o'clock. "]
    assert splitter.feed("More") == []
    assert splitter.flush() == ["More"]
    assert splitter.flush() == []


def test_a_stream_without_an_end_is_spoken() -> None:
    pieces = cut("word " * 100, [], max_chars=80)
    assert all(len(piece) <= 80 for piece in pieces)
    assert len(cut("x" * 1000, [], max_chars=80)) == 13
    splitter = SentenceSplitter(max_chars=80)
    assert splitter.feed("no end " * 30)


@given(
    st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=30).map("".join),
    st.lists(st.integers(0, 9), max_size=60),
    st.sampled_from([{}, {"max_chars": 30}, {"max_chars": 12}]),
)
def test_nothing_is_lost_and_chunking_does_not_matter(text: str, sizes: list[int], options: dict[str, int]) -> None:
    whole = cut(text, [], **options)
    assert "".join(whole) == text
    assert cut(text, sizes, **options) == whole
    assert cut(text, [1] * len(text), **options) == whole


@pytest.mark.parametrize(
    ("text", "head"),
    [
        ("It is noon.", "It is noon."),
        ("The meeting starts at nine, and it takes about two hours in all.", "The meeting starts at nine, "),
        ("I have set a timer for twelve minutes because the rice needs it.", "I have set a timer for twelve minutes, "),
        ("Mary Jones and Peter Paul Smith live in the city of New York today.", None),
        ("The sum is two hundred and fifty thousand four hundred seventy", None),
        ("It opened on November 22, 2026 somewhere near here they said again.", None),
        (
            "In Portland, Oregon it will rain all day long and it will be cold.",
            "In Portland, Oregon it will rain all day long, ",
        ),
    ],
)
def test_first_phrase(text: str, head: str | None) -> None:
    got, rest = first_phrase(text)
    assert got == (text if head is None else head)
    assert text.endswith(rest)
    assert (got + rest).replace(",", "") == text.replace(",", "")


def test_chunks_are_the_sentence() -> None:
    text = "Paris has two million people, which makes it the largest city in France."
    assert "".join(chunks(text)) == text
    assert chunks("Short one.") == ["Short one."]
    assert (
        chunks("今天天气很好，我们下午三点半在公园见面吧，好不好，大家都同意了，然后我们一起去吃晚饭，再去看电影。")
        != []
    )


def test_a_splitter_needs_room() -> None:
    with pytest.raises(ValueError, match="max_chars"):
        SentenceSplitter(max_chars=0)


@given(st.text(alphabet="abc de,.!?ABCforand 12", max_size=120), st.lists(st.integers(1, 9), min_size=1, max_size=40))
def test_early_phrases_lose_no_word_at_any_chunking(text: str, sizes: list[int]) -> None:
    def spoken(pieces: list[str]) -> str:
        return re.sub(r"[^\w]", "", "".join(pieces))

    phrases, pieces, at = EarlyPhrases(), [], 0
    for size in sizes:
        pieces += phrases.feed(text[at : at + size])
        at += size
    pieces += [*phrases.feed(text[at:]), *phrases.flush()]
    assert spoken(pieces) == spoken([text])


def test_a_long_first_sentence_is_begun_before_its_end() -> None:
    phrases = EarlyPhrases()
    assert phrases.feed("It is mostly cloudy in Porto, with a light b") == ["It is mostly cloudy in Porto, "]
    assert phrases.feed("reeze. And ") == ["with a light breeze. "]
    assert phrases.flush() == ["And "]
