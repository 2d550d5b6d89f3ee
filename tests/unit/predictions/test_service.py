"""Runaway predictions, and those that would take longer than the deadline."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
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
from support.waiting import wait_until_async

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


async def is_quarantined(parts: Registry) -> bool:
    return (await parts.version()).status != "ready"


async def await_quarantine(parts: Registry, ask_again: Callable[[], Awaitable[object]]) -> None:
    """Wait until the version is in quarantine: at the deadline, or some time after it on a busy machine. Where that is
    so busy that the deadline passed before a compute thread began, nothing ran away, and the rows are asked again."""

    async def is_quarantined_after_another_try() -> bool:
        if not await is_quarantined(parts):
            await ask_again()
        return await is_quarantined(parts)

    await wait_until_async(is_quarantined_after_another_try)


@pytest.mark.anyio
async def test_a_version_with_a_runaway_prediction_is_quarantined(tmp_path: Path) -> None:
    async with registry(tmp_path, PITFALL, inline_below_seconds=0.0, timeout_seconds=0.5, max_rows=MAX_ROWS) as parts:
        service = service_of(parts)
        await parts.start()
        assert (await service.answer(prediction_request(), MANY)).rows == 1000
        with pytest.raises(DeadlineExceeded):
            await service.answer(prediction_request(), DEEP)

        async def ask_again() -> None:
            with suppress(DeadlineExceeded, Quarantined):
                await service.answer(prediction_request(), DEEP)

        await await_quarantine(parts, ask_again)
        version = await parts.version()
        assert version.failure is not None
        assert "has not ended" in version.failure["message"]
        with pytest.raises(Quarantined, match="has not ended"):
            await service.answer(prediction_request(), MANY)


@pytest.mark.anyio
async def test_a_runaway_answered_by_rust_alone_quarantines_its_version(tmp_path: Path) -> None:
    async with registry(tmp_path, PITFALL, inline_below_seconds=0.0, timeout_seconds=0.5, max_rows=MAX_ROWS) as parts:
        await parts.start()
        put_caller(parts.plane, KEY)
        later = ask(parts.plane, DEEP, model="echo", caller=KEY, waits=False)
        assert (await asyncio.to_thread(later.wait)).code in {"ran_away", "too_late"}
        await await_quarantine(parts, lambda: asyncio.to_thread(ask, parts.plane, DEEP, model="echo", caller=KEY))
        with pytest.raises(Quarantined, match="has not ended"):
            await parts.loader.ensure_loaded("ver_1")


@pytest.mark.anyio
async def test_a_batch_beyond_the_deadline_is_refused_and_its_version_stays_ready(tmp_path: Path) -> None:
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
