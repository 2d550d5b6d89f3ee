"""Uploads of one model that overtake each other."""

import os
import pickle
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from sklearn.datasets import load_iris
from sklearn.tree import DecisionTreeClassifier

from support.crashes import descendants
from support.http_client import Client, serving

IRIS = load_iris()
PAUSE_SECONDS = 0.001
"""Between two looks: short, as what is looked for does not last, and yet it leaves the processor to the server."""


@pytest.fixture(scope="module")
def parallel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with serving(tmp_path_factory.mktemp("parallel") / "data", {"SERVAL_CONVERT_PARALLEL": "2"}) as client:
        yield client


def confined_child(server: Client) -> int:
    """The process that works on an upload, as soon as there is one."""
    while True:
        for pid in descendants(server.process.popen.pid):
            with suppress(FileNotFoundError, ProcessLookupError):  # it may have ended since it was listed
                if Path(f"/proc/{pid}/comm").read_text() == "serval-convert\n":
                    return pid
        time.sleep(PAUSE_SECONDS)


def test_an_upload_that_is_converted_after_a_later_one_does_not_replace_it(parallel: Client) -> None:
    content = pickle.dumps(DecisionTreeClassifier(max_depth=2).fit(IRIS.data, IRIS.target))
    assert parallel.upload("race", content, wait_seconds=0).status_code == 202
    held_up = confined_child(parallel)
    os.kill(held_up, signal.SIGSTOP)
    assert parallel.upload("race", content).json()["is_live"]
    os.kill(held_up, signal.SIGCONT)
    first = parallel.await_version("race", 1, "ready")
    assert (first["is_live"], first["held"]["code"]) == (False, "superseded")
    assert parallel.http.get("/api/v1/models/race").json()["live_version"] == 2


def test_a_version_that_is_recorded_as_live_predicts_at_once(parallel: Client) -> None:
    content = pickle.dumps(DecisionTreeClassifier(max_depth=2).fit(IRIS.data, IRIS.target))
    for number in range(5):
        name = f"prompt-{number}"
        assert parallel.upload(name, content, wait_seconds=0).status_code == 202
        with closing(sqlite3.connect(parallel.folder / "serval.sqlite")) as database:
            while database.execute("SELECT 1 FROM models WHERE name = ? AND live = 1", [name]).fetchone() is None:
                time.sleep(PAUSE_SECONDS)
        answer = parallel.http.post(f"/api/v1/predict/{name}", json={"input": IRIS.data[0].tolist()})
        assert answer.status_code == 200, answer.text
