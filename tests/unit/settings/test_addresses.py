"""Networks that are trusted, whom a limit by address counts, and origins as browsers write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serval.settings.addresses import Networks, address_of, check_origins, limited_network


def is_in(address: str, *networks: str) -> bool:
    found = address_of(address)
    assert found is not None
    return found in Networks(networks)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.1.2.3", "10.0.0.0/8"),
        ("10.1.2.3", "10.1.2.3"),
        ("::ffff:10.1.2.3", "10.0.0.0/8"),
        ("10.1.2.3", "::ffff:10.0.0.0/104"),
        ("2001:db8::1", "2001:db8::/32"),
        ("2001:DB8:0::1", "2001:db8::1"),
    ],
)
def test_an_address_is_in_its_network_in_every_notation(address: str, network: str) -> None:
    assert is_in(address, "192.0.2.0/24", network)


@pytest.mark.parametrize(
    ("address", "network"), [("11.0.0.1", "10.0.0.0/8"), ("10.0.0.1", "::/0"), ("::1", "0.0.0.0/0")]
)
def test_an_address_is_in_no_other_network(address: str, network: str) -> None:
    assert not is_in(address, network)


@pytest.mark.parametrize("text", ["nonsense", "10.0.0.1/8", "10.0.0.0/33", "", "10.0.0.0/8 ", "proxy.example.com"])
def test_an_invalid_network_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="neither an IP address nor a network") as caught:
        Networks(["10.0.0.1", text])
    assert f"`{text}`" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "unknown", "_hidden", "1.2.3", "1.2.3.4:80", "[::1]", "01.2.3.4", "1.2.3.4/32", "é"]
)
def test_text_that_is_no_address_is_none(text: str) -> None:
    assert address_of(text) is None
    assert limited_network(text) == text


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1))
def test_ipv6_addresses_are_limited_by_their_64_bit_network(address: object, other: int) -> None:
    found = address_of(str(address))
    assert found is not None
    if found.version == 6:
        neighbour = address_of(str(type(found)(int(found) >> 64 << 64 | other)))
        assert neighbour is not None
        if neighbour.version == 6:
            assert limited_network(str(found)) == limited_network(str(neighbour))
            assert limited_network(str(found)).endswith("/64")


@given(st.ip_addresses(v=4), st.ip_addresses(v=4))
def test_each_ipv4_address_has_its_own_limit_also_when_mapped_to_ipv6(one: object, other: object) -> None:
    assert limited_network(str(one)) == limited_network(f"::ffff:{one}") == str(one)
    assert (limited_network(str(one)) == limited_network(str(other))) == (one == other)


@pytest.mark.parametrize(
    "origins",
    [
        [],
        ["*"],
        ["https://app.example.com", "http://localhost:3000"],
        ["https://app.example.com:8443"],
        ["http://[::1]:5173"],
        ["chrome-extension://abcdefghijklmnop"],
    ],
)
def test_origins_in_the_form_of_browsers_are_accepted(origins: list[str]) -> None:
    check_origins(origins)


@pytest.mark.parametrize(
    "origin",
    [
        "app.example.com",
        "https://app.example.com/",
        "https://app.example.com/page",
        "https://App.example.com",
        "HTTPS://app.example.com",
        "https://*.example.com",
        "https://user@example.com",
        "https://example.com:https",
        "https://example.com:443",
        "http://example.com:80",
        "https://",
        "null",
        "https://a b",
        "https://example.com\r\nX: y",
    ],
)
def test_an_origin_that_no_browser_sends_is_refused_by_name(origin: str) -> None:
    with pytest.raises(ValueError, match="`") as caught:
        check_origins(["https://app.example.com", origin])
    assert f"`{origin}`" in str(caught.value)


def test_the_wildcard_origin_must_be_the_only_one() -> None:
    with pytest.raises(ValueError, match="alone"):
        check_origins(["https://app.example.com", "*"])
