"""Which version of a model is live, over HTTP."""

import uuid

import pytest

from support.http_client import Client
from support.sample_models import iris_pipeline, saved_by_another_version
from support.users import key_of, person
from support.waiting import wait_until


@pytest.fixture
def name() -> str:
    return f"iris-{uuid.uuid4().hex[:8]}"


def promote(server: Client, name: str, number: int) -> int:
    """The status of a promotion, whatever the columns."""
    path = f"/api/v1/models/{name}/versions/{number}/promote"
    return server.http.post(path, json={"allow_schema_change": True}).status_code


def test_a_second_upload_goes_live_and_can_be_rolled_back(server: Client, name: str) -> None:
    server.upload(name, iris_pipeline(seed=1))
    assert server.upload(name, iris_pipeline(seed=2)).json()["version"] == 2
    row = {"input": [6.3, 2.8, 5.1, 1.5]}
    second, first = server.predict(name, row).json(), server.predict(name, row, version="1").json()
    assert (second["model_version"], first["model_version"]) == (2, 1)
    assert second["probabilities"] != first["probabilities"]
    assert server.http.post(f"/api/v1/models/{name}/rollback").json()["version"] == 1
    assert server.predict(name, row).json()["model_version"] == 1


def test_a_version_with_other_columns_is_held_until_its_owner_promotes_it(server: Client, name: str) -> None:
    server.upload(name, iris_pipeline(columns=4))
    answer = server.upload(name, iris_pipeline(columns=3))
    assert answer.status_code == 409
    assert answer.json()["code"] == "schema_changed"
    assert server.predict(name, {"input": [5.1, 3.5, 1.4, 0.2]}).status_code == 200
    assert server.http.post(f"/api/v1/models/{name}/versions/2/promote").status_code == 409
    promoted = server.http.post(f"/api/v1/models/{name}/versions/2/promote", json={"allow_schema_change": True})
    assert promoted.status_code == 200
    assert (promoted.json()["is_live"], promoted.json()["held"]) == (True, None)
    assert server.predict(name, {"input": [5.1, 3.5, 1.4]}).status_code == 200


def test_a_held_version_answers_nobody_until_it_is_promoted(server: Client, name: str) -> None:
    server.upload(name, iris_pipeline(columns=4))
    held = server.upload(name, iris_pipeline(columns=3)).json()["version"]
    predictor = person(server)
    share = {"user": predictor.username, "permission": "predict"}
    assert server.http.put(f"/api/v1/models/{name}/shares", json=share).status_code == 201
    row = {"input": [5.1, 3.5, 1.4]}
    for model in (name, held["model_id"], f"{held['owner']}/{name}"):
        refused = server.predict(model, row, version="2")
        assert (refused.status_code, refused.json()["code"]) == (409, "version_held")
        assert refused.json()["held"] == held["held"]
        assert "other columns" in refused.json()["detail"]
    by_csv = server.predict(name, b"5.1,3.5,1.4", headers={"Content-Type": "text/csv; header=absent"}, version="2")
    shared = server.predict(held["model_id"], row, headers={"X-API-Key": key_of(server, predictor)}, version="2")
    assert (by_csv.status_code, shared.status_code) == (409, 409)
    assert server.predict(name, row, version="3").status_code == 404
    for number in (2, 1):
        assert promote(server, name, number) == 200
    assert server.predict(name, row, version="2").json()["model_version"] == 2
    assert server.http.get(f"/api/v1/models/{name}/versions/2").json()["held"] is None


def test_a_model_whose_only_version_is_held_answers_nothing_before_its_promotion(server: Client, name: str) -> None:
    held = server.upload(name, saved_by_another_version(iris_pipeline())).json()
    assert (held["is_live"], held["held"]["code"]) == (False, "unproven")
    row = {"input": [5.1, 3.5, 1.4, 0.2]}
    assert server.predict(name, row).status_code == 404
    refused = server.predict(name, row, version="1")
    assert (refused.status_code, refused.json()["code"]) == (409, "version_held")
    assert "scikit-learn 2.0.0" in refused.json()["detail"]
    assert promote(server, name, 1) == 200
    assert server.predict(name, row, version="1").status_code == 200


def test_an_archived_version_does_not_answer_and_the_live_one_cannot_be_archived(server: Client, name: str) -> None:
    server.upload(name, iris_pipeline(seed=1))
    server.upload(name, iris_pipeline(seed=2))
    assert server.http.post(f"/api/v1/models/{name}/versions/2/archive").status_code == 409
    assert server.http.post(f"/api/v1/models/{name}/versions/1/archive").json()["lifecycle"] == "archived"
    assert server.predict(name, {"input": [5.1, 3.5, 1.4, 0.2]}, version="1").status_code == 404


def test_a_version_that_is_archived_while_it_is_converted_does_not_go_live(server: Client, name: str) -> None:
    server.upload(name, iris_pipeline(seed=1))
    for _ in range(5):
        number = server.upload(name, iris_pipeline(seed=2), wait_seconds=0).json()["version"]
        version = f"/api/v1/models/{name}/versions/{number}"
        archived = server.http.post(f"{version}/archive")
        if archived.status_code == 200:
            break
        assert archived.json()["code"] == "conflict"  # it was live already
    ended = wait_until(lambda: (found := server.http.get(version).json())["status"] == "ready" and found)
    assert (ended["lifecycle"], ended["is_live"], ended["held"]) == ("archived", False, None)
    assert server.predict(name, {"input": [5.1, 3.5, 1.4, 0.2]}).json()["model_version"] == number - 1
