"""How fast `sayso.models.call_parser` reads: MB and events a second, by dialect and size of the pieces.

Run it with ``python -m benchmarks.call_parser``. A language model gives tens of tokens a second; this shows how little
of that time the parser takes, and that it grows with the length of the text alone.
"""

from __future__ import annotations

import json
import time

from benchmarks import report
from sayso.models.call_parser import CONSTRAINED, QWEN, STEP_AUDIO, CallParser, Dialect

ARGUMENTS = json.dumps({"location": "chengdu", "days": [1, 2, 3], "note": 'say "hello" \\ {twice}'})
SENTENCE = "我现在确认一下！ One moment, I will look at the forecast for you. "
TURNS: dict[str, tuple[Dialect, str]] = {
    "step-audio": (STEP_AUDIO, f"{SENTENCE}<tool_call>function\nget_weather\n{ARGUMENTS}</tool_call>"),
    "qwen": (QWEN, f'{SENTENCE}<tool_call>{{"name": "get_weather", "arguments": {ARGUMENTS}}}</tool_call>'),
    "constrained call": (CONSTRAINED, f'{{"tool":"get_weather","arguments":{ARGUMENTS}}}'),
    "constrained speech": (CONSTRAINED, json.dumps({"tool": "none", "arguments": {"say": SENTENCE * 3}})),
}
PIECE_CHARS = (1, 4, 1 << 20)
TARGET_BYTES = 1_000_000


def measure(dialect: Dialect, turn: str, piece_chars: int) -> dict[str, float]:
    """Read the turn again and again; a stream with marks goes through one parser, others get one parser a turn."""
    repeats = max(1, TARGET_BYTES // len(turn.encode()))
    streams = [turn * repeats] if dialect.open_mark else [turn] * repeats
    pieces = [[text[at : at + piece_chars] for at in range(0, len(text), piece_chars)] for text in streams]
    events = 0
    started = time.perf_counter()
    for stream in pieces:
        parser = CallParser(dialect)
        events += sum(len(parser.feed(piece)) for piece in stream) + len(parser.close())
    seconds = time.perf_counter() - started
    count = sum(map(len, pieces))
    megabytes = repeats * len(turn.encode()) / 1e6
    return {
        "mb_per_s": round(megabytes / seconds, 2),
        "events_per_s": round(events / seconds),
        "us_per_piece": round(seconds / count * 1e6, 2),
    }


def main() -> None:
    """Measure every dialect with every size of piece, the best of three."""
    rows = [
        {"dialect": name, "piece_chars": size}
        | max((measure(dialect, turn, size) for _ in range(3)), key=lambda row: row["mb_per_s"])
        for name, (dialect, turn) in TURNS.items()
        for size in PIECE_CHARS
    ]
    report.write("call_parser", rows)


if __name__ == "__main__":
    main()
