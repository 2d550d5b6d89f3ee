"""A prediction that does not end, or could not."""

import asyncio
import json
from pathlib import Path

import pytest

from serval.auth.caller import Caller, ClientInfo
from serval.auth.credentials import Credential
from serval.errors import DeadlineExceeded, Quarantined
from serval.predictions.service import PredictionService
from support import graphs
from support.planes import ask, put_caller
from support.prediction_requests import prediction_request
from support.registry import CALLER, KEY, Registry, registry

MAX_ROWS = 60_000
PITFALL = graphs.pitfall().SerializeToString()
"""It is measured on rows that take next to nothing; those of `DEEP` take seconds."""
MANY = json.dumps({"inputs": [[1.5, 2.5]] * 1000}).encode()
DEEP = json.dumps({"inputs": [[3, 3]] * MAX_ROWS}).encode()
ONE = json.dumps({"input": [1.5, 2.5]}).encode()


async def find_caller(_: Credential, __: ClientInfo) -> Caller:
    return CALLER


def service_of(parts: Registry) -> PredictionService:
    return PredictionService(
        parts.plane.predictor, parts.plane.callers, find_caller, parts.loader, parts.routes, MAX_ROWS
    )


async def until_failed(parts: Registry) -> None:
    """Return when the version is in quarantine: at the deadline, or some time after it where others keep the machine
    busy."""
    async with asyncio.timeout(20):
        while (await parts.version()).status == "ready":  # noqa: ASYNC110 the database tells nobody
            await asyncio.sleep(0.01)


def test_a_version_whose_run_does_not_end_is_taken_out_of_service(tmp_path: Path) -> None:
    async def check() -> None:
        async with registry(
            tmp_path, PITFALL, inline_below_seconds=0.0, timeout_seconds=0.5, max_rows=MAX_ROWS
        ) as parts:
            service = service_of(parts)
            await parts.start()
            assert (await service.answer(prediction_request(), MANY)).rows == 1000
            with pytest.raises(DeadlineExceeded):
                await service.answer(prediction_request(), DEEP)
            await until_failed(parts)
            version = await parts.version()
            assert version.failure is not None
            assert "has not ended" in version.failure["message"]
            with pytest.raises(Quarantined, match="has not ended"):
                await service.answer(prediction_request(), MANY)

    asyncio.run(check())


def test_a_version_that_ran_away_is_quarantined_without_anybody_asking_python_for_it(tmp_path: Path) -> None:
    async def check() -> None:
        async with registry(
            tmp_path, PITFALL, inline_below_seconds=0.0, timeout_seconds=0.5, max_rows=MAX_ROWS
        ) as parts:
            await parts.start()
            put_caller(parts.plane, KEY)
            later = ask(parts.plane, DEEP, model="echo", caller=KEY, waits=False)
            assert (await asyncio.to_thread(later.wait)).code in {"ran_away", "too_late"}
            await until_failed(parts)
            with pytest.raises(Quarantined, match="has not ended"):
                await parts.loader.ensure_loaded("ver_1")

    asyncio.run(check())


def test_a_batch_that_can_not_end_in_time_is_refused_and_its_version_serves_on(tmp_path: Path) -> None:
    async def check() -> None:
        async with registry(
            tmp_path,
            graphs.products(600, 8).SerializeToString(),
            inline_below_seconds=0.0,
            timeout_seconds=0.5,
            max_rows=MAX_ROWS,
        ) as parts:
            service = service_of(parts)
            await parts.start()
            measured = (await parts.loader.ensure_loaded("ver_1")).loaded
            assert measured.fixed_seconds + MAX_ROWS * measured.row_seconds > 0.5
            with pytest.raises(DeadlineExceeded, match=r"would take about .* send fewer rows"):
                await service.answer(prediction_request(), DEEP)
            assert (await service.answer(prediction_request(), ONE)).rows == 1
            assert (await parts.version()).status == "ready"

    asyncio.run(check())
