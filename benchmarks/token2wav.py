"""How fast Step-Audio 2's speech tokens become sound: `python -m benchmarks.token2wav`, random weights.

A chunk is 25 tokens, one second of sound; its time is wall time, so give the machine nothing else to do. Without
`--full` the networks are tiny: that says nothing about speed, and keeps this program working.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.report import RESULTS, Row, write
from sayso.models.step_audio2.token2wav import CODEBOOK_SIZE, SAMPLE_RATE_HZ, Feed, Token2Wav, write_random

CHUNK = 25
LOOKED_AT = 3


def now_s(device: torch.device) -> float:
    """The time once the device has done what it was asked."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def tokens(count: int) -> list[int]:
    """Random speech tokens."""
    return np.random.default_rng(0).integers(0, CODEBOOK_SIZE, count).tolist()


def first_sound(model: Token2Wav, device: torch.device, first_chunk_tokens: int, repeats: int) -> Row:
    """From the tokens of the first chunk to its samples, the voice being prepared."""
    times: list[float] = []
    sound_s = 0.0
    for seed in range(repeats):
        stream = model.stream("default_female", seed=seed, first_chunk_tokens=first_chunk_tokens)
        start = now_s(device)
        samples = stream.feed(tokens(first_chunk_tokens + LOOKED_AT))
        times.append(now_s(device) - start)
        sound_s = len(samples) / SAMPLE_RATE_HZ
    return row(f"first chunk of {first_chunk_tokens} tokens", 1, times, sound_s)


def steady(model: Token2Wav, device: torch.device, streams: int, chunks: int) -> Row:
    """Chunks of so many streams at once, from the fourth second on, when nothing grows any more."""
    opened = [model.stream("default_female", seed=seed) for seed in range(streams)]
    model.advance([Feed(stream, tuple(tokens(3 * CHUNK + LOOKED_AT))) for stream in opened])
    times: list[float] = []
    for _ in range(chunks):
        start = now_s(device)
        model.advance([Feed(stream, tuple(tokens(CHUNK))) for stream in opened])
        times.append(now_s(device) - start)
    return row("later chunk", streams, times, 1.0)


def row(what: str, streams: int, times: list[float], sound_s: float) -> Row:
    """One line of the table."""
    median = statistics.median(times)
    return {
        "what": what,
        "streams": streams,
        "ms p50": round(median * 1e3, 2),
        "ms max": round(max(times) * 1e3, 2),
        "sound s each": round(sound_s, 3),
        "real-time factor": round(median / sound_s, 4) if sound_s else None,
    }


def measure(folder: Path, device: torch.device, dtype: torch.dtype, streams: list[int], repeats: int) -> list[Row]:
    """All lines: the first sound, then one to many streams, with fixed shapes (CUDA graphs) and without."""
    rows: list[Row] = []
    for fixed in (False, True):
        model = Token2Wav.load(folder, device, dtype, fixed_shapes=fixed)
        for first in (10, CHUNK):
            model.warm_up("default_female", first_chunk_tokens=first)
        made = [first_sound(model, device, first, repeats) for first in (10, CHUNK)]
        for count in streams:
            steady(model, device, count, 1)  # graphs are made here
            made.append(steady(model, device, count, repeats))
        rows += [{"shapes": "fixed" if fixed else "exact", **line} for line in made]
    return rows


def main(arguments: list[str] | None = None, *, results: Path = RESULTS) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--full", action="store_true", help="networks of full size")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    size = "full" if options.full else "tiny"
    with tempfile.TemporaryDirectory() as folder:
        write_random(folder, tiny=not options.full)
        rows = measure(Path(folder), device, getattr(torch, options.dtype), options.streams, options.repeats)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    notes = [
        f"{size} networks with random weights, {options.dtype}, on {where}, torch {torch.__version__}",
        "prompt of 2 s; wall time, the samples being back on the CPU; median and maximum of "
        f"{options.repeats} chunks after a warm-up",
    ]
    write(f"token2wav_{size}_{device.type}", rows, notes, results=results)


if __name__ == "__main__":
    main()
