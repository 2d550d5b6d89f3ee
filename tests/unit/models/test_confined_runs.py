"""Runs of versions that answer nobody: as many and as large as are allowed."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from sqlalchemy import select

from serval.conversion.golden import Golden, GoldenRequest, GoldenResult
from serval.conversion.rows import Answers
from serval.errors import ServalError, TooLarge, Unavailable
from serval.models.confined_runs import MAX_NUMBERS, MAX_WAITING, MAX_WAITING_IN_ALL, ConfinedRuns
from serval.models.golden_requests import GoldenRequests
from serval.models.sandbox import new_sandbox
from serval.models.tables import Version
from serval.settings.settings import Settings
from support.registry import PROBE, Registry, echo, registry

pytestmark = pytest.mark.anyio

ROW = np.array([[1.5, -2.0]])


class Parts(NamedTuple):
    registry: Registry
    runs: ConfinedRuns

    async def version(self, number: int) -> Version:
        async with self.registry.database.read() as session:
            return (await session.scalars(select(Version).where(Version.number == number))).one()

    async def answers(self, version: Version) -> Answers | ServalError:
        try:
            return await self.runs.answers(version, 1, ROW.tobytes(), [])
        except ServalError as error:
            return error


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    sandbox = new_sandbox(Settings(data_dir=tmp_path))
    async with registry(tmp_path) as opened:
        await sandbox.start(preload=False)
        yield Parts(opened, ConfinedRuns(opened.files, sandbox))
        await sandbox.close()


async def test_runs_of_one_owner_beyond_the_limit_are_refused_and_those_that_wait_answer(parts: Parts) -> None:
    version = await parts.version(1)
    asked = [parts.answers(version) for _ in range(MAX_WAITING + 3)]
    answers = await asyncio.gather(*asked)  # each is begun before any ends
    refused = [answer for answer in answers if isinstance(answer, Unavailable)]
    assert (len(refused), len({error.message for error in refused})) == (3, 1)
    assert [answer.scores.tolist() for answer in answers if isinstance(answer, Answers)] == [ROW.tolist()] * MAX_WAITING
    assert isinstance(await parts.answers(version), Answers)


async def test_runs_of_all_owners_have_a_limit(parts: Parts) -> None:
    asked = []
    for owner in range(MAX_WAITING_IN_ALL // MAX_WAITING + 1):
        version = await parts.version(1)
        version.model.owner_id = f"usr_{owner}"
        asked += [asyncio.create_task(parts.answers(version)) for _ in range(MAX_WAITING)]
    done, waiting = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    refused = [task.result() for task in done if isinstance(task.result(), Unavailable)]
    assert len(refused) == MAX_WAITING
    for task in waiting:
        task.cancel()
    await asyncio.wait(asked)
    assert isinstance(await parts.answers(await parts.version(1)), Answers)


async def test_an_answer_of_too_many_numbers_is_refused_before_it_is_computed(parts: Parts) -> None:
    version = await parts.version(1)
    rows = MAX_NUMBERS // version.parsed_signature.score_width + 1
    with pytest.raises(TooLarge, match=r"at most \d+ rows in one test"):
        await parts.runs.answers(version, rows, b"", [])


async def test_golden_requests_of_a_held_version_are_asked_apart_from_the_serving_process(parts: Parts) -> None:
    files, loader = parts.registry.files, parts.registry.loader
    row = ROW[0].tolist()
    files.store("ver_1", echo(), PROBE, Golden(None, [GoldenRequest(row, row)]))
    requests = GoldenRequests(files, loader, parts.runs)
    for held, live, loaded in (({"code": "unproven", "message": "Unproven."}, None, 0), (None, 1, 1)):
        async with parts.registry.database.write() as session:
            version = await session.get_one(Version, "ver_1")
            version.report, version.held, version.model.live = {"golden_requests": 1}, held, live
        assert await requests.ask(await parts.version(1)) == GoldenResult(1, 1, None, None)
        assert loader.count == loaded
