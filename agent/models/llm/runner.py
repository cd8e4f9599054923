"""llama.cpp in this process, through the package `xllamacpp`: a prompt in, pieces of text out, cancelled at once."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import os
import secrets
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import urlsplit

from sayso.errors import ModelError, ModelMissingError, UsageError

RUNNER_VERSION = 1
"""Part of the key of saved states: raise it when a change here makes old ones wrong."""

_SPINS = "1000"
_NICE = 5  # speech gets three quarters of the machine while both want all of it
_BATCH_TOKENS = 256  # between two of them a prefill can be cancelled


@dataclass(frozen=True, slots=True)
class Usage:
    """What one completion took.

    Attributes:
        prompt_tokens: Evaluated now.
        cached_tokens: Of the prompt, found in the cache.
        completion_tokens: Generated.
        prompt_s: Seconds for the prompt.
        decode_s: Seconds for what was generated after its first token.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    prompt_s: float = 0.0
    decode_s: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            max(self.cached_tokens, other.cached_tokens),
            self.completion_tokens + other.completion_tokens,
            self.prompt_s + other.prompt_s,
            self.decode_s + other.decode_s,
        )


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen.

    Attributes:
        temperature: 0 takes the likeliest.
        seed: For a temperature above 0; None leaves it to chance.
    """

    temperature: float = 0.0
    seed: int | None = None


GREEDY = Sampling()


class LlamaRunner:
    """One model in memory with one slot: requests run in the order in which they came, in a thread of their own.

    What two prompts have in common at their beginning is evaluated once. Make one with `load`.
    """

    def __init__(self, server: Any, path: Path, context_tokens: int, key: str, states: Path | None) -> None:
        self._server: Any = server
        self._key = key
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sayso-llm")
        self._tokens: dict[str, int] = {}
        self.path = path
        self.context_tokens = context_tokens
        self.states = states
        self.usage = Usage()

    @classmethod
    def load(
        cls,
        path: Path | str,
        *,
        threads: int | None = None,
        context_tokens: int = 4096,
        states: Path | None = None,
        repack: bool = True,
    ) -> LlamaRunner:
        """Load a GGUF file. Blocks for about 1.5 s with the 1.5 B model in the page cache.

        Args:
            path: The model.
            threads: Threads that compute; None: one a core.
            context_tokens: How much of a conversation fits.
            states: Folder in which `save_state` and `restore_state` keep evaluated prompts; None: they cannot.
            repack: Lay the weights out for this CPU at load. Costs 0.6 s and 0.6 GB with the 1.5 B model; evaluates
                short prompts 1.3 to 1.7 times as fast.

        Raises:
            ModelMissingError: The file or the package is not here.
            ModelError: llama.cpp does not take the file.
        """
        path = Path(path)
        if not path.is_file():
            raise ModelMissingError(f"There is no model at {path}.", "Fetch it with: sayso models pull")
        _check_gguf(path)
        llama = _package()
        params = llama.CommonParams()
        params.model.path = str(path)
        params.n_ctx = context_tokens
        params.n_parallel = 1
        params.n_batch = params.n_ubatch = _BATCH_TOKENS
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads or _cores()
        params.no_extra_bufts = not repack
        params.warmup = params.fit_params = params.ui = False
        params.cache_ram_mib = 1024
        params.verbosity = 0
        params.api_keys = [key := secrets.token_hex(16)]  # its port on the loopback device is for nobody else
        if states is not None:
            states.mkdir(parents=True, exist_ok=True)
            params.slot_save_path = f"{states}{os.sep}"
        try:
            with _behind_speech():
                server = llama.Server(params)
        except Exception as error:
            raise ModelError(
                f"llama.cpp does not take {path}: {error}.", "Check it with: sayso models verify"
            ) from error
        return cls(server, path, context_tokens, key, states)

    def stream(
        self,
        prompt: str,
        *,
        grammar: str = "",
        max_tokens: int = 256,
        stop: tuple[str, ...] = (),
        sampling: Sampling = GREEDY,
    ) -> AsyncGenerator[str, None]:
        """Continue ``prompt`` as it stands; pieces of text, about one a token.

        Closing the iterator (or cancelling the task that reads it) ends the decoding with the token in work. `usage`
        tells what the last completion took once it is over.

        Args:
            prompt: The exact text, special tokens spelled out.
            grammar: GBNF, or Lark behind a line ``%llguidance {}``; "" for none.
            max_tokens: At most so many; see `Truncated`.
            stop: Texts at which to stop; they are not part of the output.
            sampling: How tokens are chosen.

        Raises:
            ModelError: llama.cpp failed, or the prompt is longer than the context.
            Truncated: ``max_tokens`` were not enough.
        """
        body: dict[str, Any] = {
            "prompt": prompt,
            "n_predict": max_tokens,
            "temperature": sampling.temperature,
            "cache_prompt": True,
            "id_slot": 0,
            "stream": True,
            "return_progress": True,  # so that a prefill can be cancelled too
            "timings_per_token": True,
        }
        if grammar:
            body["grammar"] = grammar
        if stop:
            body["stop"] = list(stop)
        if sampling.seed is not None:
            body["seed"] = sampling.seed
        if sampling.temperature > 0:
            body.update(top_k=0, top_p=1.0, min_p=0.0)
        return self._pieces(body)

    async def _pieces(self, body: dict[str, Any]) -> AsyncGenerator[str, None]:
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        stopped = Event()

        def push(chunk: dict[str, Any] | None) -> None:
            try:
                loop.call_soon_threadsafe(arrived.put_nowait, chunk)
            except RuntimeError:  # the loop is closed: nobody reads any more
                stopped.set()

        def on_chunk(chunk: dict[str, Any]) -> bool:
            push(chunk)
            return stopped.is_set()

        def work() -> None:
            try:
                if not stopped.is_set():
                    answer = self._server.handle_completions(body, on_chunk)
                    if answer is not None:
                        push(answer)
            except Exception as error:
                push({"error": {"message": str(error)}})
            finally:
                push(None)

        self._thread.submit(work)
        finish = ""
        try:
            while (chunk := await arrived.get()) is not None:
                piece, finish = self._read(chunk, finish)
                if piece:
                    yield piece
        finally:
            stopped.set()
        if finish == "length":
            raise Truncated(f"The model was stopped after {body['n_predict']} tokens.")

    def _read(self, chunk: dict[str, Any], finish: str) -> tuple[str, str]:
        if "error" in chunk:
            raise ModelError(f"llama.cpp failed: {chunk['error'].get('message', chunk['error'])}.")
        if timings := chunk.get("timings"):
            self.usage = _usage(timings)
        choices: list[dict[str, Any]] = chunk.get("choices") or [{}]
        return choices[0].get("text") or "", choices[0].get("finish_reason") or finish

    async def complete(
        self, prompt: str, *, grammar: str = "", max_tokens: int = 256, sampling: Sampling = GREEDY
    ) -> str:
        """As `stream`, in one piece; what there is when ``max_tokens`` are used up."""
        pieces: list[str] = []
        async with aclosing(self.stream(prompt, grammar=grammar, max_tokens=max_tokens, sampling=sampling)) as stream:
            try:
                async for piece in stream:
                    pieces.append(piece)
            except Truncated:
                pass
        return "".join(pieces)

    async def prefill(self, prompt: str) -> None:
        """Evaluate ``prompt`` so that one that begins with it finds it in the cache."""
        await self.complete(prompt, max_tokens=0)

    async def count_tokens(self, text: str) -> int:
        """How many tokens ``text`` is on its own; remembered."""
        if text not in self._tokens:
            answer = await asyncio.to_thread(self._post, "/tokenize", {"content": text})
            if len(self._tokens) > 4096:
                self._tokens.clear()
            self._tokens[text] = len(answer["tokens"])
        return self._tokens[text]

    async def save_state(self, name: str) -> None:
        """Write what is evaluated now into file ``name`` of the folder ``states``."""
        await self._in_turn("/slots/0?action=save", {"filename": name})

    async def restore_state(self, name: str) -> int:
        """Read a file that `save_state` wrote; returns how many tokens it holds.

        Raises:
            ModelError: llama.cpp does not take it.
        """
        return int((await self._in_turn("/slots/0?action=restore", {"filename": name}))["n_restored"])

    async def _in_turn(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if self.states is None:
            raise UsageError("This runner has no folder for states.", "Load it with states=FOLDER.")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._post, path, body)

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Ask the server over its loopback port, for what the package has no method for."""
        address = urlsplit(str(self._server.listening_address))
        connection = http.client.HTTPConnection(address.hostname or "127.0.0.1", address.port, timeout=60)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._key}"}
        try:
            connection.request("POST", path, json.dumps(body), headers)
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise ModelError(f"llama.cpp did not answer {path}: {error}.") from error
        finally:
            connection.close()
        if response.status != 200:
            raise ModelError(f"llama.cpp refused {path}: {answer.get('error', {}).get('message', answer)}.")
        return answer

    def fingerprint(self) -> str:
        """What a saved state depends on: the model file, the context and the version of the package."""
        stat = self.path.stat()
        with self.path.open("rb") as file:
            head = file.read(1 << 20)
        parts = (RUNNER_VERSION, _package().__version__, self.context_tokens, stat.st_size, stat.st_mtime_ns)
        return hashlib.sha256(repr(parts).encode() + head).hexdigest()

    def close(self) -> None:
        """Free the model when the work that has begun is done. Idempotent."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._server = None


class Truncated(ModelError):
    """The output was cut off at the most tokens it may have."""


def _usage(timings: dict[str, Any]) -> Usage:
    return Usage(
        prompt_tokens=int(timings.get("prompt_n", 0)),
        cached_tokens=int(timings.get("cache_n", 0)),
        completion_tokens=int(timings.get("predicted_n", 0)),
        prompt_s=float(timings.get("prompt_ms", 0)) / 1000,
        decode_s=float(timings.get("predicted_ms", 0)) / 1000,
    )


def _package() -> Any:
    # Threads that spin at a barrier until their time slice is over make decoding 10 times slower, not 2 times, as soon
    # as something else (speech synthesis) wants a core. OpenMP reads this when it is loaded; alone it costs nothing.
    os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)
    try:
        import xllamacpp
    except ImportError as error:
        raise ModelMissingError(
            f"The package xllamacpp does not load: {error}.",
            "Install it with: pip install 'sayso[local]' (on Debian it also needs libgomp1).",
        ) from error
    return xllamacpp


def _check_gguf(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ModelError(f"{path} is no GGUF file.", "Check it with: sayso models verify")


def _cores() -> int:
    count: Callable[[], int | None] = getattr(os, "process_cpu_count", os.cpu_count)
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return count() or 1


@contextmanager
def _behind_speech() -> Generator[None]:
    """Threads that begin inside have a lower priority, so that a sentence is spoken fast while more is decoded."""
    if sys.platform != "linux":  # elsewhere a thread has no priority of its own that can be set like this
        yield
        return
    thread = threading.get_native_id()
    before = os.getpriority(os.PRIO_PROCESS, thread)
    os.setpriority(os.PRIO_PROCESS, thread, min(19, before + _NICE))
    try:
        yield
    finally:
        with suppress(PermissionError):  # raising it again is for root; this thread only hands requests over
            os.setpriority(os.PRIO_PROCESS, thread, before)
