# ruff: noqa: E402 -- what is tested imports torch, so that comes first or the tests are skipped
"""Streams of speech tokens: lengths, chunks, seams, batches, cancellation. Tiny random weights."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs the extra step-audio")
pytest.importorskip("onnx", reason="needs the extra step-audio")

from sayso.errors import UsageError
from sayso.models.step_audio2.token2wav import Feed, Token2Wav, Voice, write_random
from sayso.models.step_audio2.token2wav.model import without_tf32
from sayso.models.step_audio2.token2wav.noise import SeededNoise
from sayso.models.step_audio2.token2wav.vocode import (
    HELD,
    LEFT,
    VocoderWork,
    blank_state,
    vocode,
    vocode_chunks,
)

FRAME = 480
SEEN_AHEAD = 20  # frames after which what follows no longer matters to the vocoder


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_random(tmp_path_factory.mktemp("token2wav"), tiny=True, seed=1)


@pytest.fixture(scope="module")
def model(folder):
    return Token2Wav.load(folder)


@pytest.fixture(scope="module")
def exact(folder):
    """The same weights in float64, where equal means equal."""
    return Token2Wav.load(folder, dtype=torch.float64)


@pytest.fixture(scope="module")
def voice(model):
    return model.voice("default_female")


def made_voice(tokens, seed=0):
    rng = np.random.default_rng(seed)
    return Voice(
        f"{tokens} {seed}",
        rng.integers(0, 6561, tokens),
        rng.standard_normal((2 * tokens, 80), np.float32),
        rng.standard_normal(192, np.float32),
    )


def spoken(tokens, seed=0):
    return np.random.default_rng([7, seed]).integers(0, 6561, tokens).tolist()


def streamed(stream, ids, step=9):
    parts = [stream.feed(ids[i : i + step]) for i in range(0, len(ids), step)]
    return np.concatenate([*parts, stream.flush()])


@settings(max_examples=10)
@given(cuts=st.lists(st.integers(0, 31), max_size=5), first=st.integers(1, 25))
def test_each_token_gives_960_samples_however_they_come(model, cuts, first):
    stream = model.stream(made_voice(5), first_chunk_tokens=first)
    parts = [stream.feed(spoken(n, seed)) for seed, n in enumerate(cuts)]
    parts.append(stream.flush())
    assert sum(len(part) for part in parts) == 960 * sum(cuts)
    assert all(part.dtype == np.float32 and np.isfinite(part).all() for part in parts)


@pytest.mark.parametrize("tokens", [1, 2, 3, 4, 27, 28, 29, 53, 100])
def test_whole_synthesis_has_960_samples_a_token(model, voice, tokens):
    assert model.synthesize(spoken(tokens), voice).shape == (960 * tokens,)


def test_nothing_said_is_no_sound(model, voice):
    assert model.synthesize([], voice).shape == (0,)
    stream = model.stream(voice)
    assert stream.feed([]).shape == stream.flush().shape == (0,)
    assert [len(s) for s in model.synthesize_batch([[], [5], []], [voice] * 3)] == [0, 960, 0]
    assert model.synthesize_batch([], []) == []


def test_how_tokens_are_handed_over_changes_nothing(model, voice):
    ids = spoken(70)
    expected = streamed(model.stream(voice, seed=3), ids, step=1)
    for step in (13, 28, 70):
        np.testing.assert_array_equal(streamed(model.stream(voice, seed=3), ids, step), expected)


def test_the_seed_decides(model, voice):
    ids = spoken(40)
    first = streamed(model.stream(voice, seed=1), ids)
    np.testing.assert_array_equal(streamed(model.stream(voice, seed=1), ids), first)
    assert np.abs(streamed(model.stream(voice, seed=2), ids) - first).max() > 1e-3
    np.testing.assert_array_equal(model.synthesize(ids, voice, seed=1), model.synthesize(ids, voice, seed=1))
    assert np.abs(model.synthesize(ids, voice, seed=2) - model.synthesize(ids, voice, seed=1)).max() > 1e-3


def test_the_first_sound_comes_after_28_tokens_or_sooner_with_a_short_first_chunk(model, voice):
    stream, ids = model.stream(voice), spoken(28)
    assert len(stream.feed(ids[:27])) == 0
    assert len(stream.feed(ids[27:])) == (50 - HELD) * FRAME
    stream = model.stream(voice, first_chunk_tokens=10)
    assert len(stream.feed(ids[:12])) == 0
    assert len(stream.feed(ids[12:13])) == (20 - HELD) * FRAME
    assert len(stream.feed(spoken(24))) == 0, "the next chunk is a whole one"
    assert len(stream.feed(spoken(1))) == 50 * FRAME


@pytest.mark.parametrize("tokens", [0, 26, -3])
def test_a_first_chunk_that_cannot_be_is_refused(model, voice, tokens):
    with pytest.raises(UsageError, match=f"first chunk of {tokens} tokens"):
        model.stream(voice, first_chunk_tokens=tokens)


@pytest.mark.parametrize("wrong", [-1, 6561, 151696, 1.0, True, "7", None])
def test_an_id_that_is_no_speech_token_is_refused_and_nothing_is_fed(model, voice, wrong):
    stream = model.stream(voice)
    stream.feed([1, 2])
    with pytest.raises(UsageError, match=r"at place 1 is no speech token.*0 to 6560"):
        stream.feed([3, wrong])
    with pytest.raises(UsageError, match="at place 0 is no speech token"):
        model.synthesize([wrong], voice)
    assert len(stream.flush()) == 2 * 960


def test_a_stream_that_has_ended_takes_no_more(model, voice):
    stream = model.stream(voice)
    stream.flush()
    for again in (lambda: stream.feed([1]), stream.flush):
        with pytest.raises(UsageError, match="has ended"):
            again()


def test_one_stream_is_fed_once_at_a_time(model, voice):
    stream = model.stream(voice)
    with pytest.raises(UsageError, match="fed twice"):
        model.advance([Feed(stream, (1,)), Feed(stream, (2,))])
    assert len(stream.flush()) == 0


def test_sequences_voices_and_seeds_have_to_match(model, voice):
    with pytest.raises(UsageError, match="2 sequences, 1 voices and 2 seeds"):
        model.synthesize_batch([[1], [2]], [voice])


@pytest.mark.parametrize("prompt", [1, 4, 60, 300])
def test_prompts_of_all_lengths(model, prompt):
    voice = made_voice(prompt)
    assert np.isfinite(streamed(model.stream(voice), spoken(60))).all()
    assert np.isfinite(model.synthesize(spoken(5), voice)).all()


def test_another_voice_sounds_otherwise(model):
    ids = spoken(30)
    female, male = (streamed(model.stream(name), ids) for name in model.default_voices)
    assert np.abs(female - male).max() > 1e-2


def test_what_a_stream_keeps_stops_growing(model, voice):
    stream = model.stream(voice)
    frames = []
    for second in range(5):
        stream.feed(spoken(28 if second == 0 else 25, second))
        frames.append(stream.flow.context_frames - len(voice.mel))
    assert frames == [50, 100, 100, 100, 100]
    assert len(stream.vocoder.mel) == HELD + LEFT


def test_streams_of_a_voice_share_its_prompt(model, voice):
    first, second = model.stream(voice), model.stream(voice)
    first.feed(spoken(28))
    assert first.flow.prompt.keys.data_ptr() == second.flow.prompt.keys.data_ptr()
    assert first.flow.recent.frames == 50
    assert second.flow.recent.frames == 0


# ---- streaming against the whole ------------------------------------------------------------------------------------


def mel_of(model, voice, tokens):
    generator = torch.Generator().manual_seed(2)
    smooth = torch.randn(1, 80, tokens // 5 + 2, generator=generator)
    mel = torch.nn.functional.interpolate(smooth, size=2 * tokens, mode="linear", align_corners=True)
    return mel[0].T.to(next(model.vocoder.parameters()).dtype)


def vocoded_in_chunks(model, mel, sizes, *, reference_faults=False):
    state, noise, parts = blank_state(mel.device, mel.dtype), SeededNoise(4), []
    for place, part in enumerate(mel.split(sizes)):
        work = VocoderWork(state, part, noise, last=place == len(sizes) - 1)
        ((samples, state),) = vocode_chunks(model.vocoder, [work], reference_faults=reference_faults)
        parts.append(samples)
    return torch.cat(parts)


def vocoded(model, mel):
    noise = SeededNoise(4).samples(len(mel) * FRAME).to(mel)
    return vocode(model.vocoder, mel[None], noise[None])[0]


@pytest.mark.parametrize("sizes", [[50, 50, 50, 30], [20, 50, 50, 60], [4, 6, 50, 50, 50, 20], [180]])
def test_the_vocoder_in_chunks_is_the_vocoder_at_once_but_for_the_frames_before_a_border(exact, sizes):
    mel = mel_of(exact, None, sum(sizes) // 2)
    whole, parts = vocoded(exact, mel), vocoded_in_chunks(exact, mel, sizes)
    assert len(parts) == len(whole)
    error = (parts - whole).abs()
    near = torch.zeros(len(mel), dtype=torch.bool)
    for border in np.cumsum(sizes)[:-1]:
        near[max(0, border - SEEN_AHEAD) : border] = True
    away = ~near.repeat_interleave(FRAME)
    assert error[away].max() < 1e-9
    assert error.max() < 0.25 * whole.abs().max()


def test_the_reference_s_way_to_join_chunks_leaves_seams_that_ours_does_not(exact):
    mel = mel_of(exact, None, 100)
    whole, sizes = vocoded(exact, mel), [50, 50, 50, 50]
    ours = (vocoded_in_chunks(exact, mel, sizes) - whole).square().mean().sqrt()
    theirs = (vocoded_in_chunks(exact, mel, sizes, reference_faults=True) - whole).square().mean().sqrt()
    assert ours < 0.05 * whole.std()
    assert theirs > 5 * ours


def flux(samples):
    """How much the spectrum changes from one 10 ms to the next."""
    window = torch.hann_window(512, dtype=samples.dtype)
    spectrum = torch.stft(samples, 512, 240, window=window, return_complex=True).abs().clamp(min=1e-7).log()
    return spectrum.diff(dim=1).clamp(min=0).square().mean(dim=0).sqrt()


def test_there_is_no_click_where_chunks_meet(model, voice):
    ids = spoken(200)
    change = flux(torch.from_numpy(streamed(model.stream(voice, seed=1), ids)))
    seams = torch.zeros(len(change), dtype=torch.bool)
    for border in range(50, 400, 50):
        # Two steps of 10 ms a frame; a seam is from where frames are blended to right behind the border.
        seams[2 * (border - HELD) - 2 : 2 * border + 3] = True
    at, inside = change[seams], change[~seams]
    assert at.mean() < 1.15 * inside.mean()
    assert at.max() < 1.15 * inside.max()


def test_a_stream_is_close_to_the_whole(model, voice):
    """The flow model of a stream cannot see what is still to come, so the two differ, but they say the same."""
    ids = spoken(120)
    whole, stream = model.synthesize(ids, voice, seed=5), streamed(model.stream(voice, seed=5), ids)
    assert np.abs(whole - stream).mean() < 0.25 * np.abs(whole).mean()
    assert np.corrcoef(whole, stream)[0, 1] > 0.95


# ---- several sessions -----------------------------------------------------------------------------------------------


def test_streams_run_together_are_as_they_are_alone(exact):
    voices = [made_voice(7, 1), made_voice(40, 2), exact.voice("default_male")]
    ids = [spoken(83, seed) for seed in range(3)]
    alone = [streamed(exact.stream(v, seed=s), i) for s, (v, i) in enumerate(zip(voices, ids, strict=True))]
    streams = [exact.stream(v, seed=s) for s, v in enumerate(voices)]
    parts = [exact.advance([Feed(s, tuple(i[a : a + 10])) for s, i in zip(streams, ids, strict=True)])
             for a in range(0, 83, 10)]  # fmt: skip
    parts.append(exact.advance([Feed(s, last=True) for s in streams]))
    for row, expected in enumerate(alone):
        found = np.concatenate([part[row] for part in parts])
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_whole_sequences_together_are_as_they_are_alone(exact):
    voices = [made_voice(7, 1), made_voice(40, 2), made_voice(21, 3)]
    ids = [spoken(n, n) for n in (30, 1, 17)]
    together = exact.synthesize_batch(ids, voices, seeds=[4, 5, 6])
    for found, i, v, s in zip(together, ids, voices, (4, 5, 6), strict=True):
        np.testing.assert_allclose(found, exact.synthesize(i, v, seed=s), atol=1e-6)


def test_sessions_in_turn_do_not_influence_each_other(model, voice):
    ids, other = spoken(90, 1), spoken(90, 2)
    alone = streamed(model.stream(voice, seed=1), ids, 15)
    stream, second, parts = model.stream(voice, seed=1), model.stream(made_voice(20), seed=1), []
    for start in range(0, 90, 15):
        second.feed(other[start : start + 15])
        parts.append(stream.feed(ids[start : start + 15]))
    second.flush()
    np.testing.assert_array_equal(np.concatenate([*parts, stream.flush()]), alone)


class CancelsWhileRun(SeededNoise):
    """Numbers whose drawing, in the middle of a chunk, is when somebody else cancels streams."""

    def __init__(self, seed):
        super().__init__(seed)
        self.streams = []

    def frames(self, count, offset):
        for stream in self.streams:
            stream.cancel()
        return super().frames(count, offset)


def test_a_stream_cancelled_in_the_middle_of_a_chunk_leaves_the_others_as_they_were(model, voice):
    def run(cancelled):
        noise = CancelsWhileRun(1)
        streams = [model.stream(voice, seed=0), model.stream(voice, noise=noise), model.stream(voice, seed=2)]
        parts = [model.advance([Feed(s, tuple(spoken(28, k))) for k, s in enumerate(streams)])]
        if cancelled:
            noise.streams = [streams[1]]
        for _ in range(2):
            parts.append(model.advance([Feed(s, tuple(spoken(25, 9 + k))) for k, s in enumerate(streams)]))
        return [[part[row] for part in parts] for row in range(3)]

    kept, cut = run(False), run(True)
    np.testing.assert_array_equal(cut[0][1], kept[0][1])
    np.testing.assert_array_equal(cut[2][1], kept[2][1])
    np.testing.assert_allclose(cut[0][2], kept[0][2], atol=1e-4)  # now a batch of two
    assert [len(part) for part in cut[1]] == [(50 - HELD) * FRAME, 0, 0]


def test_a_chunk_that_nobody_waits_for_is_given_up(model, voice, monkeypatch):
    noise = CancelsWhileRun(1)
    stream = model.stream(voice, noise=noise)
    stream.feed(spoken(28))
    before, noise.streams = stream.flow, [stream]
    calls = []
    monkeypatch.setattr(
        model.flow.decoder.estimator, "forward", lambda *a: calls.append(a) or pytest.fail("it was run")
    )
    assert len(stream.feed(spoken(25))) == 0
    assert stream.cancelled
    assert stream.flow is before
    assert calls == []
    assert len(stream.flush()) == 0


def test_a_chunk_that_fails_changes_no_stream(model, voice, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("out of memory")

    streams = [model.stream(voice, seed=seed) for seed in (1, 2)]
    before = [(stream.flow, stream.vocoder) for stream in streams]
    expected = streamed(model.stream(voice, seed=2), spoken(60, 3), 60)
    with monkeypatch.context() as patch:
        patch.setattr("sayso.models.step_audio2.token2wav.stream.vocode_chunks", fail)
        with pytest.raises(RuntimeError, match="out of memory"):
            streams[0].feed(spoken(28))
    assert [(stream.flow, stream.vocoder) for stream in streams] == before
    np.testing.assert_array_equal(streamed(streams[1], spoken(60, 3), 60), expected)


# ---- fixed shapes and precision -------------------------------------------------------------------------------------


def test_fixed_shapes_give_the_same_and_are_few(folder, exact):
    fixed = Token2Wav.load(folder, dtype=torch.float64, fixed_shapes=True)
    voices, ids = [made_voice(9), made_voice(70)], spoken(110)
    for voice in voices:
        expected = streamed(exact.stream(voice, seed=2), ids)
        np.testing.assert_allclose(streamed(fixed.stream(voice, seed=2), ids), expected, atol=1e-6)
    shapes = fixed.flow.use_fixed_shapes().shapes
    assert {frames % 128 for _, _, frames in shapes} == {0}
    assert len(shapes) <= 6


def test_at_fixed_shapes_streams_run_in_powers_of_two(folder, exact):
    fixed = Token2Wav.load(folder, dtype=torch.float64, fixed_shapes=True)
    voices, ids = [made_voice(9 + k, k) for k in range(5)], spoken(28)
    found = fixed.advance([Feed(fixed.stream(v, seed=k), tuple(ids)) for k, v in enumerate(voices)])
    for k, voice in enumerate(voices):
        np.testing.assert_allclose(found[k], exact.stream(voice, seed=k).feed(ids), atol=1e-6)
    assert sorted(rows for rows, _, _ in fixed.flow.use_fixed_shapes().shapes) == [2, 8]


def test_a_warm_model_has_all_shapes_that_a_stream_needs(folder, voice):
    fixed = Token2Wav.load(folder, fixed_shapes=True)
    fixed.warm_up(voice, first_chunk_tokens=10)
    ready = set(fixed.flow.use_fixed_shapes().shapes)
    fixed.stream(voice, first_chunk_tokens=10).feed(spoken(150))
    assert set(fixed.flow.use_fixed_shapes().shapes) == ready


def test_tf32_is_off_on_a_gpu_while_it_runs_and_as_it_was_afterwards():
    conv = torch.backends.cudnn.conv
    before = conv.fp32_precision
    with without_tf32(torch.device("cuda")):
        assert conv.fp32_precision == "ieee"
    assert conv.fp32_precision == before
    with without_tf32(torch.device("cpu")):
        assert conv.fp32_precision == before


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_says_the_same(folder, model, dtype):
    half = Token2Wav.load(folder, dtype=dtype)
    voice, ids = made_voice(12), spoken(40)
    expected, found = (streamed(m.stream(voice), ids) for m in (model, half))
    assert np.isfinite(found).all()
    assert np.corrcoef(found, expected)[0, 1] > 0.9


def test_an_autocast_around_it_changes_nothing(model, voice):
    ids = spoken(10)
    expected = model.synthesize(ids, voice)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        np.testing.assert_array_equal(model.synthesize(ids, voice), expected)
