"""The client behind proxies: headers are trusted from the last trusted proxy outwards, and from no other."""

from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serval.http.proxy_headers import client_connection, forwarded_prefix
from serval.settings.addresses import Networks, address_of

PROXIES = ["10.0.0.0/8", "2001:db8:ffff::/48"]
PROXY, OTHER_PROXY, CLIENT, LIAR = "10.0.0.1", "10.0.0.2", "203.0.113.7", "198.51.100.66"
TEXT = st.text(st.sampled_from('for=proto;host,"\\[]:._ \t0129abdf'), max_size=60)

Headers = list[tuple[str, str]]
ResolvedClient = tuple[str, str | None, str | None]


def client_of(headers: Headers, peer: str = PROXY, trusted: list[str] = PROXIES) -> ResolvedClient:
    """(address, scheme, host)."""
    found_peer = address_of(peer)
    assert found_peer is not None
    lines = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    found = client_connection(found_peer, lines, Networks(trusted))
    return str(found.address), found.scheme, found.host


EVERYTHING: Headers = [
    ("Forwarded", f"for={LIAR};proto=https;host=evil.example"),
    ("X-Forwarded-For", LIAR),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "evil.example"),
    ("X-Real-IP", LIAR),
]


def test_headers_of_untrusted_peers_are_ignored() -> None:
    assert client_of(EVERYTHING, peer=CLIENT) == (CLIENT, None, None)
    assert client_of(EVERYTHING, trusted=[]) == (PROXY, None, None)


def test_a_trusted_proxy_without_headers_is_the_client() -> None:
    assert client_of([("X-Real-IP", LIAR), ("X-Forwarded-Port", "1"), ("Via", "1.1 somebody")]) == (PROXY, None, None)


@pytest.mark.parametrize(
    "headers",
    [
        [("Forwarded", f"for={CLIENT};proto=https;host=api.example.com")],
        [("Forwarded", f'For="{CLIENT}:4711"; Proto=HTTPS; Host="api.example.com"; by=_edge')],
        [
            ("Forwarded", f"for={LIAR};proto=http;host=evil.example"),
            ("Forwarded", f"for={CLIENT};proto=https;host=api.example.com"),
        ],
        [
            (
                "Forwarded",
                f"for={LIAR}, for={CLIENT};proto=https;host=api.example.com, for={OTHER_PROXY};proto=http;host=inner",
            )
        ],
        [("Forwarded", f'for="a, for=b\\"", for={CLIENT};proto=https;host=api.example.com')],
        [("X-Forwarded-For", CLIENT), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "api.example.com")],
        [
            ("X-Forwarded-For", f"{CLIENT}:4711"),
            ("X-Forwarded-Proto", "HTTPS"),
            ("X-Forwarded-Host", "api.example.com"),
        ],
        [
            ("X-Forwarded-For", f"::ffff:{CLIENT}"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "api.example.com"),
        ],
        [
            ("X-Forwarded-For", f"{LIAR}, {CLIENT}"),
            ("X-Forwarded-For", OTHER_PROXY),
            ("X-Forwarded-Proto", "http, https, http"),
            ("X-Forwarded-Host", "evil.example, api.example.com, inner"),
        ],
        [
            ("X-Forwarded-For", f"{LIAR}, {CLIENT}, {OTHER_PROXY}"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "api.example.com"),
        ],
        [
            ("Forwarded", f"for={CLIENT};proto=https"),
            ("X-Forwarded-For", CLIENT),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "api.example.com"),
        ],
    ],
)
def test_the_client_is_the_rightmost_address_that_is_no_proxy(headers: Headers) -> None:
    assert client_of(headers) == (CLIENT, "https", "api.example.com")


@pytest.mark.parametrize(
    "headers",
    [
        [("Forwarded", 'for="[2001:db8::7]:4711"')],
        [("Forwarded", 'for="[2001:DB8::7]"')],
        [("X-Forwarded-For", "2001:db8::7")],
        [("X-Forwarded-For", "[2001:db8::7]:4711, 2001:db8:ffff::2")],
    ],
)
def test_every_notation_of_ipv6_is_read(headers: Headers) -> None:
    assert client_of(headers, peer="2001:db8:ffff::1")[0] == "2001:db8::7"


def test_where_all_addresses_are_proxies_the_outermost_is_the_client() -> None:
    assert client_of([("X-Forwarded-For", f"10.9.9.9, {OTHER_PROXY}")])[0] == "10.9.9.9"
    assert client_of([("Forwarded", f"for=10.9.9.9, for={OTHER_PROXY}")])[0] == "10.9.9.9"


@pytest.mark.parametrize(
    "node", ["unknown", "_hidden", "", "1.2.3", "1.2.3.4.5", '"[::1"', '"[::1]x"', "2001:db8::7", "a b", "=", '"é"']
)
def test_an_unreadable_forwarded_element_ends_the_walk(node: str) -> None:
    assert client_of([("Forwarded", f"for={LIAR}, for={node}, for={OTHER_PROXY}")])[0] == OTHER_PROXY


@pytest.mark.parametrize("value", ["unknown", "-", "1.2.3", "1.2.3.4:port", "[::1", "localhost", "1.2.3.4 5.6.7.8"])
def test_an_unreadable_x_forwarded_for_element_ends_the_walk(value: str) -> None:
    assert client_of([("X-Forwarded-For", f"{LIAR}, {value}, {OTHER_PROXY}")])[0] == OTHER_PROXY


def test_an_element_with_a_repeated_parameter_is_ignored() -> None:
    assert client_of([("Forwarded", f"for={LIAR};for={CLIENT}")])[0] == PROXY


def test_an_open_quote_of_the_client_does_not_hide_elements_of_the_proxy() -> None:
    assert client_of([("Forwarded", f'for="{LIAR}, for={CLIENT}')]) == (PROXY, None, None)
    assert client_of([("Forwarded", f'for={LIAR};x="'), ("Forwarded", f'for="{CLIENT}"')]) == (PROXY, None, None)


@pytest.mark.parametrize("proto", ["ftp", "https://", "http\thttps", "", "javascript"])
def test_an_invalid_scheme_is_ignored(proto: str) -> None:
    assert client_of([("X-Forwarded-For", CLIENT), ("X-Forwarded-Proto", proto)]) == (CLIENT, None, None)


@pytest.mark.parametrize(
    "host", ["a b", "a/b", "user@host", "a:b", "a:123456", "[::1", "a\r\nX: y", 'a"', "<a>", "%0d"]
)
def test_an_invalid_host_is_ignored(host: str) -> None:
    assert client_of([("X-Forwarded-For", CLIENT), ("X-Forwarded-Host", host)]) == (CLIENT, None, None)


def test_a_proxy_may_send_only_the_scheme() -> None:
    assert client_of([("X-Forwarded-Proto", "https")]) == (PROXY, "https", None)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (f"for={LIAR}", [("X-Forwarded-For", CLIENT)]),
        (f"for={CLIENT};proto=https", [("X-Forwarded-For", CLIENT), ("X-Forwarded-Proto", "http")]),
        (f"for={CLIENT};host=evil.example", [("X-Forwarded-For", CLIENT), ("X-Forwarded-Host", "api.example.com")]),
    ],
)
def test_contradicting_headers_are_both_ignored(one: str, other: Headers) -> None:
    assert client_of([("Forwarded", one), *other]) == (PROXY, None, None)


@pytest.mark.parametrize("one", ["for=unknown", '"', "proto=https", "for=_hidden;proto=https;host=api.example.com", ""])
def test_the_two_headers_complement_each_other(one: str) -> None:
    other = [("X-Forwarded-For", CLIENT), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "api.example.com")]
    assert client_of([("Forwarded", one), *other]) == (CLIENT, "https", "api.example.com")


@given(TEXT, st.booleans())
def test_headers_of_the_client_never_change_what_the_proxy_appends(written: str, is_one_line: bool) -> None:
    appended = f"for={CLIENT};proto=https"
    lines = [f"{written},{appended}"] if is_one_line else [written, appended]
    assert client_of([("Forwarded", line) for line in lines]) in {(CLIENT, "https", None), (PROXY, None, None)}
    lines = [f"{written},{CLIENT}"] if is_one_line else [written, CLIENT]
    assert client_of([("X-Forwarded-For", line) for line in lines]) == (CLIENT, None, None)


@given(st.lists(st.sampled_from([PROXY, OTHER_PROXY, CLIENT, LIAR, "unknown"]), max_size=8))
def test_both_headers_lead_to_the_same_client(nodes: list[str]) -> None:
    expected = PROXY
    for node in reversed(nodes):
        if node == "unknown":
            break
        expected = node
        if node not in {PROXY, OTHER_PROXY}:
            break
    assert client_of([("X-Forwarded-For", ", ".join(nodes))])[0] == expected
    assert client_of([("Forwarded", ", ".join(f"for={node}" for node in nodes))])[0] == expected


def test_only_the_last_elements_of_a_long_chain_are_followed() -> None:
    assert client_of([("X-Forwarded-For", f"{LIAR}, " + f"{OTHER_PROXY}, " * 31 + OTHER_PROXY)])[0] == OTHER_PROXY
    assert client_of([("X-Forwarded-For", f"{LIAR}, " + f"{CLIENT}, " * 100 + OTHER_PROXY)])[0] == CLIENT


def test_the_longest_head_is_parsed_quickly() -> None:
    for value in (
        '"' * 65_536,
        '"\\' * 32_768,
        "for=" * 16_384,
        ";" * 65_536,
        "a=b;" * 16_384,
        "," * 65_536,
        "for=10.0.0.1," * 5_000,
    ):
        began = process_time()
        client_of([("Forwarded", value), ("X-Forwarded-For", value)])
        assert process_time() - began < 0.2


@pytest.mark.parametrize(
    ("values", "prefix"),
    [
        (["/serval"], "/serval"),
        (["/a/b-c_d.e~f/"], "/a/b-c_d.e~f"),
        (["/"], ""),
        ([], None),
        ([""], None),
        (["serval"], None),
        (["/a", "/b"], None),
        (["/a, /b"], None),
        (["//evil.example"], None),
        (["/a//b"], None),
        (["/a/../b"], None),
        (["/."], None),
        (["/..."], "/..."),
        (['/"><script>'], None),
        (["/a b"], None),
        (["/%2e%2e"], None),
        (["/\xe9"], None),
        (["/" + "a" * 300], None),
    ],
    ids=str,
)
def test_a_prefix_is_a_plain_path(values: list[str], prefix: str | None) -> None:
    assert forwarded_prefix([(b"x-forwarded-prefix", value.encode("latin-1")) for value in values]) == prefix
