"""Word error and time of speech recognition, the stock 30 s window and ours side by side.

Run it with ``python -m benchmarks.recognition [model ...]``. Clips and transcripts are those of
``speech/manifest.jsonl`` in the shared data (``SAYSO_SHARED``, by default ``../shared``); synthetic noise is made here.
The ways take turns clip by clip, so that a busy machine slows all of them.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jiwer
import numpy as np

from benchmarks.report import Row, write
from benchmarks.words import in_words
from sayso.items import Audio
from sayso.models.store import Store
from sayso.models.whisper import SHORTEST_WINDOW_S, WhisperRecognizer
from sayso.speech.audio import load, resample

SHARED = Path(os.environ.get("SAYSO_SHARED", "../shared"))
MODELS = ("whisper-tiny.en", "whisper-base")
SETS = ("read", "assistant", "aiewf", "digits")


Recognize = Callable[[Audio], str]


@dataclass
class Score:
    """What one way made of one set."""

    wanted: list[str] = field(default_factory=list[str])
    heard: list[str] = field(default_factory=list[str])
    seconds: list[float] = field(default_factory=list[float])

    def row(self) -> Row:
        """Word error in per cent, and time per clip."""
        return {
            "clips": len(self.wanted),
            "wer_percent": round(100 * jiwer.wer(self.wanted, self.heard), 1),
            "p50_s": round(float(np.median(self.seconds)), 3),
            "p90_s": round(float(np.quantile(self.seconds, 0.9)), 3),
        }


def normal(text: str) -> str:
    """Casefolded words without punctuation, numbers spelled out."""
    text = re.sub(r"(?<=\d),(?=\d{3})", "", text.casefold())
    text = re.sub(r"(\d+)(?:st|nd|rd|th)\b", lambda found: in_words(int(found[1]), to="ordinal"), text)
    text = re.sub(r"\b1[1-9]\d\d\b", lambda found: in_words(int(found[0]), to="year"), text)
    text = re.sub(r"\d+", lambda found: f" {in_words(int(found[0]))} ", text)
    return " ".join(re.sub(r"[^\w\s']", "", text.replace("-", " ").replace("mr.", "mister")).split())


def clips(folders: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any], Audio]]:
    """Folder, manifest line and sound of each clip."""
    for line in (SHARED / "data/speech/manifest.jsonl").read_text("utf-8").splitlines():
        entry: dict[str, Any] = json.loads(line)
        folder = Path(entry["file"]).parent.name
        if folder in folders:
            yield folder, entry, load(SHARED / "data" / entry["file"])


def noises() -> Iterator[Audio]:
    """Silence, hiss, hum, tones and clicks of 0.3 to 8 s at 16 kHz, and the three recorded ones whole and in parts."""
    random = np.random.default_rng(0)
    for seconds in (0.3, 1, 3, 8):
        count = round(seconds * 16_000)
        time_s = np.arange(count) / 16_000
        walk = np.cumsum(random.standard_normal(count))
        walk -= np.convolve(walk, np.ones(400) / 400, "same")
        kinds = [
            np.zeros(count),
            *(random.standard_normal(count) * level for level in (1e-3, 1e-2, 1e-1)),
            0.1 * walk / np.abs(walk).max(),
            0.05 * np.sin(2 * np.pi * 50 * time_s) + 0.02 * np.sin(2 * np.pi * 150 * time_s),
            0.1 * np.sin(2 * np.pi * 440 * time_s),
            0.5 * (np.arange(count) % 4000 == 0),
        ]
        yield from (Audio(kind.astype(np.float32), 16_000) for kind in kinds)
    for _, _, audio in clips(("noise",)):
        rate = audio.sample_rate_hz
        yield from (
            audio,
            Audio(audio.samples[rate : 2 * rate], rate),
            Audio(audio.samples[rate // 2 : 5 * rate // 2], rate),
        )


def stock(folder: Path) -> Recognize:
    """faster-whisper's own call, greedy, with everything else at its default."""
    from faster_whisper import WhisperModel

    model: Any = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=2, local_files_only=True)

    def recognize(audio: Audio) -> str:
        segments, _ = model.transcribe(resample(audio, 16_000).samples, language="en", beam_size=1)
        return " ".join(segment.text.strip() for segment in segments)

    return recognize


def ours(folder: Path, shortest_window_s: float = SHORTEST_WINDOW_S) -> Recognize:
    """`WhisperRecognizer`, told the language."""
    recognizer = WhisperRecognizer(folder, shortest_window_s=shortest_window_s)
    recognizer.load()
    return lambda audio: recognizer.transcribe(audio, "en").text


def measure(name: str) -> Iterator[Row]:
    """All sets in all ways with one model."""
    folder = Store().path(name)
    ways: dict[str, Recognize] = {
        "stock, 30 s window": stock(folder),
        "clip + 2 s": ours(folder, shortest_window_s=0.0),
        "clip + 2 s, at least 10 s (default)": ours(folder),
    }
    scores = {(part, way): Score() for part in SETS for way in ways}
    for part, entry, audio in clips(SETS):
        if entry["lang"] != "en":
            continue
        for way, recognize in ways.items():
            started = time.perf_counter()
            text = recognize(audio)
            scores[part, way].seconds.append(time.perf_counter() - started)
            scores[part, way].wanted.append(normal(entry["transcript"]))
            scores[part, way].heard.append(normal(text))
    for (part, way), score in scores.items():
        yield {"model": name, "set": part, "way": way} | dict(score.row())
    sounds = list(noises())
    for way, recognize in ways.items():
        started = time.perf_counter()
        spoken = sum(bool(recognize(audio)) for audio in sounds)
        mean_s = (time.perf_counter() - started) / len(sounds)
        yield {
            "model": name, "set": "noise", "way": way, "clips": len(sounds),
            "p50_s": round(mean_s, 3), "with_text": spoken,
        }  # fmt: skip


def main() -> None:
    """Measure the models named on the command line, or both."""
    names = sys.argv[1:] or MODELS
    write(
        "recognition",
        [row for name in names for row in measure(name)],
        [
            "int8, 2 threads, language given as English, greedy.",
            "Time is wall time of one call, resampling included; for noise p50_s is the mean.",
            "with_text: clips of noise in which words were heard (none is right).",
            "read: 10 clips, much of them Whisper's own kind of data; digits: single words of 0.3 to 1.1 s at 8 kHz.",
        ],
    )


if __name__ == "__main__":
    main()
