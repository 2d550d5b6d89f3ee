"""The front alone: what it forwards, byte for byte, and what limits hold for a client."""

import json
import re
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from serval.auth.key_format import digest
from serval.auth.rate_headers import limit_headers
from serval.errors import CannotStart
from support.fronts import Fronted, fronted
from support.planes import put_caller
from support.raw_http import connected, exchanged, hangs_up, next_reply, replies
from support.waiting import wait_until

CLOSE = "Connection: close"
BODY = b'{"input": [1, 2]}'


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Fronted]:
    with fronted(tmp_path) as front:
        yield front


def statuses(said: bytes) -> list[int]:
    return [reply.status for reply in replies(said)]


def passed_on(front: Fronted, request: bytes) -> bytes:
    """All that the app was sent for a request whose client then hangs up."""
    assert statuses(exchanged(front.port, request)) == [200]
    return bytes(front.app.received)


def test_a_request_is_forwarded_without_its_hop_by_hop_headers(front: Fronted) -> None:
    own = [
        "Connection: close, X-Mine, x-serval-peer, content-length, host, X-API-Key",
        "X-Mine: 1",
        "Keep-Alive: 5",
        "TE: trailers",
    ]
    more = ["Proxy-Connection: close", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk", "Trailer: X-Sum", "Cookie: a"]
    told = ["X-Serval-Peer: 9.9.9.9:1", "x-serval-peer: [::1]:2", "X-Serval-Scheme: https"]
    said = passed_on(front, front.prediction(BODY, *own, *more, *told))
    said = re.sub(rb"127\.0\.0\.1:\d+", b"PEER", said)
    expected = (
        f"POST /api/v1/predict/iris HTTP/1.1\r\nhost: serval\r\nx-api-key: {front.key}\r\n"
        f"content-length: {len(BODY)}\r\ncookie: a\r\nx-serval-peer: PEER\r\n\r\n"
    )
    assert said == expected.encode() + BODY


def test_headers_of_proxies_are_forwarded_even_if_connection_names_them(front: Fronted) -> None:
    told = [
        "X-Forwarded-For: 9.9.9.9",
        "X-Forwarded-For: 8.8.8.8",
        "Forwarded: for=9.9.9.9",
        "X-Real-IP: 9.9.9.9",
        "X-Forwarded-Proto: https",
    ]
    passed_on(
        front,
        front.prediction(
            BODY, "Cookie: a", "Connection: close, X-Forwarded-For, Forwarded, X-Real-IP, X-Forwarded-Proto", *told
        ),
    )
    lines = front.app.heads.get_nowait().decode().split("\r\n")
    assert [line for line in told if line.lower().partition(":")[0] + ":" + line.partition(":")[2] not in lines] == []


PRIVATE = "X-Forwarded-Proto: https"


@pytest.mark.parametrize(
    ("proxies", "lines", "is_answered"),
    [
        ((), [], False),
        ((), [PRIVATE], False),
        (("10.0.0.0/8", "::1"), [PRIVATE], False),
        (("10.0.0.0/8", "127.0.0.0/8"), [PRIVATE], True),
        (("127.0.0.1",), ["X-Forwarded-Proto: HTTPS"], True),
        (("127.0.0.1",), [], False),
        (("127.0.0.1",), ["X-Forwarded-Proto: http"], False),
        (("127.0.0.1",), [PRIVATE, PRIVATE], False),
        (("127.0.0.1",), ["X-Forwarded-Proto: https, http"], False),
    ],
)
def test_with_https_only_plain_http_requests_are_forwarded_to_the_app(
    tmp_path: Path, proxies: tuple[str, ...], lines: list[str], is_answered: bool
) -> None:
    with fronted(tmp_path, https_only=True, trusted_proxies=proxies) as front:
        (reply,) = replies(exchanged(front.port, front.prediction(BODY, CLOSE, *lines)))
        nobody = front.prediction(BODY, CLOSE, *lines).replace(front.key.encode(), b"srv_no")
        (refused,) = replies(exchanged(front.port, nobody))
        assert (reply.headers.get("x-from"), refused.headers.get("x-from")) == (
            (None, None) if is_answered else ("app", "app")
        )
        assert (reply.status, refused.status) == ((200, 401) if is_answered else (200, 200))
        assert statuses(exchanged(front.port, f"GET /health/live HTTP/1.1\r\nHost: x\r\n{CLOSE}\r\n\r\n".encode())) == [
            200
        ]
        assert front.app.heads.qsize() == (0 if is_answered else 2)


@pytest.mark.parametrize("proxy", ["proxy.example", "10.0.0.0/33", "10.0.0", ""])
def test_a_trusted_proxy_that_is_not_an_address_is_refused_by_name(tmp_path: Path, proxy: str) -> None:
    with (
        pytest.raises(CannotStart, match=f"`trusted_proxies`: `{proxy}` is neither an IP address nor a network"),
        fronted(tmp_path, trusted_proxies=(proxy,)),
    ):
        pass


def test_answers_of_the_front_forbid_content_sniffing(front: Fronted) -> None:
    plain = front.prediction(BODY, CLOSE)
    live = f"GET /health/live HTTP/1.1\r\nHost: x\r\n{CLOSE}\r\n\r\n".encode()
    for request in (plain, plain.replace(front.key.encode(), b"srv_no"), plain.replace(b"Host: serval\r\n", b""), live):
        (reply,) = replies(exchanged(front.port, request))
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert "strict-transport-security" not in reply.headers
    (reply,) = replies(exchanged(front.port, front.prediction(BODY, CLOSE, "Cookie: a")))
    assert "x-content-type-options" not in reply.headers  # of the app's answers the app takes care


def test_chunked_bodies_are_framed_anew(front: Fronted) -> None:
    framing = "Transfer-Encoding: gzip, chunked\r\nContent-Length: 4"
    head = f"POST /a HTTP/1.1\r\nHost: x\r\n{CLOSE}\r\n{framing}\r\n\r\n".encode()
    said = passed_on(
        front,
        head
        + b'5;x="GET / HTTP/1.1"\r\nhello\r\n0\r\nX-API-Key: trailer\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n',
    )
    head, _, body = said.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert b"\r\ncontent-length: 5" in head
    assert body == b"hello"


def test_chunked_bodies_that_are_not_small_are_framed_anew_as_they_arrive(tmp_path: Path) -> None:
    with fronted(tmp_path, small_body_bytes=1024) as front:
        head = f"POST /a HTTP/1.1\r\nHost: x\r\n{CLOSE}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        chunks = b"".join(b"200\r\n%b\r\n" % (letter * 512) for letter in (b"a", b"b", b"c", b"d"))
        said = passed_on(front, head + chunks + b"0\r\nX-API-Key: trailer\r\n\r\n")
    head, _, body = said.partition(b"\r\n\r\n")
    assert b"\r\ntransfer-encoding: chunked" in head
    assert b"content-length" not in head
    assert re.sub(rb"[0-9A-F]+\r\n|\r\n", b"", body) == b"".join(letter * 512 for letter in (b"a", b"b", b"c", b"d"))


@pytest.mark.parametrize(
    ("request_head", "host"),
    [
        ("GET http://other:81/a HTTP/1.1\r\nHost: x\r\n", "other:81"),
        ("GET /a HTTP/1.0\r\n", "localhost"),
        ("GET /a HTTP/1.1\r\nHost: x:80\r\n", "x:80"),
    ],
)
def test_a_forwarded_request_has_one_host(front: Fronted, request_head: str, host: str) -> None:
    passed_on(front, f"{request_head}{CLOSE}\r\n\r\n".encode())
    lines = front.app.heads.get_nowait().decode().split("\r\n")
    assert lines[0] == "GET /a HTTP/1.1"
    assert [line for line in lines if line.startswith("host:")] == [f"host: {host}"]


@pytest.mark.parametrize("target", ["/api/v1/predict/%69ris", "/a//b/../c", "/%2e%2e/x?a=%00&b", "//x", "/?", "/a?b?c"])
def test_a_request_target_is_forwarded_unchanged(front: Fronted, target: str) -> None:
    passed_on(front, f"GET {target} HTTP/1.1\r\nHost: x\r\n{CLOSE}\r\n\r\n".encode())
    assert front.app.heads.get_nowait().split(b"\r\n")[0] == f"GET {target} HTTP/1.1".encode()


@pytest.mark.parametrize("lines", ["", "Host: x\r\nHost: x\r\n"])
def test_a_request_without_exactly_one_host_is_refused(front: Fronted, lines: str) -> None:
    assert statuses(exchanged(front.port, f"GET /a HTTP/1.1\r\n{lines}\r\n".encode())) == [400]
    assert not front.app.received


def test_no_100_continue_is_sent_for_a_large_body_that_the_app_does_not_read(front: Fronted) -> None:
    front.app.asks_for_bodies = False
    said = exchanged(
        front.port, front.prediction(b"", "Expect: 100-continue", "Cookie: a").replace(b"Length: 0", b"Length: 9999999")
    )
    assert b"100 Continue" not in said
    assert statuses(said) == [200]


def test_a_refusal_in_the_middle_of_a_body_reaches_its_sender(tmp_path: Path) -> None:
    chunks = b"".join(b"1000\r\n%b\r\n" % bytes(4096) for _ in range(8))
    with fronted(tmp_path, small_body_bytes=1024) as front:
        front.app.asks_for_bodies = False
        for _ in range(300):
            with connected(front.port) as connection:
                connection.sendall(b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
                assert next_reply(connection).body == b"app"


def test_a_request_whose_body_ends_early_is_not_answered(front: Fronted) -> None:
    said = exchanged(front.port, front.prediction(BODY, "Cookie: a").replace(b"Length: 17", b"Length: 99"), shut=True)
    assert said == b""
    wait_until(lambda: front.gauge("serval_front_forwarded") == 0)


def test_a_slow_request_head_closes_its_connection(tmp_path: Path) -> None:
    with fronted(tmp_path, head_timeout_seconds=0.3) as front, connected(front.port) as connection:
        for byte in front.prediction(b"")[:20]:
            connection.sendall(bytes([byte]))
        assert hangs_up(connection) == b""
        assert front.gauge("serval_front_timed_out_total") == 1


def test_a_prediction_with_a_slow_body_is_a_408(tmp_path: Path) -> None:
    with fronted(tmp_path, body_timeout_seconds=0.3) as front, connected(front.port) as connection:
        connection.sendall(front.prediction(BODY)[:-3])
        assert statuses(hangs_up(connection)) == [408]
        assert front.gauge("serval_front_buffered_bytes") == 0


def test_a_forwarded_request_whose_body_stalls_is_a_408(tmp_path: Path) -> None:
    with fronted(tmp_path, body_timeout_seconds=0.3) as front, connected(front.port) as connection:
        connection.sendall(front.prediction(BODY, "Cookie: a")[:-3])
        assert statuses(hangs_up(connection)) == [408]
        wait_until(lambda: front.gauge("serval_front_forwarded") == 0)


def test_an_idle_connection_is_closed(tmp_path: Path) -> None:
    with fronted(tmp_path, idle_timeout_seconds=0.3) as front, connected(front.port) as connection:
        connection.sendall(front.prediction())
        assert next_reply(connection).status == 200
        assert hangs_up(connection) == b""


def test_a_client_that_never_reads_is_disconnected(tmp_path: Path) -> None:
    with fronted(tmp_path, write_timeout_seconds=0.3) as front, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        front.app.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 33554432\r\n\r\n" + bytes(1 << 25)
        connection.connect(("127.0.0.1", front.port))
        connection.sendall(front.prediction(BODY, "Cookie: a"))
        wait_until(lambda: front.gauge("serval_front_timed_out_total") == 1)
        wait_until(lambda: front.gauge("serval_front_connections") == 0)


@pytest.mark.parametrize("limit", ["max_connections", "max_connections_per_address"])
def test_a_connection_beyond_the_limit_is_closed_and_the_others_go_on(tmp_path: Path, limit: str) -> None:
    with fronted(tmp_path, **{limit: 2}) as front, connected(front.port) as one, connected(front.port) as other:
        wait_until(lambda: front.gauge("serval_front_connections") == 2)
        with connected(front.port) as third:
            assert hangs_up(third) == b""
        for connection in (one, other):
            connection.sendall(front.prediction())
            assert next_reply(connection).status == 200
        one.close()
        wait_until(lambda: front.gauge("serval_front_connections") == 1)
        assert statuses(exchanged(front.port, front.prediction(BODY, CLOSE))) == [200]


def test_a_body_beyond_the_shared_buffer_limit_is_refused(tmp_path: Path) -> None:
    with fronted(tmp_path, max_buffered_bytes=1024) as front, connected(front.port) as slow:
        slow.sendall(front.prediction(bytes(1000))[:-1])
        wait_until(lambda: front.gauge("serval_front_buffered_bytes") == 1000)
        assert statuses(exchanged(front.port, front.prediction(bytes(100), CLOSE))) == [503]
        slow.close()
        wait_until(lambda: front.gauge("serval_front_buffered_bytes") == 0)
        assert statuses(exchanged(front.port, front.prediction(BODY, CLOSE))) == [200]


def test_only_rate_limited_callers_get_rate_limit_headers(front: Fronted) -> None:
    (free,) = replies(exchanged(front.port, front.prediction(BODY, CLOSE)))
    assert [name for name in free.headers if name.startswith("ratelimit")] == []
    put_caller(front.plane, digest(front.key), limits=[("user:usr_1", 100, 60), ("key:key_1", 2, 3600)])
    first, second, third = replies(
        exchanged(front.port, front.prediction() + front.prediction() + front.prediction(BODY, CLOSE))
    )
    told = [
        {name: value for name, value in reply.headers.items() if name.startswith("ratelimit")}
        for reply in (first, second, third)
    ]
    assert [reply.status for reply in (first, second, third)] == [200, 200, 429]
    wait = int(third.headers["retry-after"])
    assert 1790 < wait <= 1800
    assert told == [
        limit_headers("key", 2, 3600, 1, 1800),
        limit_headers("key", 2, 3600, 0, 3600),
        limit_headers("key", 2, 3600, 0, wait),
    ]


def test_a_used_up_quota_is_refused_before_the_body_is_read(front: Fronted) -> None:
    put_caller(front.plane, digest(front.key), key="key_1", quota=(4, 5, time.time() + 1000))
    first, second = replies(exchanged(front.port, front.prediction() + front.prediction(BODY, CLOSE)))
    assert [first.status, second.status] == [200, 429]
    wait = int(second.headers["retry-after"])
    assert 990 < wait <= 1000
    assert second.headers.items() >= limit_headers("quota", 5, wait, 0, wait).items()
    assert "5 predictions a month" in json.loads(second.body)["detail"]
    with connected(front.port) as connection:
        connection.sendall(front.prediction(bytes(1_000_000))[:-1])
        assert statuses(hangs_up(connection)) == [429]
    assert not front.app.received


def test_forwarded_requests_are_not_charged_by_the_front(front: Fronted) -> None:
    limits = [("user:usr_1", 1, 3600)]
    put_caller(front.plane, digest(front.key), key="key_1", limits=limits, quota=(0, 1, time.time() + 1000))
    for body in (b'{"input": [1, "2"]}', b'{"input": [1, 2, 3]}', b"no JSON"):
        assert statuses(exchanged(front.port, front.prediction(body, CLOSE))) == [200]
        front.app.heads.get_nowait()
    assert front.plane.callers.take_usage() == []
    assert statuses(exchanged(front.port, front.prediction(BODY, CLOSE))) == [200]
    assert front.app.heads.empty()


def test_a_bearer_token_is_recognized_by_its_digest(front: Fronted) -> None:
    token = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ1c3JfMSJ9.c2lnbmF0dXJl"
    request = front.prediction(BODY, CLOSE).replace(
        f"X-API-Key: {front.key}".encode(), f"Authorization: Bearer {token}".encode()
    )
    exchanged(front.port, request)
    assert not front.app.heads.empty()
    front.app.heads.get_nowait()
    front.plane.callers.put_unknown(digest(token))
    assert statuses(exchanged(front.port, request)) == [401]
    put_caller(front.plane, digest(token))
    assert statuses(exchanged(front.port, request)) == [200]
    assert statuses(exchanged(front.port, request.replace(b"Authorization: Bearer", b"X-API-Key:"))) == [401]
    assert front.app.heads.empty()


def test_a_body_beyond_its_limit_is_refused_by_its_content_length(tmp_path: Path) -> None:
    with fronted(tmp_path, max_body_bytes=1024) as front, connected(front.port) as connection:
        connection.sendall(front.prediction(b"").replace(b"Length: 0", b"Length: 1025"))
        assert statuses(hangs_up(connection)) == [413]


def test_requests_beyond_max_forwarded_are_refused_and_predictions_go_on(tmp_path: Path) -> None:
    with fronted(tmp_path, max_forwarded=1) as front, connected(front.port) as busy:
        front.app.may_answer.clear()
        busy.sendall(front.prediction(BODY, "Cookie: a"))
        wait_until(lambda: front.gauge("serval_front_forwarded") == 1)
        assert statuses(exchanged(front.port, front.prediction(BODY, "Cookie: a", CLOSE))) == [503]
        assert statuses(exchanged(front.port, front.prediction(BODY, CLOSE))) == [200]
        front.app.may_answer.set()
        assert next_reply(busy).status == 200


def test_thousands_of_slow_connections_take_little_memory_and_delay_nobody(tmp_path: Path) -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    many = min(2000, (soft - 500) // 2)
    with fronted(tmp_path) as front, ExitStack() as stack:
        assert statuses(exchanged(front.port, front.prediction(BODY, CLOSE))) == [200]
        before = resident_bytes()
        for number in range(many):
            connection = stack.enter_context(connected(front.port))
            connection.sendall(front.prediction(BODY)[: 40 if number % 2 else -5])
        wait_until(lambda: front.gauge("serval_front_connections") == many)
        assert (resident_bytes() - before) / many < 64 * 1024  # with the client's own half, which is in this process
        with connected(front.port) as connection:
            for _ in range(100):
                connection.sendall(front.prediction())
                assert next_reply(connection).status == 200


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
