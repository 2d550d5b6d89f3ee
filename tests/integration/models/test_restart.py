"""What a restart restores, and what it quarantines or deletes."""

import os
import pickle
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from support.crashes import Victims
from support.processes import kill

IRIS = load_iris()
ROW = {"input": [5.1, 3.5, 1.4, 0.2]}


@pytest.fixture
def victims(tmp_path: Path) -> Iterator[Victims]:
    victims = Victims(tmp_path / "data", seed=1)
    try:
        yield victims
    finally:
        victims.close()


def fitted(strength: float) -> bytes:
    return pickle.dumps(LogisticRegression(C=strength, max_iter=1000).fit(IRIS.data, IRIS.target))


def upload(victims: Victims, name: str, strength: float = 1.0) -> str:
    """Put a model live; the id of its version."""
    answer = victims.upload(name, fitted(strength), wait_seconds=120)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def predict(victims: Victims, name: str, **query: int) -> httpx2.Response:
    return victims.http.post(f"/api/v1/predict/{name}", json=ROW, params=query)


def restart(victims: Victims) -> None:
    victims.server.send(signal.SIGTERM)
    assert victims.server.ended() == 0
    victims.server.close()
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


def test_a_restart_restores_every_live_version(victims: Victims) -> None:
    upload(victims, "one")
    upload(victims, "two", 0.1)
    before = [predict(victims, name).json()["probabilities"] for name in ("one", "two")]
    restart(victims)
    assert [predict(victims, name).json()["probabilities"] for name in ("one", "two")] == before
    assert victims.http.get("/health").json()["model_loaded"]


def test_an_orderly_stop_makes_a_conversion_pending_again_without_counting_an_attempt(victims: Victims) -> None:
    version = victims.under_way()
    victims.until_status(version, "converting")
    victims.server.send(signal.SIGTERM)
    assert victims.server.ended() == 0
    assert victims.ask("SELECT status, attempts FROM versions") == [("pending", 0)]
    victims.server.close()
    victims.server = victims.started().ready()
    assert [status for _, status, _ in victims.await_the_end()] == ["ready"]


def test_a_version_that_crashes_the_server_three_times_is_quarantined_and_the_others_serve(victims: Victims) -> None:
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


def test_a_new_upload_replaces_a_quarantined_live_version(victims: Victims) -> None:
    die_while_loading(victims, upload(victims, "bad"))
    upload(victims, "bad")
    answer = predict(victims, "bad")
    assert (answer.status_code, answer.json()["model_version"]) == (200, 2)
    assert predict(victims, "bad", version=1).status_code == 503


def test_a_version_whose_graph_was_changed_on_disk_is_not_served_until_it_is_restored(victims: Victims) -> None:
    version = upload(victims, "iris")
    graph = victims.folder / "models" / version / "model.onnx"
    content = graph.read_bytes()
    graph.write_bytes(content.replace(b"input", b"inpux", 1) if b"input" in content else content[:-1])
    restart(victims)
    refusal = predict(victims, "iris")
    assert refusal.status_code == 503
    assert "not the one that was verified" in refusal.json()["detail"]
    graph.write_bytes(content)
    restart(victims)
    assert predict(victims, "iris").status_code == 200


def test_a_version_whose_files_were_missing_is_served_when_they_are_back(victims: Victims) -> None:
    version = upload(victims, "iris")
    folder = victims.folder / "models" / version
    folder.rename(victims.folder / "elsewhere")
    restart(victims)
    assert predict(victims, "iris").status_code == 503
    (victims.folder / "elsewhere").rename(folder)
    assert predict(victims, "iris").status_code == 200


def test_a_start_deletes_files_that_belong_to_no_version(victims: Victims) -> None:
    upload(victims, "iris")
    orphan = victims.folder / "models" / "ver_unknown"
    orphan.mkdir()
    (orphan / "source").write_bytes(b"half an upload")
    half, left = victims.folder / "models" / "incoming" / "half", victims.folder / "scratch" / "left"
    half.write_bytes(b"half")
    left.mkdir()
    restart(victims)
    assert not any(path.exists() for path in (orphan, half, left))
    assert predict(victims, "iris").status_code == 200
