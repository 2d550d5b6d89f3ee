"""What a restart restores, and what it quarantines or deletes."""

import os
import pickle
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from support.crashes import Victims
from support.http_client import SERVAL
from support.processes import kill
from support.waiting import wait_until

IRIS = load_iris()
ROW = {"input": [5.1, 3.5, 1.4, 0.2]}


@contextmanager
def started(folder: Path) -> Iterator[Victims]:
    victims = Victims(folder, seed=1)
    try:
        yield victims
    finally:
        victims.close()


@pytest.fixture
def victims(tmp_path: Path) -> Iterator[Victims]:
    with started(tmp_path / "data") as victims:
        yield victims


def fitted(strength: float) -> bytes:
    return pickle.dumps(LogisticRegression(C=strength, max_iter=1000).fit(IRIS.data, IRIS.target))


def upload(victims: Victims, name: str, strength: float = 1.0) -> str:
    """Put a model live; the id of its version."""
    answer = victims.upload(name, fitted(strength), wait_seconds=120)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def predict(victims: Victims, name: str, **query: int) -> httpx2.Response:
    return victims.http.post(f"/api/v1/predict/{name}", json=ROW, params=query)


def stop(victims: Victims) -> None:
    victims.server.send(signal.SIGTERM)
    assert victims.server.ended() == 0
    victims.server.close()


def restart(victims: Victims) -> None:
    stop(victims)
    victims.server = victims.started().ready()


def die_while_loading(victims: Victims, version: str) -> None:
    """Kill the serving process three times, each at the very moment at which it reads a version's file to load it."""
    graph = victims.folder / "models" / version / "model.onnx"
    graph.rename(graph.with_suffix(".kept"))
    os.mkfifo(graph)
    kill(victims.serving_process())
    for _ in range(3):
        with graph.open("wb"):  # until somebody reads
            kill(victims.serving_process())
    victims.await_ready()
    graph.unlink()
    graph.with_suffix(".kept").rename(graph)


class Restarted(NamedTuple):
    """A server with live versions `one` and `two`, after a restart before which files of others were changed."""

    victims: Victims
    probabilities: dict[str, Any]
    """What each model answered before."""
    changed: Path
    """The graph of `changed`, of which a byte is another."""
    graph: bytes
    """What was in it."""
    missing: Path
    """The folder of `missing`."""
    moved: Path
    """Where that folder is now."""
    stray: Path
    """The folder of a version without a row."""
    unfinished: list[Path]
    """Files that were being written."""


@pytest.fixture(scope="module")
def restarted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Restarted]:
    with started(tmp_path_factory.mktemp("restarted") / "data") as victims:
        models = victims.folder / "models"
        versions = {
            name: upload(victims, name, strength)
            for name, strength in (("one", 1.0), ("two", 0.1), ("changed", 0.2), ("missing", 0.3))
        }
        probabilities = {name: predict(victims, name).json()["probabilities"] for name in ("one", "two")}
        changed = models / versions["changed"] / "model.onnx"
        graph = changed.read_bytes()
        changed.write_bytes(graph.replace(b"input", b"inpux", 1) if b"input" in graph else graph[:-1])
        missing, moved = models / versions["missing"], victims.folder / "elsewhere"
        missing.rename(moved)
        stray, half = models / "ver_unknown", models / "incoming" / "dead" / "half"
        left = victims.folder / "scratch" / "left"
        stray.mkdir()
        (stray / "source").write_bytes(b"half an upload")
        os.utime(stray, (time.time() - 7200,) * 2)
        half.parent.mkdir()
        half.write_bytes(b"half")
        left.mkdir()
        restart(victims)
        yield Restarted(victims, probabilities, changed, graph, missing, moved, stray, [half, left])


def test_a_restart_restores_every_live_version(restarted: Restarted) -> None:
    victims = restarted.victims
    for name, probabilities in restarted.probabilities.items():
        assert predict(victims, name).json()["probabilities"] == probabilities
    assert victims.http.get("/health").json()["model_loaded"]


def test_a_start_deletes_what_was_being_written_and_sets_aside_files_without_a_row(restarted: Restarted) -> None:
    assert [path for path in restarted.unfinished if path.exists()] == []
    aside = restarted.stray.parent / "set-aside" / restarted.stray.name / "source"
    wait_until(aside.exists)
    assert (restarted.stray.exists(), aside.read_bytes()) == (False, b"half an upload")


def test_a_graph_that_is_missing_or_was_changed_is_not_downloaded(restarted: Restarted) -> None:
    for name, reason in (("changed", "not the one that was verified"), ("missing", "No such file")):
        refused = restarted.victims.http.get(f"/api/v1/models/{name}/versions/1/download")
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        assert reason in refused.json()["detail"]
        assert "from a backup" in refused.json()["detail"]
    assert restarted.victims.http.get("/api/v1/models/one/versions/1/download").status_code == 200


def test_health_and_the_version_itself_say_what_cannot_be_loaded_and_the_rest_goes_on(restarted: Restarted) -> None:
    http = restarted.victims.http
    health = http.get("/health").json()
    damaged = sorted([restarted.changed.parent.name, restarted.missing.name])
    assert (health["status"], health["checks"]["models"]) == ("degraded", f"cannot be loaded: {', '.join(damaged)}")
    for name, reason in (("changed", "not the one that was verified"), ("missing", "No such file")):
        version = http.get(f"/api/v1/models/{name}/versions/1").json()
        assert (version["status"], version["is_live"], version["failure"]["code"]) == ("ready", True, "unavailable")
        assert reason in version["failure"]["message"]
        for path in ("", "/versions", "/versions/1/report", "/versions/1/golden", "/shares"):
            assert http.get(f"/api/v1/models/{name}{path}").status_code < 500, path
        for path in (f"predict/{name}", f"models/{name}/test", f"models/{name}/versions/1/promote"):
            assert http.post(f"/api/v1/{path}", json=None if "promote" in path else ROW).status_code == 503, path
        csv = http.post(f"/api/v1/predict/{name}", content=b"1,2,3,4\n", headers={"Content-Type": "text/csv"})
        assert csv.status_code == 503
    assert http.get("/health/ready").status_code == 200


def test_a_version_whose_files_were_missing_is_served_when_they_are_back(restarted: Restarted) -> None:
    assert predict(restarted.victims, "missing").status_code == 503
    restarted.moved.rename(restarted.missing)
    assert predict(restarted.victims, "missing").status_code == 200
    assert restarted.victims.http.get("/api/v1/models/missing/versions/1").json()["failure"] is None


def test_a_version_whose_graph_was_changed_on_disk_is_not_served_until_it_is_restored(restarted: Restarted) -> None:
    refusal = predict(restarted.victims, "changed")
    assert refusal.status_code == 503
    assert "not the one that was verified" in refusal.json()["detail"]
    restarted.changed.write_bytes(restarted.graph)
    restart(restarted.victims)
    assert predict(restarted.victims, "changed").status_code == 200
    assert restarted.victims.http.get("/health").json()["checks"]["models"] == "ok"


def test_an_orderly_stop_makes_a_conversion_pending_again_without_counting_an_attempt(victims: Victims) -> None:
    version = victims.under_way()
    victims.until_status(version, "converting")
    victims.server.send(signal.SIGTERM)
    assert victims.server.ended() == 0
    assert victims.ask("SELECT status, attempts FROM versions") == [("pending", 0)]
    victims.server.close()
    victims.server = victims.started().ready()
    assert [status for _, status, _ in victims.await_the_end()] == ["ready"]


def test_a_version_that_crashes_the_server_three_times_is_quarantined_until_the_next_upload(victims: Victims) -> None:
    upload(victims, "good")
    version = upload(victims, "bad")
    die_while_loading(victims, version)
    assert predict(victims, "good").status_code == 200
    refusal = predict(victims, "bad")
    assert (refusal.status_code, refusal.json()["code"]) == (503, "quarantined")
    assert "the server died 3 times while loading it" in refusal.json()["detail"]
    shown = victims.http.get("/api/v1/models/bad/versions/1").json()
    assert (shown["status"], shown["failure"]["code"]) == ("failed", "quarantined")
    restart(victims)
    assert predict(victims, "bad").json()["detail"] == refusal.json()["detail"]
    # A new upload replaces it.
    upload(victims, "bad")
    answer = predict(victims, "bad")
    assert (answer.status_code, answer.json()["model_version"]) == (200, 2)
    assert predict(victims, "bad", version=1).status_code == 503


def refusal_to_start(folder: Path) -> str:
    refused = subprocess.run(
        [SERVAL, "serve", "--data-dir", folder, "--port", "0", "--metrics-port", "0"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    return line


def test_a_start_with_a_damaged_an_empty_or_another_database_deletes_nothing_and_says_why(
    folder_with_models: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(folder_with_models, tmp_path / "data")
    key = (folder / "admin.key").read_text()
    sources = {path: path.read_bytes() for path in (folder / "models").glob("ver_*/source")}
    of_another = f"holds the files of {len(sources)} versions of another database"
    database = folder / "serval.sqlite"
    content = database.read_bytes()
    database.write_bytes(content[:8192] + b"\xff" * 4096 + content[12288:])
    assert f"the database `{database}` is damaged (" in refusal_to_start(folder)
    database.write_bytes(b"")
    assert of_another in refusal_to_start(folder)
    for file in folder.glob("serval.sqlite*"):
        file.unlink()
    line = refusal_to_start(folder)
    assert of_another in line
    assert "`SERVAL_DATABASE_URL`" in line
    assert len(sources) == 2
    assert {path: path.read_bytes() for path in sources} == sources
    assert (folder / "admin.key").read_text() == key
    (folder / "models").rename(folder / "models.old")
    with started(folder) as victims:
        assert (folder / "admin.key").read_text() == key
        assert victims.http.get("/api/v1/models").json() == {"items": []}
