"""A key is checked again where others are revoked meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from serval.auth.caller import HERE, Caller
from serval.errors import NotAuthenticated, Unavailable
from serval.predictions.service import CHECKS, PredictionService, Question
from unit.models.registry import CALLER, KEY, PRESENTED, Registry, registry

BODY = b'{"input": [1.0, 2.0]}'


def asked_with(folder: Path, find_caller: Callable[[Registry], Awaitable[Caller]]) -> bytes:
    """The answer of a service that looks callers up so."""

    async def run() -> bytes:
        async with registry(folder) as parts:
            await parts.live.start()
            service = PredictionService(parts.plane, parts.publisher, lambda _, __: find_caller(parts), parts.live, 1000)
            question = Question(
                KEY, PRESENTED, HERE, "full", "echo", None, None, all_probabilities=False, no_cache=True, csv=None, started_ns=0
            )
            return (await service.answer(question, BODY)).body

    return asyncio.run(run())


def test_a_key_revoked_while_it_was_looked_up_is_looked_up_again(tmp_path: Path) -> None:
    looked: list[int] = []

    async def find_caller(parts: Registry) -> Caller:
        looked.append(1)
        if len(looked) > 1:
            raise NotAuthenticated("The API key is unknown, revoked or expired.")
        parts.publisher.forget_caller(KEY)
        return CALLER

    with pytest.raises(NotAuthenticated):
        asked_with(tmp_path, find_caller)
    assert len(looked) == 2


def test_another_key_revoked_meanwhile_does_not_keep_a_good_one_out(tmp_path: Path) -> None:
    looked: list[int] = []

    async def find_caller(parts: Registry) -> Caller:
        looked.append(1)
        if len(looked) == 1:
            parts.publisher.forget_callers()
        return CALLER

    assert b'"prediction"' in asked_with(tmp_path, find_caller)
    assert len(looked) == 2


def test_revocations_without_end_are_not_waited_out(tmp_path: Path) -> None:
    looked: list[int] = []

    async def find_caller(parts: Registry) -> Caller:
        looked.append(1)
        parts.publisher.forget_caller(KEY)
        return CALLER

    with pytest.raises(Unavailable, match="revoked faster"):
        asked_with(tmp_path, find_caller)
    assert len(looked) == CHECKS
