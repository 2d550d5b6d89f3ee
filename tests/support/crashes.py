"""A server that is killed at chosen moments, what must be true afterwards, and somebody who asks it all the while."""

import os
import pickle
import random
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Literal

import httpx2
import numpy as np
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from support import plain_http
from support.backends import free_port
from support.http_client import SERVAL, UNMEASURED, files_arriving
from support.processes import Running, gone, processes_using
from support.waiting import wait_until

IRIS = load_iris()
ROWS: list[list[float]] = IRIS.data[::10].tolist()
DONE = {"ready", "failed"}
PATIENCE_SECONDS = 120.0

Stage = Literal["upload", "conversion", "verification", "load", "start"]
Victim = Literal["child", "parent"]
STAGES: list[Stage] = ["upload", "conversion", "verification", "load", "start"]
LONGEST_DELAY_SECONDS: dict[Stage, float] = {
    "upload": 0.05,
    "conversion": 2.0,
    "verification": 1.0,
    "load": 0.03,
    "start": 2.0,
}


class Original:
    """A fitted model and what it answers."""

    def __init__(self, seed: int) -> None:
        rows = np.random.default_rng(seed).permutation(len(IRIS.target))[:120]
        last = LogisticRegression() if seed % 2 else RandomForestClassifier(5, random_state=seed)
        model = make_pipeline(StandardScaler(), last).fit(IRIS.data[rows], IRIS.target[rows])
        self.content = pickle.dumps(model)
        self.labels = model.predict(ROWS).tolist()
        self.probabilities = model.predict_proba(ROWS).tolist()

    def agrees(self, row: int, answer: dict[str, Any]) -> bool:
        given = list(answer["probabilities"].values())
        return answer["prediction"] == self.labels[row] and np.allclose(
            given, self.probabilities[row], rtol=0, atol=1e-5
        )


class Witness:
    """Asks a live model without a pause. A kill of the server may cut its connection, and nothing else."""

    def __init__(self, url: str, key: str, original: Original) -> None:
        self.right = self.cut_off = 0
        self.wrong: list[str] = []
        self._original = original
        self._ended = threading.Event()
        self._first: dict[int, Any] = {}
        self._thread = threading.Thread(target=self._ask_on, args=(url, key))
        self._thread.start()

    def _ask_on(self, url: str, key: str) -> None:
        with plain_http.client(
            base_url=url, headers={"X-API-Key": key, "Cache-Control": "no-cache"}, timeout=30
        ) as http:
            row = 0
            while not self._ended.is_set():
                row = (row + 1) % len(ROWS)
                try:
                    self._judge(row, http.post("/api/v1/predict/witness", json={"input": ROWS[row]}))
                except httpx2.TransportError:
                    self.cut_off += 1
                self._ended.wait(0.002)

    def _judge(self, row: int, response: httpx2.Response) -> None:
        answer = response.json()
        if response.status_code != 200 or not self._original.agrees(row, answer):
            self.wrong.append(response.text)
            return
        bits = (answer["prediction"], answer["probabilities"], answer["version"])
        if self._first.setdefault(row, bits) != bits:
            self.wrong.append(f"another answer than before: {response.text}")
        self.right += 1

    def end(self) -> None:
        self._ended.set()
        self._thread.join()


class Victims:
    """A server in a folder, and uploads on their way through it."""

    def __init__(self, folder: Path, seed: int, **settings: str) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.originals: dict[str, Original] = {}
        self._settings = {
            "SERVAL_DATA_DIR": str(folder),
            "SERVAL_PORT": str(free_port()),
            "SERVAL_METRICS_PORT": "0",
            "SERVAL_LOG_FORMAT": "json",
            "SERVAL_DRAIN_PAUSE_SECONDS": "0",
            "SERVAL_MAX_PENDING_UPLOADS": "1000",
            "SERVAL_API_RATE": "unlimited",
            "SERVAL_CONVERT_PRELOAD": "false",
            **UNMEASURED,
        } | {f"SERVAL_{name.upper()}": value for name, value in settings.items()}
        self.server = self.started().ready()
        self.url = f"http://127.0.0.1:{self.server.port}"
        self.key = (folder / "admin.key").read_text().strip()
        self.http = plain_http.client(base_url=self.url, headers={"X-API-Key": self.key}, timeout=30)
        self.witness: Witness | None = None

    def started(self) -> Running:
        return Running([SERVAL, "serve"], self._settings)

    def close(self) -> None:
        if self.witness is not None:
            self.witness.end()
        self.http.close()
        self.server.close()

    def watch(self) -> None:
        """Put a model live and let a witness ask it from now on."""
        original = Original(seed=1)
        assert self.upload("witness", original.content, wait_seconds=120).status_code == 201
        self.witness = Witness(self.url, self.key, original)

    def upload(self, name: str, content: bytes, wait_seconds: int = 0) -> httpx2.Response:
        files = {"file": ("model.pkl", content, "application/octet-stream")}
        headers = {"Prefer": f"wait={wait_seconds}"}
        return self.http.post(
            "/api/v1/models/upload", files=files, data={"name": name}, headers=headers, timeout=PATIENCE_SECONDS
        )

    def under_way(self) -> str:
        """The id of a version that is being worked on; of a new one where all are done."""
        found = self.ask("SELECT id FROM versions WHERE status NOT IN ('ready', 'failed') ORDER BY id")
        if found:
            return str(found[0][0])
        name = f"model-{len(self.originals)}"
        self.originals[name] = Original(seed=len(self.originals) + 2)
        answer = self.upload(name, self.originals[name].content)
        assert answer.status_code in {201, 202}, answer.text
        return str(answer.json()["id"])

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """Ask the database file itself, whether anybody serves or not."""
        with closing(sqlite3.connect(self.folder / "serval.sqlite", timeout=30)) as database:
            return database.execute(query).fetchall()

    def serving_process(self) -> int:
        parent = self.server.popen.pid
        found = [
            pid for pid in children(parent) if b"serval.process.child" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        assert len(found) == 1, found
        return found[0]

    def strike(self, victim: Victim, stage: Stage) -> None:
        """Kill at a random moment of a stage, wait until the server answers again, and look around."""
        with closing(socket.socket()) as half_sent:
            self._reach(stage, half_sent)
            time.sleep(self.random.uniform(0, LONGEST_DELAY_SECONDS[stage]))
            left = self._kill(victim)
        if stage == "start":
            if victim == "parent":
                self.server.close()
                self.server = self.started()
            time.sleep(self.random.uniform(0, LONGEST_DELAY_SECONDS[stage]))
            with suppress(ProcessLookupError, AssertionError):  # it is between two children
                left |= self._kill("child" if victim == "child" else "parent")
        if victim == "parent":
            self.server.close()
            self.server = self.started()
        self.await_ready()
        self.look_around(left)

    def await_ready(self) -> None:
        """Wait until it answers: a serving process that was ready may have been killed since."""
        while not Path(f"/proc/{self.server.until('ready')['process']}").exists():
            pass

    def _reach(self, stage: Stage, half_sent: socket.socket) -> None:
        if stage == "upload":
            self._send_half(half_sent)
        elif stage == "conversion":
            self.until_status(self.under_way(), "converting")
        elif stage == "verification":
            self.until_status(self.under_way(), "verifying")
        elif stage == "load":
            version = self.under_way()
            graph = self.folder / "models" / version / "model.onnx"
            self._await(lambda: graph.exists() or self._status(version) in DONE)

    def until_status(self, version: str, status: str) -> None:
        """Wait until a version has a status, or none any more that changes."""
        self._await(lambda: self._status(version) in DONE | {status})

    def _status(self, version: str) -> str:
        return str(self.ask(f"SELECT status FROM versions WHERE id = '{version}'")[0][0])

    def _await(self, is_so: Callable[[], bool]) -> None:
        wait_until(is_so, within_seconds=PATIENCE_SECONDS)

    def _send_half(self, connection: socket.socket) -> None:
        head = (
            f"POST /api/v1/models/upload HTTP/1.1\r\nHost: serval\r\nX-API-Key: {self.key}\r\n"
            "Content-Length: 2000000\r\nContent-Type: multipart/form-data; boundary=edge\r\n\r\n"
            '--edge\r\nContent-Disposition: form-data; name="name"\r\n\r\nhalf\r\n'
            '--edge\r\nContent-Disposition: form-data; name="file"; filename="half.pkl"\r\n\r\n'
        )
        connection.connect(("127.0.0.1", int(self._settings["SERVAL_PORT"])))
        connection.sendall(head.encode() + b"\x80" * 1_000_000)
        self._await(lambda: bool(files_arriving(self.folder)))

    def _kill(self, victim: Victim) -> set[Path]:
        """Kill it and all that dies with it. Returns the unfinished files that it left."""
        if victim == "child":
            pid = self.serving_process()
            doomed = {pid, *descendants(pid)}
        else:
            pid = self.server.popen.pid
            doomed = {pid, *descendants(pid)}
        os.kill(pid, signal.SIGKILL)
        left = self.leftovers()
        if victim == "parent":
            self.server.popen.wait()
        assert all(gone(pid) for pid in doomed)
        return left

    def leftovers(self) -> set[Path]:
        """Files that are not whole yet, and folders of conversions at work."""
        scratch = self.folder / "scratch"
        return {*files_arriving(self.folder), *(scratch.iterdir() if scratch.exists() else ())}

    def look_around(self, left: set[Path]) -> None:
        """What must be true whenever the server answers."""
        assert not left & self.leftovers()
        folders = {path.name for path in (self.folder / "models").glob("ver_*")}
        rows = {str(row[0]) for row in self.ask("SELECT id FROM versions")}
        assert folders >= rows  # one without a row is set aside later
        half_live = (
            "SELECT models.name FROM models JOIN versions ON model_id = models.id AND number = live"
            " WHERE status != 'ready'"
        )
        assert self.ask(half_live) == []
        assert self.witness is not None
        assert self.witness.wrong == []

    def await_the_end(self) -> list[tuple[str, str, str | None]]:
        """Wait until every upload has come to its end. Returns (name, status, failure) of each."""
        under_way = "SELECT id FROM versions WHERE status NOT IN ('ready', 'failed')"
        self._await(lambda: not self.ask(under_way))
        return self.ask(
            "SELECT name, status, failure FROM versions JOIN models ON models.id = model_id WHERE name != 'witness'"
        )

    def answers_of(self, name: str) -> list[dict[str, Any]]:
        return [self.http.post(f"/api/v1/predict/{name}", json={"input": row}).json() for row in ROWS]

    def stop(self) -> None:
        """End in order; nothing is left but what is whole."""
        self.server.send(signal.SIGTERM)
        assert self.server.ended() == 0
        assert processes_using(self.folder) == set()
        assert self.leftovers() == set()


def survives(folder: Path, seed: int, moments: list[tuple[Victim, Stage]], **settings: str) -> None:
    """Kill a server at each of the moments and hold it to its promises."""
    victims = Victims(folder, seed, **settings)
    try:
        victims.watch()
        for number, (victim, stage) in enumerate(moments):
            print(f"moment {number}: {victim} during {stage}, seed {seed}", flush=True)  # noqa: T201 to repeat it
            victims.strike(victim, stage)
        for name, status, failure in victims.await_the_end():
            if status == "failed":
                assert "The server died 3 times" in str(failure)
            else:
                assert all(
                    victims.originals[name].agrees(row, answer) for row, answer in enumerate(victims.answers_of(name))
                )
        assert victims.witness is not None
        victims.witness.end()
        assert victims.witness.wrong == []
        assert victims.witness.right > len(moments)
        victims.stop()
    finally:
        victims.close()


def children(pid: int) -> list[int]:
    found = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (thread / "children").read_text().split()]
    return found


def descendants(pid: int) -> set[int]:
    return {each for child in children(pid) for each in (child, *descendants(child))}
