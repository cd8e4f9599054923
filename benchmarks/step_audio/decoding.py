"""The rows of the language model alone: ids in, ids out."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch

from benchmarks.step_audio.bench import SAMPLING, Bench, Figure, failed, quantile, timed
from benchmarks.token2wav import now_s
from sayso.engine.job import Job, checked
from sayso.engine.request import Generation
from sayso.engine.runner import own_stream
from sayso.engine.sampling import Rows, draw
from sayso.engine.scheduler import Scheduler
from sayso.engine.steps import Steps
from sayso.models.step_audio2.decoder import CachedDecoder, Decoder, KvCache
from sayso.models.step_audio2.networks import Networks, weight_bytes
from sayso.models.step_audio2.random_weights import random_networks

DECODE_MS = 6.0
STRETCH_MS = 5.3
PREFILL_MS = 35.0
FASTER = 2.0


def bandwidth(bench: Bench) -> list[Figure]:
    """What the device's memory does in a large copy; each byte is read once and written once."""
    return [Figure("copy within the device, read and written", bench.bandwidth / 1e9, unit="GB/s")]


def copy_bandwidth(device: torch.device, size: int, repeats: int) -> float:
    """Bytes a second: the fastest of several copies."""
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / min(repeated(lambda: target.copy_(source), device, repeats))


def decode(bench: Bench) -> list[Figure]:
    """One conversation, one id after another, drawn as in talk; and the network's step without anything around it."""
    figures: list[Figure] = []
    decoder = bench.networks.decoder
    for context in bench.plan.contexts:
        network = cached(decoder, 1, bench.plan.max_length)
        gaps = gaps_s(network, bench.ids(context), bench.plan.ids)
        floor_ms = floor_bytes(decoder, context + bench.plan.ids // 2) / bench.bandwidth * 1e3
        median_ms = quantile(gaps, 0.5) * 1e3
        more = {
            "ids a second": len(gaps) / sum(gaps),
            "floor ms": floor_ms,
            "share of the bandwidth": floor_ms / median_ms,
            "step alone ms": step_s(network, context, bench.plan.repeats) * 1e3,
            "stretch ms": STRETCH_MS,
        }
        figures.append(timed(f"an id after {context} positions", gaps, DECODE_MS, more=more))
    return figures


def floor_bytes(decoder: Decoder, context: int) -> int:
    """What has to be read for an id: every weight but the table of embeddings, and the keys and values so far."""
    weights = sum(
        tensor.numel() * tensor.element_size() for name, tensor in decoder.state_dict().items() if name != "embedding"
    )
    return weights + context * KvCache.bytes_per_position(decoder.config, decoder.embedding.dtype)


def gaps_s(network: CachedDecoder, prompt: list[int], count: int) -> list[float]:
    """Seconds from each id to the next, through the engine; all graphs are captured before."""
    scheduler = Scheduler(network, prefix_slots=0)
    arrived: list[float] = []

    def take(value: int | Exception | None) -> None:
        if isinstance(value, Exception):
            raise value
        if value is not None:
            arrived.append(time.perf_counter())

    with own_stream(network.device):
        scheduler.prepare()
        for _ in range(2):  # the first warms up
            arrived.clear()
            request = Generation("one", [prompt], sampling=SAMPLING, max_tokens=count + 2)
            scheduler.submit(Job(request, *checked(request, network), take))
            while scheduler.turn():
                pass
    return [later - earlier for earlier, later in pairwise(arrived[1:])]


def step_s(network: CachedDecoder, position: int, repeats: int) -> float:
    """Seconds of a step of one row, all queued at once: nothing is drawn, and nobody looks."""
    steps = Steps(network, network.device.type == "cuda")
    ids = torch.zeros(1, dtype=torch.int64, device=network.device)
    positions = torch.full_like(ids, position)
    limit = network.max_len if position >= network.max_len // 2 else -(-(position + 1) // 256) * 256
    limit = min(limit, network.max_len)

    def several() -> None:
        for _ in range(5):
            steps(ids, positions, limit)

    with own_stream(network.device), torch.inference_mode():
        return quantile(repeated(several, network.device, repeats), 0.5) / 5


def transformers(bench: Bench) -> list[Figure]:
    """The same weights, not a copy of them, in transformers' Qwen2; drawn with the same settings."""
    model = qwen2(bench.networks)
    prompt, count = bench.ids(bench.plan.contexts[0]), bench.plan.ids
    network = cached(bench.networks.decoder, 1, bench.plan.max_length)
    ours_ms = quantile(gaps_s(network, prompt, count), 0.5) * 1e3
    figures = [Figure("sayso, an id", ours_ms, unit="ms")]
    ways: list[tuple[str, dict[str, Any]]] = [
        ("dynamic cache", {}),
        ("static cache", {"cache_implementation": "static", "disable_compile": True}),
    ]
    if bench.device.type == "cuda":
        ways.append(("static cache, compiled", {"cache_implementation": "static"}))
    for what, settings in ways:
        try:
            theirs_ms = generate_s(model, prompt, count, bench.device, settings) * 1e3
        except Exception as error:  # such as a compiler that is not there
            figures.append(failed(what, error))
            continue
        dynamic = not settings
        figures.append(Figure(f"transformers, {what}, an id", theirs_ms, unit="ms"))
        figures.append(
            Figure(
                f"sayso is faster than {what}",
                theirs_ms / ours_ms,
                unit="times",
                target=FASTER if dynamic else None,
                at_least=True,
            )
        )
    return figures


def qwen2(networks: Networks) -> Any:
    """The Qwen2ForCausalLM of transformers around the decoder's own memory."""
    import transformers as library

    sizes = networks.config.decoder
    config = library.Qwen2Config(
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
    with torch.device("meta"):
        model: Any = library.Qwen2ForCausalLM(config)
    names = ("model.", "lm_head.")
    tensors = {name: one for name, one in networks.checkpoint_tensors().items() if name.startswith(names)}
    model.load_state_dict(tensors, strict=True, assign=True)
    rotary = type(model.model.rotary_emb)(config)  # its table is no weight, and was on no device
    model.model.rotary_emb = rotary.to(networks.decoder.embedding.device)
    return model.eval()


def generate_s(model: Any, prompt: list[int], count: int, device: torch.device, settings: dict[str, Any]) -> float:
    """Seconds an id: a long answer less a short one."""
    ids = torch.tensor([prompt], device=device)

    def answer(length: int) -> float:
        start = now_s(device)
        model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            min_new_tokens=length,
            max_new_tokens=length,
            do_sample=True,
            temperature=SAMPLING.temperature,
            top_p=SAMPLING.top_p,
            top_k=0,
            repetition_penalty=SAMPLING.repetition_penalty,
            pad_token_id=0,
            **settings,
        )
        return now_s(device) - start

    answer(count)  # whatever is compiled is compiled here
    answer(2)
    return (answer(count) - answer(2)) / (count - 2)


def drawing(bench: Bench) -> list[Figure]:
    """From logits to ids, for some rows at once; beside it what sorting all logits would take."""
    figures: list[Figure] = []
    vocab = bench.config.decoder.vocab_size
    for count in bench.plan.rows:
        logits = 3 * torch.randn(count, vocab, device=bench.device)
        kept = [torch.full((count, 1), value, device=bench.device) for value in (0.7, 0.9, 1.05)]
        rows, numbers = Rows(*kept), torch.rand(count, 1, device=bench.device)
        times = repeated(lambda x=logits, r=rows, n=numbers: draw(x, r, n), bench.device, bench.plan.repeats)
        sorts = repeated(lambda x=logits: torch.sort(x, dim=1, stable=True), bench.device, bench.plan.repeats)
        more = {"a sort alone ms": quantile(sorts, 0.5) * 1e3}
        figures.append(timed(f"an id of {vocab} in each of {count} rows", times, more=more))
    return figures


def prefill(bench: Bench) -> list[Figure]:
    """A prompt that is new, up to its logits."""
    count = bench.plan.prefill
    network = cached(bench.networks.decoder, 1, max(2 * count, 256))
    ids = torch.tensor(bench.ids(count), device=bench.device)
    with torch.inference_mode():
        times = repeated(lambda: network.prefill(0, ids, 0), bench.device, bench.plan.repeats)
    more = {"ids a second": count / quantile(times, 0.5)}
    return [timed(f"a prompt of {count} ids", times, PREFILL_MS, more=more)]


def weights(bench: Bench) -> list[Figure]:
    """Each kind of weights in turn, beside those in bfloat16."""
    figures: list[Figure] = []
    kinds = {
        "bfloat16": (torch.bfloat16, False),
        "int8": (torch.bfloat16, True),
        "float16": (torch.float16, False),
        "float32": (torch.float32, False),
    }
    for name, (dtype, int8) in kinds.items():
        try:
            figures.append(_weights(bench, name, dtype, int8))
        except Exception as error:  # such as memory that is not there
            figures.append(failed(name, error))
        bench.free()
    return figures


def _weights(bench: Bench, name: str, dtype: torch.dtype, int8: bool) -> Figure:
    cuda = bench.device.type == "cuda"
    before = torch.cuda.memory_allocated() if cuda else 0
    ours = dtype == bench.dtype and not int8
    networks = bench.networks if ours else random_networks(bench.config, bench.device, dtype, int8=int8)
    size = weight_bytes(bench.config, dtype, int8=int8)
    held = torch.cuda.memory_allocated() - before if cuda and not ours else size
    if cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated() - held
    gaps = gaps_s(cached(networks.decoder, 1, bench.plan.max_length), bench.ids(bench.plan.contexts[0]), bench.plan.ids)
    more: dict[str, Any] = {"weights GB": held / 1e9, "weights GB by the sizes": size / 1e9}
    if cuda:
        more["peak GB with the cache of one conversation"] = (torch.cuda.max_memory_allocated() - before) / 1e9
    return timed(f"an id with {name} weights", gaps, more=more)


def cached(decoder: Decoder, slots: int, max_length: int) -> CachedDecoder:
    """A decoder with a cache of its own."""
    length = min(max_length, decoder.config.max_positions)
    embedding = decoder.embedding
    cache = KvCache.allocate(
        decoder.config, slots=slots, max_length=length, device=embedding.device, dtype=embedding.dtype
    )
    return CachedDecoder(decoder, cache)


def repeated(work: Callable[[], object], device: torch.device, repeats: int) -> list[float]:
    """Seconds of each repeat, the device being done; one goes before that is not counted."""
    times: list[float] = []
    work()
    for _ in range(repeats):
        start = now_s(device)
        work()
        times.append(now_s(device) - start)
    return times
