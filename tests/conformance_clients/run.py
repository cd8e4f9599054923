"""Runs other people's clients against a server here, and prints and writes what each of them could do.

    make conformance                     # installs the clients first
    .venv/bin/python tests/conformance_clients/run.py --model scripted --clients pipecat-ai openai-node

The server speaks TLS with a certificate made for the run to the clients that connect to nothing else.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from sayso.speech.audio import load, resample, to_pcm16

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
INSTALLED = ROOT / ".venv" / "conformance"
RESULTS = ROOT / "benchmarks" / "results" / "conformance.json"
DOCS = ROOT / "docs" / "server-conformance.md"
LONGEST_S = 280
KEY = "sk-conformance"
MODELS = ("scripted", "embedded")
REALTIME = ("spoken_turn", "server_tool", "client_tool", "interruption", "bad_event")
OTHERS = ("chat", "chat_stream", "chat_tool", "chat_audio", "speech", "transcription")


@dataclass(frozen=True, slots=True)
class Client:
    """One of the clients.

    Attributes:
        name: Of its package, and of its folders here and where it is installed.
        version: As its folder here asks for it.
        tls: It connects to no server without.
    """

    name: str
    version: str
    tls: bool = False

    @property
    def is_node(self) -> bool:
        return (HERE / self.name / "client.mjs").exists()

    def command(self) -> list[str]:
        """Runs its program. Node finds packages by where the program is, so that has to be beside them."""
        folder = INSTALLED / self.name
        if not self.is_node:
            return [str(folder / "bin" / "python"), str(HERE / self.name / "client.py")]
        for program in (HERE / "cases.mjs", HERE / self.name / "client.mjs"):
            (folder / program.name).write_bytes(program.read_bytes())
        return ["node", str(folder / "client.mjs")]


def clients() -> list[Client]:
    """Every client, with the version that is pinned."""
    return [
        Client("openai-python", pinned("openai-python", "openai")),
        Client("openai-node", pinned("openai-node", "openai"), tls=True),
        Client("openai-agents-python", pinned("openai-agents-python", "openai-agents")),
        Client("openai-agents-js", pinned("openai-agents-js", "@openai/agents-realtime")),
        Client("pipecat-ai", pinned("pipecat-ai", "pipecat-ai")),
        Client("livekit-plugins-openai", pinned("livekit-plugins-openai", "livekit-plugins-openai")),
    ]


def pinned(folder: str, package: str) -> str:
    """The version of a package in a client's requirements."""
    if (asked := HERE / folder / "package.json").exists():
        return json.loads(asked.read_text("utf-8"))["dependencies"][package]
    found = re.search(rf"^{re.escape(package)}==(\S+)", (HERE / folder / "requirements.txt").read_text("utf-8"), re.M)
    assert found is not None, f"{package} is not pinned"
    return found[1]


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate that signs itself, for this machine."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sayso conformance")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


def write_questions(folder: Path) -> None:
    """The spoken questions as clients send them."""
    for path in (ROOT / "examples" / "questions").glob("*.wav"):
        (folder / f"{path.stem}.pcm").write_bytes(to_pcm16(resample(load(path), 24_000)))


@contextmanager
def server(model: str, folder: Path, *, tls: bool) -> Iterator[str]:
    """Inside, a server runs; yields its address."""
    command = [sys.executable, str(HERE / "server.py"), "--model", model]
    if tls:
        command += ["--cert", str(folder / "cert.pem"), "--key", str(folder / "key.pem")]
    log = folder / f"server-{model}{'-tls' if tls else ''}.log"
    with log.open("wb") as said, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            if not url:
                raise SystemExit(f"The server did not start:\n{log.read_text('utf-8')}")
            yield url
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def drive(client: Client, url: str, folder: Path) -> dict[str, Any]:
    """Run a client's cases."""
    environment = os.environ | {
        "PYTHONPATH": str(HERE),
        "NODE_EXTRA_CA_CERTS": str(folder / "cert.pem"),
        "NODE_NO_WARNINGS": "1",
    }
    try:
        done = subprocess.run(
            [*client.command(), url, KEY, str(folder)],
            capture_output=True,
            text=True,
            env=environment,
            timeout=LONGEST_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"program": {"passed": False, "note": f"not finished after {LONGEST_S} s"}}
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        print(done.stderr[-3000:], file=sys.stderr)
        return {"program": {"passed": False, "note": f"it ended with {done.returncode}"}}
    found = json.loads(lines[-1])
    if not all(case["passed"] for case in found.values()):
        print(done.stderr[-3000:], file=sys.stderr)
    return found


def mark(case: dict[str, Any] | None) -> str:
    """How a case ended."""
    return "" if case is None else "pass" if case["passed"] else "FAIL"


def matrix(results: dict[str, dict[str, Any]], cases: tuple[str, ...]) -> list[list[str]]:
    """Clients by cases; in each cell what came of it with each model."""
    rows = [["client", *(case.replace("_", " ") for case in cases)]]
    for client in clients():
        of_models = [results[model][client.name] for model in results if client.name in results[model]]
        cells = [", ".join(dict.fromkeys(filter(None, (mark(one.get(case)) for one in of_models)))) for case in cases]
        if any(cells):
            rows.append([f"{client.name} {client.version}", *cells])
    return rows


def print_table(rows: list[list[str]]) -> None:
    """For people."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print()


def markdown(rows: list[list[str]]) -> str:
    """The same for the docs."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], f"|{'---|' * len(rows[0])}", *lines[1:]])


def write_docs(results: dict[str, dict[str, Any]], day: str) -> None:
    """Put both tables into their places in the docs page."""
    text = DOCS.read_text("utf-8")
    for name, cases in (("realtime", REALTIME), ("others", OTHERS)):
        table = f"<!-- {name} -->\n{markdown(matrix(results, cases))}\n<!-- end -->"
        text = re.sub(rf"<!-- {name} -->.*?<!-- end -->", lambda _, table=table: table, text, flags=re.S)
    text = re.sub(r"Last run: .*", f"Last run: {day}, models {' and '.join(results)}.", text)
    DOCS.write_text(text, "utf-8")


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", choices=("scripted", "embedded", "small"), nargs="*", default=MODELS)
    parser.add_argument("--clients", nargs="*", choices=[client.name for client in clients()])
    parser.add_argument("--write", action="store_true", help="Also write the results and the table of the docs.")
    given = parser.parse_args()
    if given.write and given.clients:
        parser.error("--write is for all clients")
    results: dict[str, dict[str, Any]] = {model: {} for model in given.model}
    start_s = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_certificate(folder)
        write_questions(folder)
        for model in given.model:
            for tls in (False, True):
                wanted = [
                    client
                    for client in clients()
                    if client.tls == tls and (not given.clients or client.name in given.clients)
                ]
                if not wanted:
                    continue
                with server(model, folder, tls=tls) as url:
                    for client in wanted:
                        results[model][client.name] = found = drive(client, url, folder)
                        for case, how in found.items():
                            took = f"{how.get('seconds', 0):5.1f} s"
                            print(
                                f"{model:9} {client.name:23} {case:14} {mark(how)} {took}  {how['note'][:90]}",
                                flush=True,
                            )
    print()
    print_table(matrix(results, REALTIME))
    print_table(matrix(results, OTHERS))
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    print(f"{time.monotonic() - start_s:.0f} s in all")
    if given.write:
        versions = {client.name: client.version for client in clients()}
        RESULTS.write_text(json.dumps({"day": day, "versions": versions, "results": results}, indent=1) + "\n", "utf-8")
        write_docs(results, day)
    if any(not case["passed"] for of in results.values() for cases in of.values() for case in cases.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
