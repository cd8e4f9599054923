"""History stays valid, and holds what was heard."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sayso.history import Voiced, as_heard, cut_off, letters, reply_text, settled
from sayso.items import AssistantReply, Item, ToolCall, ToolOutput, UserInput, unanswered_calls

WORDS = st.text(alphabet="abcdé 你好.", min_size=1, max_size=12).filter(lambda text: any(map(str.isalnum, text)))


@st.composite
def turns(draw: st.DrawFn) -> list[Item]:
    """What a turn may have added when it is cut off: replies and calls in any order, some calls without an output."""
    items: list[Item] = [UserInput("hi")]
    for number in range(draw(st.integers(0, 4))):
        if draw(st.booleans()):
            items.append(AssistantReply(draw(WORDS)))
        calls = [ToolCall(f"c{number}_{index}", "t", {}) for index in range(draw(st.integers(0, 3)))]
        items += calls
        items += [ToolOutput(call.call_id, "t", "ok") for call in calls if draw(st.booleans())]
    return items


@given(turns())
def test_settling_answers_every_call_and_loses_nothing(items: list[Item]) -> None:
    done = settled(items)
    assert not unanswered_calls(done)
    assert [item for item in done if item in items] == items
    assert settled(done) == done


@given(
    st.lists(st.tuples(WORDS, st.integers(1, 900)), min_size=1, max_size=5), st.integers(0, 4000), st.integers(0, 4000)
)
def test_more_playing_is_more_heard(pieces: list[tuple[str, int]], first: int, second: int) -> None:
    voiced = [Voiced(text, length_ms) for text, length_ms in pieces]
    items: list[Item] = [AssistantReply(" ".join(text for text, _ in pieces))]
    less, more = (letters(reply_text(as_heard(items, voiced, played_ms))) for played_ms in sorted((first, second)))
    assert less <= more
    assert as_heard(items, voiced, sum(length_ms for _, length_ms in pieces)) == items


@given(st.lists(WORDS, min_size=1, max_size=5), st.integers(0, 3000))
def test_a_cut_reply_is_a_prefix_of_what_was_said(texts: list[str], played_ms: int) -> None:
    items: list[Item] = [UserInput("hi"), AssistantReply("".join(texts))]
    kept = as_heard(items, [Voiced(text, 500) for text in texts], played_ms)
    said = reply_text(kept)
    assert "".join(texts).strip().startswith(said.strip())
    if played_ms >= 500 * len(texts):
        assert kept == items
    elif played_ms == 0:
        assert kept == items[:1]


def test_a_filler_takes_time_and_says_nothing() -> None:
    items: list[Item] = [
        UserInput("hi"),
        ToolCall("c", "t", {}),
        ToolOutput("c", "t", "ok"),
        AssistantReply("It is nine."),
    ]
    assert as_heard(items, [Voiced("Well.", 700, filler=True), Voiced("It is nine.", 900)], 700) == items[:3]
    cut = as_heard(items, [Voiced("Well.", 700, filler=True), Voiced("It is nine.", 900)], 1300)
    assert cut[3] == AssistantReply("It is", interrupted=True)


def test_a_reply_that_was_only_read_is_kept_whole() -> None:
    items: list[Item] = [UserInput("hi"), AssistantReply("It is nine.")]
    assert as_heard(items, [], 0) == items


def test_where_the_words_of_the_sound_are_not_known_time_decides() -> None:
    items: list[Item] = [AssistantReply("one two three four")]
    (half,) = as_heard(items, [Voiced("", 500), Voiced("", 500)], 500)
    assert half == AssistantReply("one two", interrupted=True)


def test_chinese_is_cut_between_characters() -> None:
    items: list[Item] = [AssistantReply("现在是上午九点钟。")]
    (cut,) = as_heard(items, [Voiced("现在是上午九点钟。", 1800)], 1000)
    assert cut == AssistantReply("现在是上午", interrupted=True)


def test_a_turn_that_did_not_end_marks_its_last_words() -> None:
    items: list[Item] = [UserInput("hi"), AssistantReply("one two")]
    assert cut_off(items)[1] == AssistantReply("one two", interrupted=True)
    assert cut_off(items[:1]) == items[:1]
    assert cut_off([]) == []
