"""`sayso serve` as a process of its own, `sayso keys`, and one line for every mistake."""

from __future__ import annotations

import ipaddress
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra server is not installed")
pytest.importorskip("websockets", reason="the extra server is not installed")

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from sayso import cli_serve
from sayso.cli import main
from sayso.server.keys import KeyFile

AGENT = """
from sayso import Agent
from sayso.testing import ScriptedModel, say, wait

agent = Agent(model=ScriptedModel((None, [wait(0.5), say("Done.")])))
"""
UNVOICED = """
from sayso import Agent
from sayso.testing import ScriptedModel

agent = Agent(model=ScriptedModel(), voice="none-such")
"""
APP = (
    AGENT
    + """
import asyncio
import sys
from fastapi import WebSocket
from sayso.server import ServerSettings, create_app
from sayso.server.auth import admit
from sayso.server.host import host_of
from sayso.server.run import serve

async def live(websocket: WebSocket) -> None:
    caller = await admit(websocket)
    async with host_of(websocket).open_session(None, caller, on_drain=lambda: print("draining")) as session:
        await websocket.send_text("open")
        await websocket.receive_text()
        async for event in session.stream("Hi"):
            await websocket.send_text(event.type)
        await websocket.receive_text()

app = create_app(agent, ServerSettings(port=0, max_message_bytes=1000))
app.add_api_websocket_route("/live", live)
asyncio.run(serve(app, lambda url: print(f"Serving at {url};", flush=True)))
print("ended")
"""
)


@contextmanager
def serving(*command: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that serves, and its address."""
    process = subprocess.Popen(
        [sys.executable, "-u", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("Serving at "), line + process.communicate()[1]
        yield process, line.removeprefix("Serving at ").partition(";")[0]
    finally:
        process.kill()
        process.communicate()


def sayso(*arguments: str) -> tuple[str, ...]:
    return "-c", "from sayso.cli import entry; entry()", *arguments


def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What a process that was told to end had to say; it ended well."""
    process.wait(timeout=20)
    assert process.stdout is not None and process.stderr is not None
    out, errors = process.stdout.read(), process.stderr.read()
    assert process.returncode == 0, errors
    return out, errors


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_a_server_starts_gets_ready_and_ends_when_it_is_told(tmp_path: Path) -> None:
    file = write(tmp_path / "my_agent.py", AGENT)
    with serving(*sayso("serve", file, "--port", "0", "--log-format", "json")) as (process, url):
        with httpx.Client(base_url=url, transport=httpx.HTTPTransport(retries=3)) as client:
            assert client.get("/healthz").json() == {"status": "ok"}
            while client.get("/readyz").status_code == 503:
                pass
            assert client.get("/readyz").json() == {"status": "ready", "agents": ["sayso"]}
            assert client.get("/readyz", headers={"Host": "evil.example"}).status_code == 403
            assert "sayso_sessions_free 64.0" in client.get("/metrics").text
        process.send_signal(signal.SIGTERM)
        out, errors = ended(process)
    assert "agent sayso: scripted, 0 tools" in out and "/metrics" in out
    assert [json.loads(line)["status"] for line in errors.splitlines()] == [403]


def test_sigterm_lets_a_turn_end_and_then_closes(tmp_path: Path) -> None:
    with serving(write(tmp_path / "app.py", APP)) as (process, url):
        address = url.replace("http", "ws") + "/live"
        with connect(address) as talking, connect(address) as idle, connect(address) as loud:
            assert talking.recv() == idle.recv() == loud.recv() == "open"
            loud.send("x" * 1001)
            assert closed_with(loud) == 1009  # a message over the limit closes its WebSocket alone
            talking.send("go")
            assert talking.recv() == "turn_started"
            process.send_signal(signal.SIGTERM)
            error = json.loads(idle.recv())
            assert error["error"]["code"] == "server_stopping"
            assert closed_with(idle) == 1001
            events: list[str] = []
            while not (message := str(talking.recv())).startswith("{"):
                events.append(message)
            assert events[-1] == "turn_done" and "audio_delta" in events
            assert json.loads(message)["error"]["code"] == "server_stopping"
            assert closed_with(talking) == 1001
            with pytest.raises(OSError):
                connect(address)
        out, errors = ended(process)
    assert out.splitlines() == ["draining", "draining", "ended"]
    assert "Traceback" not in errors


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    slow = APP.replace("wait(0.5)", "wait(3600)")
    with serving(write(tmp_path / "app.py", slow)) as (process, url):
        with connect(url.replace("http", "ws") + "/live") as talking:
            talking.recv()
            talking.send("go")
            talking.recv()
            process.send_signal(signal.SIGTERM)
            assert process.stdout is not None and process.stdout.readline() == "draining\n"
            process.send_signal(signal.SIGINT)
            out, errors = ended(process)
    assert out == "ended\n" and "Traceback" not in errors


def closed_with(websocket: ClientConnection) -> int | None:
    with pytest.raises(ConnectionClosed):
        websocket.recv()
    return websocket.close_code


def test_a_server_for_other_machines_has_keys_and_tls(tmp_path: Path) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    key = keys.add("phone")
    certificate, private = self_signed(tmp_path)
    options = ("--keys", str(keys.path), "--tls-cert", certificate, "--tls-key", private)
    file = write(tmp_path / "my_agent.py", AGENT)
    with serving(*sayso("serve", file, "--host", "0.0.0.0", "--port", "0", *options)) as (process, url):
        assert url.startswith("https://0.0.0.0:")
        at = url.replace("0.0.0.0", "127.0.0.1")
        with httpx.Client(base_url=at, verify=ssl.create_default_context(cafile=certificate)) as client:
            assert client.get("/healthz").status_code == 200
            assert client.get("/metrics").status_code == 401
            assert client.get("/metrics", headers={"Authorization": f"Bearer {key}"}).status_code == 403
        with pytest.raises(InvalidStatus) as refused:
            connect(f"{at.replace('https', 'wss')}/v1/realtime", ssl=ssl.create_default_context(cafile=certificate))
        assert refused.value.response.status_code == 401
        process.send_signal(signal.SIGINT)
        _, errors = ended(process)
    assert " error " not in errors  # who has no key is no fault of the server


def self_signed(folder: Path) -> tuple[str, str]:
    """A certificate for 127.0.0.1 and its key."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return str(folder / "cert.pem"), str(folder / "key.pem")


def failed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line of an error that is the user's."""
    assert main(list(arguments)) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1 and "Traceback" not in err
    return err


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("x = 1", "defines no agent"),
        ("agent = 'me'", "has a str for its agent"),
        ("agents = {}", "agents is no dict, or empty"),
        ("agents = ['me']", "agents is no dict, or empty"),
        ("agents = {'me': 1}", "agents['me'] is a int"),
        ("from sayso import Agent\nagents = {'a/b': Agent()}", "cannot be a part of an address"),
        ("def broken(:", "SyntaxError"),
        ("1 / 0", "my_agent.py:1: ZeroDivisionError"),
    ],
)
def test_a_file_without_an_agent(source: str, told: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    line = failed(capsys, "serve", write(tmp_path / "my_agent.py", source))
    assert told in line and "my_agent.py" in line


def test_a_server_that_cannot_be_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = write(tmp_path / "my_agent.py", AGENT)
    other = write(tmp_path / "other.py", UNVOICED)
    certificate, key = self_signed(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for arguments, told in (
            (["none.py"], "none.py does not exist"),
            ([file, "--port", port], f"Cannot listen on 127.0.0.1, port {port}"),
            ([file, "--host", "no.such.host.invalid", "--insecure"], "Cannot listen on no.such.host.invalid"),
            ([file, "--host", "0.0.0.0"], "without keys"),
            ([file, "--cors", "*"], "Every web page"),
            ([file, "--cors", "app.example.org"], "no origin of web pages"),
            ([file, "--cors", "https://app.example.org/"], "no origin of web pages"),
            ([file, "--allow-host", "https://app.example.org"], "no name of a server"),
            ([file, "--allow-host", "App.example.org:8000"], "no name of a server"),
            ([other, "--port", "0"], "There is no voice 'none-such'"),
            ([file, "--model", "small"], "--model is for the embedded model"),
            ([file, "--tls-cert", certificate], "TLS needs a certificate and its key"),
            ([file, "--tls-cert", certificate, "--tls-key", "none.pem"], "no file none.pem"),
            ([file, "--tls-cert", key, "--tls-key", certificate], "no certificate with its key"),
            ([file, "--keys", str(tmp_path / "none.json")], "There are no keys"),
            ([file, "--keys", file], "no file of API keys"),
            ([file, "--jwt-key", "none.pem"], "cannot be read"),
            ([file, "--jwt-key", write(tmp_path / "short.txt", "short")], "fewer than 32 bytes"),
            ([file, "--max-sessions", "0"], "max-sessions"),
            ([file, "--log-format", "xml"], "log-format"),
            ([file, "--tools", "none.py"], "none.py"),
        ):
            assert told in failed(capsys, "serve", *arguments), arguments


def test_the_servers_packages_may_be_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_serve, "PACKAGES", ("fastapi", "no_such_package"))
    assert "pip install 'sayso[server]'" in failed(capsys, "serve")


def test_keys_are_made_listed_and_revoked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    at = ("--keys", str(tmp_path / "keys.json"))
    assert main(["keys", "list", *at]) == 0
    assert "No keys yet" in capsys.readouterr().out
    limits = ("--sessions", "2", "--requests-per-minute", "30", "--minutes-per-day", "1.5")
    assert main(["keys", "add", "phone", *at, *limits, "--agents", "one", "--agents", "two"]) == 0
    out, err = capsys.readouterr()
    key = out.strip()
    assert key.startswith("sk-sayso-") and "cannot be shown again" in err
    assert "There is a key 'phone' already" in failed(capsys, "keys", "add", "phone", *at)
    assert main(["keys", "list", "--json", *at]) == 0
    shown = capsys.readouterr().out
    (entry,) = json.loads(shown)
    assert entry["limits"] == {"sessions": 2, "requests_per_minute": 30, "minutes_per_day": 1.5}
    assert (entry["name"], entry["agents"], entry["revoked"]) == ("phone", ["one", "two"], False)
    assert "hash" not in shown and "salt" not in shown
    assert main(["keys", "revoke", "phone", *at]) == 0
    assert KeyFile(tmp_path / "keys.json").verify(key) is None
    capsys.readouterr()
    assert main(["keys", "list", *at]) == 0
    assert "revoked" in capsys.readouterr().out
    assert "There is no key 'phone'" in failed(capsys, "keys", "revoke", "phone", *at)
    assert "sessions" in failed(capsys, "keys", "add", "desk", "--sessions", "0", *at)
