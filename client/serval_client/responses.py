"""Calls that are repeated where that is safe, and responses as values or errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import httpx2
import msgspec

from serval_client.errors import BY_STATUS, Problem, RequestFailed, ServalError, Unreachable
from serval_client.operations import Call, Lost, Patience, Pause, Steps

T = TypeVar("T")

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0


def value_of(call: Call, kind: type[T], patience: Patience) -> Steps[T]:
    """The body of the response to a call, as `kind`. Raises RequestFailed, Unreachable."""
    response = yield from response_to(call, patience)
    try:
        return msgspec.json.decode(response.content, type=kind)
    except msgspec.DecodeError:
        raise ServalError(f"{response.url} does not respond as a Serval server does; is it one?") from None


def response_to(call: Call, patience: Patience) -> Steps[httpx2.Response]:
    """The response to a call, which is repeated where that is safe, for as long as `patience` says.

    Raises RequestFailed, Unreachable.
    """
    paused, growing = 0.0, FIRST_PAUSE_SECONDS
    while True:
        outcome: httpx2.Response | Lost = yield call
        if isinstance(outcome, httpx2.Response) and outcome.is_success:
            return outcome
        pause = pause_before_repeating(call, outcome, growing)
        is_refused = isinstance(outcome, Lost) and not outcome.is_sent
        if pause is None or paused + pause > (patience.refused_seconds if is_refused else patience.retry_seconds):
            raise error_of(call, outcome)
        yield Pause(pause)
        paused += pause
        growing = min(2 * growing, LONGEST_PAUSE_SECONDS)


def pause_before_repeating(call: Call, outcome: httpx2.Response | Lost, growing: float) -> float | None:
    """The seconds to wait; None where a repetition could do harm or would not help.

    A call that was never received may be repeated, whatever it does, and so may one that a rate did not let through.
    """
    if isinstance(outcome, Lost):
        return None if outcome.is_late or (outcome.is_sent and not call.is_repeatable) else growing
    is_refused_early = outcome.status_code == 429 or (outcome.status_code == 503 and call.is_repeatable)
    return retry_after(outcome) if is_refused_early else None


def retry_after(response: httpx2.Response) -> float | None:
    asked = response.headers.get("retry-after", "")
    return float(asked) if asked.isdecimal() else None


def error_of(call: Call, outcome: httpx2.Response | Lost) -> ServalError:
    if isinstance(outcome, Lost):
        is_unknown = outcome.is_sent and not call.is_repeatable
        unknown = "; it may have done what was asked all the same" if is_unknown else ""
        return Unreachable(outcome.reason + unknown, outcome.cause + unknown)
    return failure_of(outcome)


def failure_of(response: httpx2.Response) -> RequestFailed:
    """The error of a response: with its problem document, or with one that says that there is none."""
    document: Mapping[str, Any] | None
    try:
        problem = msgspec.json.decode(response.content, type=Problem)
        document = msgspec.json.decode(response.content, type=dict[str, Any])
    except msgspec.DecodeError:
        detail = f"{response.url} responded with {response.status_code} and no reason; is it a Serval server?"
        problem, document = Problem(status=response.status_code, detail=detail), None
    return BY_STATUS.get(problem.status, RequestFailed)(problem, retry_after(response), document)
