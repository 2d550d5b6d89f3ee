"""Routes lead to versions that are loaded, and follow the registry."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from serval.data_plane.plane import Refusal
from serval.errors import DatabaseUnavailable, Quarantined, Unavailable
from serval.models.column_names import name_columns
from serval.models.tables import Model, Version
from support.planes import put_caller
from support.registry import KEY, Registry, add_version, echo, registry
from support.waiting import wait_until_async

pytestmark = pytest.mark.anyio


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Registry]:
    async with registry(tmp_path) as opened:
        yield opened


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serval.deployments.publishing.RELOAD_SECONDS", 0.01)


def answering(parts: Registry) -> str:
    put_caller(parts.plane, KEY)
    target = parts.plane.predictor.find(KEY, "echo", None, None)
    assert not isinstance(target, Refusal)
    return target[1]


async def until_answering(parts: Registry, version_id: str) -> set[str]:
    """Wait until a version answers; those that have answered meanwhile."""
    before = set()
    async with asyncio.timeout(20):
        while (version := answering(parts)) != version_id:
            before.add(version)
            await asyncio.sleep(0)
    return before


async def test_a_start_loads_the_live_versions(parts: Registry) -> None:
    await parts.start()
    assert parts.loader.count == 1
    assert parts.attempts.begin("ver_1") == 0


async def test_a_version_promoted_elsewhere_is_loaded_before_its_route_leads_to_it(parts: Registry) -> None:
    await parts.start()
    await add_version(parts, echo(), number=2)
    await parts.routes.refresh()
    assert (answering(parts), parts.loader.count) == ("ver_1", 1)
    assert await until_answering(parts, "ver_2") <= {"ver_1"}
    assert parts.loader.count == 2


@pytest.mark.usefixtures("quick_retries")
async def test_while_the_files_of_the_live_version_are_missing_the_previous_one_answers(
    parts: Registry, tmp_path: Path
) -> None:
    await parts.start()
    await add_version(parts, echo(), number=2)
    folder, elsewhere = tmp_path / "models" / "ver_2", tmp_path / "elsewhere"
    folder.rename(elsewhere)
    await parts.routes.refresh()
    with pytest.raises(Unavailable):
        await parts.loader.ensure_loaded("ver_2")
    assert answering(parts) == "ver_1"
    elsewhere.rename(folder)
    await until_answering(parts, "ver_2")


async def test_a_version_quarantined_elsewhere_stops_answering_here(parts: Registry) -> None:
    await parts.start()
    async with parts.database.write() as session:
        version = await session.get_one(Version, "ver_1")
        version.status, version.failure = "failed", {"code": "quarantined", "message": "It ran without end."}
    await parts.routes.refresh()
    assert parts.loader.count == 0
    with pytest.raises(Quarantined, match="ran without end"):
        await parts.loader.ensure_loaded("ver_1")


async def renumber(parts: Registry, number: int) -> None:
    async with parts.database.write() as session:
        (await session.get_one(Version, "ver_1")).number = number


@pytest.mark.usefixtures("quick_retries")
async def test_a_failed_publication_is_tried_again(parts: Registry, capfd: pytest.CaptureFixture[str]) -> None:
    await parts.start()
    await add_version(parts, echo(), number=2)
    await parts.routes.refresh()  # loads the new version, after which the routes are published again
    await renumber(parts, -1)
    log = ""
    async with asyncio.timeout(20):
        while "route_publication_failed" not in log:
            await asyncio.sleep(0)
            log += capfd.readouterr().out
    assert answering(parts) == "ver_1"
    await renumber(parts, 1)
    await until_answering(parts, "ver_2")


@pytest.mark.usefixtures("quick_retries")
async def test_a_refresh_that_fails_after_an_act_is_made_up_for(parts: Registry) -> None:
    await parts.start()
    await renumber(parts, -1)
    await parts.routes.refresh()  # the act is committed: it does not fail any more
    await add_version(parts, echo(), number=2)
    await renumber(parts, 1)
    await until_answering(parts, "ver_2")


async def test_a_write_that_was_committed_although_it_failed_is_published(parts: Registry) -> None:
    async def commit_without_a_confirmation() -> None:
        async with parts.routes.announcing():
            await add_version(parts, echo(), number=2)
            raise DatabaseUnavailable("The confirmation of the commit was lost.")

    await parts.start()
    with pytest.raises(DatabaseUnavailable):
        await commit_without_a_confirmation()
    await until_answering(parts, "ver_2")


async def test_a_refresh_that_was_cancelled_is_made_up_for(parts: Registry) -> None:
    await parts.start()
    await add_version(parts, echo(), number=2)
    refreshing = asyncio.create_task(parts.routes.refresh())
    await asyncio.sleep(0)
    refreshing.cancel()
    await asyncio.wait([refreshing])
    assert refreshing.cancelled()
    await until_answering(parts, "ver_2")


async def test_a_wait_for_an_announcement_ends_when_the_route_is_published(parts: Registry) -> None:
    await parts.start()
    async with parts.routes.announcing():
        waiting = asyncio.create_task(parts.routes.announced())
        await asyncio.sleep(0)
        assert not waiting.done()
    await waiting


async def test_a_held_version_is_not_kept_in_memory(parts: Registry) -> None:
    await parts.start()
    await add_version(parts, echo(), number=2)
    await parts.loader.ensure_loaded("ver_2")
    async with parts.database.write() as session:
        (await session.get_one(Model, "mdl_1")).live = 1
        (await session.get_one(Version, "ver_2")).held = {"code": "unproven", "message": "Unproven."}
    await parts.routes.refresh()
    assert (parts.loader.is_loaded("ver_1"), parts.loader.is_loaded("ver_2")) == (True, False)


async def test_columns_named_by_another_replica_are_loaded_beside_the_publication(parts: Registry) -> None:
    await parts.start()
    async with parts.database.write() as session:
        name_columns(await session.get_one(Version, "ver_1"), ["height", "width"])
    await parts.routes.refresh()
    assert answering(parts) == "ver_1"

    async def is_named() -> bool:
        return not parts.loader.without_names()

    await wait_until_async(is_named)
    assert (await parts.loader.ensure_loaded("ver_1")).signature.has_names
