"""What is loaded, what is set aside, and what is told of it."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from serval.errors import Quarantined, Unavailable
from serval.models.live import MAX_ATTEMPTS
from serval.models.tables import Version
from unit.models.registry import Registry, registry


def in_registry(folder: Path, check: Callable[[Registry], Awaitable[None]]) -> None:
    async def run() -> None:
        async with registry(folder) as parts:
            await check(parts)

    asyncio.run(run())


async def attempts_are(parts: Registry, attempts: int) -> None:
    async with parts.database.write() as session:
        (await session.get_one(Version, "ver_1")).attempts = attempts


def test_a_start_loads_what_is_live(tmp_path: Path) -> None:
    async def check(parts: Registry) -> None:
        await parts.live.start()
        assert parts.live.count == 1
        assert (await parts.version()).attempts == 0

    in_registry(tmp_path, check)


def test_a_version_that_survives_its_last_attempt_has_all_of_them_again(tmp_path: Path) -> None:
    async def check(parts: Registry) -> None:
        await attempts_are(parts, MAX_ATTEMPTS - 1)
        await parts.live.start()
        assert parts.live.count == 1
        assert (await parts.version()).attempts == 0

    in_registry(tmp_path, check)


def test_a_version_past_its_attempts_is_quarantined_and_not_tried(tmp_path: Path) -> None:
    async def check(parts: Registry) -> None:
        await attempts_are(parts, MAX_ATTEMPTS)
        await parts.live.start()
        assert parts.live.count == 0
        version = await parts.version()
        assert version.status == "failed"
        assert version.failure is not None
        assert version.failure["code"] == "quarantined"
        with pytest.raises(Quarantined, match="the server died 3 times while loading it"):
            await parts.live.ensure_loaded("ver_1")

    in_registry(tmp_path, check)


def test_a_file_that_is_another_one_now_is_refused_without_being_blamed_for_good(tmp_path: Path) -> None:
    async def check(parts: Registry) -> None:
        parts.storage.write("ver_1/model.onnx", b"something else")
        await parts.live.start()
        with pytest.raises(Unavailable, match="not the one that was verified"):
            await parts.live.ensure_loaded("ver_1")
        version = await parts.version()
        assert (version.status, version.attempts) == ("ready", 0)

    in_registry(tmp_path, check)


def test_a_file_that_is_away_is_read_again_when_it_is_back(tmp_path: Path) -> None:
    async def check(parts: Registry) -> None:
        folder = parts.storage.path("ver_1")
        folder.rename(tmp_path / "away")
        await parts.live.start()
        with pytest.raises(Unavailable, match="can not be read: No such file or directory"):
            await parts.live.ensure_loaded("ver_1")
        (tmp_path / "away").rename(folder)
        await parts.live.ensure_loaded("ver_1")
        assert parts.live.count == 1

    in_registry(tmp_path, check)
