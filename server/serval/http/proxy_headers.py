"""The client, scheme and host of a request behind proxies, from the headers of trusted proxies only."""

import re
from collections.abc import Sequence

import msgspec

from serval.http.asgi import AsgiApp, AsgiMap, AsgiReceive, AsgiSend
from serval.http.root_path import set_root_path
from serval.settings.addresses import Address, Networks, address_of, is_root_path

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
MAX_HOPS = 32
"""Proxies that are followed from the last one outwards; no real request passes through more."""


class ClientConnection(msgspec.Struct, frozen=True):
    """The client of a request, its scheme and its host; None: those of the connection and the `Host` header."""

    address: Address
    scheme: str | None = None
    host: str | None = None


class ForwardedElement(msgspec.Struct, frozen=True):
    """One proxy's description of the request that it received; None: absent or unreadable."""

    address: Address | None = None
    scheme: str | None = None
    host: str | None = None


def client_connection(peer: Address, headers: RawHeaders, trusted: Networks) -> ClientConnection:
    """Return the peer of the connection or, where it is a trusted proxy, the client of the outermost trusted proxy.

    Proxies send `Forwarded` (RFC 7239), or `X-Forwarded-For`, `-Proto` and `-Host`. A proxy that writes one of them may
    pass on what the client wrote into the other: where the two contradict each other, both are ignored.
    """
    if peer not in trusted:
        return ClientConnection(peer)
    one, other = _outermost(_forwarded(headers), trusted), _outermost(_x_forwarded(headers), trusted)
    if _contradict(one, other):
        return ClientConnection(peer)
    return ClientConnection(one.address or other.address or peer, one.scheme or other.scheme, one.host or other.host)


def _outermost(elements: Sequence[ForwardedElement], trusted: Networks) -> ForwardedElement:
    """Walk from the last element, which the peer added, outwards for as long as it describes a trusted proxy."""
    outermost = ForwardedElement()
    for element in reversed(elements):
        outermost = ForwardedElement(element.address or outermost.address, element.scheme, element.host)
        if element.address is None or element.address not in trusted:
            break
    return outermost


def _contradict(one: ForwardedElement, other: ForwardedElement) -> bool:
    pairs = ((one.address, other.address), (one.scheme, other.scheme), (one.host, other.host))
    return any(a is not None and b is not None and a != b for a, b in pairs)


def _forwarded(headers: RawHeaders) -> list[ForwardedElement]:
    """Return the elements of `Forwarded`, the client's first; one empty element where they cannot be separated."""
    text = _joined(headers, b"forwarded")
    if not _ELEMENTS.fullmatch(text):
        return [ForwardedElement()]  # an open quote: the client or the proxy may have written what follows
    texts = [element for element in _ELEMENT.findall(text) if element.strip()]
    return [_element(element) for element in texts[-MAX_HOPS:]]


def _element(text: str) -> ForwardedElement:
    """Parse one element, `for=192.0.2.1;proto=https;host=example.com`."""
    parameters: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _PARAMETER.match(text, position)
        if match is None or match[1].lower() in parameters:
            return ForwardedElement()
        parameters[match[1].lower()] = _unquoted(match[2])
        position = match.end()
    return ForwardedElement(
        _node(parameters.get("for", "")), _scheme(parameters.get("proto")), _host(parameters.get("host"))
    )


def _x_forwarded(headers: RawHeaders) -> list[ForwardedElement]:
    """Return the elements of `X-Forwarded-*`, the client's first.

    A proxy appends to a list or reindexs it: schemes and hosts belong to the last elements, and the first of them also
    to all elements before.
    """
    addresses, schemes, hosts = (
        _listed(headers, name) for name in (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host")
    )
    if not (addresses or schemes or hosts):
        return []
    count = max(len(addresses), 1)
    return [
        ForwardedElement(
            _node(_from_end(addresses, index) or ""), _scheme(_from_end(schemes, index)), _host(_from_end(hosts, index))
        )
        for index in range(count, 0, -1)
    ]


def forwarded_prefix(headers: RawHeaders) -> str | None:
    """Return `X-Forwarded-Prefix`, empty for `/`; None where there is none, or none that can be a prefix of paths."""
    text = _joined(headers, b"x-forwarded-prefix").strip()
    prefix = text.removesuffix("/")
    return prefix if text and (not prefix or is_root_path(prefix)) else None


def _from_end(values: Sequence[str], index: int) -> str | None:
    """Return the value at an index from the end, counted from 1; the first one where there are fewer."""
    return values[-min(index, len(values))] if values else None


def _listed(headers: RawHeaders, name: bytes) -> list[str]:
    return [part.strip() for part in _joined(headers, name).split(",") if part.strip()][-MAX_HOPS:]


def _joined(headers: RawHeaders, name: bytes) -> str:
    """Return the value of a list header, which may have several lines (RFC 9110, 5.3)."""
    return ",".join(value.decode("latin-1") for header, value in headers if header == name)


def _node(text: str) -> Address | None:
    """Return the address of a node: IPv4, IPv6 in brackets or, as in `X-Forwarded-For`, bare; the port is optional."""
    match = _NODE.fullmatch(text)
    return address_of((match["v4"] or match["v6"]) if match else text)


def _scheme(text: str | None) -> str | None:
    scheme = (text or "").lower()
    return scheme if scheme in _SCHEMES else None


def _host(text: str | None) -> str | None:
    return text if text is not None and HOST.fullmatch(text) else None


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value


class ProxyHeaders:
    """Writes the client and the prefix into the scope of a request, for links, logs, limits and the audit trail."""

    def __init__(self, app: AsgiApp, trusted: Networks, root_path: str | None) -> None:
        """`root_path`: the prefix of requests whose proxy sends none."""
        self._app = app
        self._trusted = trusted
        self._root_path = root_path or ""

    async def __call__(self, scope: AsgiMap, receive: AsgiReceive, send: AsgiSend) -> None:
        peer = address_of(scope["client"][0]) if scope["type"] == "http" and scope["client"] else None
        if scope["type"] == "http":
            sent = None if peer is None or peer not in self._trusted else forwarded_prefix(scope["headers"])
            set_root_path(scope, self._root_path if sent is None else sent)
        if peer is not None:
            client = client_connection(peer, scope["headers"], self._trusted)
            scope["client"] = (str(client.address), scope["client"][1] if client.address == peer else 0)
            scope["scheme"] = client.scheme or scope["scheme"]
            if client.host is not None:
                scope["headers"] = [
                    *(line for line in scope["headers"] if line[0] != b"host"),
                    (b"host", client.host.encode()),
                ]
        await self._app(scope, receive, send)
