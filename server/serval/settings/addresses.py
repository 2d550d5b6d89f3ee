"""Addresses of the network and origins of web pages, as settings and requests write them."""

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_MAPPED = IPv6Network("::ffff:0:0/96")
_SITE_BITS = 64
"""What one subscriber has of IPv6, at least (RFC 6177): whoever has one address has all of these."""

_HOST = r"([a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*|\[[0-9a-f:.]+\])"
_ORIGIN = re.compile(rf"(?P<scheme>[a-z][a-z0-9+.-]*)://{_HOST}(:(?P<port>[1-9][0-9]{{0,4}}))?")
_DEFAULT_PORTS = {"http": "80", "https": "443"}
ANY_ORIGIN = "*"


def address_of(text: str) -> Address | None:
    """The address that a text is, an IPv4 one that is written as IPv6 (`::ffff:192.0.2.1`) as itself; None where it is
    none."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def subject_of(address: str) -> str:
    """Whom a limit by address counts: an IPv4 address, the /64 of an IPv6 one; a text that is no address as it is."""
    found = address_of(address)
    if isinstance(found, IPv6Address):
        return str(IPv6Network((int(found), _SITE_BITS), strict=False))
    return address if found is None else str(found)


class Networks:
    """Networks that an address may be in."""

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


def check_origins(texts: Iterable[str]) -> None:
    """Raises ValueError for the first that no browser sends as `Origin`, and for `*` among others."""
    origins = list(texts)
    if ANY_ORIGIN in origins and len(origins) > 1:
        raise ValueError(f"`{ANY_ORIGIN}` is every origin: give it alone, or name the others alone")
    for origin in origins:
        if origin != ANY_ORIGIN:
            _check_origin(origin)


def _check_origin(text: str) -> None:
    found = _ORIGIN.fullmatch(text)
    if found is None:
        raise ValueError(
            f"`{text}` is no origin: write scheme, host and perhaps port in small letters, as `https://app.example.com`"
        )
    if found["port"] is not None and found["port"] == _DEFAULT_PORTS.get(found["scheme"]):
        raise ValueError(
            f"`{text}` is sent by browsers without its port, which is the usual one: leave `:{found['port']}` away"
        )


def is_loopback(host: str) -> bool:
    """Whether a host is this machine alone."""
    address = address_of(host)
    return host == "localhost" if address is None else address.is_loopback
