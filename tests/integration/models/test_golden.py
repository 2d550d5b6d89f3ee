"""Golden requests over HTTP: kept with a version, read by those who manage it, asked again before it goes live."""

import json
import pickle
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.http_client import Client
from support.sample_models import iris, iris_pipeline
from support.users import key_of, person

ROW = {"input": [5.1, 3.5, 1.4, 0.2]}


@pytest.fixture
def name() -> str:
    return f"golden-{uuid.uuid4().hex[:8]}"


def sample(rows: Any) -> str:
    """Rows with the answers of the first model."""
    model = first_model()
    names = [f"x{place}" for place in range(4)]
    return json.dumps(
        [
            dict(zip(names, row.tolist(), strict=True)) | {"prediction": answer, "probabilities": values}
            for row, answer, values in zip(
                rows, model.predict(rows).tolist(), model.predict_proba(rows).tolist(), strict=True
            )
        ]
    )


def first_model() -> Any:
    return pickle.loads(iris_pipeline(seed=1))


def uploaded(server: Client, name: str, rows: Any = None) -> dict[str, Any]:
    """A version with golden requests."""
    fields = {"sample": sample(iris()[0][::15] if rows is None else rows), "expected_with": "1.9.0"}
    answer = server.upload(name, iris_pipeline(seed=1), **fields)
    assert answer.status_code == 201, answer.text
    version: dict[str, Any] = answer.json()
    return version


def golden_file(server: Client, version: dict[str, Any]) -> Path:
    return server.folder / "models" / version["id"] / "golden.json"


def status(server: Client, method: str, path: str, **request: Any) -> int:
    return server.http.request(method, f"/api/v1/models/{path}", **request).status_code


def test_expected_answers_are_kept_read_and_asked_again(server: Client, name: str) -> None:
    version = uploaded(server, name)
    kept = server.http.get(f"/api/v1/models/{name}/versions/1/golden").json()
    assert (version["report"]["golden_requests"], len(kept["items"]), kept["expected_with"]) == (10, 10, "1.9.0")
    first = kept["items"][0]
    assert (first["input"], first["prediction"], len(first["probabilities"])) == (iris()[0][0].tolist(), 0, 3)
    tested = server.http.post(f"/api/v1/models/{name}/test")
    assert tested.status_code == 200, tested.text
    assert tested.json()["golden"] == {"rows": 10, "agreeing": 10, "worst": None, "problem": None}
    assert (tested.json()["is_live"], tested.headers["x-cache"]) == (True, "bypass")
    server.upload(name, iris_pipeline(seed=2))
    without = server.http.get(f"/api/v1/models/{name}/versions/2/golden").json()
    assert without == {"version": 2, "expected_with": None, "items": []}
    assert "request" in server.http.post(f"/api/v1/models/{name}/test").json()
    assert status(server, "POST", f"{name}/rollback") == 200
    assert server.http.delete(f"/api/v1/models/{name}").status_code == 204
    assert status(server, "GET", f"{version['model_id']}/versions/1/golden") == 404


def test_only_those_who_manage_a_model_read_and_ask_its_golden_requests(embedded_server: Client, name: str) -> None:
    model = uploaded(embedded_server, name)["model_id"]
    for permission, expected, member in (("predict", 403, "answer"), ("manage", 200, "golden")):
        friend = person(embedded_server)
        share = {"user": friend.username, "permission": permission}
        assert status(embedded_server, "PUT", f"{model}/shares", json=share) == 201
        own = {"X-API-Key": key_of(embedded_server, friend)}
        assert status(embedded_server, "GET", f"{model}/versions/1/golden", headers=own) == expected
        assert member in embedded_server.http.post(f"/api/v1/models/{model}/test", headers=own).json()
    stranger = {"X-API-Key": key_of(embedded_server, person(embedded_server))}
    assert status(embedded_server, "GET", f"{model}/versions/1/golden", headers=stranger) == 404


def changed(answer: int) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        golden = json.loads(content)
        golden["requests"][answer]["prediction"] = 2 - golden["requests"][answer]["prediction"]
        return json.dumps(golden).encode()

    return change


def test_a_version_that_no_longer_agrees_is_not_promoted(server: Client, name: str) -> None:
    version = uploaded(server, name)
    server.upload(name, iris_pipeline(seed=2))
    file = golden_file(server, version)
    content = file.read_bytes()
    file.write_bytes(changed(9)(content))
    for path in ("versions/1/promote", "rollback"):
        refused = server.http.post(f"/api/v1/models/{name}/{path}")
        assert (refused.status_code, refused.json()["code"]) == (409, "golden_mismatch")
        assert (refused.json()["golden"]["rows"], refused.json()["golden"]["agreeing"]) == (10, 9)
        assert refused.json()["golden"]["worst"]["input"] == iris()[0][135].tolist()
        assert "expected [0], got [2]" in refused.json()["detail"]
    tested = server.http.post(f"/api/v1/models/{name}/test", params={"version": 1}).json()
    assert (tested["golden"]["agreeing"], tested["golden"]["problem"]) == (9, refused.json()["golden"]["problem"])
    assert server.predict(name, ROW).json()["model_version"] == 2
    for damaged in (b"{", b'{"scikit_learn": null, "requests": []}', b"\xff", None):
        file.unlink() if damaged is None else file.write_bytes(damaged)
        assert status(server, "POST", f"{name}/versions/1/promote") == 503
        assert status(server, "GET", f"{name}/versions/1/golden") == 503
    file.write_bytes(content)
    assert status(server, "POST", f"{name}/versions/1/promote") == 200
    assert server.predict(name, ROW).json()["model_version"] == 1


def test_a_golden_test_is_charged_like_one_prediction(server: Client, name: str) -> None:
    uploaded(server, name)
    slow = server.http.post("/api/v1/api-keys", json={"name": f"slow {name}", "predict_rate": "1/day"}).json()
    own = {"X-API-Key": slow["key"]}
    assert [status(server, "POST", f"{name}/test", headers=own) for _ in range(2)] == [200, 429]


def test_a_huge_sample_is_kept_in_part_and_an_empty_one_is_refused(embedded_server: Client, name: str) -> None:
    many = uploaded(embedded_server, name, np.tile(iris()[0], (20, 1)))
    assert many["report"]["golden_requests"] == 300
    assert golden_file(embedded_server, many).stat().st_size < 4 << 20
    without = embedded_server.upload(name, iris_pipeline(seed=1)).json()
    assert (without["report"]["golden_requests"], golden_file(embedded_server, without).exists()) == (0, False)
    assert embedded_server.upload(name, iris_pipeline(), sample="[]").status_code == 400
    assert embedded_server.upload(name, iris_pipeline(), sample='[{"x0": 1, "prediction": NaN}]').status_code == 400
    assert embedded_server.upload(name, iris_pipeline(), sample=" " * (5 << 20)).status_code == 400


def test_a_promotion_beside_a_deletion_ends_in_one_of_the_two(server: Client, name: str) -> None:
    version = uploaded(server, name)
    model = version["model_id"]
    server.upload(name, iris_pipeline(seed=2))
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            promotions = [
                pool.submit(status, server, "POST", f"{model}/versions/{number}/promote") for number in (1, 2)
            ]
            deleted = pool.submit(status, server, "DELETE", model)
            assert deleted.result() == 204
            assert {promotion.result() for promotion in promotions} <= {200, 404}
            assert server.predict(model, ROW).status_code == 404
            assert status(server, "POST", f"{model}/restore") == 200
            assert server.predict(model, ROW).status_code == 200


def test_a_held_version_that_no_longer_agrees_is_not_promoted(server: Client, name: str) -> None:
    server.upload(name, iris_pipeline(columns=3))
    fields = {"sample": sample(iris()[0][::15]), "expected_with": "1.9.0"}
    assert server.upload(name, iris_pipeline(seed=1), **fields).json()["code"] == "schema_changed"
    tested = server.http.post(f"/api/v1/models/{name}/test", params={"version": 2}).json()
    assert (tested["golden"]["agreeing"], tested["held"]["code"]) == (10, "schema_changed")
    file = golden_file(server, server.http.get(f"/api/v1/models/{name}/versions/2").json())
    content = file.read_bytes()
    file.write_bytes(changed(0)(content))
    promotion = f"/api/v1/models/{name}/versions/2/promote"
    refused = server.http.post(promotion, json={"allow_schema_change": True})
    assert (refused.status_code, refused.json()["code"]) == (409, "golden_mismatch")
    file.write_bytes(content)
    assert server.http.post(promotion, json={"allow_schema_change": True}).status_code == 200


def test_a_key_without_the_scope_to_read_models_sees_no_golden_requests(server: Client, name: str) -> None:
    uploaded(server, name)
    made = server.http.post("/api/v1/api-keys", json={"name": f"asks {name}", "scopes": ["predict"]}).json()
    own = {"X-API-Key": made["key"]}
    tested = server.http.post(f"/api/v1/models/{name}/test", headers=own).json()
    assert ("golden" in tested, "answer" in tested) == (False, True)
    refused = server.http.post(f"/api/v1/models/{name}/test", headers=own, params={"version": 1}, json=ROW)
    assert (refused.status_code, refused.json()["code"]) == (403, "not_permitted")
    assert "`models:read`" in refused.json()["detail"]
    assert status(server, "POST", f"{name}/test", headers=own, json=ROW) == 200
