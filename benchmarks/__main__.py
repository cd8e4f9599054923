"""Run all benchmarks in turn: ``python -m benchmarks``. Give the machine nothing else to do meanwhile."""

from __future__ import annotations

import subprocess
import sys

PROGRAMS = [
    ["startup"],
    ["dispatch"],
    ["call_parser"],
    ["vad"],
    ["recognition"],
    ["synthesis"],
    ["llm", "--requests", "fresh"],
    ["turns"],
    ["human"],
    ["voices"],
    ["documents"],
    ["crash"],
    ["server"],
    ["server_crash"],
    ["injection"],
    ["eval_mutants"],
]


def run(name: str, *arguments: str) -> bool:
    """Run one in a process of its own; whether it worked."""
    return subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *arguments]).returncode == 0


def main() -> int:
    """Run each and say which failed."""
    failed = [program[0] for program in PROGRAMS if not run(*program)]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
