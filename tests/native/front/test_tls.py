"""The front behind TLS: HTTP/1.1 and HTTP/2, limits for clients, and an orderly end."""

import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from h2.errors import ErrorCodes

from serval._native import certificate_expiry
from support.fronts import Fronted, fronted
from support.http2_client import Http2, http2
from support.raw_http import PATIENCE_SECONDS, Reply, connected, exchanged, hangs_up, next_reply, replies
from support.tls import Authority, secured
from support.waiting import wait_until

BODY = b'{"input": [1, 2]}'
PREDICT = "/api/v1/predict/iris"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def front(tmp_path: Path, authority: Authority) -> Iterator[Fronted]:
    # One client opens as many streams as a connection may have.
    with fronted(tmp_path, authority.issue(), max_forwarded_per_address=128) as front:
        yield front


@pytest.fixture
def client(front: Fronted, authority: Authority) -> Iterator[Http2]:
    with http2(front.port, authority.context("h2")) as client:
        yield client


def predict(client: Http2, front: Fronted, *more: tuple[str, str], body: bytes = BODY) -> int:
    return client.ask("POST", PREDICT, [("x-api-key", front.key), ("content-type", "application/json"), *more], body)


def meaning(reply: Reply) -> tuple[object, ...]:
    status, headers, body = reply.meaning()
    headers.pop("strict-transport-security", None)
    headers.pop("x-cache", None)
    return status, headers, body


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [((), None), (("http/1.1",), "http/1.1"), (("h2", "http/1.1"), "h2"), (("http/1.1", "h2"), "h2")],
)
def test_the_protocol_is_negotiated_in_the_handshake(
    front: Fronted, authority: Authority, offered: tuple[str, ...], chosen: str | None
) -> None:
    with secured(front.port, authority.context(*offered)) as connection:
        assert (connection.selected_alpn_protocol(), connection.version()) == (chosen, "TLSv1.3")


def test_an_unknown_protocol_fails_the_handshake(front: Fronted, authority: Authority) -> None:
    with pytest.raises(ssl.SSLError, match="no application protocol"), secured(front.port, authority.context("spdy/3")):
        pass
    wait_until(lambda: front.gauge("serval_front_handshakes_failed_total") == 1)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
@pytest.mark.parametrize(("version", "is_spoken"), [(ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_1, False)])
def test_the_oldest_supported_tls_version_is_1_2(
    front: Fronted, authority: Authority, version: ssl.TLSVersion, is_spoken: bool
) -> None:
    context = authority.context("h2")
    context.set_ciphers("ALL:@SECLEVEL=0")  # or this side would not try the old one
    context.minimum_version = context.maximum_version = version
    if is_spoken:
        with http2(front.port, context) as client:
            assert client.answer(predict(client, front)).status == 200
    else:
        with pytest.raises(ssl.SSLError, match="alert"), secured(front.port, context):
            pass


@pytest.mark.parametrize("name", [None, "other.example"])
def test_a_client_may_name_another_host_or_none(front: Fronted, authority: Authority, name: str | None) -> None:
    context = authority.context("http/1.1")
    context.check_hostname = False
    with secured(front.port, context, name) as connection:
        connection.sendall(front.prediction(BODY))
        assert next_reply(connection).status == 200


def test_answers_are_equal_over_both_protocols_and_without_tls(
    tmp_path: Path, front: Fronted, authority: Authority, client: Http2
) -> None:
    plain_folder = tmp_path / "plain"
    plain_folder.mkdir()
    with fronted(plain_folder) as plain, secured(front.port, authority.context("http/1.1")) as connection:
        assert client.answer(predict(client, front)).status == 200  # from now on it is in the cache
        assert [
            reply.status for reply in replies(exchanged(plain.port, plain.prediction(BODY, "Connection: close")))
        ] == [200]
        for keys in ((plain.key, front.key), ("srv_no", "srv_no")):
            request = plain.prediction(BODY, "Connection: close").replace(plain.key.encode(), keys[0].encode())
            (first,) = replies(exchanged(plain.port, request))
            connection.sendall(front.prediction(BODY).replace(front.key.encode(), keys[1].encode()))
            second = next_reply(connection)
            third = client.answer(client.ask("POST", PREDICT, [("x-api-key", keys[1])], BODY))
            assert meaning(first) == meaning(second) == meaning(third)
            assert first.status == (401 if keys[0] == "srv_no" else 200)
            for reply in (second, third):
                assert reply.headers["strict-transport-security"] == "max-age=31536000"
                assert reply.headers["x-content-type-options"] == "nosniff"
    assert not front.app.received


def test_an_http2_body_needs_no_content_length(front: Fronted, client: Http2) -> None:
    head = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "serval"),
        (":path", PREDICT),
        ("x-api-key", front.key),
    ]
    number = client.begin(head)
    for place in range(len(BODY)):
        client.send(number, BODY[place : place + 1], ends=place == len(BODY) - 1)
    assert client.answer(number).status == 200
    assert predict_with_length(client, front, len(BODY)) == 200
    assert not front.app.received


def predict_with_length(client: Http2, front: Fronted, length: int) -> int:
    return client.answer(predict(client, front, ("content-length", str(length)))).status


@pytest.mark.parametrize("length", [len(BODY) - 1, len(BODY) + 1])
def test_an_http2_body_that_contradicts_its_content_length_is_reset(front: Fronted, client: Http2, length: int) -> None:
    assert client.reset(predict(client, front, ("content-length", str(length)))) == ErrorCodes.PROTOCOL_ERROR
    assert predict_with_length(client, front, len(BODY)) == 200  # the other streams go on


def test_an_http2_request_is_forwarded_as_http1(front: Fronted, client: Http2) -> None:
    more = [
        ("te", "trailers"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
        ("x-serval-peer", "9.9.9.9:1"),
        ("x-serval-scheme", "http"),
    ]
    forwarded = [("x-forwarded-for", "9.9.9.9"), ("expect", "100-continue")]
    reply = client.answer(
        client.ask("POST", "/a/%69?b=c", [*more, *forwarded, ("content-length", "5")], b"hello", authority="serval:443")
    )
    assert (reply.status, reply.headers["x-from"], reply.body) == (200, "app", b"app")
    said = re.sub(rb"127\.0\.0\.1:\d+", b"PEER", bytes(front.app.received))
    head, _, body = said.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    assert first == "POST /a/%69?b=c HTTP/1.1"
    assert sorted(lines) == [
        "content-length: 5",
        "cookie: a=1; b=2",
        "host: serval:443",
        "x-forwarded-for: 9.9.9.9",
        "x-serval-peer: PEER",
        "x-serval-scheme: https",
    ]
    assert body == b"hello"


def test_a_small_body_without_a_length_is_forwarded_with_one_and_without_trailers(
    front: Fronted, client: Http2
) -> None:
    number = client.begin([(":method", "POST"), (":scheme", "https"), (":authority", "serval"), (":path", "/a")])
    client.send(number, b"hello")
    client.h2.send_headers(number, [("x-api-key", "trailer")], end_stream=True)
    client.flush()
    assert client.answer(number).status == 200
    head, _, body = bytes(front.app.received).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert b"\r\ncontent-length: 5" in head
    assert body == b"hello"


def test_a_request_without_a_body_is_forwarded_without_one(front: Fronted, client: Http2) -> None:
    assert client.answer(client.ask("GET", "/a")).status == 200
    head = front.app.heads.get_nowait().lower()
    assert b"transfer-encoding" not in head
    assert b"content-length" not in head


def test_hop_by_hop_headers_of_the_app_are_not_passed_back(front: Fronted, client: Http2) -> None:
    front.app.answer = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive, X-Own\r\n"
        b"Keep-Alive: timeout=5\r\nX-Own: 1\r\nX-Serval-Scheme: https\r\nX-From: app\r\n\r\n"
        b"3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"
    )
    reply = client.answer(client.ask("GET", "/a"))
    assert (reply.body, sorted(reply.headers.keys() - {"date"})) == (b"abc", ["x-from"])


@pytest.mark.parametrize(
    "head",
    [
        [(":authority", "serval"), (":path", "/a"), ("host", "other")],
        [(":authority", "ada@serval"), (":path", "/a")],
        [(":path", "/a")],
        [(":authority", "serval"), (":path", "*")],
    ],
)
def test_an_http2_request_without_one_host_and_path_is_not_forwarded(
    front: Fronted, client: Http2, head: list[tuple[str, str]]
) -> None:
    number = client.begin([(":method", "GET"), (":scheme", "https"), *head], ends=True)
    assert client.answer(number).status == 400
    assert not front.app.received


@pytest.mark.parametrize(
    "more",
    [
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("te", "gzip"),
        ("content-length", "x"),
    ],
)
def test_a_malformed_http2_request_is_reset_and_not_forwarded(
    front: Fronted, client: Http2, more: tuple[str, str]
) -> None:
    number = client.ask("GET", "/a", [more])
    assert client.reset(number) == ErrorCodes.PROTOCOL_ERROR
    assert client.answer(predict(client, front)).status == 200
    assert not front.app.received


@pytest.mark.parametrize(
    "more", [("X-Upper", "1"), ("x-line", "1\r\nX-API-Key: srv_no"), ("x y", "1"), ("x-null", "a\0b")]
)
def test_a_header_that_would_split_in_http1_ends_its_connection(
    front: Fronted, client: Http2, more: tuple[str, str]
) -> None:
    client.ask("GET", "/a", [more])
    client.hangs_up()
    assert client.goodbye is not None
    assert client.goodbye.error_code == ErrorCodes.PROTOCOL_ERROR
    assert not front.app.received


def test_an_http2_head_beyond_its_limit_is_refused(tmp_path: Path, authority: Authority) -> None:
    with (
        fronted(tmp_path, authority.issue(), max_head_bytes=8192) as front,
        http2(front.port, authority.context("h2")) as client,
    ):
        assert client.answer(client.ask("GET", "/a", [("x-long", "a" * 9000)])).status == 431
        assert client.answer(predict(client, front)).status == 200
        assert not front.app.received


def test_concurrent_streams_of_a_connection_are_bounded(front: Fronted, client: Http2) -> None:
    front.app.may_answer.clear()
    waiting = [client.ask("GET", f"/{number}") for number in range(100)]
    wait_until(lambda: front.gauge("serval_front_forwarded") == 100)
    assert client.answer(predict(client, front)).status == 200  # nobody waits for another
    more = [client.ask("GET", "/") for _ in range(28)]
    wait_until(lambda: front.gauge("serval_front_forwarded") == 128)
    assert client.h2.remote_settings.max_concurrent_streams == 128
    front.app.may_answer.set()
    assert [client.answer(number).status for number in waiting + more] == [200] * 128
    assert front.gauge("serval_front_connections") == 1


def test_a_stream_beyond_the_limit_is_refused(front: Fronted, client: Http2) -> None:
    front.app.may_answer.clear()
    waiting = [client.ask("GET", "/") for _ in range(128)]
    wait_until(lambda: front.gauge("serval_front_forwarded") == 128)
    client.h2.remote_settings.max_concurrent_streams = 1000
    client.h2.remote_settings.acknowledge()
    assert client.reset(client.ask("GET", "/")) == ErrorCodes.REFUSED_STREAM
    front.app.may_answer.set()
    assert {client.answer(number).status for number in waiting} == {200}


def test_many_streams_reset_at_once_end_their_connection(front: Fronted, client: Http2) -> None:
    for _ in range(1000):
        number = client.h2.get_next_available_stream_id()
        client.h2.send_headers(
            number, [(":method", "GET"), (":scheme", "https"), (":authority", "x"), (":path", "/")], end_stream=True
        )
        client.h2.reset_stream(number)
    with suppress(ConnectionResetError, BrokenPipeError):  # it may have hung up already
        client.flush()
    client.hangs_up()
    wait_until(lambda: front.gauge("serval_front_forwarded") == 0)
    assert client.goodbye is not None
    assert client.goodbye.error_code == ErrorCodes.ENHANCE_YOUR_CALM
    assert front.app.heads.qsize() < 500


def test_refused_unread_bodies_free_the_flow_control_window(tmp_path: Path, authority: Authority) -> None:
    with (
        fronted(tmp_path, authority.issue(), max_body_bytes=1 << 16) as front,
        http2(front.port, authority.context("h2")) as client,
    ):
        for _ in range(40):  # four times what a connection may have unread
            number = predict_begun(client, front)
            send_until_refused(client, number)
            assert client.streams[number].status == 413
        assert client.answer(predict(client, front)).status == 200
        assert front.gauge("serval_front_buffered_bytes") == 0


def predict_begun(client: Http2, front: Fronted) -> int:
    return client.begin(
        [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", "serval"),
            (":path", PREDICT),
            ("x-api-key", front.key),
        ]
    )


def send_until_refused(client: Http2, number: int) -> None:
    """Send 100 kB, as far as the server wants them."""
    left = 10
    while not client.streams[number].has_ended:
        if left and client.h2.local_flow_control_window(number) >= 10_000:
            client.h2.send_data(number, bytes(10_000))
            client.flush()
            left -= 1
        else:
            assert client.read()


def test_an_http2_prediction_with_a_slow_body_is_a_408(tmp_path: Path, authority: Authority) -> None:
    with (
        fronted(tmp_path, authority.issue(), body_timeout_seconds=0.3) as front,
        http2(front.port, authority.context("h2")) as client,
    ):
        number = predict_begun(client, front)
        client.send(number, BODY[:-3])
        assert client.answer(number).status == 408
        assert client.answer(predict(client, front)).status == 200


@pytest.mark.parametrize("sent", ["nothing", "half a hello"])
def test_a_slow_handshake_closes_its_connection(tmp_path: Path, authority: Authority, sent: str) -> None:
    with fronted(tmp_path, authority.issue(), head_timeout_seconds=0.3) as front, connected(front.port) as connection:
        if sent != "nothing":
            connection.sendall(client_hello(authority)[:100])
        assert hangs_up(connection) == b""
        assert front.gauge("serval_front_timed_out_total") == 1
        assert front.gauge("serval_front_handshakes_failed_total") == 0


def client_hello(authority: Authority) -> bytes:
    """The first bytes of a handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        authority.context("h2").wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


def test_a_failed_handshake_closes_its_connection_and_is_counted(front: Fronted) -> None:
    exchanged(front.port, b"\x16\x03\x01\x00\x05garbage")
    assert front.gauge("serval_front_handshakes_failed_total") == 1


def test_a_client_that_connects_and_leaves_is_no_failed_handshake(front: Fronted) -> None:
    with connected(front.port):
        wait_until(lambda: front.gauge("serval_front_connections") == 1)
    wait_until(lambda: front.gauge("serval_front_connections") == 0)
    assert front.gauge("serval_front_handshakes_failed_total") == 0


def test_plain_http_on_a_tls_port_is_a_400(front: Fronted) -> None:
    (reply,) = replies(exchanged(front.port, front.prediction(BODY)))
    assert (reply.status, reply.headers["content-type"], reply.headers["connection"]) == (
        400,
        "application/problem+json",
        "close",
    )
    assert b"https://" in reply.body
    assert not front.app.received


def test_plain_http2_on_a_tls_port_is_disconnected(front: Fronted) -> None:
    said = exchanged(front.port, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert [reply.status for reply in replies(said)] in ([], [400], [505])


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
def test_a_connection_idle_after_its_handshake_is_closed(tmp_path: Path, authority: Authority, protocol: str) -> None:
    with (
        fronted(tmp_path, authority.issue(), head_timeout_seconds=0.3) as front,
        secured(front.port, authority.context(protocol)) as connection,
    ):
        hangs_up_inside_tls(connection)
        assert front.gauge("serval_front_timed_out_total") == 1


def hangs_up_inside_tls(connection: ssl.SSLSocket) -> None:
    try:
        while connection.recv(65536):
            pass
    except (ConnectionResetError, ssl.SSLEOFError):
        pass  # it was ended, not closed in order


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
def test_an_idle_http2_connection_is_closed(tmp_path: Path, authority: Authority, protocol: str) -> None:
    with (
        fronted(tmp_path, authority.issue(), idle_timeout_seconds=0.3) as front,
        secured(front.port, authority.context(protocol)) as connection,
    ):
        if protocol == "h2":
            client = Http2(connection)
            assert client.answer(predict(client, front)).status == 200
        else:
            connection.sendall(front.prediction(BODY))
            assert next_reply(connection).status == 200
        hangs_up_inside_tls(connection)
        assert front.gauge("serval_front_timed_out_total") == 1


def test_frames_that_are_no_request_do_not_change_the_idle_timeout(tmp_path: Path, authority: Authority) -> None:
    settings = {"head_timeout_seconds": 0.3, "idle_timeout_seconds": 60.0}
    with (
        fronted(tmp_path, authority.issue(), **settings) as front,
        http2(front.port, authority.context("h2")) as client,
    ):
        assert client.answer(predict(client, front)).status == 200
        client.h2.ping(b"12345678")
        client.flush()
        with connected(front.port) as other:
            assert hangs_up(other) == b""  # which has taken longer than a head may
        assert client.answer(predict(client, front)).status == 200


@pytest.mark.parametrize("is_forwarded", [False, True])
def test_a_client_that_reads_nothing_of_its_stream_is_disconnected(
    tmp_path: Path, authority: Authority, is_forwarded: bool
) -> None:
    with (
        fronted(tmp_path, authority.issue(), write_timeout_seconds=0.3) as front,
        http2(front.port, authority.context("h2"), window_bytes=0) as client,
    ):
        predict(client, front, *([("cookie", "a")] if is_forwarded else []))
        client.hangs_up()
        assert front.gauge("serval_front_timed_out_total") == 1
        wait_until(lambda: front.gauge("serval_front_forwarded") == 0)


def test_a_client_that_stops_reading_its_stream_is_disconnected(tmp_path: Path, authority: Authority) -> None:
    with fronted(tmp_path, authority.issue(), write_timeout_seconds=0.3) as front:
        front.app.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes(1_000_000)
        with http2(front.port, authority.context("h2"), window_bytes=1) as client:
            client.takes_data = False
            client.ask("GET", "/a")
            client.hangs_up()
            wait_until(lambda: front.gauge("serval_front_forwarded") == 0)
            assert front.gauge("serval_front_timed_out_total") == 1


def test_a_slow_app_does_not_disconnect_the_client(tmp_path: Path, authority: Authority) -> None:
    settings = {"write_timeout_seconds": 0.3, "idle_timeout_seconds": 0.3, "head_timeout_seconds": 0.3}
    with (
        fronted(tmp_path, authority.issue(), **settings) as front,
        http2(front.port, authority.context("h2")) as client,
    ):
        front.app.may_answer.clear()
        number = client.ask("GET", "/a")
        wait_until(lambda: front.gauge("serval_front_forwarded") == 1)
        for _ in range(2):
            with connected(front.port) as other:
                assert hangs_up(other) == b""  # which has taken longer than anything may
        front.app.may_answer.set()
        assert client.answer(number).body == b"app"


def test_a_long_answer_arrives_whole_on_many_streams_at_once(front: Fronted, client: Http2) -> None:
    front.app.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + b"abc" * 1_000_000
    numbers = [client.ask("GET", "/a") for _ in range(4)]
    assert {client.answer(number).body for number in numbers} == {b"abc" * 1_000_000}


def test_connections_of_one_address_are_bounded_with_tls_too(tmp_path: Path, authority: Authority) -> None:
    context = authority.context("h2")
    with (
        fronted(tmp_path, authority.issue(), max_connections_per_address=2) as front,
        http2(front.port, context) as one,
        connected(front.port),
    ):
        wait_until(lambda: front.gauge("serval_front_connections") == 2)
        with connected(front.port) as third:
            assert hangs_up(third) == b""
        assert one.answer(predict(one, front)).status == 200


def test_a_stopping_front_lets_streams_finish_and_sends_goaway(front: Fronted, client: Http2) -> None:
    front.app.may_answer.clear()
    waiting = [client.ask("GET", "/") for _ in range(10)]
    wait_until(lambda: front.gauge("serval_front_forwarded") == 10)
    cut_off: list[int] = []
    stopping = threading.Thread(target=lambda: cut_off.append(front.front.stop(PATIENCE_SECONDS)))
    stopping.start()
    while client.goodbye is None:
        assert client.read()
    assert client.goodbye.error_code == ErrorCodes.NO_ERROR
    front.app.may_answer.set()
    assert {client.answer(number).status for number in waiting} == {200}
    client.hangs_up()
    stopping.join(PATIENCE_SECONDS)
    assert cut_off == [0]


def test_a_stopping_front_does_not_wait_for_a_client_that_reads_on_demand(front: Fronted, client: Http2) -> None:
    assert client.answer(predict(client, front)).status == 200
    assert front.front.stop(PATIENCE_SECONDS) == 0
    assert front.gauge("serval_front_connections") == 0
    assert front.gauge("serval_front_timed_out_total") == 0
    client.hangs_up()
    assert client.goodbye is not None


def test_streams_that_outlive_the_drain_are_counted_and_cut_off(front: Fronted, client: Http2) -> None:
    front.app.may_answer.clear()
    for _ in range(3):
        client.ask("GET", "/")
    wait_until(lambda: front.gauge("serval_front_forwarded") == 3)
    assert front.front.stop(0.0) == 3
    client.hangs_up()
    wait_until(lambda: front.gauge("serval_front_forwarded") == 0)


def test_a_draining_front_ends_connections_with_their_next_answer(front: Fronted, client: Http2) -> None:
    assert client.answer(predict(client, front)).status == 200
    assert client.goodbye is None
    front.front.close_after_each_answer()
    assert client.answer(predict(client, front)).status == 200
    client.hangs_up()
    assert client.goodbye is not None
    assert client.goodbye.error_code == ErrorCodes.NO_ERROR


def test_a_new_certificate_is_used_for_new_connections_only(
    tmp_path: Path, authority: Authority, front: Fronted, client: Http2
) -> None:
    context = authority.context("h2")
    before = shown(front.port, context)
    chain, key = authority.issue("next")
    front.front.set_certificate(chain.read_bytes(), key.read_bytes())
    assert shown(front.port, context) == ssl.PEM_cert_to_DER_cert(first_pem(chain)) != before
    assert client.answer(predict(client, front)).status == 200


def first_pem(chain: Path) -> str:
    return chain.read_text().partition("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n"


def shown(port: int, context: ssl.SSLContext) -> bytes:
    """The certificate that a new connection is shown."""
    with secured(port, context) as connection:
        return connection.getpeercert(binary_form=True) or b""


def test_an_unusable_certificate_is_refused_and_the_one_before_stays(authority: Authority, front: Fronted) -> None:
    chain, key = (path.read_bytes() for path in authority.issue("one"))
    _, other_key = (path.read_bytes() for path in authority.issue("other"))
    before = shown(front.port, authority.context("h2"))
    encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"
    for wrong_chain, wrong_key, reason in [
        (b"", key, "there is no certificate"),
        (chain[:200], key, "the certificate is no PEM"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", key, "the certificate is none"),
        (chain, b"", "there is no private key"),
        (chain, encrypted, "the private key is encrypted"),
        (chain, key[:80], "the private key is no PEM"),
        (chain, other_key, "the private key is not that of the certificate"),
    ]:
        for read in (front.front.set_certificate, certificate_expiry):
            with pytest.raises(ValueError, match=reason):
                read(wrong_chain, wrong_key)
    assert shown(front.port, authority.context("h2")) == before


def test_a_plain_http_front_accepts_no_certificate(tmp_path: Path, authority: Authority) -> None:
    chain, key = authority.issue()
    with fronted(tmp_path) as front, pytest.raises(ValueError, match="plain HTTP"):
        front.front.set_certificate(chain.read_bytes(), key.read_bytes())


def test_thousands_of_requests_on_streams_leave_nothing_behind(front: Fronted, client: Http2) -> None:
    for _ in range(30):
        numbers = [predict(client, front) for _ in range(100)]
        assert {client.answer(number).status for number in numbers} == {200}
    assert front.gauge("serval_front_connections") == 1
    assert front.gauge("serval_front_buffered_bytes") == 0


def test_a_request_whose_connection_breaks_off_is_not_answered(front: Fronted, authority: Authority) -> None:
    with http2(front.port, authority.context("h2")) as client:
        number = client.begin([(":method", "POST"), (":scheme", "https"), (":authority", "serval"), (":path", "/a")])
        client.send(number, BODY)
        wait_until(lambda: front.gauge("serval_front_buffered_bytes") == len(BODY))
        client.socket.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: front.gauge("serval_front_buffered_bytes") == 0)
    assert front.app.heads.empty()
    wait_until(lambda: front.gauge("serval_front_connections") == 0)
