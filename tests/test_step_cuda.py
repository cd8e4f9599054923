# ruff: noqa: E402 -- what is tested imports torch, so that comes first or the tests are skipped
"""What only a GPU can show: graphs are what they recorded, streams do not meet, nothing is waited for or left over."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra step-audio is not installed")
from sayso.engine import Generation, Sampling
from sayso.engine.graphs import Recorder
from sayso.engine.job import Job, checked
from sayso.engine.masks import mask_of
from sayso.engine.request import GREEDY, Vectors
from sayso.engine.runner import own_stream
from sayso.engine.scheduler import Scheduler
from sayso.engine.steps import Steps
from sayso.models.step_audio2.attention import PIECE, Reach, Way, attend_cache, best_way
from sayso.models.step_audio2.config import StepAudio2Config
from sayso.models.step_audio2.decoder import CachedDecoder, KvCache
from sayso.models.step_audio2.random_weights import random_networks
from sayso.models.step_audio2.token2wav import Feed, Token2Wav, Voice, write_random

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

CUDA = torch.device("cuda")
TINY = StepAudio2Config.tiny(vocab_size=96)
PROMPT = [5, 17, 3, 42, 42, 8, 60, 11, 2, 33]
DRAWN = Sampling(temperature=0.8, top_p=0.9, repetition_penalty=1.1, seed=5)


@pytest.fixture(autouse=True)
def own() -> Iterator[None]:
    with own_stream(CUDA):
        yield


def network(device: Any = CUDA, dtype: Any = torch.float32, **more: Any) -> CachedDecoder:
    """The same weights wherever they are, but for rounding: they are drawn on the CPU."""
    networks = random_networks(TINY, dtype=torch.float32)
    decoder = networks.decoder.to(device, dtype)
    decoder.reset_rotations()
    cache = KvCache.allocate(TINY.decoder, slots=5, max_length=600, device=device, dtype=dtype)
    return CachedDecoder(decoder, cache, **more)


class Turns:
    """A scheduler, and what its requests gave."""

    def __init__(self, one: CachedDecoder, **options: Any) -> None:
        self.scheduler = Scheduler(one, chunk_tokens=16, **options)
        self.given: dict[str, list[int]] = {}
        self.jobs: dict[str, Job] = {}

    def ask(self, name: str, prompt: Any, tokens: int = 12, **more: Any) -> None:
        request = Generation(name, prompt, max_tokens=tokens, **more)
        given = self.given[name] = []

        def take(value: int | Exception | None) -> None:
            if isinstance(value, Exception):
                raise value
            if value is not None:
                given.append(value)

        self.jobs[name] = Job(request, *checked(request, self.scheduler.network), take)
        self.scheduler.submit(self.jobs[name])

    def finish(self) -> dict[str, list[int]]:
        while self.scheduler.turn():
            pass
        return self.given


class Script:
    """Restricts what comes: an id, a mask, or nothing; then nothing more."""

    def __init__(self, *constraints: Any) -> None:
        self.left = list(constraints)

    def constraint(self) -> Any:
        return self.left[0] if self.left else None

    def accept(self, token_id: int) -> None:
        del token_id, self.left[:1]


def conversation(one: CachedDecoder, sampling: Sampling = GREEDY, **options: Any) -> list[dict[str, list[int]]]:
    """Several sessions that come and go: one is cancelled, one rolled back, one guided, one hears vectors."""
    turns = Turns(one, **options)
    found: list[dict[str, list[int]]] = []
    vectors = Vectors(torch.linspace(-1, 1, 7 * 64).view(7, 64).to(one.device, one.cache.keys.dtype), "a sound", 1)
    turns.ask("a", [PROMPT], sampling=sampling)
    turns.ask("b", [PROMPT * 26], tokens=40, sampling=sampling, shared_tokens=20)
    turns.ask("c", [[7], vectors, [9]], sampling=sampling)
    turns.ask("d", [PROMPT * 2], sampling=sampling, guide=Script(12, 13, mask_of([40, 41], 96), None, 5))
    for _ in range(24):
        turns.scheduler.turn()
    turns.jobs["b"].cancelled = True
    found.append({name: ids for name, ids in turns.finish().items() if name != "b"})
    assert found[0]["d"][:2] == [12, 13] and found[0]["d"][2] in (40, 41) and found[0]["d"][4] == 5
    turns.ask("a", [[*PROMPT[:6], 77]], sampling=sampling)  # rolled back
    turns.ask("b", [[*PROMPT * 26, 3]], sampling=sampling, shared_tokens=20)
    turns.ask("d", [[*PROMPT * 2, *found[0]["d"], 8]], sampling=sampling)
    found.append(dict(turns.finish()))
    return found


# --- the language model ---


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_attention_at_full_size_is_the_definition(dtype: Any) -> None:
    """28 heads, 4 key heads, 8,192 positions; the device's best way is the fast one where it is of half precision."""
    way = best_way(CUDA, dtype, 28, 4, 128)
    assert way == ("split" if dtype == torch.float32 else "flash")
    generator = torch.Generator().manual_seed(0)
    keys, values = (torch.randn(3, 4, 32 * PIECE + 1, 128, generator=generator).to(CUDA, dtype) for _ in range(2))
    query = torch.randn(3, 28, 1, 128, generator=generator).to(CUDA, dtype)
    positions = torch.tensor([0, 32 * PIECE - 1, 5000], device=CUDA)
    wide = keys.double()
    reach = Reach.of("split", positions, 32 * PIECE, wide)
    expected = attend_cache(query.double(), wide, values.double(), reach)
    ways: list[Way] = ["split", "whole", way]
    for used in ways:
        found = attend_cache(query, keys, values, Reach.of(used, positions, 32 * PIECE, keys))
        allowed = 1e-5 if dtype == torch.float32 else 4 * torch.finfo(dtype).eps
        assert (found.double() - expected).abs().max() < allowed, used


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_graph_gives_what_it_recorded(dtype: Any) -> None:
    eager, graphed = network(dtype=dtype), network(dtype=dtype)
    plain, replayed = Steps(eager, False), Steps(graphed, True)
    ids, positions = (torch.zeros(5, dtype=torch.int64, device=CUDA) for _ in range(2))
    with torch.inference_mode():
        for at in range(40):
            rows, limit = (1, 2, 4, 5)[at % 4], (256, 512, 600)[at % 3]
            ids.copy_(torch.arange(5) * 7 + at)
            positions.fill_(at)
            expected = plain(ids[:rows], positions[:rows], limit)
            torch.testing.assert_close(replayed(ids[:rows], positions[:rows], limit), expected)
    torch.testing.assert_close(graphed.cache.keys, eager.cache.keys)
    assert replayed.graphs  # it was not given up


def test_ids_in_float32_are_those_of_the_cpu() -> None:
    torch.set_num_threads(1)
    expected = conversation(network("cpu", way="whole"), graphs=False, overlap=False)
    ways: list[Way] = ["split", "whole"]
    for way in ways:
        assert conversation(network(way=way)) == expected


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_graphs_and_overlap_change_no_id(dtype: Any) -> None:
    def drawn(*, graphs: bool, overlap: bool) -> Any:
        return conversation(network(dtype=dtype), DRAWN, graphs=graphs, overlap=overlap)

    for overlap in (True, False):
        assert drawn(graphs=True, overlap=overlap) == drawn(graphs=False, overlap=overlap)
    if dtype == torch.float32:  # other requests share a step then, which may turn the last digit of half precision
        assert drawn(graphs=True, overlap=True) == drawn(graphs=True, overlap=False)


def test_sessions_together_draw_what_they_draw_alone() -> None:
    together = Turns(network())
    for at in range(4):
        together.ask(f"s{at}", [[at, *PROMPT]], tokens=20, sampling=DRAWN)
    alone = Turns(network())
    for at in range(4):
        alone.ask(f"s{at}", [[at, *PROMPT]], tokens=20, sampling=DRAWN)
        alone.finish()
    assert together.finish() == alone.given


def test_no_step_waits_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch raises at whatever waits; only the ids that were drawn are waited for, by their event."""
    turns = Turns(network())
    turns.scheduler.prepare()
    turns.ask("a", [PROMPT], tokens=30, sampling=DRAWN)
    turns.ask("b", [PROMPT * 2], tokens=30, guide=Script(*[mask_of([40, 41], 96)] * 9))
    turns.scheduler.turn()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that this mode does not see everything
        torch.cuda.set_sync_debug_mode("error")
    try:
        turns.finish()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert [len(ids) for ids in turns.given.values()] == [30, 30]


def test_memory_does_not_grow() -> None:
    turns = Turns(network(dtype=torch.bfloat16))
    turns.scheduler.prepare()

    def run(steps: int) -> None:
        for name in ("a", "b"):
            turns.ask(name, [PROMPT], tokens=steps, sampling=DRAWN)
        turns.finish()
        torch.cuda.synchronize()

    run(50)
    allocated, reserved = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    run(200)
    assert torch.cuda.memory_allocated() == allocated
    assert torch.cuda.memory_reserved() <= reserved + 4 * 2**20


# --- sound, and both at once ---


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random(tmp_path_factory.mktemp("token2wav"), tiny=True, seed=1)


def heard(model: Token2Wav, seeds: Sequence[int], tokens: int = 80) -> list[Any]:
    rng = np.random.default_rng(0)
    voice = Voice(
        "made up",
        rng.integers(0, 6561, 20),
        rng.standard_normal((40, 80), np.float32),
        rng.standard_normal(192, np.float32),
    )
    spoken = rng.integers(0, 6561, tokens).tolist()
    streams = [model.stream(voice, seed=seed, first_chunk_tokens=10) for seed in seeds]
    parts: list[list[Any]] = []
    for at in range(0, tokens, 9):
        parts.append(model.advance([Feed(stream, tuple(spoken[at : at + 9])) for stream in streams]))
    parts.append(model.advance([Feed(stream, (), last=True) for stream in streams]))
    return [np.concatenate(one) for one in zip(*parts, strict=True)]


def test_sound_by_graphs_is_the_sound_of_the_cpu(folder: Path) -> None:
    expected = heard(Token2Wav.load(folder, "cpu"), [1, 2, 3])
    for fixed_shapes in (False, True):
        model = Token2Wav.load(folder, CUDA, fixed_shapes=fixed_shapes)
        for found, one in zip(heard(model, [1, 2, 3]), expected, strict=True):
            assert np.abs(found - one).max() < 1e-2 and np.corrcoef(found, one)[0, 1] > 0.9999
        assert bool(model.flow.use_fixed_shapes().shapes) is fixed_shapes


def test_speaking_and_generating_do_not_meet(folder: Path) -> None:
    """In two threads on two streams, both recording graphs when they begin: each gives what it gives alone."""
    ids = conversation(network(), DRAWN)
    sound = heard(Token2Wav.load(folder, CUDA), [4, 5])
    decoding, speaking = network(), Token2Wav.load(folder, CUDA)
    torch.cuda.synchronize()

    def generate() -> list[Any]:
        with own_stream(CUDA):
            return [conversation(decoding, DRAWN) for _ in range(3)]

    with ThreadPoolExecutor(3) as threads:
        generated = threads.submit(generate)
        spoken = [threads.submit(heard, speaking, seeds) for seeds in ([4], [5])]
        assert [one[0] == ids[0] for one in generated.result()] == [True] * 3
        for one, expected in zip(spoken, sound, strict=True):
            np.testing.assert_allclose(one.result()[0], expected, atol=1e-2)


def test_graphs_are_recorded_one_at_a_time() -> None:
    """Four threads begin at once, while a fifth computes and waits for the device's results."""
    start, over = threading.Barrier(5), threading.Event()

    def record(number: int) -> float:
        with own_stream(CUDA), torch.inference_mode():
            recorder, base = Recorder(CUDA), torch.zeros(64, 64, device=CUDA)
            works: list[Callable[[], Any]] = [lambda k=k: (base + k) @ torch.eye(64, device=CUDA) for k in range(4)]
            start.wait(60)
            recorded = [recorder.record(work) for work in works]
            base.fill_(number)
            total = 0.0
            for replay, made in recorded:
                replay()
                total += made.sum().item() / 64**2
            return total

    def compute() -> int:
        start.wait(60)
        rounds = 0
        with own_stream(CUDA):
            while not over.is_set():
                assert torch.ones(256, 256, device=CUDA).matmul(torch.ones(256, 256, device=CUDA)).sum().item() > 0
                rounds += 1
        return rounds

    with ThreadPoolExecutor(5) as threads:
        busy = threads.submit(compute)
        try:
            found = list(threads.map(record, range(4)))
        finally:
            over.set()
        assert found == [4.0 * number + 6 for number in range(4)] and busy.result() > 0
