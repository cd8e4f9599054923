# ruff: noqa: E402 -- what is tested imports torch, so that comes first or the tests are skipped
"""The audio encoder and adaptor: against Qwen2-Audio and plain formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sayso.errors import AudioError, ModelError

torch = pytest.importorskip("torch")
from torch.nn import functional

from sayso.models.step_audio2.config import StepAudio2Config
from sayso.models.step_audio2.encoder import AUDIO_START, AudioEncoder, splice
from sayso.models.step_audio2.features import embedding_count, frame_count
from sayso.models.step_audio2.networks import Networks
from sayso.models.step_audio2.random_weights import random_networks

TINY = StepAudio2Config.tiny(vocab_size=64)
EXACT = 1e-5  # float32; the embeddings are around 1
RENAMED = (
    ("positional_embedding", "embed_positions"),
    ("blocks", "layers"),
    ("attn.query", "self_attn.q_proj"),
    ("attn.key", "self_attn.k_proj"),
    ("attn.value", "self_attn.v_proj"),
    ("attn.out", "self_attn.out_proj"),
    ("attn_ln", "self_attn_layer_norm"),
    ("mlp.0", "fc1"),
    ("mlp.2", "fc2"),
    ("mlp_ln", "final_layer_norm"),
    ("after_norm", "layer_norm"),
)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def networks() -> Networks:
    return random_networks(TINY, dtype=torch.float32)


@pytest.fixture(scope="module")
def encoder(networks: Networks) -> AudioEncoder:
    return networks.encoder


def random_mel(frames: int, seed: int = 0) -> Any:
    return torch.randn(128, frames, generator=torch.Generator().manual_seed(seed))


def noise(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * 16_000))).astype(np.float32)


def encode(encoder: AudioEncoder, mel: Any) -> Any:
    """One piece alone."""
    with torch.no_grad():
        return encoder(mel[None], torch.tensor([mel.shape[1]]))[0, : embedding_count(mel.shape[1])]


def adapt(tensors: dict[str, Any], x: Any) -> Any:
    """The adaptor in the reference's formulas: (time, width) -> (time', hidden)."""
    x = functional.conv1d(x.T[None], tensors["adapter.conv.weight"], tensors["adapter.conv.bias"], stride=2, padding=1)
    x = functional.gelu(x)[0].T
    x = (x @ tensors["adapter.linear1.weight"].T + tensors["adapter.linear1.bias"]).clamp(min=0)
    return x @ tensors["adapter.linear2.weight"].T + tensors["adapter.linear2.bias"]


def by_transformers(networks: Networks, mel: Any) -> Any:
    """One piece of an even number of frames through transformers' Qwen2AudioEncoder, then the adaptor's formulas."""
    audio = pytest.importorskip("transformers.models.qwen2_audio.modeling_qwen2_audio")
    sizes, frames = networks.config.encoder, mel.shape[1]
    config = audio.Qwen2AudioEncoderConfig(
        num_mel_bins=sizes.mel_bins,
        d_model=sizes.width,
        encoder_layers=sizes.layers,
        encoder_attention_heads=sizes.heads,
        encoder_ffn_dim=4 * sizes.width,
        max_source_positions=frames // 2,  # it takes pieces of exactly twice its positions
    )
    oracle = audio.Qwen2AudioEncoder(config).eval()
    tensors = networks.checkpoint_tensors()
    renamed: dict[str, Any] = {}
    for name, tensor in tensors.items():
        if name.startswith("encoder."):
            short = name.removeprefix("encoder.")
            for ours, theirs in RENAMED:
                short = short.replace(ours, theirs)
            renamed[short] = tensor[: frames // 2] if name.endswith("positional_embedding.weight") else tensor
    assert not oracle.load_state_dict(renamed, strict=False).unexpected_keys
    mask = torch.zeros(1, 1, 1, frames // 2)
    mask[..., (frames - 2) // 2 :] = -1e10  # two frames are taken off, so the last position is no key
    with torch.no_grad():
        hidden = oracle(mel[None], attention_mask=mask).last_hidden_state[0]
    return adapt(tensors, hidden)[: embedding_count(frames)]


def by_formula(networks: Networks, mel: Any) -> Any:
    """One piece of any length, written down as the specification has it, with convolutions and softmax spelled out."""
    tensors, sizes, frames = networks.checkpoint_tensors(), networks.config.encoder, mel.shape[1]
    part = {name.removeprefix("encoder."): tensor for name, tensor in tensors.items()}
    x = functional.gelu(functional.conv1d(mel[None], part["conv1.weight"], part["conv1.bias"], padding=1))
    x = functional.gelu(functional.conv1d(x, part["conv2.weight"], part["conv2.bias"], stride=2, padding=1))[0].T
    x = x + part["positional_embedding.weight"][: len(x)]
    heard = (torch.arange(frames) < frames - 2)[(frames + 1) % 2 :: 2]
    bias = (~heard).float() * -1e10
    for layer in range(sizes.layers):
        own = {name.removeprefix(f"blocks.{layer}."): one for name, one in part.items()}
        normed = functional.layer_norm(x, x.shape[1:], own["attn_ln.weight"], own["attn_ln.bias"])
        query = normed @ own["attn.query.weight"].T + own["attn.query.bias"]
        key = normed @ own["attn.key.weight"].T
        value = normed @ own["attn.value.weight"].T + own["attn.value.bias"]
        width = sizes.width // sizes.heads
        heads = []
        for first in range(0, sizes.width, width):
            one = slice(first, first + width)
            scores = (query[:, one] * width**-0.25) @ (key[:, one] * width**-0.25).T + bias
            heads.append(scores.softmax(-1) @ value[:, one])
        x = x + torch.cat(heads, 1) @ own["attn.out.weight"].T + own["attn.out.bias"]
        normed = functional.layer_norm(x, x.shape[1:], own["mlp_ln.weight"], own["mlp_ln.bias"])
        inner = functional.gelu(normed @ own["mlp.0.weight"].T + own["mlp.0.bias"])
        x = x + inner @ own["mlp.2.weight"].T + own["mlp.2.bias"]
    pooled = functional.avg_pool1d(x.T[None], 2, 2)[0].T
    normed = functional.layer_norm(pooled, x.shape[1:], part["after_norm.weight"], part["after_norm.bias"])
    return adapt(tensors, normed)[: embedding_count(frames)]


def distance(one: Any, other: Any) -> float:
    assert one.shape == other.shape
    return float((one - other).abs().max())


@pytest.mark.parametrize("frames", [6, 8, 40, 302, 304, 1000])
def test_it_is_the_encoder_of_transformers(networks: Networks, frames: int) -> None:
    mel = random_mel(frames)
    assert distance(encode(networks.encoder, mel), by_transformers(networks, mel)) < EXACT


@pytest.mark.parametrize("frames", [*range(5, 24), 301, 302, 303, 304, 305])
def test_it_is_the_formulas_at_every_length(networks: Networks, frames: int) -> None:
    mel = random_mel(frames)
    assert distance(encode(networks.encoder, mel), by_formula(networks, mel)) < EXACT


def test_a_batch_is_its_pieces_one_by_one(encoder: AudioEncoder) -> None:
    frames = [302, 303, 5, 150, 401]
    mels = [random_mel(count, seed=count) for count in frames]
    for beyond in (0.0, 9.0, float("nan")):
        padded = [functional.pad(mel, (0, 420 - mel.shape[1]), value=beyond) for mel in mels]
        with torch.no_grad():
            batch = encoder(torch.stack(padded), torch.tensor(frames))
        for row, mel in zip(batch, mels, strict=True):
            assert distance(row[: embedding_count(mel.shape[1])], encode(encoder, mel)) < EXACT


def test_sound_becomes_an_embedding_every_80_ms(encoder: AudioEncoder) -> None:
    sound = [noise(3), noise(0.5), noise(5)]
    encoded = encoder.encode(sound)
    assert [tuple(one.shape) for one in encoded] == [(38, 64), (embedding_count(frame_count(8000)), 64), (63, 64)]
    for one, piece in zip(encoded, sound, strict=True):
        assert distance(one, encoder.encode([piece])[0]) < 1e-4
    assert encoder.encode([]) == []


def test_longer_than_its_positions_is_refused(encoder: AudioEncoder) -> None:
    with pytest.raises(AudioError, match="3000"):
        encoder.encode([noise(30.1)])


def test_the_full_size_needs_no_value_from_the_device() -> None:
    encoder = Networks.empty(StepAudio2Config.mini(), "meta", torch.bfloat16).encoder
    mel = torch.empty(2, 128, 2502, device="meta")
    assert encoder(mel, torch.empty(2, dtype=torch.int64, device="meta")).shape == (2, 313, 3584)
    fused = 32 * 1280  # the zeros that stand for the keys' biases
    assert sum(one.numel() for one in encoder.parameters()) == 636_968_960 + 14_883_584 + fused


def test_autocast_around_it_changes_nothing(encoder: AudioEncoder) -> None:
    plain = encoder.encode([noise(1)])[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(encoder.encode([noise(1)])[0], plain)


def test_bfloat16_is_near_float32(networks: Networks) -> None:
    rounded = random_networks(TINY, dtype=torch.bfloat16)
    exact = random_networks(TINY, dtype=torch.float32)
    for name, tensor in exact.checkpoint_tensors().items():
        tensor.copy_(rounded.checkpoint_tensors()[name].float())
    one, other = (each.encoder.encode([noise(3)])[0].float() for each in (rounded, exact))
    assert (one - other).square().mean().sqrt() / other.square().mean().sqrt() < 0.02


# --- into the prompt --------------------------------------------------------------------------------------------


def test_pieces_go_behind_their_marks() -> None:
    embedded = torch.zeros(10, 2)
    audio = [torch.ones(2, 2), torch.full((3, 2), 2.0)]
    ids = [7, AUDIO_START, 9, 9, 8, AUDIO_START, 9, 9, 9, 8]
    spliced = splice(embedded, ids, audio)
    assert spliced[:, 0].tolist() == [0, 0, 1, 1, 0, 0, 2, 2, 2, 0]
    assert not embedded.any()


@pytest.mark.parametrize(
    ("ids", "lengths", "message"),
    [
        ([7, AUDIO_START, 9], [1, 1], "places for 1 pieces of audio, and there are 2"),
        ([7, AUDIO_START, 9], [], "places for 1 pieces of audio, and there are 0"),
        ([7, AUDIO_START, 9], [2], "piece 1 of the audio is shorter than its 2 embeddings"),
        ([AUDIO_START, 9, AUDIO_START, 9], [2, 1], "piece 1"),
    ],
)
def test_a_prompt_that_does_not_fit_its_audio_is_refused(ids: list[int], lengths: list[int], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        splice(torch.zeros(len(ids), 2), ids, [torch.ones(length, 2) for length in lengths])
