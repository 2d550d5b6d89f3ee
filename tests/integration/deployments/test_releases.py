"""Which version of a model is live, over HTTP."""

import uuid

import pytest

from support.http_client import Client
from support.sample_models import iris_pipeline


@pytest.fixture
def name() -> str:
    return f"iris-{uuid.uuid4().hex[:8]}"


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
    assert server.predict(name, {"input": [5.1, 3.5, 1.4]}).status_code == 200


def test_an_archived_version_does_not_answer_and_the_live_one_cannot_be_archived(server: Client, name: str) -> None:
    server.upload(name, iris_pipeline(seed=1))
    server.upload(name, iris_pipeline(seed=2))
    assert server.http.post(f"/api/v1/models/{name}/versions/2/archive").status_code == 409
    assert server.http.post(f"/api/v1/models/{name}/versions/1/archive").json()["lifecycle"] == "archived"
    assert server.predict(name, {"input": [5.1, 3.5, 1.4, 0.2]}, version="1").status_code == 404
