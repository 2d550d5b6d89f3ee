"""Which versions are loaded, which cannot be, and what their callers get."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from serval.errors import Quarantined, Unavailable
from serval.work.queue import MAX_ATTEMPTS
from support.registry import PROBE, Registry, registry

pytestmark = pytest.mark.anyio


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
