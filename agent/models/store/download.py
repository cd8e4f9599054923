"""One file over HTTP: resumed where it stopped, hashed as it arrives, tried again when the network stumbles."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from sayso import http
from sayso.errors import IntegrityError, ModelStoreError
from sayso.models.store.files import read_into, size_of

AT_ONCE = 3
"""Downloads in flight. More does not help: the registries' networks are not the bottleneck beyond that."""


class Cancelled(Exception):
    """The pull was given up elsewhere; the part file stays for the next time."""


@dataclass(frozen=True, slots=True)
class Download:
    """What to fetch.

    Attributes:
        url: Address over http or https.
        path: Where to; an existing file is taken for a beginning of it, or for all of it when its hash fits.
        size: In bytes.
        sha256: Hexadecimal.
        headers: Sent along; may hold a credential.
    """

    url: str
    path: Path
    size: int
    sha256: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)


@dataclass(slots=True)
class Downloader:
    """Fetches files.

    Attributes:
        at: Told, from any thread, how many bytes of which file name are in place.
        cancelled: Setting it ends every fetch at its next chunk.
        attempts: Failures in a row, without a byte in between, after which it gives up.
        backoff_s: Wait before the second attempt; doubled for each further one.
    """

    at: Callable[[str, int], None]
    cancelled: threading.Event = field(default_factory=threading.Event)
    attempts: int = 5
    backoff_s: float = 0.5

    def fetch(self, item: Download) -> Path:
        """Have ``item`` on disk, whole and verified.

        Raises:
            ModelStoreError: The network, after all attempts.
            IntegrityError: What the server gives is something else; the file is removed.
            Cancelled: `cancelled` was set.
        """
        failures = 0
        reached = size_of(item.path)
        item.path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                return self._attempt(item)
            except http.NetworkError as error:
                before, reached = reached, max(reached, size_of(item.path))
                failures = 1 if reached > before else failures + 1
                if not error.temporary or failures >= self.attempts:
                    raise ModelStoreError(f"{item.path.name.removesuffix('.part')}: {error}") from error
            if self.cancelled.wait(self.backoff_s * 2 ** (failures - 1)):
                raise Cancelled

    def _attempt(self, item: Download) -> Path:
        """Go on from what is on disk, which an earlier attempt or an earlier run left."""
        if size_of(item.path) > item.size:
            item.path.unlink()
        digest = hashlib.sha256()
        have = resumed = read_into(item.path, digest.update)
        self.at(item.path.name, have)
        if have < item.size:
            with http.get(item.url, have, item.headers) as body:
                if body.start < have:  # the server knows no ranges
                    digest, resumed = hashlib.sha256(), 0
                self._append(item, body, digest.update)
        if digest.hexdigest() == item.sha256:
            return item.path
        item.path.unlink()
        if resumed:  # the beginning may have been damaged, which is no fault of the server
            return self._attempt(item)
        raise IntegrityError(
            f"{item.path.name} from {http.host(item.url)} is not what the manifest says: "
            f"expected SHA-256 {item.sha256}, found {digest.hexdigest()}. It was removed."
        )

    def _append(self, item: Download, body: http.Body, hash_update: Callable[[bytes], None]) -> None:
        have = body.start
        with item.path.open("ab" if have else "wb") as file:
            for chunk in body.chunks:
                if self.cancelled.is_set():
                    raise Cancelled
                have += len(chunk)
                if have > item.size:
                    break
                file.write(chunk)
                hash_update(chunk)
                self.at(item.path.name, have)
        if have > item.size:
            item.path.unlink()
            raise IntegrityError(
                f"{http.host(item.url)} sends more than the {item.size} bytes of {item.path.name}. It was removed."
            )
        if have < item.size:
            raise http.NetworkError(f"{http.host(item.url)} sent {have} of {item.size} bytes.", temporary=True)

    def in_order(self, items: Iterable[Download], at_once: int = AT_ONCE) -> Iterator[Path]:
        """Fetch several at once and yield them in order, never more than ``at_once`` ahead of the consumer.

        Whatever ends the iteration ends the fetches too.
        """
        waiting = iter(items)
        with ThreadPoolExecutor(at_once, thread_name_prefix="sayso-fetch") as pool:
            try:
                ahead: list[Future[Path]] = [pool.submit(self.fetch, item) for item in islice(waiting, at_once)]
                while ahead:
                    yield ahead.pop(0).result()
                    ahead += [pool.submit(self.fetch, item) for item in islice(waiting, 1)]
            except BaseException:
                self.cancelled.set()
                raise
