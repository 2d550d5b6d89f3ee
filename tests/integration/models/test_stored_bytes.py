"""What the models of a user take on disk: shown, bounded, and given back."""

import asyncio
import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from serval.db.engine import Database, database_url, now, open_engine
from serval.log import open_log
from serval.models.files import VersionFiles
from serval.models.retention import FailedUploadRetention
from serval.storage.disk import DiskStorage
from serval.storage.space import DiskSpace
from support.http_client import Client, serving
from support.sample_models import iris_classifier

ROOM_BYTES = 100


def used_bytes(client: Client) -> int:
    return int(client.http.get("/api/v1/auth/me").json()["stored_bytes"])


def bytes_on_disk(client: Client, version_id: str) -> int:
    folder = client.folder / "models" / version_id
    return sum(file.stat().st_size for file in folder.iterdir()) if folder.exists() else 0


def test_a_purge_frees_what_an_upload_took(server: Client) -> None:
    before = used_bytes(server)
    version = server.upload("purged", iris_classifier()).json()
    assert used_bytes(server) - before == bytes_on_disk(server, version["id"]) > len(iris_classifier())
    assert server.http.delete("/api/v1/models/purged?purge=true").status_code == 204
    assert (used_bytes(server), bytes_on_disk(server, version["id"])) == (before, 0)
    assert server.http.get("/api/v1/models/purged").status_code == 404
    assert server.http.post(f"/api/v1/models/{version['model_id']}/restore").status_code == 404
    assert server.predict("purged", {"input": [5.1, 3.5, 1.4, 0.2]}).status_code == 404
    (entry,) = server.http.get("/api/v1/audit", params={"action": "model.delete", "limit": 1}).json()["items"]
    assert entry["details"]["purge"] is True


def test_a_deleted_model_takes_its_bytes_until_it_is_purged(server: Client) -> None:
    before = used_bytes(server)
    version = server.upload("deleted-first", iris_classifier()).json()
    server.http.delete("/api/v1/models/deleted-first")
    assert used_bytes(server) > before
    assert server.http.delete(f"/api/v1/models/{version['model_id']}?purge=true").status_code == 204
    assert (used_bytes(server), bytes_on_disk(server, version["id"])) == (before, 0)


def test_the_file_of_a_failed_upload_goes_after_a_time_and_its_reason_stays(
    server: Client, backend: dict[str, str]
) -> None:
    url = database_url(backend.get("SERVAL_DATABASE_URL"), server.folder)

    async def delete_failed_before(age: timedelta) -> None:
        database = Database(open_engine(url))
        storage = DiskStorage(server.folder / "models", DiskSpace(server.folder, 0))
        log = open_log(level="error", form="json")
        retention = FailedUploadRetention(database, VersionFiles(storage), 1.0, log)
        await retention.delete_failed_before(now() - age)
        await database.close()

    asyncio.run(delete_failed_before(timedelta()))  # those of other tests
    before = used_bytes(server)
    failed = server.upload("failing", b"no model" * 100)
    version_id = failed.json()["version"]["id"]
    asyncio.run(delete_failed_before(timedelta(hours=1)))
    assert used_bytes(server) - before == bytes_on_disk(server, version_id) == 800
    asyncio.run(delete_failed_before(timedelta()))
    assert (used_bytes(server), bytes_on_disk(server, version_id)) == (before, 0)
    shown = server.http.get("/api/v1/models/failing/versions/1").json()
    assert (shown["status"], shown["failure"]["code"]) == ("failed", failed.json()["code"])


@pytest.fixture(scope="module")
def nearly_used_up(folder_with_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A server whose administrator may store a hundred bytes more, and as much as they like with the plan `big`."""
    folder = tmp_path_factory.mktemp("serval") / "data"
    shutil.copytree(folder_with_models, folder)
    used = sum(file.stat().st_size for file in (folder / "models").glob("ver_*/*"))
    plans = json.dumps({"big": {"max_stored_bytes": 1 << 40}})
    with serving(folder, {"SERVAL_MAX_STORED_BYTES": str(used + ROOM_BYTES), "SERVAL_PLANS": plans}) as client:
        yield client


@pytest.mark.parametrize("size", [ROOM_BYTES + 1, 1 << 20], ids=["at its end", "before its body is read"])
def test_an_upload_past_the_quota_is_refused_with_what_is_used_and_the_way_out(
    nearly_used_up: Client, size: int
) -> None:
    used = used_bytes(nearly_used_up)
    refused = nearly_used_up.upload("more", bytes(size))
    assert (refused.status_code, refused.json()["code"]) == (413, "storage_quota_exceeded")
    detail = refused.json()["detail"]
    assert f"take {used} of {used + ROOM_BYTES} bytes (`max_stored_bytes`)" in detail
    assert "?purge=true" in detail
    assert (used_bytes(nearly_used_up), nearly_used_up.arriving()) == (used, [])
    assert nearly_used_up.http.get("/api/v1/models/more").status_code == 404


def test_a_file_within_the_quota_and_one_that_is_only_examined_are_taken(nearly_used_up: Client) -> None:
    assert nearly_used_up.upload("small", bytes(ROOM_BYTES)).json()["code"] == "not_a_model"
    examined = nearly_used_up.http.post("/api/v1/storage/validate", files={"file": ("model.pkl", iris_classifier())})
    assert examined.status_code == 200
    assert nearly_used_up.http.delete("/api/v1/models/small?purge=true").status_code == 204


def test_a_plan_has_a_quota_of_its_own(nearly_used_up: Client) -> None:
    nearly_used_up.http.patch("/api/v1/users/admin", json={"subscription_tier": "big"})
    assert nearly_used_up.upload("bigger", bytes(ROOM_BYTES + 1)).json()["code"] == "not_a_model"
    nearly_used_up.http.patch("/api/v1/users/admin", json={"subscription_tier": "default"})
