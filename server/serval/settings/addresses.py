"""Network addresses and origins of web pages, as settings and requests write them."""

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_MAPPED = IPv6Network("::ffff:0:0/96")
_SITE_BITS = 64
"""The least prefix that one subscriber has (RFC 6177): who has one of its addresses has all of them."""

_HOST = r"([a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*|\[[0-9a-f:.]+\])"
_ORIGIN = re.compile(rf"(?P<scheme>[a-z][a-z0-9+.-]*)://{_HOST}(:(?P<port>[1-9][0-9]{{0,4}}))?")
_DEFAULT_PORTS = {"http": "80", "https": "443"}
ANY_ORIGIN = "*"


def address_of(text: str) -> Address | None:
    """Return the address that a text is, or None; an IPv4-mapped one (`::ffff:192.0.2.1`) as IPv4."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def limited_network(address: str) -> str:
    """Return what a limit by address applies to: an IPv4 address, or the /64 of an IPv6 one; other text as it is."""
    parsed = address_of(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((int(parsed), _SITE_BITS), strict=False))
    return address if parsed is None else str(parsed)


class Networks:
    """A set of networks."""

    def __init__(self, texts: Iterable[str]) -> None:
        """`texts`: addresses, or networks as `10.0.0.0/8`. Raises ValueError, which names the one that is neither."""
        self._networks = [_network(text) for text in texts]

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def _network(text: str) -> Network:
    try:
        network = ip_network(text)
    except ValueError as error:
        raise ValueError(f"`{text}` is neither an IP address nor a network such as `10.0.0.0/8` ({error})") from None
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        return IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network


_ROOT_PATH = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)+")
"""Segments without `.` and `..`, and without a slash at the end."""


def is_root_path(text: str) -> bool:
    """Whether a text can stand before the path of every address, as `/serval`."""
    return len(text) <= 200 and _ROOT_PATH.fullmatch(text) is not None


def check_root_path(text: str | None) -> None:
    """Raises ValueError for a text that is no prefix of paths."""
    if text is not None and not is_root_path(text):
        raise ValueError(f"`{text}` is no prefix of paths: begin with a slash and end without one, as `/serval`")


def check_origins(texts: Iterable[str]) -> None:
    """Raises ValueError for the first text that no browser sends as `Origin`, and for `*` beside others."""
    origins = list(texts)
    if ANY_ORIGIN in origins and len(origins) > 1:
        raise ValueError(f"`{ANY_ORIGIN}` is every origin: give it alone, or list the others without it")
    for origin in origins:
        if origin != ANY_ORIGIN:
            _check_origin(origin)


def _check_origin(text: str) -> None:
    match = _ORIGIN.fullmatch(text)
    if match is None:
        raise ValueError(
            f"`{text}` is no origin: write scheme, host and optional port in lower case, as `https://app.example.com`"
        )
    if match["port"] is not None and match["port"] == _DEFAULT_PORTS.get(match["scheme"]):
        raise ValueError(f"browsers send `{text}` without its port, which is the default: leave out `:{match['port']}`")


def is_loopback(host: str) -> bool:
    """Whether a host can be reached from this machine only."""
    address = address_of(host)
    return host == "localhost" if address is None else address.is_loopback
