"""Which callers may use which version of which model, and what the others are told."""

import hashlib
import time
from typing import Any

import numpy as np
import pytest

from serval._native import Answer, DataPlane, Deferred, Refusal
from support import graphs, planes
from support.planes import KEY, ask, load, new_plane, put_caller, route, signature

BODY = '{"input":[0,1]}'
BOB, ADMIN, LIMITED, IDLE = (hashlib.sha256(name).digest() for name in (b"bob", b"admin", b"limited", b"idle"))


@pytest.fixture(scope="module")
def shared_plane() -> DataPlane:
    plane = new_plane()
    for version in ("ver_1", "ver_2", "ver_9"):
        load(plane, graphs.largest(2), signature(2, labels=[[0, 1]]), np.ones((1, 2)), version)
    plane.models.set_routes(
        [
            route(live=2, versions={1: "ver_1", 2: "ver_2", 3: "ver_not_loaded"}, aliases={"canary": 1, "gone": 7}),
            route("mdl_9", owner="usr_2", owner_username="bob", versions={1: "ver_9"}),
            route("mdl_sleeping", name="sleeping", live=None, versions={}),
        ]
    )
    put_caller(plane)
    put_caller(plane, BOB, "usr_2")
    put_caller(plane, ADMIN, "usr_0", is_admin=True)
    put_caller(plane, LIMITED, models=["mdl_sleeping"])
    put_caller(plane, IDLE, can_predict=False)
    return plane


def outcome(reply: Any) -> Any:
    return reply.code if isinstance(reply, Refusal) else (reply.model, reply.version, reply.version_number)


@pytest.mark.parametrize(
    ("caller", "model", "selector", "expected"),
    [
        (KEY, "iris", {}, ("mdl_1", "ver_2", 2)),
        (KEY, "mdl_1", {}, ("mdl_1", "ver_2", 2)),
        (KEY, "ada/iris", {}, ("mdl_1", "ver_2", 2)),
        (KEY, "iris", {"version": 1}, ("mdl_1", "ver_1", 1)),
        (KEY, "iris", {"alias": "canary"}, ("mdl_1", "ver_1", 1)),
        (KEY, "iris", {"version": 1, "alias": "canary"}, "ambiguous_selector"),
        (KEY, "iris", {"version": 4}, "unknown_version"),
        (KEY, "iris", {"alias": "stable"}, "unknown_version"),
        (KEY, "iris", {"alias": "gone"}, "unknown_version"),
        (KEY, "sleeping", {}, "unknown_version"),
        (KEY, "bob/iris", {}, "unknown_model"),
        (KEY, "mdl_9", {}, "unknown_model"),
        (KEY, "nobody/iris", {}, "unknown_model"),
        (KEY, "ada/iris/", {}, "unknown_model"),
        (KEY, "", {}, "unknown_model"),
        (BOB, "iris", {}, ("mdl_9", "ver_9", 1)),
        (ADMIN, "bob/iris", {}, ("mdl_9", "ver_9", 1)),
        (ADMIN, "mdl_1", {}, ("mdl_1", "ver_2", 2)),
        (ADMIN, "iris", {}, "unknown_model"),
        (LIMITED, "iris", {}, "forbidden"),
        (IDLE, "iris", {}, "forbidden"),
        (b"\0" * 32, "iris", {}, "unknown_caller"),
        (b"short", "iris", {}, "unknown_caller"),
    ],
)
def test_find_and_answer_resolve_a_model_alike(
    shared_plane: DataPlane, caller: bytes, model: str, selector: dict[str, Any], expected: Any
) -> None:
    assert outcome(ask(shared_plane, BODY, model=model, caller=caller, **selector)) == expected
    found = shared_plane.predictor.find(caller, model, selector.get("version"), selector.get("alias"))
    assert (found.code if isinstance(found, Refusal) else found) == expected


def test_a_shared_model_exists_for_the_users_it_is_shared_with() -> None:
    plane = new_plane()
    plane.models.set_routes([route(shared_with=frozenset({"usr_2"}))])
    put_caller(plane, BOB, "usr_2")
    put_caller(plane, LIMITED, "usr_2", models=["mdl_other"])
    put_caller(plane, IDLE, "usr_3")
    assert (
        plane.predictor.find(BOB, "ada/iris", None, None)
        == plane.predictor.find(BOB, "mdl_1", None, None)
        == ("mdl_1", "ver_1", 1)
    )
    assert outcome(plane.predictor.find(BOB, "iris", None, None)) == "unknown_model"
    assert outcome(plane.predictor.find(LIMITED, "ada/iris", None, None)) == "forbidden"
    plane.models.set_routes([route()])
    hidden, absent = (plane.predictor.find(BOB, name, None, None) for name in ("ada/iris", "ada/none"))
    assert isinstance(hidden, Refusal)
    assert isinstance(absent, Refusal)
    assert (hidden.code, hidden.arguments) == ("unknown_model", {"model": "ada/iris"})
    assert (absent.code, absent.arguments) == ("unknown_model", {"model": "ada/none"})
    plane.models.set_routes([route(is_public=True)])
    for caller in (BOB, IDLE):
        assert (
            plane.predictor.find(caller, "ada/iris", None, None)
            == plane.predictor.find(caller, "mdl_1", None, None)
            == ("mdl_1", "ver_1", 1)
        )
        assert outcome(plane.predictor.find(caller, "iris", None, None)) == "unknown_model"


def test_a_version_that_is_not_loaded_is_refused_as_loading(shared_plane: DataPlane) -> None:
    reply = ask(shared_plane, BODY, version=3)
    assert (reply.code, reply.arguments) == (
        "model_loading",
        {"model": "iris", "version": "3", "version_id": "ver_not_loaded"},
    )


def test_refusals_come_before_the_body_is_decoded(shared_plane: DataPlane) -> None:
    assert ask(shared_plane, "no JSON at all", caller=b"\0" * 32).code == "unknown_caller"
    assert ask(shared_plane, "no JSON at all", model="nothing").code == "unknown_model"


def test_a_caller_is_unknown_after_its_expiry(shared_plane: DataPlane) -> None:
    put_caller(shared_plane, b"\7" * 32, expires_at=time.time() - 1)
    assert ask(shared_plane, BODY, caller=b"\7" * 32).code == "unknown_caller"


def test_a_revoked_caller_is_unknown_at_once() -> None:
    plane = new_plane()
    put_caller(plane)
    assert ask(plane, BODY).code == "unknown_model"
    plane.callers.revoke(KEY)
    plane.callers.revoke(KEY)
    assert ask(plane, BODY).code == "unknown_caller"


def test_set_routes_replaces_all_routes(shared_plane: DataPlane) -> None:
    plane = new_plane()
    put_caller(plane)
    plane.models.set_routes([route()])
    plane.models.set_routes([route("mdl_2", name="other")])
    assert plane.predictor.find(KEY, "iris", None, None).code == "unknown_model"
    assert plane.predictor.find(KEY, "other", None, None) == ("mdl_2", "ver_1", 1)


def predict(
    plane: DataPlane,
    numbers: Any,
    *,
    is_list: bool = False,
    model: str = "mdl_1",
    version: str = "ver_1",
    waits: bool = True,
) -> Any:
    data = np.asarray(numbers, dtype=np.float64).tobytes()
    reply = planes.predict(plane, data, model=model, version=version, is_list=is_list, no_cache=True)
    return reply.wait() if isinstance(reply, Deferred) and waits else reply


def test_predict_answers_as_answer_does(shared_plane: DataPlane) -> None:
    decoded, read = predict(shared_plane, [[0, 1]]), ask(shared_plane, BODY, version=1, no_cache=True)
    assert decoded.body[:60] == read.body[:60]
    assert outcome(decoded) == outcome(read)


def test_predict_refuses_models_that_the_caller_may_not_use(shared_plane: DataPlane) -> None:
    assert predict(shared_plane, [[0, 1]], model="mdl_9", version="ver_9").code == "unknown_model"
    assert predict(shared_plane, [[0, 1]], version="ver_9").code == "unknown_version"
    reply = predict(shared_plane, np.zeros((1001, 2)), is_list=True)
    assert (reply.code, reply.arguments) == ("too_many_rows", {"limit": "1000"})


@pytest.mark.parametrize(("numbers", "is_list"), [([], True), ([1.0], True), ([1.0, 2.0, 3.0, 4.0], False)])
def test_predict_refuses_incomplete_rows(shared_plane: DataPlane, numbers: list[float], is_list: bool) -> None:
    with pytest.raises(ValueError, match="row"):
        predict(shared_plane, numbers, is_list=is_list)


def test_expensive_calls_are_deferred_to_a_compute_thread() -> None:
    plane = new_plane(inline_below_seconds=0.0)
    put_caller(plane)
    plane.models.set_routes([route()])
    load(plane, graphs.largest(2), signature(2, labels=[[0, 1]]), np.ones((1, 2)))
    assert isinstance(ask(plane, BODY, waits=False), Deferred)
    assert isinstance(predict(plane, [[0, 1]], waits=False), Deferred)
    assert isinstance(ask(plane, BODY, waits=True), Answer)


def test_a_large_body_is_not_decoded_on_an_io_thread() -> None:
    plane = new_plane(inline_below_seconds=1e-3)
    put_caller(plane)
    plane.models.set_routes([route()])
    load(plane, graphs.largest(2), signature(2, labels=[[0, 1]]), np.ones((1, 2)))
    assert isinstance(ask(plane, BODY + " " * 1_000_000, waits=False), Deferred)
    assert isinstance(ask(plane, BODY + " " * 1_000_000, waits=True), Answer)


def test_an_unknown_shape_of_answer_is_a_value_error(shared_plane: DataPlane) -> None:
    with pytest.raises(ValueError, match="shape"):
        ask(shared_plane, b"", "long")
