"""Access to another user's model: by share, by role, by key."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import httpx2
import pytest
from sqlalchemy import delete, select

from serval.audit.tables import AuditEntry
from serval.db.engine import Database
from serval.ids import new_id
from serval.models.tables import Version
from serval.settings.settings import Settings
from support.http_client import Client
from support.replicas import ROW, constant
from support.stored_users import Person, add_key, add_person, on_database
from support.waiting import wait_until

Headers = Mapping[str, str]


class People(NamedTuple):
    """Users by what they may do with `served`, a model of the first."""

    owner: Person
    manager: Person
    predictor: Person
    stranger: Person
    admin: Person


@pytest.fixture(scope="module")
def people(server: Client, backend: dict[str, str]) -> People:
    added = [add_person(server, backend, name) for name in ("owner", "manager", "predictor", "stranger")]
    return People(*added, add_person(server, backend, "root", "admin"))


@pytest.fixture(scope="module")
def served(server: Client, people: People) -> str:
    """The id of a model of three versions, the last of them live, that is shared with the manager and the predictor."""
    for number in (1, 2, 3):
        answer = upload(server, people.owner, "served", number)
        assert answer.status_code == 201, answer.text
    model_id: str = answer.json()["model_id"]
    for person, permission in ((people.manager, "manage"), (people.predictor, "predict")):
        assert share(server, people.owner, model_id, user=person.name, permission=permission).status_code == 201
    return model_id


def upload(client: Client, person: Person, name: str, answer: int, headers: Headers | None = None) -> httpx2.Response:
    files = {"file": ("model.pkl", constant(answer))}
    asked = {**(headers or person.headers), "Prefer": "wait=120"}
    return client.http.post("/api/v1/models/upload", files=files, data={"name": name}, headers=asked)


def share(client: Client, person: Person, model: str, **body: Any) -> httpx2.Response:
    return client.http.put(f"/api/v1/models/{model}/shares", json=body, headers=person.headers)


@contextmanager
def shared(client: Client, owner: Person, model: str, **body: Any) -> Iterator[str]:
    """A share for as long as the block lasts; its id."""
    made = share(client, owner, model, **body)
    assert made.status_code == 201, made.text
    try:
        yield made.json()["id"]
    finally:
        assert (
            client.http.delete(f"/api/v1/models/{model}/shares/{made.json()['id']}", headers=owner.headers).status_code
            == 204
        )


def ask(client: Client, person: Person, model: str, **headers: str) -> httpx2.Response:
    return client.predict(model, ROW, headers={**person.headers, **headers})


NOBODY = "usr_01M7XEX9B0A1C2D3E4F5G6H7J8"

ACTS = [
    ("GET ", "predict", None),
    ("GET /versions", "predict", None),
    ("GET /versions/1", "predict", None),
    ("GET /versions/1/report", "predict", None),
    ("POST /test", "predict", None),
    ("POST /test?version=1", "manage", None),
    ("GET /versions/3/golden", "manage", None),
    ("GET /versions/1/download", "manage", None),
    ("GET /shares", "manage", None),
    ("PATCH ", "manage", {"description": "changed"}),
    ("PATCH ", "manage", {"cache": "l1"}),
    ("PATCH /versions/1", "manage", {}),
    ("POST /versions/2/promote", "manage", None),
    ("POST /rollback", "manage", None),
    ("POST /versions/1/deprecate", "manage", None),
    ("POST /versions/1/archive", "manage", None),
    ("PUT /shares", "own", {"everybody": True, "permission": "predict"}),
    ("DELETE /shares/everybody", "own", None),
    ("DELETE ", "own", None),
    ("POST /restore", "own", None),
]
"""What can be done with a model, what it takes, and its body."""

RANKS = {"predict": 0, "manage": 1, "own": 2}
MAY = {"stranger": -1, "predictor": 0, "manager": 1, "owner": 2, "admin": 2}


@pytest.mark.parametrize(
    ("act", "needs", "body"), ACTS, ids=[f"{act}{next(iter(body or {}), '')}" for act, _, body in ACTS]
)
def test_a_share_permits_what_it_gives_and_no_more(
    server: Client, people: People, served: str, act: str, needs: str, body: dict[str, Any] | None
) -> None:
    for role, rank in MAY.items():
        person: Person = getattr(people, role)
        answer = do(server, people, served, person, act, body)
        if rank < 0:
            assert (answer.status_code, answer.json()["detail"]) == (404, f"There is no model `{served}`."), role
        elif rank < RANKS[needs]:
            assert (answer.status_code, answer.json()["code"]) == (403, "not_permitted"), role
            missing = "only its owner and administrators" if needs == "own" else f"takes `{needs}`"
            assert missing in answer.json()["detail"]
            assert f"`{people.owner.name}/served`" in answer.json()["detail"]
        else:
            assert answer.is_success, (role, answer.text)
            undo(server, people, served, act)


def do(
    client: Client, people: People, model: str, person: Person, act: str, body: dict[str, Any] | None
) -> httpx2.Response:
    method, _, path = act.partition(" ")
    if act == "DELETE /shares/everybody":
        made = share(client, people.owner, model, everybody=True, permission="predict")
        path = f"/shares/{made.json()['id']}"
        if person is people.stranger:  # for whom this one would let the model exist
            assert client.http.delete(f"/api/v1/models/{model}{path}", headers=people.owner.headers).status_code == 204
    return client.http.request(method, f"/api/v1/models/{model}{path}", headers=person.headers, json=body)


def undo(client: Client, people: People, model: str, act: str) -> None:
    """Put back what would keep the next one from doing the same."""
    if act == "DELETE ":
        assert client.http.post(f"/api/v1/models/{model}/restore", headers=people.owner.headers).status_code == 200
    if act == "PUT /shares":
        unshare_everybody(client, people, model)
    if act == "POST /versions/2/promote":
        assert (
            client.http.post(f"/api/v1/models/{model}/versions/3/promote", headers=people.owner.headers).status_code
            == 200
        )


def unshare_everybody(client: Client, people: People, model: str) -> None:
    for made in client.http.get(f"/api/v1/models/{model}/shares", headers=people.owner.headers).json()["items"]:
        if made["everybody"]:
            assert (
                client.http.delete(
                    f"/api/v1/models/{model}/shares/{made['id']}", headers=people.owner.headers
                ).status_code
                == 204
            )


def test_a_shared_model_predicts_by_its_id_and_by_owner_and_name_on_both_routes(
    server: Client, people: People, served: str
) -> None:
    full_name = f"{people.owner.name}/served"
    for person, expected in (
        (people.owner, 200),
        (people.manager, 200),
        (people.predictor, 200),
        (people.admin, 200),
        (people.stranger, 404),
    ):
        for reference in (served, full_name):
            short = server.http.post(
                "/predict", json={"model_name": reference, "features": ROW["input"]}, headers=person.headers
            )
            assert (short.status_code, ask(server, person, reference).status_code) == (expected, expected), (
                person.name,
                reference,
            )
    bare = ask(server, people.predictor, "served")  # is among one's own
    short = server.http.post("/predict", json={"model_name": "served", **ROW}, headers=people.predictor.headers)
    told = f"You have no model `served` of your own, but may use `{full_name}` (`{served}`)."
    assert [(answer.status_code, answer.json()["detail"]) for answer in (bare, short)] == [(404, told)] * 2
    assert full_name not in ask(server, people.stranger, "served").text


def test_a_shared_model_is_listed_with_the_access_of_the_caller(server: Client, people: People, served: str) -> None:
    for role, access in (
        ("owner", "own"),
        ("manager", "manage"),
        ("predictor", "predict"),
        ("admin", "own"),
        ("stranger", None),
    ):
        headers = getattr(people, role).headers
        listed = server.http.get("/api/v1/models", headers=headers).json()["items"]
        assert {model["id"]: model["access"] for model in listed}.get(served) == access
        short = [
            (model["owner"], model["name"]) for model in server.http.get("/models", headers=headers).json()["models"]
        ]
        assert ((people.owner.name, "served") in short) == (access is not None)


def test_a_version_has_the_predict_url_that_works_for_the_caller(server: Client, people: People, served: str) -> None:
    live = server.http.get(f"/api/v1/models/{served}", headers=people.owner.headers).json()["live_version"]
    for person, name in (
        (people.owner, "served"),
        (people.predictor, f"{people.owner.name}/served"),
        (people.admin, f"{people.owner.name}/served"),
    ):
        for number in (2, live):
            version = server.http.get(f"/api/v1/models/{served}/versions/{number}", headers=person.headers).json()
            assert version["predict_url"].removeprefix(server.url).partition("?")[0] == f"/api/v1/predict/{name}"
            assert version["predict_url"] in version["curl"]
            assert (
                server.http.post(version["predict_url"], json=version["example"], headers=person.headers).status_code
                == 200
            )


def test_only_those_who_manage_a_model_read_why_a_version_failed(server: Client, people: People, served: str) -> None:
    files = {"file": ("model.pkl", b"this is no model")}
    failed = server.http.post(
        "/api/v1/models/upload", files=files, data={"name": "served"}, headers=people.owner.headers
    )
    assert failed.status_code == 422
    number, failure = failed.json()["version"]["version"], failed.json()["version"]["failure"]
    for person, expected in (
        (people.manager, failure["message"]),
        (people.predictor, "Those who manage the model can see why."),
    ):
        for path in ("", "/report"):
            shown = server.http.get(f"/api/v1/models/{served}/versions/{number}{path}", headers=person.headers).json()
            assert (shown["status"], shown["failure"]) == ("failed", {"code": failure["code"], "message": expected})


def test_a_manager_of_a_shared_model_uploads_its_next_version_and_other_users_cannot(
    server: Client, people: People, served: str
) -> None:
    name = f"{people.owner.name}/served"
    answer = upload(server, people.manager, name, 3)
    assert (answer.status_code, answer.json()["model_id"], answer.json()["is_live"]) == (201, served, True), answer.text
    kept = stored(server)
    refused = upload(server, people.predictor, name, 3)
    assert (refused.status_code, refused.json()["code"]) == (403, "not_permitted")
    for reference in (name, f"{people.owner.name}/unheard-of"):
        unseen = upload(server, people.stranger, reference, 3)
        assert (unseen.status_code, unseen.json()["detail"]) == (404, f"There is no model `{reference}`.")
    assert stored(server) == kept
    versions = server.http.get(f"/api/v1/models/{served}/versions", headers=people.owner.headers).json()["items"]
    assert versions[0]["version"] == answer.json()["version"], "what was refused left a version"
    assert (
        upload(server, people.owner, name, 3).json()["version"] == answer.json()["version"] + 1
    )  # one's own, by its full name


def stored(client: Client) -> set[str]:
    """The folders of model files."""
    return {folder.name for folder in (client.folder / "models").iterdir()}


def test_pending_uploads_of_a_manager_count_towards_the_limit_of_the_owner(
    server: Client, backend: dict[str, str], people: People
) -> None:
    owner = add_person(server, backend, "busy")
    first = upload(server, owner, "busy", 1).json()
    assert share(server, owner, first["model_id"], user=people.manager.name, permission="manage").status_code == 201

    async def pretend(database: Database) -> None:
        """Store as many pending uploads as are allowed."""
        async with database.write() as session:
            session.add_all(
                pending(first["model_id"], number) for number in range(1001, 1001 + Settings().max_pending_uploads)
            )

    async def forget(database: Database) -> None:
        async with database.write() as session:
            await session.execute(
                delete(Version).where(Version.model_id == first["model_id"], Version.status == "pending")
            )

    on_database(server, backend, pretend)
    kept = stored(server)
    refused = upload(server, people.manager, f"{owner.name}/busy", 2)
    assert (refused.status_code, owner.name in refused.json()["detail"], stored(server)) == (429, True, kept)
    on_database(server, backend, forget)
    assert upload(server, people.manager, f"{owner.name}/busy", 2).json()["version"] == 2


def pending(model_id: str, number: int) -> Version:
    return Version(
        id=new_id("ver"), model_id=model_id, number=number, status="pending", lifecycle="active", filename="model.pkl",
        source_bytes=1, source_sha256="", request={}, attempts=0,
    )  # fmt: skip


def test_a_public_model_predicts_for_all_users_and_shares_its_cache_among_them(
    server: Client, people: People, served: str
) -> None:
    body = {"input": [0.25]}
    assert share(server, people.owner, served, everybody=True, permission="manage").status_code == 400
    with shared(server, people.owner, served, everybody=True, permission="predict"):
        listed = server.http.get("/api/v1/models", headers=people.stranger.headers).json()["items"]
        assert [model["access"] for model in listed if model["id"] == served] == ["predict"]
        hits = [
            server.predict(served, body, headers=person.headers).json()["cache_hit"]
            for person in (people.stranger, people.predictor)
        ]
        assert hits == [False, True]
        assert (
            server.http.get(f"/api/v1/models/{served}/versions/2/download", headers=people.stranger.headers).status_code
            == 403
        )
        assert (
            server.http.get(f"/api/v1/models/{served}/versions/2/download", headers=people.manager.headers).status_code
            == 200
        )
    assert ask(server, people.stranger, served).status_code == 404
    assert server.http.get(f"/api/v1/models/{served}", headers=people.stranger.headers).status_code == 404


def test_users_of_a_shared_model_share_no_cached_answers(server: Client, people: People, served: str) -> None:
    body = {"input": [0.75]}
    asked = [people.owner, people.owner, people.predictor, people.predictor]
    assert [server.predict(served, body, headers=person.headers).json()["cache_hit"] for person in asked] == [
        False,
        True,
        False,
        True,
    ]


def test_a_share_is_created_changed_listed_and_deleted(server: Client, people: People, served: str) -> None:
    made = share(server, people.owner, served, user=people.stranger.id, permission="predict")
    assert made.status_code == 201
    expected = {
        "user": people.stranger.name,
        "user_id": people.stranger.id,
        "everybody": False,
        "permission": "predict",
    }
    assert expected.items() <= made.json().items()
    changed = share(server, people.owner, served, user=people.stranger.name, permission="manage")
    assert (changed.status_code, changed.json()) == (200, {**made.json(), "permission": "manage"})
    assert server.http.get(f"/api/v1/models/{served}", headers=people.stranger.headers).json()["access"] == "manage"
    listed = server.http.get(f"/api/v1/models/{served}/shares", headers=people.manager.headers).json()["items"]
    assert [item for item in listed if item["user"] == people.stranger.name] == [changed.json()]
    path = f"/api/v1/models/{served}/shares/{made.json()['id']}"
    assert server.http.delete(path, headers=people.owner.headers).status_code == 204
    again = server.http.delete(path, headers=people.owner.headers)
    assert (again.status_code, made.json()["id"] in again.json()["detail"]) == (404, True)
    assert server.http.get(f"/api/v1/models/{served}", headers=people.stranger.headers).status_code == 404


def test_a_share_of_one_model_cannot_be_deleted_through_another(server: Client, people: People, served: str) -> None:
    own = upload(server, people.stranger, "own-model", 1).json()["model_id"]
    shares = server.http.get(f"/api/v1/models/{served}/shares", headers=people.owner.headers).json()["items"]
    assert (
        server.http.delete(
            f"/api/v1/models/{own}/shares/{shares[0]['id']}", headers=people.stranger.headers
        ).status_code
        == 404
    )
    assert server.http.get(f"/api/v1/models/{served}/shares", headers=people.owner.headers).json()["items"] == shares


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"permission": "predict"}, 400, "Say with whom"),
        ({"user": "somebody", "everybody": True, "permission": "predict"}, 400, "Say with whom"),
        ({"user": "somebody"}, 400, "permission"),
        ({"user": "somebody", "permission": "own"}, 400, "permission"),
        ({"user": 5, "permission": "predict"}, 400, "user"),
        ({"user": "", "permission": "predict"}, 400, "user"),
        ({"user": "x" * 255, "permission": "predict"}, 400, "user"),
        ({"user": "a\x00b", "permission": "predict"}, 400, "user"),
        ({"user": "somebody", "permission": "predict", "more": 1}, 400, "more"),
        ({"user": "' OR '1'='1", "permission": "predict"}, 404, "There is no user `' OR '1'='1`"),
        ({"user": NOBODY, "permission": "predict"}, 404, f"There is no user `{NOBODY}`"),
        ({"user": "usr_%", "permission": "manage"}, 404, "There is no user `usr_%`"),
    ],
)
def test_an_invalid_share_is_refused(
    server: Client, people: People, served: str, body: dict[str, Any], status: int, said: str
) -> None:
    answer = share(server, people.owner, served, **body)
    assert (answer.status_code, said in answer.text) == (status, True), answer.text


def test_a_model_cannot_be_shared_with_its_owner(server: Client, people: People, served: str) -> None:
    for sharer in (people.owner, people.admin):
        answer = share(server, sharer, served, user=people.owner.name, permission="predict")
        assert (answer.status_code, people.owner.name in answer.json()["detail"]) == (400, True)


def test_the_end_of_a_share_ends_cached_predictions_too(server: Client, people: People, served: str) -> None:
    with shared(server, people.owner, served, user=people.stranger.name, permission="predict"):
        warm = [ask(server, people.stranger, served) for _ in range(3)]
        assert [answer.status_code for answer in warm] == [200, 200, 200]
        assert warm[-1].headers["x-cache"] == "l1"
    assert ask(server, people.stranger, served).status_code == 404


def test_a_deleted_model_is_gone_for_users_it_is_shared_with_until_it_is_restored(
    server: Client, people: People, served: str
) -> None:
    owner, predictor = people.owner, people.predictor
    assert server.http.delete(f"/api/v1/models/{served}", headers=owner.headers).status_code == 204
    for person in (predictor, people.manager):
        assert ask(server, person, served).status_code == 404
        assert server.http.get(f"/api/v1/models/{served}", headers=person.headers).status_code == 404
        assert server.http.post(f"/api/v1/models/{served}/restore", headers=person.headers).status_code == 404
        assert served not in server.http.get("/api/v1/models", headers=person.headers).text
        assert served not in server.http.get("/api/v1/models?deleted=true", headers=person.headers).text
    for person in (owner, people.admin):
        assert served in server.http.get("/api/v1/models?deleted=true", headers=person.headers).text
    assert server.http.post(f"/api/v1/models/{served}/restore", headers=owner.headers).json()["access"] == "own"
    assert ask(server, predictor, served).status_code == 200


@pytest.fixture(scope="module")
def other_model(server: Client, people: People) -> str:
    """Another model of the owner."""
    return str(upload(server, people.owner, "other", 1).json()["model_id"])


@pytest.fixture(scope="module")
def limited_key(server: Client, backend: dict[str, str], people: People, served: str) -> Headers:
    return add_key(server, backend, people.owner.id, [served])


def test_a_key_for_one_model_lists_shows_and_predicts_with_that_model_only(
    server: Client, people: People, served: str, other_model: str, limited_key: Headers
) -> None:
    assert [model["id"] for model in server.http.get("/api/v1/models", headers=limited_key).json()["items"]] == [served]
    assert [model["name"] for model in server.http.get("/models", headers=limited_key).json()["models"]] == ["served"]
    assert server.http.get(f"/api/v1/models/{served}", headers=limited_key).status_code == 200
    for reference in (other_model, "other", f"{people.owner.name}/other"):
        assert server.predict(reference, ROW, headers=limited_key).status_code == 403
    assert server.predict("served", ROW, headers=limited_key).status_code == 200


@pytest.mark.parametrize(
    "act", ["GET ", "GET /versions/1/download", "DELETE ", "POST /restore", "GET /shares", "POST /test"]
)
def test_a_key_for_one_model_is_refused_other_models_of_its_user(
    server: Client, people: People, other_model: str, limited_key: Headers, act: str
) -> None:
    method, _, path = act.partition(" ")
    answer = server.http.request(method, f"/api/v1/models/{other_model}{path}", headers=limited_key)
    assert (answer.status_code, f"not for the model `{people.owner.name}/other`" in answer.text) == (403, True), (
        answer.text
    )


def test_a_model_that_does_not_exist_for_a_user_does_not_exist_for_their_limited_key(
    server: Client, people: People, limited_key: Headers
) -> None:
    hidden = upload(server, people.stranger, "hidden", 1).json()["model_id"]
    for model in (hidden, new_id("mdl")):
        answer = server.http.get(f"/api/v1/models/{model}", headers=limited_key)
        assert (answer.status_code, answer.json()["detail"]) == (404, f"There is no model `{model}`.")
        assert server.predict(model, ROW, headers=limited_key).status_code == 404


def test_a_key_for_one_model_uploads_versions_of_it_and_no_other_model(
    server: Client, people: People, other_model: str, limited_key: Headers
) -> None:
    assert upload(server, people.owner, "served", 3, limited_key).status_code == 201
    for name in ("other", "brand-new"):
        assert upload(server, people.owner, name, 1, limited_key).status_code == 403
    assert server.http.get("/api/v1/models/brand-new", headers=people.owner.headers).status_code == 404


def test_a_share_gives_no_access_that_the_key_lacks(
    server: Client, backend: dict[str, str], people: People, served: str, other_model: str
) -> None:
    key = add_key(server, backend, people.predictor.id, [other_model])
    assert server.http.get(f"/api/v1/models/{served}", headers=key).status_code == 403
    assert server.predict(served, ROW, headers=key).status_code == 403
    assert server.http.get("/api/v1/models", headers=key).json()["items"] == []


class RecordedAct(NamedTuple):
    """A request about the model of `recorded`, who sends it, and what the audit trail holds of it."""

    request: str
    """Method and path; `{share}`: the id of the share with the predictor."""
    role: str
    action: str
    details: dict[str, Any] | None
    body: dict[str, Any] | None = None
    live: int = 3
    """The version that is live before it; the one before that is its number less one."""


RECORDED_ACTS = [
    RecordedAct(
        "PATCH ", "manager", "model.change", {"fields": ["cache", "description"]}, {"description": "new", "cache": "l1"}
    ),
    RecordedAct(
        "PATCH /versions/4",
        "manager",
        "version.change",
        {"version": 4, "fields": ["columns"]},
        {"columns": ["a"]},
    ),
    RecordedAct("POST /rollback", "manager", "version.rollback", {"version": 2, "before": 3}),
    RecordedAct("POST /versions/3/promote", "manager", "version.promote", {"version": 3, "before": 2}, live=2),
    RecordedAct("POST /versions/1/deprecate", "manager", "version.deprecate", {"version": 1}),
    RecordedAct("POST /versions/4/archive", "admin", "version.archive", {"version": 4}),
    RecordedAct("DELETE /shares/{share}", "owner", "model.unshare", {"permission": "predict"}),
    RecordedAct("DELETE ", "owner", "model.delete", None),
    RecordedAct("POST /restore", "owner", "model.restore", None),
]


class Recorded(NamedTuple):
    """A model of four versions that is shared with the manager: its id, and the uploads of the first two."""

    model: str
    by_owner: dict[str, Any]
    by_manager: dict[str, Any]


@pytest.fixture(scope="module")
def recorded(server: Client, people: People) -> Recorded:
    first = upload(server, people.owner, "recorded", 1).json()
    share(server, people.owner, first["model_id"], user=people.manager.name, permission="manage")
    second = upload(server, people.manager, f"{people.owner.name}/recorded", 2).json()
    for number in (3, 4):
        assert upload(server, people.owner, "recorded", number - 1).status_code == 201
    return Recorded(first["model_id"], first, second)


@pytest.mark.parametrize("act", RECORDED_ACTS, ids=[act.action for act in RECORDED_ACTS])
def test_an_act_is_on_record_with_the_user_who_did_it(
    server: Client, backend: dict[str, str], people: People, recorded: Recorded, act: RecordedAct
) -> None:
    by_owner = partial(request_as, server, people.owner, recorded.model)
    for number in (act.live - 1, act.live):
        assert by_owner(f"POST /versions/{number}/promote").is_success
    shared_with = share(server, people.owner, recorded.model, user=people.predictor.name, permission="predict").json()
    if act.action == "model.restore":
        assert by_owner("DELETE ").is_success
    person: Person = getattr(people, act.role)
    request_id = new_id("req")
    answer = request_as(
        server, person, recorded.model, act.request.format(share=shared_with["id"]), act.body, request_id
    )
    if act.action == "model.delete":
        assert by_owner("POST /restore").is_success
    assert answer.is_success, answer.text
    [entry] = entries_of(server, backend, recorded.model, request_id)
    details = act.details
    if act.action == "model.unshare":
        details = {**(details or {}), "user": people.predictor.name, "user_id": people.predictor.id}
    assert (entry.actor, entry.action, entry.details) == (person.name, act.action, details)
    assert (entry.subject, entry.owner_id) == (f"{people.owner.name}/recorded", people.owner.id)
    assert entry.outcome == "success"


def test_uploads_and_shares_are_on_record_in_their_order(
    server: Client, backend: dict[str, str], people: People, recorded: Recorded
) -> None:
    owner, manager = people.owner, people.manager
    entries = entries_of(server, backend, recorded.model)[:3]
    assert [(entry.actor, entry.action, entry.details) for entry in entries] == [
        (owner.name, "model.upload", uploaded(recorded.by_owner)),
        (owner.name, "model.share", {"user": manager.name, "user_id": manager.id, "permission": "manage"}),
        (manager.name, "model.upload", uploaded(recorded.by_manager)),
    ]
    name = f"{owner.name}/recorded"
    assert {(entry.subject, entry.owner_id, entry.outcome) for entry in entries} == {(name, owner.id, "success")}


def test_an_act_on_a_version_that_does_not_exist_is_not_on_record(
    server: Client, backend: dict[str, str], people: People, recorded: Recorded
) -> None:
    request_id = new_id("req")
    answer = request_as(server, people.manager, recorded.model, "POST /versions/7/promote", None, request_id)
    assert answer.status_code == 404
    assert entries_of(server, backend, recorded.model, request_id) == []


def request_as(
    client: Client, person: Person, model: str, request: str, body: Any = None, request_id: str | None = None
) -> httpx2.Response:
    """Send a request about a model: its method, and its path below that of the model."""
    method, _, path = request.partition(" ")
    headers = {**person.headers, "X-Request-Id": request_id or new_id("req")}
    return client.http.request(method, f"/api/v1/models/{model}{path}", json=body, headers=headers)


def entries_of(client: Client, backend: dict[str, str], model: str, request_id: str | None = None) -> list[AuditEntry]:
    """The audit trail of a model, oldest first; of one request, where it is given."""

    async def entries(database: Database) -> list[AuditEntry]:
        async with database.read() as session:
            query = select(AuditEntry).where(AuditEntry.subject_id == model).order_by(AuditEntry.id)
            if request_id is not None:
                query = query.where(AuditEntry.request_id == request_id)
            return list(await session.scalars(query))

    return on_database(client, backend, entries)


def uploaded(version: dict[str, Any]) -> dict[str, Any]:
    """What is on record of an upload."""
    given = {"version": "version", "sha256": "source_sha256", "bytes": "source_bytes", "filename": "filename"}
    return {name: version[shown] for name, shown in given.items()}


def test_a_past_prediction_is_shown_to_the_managers_of_its_model_and_to_its_caller(
    server: Client, people: People, served: str
) -> None:
    by_predictor, by_manager = (ask(server, person, served).json() for person in (people.predictor, people.manager))
    assert by_predictor["version"] == by_manager["version"]
    for person in (people.owner, people.manager, people.admin):
        assert {people.predictor.id, people.manager.id} <= users_listed(
            server, person, served, {people.predictor.id, people.manager.id}
        )
    assert users_listed(server, people.predictor, served, {people.predictor.id}) == {people.predictor.id}
    assert (
        server.http.get("/api/v1/predictions", params={"model": served}, headers=people.stranger.headers).status_code
        == 404
    )
    [of_manager] = [item for item in listed(server, people.owner, model=served) if item["user"] == people.manager.id][
        :1
    ]
    [of_predictor] = [
        item for item in listed(server, people.owner, model=served) if item["user"] == people.predictor.id
    ][:1]
    items = (of_predictor, of_manager)
    shown_to = {role: [shows(server, getattr(people, role), item["id"]) for item in items] for role in MAY}
    both, none = [200, 200], [404, 404]
    assert shown_to == {"stranger": none, "predictor": [200, 404], "manager": both, "owner": both, "admin": both}


def test_past_predictions_of_all_models_that_a_user_owns_or_manages_are_listed(
    server: Client, people: People, served: str
) -> None:
    ask(server, people.owner, served)
    for person in (people.owner, people.manager):
        assert served in {item["model_id"] for item in listed(server, person)}
    for person in (people.predictor, people.stranger):
        assert served not in {item["model_id"] for item in listed(server, person)}


def test_a_key_for_one_model_lists_past_predictions_of_that_model_only(
    server: Client, backend: dict[str, str], people: People, served: str
) -> None:
    other = upload(server, people.owner, "asked-too", 1).json()["model_id"]
    assert ask(server, people.owner, other).status_code == 200
    users_listed(server, people.owner, other, {people.owner.id})
    key = people.owner._replace(headers=add_key(server, backend, people.owner.id, [served]))
    assert {item["model_id"] for item in listed(server, key)} == {served}
    assert server.http.get("/api/v1/predictions", params={"model": other}, headers=key.headers).status_code == 403
    [item] = listed(server, people.owner, model=other)
    assert shows(server, key, item["id"]) == 403


def listed(client: Client, person: Person, **query: Any) -> list[dict[str, Any]]:
    answer = client.http.get("/api/v1/predictions", params={"limit": 500, **query}, headers=person.headers)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def users_listed(client: Client, person: Person, model: str, expected: set[str]) -> set[str]:
    """The users of the listed predictions of a model, once the expected ones are among them."""

    def users() -> set[str]:
        return {str(item["user"]) for item in listed(client, person, model=model)}

    wait_until(lambda: expected <= users())
    return users()


def shows(client: Client, person: Person, prediction_id: str) -> int:
    return client.http.get(f"/api/v1/predictions/{prediction_id}", headers=person.headers).status_code
