"""Slow bodies take no place in the app, end in time, and keep nobody else from an answer."""

import json
import select
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from support import plain_http
from support.fronts import Fronted, fronted
from support.http_client import Client, serving
from support.raw_http import PATIENCE_SECONDS, Reply, connected, exchanged, hangs_up, next_reply, replies
from support.waiting import wait_until

CLOSE = "Connection: close"
BODY = b'{"input": [1, 2]}'
SLOW_LOGIN = (
    b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n{"
)
ATTACKERS = 24
MANY = 2000
"""Far more bytes than a client that sends slowly can send before it is refused."""


def get(path: str, *more: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *more, "", ""]).encode()


def limited(front: Fronted) -> dict[str, int]:
    """The refusals so far by the limit that was reached, where there are any."""
    start = 'serval_front_limited_total{limit="'
    lines = [line for line in front.front.metrics().decode().splitlines() if line.startswith(start)]
    counts = {line.removeprefix(start).partition('"')[0]: int(line.split()[1]) for line in lines}
    return {limit: count for limit, count in counts.items() if count}


def dripped(connection: socket.socket, piece: bytes = b" ") -> Reply:
    """Send a piece now and again until the server answers and hangs up; what it said."""
    for _ in range(MANY):
        readable, _, _ = select.select([connection], [], [], 0.01)
        if readable:
            break
        with suppress(ConnectionResetError, BrokenPipeError):
            connection.sendall(piece)
    else:
        pytest.fail("the server goes on reading")
    (reply,) = replies(hangs_up(connection))
    return reply


@contextmanager
def busy(front: Fronted, requests: Sequence[bytes], address: str = "127.0.0.1") -> Iterator[None]:
    """Requests that the app is answering, from one address."""
    before = front.gauge("serval_front_forwarded")
    with ExitStack() as stack:
        for request in requests:
            connection = stack.enter_context(
                socket.create_connection(("127.0.0.1", front.port), PATIENCE_SECONDS, (address, 0))
            )
            connection.sendall(request)
        wait_until(lambda: front.gauge("serval_front_forwarded") == before + len(requests))
        yield


def statuses_from(front: Fronted, address: str, request: bytes) -> int:
    with socket.create_connection(("127.0.0.1", front.port), PATIENCE_SECONDS, (address, 0)) as connection:
        connection.sendall(request)
        status: int = next_reply(connection).status
        return status


def test_a_small_body_takes_a_place_only_when_it_is_whole(tmp_path: Path) -> None:
    with fronted(tmp_path, max_forwarded=2) as front, ExitStack() as stack:
        slow = [stack.enter_context(connected(front.port)) for _ in range(ATTACKERS)]
        for connection in slow:
            connection.sendall(SLOW_LOGIN)
        wait_until(lambda: front.gauge("serval_front_buffered_bytes") == ATTACKERS)
        assert front.gauge("serval_front_forwarded") == 0
        assert replies(exchanged(front.port, get("/health/ready", CLOSE)))[0].body == b"app"
        slow[0].sendall(bytes(59_999))
        assert next_reply(slow[0]).body == b"app"
        assert limited(front) == {}


def test_a_small_body_has_one_time_for_the_whole(tmp_path: Path) -> None:
    with fronted(tmp_path, body_timeout_seconds=0.5) as front, connected(front.port) as connection:
        connection.sendall(SLOW_LOGIN)
        reply = dripped(connection)
        assert (reply.status, reply.headers["connection"]) == (408, "close")
        assert "within 0.5 s" in json.loads(reply.body)["detail"]
        assert limited(front) == {"body_time": 1}
        assert front.gauge("serval_front_buffered_bytes") == 0


@pytest.mark.parametrize("line", ["Cookie: a", "Accept: */*"])
def test_a_large_body_below_the_least_rate_is_refused(tmp_path: Path, line: str) -> None:
    settings = {"body_timeout_seconds": 0.5, "small_body_bytes": 1024, "min_upload_bytes_per_second": 1 << 20}
    with fronted(tmp_path, **settings) as front, connected(front.port) as connection:
        connection.sendall(front.prediction(bytes(8_000_000), line)[:4096])
        reply = dripped(connection)
        assert (reply.status, reply.headers["connection"]) == (408, "close")
        assert "`min_upload_bytes_per_second`" in json.loads(reply.body)["detail"]
        assert limited(front) == {"body_rate": 1}
        wait_until(lambda: front.gauge("serval_front_forwarded") == 0)


@pytest.mark.parametrize("line", ["Cookie: a", "Accept: */*"])
def test_an_honest_upload_above_the_least_rate_takes_longer_than_a_small_body_may(tmp_path: Path, line: str) -> None:
    settings = {"body_timeout_seconds": 2.0, "small_body_bytes": 1024, "min_upload_bytes_per_second": 1000}
    with fronted(tmp_path, **settings) as front, connected(front.port) as connection:
        request = front.prediction(BODY.ljust(100_000), line)
        for start in range(0, len(request), 5000):
            connection.sendall(request[start : start + 5000])
            select.select([connection], [], [], 0.15)  # it sends on unless it is answered
        assert next_reply(connection).status == 200
        assert limited(front) == {}


def test_one_client_holds_its_part_of_the_places(tmp_path: Path) -> None:
    settings = {"max_forwarded": 8, "max_forwarded_per_address": 2, "max_forwarded_per_user": 3}
    with fronted(tmp_path, **settings) as front, ExitStack() as stack:
        front.app.may_answer.clear()
        known = front.prediction(BODY, "Cookie: a")
        stack.enter_context(busy(front, [get("/a")] * 2))
        assert statuses_from(front, "127.0.0.1", get("/a")) == 503
        stack.enter_context(busy(front, [known] * 3))
        assert statuses_from(front, "127.0.0.1", known) == 503
        assert limited(front) == {"places_of_client": 2}
        stack.enter_context(busy(front, [get("/a")], "127.0.0.2"))
        assert statuses_from(front, "127.0.0.1", front.prediction()) == 200


def test_places_are_kept_for_known_callers_and_others_for_probes(tmp_path: Path) -> None:
    with fronted(tmp_path, max_forwarded=4) as front, ExitStack() as stack:
        front.app.may_answer.clear()
        for host in range(1, 4):
            stack.enter_context(busy(front, [get("/a")], f"127.0.0.{host}"))
        assert statuses_from(front, "127.0.0.4", get("/a")) == 503
        stack.enter_context(busy(front, [front.prediction(BODY, "Cookie: a")]))
        assert statuses_from(front, "127.0.0.1", front.prediction(BODY, "Cookie: a")) == 503
        assert limited(front) == {"places": 2}
        stack.enter_context(busy(front, [get("/health/ready"), get("/health")]))


def test_one_address_holds_its_part_of_the_memory_for_bodies(tmp_path: Path) -> None:
    settings = {"max_buffered_bytes": 16 * 1024, "small_body_bytes": 1024, "max_body_bytes": 4096}
    slow = SLOW_LOGIN.replace(b"60000", b"1000") + bytes(998)
    with fronted(tmp_path, **settings) as front, ExitStack() as stack:
        for count in (1, 2):
            stack.enter_context(connected(front.port)).sendall(slow)
            wait_until(lambda: front.gauge("serval_front_buffered_bytes") == 999 * count)  # noqa: B023 it is asked here
        (refused,) = replies(exchanged(front.port, slow))
        assert (refused.status, limited(front)) == (503, {"buffered_bytes_of_client": 1})
        assert replies(exchanged(front.port, front.prediction(BODY, CLOSE)))[0].status == 200


@pytest.fixture(scope="module", params=["true", "false"], ids=["front", "no front"])
def attacked(
    request: pytest.FixtureRequest, folder_with_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    """A server of few places and little patience."""
    folder = shutil.copytree(folder_with_models, tmp_path_factory.mktemp("slow") / "data")
    settings = {
        "SERVAL_FRONT": request.param,
        "SERVAL_MAX_FORWARDED": "4",
        "SERVAL_BODY_TIMEOUT_SECONDS": "4",
        "SERVAL_SMALL_BODY_BYTES": "65536",
        "SERVAL_MIN_UPLOAD_BYTES_PER_SECOND": "1000",
    }
    with serving(folder, settings) as client:
        yield client


def test_a_good_client_notices_nothing_of_slow_bodies(attacked: Client) -> None:
    row = {"input": [5.1, 3.5, 1.4, 0.2]}
    assert attacked.predict("iris", row).status_code == 200
    answered = []
    with ExitStack() as stack:
        slow = [stack.enter_context(connected(attacked.process.port)) for _ in range(ATTACKERS)]
        for connection in slow:
            connection.sendall(SLOW_LOGIN)
        pending = set(slow)
        while pending:
            readable, _, _ = select.select(pending, [], [], 0.0)
            pending -= set(readable)
            for connection in pending:
                with suppress(ConnectionResetError, BrokenPipeError):
                    connection.sendall(b" ")
            answered += [
                plain_http.get(f"{attacked.url}/health/ready").status_code,
                attacked.http.get("/api/v1/models").status_code,
                attacked.predict("iris", row).status_code,
            ]
            assert len(answered) < MANY, "the server goes on reading"
        ended = [replies(hangs_up(connection)) for connection in slow]
    assert set(answered) == {200}
    assert {reply.status for (reply,) in ended} == {408}
    assert {json.loads(reply.body)["code"] for (reply,) in ended} == {"request_timeout"}


def test_an_honest_slow_upload_is_read_to_its_end(attacked: Client) -> None:
    body = bytes(200_000)
    head = [
        "POST /api/v1/models/upload HTTP/1.1",
        "Host: x",
        f"X-API-Key: {attacked.key}",
        "Content-Type: multipart/form-data; boundary=part",
        CLOSE,
    ]
    part = (
        b'--part\r\nContent-Disposition: form-data; name="file"; filename="m.pkl"\r\n\r\n' + body + b"\r\n--part--\r\n"
    )
    request = "\r\n".join([*head, f"Content-Length: {len(part)}", "", ""]).encode() + part
    with connected(attacked.process.port) as connection:
        for start in range(0, len(request), 4000):
            connection.sendall(request[start : start + 4000])
            select.select([connection], [], [], 0.1)
        (reply,) = replies(hangs_up(connection))
    assert reply.status == 400, reply.body
    assert "name" in json.loads(reply.body)["detail"]  # it is missed only when all parts have been read
