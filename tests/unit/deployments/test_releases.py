"""Releases that meet each other, each at the moment where it matters."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from serval.deployments.releases import ReleaseService
from serval.errors import Conflict
from serval.models.confined_runs import ConfinedRuns
from serval.models.golden_requests import GoldenRequests
from serval.models.sandbox import new_sandbox
from serval.models.tables import Model, Version
from serval.settings.settings import Settings
from support.registry import CALLER, Registry, add_version, echo, registry

pytestmark = pytest.mark.anyio


class Announced(GoldenRequests):
    """Says when they are asked: a release has read by then what is live, and has not written yet."""

    asked: asyncio.Event

    async def check(self, version: Version) -> None:
        self.asked.set()
        await super().check(version)


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Registry]:
    async with registry(tmp_path) as opened:
        await opened.start()
        yield opened


def releases_of(parts: Registry, folder: Path) -> tuple[ReleaseService, asyncio.Event]:
    """Releases, and what is set when one is about to be written."""
    runs = ConfinedRuns(parts.files, new_sandbox(Settings(data_dir=folder)))
    golden = Announced(parts.files, parts.loader, runs)
    golden.asked = asyncio.Event()
    return ReleaseService(parts.database, parts.loader, golden, parts.routes, parts.changes), golden.asked


async def model_of(parts: Registry) -> tuple[int | None, int | None]:
    """The live version and the one before."""
    async with parts.database.read() as session:
        model = await session.get_one(Model, "mdl_1")
        return model.live, model.previous


async def test_a_rollback_does_not_undo_a_promotion_that_it_has_not_seen(parts: Registry, tmp_path: Path) -> None:
    for number in (2, 3):
        await add_version(parts, echo(), number=number)
    releases, asked = releases_of(parts, tmp_path)
    async with parts.database.write() as session:
        model = await session.get_one(Model, "mdl_1")
        model.live, model.previous = 2, 1
    async with parts.database.write() as session:
        model = await session.get_one(Model, "mdl_1", with_for_update=True)
        rollback = asyncio.create_task(releases.roll_back(CALLER, "echo"))
        await asked.wait()
        model.live, model.previous = 3, 2
    with pytest.raises(Conflict, match="went live meanwhile"):
        await rollback
    assert await model_of(parts) == (3, 2)
    await releases.roll_back(CALLER, "echo")
    assert await model_of(parts) == (2, 3)


async def test_a_version_that_was_archived_while_it_was_converted_does_not_go_live(
    parts: Registry, tmp_path: Path
) -> None:
    releases, _ = releases_of(parts, tmp_path)
    await add_version(parts, echo(), number=2)
    async with parts.database.write() as session:
        version = await session.get_one(Version, "ver_2")
        version.lifecycle, version.request = "archived", {"allow_schema_change": False}
        (await session.get_one(Model, "mdl_1")).live = 1
    async with parts.database.write() as session:
        version = await session.get_one(Version, "ver_2")
        await releases.release_converted(session, version, None)
        assert version.held is None
    assert (await model_of(parts))[0] == 1
