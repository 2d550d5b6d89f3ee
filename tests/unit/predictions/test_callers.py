"""Limits of a looked-up caller hold for predictions, and revocations meanwhile are noticed."""

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

pytestmark = pytest.mark.anyio

BODY = b'{"input": [1.0, 2.0]}'


async def answer_with(folder: Path, find_caller: Callable[[Registry], Awaitable[Caller]]) -> bytes:
    """The answer of a service that looks callers up so."""
    async with registry(folder) as parts:
        await parts.start()
        service = PredictionService(
            parts.plane.predictor, parts.plane.callers, lambda *_: find_caller(parts), parts.loader, parts.routes, 1000
        )
        return (await service.answer(prediction_request(), BODY)).body


async def test_a_key_revoked_while_it_was_looked_up_is_looked_up_again(tmp_path: Path) -> None:
    looked: list[int] = []

    async def find_caller(parts: Registry) -> Caller:
        looked.append(1)
        if len(looked) > 1:
            raise NotAuthenticated("The API key is unknown, revoked or expired.")
        parts.plane.callers.revoke(KEY)
        return CALLER

    with pytest.raises(NotAuthenticated):
        await answer_with(tmp_path, find_caller)
    assert len(looked) == 2


async def test_a_revocation_of_another_key_does_not_refuse_a_valid_one(tmp_path: Path) -> None:
    looked: list[int] = []

    async def find_caller(parts: Registry) -> Caller:
        looked.append(1)
        if len(looked) == 1:
            parts.plane.callers.revoke_all()
        return CALLER

    assert b'"prediction"' in await answer_with(tmp_path, find_caller)
    assert len(looked) == 2


async def test_endless_revocations_end_in_an_unavailable_error(tmp_path: Path) -> None:
    looked: list[int] = []

    async def find_caller(parts: Registry) -> Caller:
        looked.append(1)
        parts.plane.callers.revoke(KEY)
        return CALLER

    with pytest.raises(Unavailable, match="revoked faster"):
        await answer_with(tmp_path, find_caller)
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
async def test_predictions_beyond_the_rights_or_limits_of_a_caller_are_refused(
    tmp_path: Path, changes: dict[str, Any], refusal: type[ServalError]
) -> None:
    async def find_caller(*_: object) -> Caller:
        return msgspec.structs.replace(CALLER, **changes)

    async with registry(tmp_path) as parts:
        await parts.start()
        service = PredictionService(
            parts.plane.predictor, parts.plane.callers, find_caller, parts.loader, parts.routes, 1000
        )
        if refusal is RateLimited:
            assert (await service.answer(prediction_request(), BODY)).rows == 1
        with pytest.raises(refusal):
            await service.answer(prediction_request(), BODY)
