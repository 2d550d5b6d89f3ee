"""Uploads, models and versions, over HTTP."""

import json
import uuid

import pytest

from support.http_client import Client
from support.sample_models import iris_pipeline


@pytest.fixture
def name() -> str:
    return f"iris-{uuid.uuid4().hex[:8]}"


def test_an_upload_is_converted_verified_and_live(server: Client, name: str) -> None:
    answer = server.upload(name, iris_pipeline())
    assert answer.status_code == 201, answer.text
    version = answer.json()
    assert (version["status"], version["is_live"], version["version"]) == ("ready", True, 1)
    assert version["report"]["rows"] > 100
    assert version["predict_url"] in version["curl"]
    prediction = server.predict(name, {"input": [5.1, 3.5, 1.4, 0.2]}).json()
    assert prediction["prediction"] == 0
    assert prediction["model_version"] == 1
    assert answer.headers["location"].endswith("/versions/1")


def test_the_example_of_a_version_is_a_valid_request_body(server: Client, name: str) -> None:
    version = server.upload(name, iris_pipeline()).json()
    assert server.predict(name, version["example"]).status_code == 200


def test_answers_that_are_not_the_expected_ones_refuse_an_upload(server: Client, name: str) -> None:
    example = server.upload(f"{name}-example", iris_pipeline()).json()["example"]["input"]
    names = list(example) if isinstance(example, dict) else ["x0", "x1", "x2", "x3"]
    sample = json.dumps([dict(zip(names, [5.1, 3.5, 1.4, 0.2], strict=True)) | {"prediction": 2}])
    answer = server.upload(name, iris_pipeline(), sample=sample)
    assert (answer.status_code, answer.json()["code"]) == (422, "not_verified")
    assert "expected [2], got [0]" in answer.json()["detail"]
    assert server.predict(name, {"input": [5.1, 3.5, 1.4, 0.2]}).status_code == 404


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"expected_with": "1.9.0"}, "`expected_with`: there is no sample"),
        ({"expected_with": "1.9.0", "sample": "x\n1\n"}, "`expected_with`: the sample has no column `prediction`"),
        ({"expected_with": "newest", "sample": "x,prediction\n1,2\n"}, "is no version such as 1.8.0"),
        ({"sample": '[{"x": 1, "prediction": 1}, {"x": 2}]'}, "1 of 2 rows have `prediction`"),
    ],
)
def test_expected_answers_are_checked_before_anything_is_stored(
    server: Client, name: str, fields: dict[str, str], problem: str
) -> None:
    answer = server.upload(name, iris_pipeline(), **fields)
    assert (answer.status_code, problem in answer.json()["detail"]) == (400, True), answer.text


def test_an_upload_without_waiting_is_202_and_becomes_ready(server: Client, name: str) -> None:
    answer = server.upload(name, iris_pipeline(), wait_seconds=0)
    assert answer.status_code == 202
    assert answer.json()["status"] in {"pending", "converting", "verifying"}
    server.await_version(name, 1, "ready")


def test_a_file_that_is_no_model_fails_and_the_live_version_stays_live(server: Client, name: str) -> None:
    server.upload(name, iris_pipeline())
    answer = server.upload(name, b"\x89PNG\r\n\x1a\n" + bytes(100), filename="cat.png")
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] == "not_a_model"
    assert "PNG" in answer.json()["detail"]
    assert server.predict(name, {"input": [5.1, 3.5, 1.4, 0.2]}).json()["model_version"] == 1


@pytest.mark.parametrize(
    ("bad_name", "why"),
    [("Iris", "Iris"), ("ab", "ab"), ("mdl_x123", "mdl_x123"), ("batch", "batch"), ("a" * 51, "aaa"), ("", "")],
)
def test_an_invalid_model_name_is_refused(server: Client, bad_name: str, why: str) -> None:
    answer = server.upload(bad_name, b"x")
    assert answer.status_code == 400
    assert why in answer.json()["detail"]


def test_an_upload_that_is_not_multipart_is_415(server: Client) -> None:
    assert (
        server.http.post(
            "/api/v1/models/upload", content=b"{}", headers={"Content-Type": "application/json"}
        ).status_code
        == 415
    )


def test_an_upload_without_a_file_or_with_unknown_fields_is_refused(server: Client, name: str) -> None:
    boundary = {"Content-Type": "multipart/form-data; boundary=b"}
    nothing = b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nx\r\n--b--\r\n'
    answer = server.http.post("/api/v1/models/upload", content=nothing, headers=boundary)
    assert (answer.status_code, "`file`" in answer.json()["detail"]) == (400, True)
    assert server.upload(name, iris_pipeline(), colour="red").status_code == 400


def test_an_upload_cut_off_in_the_middle_leaves_nothing(server: Client, name: str) -> None:
    boundary = {"Content-Type": "multipart/form-data; boundary=b"}
    cut = b'--b\r\nContent-Disposition: form-data; name="file"; filename="m.pkl"\r\n\r\nhalf'
    assert server.http.post("/api/v1/models/upload", content=cut, headers=boundary).status_code == 400
    assert server.arriving() == []


def test_a_model_of_failed_versions_alone_says_so_and_is_not_in_the_short_list(server: Client, name: str) -> None:
    assert server.upload(name, b"\x89PNG\r\n\x1a\n").status_code == 422
    failure = server.http.get(f"/api/v1/models/{name}/versions/1").json()["failure"]["message"]
    row = [5.1, 3.5, 1.4, 0.2]
    csv = {"Content-Type": "text/csv"}
    for answer in (
        server.predict(name, {"input": row}),
        server.predict(f"admin/{name}", {"input": row}),
        server.http.post("/predict", json={"model_name": name, "features": row}),
        server.http.post(f"/api/v1/predict/{name}?version=1", json={"input": row}),
        server.http.post(f"/api/v1/predict/{name}", content=b"a\n1\n", headers=csv),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert answer.json()["detail"] == f"The model `{name}` has no live version. Version 1 failed: {failure}"
    assert name in [model["name"] for model in server.http.get("/api/v1/models").json()["items"]]
    assert name not in [model["name"] for model in server.http.get("/models").json()["models"]]
    assert server.upload(name, iris_pipeline()).status_code == 201
    assert server.predict(name, {"input": row}).status_code == 200
    assert name in [model["name"] for model in server.http.get("/models").json()["models"]]


def test_models_are_listed_described_deleted_and_restored(server: Client, name: str) -> None:
    model_id = server.upload(name, iris_pipeline(), description="first").json()["model_id"]
    assert name in [model["name"] for model in server.http.get("/api/v1/models").json()["items"]]
    assert name in [model["name"] for model in server.http.get("/models").json()["models"]]
    assert server.http.patch(f"/api/v1/models/{name}", json={"description": "better"}).json()["description"] == "better"
    assert server.http.delete(f"/api/v1/models/{name}").status_code == 204
    assert server.predict(name, {"input": [5.1, 3.5, 1.4, 0.2]}).status_code == 404
    assert server.http.get(f"/api/v1/models/{name}").status_code == 404
    assert server.http.post(f"/api/v1/models/{model_id}/restore").json()["name"] == name
    assert server.predict(f"admin/{name}", {"input": [5.1, 3.5, 1.4, 0.2]}).status_code == 200


def test_the_cache_settings_of_a_model_apply_at_once(server: Client, name: str) -> None:
    server.upload(name, iris_pipeline(), description="kept")
    row = {"input": [5.1, 3.5, 1.4, 0.2]}
    assert [server.predict(name, row).headers["x-cache"] for _ in range(2)] == ["miss", "l1"]
    changed = server.http.patch(f"/api/v1/models/{name}", json={"cache": "off", "cache_ttl_seconds": 5}).json()
    assert (
        changed["cache"],
        changed["cache_ttl_seconds"],
        changed["cache_l2_ttl_seconds"],
        changed["description"],
    ) == (
        "off",
        5,
        None,
        "kept",
    )
    assert server.predict(name, row).headers["x-cache"] == "bypass"
    assert (
        server.http.patch(f"/api/v1/models/{name}", json={"cache": "auto", "cache_ttl_seconds": 0}).json()["cache"]
        == "auto"
    )
    assert server.predict(name, row).headers["x-cache"] == "bypass"
    assert (
        server.http.patch(f"/api/v1/models/{name}", json={"cache_ttl_seconds": None}).json()["cache_ttl_seconds"]
        is None
    )
    assert server.predict(name, row).headers["x-cache"] == "l1"


def test_the_downloaded_onnx_has_the_sha256_of_its_version(server: Client, name: str) -> None:
    import hashlib

    version = server.upload(name, iris_pipeline()).json()
    onnx = server.http.get(f"/api/v1/models/{name}/versions/1/download").content
    assert hashlib.sha256(onnx).hexdigest() == version["onnx_sha256"]


def test_a_version_that_does_not_exist_is_404_everywhere(server: Client, name: str) -> None:
    server.upload(name, iris_pipeline())
    for method, path in [
        ("GET", "9"),
        ("GET", "9/report"),
        ("GET", "9/download"),
        ("POST", "9/promote"),
        ("POST", "9/archive"),
    ]:
        assert server.http.request(method, f"/api/v1/models/{name}/versions/{path}").status_code == 404
    assert server.predict(name, {"input": [5.1, 3.5, 1.4, 0.2]}, version="9").status_code == 404
