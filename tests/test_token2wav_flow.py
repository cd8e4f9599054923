# ruff: noqa: E402 -- what is tested imports torch, so that comes first or the tests are skipped
"""The flow model in chunks is the flow model over all frames under a mask; sizes of the public files."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra step-audio")
from torch.nn import functional as F

from sayso.models.step_audio2.token2wav import acoustics
from sayso.models.step_audio2.token2wav.conformer import StackCache, sinusoids
from sayso.models.step_audio2.token2wav.flow import Flow, Prompt, Window
from sayso.models.step_audio2.token2wav.hift import Vocoder
from sayso.models.step_audio2.token2wav.random_weights import randomised
from sayso.models.step_audio2.token2wav.s3 import SpeechTokenizer, token_count
from sayso.models.step_audio2.token2wav.sizes import TINY_FLOW, FlowSizes, HiftSizes, S3Sizes
from sayso.models.step_audio2.token2wav.source import Source, frame_cycles

EVERYTHING = Window(frames=10_000)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def flow():
    return randomised(Flow(TINY_FLOW), 1).double()


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def prompt(tokens, seed=0):
    ids = torch.randint(0, 6561, (tokens,), generator=torch.Generator().manual_seed(seed))
    return Prompt(ids, numbers(2 * tokens, 80, seed=seed), numbers(192, seed=seed))


@pytest.mark.parametrize(
    ("module", "sizes", "tensors", "parameters"),
    [
        (Flow, FlowSizes(), 605, 155_802_352),
        (Vocoder, HiftSizes(), 328, 20_821_295),
        (SpeechTokenizer, S3Sizes(), 102, 123_714_568),
    ],
)
def test_the_public_sizes_have_the_public_numbers_of_weights(module, sizes, tensors, parameters):
    with torch.device("meta"):
        state = module(sizes).state_dict()
    assert len(state) == tensors
    assert sum(value.numel() for value in state.values()) == parameters


def test_the_names_are_those_of_the_public_files():
    with torch.device("meta"):
        flow, vocoder = Flow(FlowSizes()).state_dict(), Vocoder(HiftSizes()).state_dict()
    shapes = {
        "input_embedding.weight": (6561, 512),
        "encoder.pre_lookahead_layer.conv1.weight": (512, 512, 4),
        "encoder.up_layer.conv.weight": (512, 512, 5),
        "encoder.up_encoders.3.self_attn.pos_bias_v": (8, 64),
        "decoder.estimator.t_embedder.mlp.0.weight": (512, 256),
        "decoder.estimator.blocks.15.conv.block.6.weight": (512, 512, 3),
        "decoder.estimator.blocks.0.adaLN_modulation.1.weight": (4608, 512),
        "decoder.estimator.final_layer.linear.weight": (80, 512),
    }
    for name, shape in shapes.items():
        assert tuple(flow[name].shape) == shape
    assert tuple(vocoder["conv_pre.parametrizations.weight.original1"].shape) == (512, 80, 7)
    assert tuple(vocoder["source_downs.0.weight"].shape) == (256, 18, 30)


def in_chunks(flow, voice, tokens, noise, sizes, window=EVERYTHING):
    """Streams with the prompt's state; `sizes` in tokens, the last chunk takes what is left."""
    frames = 2 * len(voice.tokens)
    state, mels, start = flow.prime(voice, noise[:frames]), [], 0
    for size in [*sizes, None]:
        stop = len(tokens) if size is None else start + size
        chunk = tokens[start:] if size is None else tokens[start : stop + 3]
        part = noise[frames + 2 * start : frames + 2 * stop]
        mel, (state,) = flow.chunk([state], chunk[None], part[None], last=size is None, window=window)
        mels.append(mel[0])
        start = stop
    return torch.cat(mels), state


def estimator_under_mask(flow, conditions, noise, borders):
    """All frames at once: each sees its own chunk and those before."""
    chunk_of = torch.zeros(len(noise), dtype=torch.long)
    for border in borders:
        chunk_of[border:] += 1
    mask = (chunk_of[None, :] <= chunk_of[:, None])[None, None]
    estimator, x = flow.decoder.estimator, noise[None]
    both = torch.cat([conditions[None], torch.zeros_like(conditions[None])])
    times = 1 - torch.cos(torch.linspace(0, 1, 11, dtype=torch.float64) * torch.pi / 2)

    def masked(query, key, value, attn_mask=None):
        scores = query @ key.transpose(2, 3) / query.shape[3] ** 0.5
        return scores.masked_fill(~mask, float("-inf")).softmax(3) @ value

    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setattr(F, "scaled_dot_product_attention", masked)
        for step, modulation in enumerate(estimator.modulations(times[:-1].float())):
            out, _ = estimator(torch.cat([torch.cat([x, x]), both], dim=2), modulation, None)
            x = x + (times[step + 1] - times[step]) * (1.7 * out[:1] - 0.7 * out[1:])
    return x[0]


@pytest.mark.parametrize("sizes", [[25, 25], [4, 25, 9], [1, 1, 1]])
def test_chunks_see_what_came_before_and_themselves(flow, sizes, monkeypatch):
    voice, tokens = prompt(11), torch.randint(0, 6561, (sum(sizes) + 7,), generator=torch.Generator().manual_seed(9))
    noise = numbers(2 * (11 + len(tokens)), 80, seed=3)
    seen = []
    kept = flow.encoder_proj.forward
    monkeypatch.setattr(flow.encoder_proj, "forward", lambda x: seen.append(kept(x)) or seen[-1])
    found, _ = in_chunks(flow, voice, tokens, noise, sizes)
    encoded = torch.cat([part[0] for part in seen])
    known = torch.cat([voice.mel, torch.zeros(2 * len(tokens), 80, dtype=torch.float64)])
    speaker = flow.spk_embed_affine_layer(F.normalize(voice.speaker.float(), dim=0).double())
    conditions = torch.cat([encoded, speaker.expand(len(noise), -1), known], dim=1)
    borders = [22, *(22 + 2 * np.cumsum(sizes)).tolist()]
    expected = estimator_under_mask(flow, conditions, noise, borders)[22:]
    torch.testing.assert_close(found, expected, atol=1e-8, rtol=1e-7)


def test_the_encoder_in_chunks_is_the_encoder_over_all_where_everything_is_one_chunk(flow):
    x = numbers(2, 40, TINY_FLOW.hidden)
    whole = flow.encoder(x, torch.tensor([40, 40]))
    part, _ = flow.encoder.chunk(x, [None, None], last=True)
    torch.testing.assert_close(part, whole, atol=1e-10, rtol=1e-8)


def test_padding_changes_no_encoding(flow):
    x = numbers(2, 40, TINY_FLOW.hidden)
    together = flow.encoder(x, torch.tensor([40, 23]))[1, :46]
    alone = flow.encoder(x[1:, :23], torch.tensor([23]))[0]
    torch.testing.assert_close(together, alone, atol=1e-10, rtol=1e-8)


def test_a_later_chunk_changes_no_earlier_one_and_old_ones_matter(flow):
    voice = prompt(5)
    tokens = torch.arange(60)
    noise = numbers(2 * 65, 80)
    mel, _ = in_chunks(flow, voice, tokens, noise, [25])
    other = torch.cat([tokens[:28], tokens[28:] + 100])
    changed, _ = in_chunks(flow, voice, other, noise, [25])
    torch.testing.assert_close(changed[:50], mel[:50], atol=0, rtol=0)
    assert (changed[50:] - mel[50:]).abs().max() > 1e-3
    changed, _ = in_chunks(flow, voice, torch.cat([tokens[:20] + 100, tokens[20:]]), noise, [25])
    assert (changed[50:] - mel[50:]).abs().max() > 1e-3


def test_the_window_keeps_the_prompt_and_the_newest(flow):
    voice, tokens, noise = prompt(5), torch.arange(100), numbers(2 * 105, 80)
    _, state = in_chunks(flow, voice, tokens, noise, [25, 25, 25])
    _, cut = in_chunks(flow, voice, tokens, noise, [25, 25, 25], Window(frames=60, tokens=30))
    assert state.context_frames == 10 + 200
    assert cut.context_frames == 10 + 60
    torch.testing.assert_close(cut.prompt.keys, state.prompt.keys, atol=0, rtol=0)
    assert cut.encoder.tokens.positions.tolist() == [*range(5), *range(75, 105)]
    assert cut.encoder.frames.positions.tolist() == [*range(10), *range(150, 210)]


def test_frames_out_of_the_window_matter_little(flow):
    voice, noise = prompt(5), numbers(2 * 105, 80)
    window = Window(frames=40, tokens=20)
    tokens = torch.arange(100)
    far, near = tokens.clone(), tokens.clone()
    far[:3] += 500  # far enough: neither the window nor a convolution reaches from here into the last chunk
    near[60:63] += 500
    last = slice(150, None)
    mel, _ = in_chunks(flow, voice, tokens, noise, [25, 25, 25], window)
    from_near, _ = in_chunks(flow, voice, near, noise, [25, 25, 25], window)
    assert (from_near[last] - mel[last]).abs().max() > 1e-4
    first, _ = in_chunks(flow, voice, far, noise, [25, 25, 25], window)
    # What is far away still acts through frames between: less, with every chunk.
    assert (first[last] - mel[last]).abs().max() < 0.5 * (first[:50] - mel[:50]).abs().max()


def test_a_stack_keeps_first_and_last_with_their_positions():
    cache = StackCache(numbers(2, 1, 6, 4), numbers(2, 1, 6, 4, seed=1), torch.arange(6))
    kept = cache.trimmed(2, 3)
    assert kept.positions.tolist() == [0, 1, 3, 4, 5]
    torch.testing.assert_close(kept.keys, cache.keys[:, :, [0, 1, 3, 4, 5]], atol=0, rtol=0)
    assert cache.trimmed(3, 3) is cache


def test_sinusoids_are_odd_and_even():
    table = sinusoids(torch.arange(-3, 4), 8)
    torch.testing.assert_close(table[:3].flip(0)[:, 0::2], -table[4:][:, 0::2])
    torch.testing.assert_close(table[:3].flip(0)[:, 1::2], table[4:][:, 1::2])


# ---- the excitation and the acoustics -------------------------------------------------------------------------------


def test_the_excitation_goes_on_where_it_was_left():
    source = randomised(Source(), 0).double()
    pitch, noise = 80 + 100 * torch.rand(1, 60, dtype=torch.float64), numbers(1, 60 * 480, 9)
    whole = source(pitch, noise)
    start = frame_cycles(pitch, None)[:, 24]
    rest = source(pitch[:, 25:], noise[:, 25 * 480 :], start.remainder(1.0))
    # The first half frame is drawn towards the frame before, which the rest does not know.
    torch.testing.assert_close(rest[:, :, 240:], whole[:, :, 25 * 480 + 240 :], atol=1e-9, rtol=1e-9)


def test_an_unvoiced_excitation_is_noise_alone():
    source = randomised(Source(), 0).double()
    noise = numbers(1, 10 * 480, 9)
    quiet = source(torch.full((1, 10), 9.9, dtype=torch.float64), noise)
    torch.testing.assert_close(quiet, torch.tanh(source.l_linear(noise * 0.1 / 3)).transpose(1, 2))


@pytest.mark.parametrize(("before", "after"), [(48_000, 16_000), (44_100, 24_000), (8_000, 24_000), (24_000, 24_000)])
def test_resampling_keeps_a_tone(before, after):
    wave = torch.sin(2 * torch.pi * 440 * torch.arange(before) / before)
    out = acoustics.resample(wave, before, after)
    expected = torch.sin(2 * torch.pi * 440 * torch.arange(after) / after)
    assert len(out) == after
    inside = slice(after // 20, -after // 20)
    assert (out - expected)[inside].abs().max() < 5e-3


def test_resampling_takes_away_what_the_new_rate_cannot_hold():
    wave = torch.sin(2 * torch.pi * 11_000 * torch.arange(48_000) / 48_000)
    assert acoustics.resample(wave, 48_000, 16_000)[500:-500].abs().max() < 0.02


@pytest.mark.parametrize(("samples", "tokens"), [(144_640, 226), (123_200, 193), (16_000, 25), (8_000, 13)])
def test_a_token_is_40_ms_of_a_clip(samples, tokens):
    mel = acoustics.log_mel(torch.full((samples,), 0.1))
    assert mel.shape == (128, samples // 160)
    assert token_count(mel.shape[1]) == tokens
