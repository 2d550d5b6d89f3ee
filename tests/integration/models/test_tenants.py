"""Two owners share nothing, also where they uploaded the same file."""

import json
import pickle
import random
import time
from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import httpx2
import pytest
from sklearn.datasets import load_iris
from sklearn.tree import DecisionTreeClassifier

from serval.ids import new_id
from support.http_client import Client
from support.stored_users import Person, add_person
from support.waiting import wait_until

ROW = {"input": [5.1, 3.5, 1.4, 0.2]}
TRIES = [pytest.param(60, 0.25, id="few"), pytest.param(500, 0.1, id="many", marks=pytest.mark.slow)]
"""Requests of each kind, and how far from half of the time a thing that is hidden may take longer than one that does
not exist. The noise of equal times (the standard deviation of Mann and Whitney's statistic) is 0.053 with 60 of each,
and 0.018 with 500."""


class Tenants(NamedTuple):
    """Two owners of a model `tree` of the same file, and the ids of their models."""

    ada: Person
    bob: Person
    ada_model: str
    bob_model: str


@pytest.fixture(scope="module")
def tenants(server: Client, backend: dict[str, str]) -> Tenants:
    iris = load_iris()
    content = pickle.dumps(DecisionTreeClassifier(random_state=0).fit(iris.data, iris.target))
    people, models = [add_person(server, backend, name) for name in ("ada", "bob")], []
    for person in people:
        headers = {**person.headers, "Prefer": "wait=120"}
        answer = server.http.post(
            "/api/v1/models/upload", files={"file": ("tree.pkl", content)}, data={"name": "tree"}, headers=headers
        )
        assert answer.status_code == 201, answer.text
        models.append(answer.json()["model_id"])
    return Tenants(*people, *models)


def test_equal_rows_of_equal_files_are_cached_separately_for_each_owner(server: Client, tenants: Tenants) -> None:
    ada, bob = tenants.ada.headers, tenants.bob.headers
    hits = [server.predict("tree", ROW, headers=owner).json()["cache_hit"] for owner in (ada, ada, bob, bob)]
    assert hits == [False, True, False, True]


@pytest.mark.parametrize(
    "method_path",
    [
        "GET ",
        "GET /versions",
        "GET /versions/1/report",
        "POST /rollback",
        "POST /test",
        "GET /shares",
        "PUT /shares",
        "DELETE ",
        "POST /restore",
    ],
)
def test_the_model_of_another_user_is_404(server: Client, tenants: Tenants, method_path: str) -> None:
    method, _, path = method_path.partition(" ")
    body = {"everybody": True, "permission": "predict"} if method == "PUT" else None
    for model in (tenants.ada_model, new_id("mdl")):
        answer = server.http.request(method, f"/api/v1/models/{model}{path}", json=body, headers=tenants.bob.headers)
        assert (answer.status_code, answer.json()["detail"]) == (404, f"There is no model `{model}`.")


def test_the_model_of_another_user_is_refused_like_one_that_does_not_exist(server: Client, tenants: Tenants) -> None:
    def refusals(name: str) -> list[object]:
        answers = [
            server.predict(name, ROW, headers=tenants.bob.headers),
            server.predict(name, {"input": ["wrong"]}, headers=tenants.bob.headers),
            server.http.post(
                "/predict", json={"model_name": name, "features": ROW["input"]}, headers=tenants.bob.headers
            ),
            server.http.post(f"/api/v1/predict/{name}?version=7", json=ROW, headers=tenants.bob.headers),
            server.http.get("/api/v1/predictions", params={"model": name}, headers=tenants.bob.headers),
            server.http.post(
                "/api/v1/models/upload",
                files={"file": ("m.pkl", b"x")},
                data={"name": name},
                headers=tenants.bob.headers,
            ),
        ]
        return [(answer.status_code, problem_of(answer).replace(name, "")) for answer in answers]

    assert refusals(f"{tenants.ada.name}/tree") == refusals(f"{tenants.ada.name}/shrub") == refusals("nobody/tree")
    assert {status for status, _ in refusals(f"{tenants.ada.name}/tree")} == {404}


def problem_of(answer: httpx2.Response) -> str:
    """A problem without the id of its request."""
    return json.dumps({name: value for name, value in answer.json().items() if name != "request_id"})


def test_users_list_their_own_models_only_and_administrators_list_all(server: Client, tenants: Tenants) -> None:
    ada, bob = tenants.ada, tenants.bob
    for person in (ada, bob):
        listed = server.http.get("/api/v1/models", headers=person.headers).json()["items"]
        assert {model["owner"] for model in listed} == {person.name}
    assert {ada.name, bob.name} <= {model["owner"] for model in server.http.get("/api/v1/models").json()["items"]}


def test_no_page_shows_one_tenant_anything_of_another(server: Client, tenants: Tenants) -> None:
    ada, bob = tenants.ada, tenants.bob
    before = counted(server, bob)
    answers = [
        server.predict("tree", ROW, headers={**ada.headers, "Cache-Control": "no-cache"}).json() for _ in range(3)
    ]
    until_listed(server, ada, len(answers))
    assert counted(server, bob) == before
    paths = [
        "/metrics",
        "/models",
        "/info",
        *(f"/api/v1/{path}" for path in ("models", "models/tree/versions", "predictions")),
    ]
    for path in paths:
        for person, of_other in (
            (bob, {ada.id, ada.name, tenants.ada_model}),
            (ada, {bob.id, bob.name, tenants.bob_model}),
        ):
            text = server.http.get(path, headers=person.headers).text
            assert [mark for mark in of_other if mark in text] == [], path
    for item in server.http.get("/api/v1/predictions", headers=ada.headers).json()["items"]:
        assert server.http.get(f"/api/v1/predictions/{item['id']}", headers=bob.headers).status_code == 404
    assert f'model="{ada.name}/tree"' in server.http.get("/metrics").text


def counted(client: Client, person: Person) -> list[str]:
    """What the metrics count of predictions of a user's models."""
    lines = client.http.get("/metrics", headers=person.headers).text.splitlines()
    return [line for line in lines if f'model="{person.name}/' in line]


def until_listed(client: Client, person: Person, count: int) -> None:
    wait_until(lambda: len(client.http.get("/api/v1/predictions", headers=person.headers).json()["items"]) >= count)


def test_the_log_of_a_request_names_nothing_of_another_tenant(server: Client, tenants: Tenants) -> None:
    request_id = new_id("req")
    headers = {**tenants.bob.headers, "X-Request-Id": request_id}
    assert server.predict(tenants.ada_model, ROW, headers=headers).status_code == 404
    assert server.http.get(f"/api/v1/models/{tenants.ada_model}/versions", headers=headers).status_code == 404
    line = server.process.until_line("request", request_id=request_id, endpoint="/api/v1/models/{model}/versions")
    assert (line["user"], line["status"]) == (tenants.bob.id, 404)
    assert tenants.ada.id not in json.dumps(line)


ROUTES = {
    "control plane, by id": lambda model, _: ("GET", f"/api/v1/models/{model}"),
    "control plane, by name": lambda _, name: ("GET", f"/api/v1/predictions?model={name}"),
    "prediction, by id": lambda model, _: ("POST", f"/api/v1/predict/{model}"),
    "prediction, by name": lambda _, name: ("POST", f"/api/v1/predict/{name}"),
}


@pytest.mark.parametrize(("tries", "tolerance"), TRIES)
@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES.keys())
def test_a_hidden_model_takes_as_long_as_one_that_does_not_exist(
    server: Client, tenants: Tenants, route: Callable[[str, str], tuple[str, str]], tries: int, tolerance: float
) -> None:
    hidden = route(tenants.ada_model, f"{tenants.ada.name}/tree")
    absent = route(new_id("mdl"), f"{tenants.ada.name}/bush")
    times: dict[tuple[str, str], list[int]] = {hidden: [], absent: []}
    both, shuffle = [hidden, absent], random.Random(0).shuffle
    for _ in range(tries):
        shuffle(both)
        for method, path in both:
            started = time.perf_counter_ns()
            answer = server.http.request(
                method, path, json=ROW if method == "POST" else None, headers=tenants.bob.headers
            )
            times[method, path].append(time.perf_counter_ns() - started)
            assert answer.status_code == 404
    slower = sum(a > b for a, b in product(times[hidden], times[absent])) / tries**2
    assert abs(slower - 0.5) < tolerance
