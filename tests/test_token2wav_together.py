# ruff: noqa: E402 -- what is tested imports torch, so that comes first or the tests are skipped
"""Threads that want sound at the same time get it in batches, each its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra step-audio is not installed")
pytest.importorskip("onnx", reason="the extra step-audio is not installed")
from sayso.models.step_audio2.token2wav import Token2Wav, Voice, write_random
from sayso.models.step_audio2.token2wav.together import Together


class Talk:
    """A stream with so many chunks to go; a chunk is (stream, number)."""

    def __init__(self, name: str, count: int) -> None:
        self.name, self.count, self.at = name, count, 0

    def next_chunk(self) -> Any:
        return Piece(self, self.at) if self.at < self.count else None


class Piece:
    def __init__(self, stream: Talk, number: int) -> None:
        self.stream, self.number = stream, number


class Bench:
    """Runs batches and writes them down; the first waits until so many threads have asked."""

    def __init__(self, asking: int = 1) -> None:
        self.together = Together(lambda chunks: [list(chunks)] if chunks else [], self.run)
        self.asking = asking
        self.ran: list[list[str]] = []
        self.fails: Callable[[list[str]], bool] = lambda names: False
        self.inside = threading.Lock()

    def run(self, batch: Sequence[Any]) -> list[tuple[Any, Any]]:
        assert self.inside.acquire(blocking=False), "two at once"
        try:
            end = time.monotonic() + 20
            while len(vars(self.together)["_wishes"]) < self.asking and time.monotonic() < end:
                time.sleep(0)
            names = [piece.stream.name for piece in batch]
            self.ran.append(names)
            if self.fails(names):
                raise RuntimeError("no memory for " + " and ".join(names))
            for piece in batch:
                piece.stream.at += 1
            self.asking = 0
            return [(piece, np.full(1, piece.number, np.float32)) for piece in batch]
        finally:
            self.inside.release()

    def serve(self, *talks: Talk) -> list[list[int]]:
        streams: Any = talks
        return [[int(samples[0]) for samples in parts] for parts in self.together.serve(streams)]


def test_who_waits_is_run_together() -> None:
    bench = Bench(asking=3)
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(bench.serve, Talk("first", 2))
        while not bench.inside.locked():
            time.sleep(0)
        assert bench.serve(Talk("with nothing to run", 0)) == [[]]  # at once
        others = [threads.submit(bench.serve, Talk(name, count)) for name, count in (("b", 1), ("c", 3))]
        assert first.result(20) == [[0, 1]]
        assert [other.result(20) for other in others] == [[[0]], [[0, 1, 2]]]
    assert bench.ran[0] == ["first"]
    assert sorted(bench.ran[1]) == ["b", "c", "first"]
    assert sum(len(batch) for batch in bench.ran) == 6


def test_one_that_fails_fails_alone() -> None:
    bench = Bench(asking=3)
    bench.fails = lambda names: "bad" in names
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(bench.serve, Talk("first", 1))
        while not bench.inside.locked():
            time.sleep(0)
        good, bad = (threads.submit(bench.serve, Talk(name, 1)) for name in ("good", "bad"))
        assert first.result(20) == good.result(20) == [[0]]
        with pytest.raises(RuntimeError, match="no memory for bad"):
            bad.result(20)
    assert bench.serve(Talk("later", 2)) == [[0, 1]]


def test_who_is_interrupted_leaves_nobody_waiting() -> None:
    bench = Bench()

    def interrupted(names: list[str]) -> bool:
        raise KeyboardInterrupt

    bench.fails = interrupted
    with pytest.raises(KeyboardInterrupt):
        bench.serve(Talk("a", 1))
    bench.fails = lambda names: False
    assert bench.serve(Talk("b", 1)) == [[0]]


def test_threads_hear_what_they_would_hear_alone(tmp_path: Path) -> None:
    folder = write_random(tmp_path, tiny=True, seed=1)
    rng = np.random.default_rng(0)
    voice = Voice(
        "made up",
        rng.integers(0, 6561, 20),
        rng.standard_normal((40, 80), np.float32),
        rng.standard_normal(192, np.float32),
    )
    spoken = [rng.integers(0, 6561, tokens).tolist() for tokens in (28, 40, 60, 33)]
    for fixed_shapes in (False, True):
        model = Token2Wav.load(folder, dtype=torch.float64, fixed_shapes=fixed_shapes)

        def heard(place: int, model: Token2Wav = model) -> Any:
            stream = model.stream(voice, seed=place)
            parts = [stream.feed(spoken[place][at : at + 9]) for at in range(0, len(spoken[place]), 9)]
            return np.concatenate([*parts, stream.flush()])

        alone = [heard(place) for place in range(len(spoken))]
        with ThreadPoolExecutor(len(spoken)) as threads:
            for found, expected in zip(threads.map(heard, range(len(spoken))), alone, strict=True):
                np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_ends_of_answers_make_no_graphs(tmp_path: Path) -> None:
    """Each is of another length; graphs of theirs would drive out those that are used all the time."""
    model = Token2Wav.load(write_random(tmp_path, tiny=True, seed=1), fixed_shapes=True)
    model.warm_up("default_female", first_chunk_tokens=25, together=4)
    ready = set(model.flow.use_fixed_shapes().shapes)
    assert {rows for rows, _, _ in ready} == {2, 4, 8}
    for tokens in (3, 30, 47, 61):
        stream = model.stream("default_female")
        assert len(stream.feed([5] * tokens)) + len(stream.flush()) == 960 * tokens
    assert set(model.flow.use_fixed_shapes().shapes) == ready
