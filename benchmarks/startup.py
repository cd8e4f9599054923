"""How soon sayso is there: `import sayso`, and `sayso ask` from a cold process to the first sound of its answer.

    python -m benchmarks.startup [--repeat N]

The model files are on disk, and in the page cache after the first run; the prompt was evaluated by an earlier process.
Time zero is the start of the process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import report

QUESTION = Path(__file__).parent.parent / "examples" / "questions" / "what_time.wav"
IMPORT = "import time; start = time.perf_counter(); import sayso; print(time.perf_counter() - start)"
ASK = """
import asyncio, json, sys, time
from pathlib import Path
from contextlib import aclosing
from sayso.cli_options import DEFAULT_INSTRUCTIONS, build_agent, chosen_tools
from sayso.events import AudioDelta

async def main():
    agent = build_agent(chosen_tools(None), DEFAULT_INSTRUCTIONS, None, sys.argv[1], sys.argv[2], "en")
    at = {"agent": time.time()}
    async with agent.session() as session, aclosing(session.stream(Path(sys.argv[3]))) as stream:
        async for event in stream:
            name = event.type
            if isinstance(event, AudioDelta):
                name = "filler" if event.filler else "first_audio"
            at.setdefault(name, time.time())
    print(json.dumps(at))
    await agent.aclose()

asyncio.run(main())
"""


def import_seconds(repeat: int) -> list[float]:
    """Seconds of ``import sayso`` in fresh processes."""
    return [float(_run([sys.executable, "-c", IMPORT])) for _ in range(repeat)]


def ask_stages(engine: str, repeat: int) -> list[dict[str, float]]:
    """Seconds from the start of a process to each stage of answering one spoken question."""
    rows: list[dict[str, float]] = []
    for _ in range(repeat):
        start = time.time()
        at: dict[str, float] = json.loads(_run([sys.executable, "-c", ASK, "default", engine, str(QUESTION)]))
        rows.append({name: moment - start for name, moment in at.items()})
    return rows


def _run(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    imports = import_seconds(max(5, options.repeat))
    rows: list[dict[str, Any]] = [
        {"what": "import sayso", "median_s": round(statistics.median(imports), 3), "max_s": round(max(imports), 3)}
    ]
    for engine in ("kokoro", "piper"):
        ask_stages(engine, 1)  # fills the page cache and the prompt cache
        runs = ask_stages(engine, options.repeat)
        for stage in ("agent", "turn_started", "heard", "call_ready", "first_audio"):
            reached = [run[stage] for run in runs if stage in run]
            if reached:
                row = {"what": f"sayso ask, {engine}, cold: {stage}"}
                rows.append({**row, "median_s": round(statistics.median(reached), 2), "max_s": round(max(reached), 2)})
    report.write("startup", rows)


if __name__ == "__main__":
    main()
