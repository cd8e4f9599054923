# ruff: noqa: E402 -- what is tested imports torch, so that comes first or the tests are skipped
"""The decoder: the same logits as transformers' Qwen2, whichever way they are computed."""

from __future__ import annotations

from typing import Any

import pytest

from sayso.engine import Network
from sayso.errors import UsageError

torch = pytest.importorskip("torch")
from sayso.models.step_audio2.config import StepAudio2Config
from sayso.models.step_audio2.decoder import CachedDecoder, Decoder, KvCache
from sayso.models.step_audio2.encoder import AUDIO_START, splice
from sayso.models.step_audio2.networks import Int8Linear, Networks, quantize_int8
from sayso.models.step_audio2.random_weights import random_networks

TINY = StepAudio2Config.tiny(vocab_size=512)
EXACT = 2e-5  # float32; the logits are around 1, the largest about 4


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
def decoder(networks: Networks) -> Decoder:
    return networks.decoder


@pytest.fixture(scope="module")
def oracle(networks: Networks) -> Any:
    return qwen2(networks)


def qwen2(networks: Networks) -> Any:
    """transformers' Qwen2ForCausalLM with the decoder's weights."""
    transformers = pytest.importorskip("transformers")
    sizes = networks.config.decoder
    config = transformers.Qwen2Config(
        vocab_size=sizes.vocab_size,
        hidden_size=sizes.hidden_size,
        intermediate_size=sizes.intermediate_size,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        num_key_value_heads=sizes.kv_heads,
        max_position_embeddings=sizes.max_positions,
        rms_norm_eps=sizes.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": sizes.rope_theta},
        tie_word_embeddings=False,
    )
    model = transformers.Qwen2ForCausalLM(config).to(networks.decoder.embedding.dtype).eval()
    names = ("model.", "lm_head.")
    tensors = {name: one for name, one in networks.checkpoint_tensors().items() if name.startswith(names)}
    model.load_state_dict(tensors, strict=True)
    return model


def some_ids(count: int, seed: int = 0, vocab: int = 512) -> Any:
    return torch.randint(0, vocab, (count,), generator=torch.Generator().manual_seed(seed))


def cache_for(decoder: Decoder, slots: int = 1, max_length: int = 64) -> KvCache:
    return KvCache.allocate(
        decoder.config,
        slots=slots,
        max_length=max_length,
        device=decoder.embedding.device,
        dtype=decoder.embedding.dtype,
    )


def logits(decoder: Decoder, ids: Any) -> Any:
    """After the last of ``ids``, computed anew."""
    return decoder.prefill(ids, cache_for(decoder), 0, 0)


@torch.inference_mode()
def full_forward(oracle: Any, ids: Any) -> Any:
    return oracle(ids[None]).logits[0]


def distance(one: Any, other: Any) -> float:
    return float((one.float() - other.float()).abs().max())


# --- against transformers ---------------------------------------------------------------------------------------


def test_prefill_and_decode_give_the_logits_of_transformers(decoder: Decoder, oracle: Any) -> None:
    ids = some_ids(40)
    expected = full_forward(oracle, ids)
    for length in (1, 2, 29):
        assert distance(logits(decoder, ids[:length]), expected[length - 1]) < EXACT
    cache = cache_for(decoder)
    decoder.prefill(ids[:7], cache, 0, 0)
    for place in range(7, 40):
        stepped = decoder.decode(ids[place : place + 1], torch.tensor([place]), cache)
        assert distance(stepped[0], expected[place]) < EXACT


def test_cached_generation_is_uncached_generation(decoder: Decoder, oracle: Any) -> None:
    ids, cache = some_ids(9), cache_for(decoder)
    expected = ids.clone()
    chosen = decoder.prefill(ids, cache, 0, 0).argmax()
    for place in range(9, 30):
        expected = torch.cat((expected, full_forward(oracle, expected)[-1].argmax()[None]))
        assert chosen == expected[-1]
        chosen = decoder.decode(chosen[None], torch.tensor([place]), cache)[0].argmax()


def test_spliced_audio_gives_the_logits_of_transformers(decoder: Decoder, oracle: Any) -> None:
    # the real ids are beyond a tiny vocabulary, so the markers are put in after embedding
    ids = some_ids(20)
    audio = [torch.randn(4, 64, generator=torch.Generator().manual_seed(1)) for _ in range(2)]
    marked = ids.tolist()
    marked[3] = marked[12] = AUDIO_START
    spliced = splice(decoder.embed(ids), marked, audio)
    with torch.inference_mode():
        expected = oracle(inputs_embeds=spliced[None]).logits[0, -1]
    assert torch.equal(spliced[4:8], audio[0]) and torch.equal(spliced[13:17], audio[1])
    assert distance(decoder.prefill(spliced, cache_for(decoder), 0, 0), expected) < EXACT


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_as_near_the_truth_as_transformers(dtype: Any) -> None:
    # Both round the same float32 network; ours may be off by at most 1.5 times what transformers' is off.
    exact = random_networks(TINY, dtype=torch.float32)
    rounded = random_networks(TINY, dtype=dtype)
    for name, tensor in exact.checkpoint_tensors().items():
        tensor.copy_(rounded.checkpoint_tensors()[name].float())
    theirs, ids = qwen2(rounded), some_ids(48)
    truth = full_forward(qwen2(exact), ids).float()
    cache = cache_for(rounded.decoder)
    mine = [rounded.decoder.prefill(ids[:1], cache, 0, 0)]
    mine += [rounded.decoder.decode(ids[at : at + 1], torch.tensor([at]), cache)[0] for at in range(1, 48)]
    error = (torch.stack(mine).float() - truth).square().mean().sqrt()
    reference = (full_forward(theirs, ids).float() - truth).square().mean().sqrt()
    assert mine[0].dtype == dtype
    assert error < 1.5 * reference
    assert error < (0.03 if dtype == torch.bfloat16 else 0.004)


# --- one way against another ------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 3, 7, 29, 64])
def test_prefill_in_chunks_is_prefill_at_once(decoder: Decoder, chunk: int) -> None:
    ids, cache = some_ids(30), cache_for(decoder)
    assert distance(decoder.prefill(ids, cache, 0, 0, chunk=chunk), logits(decoder, ids)) < EXACT


def test_slots_at_different_places_do_not_see_each_other(decoder: Decoder) -> None:
    lengths = (3, 17, 1, 40)
    prompts = [some_ids(length, seed=length) for length in lengths]
    cache = cache_for(decoder, slots=4)
    for slot, prompt in enumerate(prompts):
        decoder.prefill(prompt, cache, slot, 0)
    for step in range(5):
        ids = some_ids(4, seed=100 + step)
        together = decoder.decode(ids, torch.tensor([length + step for length in lengths]), cache)
        prompts = [torch.cat((prompt, ids[slot : slot + 1])) for slot, prompt in enumerate(prompts)]
        for slot, prompt in enumerate(prompts):
            assert distance(together[slot], logits(decoder, prompt)) < EXACT


def test_an_idle_slot_loses_nothing(decoder: Decoder) -> None:
    ids, cache = some_ids(20), cache_for(decoder, slots=3)
    decoder.prefill(ids[:10], cache, 2, 0)
    before = [rows[:, 2, :, :10].clone() for rows in (cache.keys, cache.values)]
    decoder.prefill(some_ids(30, seed=1), cache, 0, 0)
    for place in range(4):
        decoder.decode(torch.tensor([5, 6, 7]), torch.tensor([30 + place, place, 10]), cache)
    assert torch.equal(before[0], cache.keys[:, 2, :, :10]) and torch.equal(before[1], cache.values[:, 2, :, :10])
    assert distance(decoder.prefill(ids[10:], cache, 2, 10), logits(decoder, ids)) < EXACT


def test_a_full_slot_can_stand_idle(decoder: Decoder) -> None:
    longest = decoder.config.max_positions
    cache = cache_for(decoder, slots=2, max_length=longest)
    cache.keys[:, 0].normal_(generator=torch.Generator().manual_seed(0))
    cache.values[:, 0].normal_(generator=torch.Generator().manual_seed(1))
    before = cache.keys[:, 0, :, :longest].clone(), cache.values[:, 0, :, :longest].clone()
    ids = some_ids(3)
    decoder.prefill(ids, cache, 1, 0)
    result = decoder.decode(ids[:2], torch.tensor([longest, 3]), cache)
    assert distance(result[1], logits(decoder, torch.cat((ids, ids[1:2])))) < EXACT
    assert result.isfinite().all()
    assert torch.equal(cache.keys[:, 0, :, :longest], before[0])
    assert torch.equal(cache.values[:, 0, :, :longest], before[1])


def test_rolled_back_is_as_if_it_had_never_been(decoder: Decoder) -> None:
    ids, other, cache = some_ids(20), some_ids(30, seed=1), cache_for(decoder)
    decoder.prefill(torch.cat((ids[:12], other)), cache, 0, 0)
    for place in range(42, 50):
        decoder.decode(other[:1], torch.tensor([place]), cache)
    fresh = cache_for(decoder)
    decoder.prefill(ids[:12], fresh, 0, 0)
    assert distance(decoder.prefill(ids[12:], cache, 0, 12), decoder.prefill(ids[12:], fresh, 0, 12)) < EXACT


def test_ids_and_their_embeddings_are_the_same_input(decoder: Decoder) -> None:
    ids = some_ids(20)
    assert torch.equal(decoder.prefill(decoder.embed(ids), cache_for(decoder), 0, 0), logits(decoder, ids))


def test_a_span_that_holds_all_positions_changes_nothing(decoder: Decoder) -> None:
    ids, cache = some_ids(20), cache_for(decoder, max_length=256)
    decoder.prefill(ids, cache, 0, 0)
    whole = decoder.decode(ids[:1], torch.tensor([20]), cache)
    for span in (21, 32, 255):
        assert distance(decoder.decode(ids[:1], torch.tensor([20]), cache, span=span), whole) < EXACT


def test_a_copied_prefix_is_the_prefix(decoder: Decoder) -> None:
    ids, cache = some_ids(20), cache_for(decoder, slots=2)
    decoder.prefill(ids[:15], cache, 0, 0)
    cache.copy(0, 1, 15)
    assert torch.equal(decoder.prefill(ids[15:], cache, 1, 15), decoder.prefill(ids[15:], cache, 0, 15))


def test_autocast_around_it_changes_nothing(decoder: Decoder) -> None:
    ids, cache = some_ids(10), cache_for(decoder)
    plain = decoder.prefill(ids, cache, 0, 0)
    stepped = decoder.decode(ids[:1], torch.tensor([10]), cache)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(decoder.prefill(ids, cache, 0, 0), plain)
        assert torch.equal(decoder.decode(ids[:1], torch.tensor([10]), cache), stepped)


# --- what an engine relies on -----------------------------------------------------------------------------------


def test_it_is_what_the_engine_asks_for(decoder: Decoder) -> None:
    network = CachedDecoder(decoder, cache_for(decoder, slots=3))
    assert isinstance(network, Network)
    assert (network.slots, network.max_len, network.vocab_size, network.device.type) == (3, 64, 512, "cpu")
    ids = some_ids(20)
    first = network.prefill(1, ids, 0)
    network.copy(1, 0, 20)
    stepped = network.step(ids[:2], torch.tensor([20, 20]), 32)
    assert distance(first, logits(decoder, ids)) < EXACT
    assert stepped.shape == (2, 512)
    assert distance(stepped[0], logits(decoder, torch.cat((ids, ids[:1])))) < EXACT
    beyond = network.step(ids[:2], torch.tensor([20, 63]), 32)  # a row that nobody reads
    assert distance(beyond[0], stepped[0]) < EXACT and beyond.isfinite().all()


def test_a_step_of_the_full_size_asks_the_device_for_nothing() -> None:
    # On the meta device there are no values, so anything that needed one would raise.
    networks = Networks.empty(StepAudio2Config.mini(), "meta", torch.bfloat16)
    decoder = networks.decoder
    cache = KvCache.allocate(decoder.config, slots=8, max_length=4096, device="meta")
    ids = torch.empty(8, dtype=torch.int64, device="meta")
    assert decoder.decode(ids, ids, cache, span=1024).shape == (8, 158_720)
    assert decoder.prefill(torch.empty(700, dtype=torch.int64, device="meta"), cache, 3, 100).shape == (158_720,)
    assert sum(one.numel() for one in decoder.parameters()) == 7_094_474_240 + 568_852_480
    assert KvCache.bytes_per_position(decoder.config) == 57_344


def test_a_step_has_no_branch_on_its_values(decoder: Decoder) -> None:
    # Traced with one set of values and run with another: the same as computed directly.
    from torch.fx.experimental.proxy_tensor import make_fx

    cache = cache_for(decoder, slots=2)
    decoder.prefill(some_ids(9), cache, 1, 0)

    def step(ids: Any, positions: Any) -> Any:
        return decoder.decode(ids, positions, cache)

    traced = make_fx(step)(torch.tensor([1, 2]), torch.tensor([0, 0]))
    decoder.prefill(some_ids(9), cache, 1, 0)
    ids, positions = torch.tensor([5, 6]), torch.tensor([0, 9])
    assert distance(traced(ids, positions), step(ids, positions)) < EXACT


def test_a_step_compiles_as_one_graph(decoder: Decoder) -> None:
    cache = cache_for(decoder, slots=2)
    decoder.prefill(some_ids(9), cache, 1, 0)
    compiled = torch.compile(decoder.decode, backend="eager", fullgraph=True)
    for ids, positions in (([1, 2], [0, 9]), ([5, 6], [1, 10])):
        inputs = torch.tensor(ids), torch.tensor(positions)
        assert distance(compiled(*inputs, cache), decoder.decode(*inputs, cache)) < EXACT


# --- limits -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "start"), [(0, 0), (65, 0), (10, 60), (1, 64), (1, -1)])
def test_what_does_not_fit_the_cache_is_refused(decoder: Decoder, count: int, start: int) -> None:
    with pytest.raises(UsageError, match="cache of 64"):
        decoder.prefill(some_ids(count), cache_for(decoder), 0, start)


def test_a_cache_that_is_longer_than_the_model_is_refused(decoder: Decoder) -> None:
    with pytest.raises(UsageError, match="2048"):
        KvCache.allocate(decoder.config, slots=1, max_length=2049)


# --- 8 bits -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_rounded_layer_is_off_by_half_a_step_at_most(dtype: Any) -> None:
    linear = torch.nn.Linear(300, 40).to(dtype)
    linear.weight.data[3] *= 1000
    linear.weight.data[4] = 0
    small = Int8Linear.from_linear(linear)
    x = torch.randn(7, 300, generator=torch.Generator().manual_seed(0)).to(dtype)
    with torch.inference_mode():
        result, expected = small(x), linear.double()(x.double())
        # each weight is off by half a step at most, that is 1/254 of the largest of its row; then sums are rounded
        step = linear.weight.abs().amax(1) / 127
        rounding = torch.finfo(dtype).eps * (x.double().abs() @ linear.weight.abs().T + 1)
        bound = 0.51 * step * x.double().abs().sum(1, keepdim=True) + 4 * rounding
    assert result.dtype == dtype
    assert ((result.double() - expected).abs() <= bound).all()


def test_rounded_weights_in_blocks_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from sayso.models.step_audio2 import networks

    small = Int8Linear.from_linear(torch.nn.Linear(16, 100))
    x = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
    whole = small(x)
    monkeypatch.setattr(networks, "_NUMBERS_AT_ONCE", 33 * 16)
    assert distance(small(x), whole) < 1e-6


def test_a_rounded_decoder_says_nearly_the_same() -> None:
    exact = random_networks(TINY, dtype=torch.float32).decoder
    rounded = random_networks(TINY, dtype=torch.float32).decoder
    quantize_int8(rounded)
    assert not any(isinstance(module, torch.nn.Linear) for module in rounded.modules())
    ids = some_ids(48)
    one, other = cache_for(exact), cache_for(rounded)
    exact.prefill(ids[:1], one, 0, 0)
    rounded.prefill(ids[:1], other, 0, 0)
    pairs = [
        [
            each.decode(ids[at : at + 1], torch.tensor([at]), cache)[0]
            for each, cache in ((exact, one), (rounded, other))
        ]
        for at in range(1, 48)
    ]
    truth, found = (torch.stack([pair[side] for pair in pairs]) for side in (0, 1))
    assert (found - truth).square().mean().sqrt() / truth.square().mean().sqrt() < 0.02
