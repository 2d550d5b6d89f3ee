"""Keys with the scope `admin` and limits: for some models, for a time, with a rate or a quota."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from support import plain_http
from support.http_client import Client
from support.replicas import constant
from support.users import PASSWORD, new_email, person

KEYS, USERS = "/api/v1/api-keys", "/api/v1/users"
EVERYTHING = ["predict", "models:read", "models:write", "admin"]


@pytest.fixture(scope="module")
def models(server: Client) -> tuple[str, str]:
    """Ids of two models of the administrator."""
    ids = []
    for name in ("limited-a", "limited-b"):
        assert server.upload(name, constant(1)).status_code == 201
        ids.append(server.http.get(f"/api/v1/models/{name}").json()["id"])
    return ids[0], ids[1]


def make(server: Client, **limits: Any) -> dict[str, Any]:
    """A key of the administrator's for everything within these limits."""
    answer = server.http.post(KEYS, json={"name": f"limited-{uuid4()}", "scopes": EVERYTHING, **limits})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def asking(server: Client, made: dict[str, Any]) -> httpx2.Client:
    return plain_http.client(base_url=server.url, headers={"X-API-Key": made["key"]}, timeout=60)


def refusals(http: httpx2.Client, *requests: tuple[str, str, Any]) -> dict[str, int]:
    """The requests that were not refused with 403, by their status."""
    answers = {f"{method} {path}": http.request(method, path, json=body) for method, path, body in requests}
    return {request: answer.status_code for request, answer in answers.items() if answer.status_code != 403}


def writes(user: str) -> list[tuple[str, str, Any]]:
    """What changes users."""
    return [
        ("POST", USERS, {"email": new_email(), "password": PASSWORD}),
        ("POST", USERS, {"email": new_email(), "password": PASSWORD, "role": "admin"}),
        ("PATCH", f"{USERS}/{user}", {"role": "admin"}),
        ("PATCH", f"{USERS}/{user}", {"subscription_tier": "gold"}),
        ("POST", f"{USERS}/{user}/password", {"password": PASSWORD}),
        ("POST", f"{USERS}/admin/password", None),
        ("POST", f"{USERS}/{user}/disable", None),
        ("POST", f"{USERS}/{user}/enable", None),
        ("POST", "/api/v1/auth/signing-keys", {"revoke_issued_tokens": True}),
    ]


def test_a_key_for_some_models_does_nothing_to_the_account_and_to_other_users(
    server: Client, models: tuple[str, str]
) -> None:
    who = person(server)
    with asking(server, make(server, models=["limited-a"])) as http:
        rest = [
            ("GET", USERS, None),
            ("GET", f"{USERS}/{who.id}", None),
            ("GET", "/api/v1/audit", None),
            ("PATCH", f"{USERS}/me", {"full_name": "Another"}),
            ("POST", f"{USERS}/me/password", {"current_password": "x", "new_password": PASSWORD}),
            ("GET", "/metrics", None),
        ]
        assert refusals(http, *writes(who.id), *rest) == {}
        assert http.get("/api/v1/auth/me").status_code == 200
        assert http.get("/api/v1/models/limited-a").status_code == 200
        assert http.get("/api/v1/models/limited-b").status_code == 403


def test_a_key_for_some_models_sees_and_ends_keys_for_these_only(server: Client, models: tuple[str, str]) -> None:
    within = [make(server, models=["limited-a"]) for _ in range(3)]
    beyond = [make(server), make(server, models=["limited-b"]), make(server, models=["limited-a", "limited-b"])]
    own = make(server, models=["limited-a"])
    with asking(server, own) as http:
        for made in beyond:
            path = f"{KEYS}/{made['id']}"
            requests = (("GET", path, None), ("DELETE", path, None), ("POST", f"{path}/rotate", {}))
            assert refusals(http, *requests) == {}
            assert server.http.get(path).json()["revoked_at"] is None
        listed, cursor = [], ""
        while cursor is not None:
            page = http.get(KEYS, params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
            assert len(page["items"]) <= 2
            listed += page["items"]
            cursor = page["next"]
        assert {tuple(item["models"]) for item in listed} == {(models[0],)}
        assert {made["id"] for made in (*within, own)} <= {item["id"] for item in listed}
        assert http.get(f"{KEYS}/{within[0]['id']}").status_code == 200
        assert http.post(f"{KEYS}/{within[0]['id']}/rotate", json={}).status_code == 201
        assert http.delete(f"{KEYS}/{within[1]['id']}").status_code == 204
        made = http.post(KEYS, json={"name": "made by it"})
        assert (made.status_code, made.json()["models"]) == (201, [models[0]])


@pytest.mark.parametrize("limits", [{"predict_rate": "5/day"}, {"monthly_quota": 5}])
def test_a_key_with_a_rate_or_a_quota_gives_no_more_than_it_allows(server: Client, limits: dict[str, Any]) -> None:
    who, free = person(server), make(server)
    limited = make(server, **limits)
    with asking(server, limited) as http:
        keys = [
            ("POST", KEYS, {"name": "another"}),
            ("POST", KEYS, {"name": "another", **limits}),
            ("POST", f"{KEYS}/{free['id']}/rotate", {}),
            ("POST", f"{KEYS}/{limited['id']}/rotate", {}),
        ]
        assert refusals(http, *writes(who.id), *keys) == {}
        assert http.get(KEYS).status_code == 200
        assert http.get("/api/v1/audit").status_code == 200


def test_a_key_that_expires_gives_no_power_that_does_not(server: Client) -> None:
    who = person(server)
    other = server.http.post(USERS, json={"email": new_email(), "password": PASSWORD, "role": "admin"}).json()
    with asking(server, make(server, expires_at=(datetime.now(UTC) + timedelta(hours=1)).isoformat())) as http:
        lasting = [
            ("POST", USERS, {"email": new_email(), "password": PASSWORD, "role": "admin"}),
            ("PATCH", f"{USERS}/{who.id}", {"role": "admin"}),
            ("POST", f"{USERS}/admin/password", None),
            ("POST", f"{USERS}/{other['id']}/password", {"password": PASSWORD}),
            ("POST", KEYS, {"name": "longer", "expires_in_days": 1}),
        ]
        assert refusals(http, *lasting) == {}
        assert http.post(f"{USERS}/{other['id']}/disable").status_code == 200
        assert http.post(f"{USERS}/{other['id']}/enable").status_code == 403
        assert http.post(USERS, json={"email": new_email(), "password": PASSWORD}).status_code == 201
        assert http.post(f"{USERS}/{who.id}/password").status_code == 200
        assert http.patch(f"{USERS}/{other['id']}", json={"role": "user"}).status_code == 200
        assert http.post(f"{USERS}/{other['id']}/enable").status_code == 200
        made = http.post(KEYS, json={"name": "as long"}).json()
    assert datetime.fromisoformat(made["expires_at"]) < datetime.now(UTC) + timedelta(hours=1)
    assert server.http.patch(f"{USERS}/{who.id}", json={"role": "admin"}).status_code == 200
    assert server.http.patch(f"{USERS}/{who.id}", json={"role": "user"}).status_code == 200
