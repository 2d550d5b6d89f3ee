"""A server that speaks HTTPS: its answers, renewals of its certificate, and an orderly end."""

import json
import os
import shutil
import signal
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import httpx2
import pytest
from h2.exceptions import ProtocolError
from sklearn.datasets import load_iris

from support import plain_http, tiny_server
from support.http2_client import Http2, http2
from support.http_client import SERVAL, Client, serving
from support.processes import PYTHON, Running, running
from support.raw_http import exchanged, replies
from support.sample_models import iris_classifier
from support.tls import Authority, secured
from support.waiting import wait_until

IRIS = load_iris()
ROW = {"input": IRIS.data[0].tolist()}
TINY = [PYTHON, tiny_server.__file__]
GOOD_FILES = ("server.pem", "server.key")


def naming(chain: Path, key: Path) -> dict[str, str]:
    return {"SERVAL_TLS_CERT_FILE": str(chain), "SERVAL_TLS_KEY_FILE": str(key)}


class Secure:
    """A server, its authority, and the files of its certificate."""

    def __init__(self, client: Client, authority: Authority, chain: Path, key: Path) -> None:
        self.client = client
        self.authority = authority
        self.chain = chain
        self.key = key
        self.port = client.process.port

    @contextmanager
    def http2(self) -> Iterator[Http2]:
        with http2(self.port, self.authority.context("h2")) as client:
            yield client

    def ask(self, client: Http2, row: object = ROW) -> int:
        """Ask the model on a stream; its number."""
        head = [("x-api-key", self.client.key), ("content-type", "application/json")]
        return client.ask(
            "POST", "/api/v1/predict/iris", head, json.dumps(row).encode(), authority=f"localhost:{self.port}"
        )

    def shown(self) -> str:
        """The certificate that a new connection is shown."""
        with secured(self.port, self.authority.context("h2")) as connection:
            return ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True) or b"")


Secured = Callable[..., AbstractContextManager[Secure]]


@pytest.fixture(scope="module")
def secure(folder_with_models: Path) -> Secured:
    """Runs a server in a folder, with settings, until a block ends."""

    @contextmanager
    def started(folder: Path, **settings: str) -> Iterator[Secure]:
        authority = Authority(folder)
        chain, key = authority.issue()
        data = shutil.copytree(folder_with_models, folder / "data")
        with serving(data, naming(chain, key) | settings, authority=authority.file) as client:
            yield Secure(client, authority, chain, key)

    return started


@pytest.fixture(scope="module", params=["true", "false"], ids=["front", "app alone"])
def server(
    request: pytest.FixtureRequest, secure: Secured, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Secure]:
    with secure(tmp_path_factory.mktemp("tls"), SERVAL_FRONT=request.param) as server:
        yield server


@pytest.fixture(scope="module")
def fronted(secure: Secured, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    with secure(tmp_path_factory.mktemp("tls")) as server:
        yield server


def is_taken_into_use(server: Secure, chain: Path) -> None:
    """Wait until the server says that it has another certificate, and see that it is the one of a file."""
    server.client.process.until_line("tls_certificate_changed", file=str(server.chain))
    assert server.shown().strip() == first_pem(chain)


def first_pem(chain: Path) -> str:
    return chain.read_text().partition("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----"


QUESTIONS = [
    ("POST", "/api/v1/predict/iris", ROW),
    ("POST", "/predict", {"model_name": "iris", "features": ROW["input"]}),
    ("POST", "/api/v1/predict/iris", {"input": [1, 2]}),
    ("POST", "/api/v1/predict/none", ROW),
    ("GET", "/health/live", None),
    ("GET", "/api/v1/models/iris", None),
    ("GET", "/nowhere", None),
]


@pytest.mark.parametrize(
    ("method", "path", "body"), QUESTIONS, ids=[f"{path} {body}"[:40] for _, path, body in QUESTIONS]
)
def test_http1_and_http2_give_equal_answers(server: Secure, method: str, path: str, body: object) -> None:
    content = None if body is None else json.dumps(body).encode()
    head = {"x-api-key": server.client.key} | ({} if body is None else {"content-type": "application/json"})
    server.client.http.request(method, path, content=content, headers=head)  # from now on it may be in the cache
    first = server.client.http.request(method, path, content=content, headers=head)
    with server.http2() as client:
        second = client.answer(client.ask(method, path, head.items(), content, authority=f"localhost:{server.port}"))
    varying = {"date", "server-timing", "x-request-id", "content-length", "connection", "server"}
    assert (first.http_version, first.status_code) == ("HTTP/1.1", second.status)
    assert {n: v for n, v in first.headers.items() if n not in varying} == {
        n: v for n, v in second.headers.items() if n not in varying
    }
    assert plain(first.json()) == plain(json.loads(second.body))


def plain(document: dict[str, object]) -> dict[str, object]:
    return {
        name: value
        for name, value in document.items()
        if name not in {"request_id", "latency_ms", "last_used_at", "timestamp"}
    }


def test_an_upload_goes_over_http2_in_one_stream_beside_predictions(server: Secure) -> None:
    model = iris_classifier() + bytes(3_000_000)  # behind its end nobody reads
    request = httpx2.Request(
        "POST", "https://x/", files={"file": ("model.pkl", model)}, data={"name": f"copy-{server.port}"}
    )
    head = [("x-api-key", server.client.key), ("prefer", "wait=60"), ("content-type", request.headers["content-type"])]
    with server.http2() as client:
        client.socket.settimeout(120)  # a conversion takes its time
        number = client.ask("POST", "/api/v1/models/upload", head, request.read(), authority="localhost")
        assert client.answer(server.ask(client)).status == 200
        assert client.answer(number).status == 201


def test_the_log_names_the_https_address_and_the_certificate(server: Secure) -> None:
    process = server.client.process
    (ready,) = [line for line in process.events if line["event"] == "ready"]
    shown = process.told("tls_certificate_in_use")
    assert ready["url"] == f"https://127.0.0.1:{server.port}"
    with secured(server.port, server.authority.context()) as connection:
        until = ssl.cert_time_to_seconds(str((connection.getpeercert() or {})["notAfter"]))
    assert datetime.fromisoformat(shown["expires_at"]).timestamp() == until


def test_metrics_report_when_the_certificate_expires(fronted: Secure) -> None:
    (ready,) = [line for line in fronted.client.process.events if line["event"] == "ready"]
    text = plain_http.get(f"http://127.0.0.1:{ready['metrics_port']}/metrics").text
    (line,) = [line for line in text.splitlines() if line.startswith("serval_tls_certificate_expires_seconds ")]
    assert float(line.split()[1]) > datetime.now(UTC).timestamp()


def test_plain_http_on_the_https_port_is_refused(server: Secure) -> None:
    said = exchanged(server.port, b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert not said.startswith(b"HTTP") or [reply.status for reply in replies(said)] == [400]


class Asking:
    """Threads that ask the model until the block ends: one on streams of one connection, one with a connection for each
    question."""

    def __init__(self, server: Secure) -> None:
        self._server = server
        self._ended = threading.Event()
        self.statuses: list[int] = []
        self.failures: list[Exception] = []
        self._threads = [
            threading.Thread(target=self._run, args=(ask,)) for ask in (self._on_streams, self._on_connections)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _run(self, ask: Callable[[], None]) -> None:
        try:
            ask()
        except (OSError, AssertionError, ProtocolError) as error:
            self.failures.append(error)

    def _on_streams(self) -> None:
        with self._server.http2() as client:
            while not self._ended.is_set():
                numbers = [self._server.ask(client) for _ in range(8)]
                self.statuses += [client.answer(number).status for number in numbers]

    def _on_connections(self) -> None:
        while not self._ended.is_set():
            with self._server.http2() as client:
                self.statuses.append(client.answer(self._server.ask(client)).status)


def test_a_renewed_certificate_is_used_without_a_failed_request(secure: Secured, tmp_path: Path) -> None:
    with secure(tmp_path) as server:
        process = server.client.process
        with Asking(server) as asking:
            assert server.shown().strip() == first_pem(server.chain)
            # One after the other: between the two they do not fit.
            chain, key = server.authority.issue("next")
            server.chain.write_bytes(chain.read_bytes())
            server.key.write_bytes(key.read_bytes())
            is_taken_into_use(server, chain)
            # What is no good is told of, and changes nothing.
            server.chain.write_text("nothing")
            assert "no certificate" in process.until("tls_certificate_invalid")["error"]
            assert server.shown().strip() == first_pem(chain)
            server.chain.unlink()
            assert "cannot be read" in process.until("tls_certificate_invalid")["error"]
            assert server.shown().strip() == first_pem(chain)
            chain, key = server.authority.issue("third")
            key.replace(server.key)
            chain.replace(server.chain)
            is_taken_into_use(server, server.chain)
        assert asking.failures == []
        assert set(asking.statuses) == {200}
        assert len(asking.statuses) > 100
        process.send(signal.SIGTERM)
        assert process.ended() == 0
        while process.events[-1]["event"] != "stopped":
            process.until("stopped")
        assert [line["event"] for line in process.events].count("tls_certificate_invalid") == 2


def test_a_certificate_renewed_by_swapping_symbolic_links_is_used(tmp_path: Path) -> None:
    """As Kubernetes mounts a secret: files are links through a folder that is a link, which is replaced."""
    authority = Authority(tmp_path)
    for name in ("one", "two"):
        chain, key = authority.issue(name)
        folder = tmp_path / f"..{name}"
        folder.mkdir()
        chain.rename(folder / "tls.crt")
        key.rename(folder / "tls.key")
    (tmp_path / "..data").symlink_to("..one")
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    settings = naming(tmp_path / "tls.crt", tmp_path / "tls.key")
    with serving(tmp_path / "data", settings, authority=authority.file) as client:
        server = Secure(client, authority, tmp_path / "tls.crt", tmp_path / "tls.key")
        assert server.shown().strip() == first_pem(tmp_path / "..one" / "tls.crt")
        (tmp_path / "..next").symlink_to("..two")
        (tmp_path / "..next").replace(tmp_path / "..data")
        is_taken_into_use(server, tmp_path / "..two" / "tls.crt")


def test_a_stop_under_load_fails_no_request_on_any_stream(secure: Secured, tmp_path: Path) -> None:
    with secure(tmp_path, SERVAL_DRAIN_PAUSE_SECONDS="0.5") as server:
        answered, failures = [0] * 4, []

        def ask(number: int) -> None:
            while True:
                try:
                    with server.http2() as client:
                        while client.goodbye is None:
                            streams = [server.ask(client) for _ in range(10)]
                            assert {client.answer(stream).status for stream in streams} == {200}
                            answered[number] += len(streams)
                except ConnectionRefusedError:
                    return
                except (OSError, AssertionError, ProtocolError) as error:
                    failures.append(error)
                    return

        clients = [threading.Thread(target=ask, args=(number,)) for number in range(len(answered))]
        for client in clients:
            client.start()
        wait_until(lambda: min(answered) >= 50 or bool(failures))
        server.client.process.send(signal.SIGTERM)
        assert server.client.process.ended() == 0
        for client in clients:
            client.join()
        assert failures == []


@contextmanager
def started(folder: Path, **settings: str) -> Iterator[Running]:
    plain = {"DATA_DIR": str(folder / "data"), "PORT": "0", "METRICS_PORT": "0", "LOG_FORMAT": "json"} | settings
    with running(TINY, {f"SERVAL_{name}": value for name, value in plain.items()}) as server:
        yield server


@pytest.mark.parametrize(
    ("chain", "key", "reason"),
    [
        ("none.pem", "server.key", "`{folder}/none.pem` (`tls_cert_file`) cannot be read: No such file or directory"),
        ("server.pem", "none.key", "`{folder}/none.key` (`tls_key_file`) cannot be read: No such file or directory"),
        ("data", "server.key", "`{folder}/data` (`tls_cert_file`) cannot be read: Is a directory"),
        ("server.key", "server.key", "there is no certificate in the certificate's file"),
        ("server.pem", "server.pem", "there is no private key in the key's file"),
        ("server.pem", "other.key", "the private key is not that of the certificate"),
        ("server.pem", "", "`tls_cert_file` and `tls_key_file` belong together"),
        ("", "server.key", "`tls_cert_file` and `tls_key_file` belong together"),
    ],
)
def test_an_unusable_certificate_is_one_clear_line(tmp_path: Path, chain: str, key: str, reason: str) -> None:
    authority = Authority(tmp_path)
    authority.issue("server")
    authority.issue("other")
    named = {"TLS_CERT_FILE": chain, "TLS_KEY_FILE": key}
    with started(tmp_path, **{name: str(tmp_path / file) for name, file in named.items() if file}) as server:
        assert server.ended() == 1
        (line,) = server.errors.decode().splitlines()
        assert line.startswith("serval: ")
        assert reason.format(folder=tmp_path) in line


def test_a_world_readable_key_and_an_expired_certificate_are_warned_about(tmp_path: Path) -> None:
    chain, key = Authority(tmp_path).issue(not_after=datetime.now(UTC) - timedelta(hours=1))
    key.chmod(0o644)
    with started(tmp_path, TLS_CERT_FILE=str(chain), TLS_KEY_FILE=str(key)) as server:
        assert server.told("tls_certificate_expired")["file"] == str(chain)
        assert server.told("tls_key_world_readable")["file"] == str(key)
        server.told("ready")


def test_a_trusted_proxy_that_is_not_an_address_is_one_clear_line(tmp_path: Path) -> None:
    settings = {
        "SERVAL_DATA_DIR": str(tmp_path / "data"),
        "SERVAL_PORT": "0",
        "SERVAL_METRICS_PORT": "0",
        "SERVAL_LOG_FORMAT": "json",
    }
    with running([SERVAL, "serve"], settings | {"SERVAL_TRUSTED_PROXIES": "10.0.0.0/8, proxy.example"}) as server:
        assert server.ended() == 1
        (line,) = server.errors.decode().splitlines()
        assert "`proxy.example` is neither an IP address nor a network" in line


def test_serving_a_single_model_file_refuses_tls(tmp_path: Path) -> None:
    chain, key = Authority(tmp_path).issue()
    (tmp_path / "model.pkl").write_bytes(b"")
    settings = {"SERVAL_TLS_CERT_FILE": str(chain), "SERVAL_TLS_KEY_FILE": str(key), "SERVAL_PORT": "0"}
    with running([SERVAL, "serve", str(tmp_path / "model.pkl")], settings) as server:
        assert server.ended() == 1
        assert b"remove `tls_cert_file`" in server.errors


def test_without_the_front_a_new_certificate_replaces_the_process(secure: Secured, tmp_path: Path) -> None:
    with secure(tmp_path, SERVAL_FRONT="false") as server:
        (ready,) = [line for line in server.client.process.events if line["event"] == "ready"]
        assert server.shown().strip() == first_pem(server.chain)  # the files are read before the first connection
        chain, key = server.authority.issue("next")
        key.replace(server.key)
        server.chain.write_bytes(chain.read_bytes())
        assert server.shown().strip() != first_pem(chain)
        os.kill(ready["process"], signal.SIGHUP)
        server.client.process.until("ready")
        assert server.shown().strip() == first_pem(chain)
