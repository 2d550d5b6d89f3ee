"""Which versions are loaded, which cannot be, and what their callers get."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from serval.errors import Quarantined, Unavailable
from serval.log import open_log
from serval.models.column_names import name_columns
from serval.models.files import Probe, VersionFiles
from serval.models.load_attempts import LoadAttempts
from serval.models.loading import ModelLoader, ServedVersion
from serval.models.tables import Version
from serval.storage.disk import DiskStorage
from serval.storage.space import DiskSpace
from serval.work.queue import MAX_ATTEMPTS
from support.registry import PROBE, Registry, registry
from support.waiting import wait_until_async

pytestmark = pytest.mark.anyio
T = TypeVar("T")


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Registry]:
    async with registry(tmp_path) as opened:
        yield opened


def die_while_loading(parts: Registry, times: int) -> None:
    for _ in range(times):
        parts.attempts.begin("ver_1")


async def test_a_load_that_succeeds_resets_the_attempts_of_its_version(parts: Registry) -> None:
    die_while_loading(parts, MAX_ATTEMPTS - 1)
    await parts.start()
    assert parts.loader.count == 1
    assert parts.attempts.begin("ver_1") == 0


async def test_a_version_past_its_attempts_is_quarantined_and_not_loaded(parts: Registry) -> None:
    die_while_loading(parts, MAX_ATTEMPTS)
    await parts.start()
    assert parts.loader.count == 0
    version = await parts.version()
    assert version.status == "failed"
    assert version.failure is not None
    assert version.failure["code"] == "quarantined"
    with pytest.raises(Quarantined, match="the server died 3 times while loading it"):
        await parts.loader.ensure_loaded("ver_1")


async def test_a_load_that_cannot_be_counted_is_made_all_the_same(parts: Registry, tmp_path: Path) -> None:
    (tmp_path / "loading").rmdir()
    await parts.start()
    assert parts.loader.count == 1


def test_counting_a_load_takes_no_space(tmp_path: Path) -> None:
    attempts = LoadAttempts(tmp_path)
    assert [attempts.begin("ver_1") for _ in range(3)] == [0, 1, 2]
    assert (tmp_path / "ver_1").stat().st_blocks == 0


async def test_a_server_that_could_load_nothing_is_not_ready_until_it_can(
    parts: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serval.deployments.publishing.RELOAD_SECONDS", 0.01)
    files, away = tmp_path / "models" / "ver_1", tmp_path / "away"
    files.rename(away)
    await parts.start()
    assert (parts.routes.has_routes, parts.routes.is_ready) == (True, False)
    away.rename(files)
    await wait_until_async(lambda: _value(parts.routes.is_ready))


async def test_a_server_whose_only_version_is_in_quarantine_is_ready_for_another(parts: Registry) -> None:
    die_while_loading(parts, MAX_ATTEMPTS)
    await parts.start()
    assert (parts.loader.count, parts.routes.is_ready) == (0, True)


async def _value(value: T) -> T:
    return value


async def test_a_graph_that_was_replaced_on_disk_is_refused_without_a_quarantine(parts: Registry) -> None:
    parts.files.store("ver_1", b"something else", PROBE)
    await parts.start()
    with pytest.raises(Unavailable, match="not the one that was verified"):
        await parts.loader.ensure_loaded("ver_1")
    assert ((await parts.version()).status, parts.attempts.begin("ver_1")) == ("ready", 0)


async def test_a_version_whose_files_were_missing_is_loaded_when_they_are_back(parts: Registry, tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "models" / "ver_1", tmp_path / "elsewhere"
    folder.rename(elsewhere)
    await parts.start()
    with pytest.raises(Unavailable, match="cannot be read: No such file or directory"):
        await parts.loader.ensure_loaded("ver_1")
    elsewhere.rename(folder)
    await parts.loader.ensure_loaded("ver_1")
    assert parts.loader.count == 1


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: None, "cannot be read: No such file or directory"),
        (lambda content: content[:-1], "its file `probe` on disk is damaged"),
        (lambda content: b"\xc1", "its file `probe` on disk is damaged"),
        (lambda content: content.replace(b"\x90", b"\x91\xa1\xff"), "its file `probe` on disk is damaged"),
        (lambda content: content.replace(b"\xc4\x40", b"\xc4\x3f"), "cannot be loaded"),
    ],
    ids=["missing", "cut off", "no message", "no text", "too short"],
)
async def test_a_version_with_a_damaged_file_is_named_and_says_why_until_it_can_be_loaded(
    parts: Registry, tmp_path: Path, damage: Callable[[bytes], bytes | None], reason: str
) -> None:
    probe = tmp_path / "models" / "ver_1" / "probe"
    kept = probe.read_bytes()
    damaged = damage(kept)
    assert damaged != kept
    if damaged is None:
        probe.unlink()
    else:
        probe.write_bytes(damaged)
    await parts.start()
    with pytest.raises(Unavailable, match=reason):
        await parts.loader.ensure_loaded("ver_1")
    version = await parts.version()
    assert (parts.loader.unloadable, version.status) == (["ver_1"], "ready")
    assert version.failure is not None
    assert (version.failure["code"], reason in version.failure["message"]) == ("unavailable", True)
    probe.write_bytes(kept)
    other = ModelLoader(
        parts.database,
        parts.files,
        parts.attempts,
        parts.plane.models,
        parts.changes,
        open_log(level="error", form="json"),
    )
    await other.ensure_loaded("ver_1")  # as the next start does
    assert (other.unloadable, (await parts.version()).failure) == ([], None)


async def test_a_version_that_nobody_can_ask_any_more_is_no_fault(parts: Registry) -> None:
    parts.files.store("ver_1", b"something else", PROBE)
    await parts.start()
    assert parts.loader.unloadable == ["ver_1"]
    parts.loader.unload_others([])
    assert parts.loader.unloadable == []


class GatedFiles(VersionFiles):
    """Files that are read when the test says so."""

    def __init__(self, folder: Path) -> None:
        super().__init__(DiskStorage(folder / "models", DiskSpace(folder, 0)))
        self.asked, self.gate = threading.Event(), threading.Event()

    def read(self, version_id: str, sha256: str | None) -> tuple[bytes, Probe]:
        self.asked.set()
        assert self.gate.wait(60)
        return super().read(version_id, sha256)


@asynccontextmanager
async def loading(
    parts: Registry, folder: Path, load: Callable[[ModelLoader], Awaitable[T]]
) -> AsyncIterator[tuple[ModelLoader, asyncio.Task[T]]]:
    """A loader that has begun to load, and goes on when the block ends."""
    files, log = GatedFiles(folder), open_log(level="error", form="json")
    loader = ModelLoader(parts.database, files, parts.attempts, parts.plane.models, parts.changes, log)
    files.gate.set()
    await loader.ensure_loaded("ver_1")
    files.gate.clear()
    files.asked.clear()
    task = asyncio.ensure_future(load(loader))
    await asyncio.to_thread(files.asked.wait, 60)
    yield loader, task
    files.gate.set()


async def test_a_version_quarantined_while_it_is_loaded_again_stays_out(parts: Registry, tmp_path: Path) -> None:
    async with loading(parts, tmp_path, lambda loader: loader.reload("ver_1")) as (loader, reload):
        loader.adopt_quarantine("ver_1", "It ran without end.")
    with pytest.raises(Quarantined, match="ran without end"):
        await reload
    assert loader.count == 0
    with pytest.raises(KeyError):
        parts.plane.models.run("ver_1", PROBE.numbers, [])


async def test_columns_named_while_a_version_is_loaded_are_those_of_the_loaded_version(
    parts: Registry, tmp_path: Path
) -> None:
    def load_anew(loader: ModelLoader) -> Awaitable[ServedVersion]:
        loader.unload_others([])
        return loader.ensure_loaded("ver_1")

    async with loading(parts, tmp_path, load_anew) as (loader, load), parts.database.write() as session:
        name_columns(await session.get_one(Version, "ver_1"), ["height", "width"])
    assert [column.name for column in (await load).signature.columns] == ["height", "width"]
    assert loader.without_names() == []
