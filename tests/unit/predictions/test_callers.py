"""What the look-up of a key says holds for predictions; the key is looked up again where others are revoked meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from serval.auth.caller import Caller, Quota
from serval.errors import NotAuthenticated, NotPermitted, RateLimited, ServalError, Unavailable
from serval.predictions.service import MAX_LOOKUPS, PredictionService
from serval.settings.plans import Rate
from support.prediction_requests import prediction_request
from support.registry import CALLER, KEY, Registry, registry

BODY = b'{"input": [1.0, 2.0]}'


def asked_with(folder: Path, find_caller: Callable[[Registry], Awaitable[Caller]]) -> bytes:
    """The answer of a service that looks callers up so."""

    async def run() -> bytes:
        async with registry(folder) as parts:
            await parts.start()
            service = PredictionService(
                parts.plane.predictor,
                parts.plane.callers,
                lambda *_: find_caller(parts),
                parts.loader,
                parts.routes,
                1000,
            )
            return (await service.answer(prediction_request(), BODY)).body

    return asyncio.run(run())


def test_a_key_revoked_while_it_was_looked_up_is_looked_up_again(tmp_path: Path) -> None:
    looked: list[int] = []

    async def find_caller(parts: Registry) -> Caller:
        looked.append(1)
        if len(looked) > 1:
            raise NotAuthenticated("The API key is unknown, revoked or expired.")
        parts.plane.callers.revoke(KEY)
        return CALLER

    with pytest.raises(NotAuthenticated):
        asked_with(tmp_path, find_caller)
    assert len(looked) == 2


def test_another_key_revoked_meanwhile_does_not_keep_a_good_one_out(tmp_path: Path) -> None:
    looked: list[int] = []

    async def find_caller(parts: Registry) -> Caller:
        looked.append(1)
        if len(looked) == 1:
            parts.plane.callers.revoke_all()
        return CALLER

    assert b'"prediction"' in asked_with(tmp_path, find_caller)
    assert len(looked) == 2


def test_revocations_without_end_are_not_waited_out(tmp_path: Path) -> None:
    looked: list[int] = []

    async def find_caller(parts: Registry) -> Caller:
        looked.append(1)
        parts.plane.callers.revoke(KEY)
        return CALLER

    with pytest.raises(Unavailable, match="revoked faster"):
        asked_with(tmp_path, find_caller)
    assert len(looked) == MAX_LOOKUPS


IN_A_YEAR = datetime.now(UTC) + timedelta(days=365)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"scopes": frozenset({"models:read"})}, NotPermitted),
        ({"models": frozenset({"mdl_other"})}, NotPermitted),
        ({"predict_limits": (("user:usr_1", Rate(1, 3600)),)}, RateLimited),
        ({"quota": Quota(used=8, allowed=9, resets_at=IN_A_YEAR)}, RateLimited),
    ],
)
def test_what_a_caller_may_not_do_is_refused(
    tmp_path: Path, changes: dict[str, Any], refusal: type[ServalError]
) -> None:
    async def find_caller(*_: object) -> Caller:
        return msgspec.structs.replace(CALLER, **changes)

    async def run() -> None:
        async with registry(tmp_path) as parts:
            await parts.start()
            service = PredictionService(
                parts.plane.predictor, parts.plane.callers, find_caller, parts.loader, parts.routes, 1000
            )
            if refusal is RateLimited:
                assert (await service.answer(prediction_request(), BODY)).rows == 1
            with pytest.raises(refusal):
                await service.answer(prediction_request(), BODY)

    asyncio.run(run())
