"""Refusals of the data plane as errors."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

import serval
from serval.auth.rate_headers import limit_headers
from serval.http.problems import problem_headers
from serval.predictions.refusals import refusal_error


class Refused(NamedTuple):
    code: str
    arguments: dict[str, str]


def codes_of_the_interface() -> list[str]:
    stub = (Path(serval.__file__).parent / "_native.pyi").read_text()
    refusal = stub[stub.index("class Refusal") :]
    return re.findall(r'"(\w+)"', refusal[: refusal.index("arguments:")])


@pytest.mark.parametrize("code", codes_of_the_interface())
def test_every_code_of_the_native_interface_has_an_error(code: str) -> None:
    arguments = {"model": "iris", "version": "3", "limit": "1000", "seconds": "2", "waiting": "1"}
    arguments |= {"policy": "user", "window_seconds": "1", "retry_after_seconds": "1"}
    assert 400 <= refusal_error(Refused(code, arguments)).status <= 504


@pytest.mark.parametrize(
    ("code", "arguments", "status", "told"),
    [
        ("unknown_caller", {}, 401, "X-API-Key"),
        ("forbidden", {}, 403, "lacks the scope `predict`"),
        ("unknown_model", {"model": "iris"}, 404, '"iris"'),
        ("unknown_model", {}, 404, "no model that you may use"),
        ("unknown_version", {"model": "iris", "version": "9"}, 404, '"9"'),
        ("unknown_version", {"model": "iris", "version": "live"}, 404, "no live version"),
        ("ambiguous_selector", {}, 400, "one of them"),
        ("no_probabilities", {"version": "3"}, 400, "version 3 of the model has no probabilities"),
        ("model_loading", {"model": "iris"}, 503, "being loaded"),
        ("too_many_rows", {"limit": "1000"}, 413, "1000"),
        ("queue_full", {}, 503, "are waiting"),
        ("too_late", {"limit": "30"}, 504, "did not end within 30 s"),
        ("out_of_time", {"limit": "30", "seconds": "40", "waiting": "2"}, 504, "would take about 40 s after about 2 s"),
        ("ran_away", {}, 504, "quarantined"),
    ],
)
def test_a_refusal_becomes_an_error_that_says_what_was_asked(
    code: str, arguments: dict[str, str], status: int, told: str
) -> None:
    error = refusal_error(Refused(code, arguments))
    assert error.status == status
    assert told in error.message


@pytest.mark.parametrize("code", ["model_loading", "queue_full"])
def test_what_will_soon_be_otherwise_is_worth_asking_again(code: str) -> None:
    assert refusal_error(Refused(code, {})).retry_after_seconds == 1


def test_a_rate_limit_error_carries_the_rate_and_when_to_retry() -> None:
    arguments = {"policy": "user", "limit": "1000", "window_seconds": "1", "retry_after_seconds": "3"}
    error = refusal_error(Refused("rate_limited", arguments))
    assert error.status == 429
    assert problem_headers(error) == {
        "retry-after": "3",
        "ratelimit-policy": '"user";q=1000;w=1',
        "ratelimit": '"user";r=0;t=3',
        "ratelimit-limit": "1000",
        "ratelimit-remaining": "0",
        "ratelimit-reset": "3",
    }


def test_a_quota_error_carries_the_quota_and_when_the_month_ends() -> None:
    error = refusal_error(Refused("quota_exceeded", {"limit": "5000", "retry_after_seconds": "86400"}))
    assert error.status == 429
    assert "5000 predictions a month" in error.message
    assert problem_headers(error) == {"retry-after": "86400", **limit_headers("quota", 5000, 86400, 0, 86400)}
