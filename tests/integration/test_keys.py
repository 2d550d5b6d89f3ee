"""API keys over HTTP."""

import pytest

from client import Client


def test_a_new_key_opens_what_its_maker_may_and_is_shown_once(server: Client) -> None:
    made = server.http.post("/api/v1/api-keys", json={"name": "laptop"})
    assert made.status_code == 201
    body = made.json()
    assert body["key"].startswith(body["prefix"])
    assert server.http.get("/api/v1/models", headers={"X-API-Key": body["key"]}).status_code == 200
    listed = server.http.get("/api/v1/api-keys").json()["items"]
    assert [item["name"] for item in listed if item["id"] == body["id"]] == ["laptop"]
    assert all("key" not in item for item in listed)


def test_a_revoked_key_opens_nothing_at_once(server: Client) -> None:
    made = server.http.post("/api/v1/api-keys", json={"name": "old"}).json()
    assert server.http.delete(f"/api/v1/api-keys/{made['id']}").status_code == 204
    answer = server.http.get("/api/v1/models", headers={"X-API-Key": made["key"]})
    assert answer.status_code == 401
    assert answer.json()["code"] == "not_authenticated"


@pytest.mark.parametrize("header", ["", "srv_short", "srv_" + "A" * 51, "Basic abc"])
def test_what_is_no_key_is_401_and_says_so(server: Client, header: str) -> None:
    answer = server.http.get("/api/v1/models", headers={"X-API-Key": header})
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_key_is_taken_as_bearer_too_but_not_twice(server: Client) -> None:
    import httpx2

    bearer = {"Authorization": f"Bearer {server.key}"}
    assert httpx2.get(f"{server.url}/api/v1/models", headers=bearer).status_code == 200
    assert server.http.get("/api/v1/models", headers=bearer).status_code == 400


def test_a_key_without_a_name_is_refused(server: Client) -> None:
    assert server.http.post("/api/v1/api-keys", json={"name": " "}).status_code == 400
    assert server.http.post("/api/v1/api-keys", json={"nam": "x"}).status_code == 400


def test_revoking_a_key_that_does_not_exist_is_404(server: Client) -> None:
    assert server.http.delete("/api/v1/api-keys/key_nothing").status_code == 404
