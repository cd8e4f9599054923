"""Speech synthesis: load time, time to the first phrase, speed, and whether it is understood.

Kokoro's fast graph and its published int8 graph run side by side, alternating, in one process.

    python -m benchmarks.synthesis [--kokoro MODEL.onnx --voices FOLDER --piper FOLDER --whisper FOLDER]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jiwer
import numpy as np

from benchmarks.report import write
from sayso.errors import SaysoError
from sayso.items import Audio
from sayso.models.store import Store
from sayso.speech.tts.base import Synthesizer
from sayso.speech.tts.kokoro import Kokoro
from sayso.speech.tts.normalize import normalize
from sayso.speech.tts.phrases import chunks
from sayso.speech.tts.piper import Piper

PHRASES = {
    2: "Hello there.",
    5: "The current time is noon.",
    10: "The meeting tomorrow starts at quarter past nine in Paris.",
}
LONG = "The train to Boston leaves at a quarter past nine, and it arrives at platform four shortly before noon."
HARD = (
    "The meeting starts at 9:45 tomorrow morning.",
    "Your total comes to $22.50, including tax.",
    "Dr. Smith can see you at 3:05 PM on November 22.",
    "It is 21°C in Madrid with winds of 15 km/h.",
    "Add 1/2 cup of sugar and 2.5 cups of flour.",
    "Flight 372 now leaves from gate B12.",
    "Please call 555-0142 before 6 PM.",
    "The temperature dropped to -4 degrees last night.",
    "About 18% of 250 is 45.",
    "She finished 3rd in the 100 m race.",
    "The shop is open 9-5 from Monday to Friday.",
    "Giovanni and Patrick live at 12 Baker Street.",
    "The bridge was built in 1937 and cost $35 million.",
    "Set the oven to 180 degrees for 25 minutes.",
    "Reykjavik is 3 hours behind Helsinki in winter.",
    "I read the book that you read last week.",
    "The parcel weighs 3.2 kg and costs £8 to send.",
    "Catherine's flight lands at 17:20 in terminal 2.",
    "There are 1,250 seats, e.g. for concerts.",
    "Mr. Jones pays 4 euros a day for parking.",
)


def main() -> None:
    """Measure what is there and write ``results/synthesis.json``."""
    options = _options()
    engines = _engines(options)
    rows = {name: {"engine": name, **_loading(engine)} for name, engine in engines.items()}
    for name, figures in _timings(engines, options.repeats).items():
        rows[name].update(figures)
    hear = _listener(_path(options.whisper, "whisper-tiny.en"))
    for name, engine in engines.items():
        if name != "kokoro published int8 graph":
            rows[name]["WER %"] = round(100 * _word_errors(engine, hear), 1)
    write(
        "synthesis",
        list(rows.values()),
        [
            "Times in seconds, the median of alternating runs; 2, 5 and 10 words: a phrase whole.",
            f"first phrase: of a sentence of {len(LONG.split())} words, cut by phrases.chunks.",
            f"WER: {len(HARD)} sentences with times, money and names, heard by Whisper tiny.en, figures in words.",
            "CPU s: processor time of both cores, the least of the runs; it hardly depends on what else runs.",
            "load: graph and dictionaries, warm disk; the fast graph was in the cache.",
        ],
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("kokoro", "voices", "piper", "whisper"):
        parser.add_argument(f"--{name}", type=Path, help="default: the model store's")
    parser.add_argument("--repeats", type=int, default=7)
    return parser.parse_args()


def _path(given: Path | None, name: str) -> Path:
    return given or Store().path(name)


def _engines(options: argparse.Namespace) -> dict[str, Synthesizer]:
    model, voices = _path(options.kokoro, "kokoro-82m"), _path(options.voices, "kokoro-voices")
    Kokoro(model, voices, threads=2).load()  # makes the fast graph where it is not cached yet
    engines: dict[str, Synthesizer] = {
        "kokoro": Kokoro(model, voices, threads=2),
        "kokoro published int8 graph": Kokoro(model, voices, threads=2, rewrite=False),
    }
    try:
        engines["piper joe"] = Piper(_path(options.piper, "piper-joe"))
    except SaysoError as error:
        print(f"Piper is left out: {error}")
    return engines


def _loading(engine: Synthesizer) -> dict[str, Any]:
    start = time.perf_counter()
    engine.load()
    return {"load": round(time.perf_counter() - start, 2)}


def _timings(engines: dict[str, Synthesizer], repeats: int) -> dict[str, dict[str, Any]]:
    texts = {f"{words} words": text for words, text in PHRASES.items()} | {"first phrase": chunks(LONG)[0]}
    taken: dict[tuple[str, str], list[float]] = {}
    seconds: dict[tuple[str, str], float] = {}
    work: dict[str, list[float]] = {}
    for _ in range(repeats):
        for label, text in texts.items():
            for name, engine in engines.items():
                start, busy = time.perf_counter(), time.process_time()
                audio = engine.synthesize(text)
                if label == "10 words":
                    work.setdefault(name, []).append(time.process_time() - busy)
                taken.setdefault((name, label), []).append(time.perf_counter() - start)
                seconds[name, label] = audio.seconds
    return {
        name: {label: round(statistics.median(taken[name, label]), 3) for label in texts}
        | {"CPU s, 10 words": round(min(work[name]), 2)}
        | {"RTF, 10 words": round(statistics.median(taken[name, "10 words"]) / seconds[name, "10 words"], 3)}
        for name in engines
    }


def _listener(folder: Path) -> Callable[[Audio], str]:
    import soxr
    from faster_whisper import WhisperModel

    model: Any = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=2)

    def hear(audio: Audio) -> str:
        samples: Any = soxr.resample(audio.samples, audio.sample_rate_hz, 16_000)
        segments, _ = model.transcribe(np.pad(samples, 4000), language="en", beam_size=1)
        return " ".join(segment.text for segment in segments)

    return hear


def _word_errors(engine: Synthesizer, hear: Callable[[Audio], str]) -> float:
    said, heard = [_words(text) for text in HARD], [_words(hear(engine.synthesize(text))) for text in HARD]
    _show_errors(said, heard)
    return float(jiwer.wer(said, heard))


def _show_errors(said: Sequence[str], heard: Sequence[str]) -> None:
    for expected, got in zip(said, heard, strict=True):
        if expected != got:
            print(f"  said {expected!r}\n heard {got!r}")


def _words(text: str) -> str:
    words = "".join(character if character.isalnum() else " " for character in normalize(text).lower().replace("'", ""))
    return " ".join(word for word in words.split() if word not in ("o", "clock"))


if __name__ == "__main__":
    main()
