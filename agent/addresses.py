"""Which addresses are on the public internet: the rule that keeps pages from reaching what only this machine can."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

_V4 = tuple(
    (IPv4Network(network), kind)
    for network, kind in {
        "0.0.0.0/8": "unspecified",
        "10.0.0.0/8": "private",
        "100.64.0.0/10": "carrier-grade NAT",
        "127.0.0.0/8": "loopback",
        "168.63.129.16/32": "cloud metadata",  # Azure's platform address is the one that lies in public space
        "169.254.0.0/16": "link-local",
        "172.16.0.0/12": "private",
        "192.0.0.0/24": "reserved",
        "192.0.2.0/24": "documentation",
        "192.88.99.0/24": "6to4 relay",
        "192.168.0.0/16": "private",
        "198.18.0.0/15": "benchmarking",
        "198.51.100.0/24": "documentation",
        "203.0.113.0/24": "documentation",
        "224.0.0.0/4": "multicast",
        "240.0.0.0/4": "reserved",
    }.items()
)
"""IANA's IPv4 Special-Purpose Address Registry (RFC 6890 and its updates), but for the few that are reachable."""

_V6_GLOBAL = IPv6Network("2000::/3")
_V6 = tuple(
    (IPv6Network(network), kind)
    for network, kind in {
        "2001::/23": "reserved",  # IETF protocol assignments: Teredo, ORCHID, benchmarking
        "2001:db8::/32": "documentation",
        "2002::/16": "6to4",  # carries an IPv4 address; deprecated (RFC 7526)
        "3fff::/20": "documentation",
    }.items()
)
_NAT64 = IPv6Network("64:ff9b::/96")
"""Where networks without IPv4 show the IPv4 internet (RFC 6052): as public as the address inside."""

_OLD_FORM = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9a-fA-F]*)\.?")


def refusal(address: Address) -> str:
    """Why ``address`` is not on the public internet, in a word or two, or an empty string where it is.

    IPv4: everything but the special-purpose blocks. IPv6: only global unicast (2000::/3) without its special-purpose
    blocks; so mapped, compatible and 6to4 forms of IPv4 addresses are refused whatever they carry.
    """
    if isinstance(address, IPv4Address):
        return _kind(address, _V4)
    if address in _NAT64:
        inside = _kind(IPv4Address(address.packed[-4:]), _V4)
        return f"NAT64 to {inside}" if inside else ""
    if address.scope_id is not None:
        return "scoped"
    if address not in _V6_GLOBAL:
        return _other_v6(address)
    return _kind(address, _V6)


def is_number(host: str) -> bool:
    """Whether a resolver would read ``host`` as an IPv4 address in any form: 127.0.0.1, 2130706433, 0x7f.1, 0177.1.

    That is so where its last label is a number (as in the URL Standard, section 3.5).
    """
    return _OLD_FORM.fullmatch(host) is not None


def literal(host: str) -> Address | None:
    """``host`` as an address where it is written as one, IPv6 with or without brackets; else None."""
    try:
        return ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def within(address: Address, networks: Sequence[Network]) -> bool:
    """Whether ``address`` is in one of ``networks``."""
    return any(address.version == network.version and address in network for network in networks)


def _kind(address: Address, table: Sequence[tuple[Network, str]]) -> str:
    return next((kind for network, kind in table if address in network), "")


def _other_v6(address: IPv6Address) -> str:
    if address.ipv4_mapped is not None:
        return "IPv4-mapped"
    if address.is_unspecified:
        return "unspecified"
    if address.is_loopback:
        return "loopback"
    if address.is_multicast:
        return "multicast"
    if address.is_link_local:
        return "link-local"
    return "private" if address in IPv6Network("fc00::/7") else "reserved"
