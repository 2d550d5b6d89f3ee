"""Every route asked by every kind of caller: who is let in, who is told no, and for whom the thing does not exist."""

import pickle
import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import httpx2
import pytest
from sklearn.datasets import load_iris
from sklearn.tree import DecisionTreeClassifier

from serval.auth.caller import SCOPES
from serval.auth.permissions import ADMINISTRATE, ROUTE_RULES, RouteRule
from support import plain_http
from support.http_client import Client
from support.users import Person, key_of, person
from support.waiting import wait_until

IRIS = load_iris()
TREE = pickle.dumps(DecisionTreeClassifier(random_state=0).fit(IRIS.data, IRIS.target))
ROW = [5.1, 3.5, 1.4, 0.2]


class Things(NamedTuple):
    """What a user has, for paths to name."""

    model: str
    number: int
    prediction_id: str
    key_id: str
    share_id: str
    owner: str
    user: str
    file_path: str = "page.css"


class Scene(NamedTuple):
    server: Client
    ada: Person
    things: Things
    callers: Mapping[str, dict[str, str]]
    """The headers that each kind of caller sends."""


BODIES: Mapping[str, dict[str, Any]] = {
    "POST /predict": {"json": {"model_name": "{owner}/tree", "features": ROW}},
    "POST /api/v1/predict/{model}": {"json": {"input": ROW}},
    "POST /api/v1/predict/{owner}/{model}": {"json": {"input": ROW}},
    "POST /api/v1/models/upload": {"data": {"name": "other"}, "files": {"file": ("a.pkl", b"no model")}},
    "POST /api/v1/storage/validate": {"files": {"file": ("a.pkl", b"no model")}},
    "PATCH /api/v1/models/{model}": {"json": {"description": "changed"}},
    "PATCH /api/v1/models/{model}/versions/{number}": {"json": {"columns": ["a", "b", "c", "d"]}},
    "PUT /api/v1/models/{model}/shares": {"json": {"user": "nobody-at-all", "permission": "predict"}},
    "POST /api/v1/api-keys": {"json": {"name": "another"}},
    "POST /api/v1/auth/register": {"json": {}},
    "POST /api/v1/auth/login": {"json": {}},
    "POST /api/v1/auth/refresh": {"json": {"refresh_token": "none"}},
    "POST /api/v1/auth/logout": {"json": {"refresh_token": "none"}},
    "PATCH /api/v1/users/me": {"json": {"full_name": "Ada"}},
    "POST /api/v1/users/me/password": {"json": {"current_password": "wrong", "new_password": "wrong as well"}},
    "POST /api/v1/users": {"json": {"email": "nobody"}},
    "PATCH /api/v1/users/{user}": {"json": {"full_name": "Somebody"}},
}
"""What a request sends, where it sends anything; some of it wrong on purpose, so that being let in changes nothing."""

LAST = (
    "POST /api/v1/api-keys/{key_id}/rotate",
    "DELETE /api/v1/models/{model}/shares/{share_id}",
    "DELETE /api/v1/api-keys/{key_id}",
    "DELETE /api/v1/models/{model}",
)
"""Routes after which what they name is not what it was."""
OF_ITS_OWNER = "POST /api/v1/api-keys/{key_id}/rotate"
"""What no administrator may do for another: it shows a key."""
ROUTES = [*(route for route in ROUTE_RULES if route not in LAST), *LAST]
KEYED = ["key without the scope", "key for another model", "expired key", "revoked key", "rotated key", "made-up key"]


@pytest.fixture(scope="module")
def scene(server: Client) -> Scene:
    ada, bob = person(server), person(server)
    uploaded = plain_http.post(
        f"{server.url}/api/v1/models/upload", files={"file": ("tree.pkl", TREE)}, data={"name": "tree"},
        headers={**ada.bearer, "Prefer": "wait=120"}, timeout=150,
    )  # fmt: skip
    assert uploaded.status_code == 201, uploaded.text
    model = uploaded.json()["model_id"]
    things = Things(
        model=model,
        number=1,
        prediction_id=predicted(server, ada, model),
        key_id=made(server, ada.bearer, "api-keys", {"name": "named in paths"})["id"],
        share_id=shared(server, ada.bearer, model),
        owner=ada.username,
        user=ada.username,
    )
    callers = {
        "nobody": {},
        "user": key(server, ada, scopes=list(SCOPES)),
        "another user": bob.bearer,
        "administrator": {"X-API-Key": server.key},
        **{f"key without {scope}": key(server, ada, scopes=[s for s in SCOPES if s != scope]) for scope in SCOPES},
        "key for another model": key(server, ada, scopes=list(SCOPES), models=[other_model(server, ada)]),
        "expired key": expired_key(server, ada),
        "revoked key": revoked_key(server, ada),
        "rotated key": rotated_key(server, ada),
        "made-up key": {"X-API-Key": "srv_" + "A" * 51},
    }
    return Scene(server, ada, things, callers)


def made(server: Client, who: dict[str, str], path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = plain_http.post(f"{server.url}/api/v1/{path}", json=body, headers=who)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def key(server: Client, who: Person, **more: Any) -> dict[str, str]:
    return {"X-API-Key": key_of(server, who, **more)}


def expired_key(server: Client, who: Person) -> dict[str, str]:
    soon = datetime.now(UTC) + timedelta(seconds=0.5)
    headers = key(server, who, scopes=list(SCOPES), expires_at=soon.isoformat())
    while datetime.now(UTC) <= soon:
        time.sleep(0.05)
    return headers


def revoked_key(server: Client, who: Person) -> dict[str, str]:
    revoked = made(server, who.bearer, "api-keys", {"name": "revoked", "scopes": list(SCOPES)})
    assert plain_http.delete(f"{server.url}/api/v1/api-keys/{revoked['id']}", headers=who.bearer).status_code == 204
    return {"X-API-Key": revoked["key"]}


def rotated_key(server: Client, who: Person) -> dict[str, str]:
    old = made(server, who.bearer, "api-keys", {"name": "rotated", "scopes": list(SCOPES)})
    made(server, who.bearer, f"api-keys/{old['id']}/rotate", {"overlap_seconds": 0})
    return {"X-API-Key": old["key"]}


def other_model(server: Client, who: Person) -> str:
    answer = plain_http.post(
        f"{server.url}/api/v1/models/upload", files={"file": ("tree.pkl", TREE)}, data={"name": "another"},
        headers={**who.bearer, "Prefer": "wait=120"}, timeout=150,
    )  # fmt: skip
    return str(answer.json()["model_id"])


def shared(server: Client, who: dict[str, str], model: str) -> str:
    friend = person(server)
    answer = plain_http.put(
        f"{server.url}/api/v1/models/{model}/shares",
        json={"user": friend.username, "permission": "predict"},
        headers=who,
    )
    assert answer.status_code in {200, 201}, answer.text
    return str(answer.json()["id"])


def predicted(server: Client, who: Person, model: str) -> str:
    """The id of a prediction, when the history has it."""
    assert (
        plain_http.post(f"{server.url}/api/v1/predict/{model}", json={"input": ROW}, headers=who.bearer).status_code
        == 200
    )
    items = wait_until(lambda: plain_http.get(f"{server.url}/api/v1/predictions", headers=who.bearer).json()["items"])
    return str(items[0]["id"])


def ask(scene: Scene, route: str, caller: str) -> httpx2.Response:
    method, path = route.split(" ")
    body = {name: filled(value, scene.things) for name, value in BODIES.get(route, {}).items()}
    path = path.replace("{owner}/{model}", "{owner}/tree").format(**scene.things._asdict())
    with plain_http.client(base_url=scene.server.url, timeout=60) as http:
        return http.request(method, path, headers=scene.callers[caller], **body)


def filled(value: Any, things: Things) -> Any:
    if isinstance(value, dict):
        return {name: filled(part, things) for name, part in value.items()}
    return value.replace("{owner}", things.owner) if isinstance(value, str) else value


def lacking(permission: RouteRule) -> str | None:
    """The kind of key that is not for a route."""
    return None if permission.scope is None else f"key without {permission.scope}"


def test_the_table_of_permissions_has_every_route(scene: Scene) -> None:
    assert sorted(ROUTES) == sorted(ROUTE_RULES)
    for route in ROUTES:
        route.split(" ")[1].format(**scene.things._asdict())


@pytest.mark.parametrize("route", ROUTES)
def test_routes_that_are_not_public_need_a_credential(scene: Scene, route: str) -> None:
    is_public = ROUTE_RULES[route].is_public
    for caller in ("nobody", "expired key", "revoked key", "rotated key", "made-up key"):
        answer = ask(scene, route, caller)
        if is_public:
            assert answer.status_code not in {403, 404, 500}, (caller, answer.text)
        else:
            assert answer.status_code == 401, (caller, answer.text)
            assert answer.headers["www-authenticate"]


@pytest.mark.parametrize("route", [route for route, permission in ROUTE_RULES.items() if permission.scope])
def test_a_key_without_the_scope_is_refused_with_its_name(scene: Scene, route: str) -> None:
    permission = ROUTE_RULES[route]
    answer = ask(scene, route, f"key without {permission.scope}")
    assert answer.status_code == 403, answer.text
    assert answer.json()["code"] == "not_permitted"
    assert str(permission.scope) in answer.json()["detail"]


@pytest.mark.parametrize("route", [route for route, permission in ROUTE_RULES.items() if permission == ADMINISTRATE])
def test_users_are_refused_by_routes_for_administrators(scene: Scene, route: str) -> None:
    for caller in ("user", "another user"):
        assert ask(scene, route, caller).status_code == 403, caller


THINGS = [
    route
    for route in ROUTES
    if "{" in route and ROUTE_RULES[route] != ADMINISTRATE and not ROUTE_RULES[route].is_public
] + ["POST /predict"]  # fmt: skip


@pytest.mark.parametrize("route", THINGS)
def test_resources_of_another_user_are_not_found(scene: Scene, route: str) -> None:
    answer = ask(scene, route, "another user")
    assert answer.status_code == 404, answer.text
    assert scene.ada.id not in answer.text


@pytest.mark.parametrize("route", [route for route in THINGS if "{model}" in route or route == "POST /predict"])
def test_a_key_for_another_model_is_refused(scene: Scene, route: str) -> None:
    answer = ask(scene, route, "key for another model")
    assert answer.status_code == 403, answer.text


@pytest.mark.parametrize(
    "route",
    [route for route in ROUTES if route.startswith("GET") and "{" not in route and not ROUTE_RULES[route].is_public],
)
def test_lists_omit_resources_of_other_users(scene: Scene, route: str) -> None:
    answer = ask(scene, route, "another user")
    assert answer.status_code == (403 if ROUTE_RULES[route] == ADMINISTRATE else 200), answer.text
    for mine in (scene.ada.id, scene.ada.username, scene.ada.email, scene.things.model, scene.things.key_id):
        assert mine not in answer.text


@pytest.mark.parametrize("route", ROUTES)
def test_owners_and_administrators_are_admitted(scene: Scene, route: str) -> None:
    for caller in ("user", "administrator"):
        if (caller == "user" and ROUTE_RULES[route] == ADMINISTRATE) or (
            caller == "administrator" and route == OF_ITS_OWNER
        ):
            continue
        if route in LAST:
            scene = scene._replace(things=fresh(scene))
        answer = ask(scene, route, caller)
        assert answer.status_code not in {403, 500}, (caller, answer.text)
        assert answer.status_code != 401 or ROUTE_RULES[route].is_public, (caller, answer.text)
        assert answer.status_code != 404 or route == "PUT /api/v1/models/{model}/shares", (caller, answer.text)
        if route == "DELETE /api/v1/models/{model}":
            scene.server.http.post(f"/api/v1/models/{scene.things.model}/restore")
        if route == "POST /api/v1/users/{user}/disable":
            scene.server.http.post(f"/api/v1/users/{scene.things.user}/enable")


def fresh(scene: Scene) -> Things:
    """The same model with another key and another share to name."""
    owner = scene.callers["user"]
    key_id = made(scene.server, owner, "api-keys", {"name": f"another {secrets.token_hex(4)}"})["id"]
    return scene.things._replace(key_id=key_id, share_id=shared(scene.server, owner, scene.things.model))
