# ruff: noqa: E402 -- what is tested imports torch, so that comes first or the tests are skipped
"""Attention of a step: each way gives the same, and reads no further than it may."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the extra step-audio is not installed")
from sayso.models.step_audio2 import attention
from sayso.models.step_audio2.attention import PIECE, Reach, attend_cache, best_way, flash_agrees
from sayso.models.step_audio2.config import StepAudio2Config
from sayso.models.step_audio2.decoder import DecoderLayer, KvCache
from sayso.models.step_audio2.random_weights import random_networks

HEADS, KV_HEADS, WIDTH = 6, 2, 16
ROWS = 5 * PIECE + 1


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def parts(dtype: Any, slots: int, seed: int = 0) -> tuple[Any, Any, Any]:
    """A query, keys and values; the cache has a slot more than are used, as in a step of fewer rows."""
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(slots, HEADS, 1, WIDTH, generator=generator, dtype=dtype)
    keys, values = (torch.randn(slots + 1, KV_HEADS, ROWS, WIDTH, generator=generator, dtype=dtype) for _ in range(2))
    return query, keys[:slots], values[:slots]


def one_by_one(query: Any, keys: Any, values: Any, positions: list[int]) -> Any:
    """The definition, a head at a time."""
    out = torch.zeros_like(query)
    for slot, position in enumerate(positions):
        for head in range(HEADS):
            own = head // (HEADS // KV_HEADS)
            seen_keys, seen_values = keys[slot, own, : position + 1], values[slot, own, : position + 1]
            weights = (seen_keys @ query[slot, head, 0] / WIDTH**0.5).softmax(0)
            out[slot, head, 0] = weights @ seen_values
    return out


def flash_by_definition(
    query: Any, key: Any, value: Any, query_starts: Any, key_starts: Any, *others: Any, seqused_k: Any
) -> tuple[Any]:
    """What FlashAttention's operator is to do with sequences of one query."""
    assert others == (1, others[1], 0.0, False, False) and seqused_k.max() <= others[1]
    assert query_starts.dtype == key_starts.dtype == seqused_k.dtype == torch.int32
    assert query_starts.tolist() == list(range(len(query) + 1))
    group = query.shape[1] // key.shape[1]
    out = torch.zeros_like(query)
    for row in range(len(query)):
        own = slice(int(key_starts[row]), int(key_starts[row]) + int(seqused_k[row]))
        keys, values = (one[own].repeat_interleave(group, 1) for one in (key, value))
        weights = (torch.einsum("hd,thd->ht", query[row], keys) / query.shape[2] ** 0.5).softmax(1)
        out[row] = torch.einsum("ht,thd->hd", weights, values)
    return (out,)


@pytest.mark.parametrize("way", ["flash", "split", "whole"])
@pytest.mark.parametrize("span", [1, 100, PIECE, 2 * PIECE, 4 * PIECE, 5 * PIECE])
@pytest.mark.parametrize("slots", [1, 3])
def test_each_way_gives_the_definition_in_float64(
    way: Any, span: int, slots: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "_flash_forward", flash_by_definition)
    query, keys, values = parts(torch.float64, slots)
    positions = [0, span - 1, span // 2][-slots:]
    values[:, :, span:] = float("nan")  # nobody reads there
    reach = Reach.of(way, torch.tensor(positions), span, keys)
    found = attend_cache(query, keys, values, reach)
    torch.testing.assert_close(found, one_by_one(query, keys, values, positions), rtol=0, atol=1e-13)


@pytest.mark.parametrize("way", ["flash", "split", "whole"])
def test_a_row_beyond_the_span_harms_nobody(way: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "_flash_forward", flash_by_definition)
    query, keys, values = parts(torch.float32, 3)
    found = attend_cache(query, keys, values, Reach.of(way, torch.tensor([7, ROWS - 1, 9]), PIECE, keys))
    assert found.isfinite().all()
    alone = attend_cache(query[::2], keys[::2], values[::2], Reach.of("whole", torch.tensor([7, 9]), PIECE, keys[::2]))
    torch.testing.assert_close(found[::2], alone)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_scores_and_sums_of_half_precision_are_in_float32(dtype: Any) -> None:
    query, keys, values = parts(dtype, 2)
    positions = [4 * PIECE - 1, 3 * PIECE]
    exact = one_by_one(query.double(), keys.double(), values.double(), positions)

    def error(way: Any) -> Any:
        found = attend_cache(query, keys, values, Reach.of(way, torch.tensor(positions), 4 * PIECE, keys))
        assert found.dtype == dtype
        return (found - exact).abs().max()

    assert error("split") <= 1.5 * error("whole")


def test_a_cpu_takes_torchs_own_and_has_no_flash() -> None:
    cpu = torch.device("cpu")
    assert best_way(cpu, torch.bfloat16, HEADS, KV_HEADS, WIDTH) == "whole"
    assert not flash_agrees(cpu, torch.bfloat16, HEADS, KV_HEADS, WIDTH)


@pytest.mark.parametrize("wrong", [False, True])
def test_flash_is_used_only_where_it_gives_the_same(wrong: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def operator(*arguments: Any, **named: Any) -> Any:
        (out,) = flash_by_definition(*arguments, **named)
        return (out.roll(1, 1) if wrong else out,)

    monkeypatch.setattr(attention, "_flash_forward", operator)
    flash_agrees.cache_clear()
    assert flash_agrees(torch.device("cpu"), torch.bfloat16, HEADS, KV_HEADS, WIDTH) is not wrong
    flash_agrees.cache_clear()


@pytest.mark.parametrize("way", ["flash", "split"])
def test_a_step_gives_the_same_logits_each_way(way: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "_flash_forward", flash_by_definition)
    config = StepAudio2Config.tiny(vocab_size=128)
    decoder = random_networks(config, dtype=torch.float64).decoder
    logits: list[Any] = []
    for used in ("whole", way):
        cache = KvCache.allocate(config.decoder, slots=3, max_length=2 * PIECE + 8, dtype=torch.float64)
        for slot, length in enumerate((3, 2 * PIECE - 9, 40)):
            decoder.prefill(torch.arange(length) % 128, cache, slot, 0)
        positions = torch.tensor([3, 2 * PIECE - 9, cache.max_length])  # the last one stands by
        decoder.decode(torch.tensor([1, 2, 3]), positions, cache, span=2 * PIECE, way=used)
        positions += torch.tensor([1, 1, 0])
        logits.append(decoder.decode(torch.tensor([4, 5, 6]), positions, cache, span=2 * PIECE, way=used)[:2])
    torch.testing.assert_close(logits[1], logits[0], rtol=0, atol=1e-12)


def test_what_is_compiled_is_one_graph_for_all_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced as for CUDA, but run as it is: no compiler is needed, and a break in the graph is an error."""
    traced: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Any:
        traced.append(graph)
        return graph.forward

    config = StepAudio2Config.tiny(vocab_size=128)
    decoder = random_networks(config, dtype=torch.float32).decoder
    halves = [
        torch.compile(half, dynamic=False, fullgraph=True, backend=backend)
        for half in (DecoderLayer.project, DecoderLayer.finish)
    ]
    monkeypatch.setattr("sayso.models.step_audio2.decoder._fused", lambda: halves)
    cache = KvCache.allocate(config.decoder, slots=2, max_length=20, dtype=torch.float32)
    ids, positions = torch.tensor([1, 2]), torch.tensor([0, 0])
    with torch.inference_mode():
        plain = decoder.decode(ids, positions, cache)
        decoder.fused = True
        torch.testing.assert_close(decoder.decode(ids, positions, cache), plain)
    assert config.decoder.layers > 1 and len(traced) == 2
