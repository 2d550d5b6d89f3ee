"""What is loaded, what is set aside, and what is told of it."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from serval.data_plane.plane import Refusal
from serval.errors import Quarantined, Unavailable
from serval.models.live import MAX_ATTEMPTS
from serval.models.tables import Version
from support.planes import put_caller
from support.registry import KEY, Registry, add_version, echo, registry


def in_registry(folder: Path, check: Callable[[Registry], Awaitable[None]]) -> None:
    async def run() -> None:
        async with registry(folder) as parts:
            await check(parts)

    asyncio.run(run())


def die_while_loading(parts: Registry, times: int) -> None:
    for _ in range(times):
        parts.attempts.begin("ver_1")


def test_a_start_loads_what_is_live(tmp_path: Path) -> None:
    async def check(parts: Registry) -> None:
        await parts.live.start()
        assert parts.live.count == 1
        assert parts.attempts.begin("ver_1") == 0

    in_registry(tmp_path, check)


def test_a_version_that_survives_its_last_attempt_has_all_of_them_again(tmp_path: Path) -> None:
    async def check(parts: Registry) -> None:
        die_while_loading(parts, MAX_ATTEMPTS - 1)
        await parts.live.start()
        assert parts.live.count == 1
        assert parts.attempts.begin("ver_1") == 0

    in_registry(tmp_path, check)


def test_a_version_past_its_attempts_is_quarantined_and_not_tried(tmp_path: Path) -> None:
    async def check(parts: Registry) -> None:
        die_while_loading(parts, MAX_ATTEMPTS)
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
        assert ((await parts.version()).status, parts.attempts.begin("ver_1")) == ("ready", 0)

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


def answering(parts: Registry) -> str:
    put_caller(parts.plane, KEY)
    found = parts.plane.predictor.find(KEY, "echo", None, None)
    assert not isinstance(found, Refusal)
    return found[1]


async def until_answering(parts: Registry, version_id: str) -> set[str]:
    """Wait until a version answers; those that have answered meanwhile."""
    seen = set()
    async with asyncio.timeout(20):
        while (found := answering(parts)) != version_id:
            seen.add(found)
            await asyncio.sleep(0)
    return seen


def test_a_version_that_went_live_elsewhere_is_loaded_before_anybody_is_led_to_it(tmp_path: Path) -> None:
    async def check(parts: Registry) -> None:
        await parts.live.start()
        await add_version(parts.database, parts.storage, echo(), number=2)
        await parts.live.refresh()
        assert (answering(parts), parts.live.count) == ("ver_1", 1)
        assert await until_answering(parts, "ver_2") <= {"ver_1"}
        assert parts.live.count == 2

    in_registry(tmp_path, check)


def test_while_the_files_of_the_live_version_are_away_the_one_before_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check(parts: Registry) -> None:
        monkeypatch.setattr("serval.models.live.RELOAD_SECONDS", 0.01)
        await parts.live.start()
        await add_version(parts.database, parts.storage, echo(), number=2)
        folder = parts.storage.path("ver_2")
        folder.rename(tmp_path / "away")
        await parts.live.refresh()
        with pytest.raises(Unavailable):
            await parts.live.ensure_loaded("ver_2")
        assert answering(parts) == "ver_1"
        (tmp_path / "away").rename(folder)
        await until_answering(parts, "ver_2")

    in_registry(tmp_path, check)


def test_a_version_quarantined_elsewhere_stops_answering_here(tmp_path: Path) -> None:
    async def check(parts: Registry) -> None:
        await parts.live.start()
        async with parts.database.write() as session:
            version = await session.get_one(Version, "ver_1")
            version.status, version.failure = "failed", {"code": "quarantined", "message": "It ran without end."}
        await parts.live.refresh()
        assert parts.live.count == 0
        with pytest.raises(Quarantined, match="ran without end"):
            await parts.live.ensure_loaded("ver_1")

    in_registry(tmp_path, check)


def test_routes_that_could_not_be_published_are_when_they_can_be(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serval.models.live.RELOAD_SECONDS", 0.01)

    async def renumber(parts: Registry, number: int) -> None:
        async with parts.database.write() as session:
            (await session.get_one(Version, "ver_1")).number = number

    async def check(parts: Registry) -> None:
        await parts.live.start()
        await add_version(parts.database, parts.storage, echo(), number=2)
        await parts.live.refresh()  # loads the new version, after which the routes are published again
        await renumber(parts, -1)
        told = ""
        async with asyncio.timeout(20):
            while "route_publication_failed" not in told:
                await asyncio.sleep(0)
                told += capfd.readouterr().out
        assert answering(parts) == "ver_1"
        await renumber(parts, 1)
        await until_answering(parts, "ver_2")

    in_registry(tmp_path, check)
