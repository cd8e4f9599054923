"""Text and sound in one stream: round trips, cuts, slips, lines that are spoken as they stand."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("tokenizers", reason="the extra step-audio is not installed")

from sayso.errors import UsageError
from sayso.models.step_audio2.interleave import (
    Part,
    Splitter,
    SpokenLine,
    build,
    closed,
    split,
    up_to_code,
    up_to_text,
)
from sayso.models.step_audio2.tokenizer import Tokenizer

EOT, CALL, CALL_END, TTS_START, TTS_END, TTS_PAD, AUDIO_0, AUDIO_PAD = (
    151665, 151657, 151658, 151693, 151694, 151695, 151696, 158257
)  # fmt: skip


def random_stream(rng: random.Random) -> tuple[list[int], list[int], list[int]]:
    text = [rng.randrange(151643) for _ in range(rng.choice([0, 1, 2, 7, 30]))]
    codes = [rng.randrange(6561) for _ in range(rng.choice([0, 1, 3, 4, 5, 29, 120]))]
    after = rng.choice([[], [rng.randrange(151643)], [CALL, *(rng.randrange(151643) for _ in range(9)), CALL_END]])
    return text, codes, after


def test_a_thousand_random_streams_come_back(step_tokenizer: Tokenizer) -> None:
    rng = random.Random(4)
    for _ in range(1000):
        text, codes, after = random_stream(rng)
        ids = build(step_tokenizer, text, codes, after)
        found = split(step_tokenizer, [*ids, EOT])
        assert (list(found.text), list(found.codes), list(found.after)) == (text, codes, after)
        assert found.ended
        assert found.stopped
        speech = ids[: ids.index(TTS_END)]
        assert len(speech) == 5 * max(len(text), -(-len(codes) // 4))
        for at, token_id in enumerate(speech):
            assert (token_id < 151643 or token_id == TTS_PAD) == (at % 5 == 0)


def test_groups_and_pads_are_where_the_specification_has_them(step_tokenizer: Tokenizer) -> None:
    code = [AUDIO_0 + k for k in range(6)]
    assert build(step_tokenizer, [7], range(6)) == [7, *code[:4], TTS_PAD, *code[4:], AUDIO_PAD, AUDIO_PAD, TTS_END]
    assert build(step_tokenizer, [7, 8], range(4)) == [7, *code[:4], 8, *[AUDIO_PAD] * 4, TTS_END]
    assert build(step_tokenizer, [], [], [5]) == [TTS_END, 5]


def test_a_stream_may_be_cut_anywhere(step_tokenizer: Tokenizer) -> None:
    rng = random.Random(5)
    for _ in range(50):
        text, codes, after = random_stream(rng)
        ids = [*build(step_tokenizer, text, codes, after), EOT]
        for cut in range(0, len(ids), 3):
            found = split(step_tokenizer, ids[:cut])
            assert list(found.text) == text[: len(found.text)]
            assert list(found.codes) == codes[: len(found.codes)]
            assert not found.stopped
            whole = closed(step_tokenizer, ids[:cut], speaking=True)
            again = split(step_tokenizer, whole)
            assert again.text == found.text
            assert again.codes == found.codes
            assert again.stopped
            assert whole.count(CALL) == whole.count(CALL_END)
        assert closed(step_tokenizer, ids, speaking=True) == tuple(ids)


@given(st.lists(st.sampled_from([EOT, CALL, CALL_END, TTS_START, TTS_END, TTS_PAD, AUDIO_0, AUDIO_PAD, 5, 151690])))
@settings(max_examples=200)
def test_nothing_of_a_call_is_ever_heard(step_tokenizer: Tokenizer, ids: list[int]) -> None:
    splitter = Splitter(step_tokenizer, speaking=True)
    inside = False
    for token_id in ids:
        part = splitter.feed(token_id)
        inside = token_id == CALL or (inside and token_id not in (CALL_END, EOT))
        assert splitter.in_call == inside
        if inside:
            assert part is None or part.kind in ("call", "tts_end")


def test_each_id_is_told_apart(step_tokenizer: Tokenizer) -> None:
    splitter = Splitter(step_tokenizer)
    stream = [9, TTS_START, 10, AUDIO_0 + 3, AUDIO_PAD, TTS_PAD, TTS_END, 11, CALL, 12, AUDIO_0, CALL_END, 13, EOT]
    assert [splitter.feed(token_id) for token_id in stream] == [
        Part("written", 9),
        Part("tts_start", TTS_START),
        Part("spoken", 10),
        Part("code", 3),
        None,
        None,
        Part("tts_end", TTS_END),
        Part("written", 11),
        Part("call", CALL),
        Part("call", 12),
        None,
        Part("call", CALL_END),
        Part("written", 13),
        Part("stop", EOT),
    ]


def test_text_that_spells_a_call_is_none(step_tokenizer: Tokenizer) -> None:
    ids = step_tokenizer.encode("<tool_call>function\nopen_door\n{}</tool_call>")
    assert split(step_tokenizer, ids).after == ()
    assert list(split(step_tokenizer, ids).text) == ids


def test_a_call_inside_speech_ends_it(step_tokenizer: Tokenizer) -> None:
    found = split(step_tokenizer, [7, AUDIO_0, CALL, 8, AUDIO_0 + 1, CALL_END, EOT])
    assert found.codes == (0,)
    assert found.after == (CALL, 8, CALL_END)
    assert found.ended


def test_what_was_heard_ends_with_the_last_code_that_played(step_tokenizer: Tokenizer) -> None:
    ids = build(step_tokenizer, [1, 2, 3], range(12))
    assert up_to_code(step_tokenizer, ids, 0) == ()
    assert up_to_code(step_tokenizer, ids, 5) == tuple(ids[:7])
    assert up_to_code(step_tokenizer, ids, 12) == tuple(ids[:15])
    assert up_to_code(step_tokenizer, ids, 99) == tuple(ids)


def test_what_was_heard_ends_with_the_group_of_the_last_word(step_tokenizer: Tokenizer) -> None:
    words = step_tokenizer.encode("One, two, three, four.")
    ids = build(step_tokenizer, words, range(4 * len(words)))
    heard = up_to_text(step_tokenizer, ids, "One two")
    assert step_tokenizer.decode(split(step_tokenizer, heard).text) == "One, two"
    assert len(heard) % 5 == 0
    assert up_to_text(step_tokenizer, ids, "One, two, three, four") == tuple(ids[: 5 * (len(words) - 1)])


@pytest.mark.parametrize(("text", "codes"), [([1], [6561]), ([1], [-1]), ([151665], [1]), ([AUDIO_0], [])])
def test_what_is_no_speech_is_refused(step_tokenizer: Tokenizer, text: list[int], codes: list[int]) -> None:
    with pytest.raises(UsageError):
        build(step_tokenizer, text, codes)


def test_a_line_is_spoken_word_for_word_whatever_the_model_wants(step_tokenizer: Tokenizer) -> None:
    torch = pytest.importorskip("torch", reason="the extra step-audio is not installed")
    from sayso.engine.masks import allowed

    vocab = 158720
    line = step_tokenizer.encode("Your timer is up. 好的！")
    generator = torch.Generator().manual_seed(0)
    for run in range(4):
        guide = SpokenLine(step_tokenizer, line, vocab)
        ids: list[int] = []
        while not ids or ids[-1] != EOT:
            constraint = guide.constraint()
            if isinstance(constraint, int):
                ids.append(constraint)
            else:
                logits = torch.randn(vocab, generator=generator)
                logits[AUDIO_PAD] += 4 * run  # eager to end, or not
                logits[TTS_END] += run - 2
                ids.append(int(logits.masked_fill(~allowed(constraint[None], vocab)[0], -1e9).argmax()))
            guide.accept(ids[-1])
            assert len(ids) < 2000
        found = split(step_tokenizer, ids)
        assert list(found.text) == line
        assert len(found.codes) >= 4 * len(line)
        assert found.after == ()
        assert found.ended
        assert build(step_tokenizer, found.text, found.codes) == ids[:-1]
