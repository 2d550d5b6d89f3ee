"""Malformed requests and every route are answered alike with the front and without it."""

import json
import pickle
import re
import socket
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from serval.auth.key_format import new_key
from support.http_client import Client, serving
from support.malformed import CASES, HOST, LAST, ROW, SHORT_ROW, Case
from support.raw_http import Reply, connected, exchanged, hangs_up, next_reply, replies

IRIS = load_iris()
MAX_BODY_BYTES = 1 << 20
IDS = re.compile(r"\b(mdl|ver|usr|key)_\w{26}\b|\bsrv_[\w-]{8}|\d{4}-\d\d-\d\dT[\d:.]+Z?")
"""What each server gives as it goes along."""
NOBODYS_KEY = new_key().encode()
REFUSED = {400, 431}
"""How the front may answer by itself what the app alone would take."""
LINES = b"\r\n".join([b"POST /api/v1/predict/iris HTTP/1.1", HOST, b"X-API-Key: KEY", b""])


class Pair(NamedTuple):
    """The same service twice."""

    on: Client
    off: Client


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    settings = {"SERVAL_MAX_BODY_BYTES": str(MAX_BODY_BYTES)}
    folder = tmp_path_factory.mktemp("pair")
    model = pickle.dumps(LogisticRegression(max_iter=500).fit(IRIS.data, IRIS.target))
    with serving(folder / "on", settings) as on, serving(folder / "off", settings | {"SERVAL_FRONT": "false"}) as off:
        for client in (on, off):
            assert client.upload("iris", model).status_code == 201
            assert client.predict("iris", ROW).status_code == 200
        yield Pair(on, off)


@pytest.fixture(params=["on", "off"])
def server(request: pytest.FixtureRequest, pair: Pair) -> Client:
    """Each of the two."""
    client: Client = getattr(pair, request.param)
    return client


def keyed(client: Client, request: bytes) -> bytes:
    return request.replace(b"UNKNOWN", NOBODYS_KEY).replace(b"KEY", client.key.encode())


def said(client: Client, request: bytes) -> list[Reply]:
    return replies(exchanged(client.process.port, keyed(client, request)))


def is_in_order(ids: list[str]) -> bool:
    """Whether the request and then, perhaps, the one after it were answered, and nothing that was hidden in a body."""
    known = [name for name in ids if name in {"first", "last", "smuggled"}]
    return "smuggled" not in known and known == sorted(known) and len(ids) <= 2


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_malformed_request_is_answered_alike_or_refused_and_never_split(pair: Pair, case: Case) -> None:
    on, off = (said(client, case.request + LAST) for client in pair)
    assert tuple(reply.status for reply in on) == case.statuses
    if not case.name.startswith("no length, and"):  # there, what follows the head is a request indeed
        assert is_in_order([reply.request_id for reply in on])
    for ours, theirs in zip(on, off, strict=False):
        if ours.status in REFUSED and not ours.body:
            break
        assert ours.meaning() == theirs.meaning()


ROUTES: list[tuple[str, str, Any]] = [
    ("POST", "/predict", json.loads(SHORT_ROW)),
    ("POST", "/predict", {"model_name": "iris", "inputs": [[5.1, 3.5, 1.4, 0.2]] * 3}),
    ("POST", "/predict", {"model_name": "admin/iris", "features": [5.1, 3.5, 1.4, 0.2]}),
    ("POST", "/predict", {"model_name": "nobody", "input": [1, 2, 3, 4]}),
    ("POST", "/predict", {"input": [1, 2, 3, 4]}),
    ("POST", "/predict", {"model_name": "iris", "model_name ": 1, "input": [1, 2, 3, 4]}),
    ("POST", "/api/v1/predict/iris", json.loads(ROW)),
    ("POST", "/api/v1/predict/iris?outputs=probabilities", json.loads(ROW)),
    ("POST", "/api/v1/predict/iris?outputs=everything", json.loads(ROW)),
    ("POST", "/api/v1/predict/iris?version=1", json.loads(ROW)),
    ("POST", "/api/v1/predict/iris?version=2", json.loads(ROW)),
    ("POST", "/api/v1/predict/iris?version=1&alias=a", json.loads(ROW)),
    ("POST", "/api/v1/predict/iris?verzion=1", json.loads(ROW)),
    ("POST", "/predict?version=1", json.loads(SHORT_ROW)),
    ("POST", "/api/v1/predict/admin/iris", {"inputs": [[6.1, 3.5, 1.4, 0.2], [5.1, 3.5, 4.4, 2.2]]}),
    ("POST", "/api/v1/predict/somebody/iris", json.loads(ROW)),
    ("POST", "/api/v1/predict/nobody", json.loads(ROW)),
    ("POST", "/api/v1/predict/iris", {"input": [1, 2, 3]}),
    ("POST", "/api/v1/predict/iris", {"input": [1, 2, 3, None]}),
    ("POST", "/api/v1/predict/iris", {"input": [1, 2, 3, "4"]}),
    ("POST", "/api/v1/predict/iris", {"input": [1, 2, 3, 1e39]}),
    ("POST", "/api/v1/predict/iris", {"inputs": []}),
    ("POST", "/api/v1/predict/iris", {"inputs": [[1, 2, 3, 4]] * 10_001}),
    ("POST", "/api/v1/predict/iris", []),
    ("GET", "/api/v1/predict/iris", None),
    ("OPTIONS", "/api/v1/predict/iris", None),
    ("GET", "/health/live", None),
    ("GET", "/health/live?x=1", None),
    ("GET", "/health/ready", None),
    ("GET", "/health", None),
    ("GET", "/info", None),
    ("GET", "/openapi.json", None),
    ("GET", "/docs", None),
    ("GET", "/docs/errors", None),
    ("GET", "/docs/assets/page.css", None),
    ("GET", "/models", None),
    ("GET", "/api/v1/models/iris", None),
    ("GET", "/api/v1/models/iris/versions", None),
    ("GET", "/api/v1/models/nobody", None),
    ("PATCH", "/api/v1/models/iris", {"description": "flowers"}),
    ("PATCH", "/api/v1/models/iris", {"description": 1}),
    ("POST", "/api/v1/models/iris/test", None),
    ("POST", "/api/v1/models/upload", {"file": "none"}),
    ("POST", "/api/v1/storage/validate", None),
    ("GET", "/api/v1/api-keys", None),
    ("DELETE", "/api/v1/api-keys/key_none", None),
    ("GET", "/nothing", None),
    ("GET", "/", None),
]


@pytest.mark.parametrize("key", ["KEY", "UNKNOWN", "srv_cut", None])
@pytest.mark.parametrize(("method", "target", "body"), ROUTES, ids=str)
def test_every_route_answers_alike_with_and_without_the_front(
    pair: Pair, method: str, target: str, body: Any, key: str | None
) -> None:
    lines = [f"{method} {target} HTTP/1.1", "Host: x", "Connection: close", *([f"X-API-Key: {key}"] if key else [])]
    content = b"" if body is None else json.dumps(body).encode()
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    request = "\r\n".join([*lines, "", ""]).encode() + content
    (on,), (off,) = (said(client, request) for client in pair)
    assert told(on) == told(off)


def told(reply: Reply) -> Any:
    """What an answer says, but for the ids that each server gives."""
    status, headers, body = reply.meaning()
    shown = json.dumps(body, sort_keys=True) if not isinstance(body, bytes) else body.decode()
    return status, headers, IDS.sub("ID", shown)


def test_two_packets_that_cut_a_request_in_two_are_one_request(server: Client) -> None:
    request = keyed(server, LINES + b"Content-Length: %d\r\n\r\n" % len(ROW) + ROW)
    for place in range(1, len(request), 17):
        with connected(server.process.port) as connection:
            connection.sendall(request[:place])
            connection.sendall(request[place:])
            assert next_reply(connection).status == 200


def test_pipelined_requests_are_answered_in_order_before_an_incomplete_one(server: Client) -> None:
    whole = [
        LINES + b"X-Request-Id: one\r\nContent-Length: %d\r\n\r\n" % len(ROW) + ROW,
        b"GET /info HTTP/1.1\r\nHost: x\r\nX-Request-Id: two\r\n\r\n",
        LINES + b"X-Request-Id: three\r\nCookie: a\r\nContent-Length: %d\r\n\r\n" % len(ROW) + ROW,
    ]
    half = LINES + b"X-Request-Id: four\r\nContent-Length: %d\r\n\r\n" % len(ROW) + ROW[:10]
    with connected(server.process.port) as connection:
        connection.sendall(keyed(server, b"".join(whole) + half))
        assert [next_reply(connection).request_id for _ in whole] == ["one", "two", "three"]
        connection.sendall(ROW[10:])
        reply = next_reply(connection)
        assert (reply.status, reply.request_id) == (200, "four")


@pytest.mark.parametrize("more", [b"", b"Cookie: a\r\n"], ids=["answered", "forwarded"])
def test_a_client_that_disconnects_in_a_body_disturbs_no_other(server: Client, more: bytes) -> None:
    with connected(server.process.port) as connection:
        connection.sendall(keyed(server, LINES + more + b"Content-Length: 1000\r\n\r\n" + ROW))
    with connected(server.process.port) as connection:
        connection.sendall(keyed(server, LINES + more + b"Content-Length: 1000\r\n\r\n" + ROW))
        connection.shutdown(socket.SHUT_WR)
        answers = replies(hangs_up(connection))
        assert [reply.status for reply in answers] in ([], [400])
    assert server.predict("iris", ROW).status_code == 200


def test_a_client_that_shuts_down_its_sending_side_is_answered(pair: Pair) -> None:
    assert pair.on.predict("iris", ROW).status_code == 200  # now the front knows the caller
    request = keyed(pair.on, LINES + b"Content-Length: %d\r\n\r\n" % len(ROW) + ROW)
    assert [reply.status for reply in replies(exchanged(pair.on.process.port, request, shut=True))] == [200]


EXPECTING = b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n"
UPLOAD = (
    b"POST /api/v1/models/upload HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    b"Content-Type: multipart/form-data; boundary=b\r\nX-API-Key: %b\r\n"
)
FORM = (
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="m.pkl"\r\n\r\n\x89PNG\r\n'
    b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nabc\r\n--b--\r\n'
)


@pytest.mark.parametrize("key", [b"UNKNOWN", b"srv_cut"])
@pytest.mark.parametrize(
    "head",
    [UPLOAD, LINES.replace(b"KEY", b"%b"), LINES.replace(b"iris", b"%%69ris").replace(b"KEY", b"%b")],
    ids=["upload", "prediction", "odd"],
)
def test_a_large_request_without_a_key_gets_no_100_continue(server: Client, head: bytes, key: bytes) -> None:
    with connected(server.process.port) as connection:
        connection.sendall(
            keyed(server, head % key + b"Connection: close\r\n" * (head is not UPLOAD) + EXPECTING % 2_000_000)
        )
        answer = hangs_up(connection)
    assert b"100 Continue" not in answer
    assert [reply.status for reply in replies(answer)] == [401]


@pytest.mark.parametrize(
    ("head", "body", "status"),
    [(UPLOAD % b"KEY", FORM, 422), (LINES, ROW, 200), (LINES + b"Cookie: a\r\n", ROW, 200)],
    ids=["upload", "prediction", "odd"],
)
def test_a_request_with_expect_gets_a_100_continue(server: Client, head: bytes, body: bytes, status: int) -> None:
    with connected(server.process.port) as connection:
        connection.sendall(keyed(server, head + EXPECTING % len(body)))
        asked = b""
        while not asked.endswith(b"\r\n\r\n"):
            asked += connection.recv(1)
        assert asked.startswith(b"HTTP/1.1 100 Continue\r\n")
        connection.sendall(body)
        assert next_reply(connection).status == status


def test_a_request_id_of_the_client_is_echoed_unchanged_or_replaced(server: Client) -> None:
    for sent in (b"a:b", b"a b", b"\xe9", b"a" * 129, b"%0d%0aX-Injected: 1", b'"', b"<script>", b""):
        request = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Request-Id: " + sent + b"\r\n\r\n"
        (reply,) = said(server, request)
        assert reply.request_id.startswith("req_")
        assert "x-injected" not in reply.headers
