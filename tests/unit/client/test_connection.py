"""Which server the client calls, and with which key."""

import pytest

import serval_client as serval
from serval_client.connection import Address

KEY = "srv_secret"


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SERVAL_URL", raising=False)
    monkeypatch.delenv("SERVAL_KEY", raising=False)


def test_the_environment_names_the_server_and_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVAL_URL", "models.example.com:8443/")
    monkeypatch.setenv("SERVAL_KEY", f"{KEY}\n")
    assert tuple(Address.of(None, None)) == ("http://models.example.com:8443", KEY, None)
    assert tuple(Address.of("https://other", "another")) == ("https://other", "another", None)


def test_an_access_token_stands_in_for_a_key_and_a_client_may_have_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = Address.of("host", None, "a.b.c").options(1.0)["headers"]
    assert (sent["Authorization"], "X-API-Key" in sent) == ("Bearer a.b.c", False)
    monkeypatch.setenv("SERVAL_KEY", KEY)
    assert "X-API-Key" not in Address.of("host", None, "a.b.c").options(1.0)["headers"]
    with serval.Client.at(Address("http://host")) as client:
        assert not {"x-api-key", "authorization"} & set(client._http.headers)


def test_without_an_address_it_is_this_machine() -> None:
    assert Address.of(None, KEY).url == "http://127.0.0.1:8080"


@pytest.mark.parametrize("url", ["ftp://host", "http://", "http://host:0", "http://host?a=1", "http://u:p@host", " "])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"`url`|no address"):
        Address.of(url, KEY)


@pytest.mark.parametrize("key", ["", " ", "two words", "schlüssel", "a\nb"])
def test_what_is_no_key_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(ValueError, match="key") as refusal:
        serval.Client("host", key)
    assert not key.strip() or key not in str(refusal.value)


def test_a_variable_that_is_empty_is_not_one_that_is_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVAL_KEY", "")
    with pytest.raises(ValueError, match="`SERVAL_KEY` is empty"):
        serval.Client()


def test_a_client_does_not_show_its_key() -> None:
    with serval.Client("host", KEY) as client:
        assert repr(client) == "Client('http://host')"
        assert KEY not in repr(vars(client))
    assert KEY not in repr(serval.AsyncClient("host", KEY))
    assert KEY not in repr(Address("http://host", token=KEY))


@pytest.mark.parametrize(
    ("url", "has_proxy"),
    [("http://127.0.0.9", False), ("http://[::1]", False), ("http://localhost", False), ("http://example.com", True)],
)
def test_no_proxy_of_the_environment_gets_the_key_of_a_server_on_this_machine(url: str, has_proxy: bool) -> None:
    assert Address.of(url, KEY).options(1.0)["trust_env"] is has_proxy
