"""Checkpoints from the model hub: the real library against a hub of our own on the loopback device."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from typer.testing import CliRunner

pytest.importorskip("huggingface_hub", reason="needs the extra step-audio")

from sayso import http as sayso_http
from sayso import settings
from sayso.cli_models import models_app
from sayso.doctor import check_all
from sayso.errors import IntegrityError, ModelMissingError, ModelStoreError, UsageError
from sayso.models.named import named
from sayso.models.store import Checkpoint, DiskFullError, Hub, find_checkpoint
from sayso.models.store import files as store_files

REPO = "made-up/Tiny-Step-Audio"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = (".safetensors", ".pt", ".onnx")


@dataclass
class FakeHub:
    """As much of a hub as the library asks for: facts of a repository, its tree, its files by range."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    cut: dict[str, int] = field(default_factory=dict)  # path -> after so many bytes, and no more from then on
    status: int = 0  # answers everything

    def listing(self) -> list[dict[str, object]]:
        return [self.entry(path) for path in self.files]

    def entry(self, path: str) -> dict[str, object]:
        data = self.files[path]
        git = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
        found: dict[str, object] = {"rfilename": path, "path": path, "type": "file", "size": len(data)}
        found |= {"blobId": git, "oid": git}
        if path.endswith(LARGE):
            sha256 = hashlib.sha256(data).hexdigest()
            found["lfs"] = {"sha256": sha256, "oid": sha256, "size": len(data), "pointerSize": 134}
        return found

    def ranges(self, path: str) -> list[str]:
        return [line.split(" ", 2)[2] for line in self.asked if line.startswith(f"GET {path} ")]


class Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if token := self.headers.get("Authorization"):
            self.hub.tokens.add(token)
        if self.hub.status:
            return self.send(self.hub.status, b"")
        if path == f"/api/models/{REPO}/revision/main":
            assert parse_qs(urlsplit(self.path).query)["blobs"]
            return self.send_json({"id": REPO, "sha": COMMIT, "siblings": self.hub.listing()})
        if path == f"/api/models/{REPO}/tree/{COMMIT}":
            return self.send_json(self.hub.listing())
        start = f"/{REPO}/resolve/{COMMIT}/"
        if path.startswith(start) and (name := path.removeprefix(start)) in self.hub.files:
            return self.send_file(name)
        self.send(404, b"{}", **{"X-Error-Code": "RepoNotFound"})

    def send_file(self, name: str) -> None:
        data, asked = self.hub.files[name], self.headers.get("Range", "")
        self.hub.asked.append(f"{self.command} {name} {asked}")
        begin = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
        etag = hashlib.sha256(data).hexdigest() if name.endswith(LARGE) else hashlib.sha1(data).hexdigest()
        facts = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}
        if asked:
            facts["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        if name in self.hub.cut and self.command == "GET":
            if begin:
                return self.send(500, b"")
            return self.send(200, data, cut=self.hub.cut[name], **facts)
        self.send(206 if asked else 200, data[begin:], **facts)

    def send_json(self, value: object) -> None:
        self.send(200, json.dumps(value).encode(), **{"Content-Type": "application/json"})

    def send(self, status: int, body: bytes, *, cut: int = -1, **headers: str) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body if cut < 0 else body[:cut])
        if cut >= 0:
            self.wfile.flush()
            self.close_connection = True


@pytest.fixture
def hub(tiny_checkpoint: Path) -> Iterator[FakeHub]:
    found = FakeHub()
    for path in tiny_checkpoint.rglob("*"):
        if path.is_file():
            found.files[path.relative_to(tiny_checkpoint).as_posix()] = path.read_bytes()
    found.files |= {"README.md": b"read me", "modeling.py": b"print('no')", "assets/radar.png": b"png"}
    handler = type("HubHandler", (Handler,), {"hub": found})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAYSO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hf"))
    for name in list(os.environ):
        if name.startswith("SAYSO_MODEL_STEP"):
            monkeypatch.delenv(name)


CHECKPOINT = Checkpoint("step-audio-2-mini", REPO, "for tests", also=())


def forget_connections() -> None:
    """The next request reads the settings of proxies again."""
    if sayso_http._client is not None:
        sayso_http._client.close()
    sayso_http._client = None


class Told:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.steps: list[tuple[str, int]] = []
        self.ended: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def begin(self, name: str, total_bytes: int) -> None:
        self.steps.append(("begin", total_bytes))

    def update(self, name: str, done_bytes: int) -> None:
        self.steps.append(("at", done_bytes))

    def end(self, name: str) -> None:
        self.ended.append(name)


def test_a_checkpoint_is_fetched_checked_and_used(hub: FakeHub, tiny_checkpoint: Path) -> None:
    store, told = Hub(endpoint=hub.url, backoff_s=0), Told()
    assert store.status(CHECKPOINT).state == "missing"
    folder = store.pull(CHECKPOINT, told)
    assert folder == settings.models_root() / "step-audio-2-mini"
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == {
        path.relative_to(tiny_checkpoint).as_posix() for path in tiny_checkpoint.rglob("*") if path.is_file()
    } | {"hub.json", "verified.json"}
    for name in names - {"hub.json", "verified.json"}:
        assert (folder / name).read_bytes() == hub.files[name]
    facts = json.loads((folder / "hub.json").read_text())
    assert (facts["repo"], facts["revision"], facts["licence"]) == (REPO, COMMIT, "Apache-2.0")
    total = sum(file["size"] for file in facts["files"] if file["path"].endswith(LARGE))
    assert told.steps[0] == ("begin", total) and told.steps[-1] == ("at", total)
    assert told.ended == ["step-audio-2-mini"]
    assert (store.status(CHECKPOINT).state, store.path(CHECKPOINT)) == ("ready", folder)
    assert store.verify(CHECKPOINT).ok
    assert not (settings.models_root() / ".partial" / "step-audio-2-mini").exists()
    before = len(hub.asked)
    store.pull(CHECKPOINT, told)
    assert told.notes[-1] == "step-audio-2-mini: already here" and len(hub.asked) == before

    for name in ("step-audio-2-mini", "stepfun-ai/Step-Audio-2-mini"):
        assert named(name).profile.voices == ("default_female", "default_male")


def test_a_pull_that_was_cut_goes_on_where_it_stopped(hub: FakeHub) -> None:
    shard = max((name for name in hub.files if name.endswith(".safetensors")), key=lambda name: len(hub.files[name]))
    hub.cut[shard] = 1 << 20
    store = Hub(endpoint=hub.url, backoff_s=0)
    with pytest.raises(ModelStoreError, match=r"\.safetensors: 127\.0\.0\.1.*500.*what was fetched is kept"):
        store.pull(CHECKPOINT)
    assert store.status(CHECKPOINT).state == "partial"
    assert not (settings.models_root() / "step-audio-2-mini").exists()
    hub.cut.clear()
    hub.asked.clear()
    store.pull(CHECKPOINT)
    assert [int(asked[6:-1]) >> 19 for asked in hub.ranges(shard)] == [2]  # from 1 MiB on
    assert hub.ranges("vocab.json") == []  # it was there
    assert store.verify(CHECKPOINT).ok


def test_a_damaged_file_is_told_and_fetched_anew(hub: FakeHub) -> None:
    store = Hub(endpoint=hub.url, backoff_s=0)
    folder = store.pull(CHECKPOINT)
    vocoder = folder / "token2wav" / "hift.pt"
    vocoder.write_bytes(b"x" + vocoder.read_bytes()[1:])
    assert store.status(CHECKPOINT).state == "unchecked"
    assert [str(one) for one in store.verify(CHECKPOINT).files if one.state != "good"] == [
        f"token2wav/hift.pt has SHA-256 {hashlib.sha256(vocoder.read_bytes()).hexdigest()}, "
        f"expected {hashlib.sha256(hub.files['token2wav/hift.pt']).hexdigest()}"
    ]
    (folder / "config.json").unlink()
    assert store.status(CHECKPOINT).state == "damaged"
    hub.asked.clear()
    store.pull(CHECKPOINT)
    assert store.verify(CHECKPOINT).ok
    assert {line.split()[1] for line in hub.asked if line.startswith("GET ")} >= {"config.json", "token2wav/hift.pt"}
    assert not any(line.startswith("GET model-") for line in hub.asked)


def test_a_folder_that_somebody_put_there_is_completed(hub: FakeHub, tiny_checkpoint: Path) -> None:
    folder = settings.models_root() / "step-audio-2-mini"
    shutil.copytree(tiny_checkpoint, folder)
    store = Hub(endpoint=hub.url, backoff_s=0)
    assert store.status(CHECKPOINT).state == "unchecked"
    assert [str(one) for one in store.verify(CHECKPOINT).files] == ["hub.json is missing"]
    with pytest.raises(ModelStoreError, match="cannot be reached"):
        Hub(endpoint="http://127.0.0.1:9").pull(CHECKPOINT)
    assert store.path(CHECKPOINT) == folder  # it stays where it is
    store.pull(CHECKPOINT)
    assert store.verify(CHECKPOINT).ok
    assert not any(line.startswith("GET model-") for line in hub.asked)


def test_what_came_is_what_the_hub_says(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = hub.listing()
    entry = next(one for one in listing if one["path"] == "token2wav/flow.pt")
    entry["lfs"] = {**entry["lfs"], "sha256": "0" * 64, "oid": "0" * 64}  # type: ignore[dict-item]
    monkeypatch.setattr(hub, "listing", lambda: listing)
    with pytest.raises(IntegrityError, match=r"flow\.pt\.part from .* expected SHA-256 0000"):
        Hub(endpoint=hub.url, backoff_s=0).pull(CHECKPOINT)
    assert Hub().status(CHECKPOINT).state == "partial"


def test_a_repository_that_is_none(hub: FakeHub) -> None:
    store = Hub(endpoint=hub.url, backoff_s=0)
    with pytest.raises(ModelStoreError, match=r"The hub has no made-up/other \(main\).*HF_ENDPOINT.*HF_TOKEN"):
        store.pull(Checkpoint("x", "made-up/other", "", also=()))
    del hub.files["token2wav/flow.pt"]
    with pytest.raises(ModelStoreError, match=r"no checkpoint of Step-Audio 2: it has no token2wav/flow\.pt"):
        store.pull(CHECKPOINT)
    hub.files |= {"token2wav/flow.pt": b"", "token2wav/../../evil.pt": b""}
    with pytest.raises(ModelStoreError, match="names a strange file"):
        store.pull(CHECKPOINT)


def test_a_checkpoint_that_cannot_be_loaded_gets_no_place(hub: FakeHub) -> None:
    config = json.loads(hub.files["config.json"])
    config["text_config"]["hidden_size"] = 32
    hub.files["config.json"] = json.dumps(config).encode()
    with pytest.raises(IntegrityError, match="What the hub has cannot be loaded"):
        Hub(endpoint=hub.url, backoff_s=0).pull(CHECKPOINT)
    assert not (settings.models_root() / "step-audio-2-mini").exists()


def test_no_network_is_told(hub: FakeHub) -> None:
    hub.status = 503
    with pytest.raises(ModelStoreError, match="The hub answered 503"):
        Hub(endpoint=hub.url, backoff_s=0).pull(CHECKPOINT)
    with pytest.raises(ModelStoreError, match=r"The hub cannot be reached or hung up \(ConnectError\).*network"):
        Hub(endpoint="http://127.0.0.1:9").pull(CHECKPOINT)


def test_the_hub_is_not_asked_where_a_setting_forbids_it(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAYSO_HUB", "0")
    with pytest.raises(UsageError, match="SAYSO_HUB=0 forbids to ask the hub"):
        Hub(endpoint=hub.url).pull(CHECKPOINT)
    assert hub.asked == []


def test_a_pull_that_was_broken_off_leaves_no_half_checkpoint(hub: FakeHub) -> None:
    """As Ctrl-C does: while the files arrive, and the next pull takes up what is there."""

    class Impatient(Told):
        def update(self, name: str, done_bytes: int) -> None:
            super().update(name, done_bytes)
            if done_bytes > 2 << 20:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Hub(endpoint=hub.url).pull(CHECKPOINT, Impatient())
    assert Hub().status(CHECKPOINT).state == "partial"
    store = Hub(endpoint=hub.url)
    hub.asked.clear()
    store.pull(CHECKPOINT)
    assert any(line.endswith("-") for line in hub.asked)  # a range: not from the beginning
    assert store.verify(CHECKPOINT).ok


def test_the_default_voices_come_with_it(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a mirror here; they are what the manifest says, or they are not taken."""
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "default_female.wav").write_bytes(b"x" * 868134)
    (mirror / "default_male.wav").write_bytes(b"x" * 739278)
    monkeypatch.setenv("SAYSO_MIRROR", str(mirror))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # nothing else is reached
    forget_connections()
    with pytest.raises(ModelStoreError, match=r"step-audio-voices could not be fetched\. Mirror: .*SHA-256"):
        Hub(endpoint=hub.url, backoff_s=0).pull(replace(CHECKPOINT, also=("step-audio-voices",)))
    forget_connections()
    assert Hub().status(CHECKPOINT).state == "ready"


def test_room_is_looked_for_first(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(store_files.shutil, "disk_usage", lambda path: usage._replace(free=1 << 20))
    with pytest.raises(DiskFullError, match=r"step-audio-2-mini needs .* only 1 MB are free.*SAYSO_CACHE"):
        Hub(endpoint=hub.url, backoff_s=0).pull(CHECKPOINT)
    assert hub.asked == []


def test_names_here_and_there() -> None:
    found = find_checkpoint("stepfun-ai/Step-Audio-2-mini")
    assert found is not None and found is find_checkpoint("step-audio-2-mini")
    assert find_checkpoint("kokoro-82m") is None
    for name in ("step-audio-2-mini", "stepfun-ai/Step-Audio-2-mini"):
        with pytest.raises(ModelMissingError, match=r"sayso models pull step-audio-2-mini \(18 GB\)"):
            named(name)


def test_a_setting_names_another_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAYSO_MODEL_STEP_AUDIO_2_MINI", str(tmp_path))
    told = Told()
    assert Hub().pull(CHECKPOINT, told) == tmp_path
    assert "is used, as SAYSO_MODEL_STEP_AUDIO_2_MINI says" in told.notes[0]
    assert Hub().status(CHECKPOINT).state == "override" and Hub().verify(CHECKPOINT).ok


def test_the_command_line_shows_and_verifies_it(hub: FakeHub) -> None:
    Hub(endpoint=hub.url, backoff_s=0).pull(CHECKPOINT)
    listed = CliRunner().invoke(models_app, ["list", "--json"])
    states = {row["name"]: row["state"] for row in json.loads(listed.output) if row["name"].startswith("step-audio-2")}
    assert states == {
        "step-audio-2-mini": "ready",
        "step-audio-2-mini-think": "missing",
        "step-audio-2-mini-base": "missing",
    }
    assert "step-audio-2-mini: good" in CliRunner().invoke(models_app, ["verify"]).output
    found = {one.name: one for one in check_all()}
    assert found["step-audio-2-mini"].ok
    assert found["step-audio-2-mini-base"].remedy == "sayso models pull step-audio-2-mini-base (18 GB)"


@pytest.mark.parametrize("name", ["step-audio-2-mini", "stepfun-ai/Step-Audio-2-mini"])
def test_the_command_line_asks_the_hub_that_the_settings_name(hub: FakeHub, tmp_path: Path, name: str) -> None:
    """It is asked for the public name, with the user's token; our hub does not have it."""
    surroundings = {**os.environ, "HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_verysecret", "NO_PROXY": "127.0.0.1"}
    code = "from sayso.cli import entry; entry()"
    done = subprocess.run(
        [sys.executable, "-c", code, "models", "pull", name], env=surroundings, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "The hub has no stepfun-ai/Step-Audio-2-mini (main)" in done.stderr
    assert "Traceback" not in done.stderr
    assert hub.tokens == {"Bearer hf_verysecret"} and "verysecret" not in done.stderr + done.stdout
