"""Rules that Python and Rust both implement: where the front decides by itself, Python decides the same."""

import json
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest

from serval.auth.credentials import read_credential
from serval.auth.key_format import REFRESH_PREFIX, new_key
from serval.errors import NotAuthenticated
from serval.http.problems import request_id_of
from serval.http.proxy_headers import client_connection
from serval.predictions.request import is_no_cache
from serval.settings.addresses import Networks
from support.fronts import Fronted, fronted
from support.raw_http import Reply, exchanged, replies

UNKNOWN = new_key()
CREDENTIALS = [
    *(UNKNOWN, UNKNOWN[:-1], UNKNOWN + "0", UNKNOWN.upper(), UNKNOWN[:-8] + "00000000", f" {UNKNOWN} ", f'"{UNKNOWN}"'),
    *(new_key(REFRESH_PREFIX), "srv_", "", "x", "a.b.c", "a.b", "a.b.c.d", "a..c", "a.b.c=", "a.b+.c"),
    *("a." + "b" * length + ".c" for length in (4092, 4093)),
]
REQUEST_IDS = ["a", "A-z_0.9", "x" * 128, "x" * 129, "", "a:b", "a b", 'a"b', "a/b", "%0d", "\xe9", "a,b", "a+b"]
CACHE_CONTROLS = [
    *("no-cache", "NO-CACHE", "No-Cache", "max-age=0", "max-age=0, no-cache", "no-cache,max-age=0", " no-cache "),
    *("no-cache=x", 'no-cache="x"', "x-no-cache", "no-cachex", "no-store", ",,no-cache", 'private="no-cache"', ""),
    *("no-cache;x", "max-age=0 no-cache", "=no-cache"),
]
FORWARDED_PROTOS = ["https", "HTTPS", "http", "", "https, http", "http, https", " https ", "httpss", '"https"', "wss"]


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fronted]:
    with fronted(tmp_path_factory.mktemp("front")) as front:
        yield front


def front_reply(front: Fronted, *lines: str, has_key: bool = True) -> Reply:
    """The reply to a prediction with these header lines."""
    request = front.prediction(b'{"input": [1, 2]}', "Connection: close", *lines)
    if not has_key:
        request = request.replace(f"X-API-Key: {front.key}\r\n".encode(), b"")
    (reply,) = replies(exchanged(front.port, request))
    return reply


def is_forwarded(reply: Reply) -> bool:
    return "x-from" in reply.headers


@pytest.mark.parametrize("template", ["X-API-Key: {}", "Authorization: Bearer {}", "Authorization: {}", "Cookie: a={}"])
@pytest.mark.parametrize("text", CREDENTIALS, ids=range(len(CREDENTIALS)))
def test_the_front_refuses_exactly_the_malformed_credentials(front: Fronted, template: str, text: str) -> None:
    line = template.format(text)
    reply = front_reply(front, line, has_key=False)
    name, _, value = line.partition(":")
    refusal = refusal_of(name.lower().encode(), value.strip(" \t").encode())
    if refusal is None:
        assert is_forwarded(reply)
    elif not is_forwarded(reply):
        assert (reply.status, json.loads(reply.body)["detail"]) == (401, refusal)


def refusal_of(name: bytes, value: bytes) -> str | None:
    """Why Python refuses a credential header, None where it accepts it."""
    try:
        read_credential([(name, value)])
    except NotAuthenticated as error:
        return error.message
    return None


def test_the_front_refuses_malformed_keys_without_the_app(front: Fronted) -> None:
    refused = [
        text for text in CREDENTIALS if not is_forwarded(front_reply(front, f"X-API-Key: {text}", has_key=False))
    ]
    assert len(refused) > len(CREDENTIALS) // 2


@pytest.mark.parametrize("sent", REQUEST_IDS)
def test_the_front_keeps_exactly_the_well_formed_request_ids(front: Fronted, sent: str) -> None:
    reply = front_reply(front, f"X-Request-Id: {sent}")
    assert not is_forwarded(reply)
    scope: Any = {"state": {}, "headers": [(b"x-request-id", sent.encode("latin-1"))]}
    is_kept = request_id_of(scope) == sent
    assert (reply.headers["x-request-id"] == sent) == is_kept


@pytest.mark.parametrize("value", CACHE_CONTROLS)
def test_the_front_bypasses_the_cache_for_exactly_the_directive_no_cache(front: Fronted, value: str) -> None:
    reply = front_reply(front, f"Cache-Control: {value}")
    assert is_forwarded(reply) or (reply.headers["x-cache"] == "bypass") == is_no_cache(value)


def test_the_front_reads_most_cache_directives_itself(front: Fronted) -> None:
    assert (
        len([value for value in CACHE_CONTROLS if not is_forwarded(front_reply(front, f"Cache-Control: {value}"))]) > 5
    )


@pytest.mark.parametrize("proxies", [(), ("10.0.0.0/8",), ("127.0.0.1",)])
def test_the_front_trusts_exactly_the_schemes_of_trusted_proxies(
    tmp_path_factory: pytest.TempPathFactory, proxies: tuple[str, ...]
) -> None:
    with fronted(tmp_path_factory.mktemp("front"), https_only=True, trusted_proxies=proxies) as front:
        for value in FORWARDED_PROTOS:
            headers = [(b"x-forwarded-proto", value.strip().encode())]
            scheme = client_connection(ip_address("127.0.0.1"), headers, Networks(proxies)).scheme
            is_answered = not is_forwarded(front_reply(front, f"X-Forwarded-Proto: {value}"))
            assert not is_answered or scheme == "https", value
        assert is_answered_over_https(front) == (proxies == ("127.0.0.1",))


def is_answered_over_https(front: Fronted) -> bool:
    return not is_forwarded(front_reply(front, "X-Forwarded-Proto: https"))
