"""Check the server against its OpenAPI document with Schemathesis: ``make schemathesis``.

A server with a key and a scripted model runs in this process' child; Schemathesis makes requests that fit the document
and requests that do not. No answer may be a 5xx or break the document.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.server.process import server
from sayso.server.keys import KeyFile

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "ignored_auth",
    "use_after_free",
    "unsupported_method",
)


def main(program: str, *options: str) -> int:
    """Run ``program`` (schemathesis); its exit code."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "keys.json"
        key = KeyFile(path).add("schemathesis", operator=True)
        with server(keys=str(path)) as served:
            command = [program, "run", f"{served.url}/openapi.json", "--header", f"Authorization: Bearer {key}"]
            command += ["--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing,stateful"]
            command += ["--request-timeout", "20", "--max-examples", "50", "--continue-on-failure", *options]
            return subprocess.run(command, env=os.environ, cwd=folder).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
