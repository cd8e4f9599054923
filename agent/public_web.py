"""`PublicWeb`: pages of the public internet, for addresses that a model, a tool or another page named.

Such an address may be chosen by somebody who wants to reach what only this machine can: the router, a database next
door, the cloud's metadata service. So a name is resolved once, every address it has must be public, the connection
goes to the address that was checked, and each redirect starts again at the first step.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TypeAlias
from urllib.parse import SplitResult, urljoin, urlsplit

from sayso.addresses import Address, Network, is_number, literal, refusal, within
from sayso.http import Answer, NetworkError, NoConnectionError, RawAnswer, get_pinned

Resolver: TypeAlias = Callable[[str, int], Awaitable[Sequence[Address]]]
"""From a name and a port to its addresses, best first. Raises `OSError` where there are none."""

MAX_ADDRESSES = 3
"""How many of a name's addresses are tried."""
MAX_URL_CHARS = 2000
_CONNECT_TIMEOUT_S = 5.0
_PORTS = {"http": 80, "https": 443}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\xa0\\\s]")
_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?")
_TYPE = re.compile(r"[a-z]{1,20}/[a-z0-9.+-]{1,60}")
_HEADERS = {
    "User-Agent": "Mozilla/5.0 (compatible; sayso; reads a page for its user)",
    "Accept": "text/html,application/xhtml+xml,text/plain;q=0.9,*/*;q=0.1",
    "Accept-Encoding": "gzip",  # what a bounded decoder reads
}


class RefusedError(NetworkError):
    """An address that is not asked for: no web address, or none on the public internet."""


@dataclass(frozen=True, slots=True)
class _Target:
    """A web address that was taken apart and found to be well-formed."""

    url: str
    host: str
    port: int


class PublicWeb:
    """Fetches public pages and nothing else.

    Args:
        ports: Those that may be asked.
        allow: Networks that count as public. For tests with local servers; there is no setting for it.
        resolve: Looks names up; the system's resolver if None.
        timeout_s: For a whole `get`: names, redirects and body.
        limit_bytes: Of a body, decompressed.
        max_redirects: That are followed.
        tls: Which certificates to trust; the usual ones if None.
    """

    def __init__(
        self,
        *,
        ports: Collection[int] = frozenset(_PORTS.values()),
        allow: Sequence[Network] = (),
        resolve: Resolver | None = None,
        timeout_s: float = 12.0,
        limit_bytes: int = 4 << 20,
        max_redirects: int = 5,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._ports = frozenset(ports)
        self._allow = tuple(allow)
        self._resolve = resolve or _system_resolver
        self._timeout_s = timeout_s
        self._limit_bytes = limit_bytes
        self._max_redirects = max_redirects
        self._tls = tls

    async def get(self, url: str, types: Collection[str] = ()) -> Answer:
        """The page at ``url``, redirects followed.

        Args:
            url: ``http`` or ``https``; without a scheme, ``https``.
            types: Media types that are wanted; the body of another is not read. Empty: any.

        Raises:
            RefusedError: The address, or one that it redirects to, may not be asked for.
            NetworkError: No answer in time, a body that is too long, of another type or badly compressed, too many
                redirects. A status is no error here.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._follow(url, types)
        except TimeoutError:
            raise NetworkError(f"The page did not arrive within {self._timeout_s:g} s.", temporary=True) from None

    async def _follow(self, url: str, types: Collection[str]) -> Answer:
        for _ in range(self._max_redirects + 1):
            answer = await self._one(self._target(url), types)
            location = answer.headers.get("location")
            if answer.status not in _REDIRECTS or not location:
                return answer
            url = _joined(answer.url, location)
        raise NetworkError(f"The page redirects more than {self._max_redirects} times.")

    def _target(self, url: str) -> _Target:
        """Take ``url`` apart; nothing is looked up yet."""
        parts, port = _split(url)
        host = _host(parts)
        default = _PORTS[parts.scheme]
        port = default if port is None else port
        if port not in self._ports:
            raise RefusedError(f"Port {port} of {host} may not be asked.", "Web pages are on the ports 80 and 443.")
        shown = f"[{host}]" if ":" in host else host
        where = shown if port == default else f"{shown}:{port}"
        query = f"?{parts.query}" if parts.query else ""
        return _Target(f"{parts.scheme}://{where}{parts.path or '/'}{query}", host, port)

    async def _one(self, target: _Target, types: Collection[str]) -> Answer:
        """Ask one server; the next of its addresses where no connection can be made."""
        addresses = await self._addresses(target)
        for address in addresses[:-1]:
            with suppress(NoConnectionError):
                return await self._ask(target, address, types)
        return await self._ask(target, addresses[-1], types)

    async def _addresses(self, target: _Target) -> Sequence[Address]:
        written = literal(target.host)
        if written is not None:
            found: Sequence[Address] = [written]
        else:
            try:
                found = await self._resolve(target.host, target.port)
            except (OSError, UnicodeError):
                raise NetworkError(f"There is no server named {target.host}.") from None
        for address in found:
            kind = "" if within(address, self._allow) else refusal(address)
            if kind:
                raise RefusedError(
                    f"{target.host} is not on the public internet ({kind} address).", "Only public pages can be read."
                )
        if not found:
            raise NetworkError(f"There is no server named {target.host}.")
        return found[:MAX_ADDRESSES]

    async def _ask(self, target: _Target, address: Address, types: Collection[str]) -> Answer:
        async with get_pinned(
            target.url, str(address), headers=_HEADERS, connect_timeout_s=_CONNECT_TIMEOUT_S, tls=self._tls
        ) as answer:
            if answer.status in _REDIRECTS or answer.status >= 400:
                return Answer(answer.status, answer.headers, b"", target.url)
            _check_type(answer.headers, types, target.host)
            body = await self._read(answer, target.host)
            return Answer(answer.status, answer.headers, body, target.url)

    async def _read(self, answer: RawAnswer, host: str) -> bytes:
        data = bytearray()
        async with aclosing(_decoded(answer, self._limit_bytes + 1, host)) as pieces:
            async for piece in pieces:
                data += piece
                if len(data) > self._limit_bytes:
                    raise NetworkError(f"The page is longer than {self._limit_bytes >> 10} KiB.")
        return bytes(data)


def _split(url: str) -> tuple[SplitResult, int | None]:
    text = url.strip()
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) and not re.match(r"[a-z]+:(?!\d)", text, re.I):
        text = f"https://{text.removeprefix('//')}"
    if len(text) > MAX_URL_CHARS or _UNSAFE.search(text):
        raise RefusedError("That is not a web address.", "Give one such as https://example.com/page.")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise RefusedError("That is not a web address.", "Give one such as https://example.com/page.") from None
    if parts.scheme not in _PORTS:
        raise RefusedError(f"{parts.scheme[:20]} addresses cannot be read.", "Only http and https can.")
    if "@" in parts.netloc:
        raise RefusedError("An address with a user name or a password is not asked for.", "Leave them out.")
    return parts, port


def _host(parts: SplitResult) -> str:
    """The server's name in ASCII and lower case, or its address without brackets.

    Raises:
        RefusedError: It is neither; or a number that only old resolvers take for an address.
    """
    name = parts.hostname or ""
    if ":" in name or is_number(name):
        address = literal(name)
        if address is None or "%" in name:
            raise RefusedError(f"{name[:60]} is not a usual way to write an address.")
        return str(address)
    if not name.isascii():
        import idna

        try:
            name = idna.encode(name, uts46=True).decode("ascii")
        except idna.IDNAError:
            name = ""
    if not _NAME.fullmatch(name) or len(name) > 253 or is_number(name):
        raise RefusedError("The address names no server.", "Give one such as https://example.com/page.")
    return name.removesuffix(".")


def _joined(base: str, location: str) -> str:
    try:
        return urljoin(base, location.strip().replace(" ", "%20"))
    except ValueError:
        raise RefusedError("The page redirects to something that is no web address.") from None


def media_type(headers: Mapping[str, str]) -> str:
    """The type of a body without its parameters, in lower case; empty where the server does not say."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _check_type(headers: Mapping[str, str], types: Collection[str], host: str) -> None:
    kind = media_type(headers)
    if types and kind not in types:
        what = kind if _TYPE.fullmatch(kind) else "data of no stated type"  # a header is no place for sentences
        raise NetworkError(f"{host} sent no page but {what}.")


async def _decoded(answer: RawAnswer, limit_bytes: int, host: str) -> AsyncGenerator[bytes, None]:
    """The body decompressed, never more than ``limit_bytes`` of it at once: a bomb does not go off.

    Raises:
        NetworkError: An encoding that was not asked for, or broken data.
    """
    encoding = answer.headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        async for chunk in answer.chunks:
            yield chunk
        return
    if encoding not in ("gzip", "x-gzip"):
        raise NetworkError(f"{host} compressed the page in a way that was not asked for.")
    inflate, empty = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16), True
    try:
        async for chunk in answer.chunks:
            yield inflate.decompress(chunk, limit_bytes)
            empty = False
            if inflate.eof:
                return  # what follows the end is not read: it has none
    except zlib.error:
        raise NetworkError(f"{host} sent broken compressed data.") from None
    if not empty:
        raise NetworkError(f"{host} broke off in the middle of the page.", temporary=True)


async def _system_resolver(host: str, port: int) -> Sequence[Address]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(entry[4][0]) for entry in found))
