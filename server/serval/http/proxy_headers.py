"""Who asks and how, where a proxy stands between: its word is taken, nobody else's."""

import re
from collections.abc import Sequence

import msgspec

from serval.http.asgi import AsgiApp, AsgiMap, AsgiReceive, AsgiSend
from serval.settings.addresses import Address, Networks, address_of

RawHeaders = Sequence[tuple[bytes, bytes]]
"""(name in lower case, value) of each line."""

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_ELEMENTS = re.compile(rf'(?:[^"]|{_QUOTED})*+')
_ELEMENT = re.compile(rf'(?:[^",]|{_QUOTED})++')
_PARAMETER = re.compile(rf"[ \t]*({_WORD})=({_WORD}|{_QUOTED})[ \t]*(?:;|$)")
_NODE = re.compile(r"(?:(?P<v4>[0-9.]+)|\[(?P<v6>[0-9A-Fa-f:.]+)\])(?::(?:[0-9]{1,5}|_[0-9A-Za-z._-]+))?")
HOST = re.compile(r"(?:[0-9A-Za-z._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_SCHEMES = frozenset({"http", "https"})
MOST_HOPS = 32
"""Proxies that are followed from the last one outwards; no request has come through so many."""


class Asker(msgspec.Struct, frozen=True):
    """Who asks, by which scheme, of which host; None: as the connection and the Host header say."""

    address: Address
    scheme: str | None = None
    host: str | None = None


class Hop(msgspec.Struct, frozen=True):
    """What a proxy says of the request that it got; None: nothing that can be read."""

    address: Address | None = None
    scheme: str | None = None
    host: str | None = None


def asker(peer: Address, headers: RawHeaders, trusted: Networks) -> Asker:
    """Who asks: the peer of the connection or, where that is a trusted proxy, whom the outermost trusted proxy was
    asked by.

    Proxies say it by `Forwarded` (RFC 7239) or `X-Forwarded-For`, `-Proto` and `-Host`. A proxy that writes the one may
    pass on
    what the client has written in the other: where the two contradict each other, neither is believed.
    """
    if peer not in trusted:
        return Asker(peer)
    one, other = _outermost(_forwarded(headers), trusted), _outermost(_x_forwarded(headers), trusted)
    if _contradict(one, other):
        return Asker(peer)
    return Asker(one.address or other.address or peer, one.scheme or other.scheme, one.host or other.host)


def _outermost(hops: Sequence[Hop], trusted: Networks) -> Hop:
    """Go from the last hop, which the peer has added, outwards as long as trusted proxies speak of each other."""
    found = Hop()
    for hop in reversed(hops):
        found = Hop(hop.address or found.address, hop.scheme, hop.host)
        if hop.address is None or hop.address not in trusted:
            break
    return found


def _contradict(one: Hop, other: Hop) -> bool:
    pairs = ((one.address, other.address), (one.scheme, other.scheme), (one.host, other.host))
    return any(a is not None and b is not None and a != b for a, b in pairs)


def _forwarded(headers: RawHeaders) -> list[Hop]:
    """The hops of `Forwarded`, the client's first; what can not be parted into elements is one that says nothing."""
    text = _joined(headers, b"forwarded")
    if not _ELEMENTS.fullmatch(text):
        return [Hop()]  # a quote that does not end: what is behind it may be the client's word or the proxy's
    elements = [element for element in _ELEMENT.findall(text) if element.strip()]
    return [_hop(element) for element in elements[-MOST_HOPS:]]


def _hop(element: str) -> Hop:
    """One element, `for=192.0.2.1;proto=https;host=example.com`."""
    parameters: dict[str, str] = {}
    position = 0
    while position < len(element):
        found = _PARAMETER.match(element, position)
        if found is None or found[1].lower() in parameters:
            return Hop()
        parameters[found[1].lower()] = _unquoted(found[2])
        position = found.end()
    return Hop(_node(parameters.get("for", "")), _scheme(parameters.get("proto")), _host(parameters.get("host")))


def _x_forwarded(headers: RawHeaders) -> list[Hop]:
    """The hops of `X-Forwarded-*`, the client's first.

    A proxy appends to a list or writes it anew: so schemes and hosts belong to the last hops, and the first of them to
    all before.
    """
    addresses, schemes, hosts = (
        _listed(headers, name) for name in (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host")
    )
    if not (addresses or schemes or hosts):
        return []
    count = max(len(addresses), 1)
    return [
        Hop(_node(_at(addresses, place) or ""), _scheme(_at(schemes, place)), _host(_at(hosts, place)))
        for place in range(count, 0, -1)
    ]


def _at(values: Sequence[str], place: int) -> str | None:
    """The value at a place from the end, counted from 1; the first where there are fewer."""
    return values[-min(place, len(values))] if values else None


def _listed(headers: RawHeaders, name: bytes) -> list[str]:
    return [part.strip() for part in _joined(headers, name).split(",") if part.strip()][-MOST_HOPS:]


def _joined(headers: RawHeaders, name: bytes) -> str:
    """The value of a header that is a list, which may come in several lines (RFC 9110, 5.3)."""
    return ",".join(value.decode("latin-1") for given, value in headers if given == name)


def _node(text: str) -> Address | None:
    """The address of a node: IPv4, IPv6 in brackets or, as `X-Forwarded-For` has it, bare; with a port or without."""
    found = _NODE.fullmatch(text)
    return address_of((found["v4"] or found["v6"]) if found else text)


def _scheme(text: str | None) -> str | None:
    scheme = (text or "").lower()
    return scheme if scheme in _SCHEMES else None


def _host(text: str | None) -> str | None:
    return text if text is not None and HOST.fullmatch(text) else None


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value


class ProxyHeaders:
    """Puts who asks into the scope of a request, so that links, logs, limits and the audit trail know the client."""

    def __init__(self, app: AsgiApp, trusted: Networks) -> None:
        self._app = app
        self._trusted = trusted

    async def __call__(self, scope: AsgiMap, receive: AsgiReceive, send: AsgiSend) -> None:
        peer = address_of(scope["client"][0]) if scope["type"] == "http" and scope["client"] else None
        if peer is not None:
            found = asker(peer, scope["headers"], self._trusted)
            scope["client"] = (str(found.address), scope["client"][1] if found.address == peer else 0)
            scope["scheme"] = found.scheme or scope["scheme"]
            if found.host is not None:
                scope["headers"] = [
                    *(line for line in scope["headers"] if line[0] != b"host"),
                    (b"host", found.host.encode()),
                ]
        await self._app(scope, receive, send)
