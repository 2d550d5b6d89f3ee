"""Which calls are repeated, for how long, and which errors responses become."""

import json
import pickle
from typing import Any, NamedTuple

import httpx2
import pytest

import serval_client as serval
from serval_client.operations import Call, Lost, Patience
from serval_client.responses import response_to
from support.played_steps import BROKEN, LATE, REFUSED, Played

GET = Call("GET", "/x")
UPLOAD = Call("POST", "/x", is_repeatable=False)
DEFAULT = Patience()
OK = httpx2.Response(200)


def responded(status: int, retry_after: str | None = None, **problem: Any) -> httpx2.Response:
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    body = json.dumps({"status": status, "detail": "A sentence.", "code": "a_code", **problem}).encode()
    return httpx2.Response(status, headers=headers, content=body, request=httpx2.Request("GET", "http://host/x"))


class Ended(NamedTuple):
    pauses: list[float]
    error: serval.ServalError | None


def played(call: Call, *outcomes: httpx2.Response | Lost, patience: Patience = DEFAULT) -> Ended:
    """What becomes of a call whose tries have these outcomes, of which the last repeats."""
    performer = Played(*outcomes)
    try:
        performer.run(response_to(call, patience))
    except serval.ServalError as error:
        return Ended(performer.pauses, error)
    return Ended(performer.pauses, None)


@pytest.mark.parametrize("call", [GET, UPLOAD], ids=["get", "upload"])
@pytest.mark.parametrize(
    ("outcome", "pause"), [(REFUSED, 0.2), (responded(429, "7"), 7.0)], ids=["no-connection", "rate"]
)
def test_what_was_never_begun_is_repeated(call: Call, outcome: httpx2.Response | Lost, pause: float) -> None:
    assert played(call, outcome, OK) == ([pause], None)


@pytest.mark.parametrize("outcome", [BROKEN, responded(503, "1")], ids=["broken-connection", "unavailable"])
def test_an_upload_that_may_have_arrived_is_not_repeated(outcome: httpx2.Response | Lost) -> None:
    pauses, error = played(UPLOAD, outcome, OK)
    assert not pauses
    assert error is not None
    assert outcome is not BROKEN or str(error) == f"{BROKEN.reason}; it may have done what was asked all the same"
    assert played(GET, outcome, OK).error is None


@pytest.mark.parametrize(
    "outcome", [LATE, responded(429), responded(503), responded(429, "3600"), responded(500, "1"), responded(404, "1")]
)
def test_nothing_is_repeated_where_that_would_not_help(outcome: httpx2.Response | Lost) -> None:
    pauses, error = played(GET, outcome, OK)
    assert not pauses
    assert error is not None


@pytest.mark.parametrize(
    ("outcome", "most_seconds"),
    [(responded(429, "7"), 30.0), (BROKEN, 30.0), (REFUSED, 3.0)],
    ids=["429", "broken", "refused"],
)
def test_pauses_are_bounded_altogether(outcome: httpx2.Response | Lost, most_seconds: float) -> None:
    pauses, error = played(GET, outcome)
    assert error is not None
    assert most_seconds / 2 < sum(pauses) <= most_seconds


def test_who_has_no_patience_waits_for_nothing() -> None:
    pauses, error = played(GET, REFUSED, OK, patience=Patience.up_to(0))
    assert not pauses
    assert isinstance(error, serval.Unreachable)
    assert str(error) == REFUSED.reason


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, serval.BadRequest),
        (401, serval.NotAuthenticated),
        (403, serval.NotPermitted),
        (404, serval.NotFound),
        (409, serval.Conflict),
        (413, serval.TooLarge),
        (418, serval.RequestFailed),
        (422, serval.Refused),
        (429, serval.RateLimited),
        (502, serval.Unavailable),
        (503, serval.Unavailable),
        (504, serval.DeadlineExceeded),
    ],
)
def test_a_problem_document_is_an_exception_with_its_sentence(status: int, error: type[serval.RequestFailed]) -> None:
    found = played(GET, responded(status)).error
    assert type(found) is error
    assert (str(found), found.status, found.code) == ("A sentence.", status, "a_code")


def test_a_sentence_has_all_parts_that_are_wrong() -> None:
    errors = [{"path": "inputs[0]", "message": "one"}, {"path": "inputs[1]", "message": "two"}]
    response = responded(400, detail="inputs[0]: one (and 1 more, see `errors`)", errors=errors)
    assert str(played(GET, response).error) == "inputs[0]: one; inputs[1]: two"


def test_a_response_of_another_server_is_named_as_such() -> None:
    response = httpx2.Response(502, text="<html>", request=httpx2.Request("GET", "http://host/x"))
    error = played(GET, response).error
    assert isinstance(error, serval.Unavailable)
    assert str(error) == "http://host/x responded with 502 and no reason; is it a Serval server?"


def test_an_error_passes_between_processes() -> None:
    copy = pickle.loads(pickle.dumps(played(GET, responded(429, "3600")).error))
    assert (type(copy), str(copy), copy.retry_after_seconds) == (serval.RateLimited, "A sentence.", 3600.0)
