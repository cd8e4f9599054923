"""HTTP for all of sayso: the only module that knows httpx, so that another client can take its place."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sayso.errors import SaysoError

if TYPE_CHECKING:
    import httpx

CA_VARIABLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 30.0
_client: httpx.Client | None = None
_client_lock = threading.Lock()
_TEMPORARY_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


class NetworkError(SaysoError):
    """A request that got no good answer.

    Attributes:
        temporary: Whether the same request may work in a moment.
        status: The HTTP status, or 0 where there was no answer at all.
    """

    def __init__(self, message: str, hint: str = "", *, temporary: bool = False, status: int = 0) -> None:
        super().__init__(message, hint)
        self.temporary = temporary
        self.status = status


class NoConnectionError(NetworkError):
    """The server was not reached at all: another of its addresses may be."""


@dataclass(frozen=True, slots=True)
class Body:
    """A response being read.

    Attributes:
        start: Offset in bytes of its first byte in the whole file; 0 where the server ignored the range.
        chunks: The bytes as they arrive. Iterating raises `NetworkError` where the connection breaks.
    """

    start: int
    chunks: Iterator[bytes]


@cache
def _tls_context() -> ssl.SSLContext:
    """Trusts the system, certifi, and what the usual variables name (`CA_VARIABLES`)."""
    import certifi

    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    for variable in CA_VARIABLES:
        bundle = os.environ.get(variable)
        if bundle and Path(bundle).is_file():
            context.load_verify_locations(bundle)
    return context


def client() -> httpx.Client:
    """The shared client; thread-safe. Proxies come from the environment."""
    global _client
    import httpx

    with _client_lock:
        if _client is None:
            timeout = httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
            _client = httpx.Client(verify=_tls_context(), timeout=timeout, follow_redirects=True)
        return _client


def close() -> None:
    """Close the shared client and its idle connections; the next request makes a new one."""
    global _client
    with _client_lock:
        if _client is not None:
            _client.close()
            _client = None


@contextmanager
def get(url: str, start: int = 0, headers: Mapping[str, str] | None = None) -> Generator[Body]:
    """Stream ``url`` from byte ``start`` on.

    Args:
        url: Address; it is followed where it leads.
        start: First byte.
        headers: More of them; ``Authorization`` stays with the server that was named.

    Raises:
        NetworkError: No connection, or an answer other than 200 and 206. Status 416 says that there is
            nothing from ``start`` on.
    """
    # identity: a compressed body would break ranges and hashes
    asked = {**(headers or {}), "Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with _translated(url), client().stream("GET", url, headers=asked) as response:
        if response.status_code not in (200, 206):
            raise _status_error(url, response.status_code)
        resumed = response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        if response.status_code == 206 and not resumed:
            raise NetworkError(f"{host(url)} answered with another part of the file than was asked for.")
        yield Body(start if response.status_code == 206 else 0, response.iter_raw())


def get_text(url: str, limit_bytes: int = 1 << 20) -> str:
    """A small text document.

    Raises:
        NetworkError: As `get`, or the document is longer than ``limit_bytes``.
    """
    data = bytearray()
    with get(url) as body:
        for chunk in body.chunks:
            data += chunk
            if len(data) > limit_bytes:
                raise NetworkError(f"The answer of {host(url)} is longer than {limit_bytes} bytes.")
    return data.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Answer:
    """A response that was read whole.

    Attributes:
        status: The HTTP status; any.
        headers: By lower-case name.
        body: Decompressed, at most the limit that was asked for.
        url: Where it came from in the end, after redirects.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str

    @property
    def text(self) -> str:
        """The body as UTF-8; what is no UTF-8 is replaced."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body parsed.

        Raises:
            NetworkError: It is no JSON.
        """
        try:
            return json.loads(self.body)
        except ValueError:
            raise NetworkError(f"{host(self.url)} answered with something that is no JSON.") from None


async def request(
    method: str,
    url: str,
    *,
    params: Mapping[str, str | int | float] | None = None,
    headers: Mapping[str, str] | None = None,
    body: Any = None,
    timeout_s: float = 10.0,
    limit_bytes: int = 2 << 20,
) -> Answer:
    """One request to a service that the app's owner configured; redirects are followed where no headers are sent.

    Headers may hold credentials, and those are for the service alone.

    Args:
        method: ``GET``, ``POST`` and so on.
        url: Of the service. Never one that a model, a tool or a page supplied.
        params: For the query string.
        headers: Added to the usual ones.
        body: Sent as JSON, unless None.
        timeout_s: For the whole request, from the connection to the last byte.
        limit_bytes: Of the answer.

    Raises:
        NetworkError: No connection, no answer in time, or an answer that is too long. A status is no error here.
    """
    import httpx

    data = bytearray()
    with _translated(url):
        try:
            async with (
                asyncio.timeout(timeout_s),
                httpx.AsyncClient(verify=_tls_context(), timeout=timeout_s, follow_redirects=not headers) as connection,
                connection.stream(method, url, params=params, headers=headers, json=body) as response,
            ):
                async for chunk in response.aiter_bytes():
                    data += chunk
                    if len(data) > limit_bytes:
                        raise NetworkError(f"The answer of {host(url)} is longer than {limit_bytes} bytes.")
        except TimeoutError:
            raise NetworkError(f"{host(url)} did not answer within {timeout_s:g} s.", temporary=True) from None
    return _answer(response, bytes(data))


class Connection:
    """Requests to one server over connections that are kept, for clients of an API; made by `connected`."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def request(
        self, method: str, path: str, *, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request; a status is no error here.

        Raises:
            NetworkError: No connection, or no answer in time.
        """
        with _translated(str(self._client.base_url)):
            response = await self._client.request(method, path, json=body)
        return _answer(response, response.content)

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, *, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> AsyncGenerator[tuple[Answer, AsyncIterator[str]]]:
        """One request whose answer is read line by line, for as long as it takes.

        The `Answer` holds the body where the status is an error, and nothing of it where it is none.

        Raises:
            NetworkError: No connection, or it broke.
        """
        import httpx

        timeout = httpx.Timeout(self._client.timeout.connect, read=None)
        with _translated(str(self._client.base_url)):
            async with self._client.stream(method, path, json=body, headers=headers, timeout=timeout) as response:
                data = await response.aread() if response.is_error else b""
                yield _answer(response, data), response.aiter_lines()


@asynccontextmanager
async def connected(base_url: str, *, headers: Mapping[str, str], timeout_s: float) -> AsyncGenerator[Connection]:
    """Inside, requests to one server.

    Args:
        base_url: Its address; paths are relative to it.
        headers: Of every request.
        timeout_s: For connecting, and for each read of a `Connection.request`.
    """
    import httpx

    async with httpx.AsyncClient(
        base_url=base_url, headers=headers, timeout=timeout_s, verify=_tls_context()
    ) as client:
        yield Connection(client)


def tls_context() -> ssl.SSLContext:
    """What certificates are believed, for connections that are not HTTP."""
    return _tls_context()


def _answer(response: httpx.Response, data: bytes) -> Answer:
    names = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status_code, names, data, str(response.url))


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """A response whose body is still to be read, as it was sent.

    Attributes:
        status: The HTTP status; any.
        headers: By lower-case name.
        chunks: The body's bytes, compressed where the server did so. Iterating raises `NetworkError` where the
            connection breaks.
    """

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]


@asynccontextmanager
async def get_pinned(
    url: str,
    address: str,
    *,
    headers: Mapping[str, str],
    connect_timeout_s: float,
    tls: ssl.SSLContext | None = None,
) -> AsyncGenerator[RawAnswer]:
    """One GET that goes to ``address`` whatever the name in ``url`` resolves to: no redirect, no proxy, no cookies.

    The server is sent the name as Host and in the TLS handshake, and its certificate has to be for the name.
    `sayso.public_web` decides about addresses and bounds the body.

    Args:
        url: With the name.
        address: An IP address.
        headers: Added to Host.
        connect_timeout_s: For the connection; the caller limits the whole.
        tls: Which certificates to trust; the usual ones if None.

    Raises:
        NetworkError: No connection, or it broke.
    """
    import httpx

    with _translated(url):
        named = httpx.URL(url)
        request = httpx.Request(
            "GET",
            named.copy_with(host=address),
            headers={"Host": named.netloc.decode("ascii"), **headers},
            extensions={"sni_hostname": named.raw_host.decode("ascii"), "timeout": {"connect": connect_timeout_s}},
        )
        # the transport alone: a client would look at redirects, cookies and the environment
        async with httpx.AsyncHTTPTransport(verify=tls or _tls_context(), trust_env=False) as transport:
            response = await transport.handle_async_request(request)
            try:
                names = {name.lower(): value for name, value in response.headers.items()}
                yield RawAnswer(response.status_code, names, response.aiter_raw())
            finally:
                await response.aclose()


def host(url: str) -> str:
    """The server's name, without any user name or password."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    return parts.hostname or url


@contextmanager
def _translated(url: str) -> Generator[None]:
    import httpx

    try:
        yield
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise NetworkError(f"{host(url)} cannot be asked: {error}.") from error
    except httpx.ConnectTimeout as error:
        raise NoConnectionError(f"{host(url)} did not answer in time.", temporary=True) from error
    except httpx.TimeoutException as error:
        raise NetworkError(f"{host(url)} did not answer in time.", temporary=True) from error
    except httpx.ConnectError as error:
        raise NoConnectionError(f"No connection to {host(url)}: {error}.", temporary=_may_heal(error)) from error
    except httpx.RemoteProtocolError as error:  # its message quotes the server, who may be anybody
        reason = "it was closed early, or what came is no HTTP"
        raise NetworkError(f"The connection to {host(url)} broke: {reason}.", temporary=True) from error
    except httpx.HTTPError as error:
        raise NetworkError(f"The connection to {host(url)} broke: {error}.", temporary=True) from error


def _may_heal(error: Exception) -> bool:
    """A refused connection, an unknown host or a bad certificate will not mend itself within seconds."""
    text = str(error).lower()
    return not any(sign in text for sign in ("refused", "not known", "resol", "certificate", "ssl"))


def _status_error(url: str, status: int) -> NetworkError:
    hints = {401: "It wants credentials.", 403: "It does not let you in.", 404: "There is no such file."}
    message = f"{host(url)} answered with HTTP status {status}."
    return NetworkError(message, hints.get(status, ""), temporary=status in _TEMPORARY_STATUS, status=status)
