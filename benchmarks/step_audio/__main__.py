"""The command: see the package's docstring."""

from __future__ import annotations

import argparse
import os
import re
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch

import benchmarks.step_audio as package
from benchmarks import report
from benchmarks.step_audio import decoding, sessions, sound, talk
from benchmarks.step_audio.bench import Bench, Figure, failed

ROWS: Final[dict[str, Callable[[Bench], list[Figure]]]] = {
    "bandwidth": decoding.bandwidth,
    "decode": decoding.decode,
    "transformers": decoding.transformers,
    "drawing": decoding.drawing,
    "prefill": decoding.prefill,
    "encode": sound.encode,
    "token2wav": sound.speaking,
    "weights": decoding.weights,
    "first_audio": talk.first_audio,
    "tool_turn": talk.tool_turn,
    "growth": talk.growth,
    "sessions": sessions.sessions,
}


def main(arguments: list[str] | None = None, *, results: Path = report.RESULTS) -> list[report.Row]:
    """Measure, print and write; returns the rows."""
    options = _options(arguments)
    device = torch.device(options.device)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    size = "tiny" if options.tiny or device.type == "cpu" else "full"
    name = re.sub(r"\W+", "_", f"step_audio_{size}_{where}").lower()
    file: Path = options.out or results / f"{name}.json"
    notes = [
        f"{size} networks with random weights, bfloat16 (token to wave float32), on {where}, torch {torch.__version__}",
        f"replies of the rows that talk are forced to be legal; {options.seconds:g} s of speech where many speak",
        "p50 is the median, or the only figure there is; targets are for an H100 at full size",
    ]
    rows: list[report.Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(device, size == "tiny", options.tokenizer, options.seconds, Path(scratch))
        for row in options.only:
            start = time.perf_counter()
            measured = [figure.row(row) for figure in _measured(row, bench)]
            print(f"{row} ({time.perf_counter() - start:.1f} s)")
            _print(measured)
            rows += measured
            report.save(file.stem, rows, notes, results=file.parent)
    report.show(file.stem, [_shown(row) for row in rows], notes)
    print(file)
    return rows


def _print(rows: list[report.Row]) -> None:
    for row in rows:
        more = [f"{key} {value}" for key, value in row["more"].items()]
        print(f"    {row['what']}: {row['p50']} {row['unit']}", *more, sep=", ", flush=True)


def _measured(name: str, bench: Bench) -> list[Figure]:
    """The figures of a row, or what went wrong with it."""
    try:
        return ROWS[name](bench)
    except Exception as error:
        traceback.print_exc()
        return [failed(name, error)]
    finally:
        bench.free()


def _shown(row: report.Row) -> report.Row:
    """A row for the screen: fewer, narrower columns."""
    bars = [f"{row[key]:g}" for key in ("target", "target p95") if row[key] is not None]
    return {
        "what": row["what"],
        "p50": row["p50"],
        "p95": row["p95"],
        "unit": row["unit"],
        "target": "/".join(bars),
        "reached": {True: "yes", False: "NO", None: ""}[row["reached"]],
    }


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.step_audio",
        description=package.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tiny", action="store_true", help="tiny networks; always so on a CPU")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", type=_rows, default=list(ROWS), metavar="NAME,...", help="these rows, in this order")
    parser.add_argument("--seconds", type=float, default=60.0, help="of speech of each session, where many speak")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to write, a .json")
    parser.add_argument(
        "--tokenizer",
        type=Path,
        default=Path(os.environ.get("SAYSO_SHARED", "../shared")) / "step-audio-2-mini",
        metavar="FOLDER",
        help="the folder with the checkpoint's config and tokenizer",
    )
    return parser.parse_args(arguments)


def _rows(names: str) -> list[str]:
    chosen = names.split(",")
    for name in chosen:
        if name not in ROWS:
            raise argparse.ArgumentTypeError(f"no row {name!r}; rows are {', '.join(ROWS)}")
    return chosen


if __name__ == "__main__":
    main()
