"""A prediction that does not end, or could not."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from serval.auth.caller import Caller
from serval.errors import OutOfTime, Quarantined
from serval.predictions.compute import Compute
from serval.predictions.service import PredictionService, Question
from unit.models.registry import CALLER, CONTRACT, KEY, PROBE, Registry, heavy, registry

MANY = json.dumps({"inputs": [[1.5, 2.5]] * 1000}).encode()
ONE = json.dumps({"input": [1.5, 2.5]}).encode()


async def find_caller(_: bytes) -> Caller:
    return CALLER


def question() -> Question:
    return Question(
        caller=KEY, shape="full", model="echo", version=None, alias=None, all_probabilities=False, no_cache=True, csv=None,
        started_ns=time.monotonic_ns(),
    )  # fmt: skip


@asynccontextmanager
async def asking(parts: Registry, timeout_seconds: float) -> AsyncIterator[PredictionService]:
    compute = Compute(2, timeout_seconds)
    try:
        yield PredictionService(parts.plane, parts.publisher, find_caller, parts.live, compute, 1000)
    finally:
        compute.close()


def replace_by_a_heavy_one(parts: Registry) -> None:
    """The engine runs something else from now on than what was measured."""
    parts.plane.load("ver_1", heavy(), msgspec.json.encode(CONTRACT), PROBE.numbers, PROBE.strings)


def test_a_version_whose_run_does_not_end_is_taken_out_of_service(tmp_path: Path) -> None:
    async def check() -> None:
        async with registry(tmp_path, cheap_seconds=0.0) as parts, asking(parts, timeout_seconds=0.2) as service:
            await parts.live.start()
            assert (await service.answer(question(), MANY)).rows == 1000
            replace_by_a_heavy_one(parts)
            with pytest.raises(OutOfTime, match="taken out of service"):
                await service.answer(question(), MANY)
            version = await parts.version()
            assert version.status == "failed"
            assert version.failure is not None
            assert "has not ended" in version.failure["message"]
            with pytest.raises(Quarantined, match="has not ended"):
                await service.answer(question(), MANY)

    asyncio.run(check())


def test_a_batch_that_can_not_end_in_time_is_refused_and_its_version_serves_on(tmp_path: Path) -> None:
    async def check() -> None:
        async with registry(tmp_path, heavy(width=600, layers=8), cheap_seconds=0.0) as parts:
            await parts.live.start()
            running = await parts.live.ensure_loaded("ver_1")
            async with asking(parts, timeout_seconds=running.seconds(500)) as service:
                with pytest.raises(OutOfTime, match=r"would take about .* send fewer rows"):
                    await service.answer(question(), MANY)
                assert (await service.answer(question(), ONE)).rows == 1
            assert (await parts.version()).status == "ready"

    asyncio.run(check())
