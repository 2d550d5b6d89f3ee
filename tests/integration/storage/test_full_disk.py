"""A server on a disk that is full: what goes on, what is refused and how, and what a restart loads."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from support.backends import Postgres
from support.http_client import Client, serving
from support.sample_models import iris_classifier
from support.small_disk import SmallDisk, small_disk

IRIS = {"input": [5.1, 3.5, 1.4, 0.2]}
PREPARED = ["embedded", pytest.param("postgres", marks=pytest.mark.slow)]


@pytest.fixture(scope="module", params=PREPARED)
def prepared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A data folder with the live models `iris` and `limited`, and the settings of its server: with everything in the
    folder, and with a database elsewhere."""
    if request.param == "embedded":
        return request.getfixturevalue("folder_with_models"), {}
    server: Postgres = request.getfixturevalue("shared_postgres")
    server.ask("CREATE DATABASE full_disk TEMPLATE serval;")
    settings = {"SERVAL_DATABASE_URL": server.url("full_disk"), "SERVAL_FRONT": "false"}
    folder = tmp_path_factory.mktemp("serval") / "data"
    with serving(folder, settings, is_migrated=True) as client:
        for name in ("iris", "limited"):
            assert client.upload(name, iris_classifier()).status_code == 201
    return folder, settings


@pytest.fixture(scope="module")
def disk(prepared: tuple[Path, dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallDisk]:
    with small_disk(tmp_path_factory.mktemp("small") / "disk", 64 << 20) as disk:
        shutil.copytree(prepared[0], disk.folder / "data")
        yield disk


@pytest.fixture(scope="module")
def answers(disk: SmallDisk, prepared: tuple[Path, dict[str, str]]) -> dict[str, Any]:
    """What a server on a full disk answers, and after a restart there."""
    given: dict[str, Any] = {}
    key = {"name": "another", "scopes": ["predict"]}
    wrong = {"username": "admin", "password": "guessed by somebody"}
    with disk.serving(prepared[1]) as client:
        given["before"] = client.predict("iris", IRIS).json()["probabilities"]
        given["old key"] = client.http.post("/api/v1/api-keys", json=key).json()["id"]
        disk.fill()
        given["full"] = client.predict("iris", IRIS)
        given["health"] = client.http.get("/health").json()
        given["upload"] = client.upload("more", iris_classifier())
        given["key"] = client.http.post("/api/v1/api-keys", json=key | {"name": "new"})
        given["login"] = client.http.post("/api/v1/auth/login", json=wrong)
        given["revocation"] = client.http.delete(f"/api/v1/api-keys/{given['old key']}")
    disk.fill()
    with disk.serving(prepared[1]) as client:
        given["ready"] = client.http.get("/health/ready")
        given["after"] = client.predict("iris", IRIS).json()["probabilities"]
        disk.fill()
        given["deletion"] = client.http.delete("/api/v1/models/limited")
        given["deleted"] = client.predict("limited", IRIS)
    return given


def test_predictions_go_on(answers: dict[str, Any]) -> None:
    assert answers["full"].status_code == 200


def test_health_says_that_nothing_can_be_written(answers: dict[str, Any]) -> None:
    health = answers["health"]
    assert (health["status"], health["checks"]["disk"]) == ("degraded", "failed: the disk is full")
    assert health["checks"]["database"] == "ok"


def test_an_upload_is_refused_by_the_disk(answers: dict[str, Any]) -> None:
    refused = answers["upload"]
    assert (refused.status_code, refused.json()["code"]) == (503, "disk_full")
    assert "The disk of the data folder has 0 bytes left" in refused.json()["detail"]


def test_what_the_database_cannot_record_is_refused_by_its_disk(
    answers: dict[str, Any], prepared: tuple[Path, dict[str, str]]
) -> None:
    made = answers["key"]
    if prepared[1]:
        assert made.status_code == 201
    else:
        assert (made.status_code, made.json()["code"]) == (503, "database_disk_full")
        assert "The disk of the data folder is full" in made.json()["detail"]


def test_a_wrong_password_is_wrong_though_it_is_not_recorded(answers: dict[str, Any]) -> None:
    assert answers["login"].status_code == 401


def test_a_key_is_revoked(answers: dict[str, Any]) -> None:
    assert answers["revocation"].status_code == 204


def test_a_restart_loads_what_it_has(answers: dict[str, Any]) -> None:
    assert answers["ready"].status_code == 200
    assert answers["after"] == answers["before"]


def test_a_model_is_deleted(answers: dict[str, Any]) -> None:
    assert answers["deletion"].status_code == 204
    assert answers["deleted"].status_code == 404


def test_a_start_without_any_room_says_what_is_full(disk: SmallDisk, answers: dict[str, Any]) -> None:
    (disk.folder / "data" / "reserve").unlink(missing_ok=True)
    disk.fill()
    with pytest.raises(AssertionError, match=r"serval: .*[Dd]isk of the data folder"), disk.serving({}):
        pass


@pytest.fixture(scope="module")
def low(folder_with_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A server that has to leave more free than any disk has."""
    folder = tmp_path_factory.mktemp("serval") / "data"
    shutil.copytree(folder_with_models, folder)
    with serving(folder, {"SERVAL_MIN_FREE_DISK_BYTES": str(1 << 60)}) as client:
        yield client


def test_a_disk_with_too_little_free_takes_no_upload_and_all_else_goes_on(low: Client) -> None:
    refused = low.upload("more", iris_classifier())
    assert (refused.status_code, refused.json()["code"]) == (503, "disk_full")
    assert "`min_free_disk_bytes`" in refused.json()["detail"]
    assert low.http.get("/health").json()["checks"]["disk"] == "low"
    assert low.http.get("/health/ready").status_code == 200
    assert low.http.post("/api/v1/api-keys", json={"name": "another", "scopes": ["predict"]}).status_code == 201


def test_the_embedded_valkey_writes_no_file_and_says_so(low: Client) -> None:
    assert low.process.told("valkey_persistence_stopped")["free_bytes"] > 0
    with Redis.from_url(f"unix://{low.folder / 'valkey' / 'valkey.sock'}") as valkey:
        assert valkey.config_get("appendonly") == {"appendonly": "no"}
        assert valkey.set("anything", 1)


def test_a_history_waits_for_room_and_says_so(low: Client) -> None:
    assert low.predict("iris", IRIS).status_code == 200
    assert low.process.told("history_waiting_for_disk")["rows"] == 1
    assert low.http.get("/api/v1/predictions").json()["items"] == []


def test_a_failed_login_is_logged_and_not_recorded(low: Client) -> None:
    wrong = {"username": "admin", "password": "guessed by somebody"}
    assert low.http.post("/api/v1/auth/login", json=wrong).status_code == 401
    assert low.process.told("audit_entry_left_out")["action"] == "login"
    recorded = low.http.get("/api/v1/audit", params={"action": "login"}).json()["items"]
    assert recorded == []
