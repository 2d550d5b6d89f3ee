"""API keys over HTTP."""

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from sqlalchemy import Update, select, update

from serval.audit.tables import AuditEntry
from serval.db.engine import Database, now
from serval.ids import new_id
from serval.users.tables import ApiKey, User
from support import plain_http
from support.http_client import Client
from support.replicas import ROW, constant
from support.stored_users import add_person, on_database
from support.users import person
from support.waiting import wait_until

KEYS = "/api/v1/api-keys"
USUAL = ["predict", "models:read", "models:write"]
REVOKED_WITHIN_SECONDS = 1.0
HOSTILE = [
    "'; DROP TABLE api_keys; --",
    "x' OR '1'='1",
    '"; DELETE FROM users; --',
    "%' UNION SELECT digest FROM api_keys --",
    "\\'; SELECT 1",
]

Headers = dict[str, str]


def headers_of(made: dict[str, Any]) -> Headers:
    return {"X-API-Key": made["key"]}


def make(server: Client, headers: Headers | None = None, **options: Any) -> dict[str, Any]:
    answer = server.http.post(KEYS, json={"name": f"test {secrets.token_hex(4)}", **options}, headers=headers)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def refused(server: Client, headers: Headers | None = None, **options: Any) -> tuple[int, str]:
    answer = server.http.post(KEYS, json={"name": f"test {secrets.token_hex(4)}", **options}, headers=headers)
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["detail"]


def shown(server: Client, made: dict[str, Any], headers: Headers | None = None) -> dict[str, Any]:
    answer = server.http.get(f"{KEYS}/{made['id']}", headers=headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture(scope="module")
def models(server: Client) -> tuple[str, str]:
    """Ids of two models, `keyed-a` and `keyed-b`."""
    for name, answer in (("keyed-a", 1), ("keyed-b", 2)):
        assert server.upload(name, constant(answer)).status_code == 201
    return tuple(server.http.get(f"/api/v1/models/{name}").json()["id"] for name in ("keyed-a", "keyed-b"))  # type: ignore[return-value]


@pytest.fixture
def ada(server: Client, backend: dict[str, str]) -> Headers:
    return add_person(server, backend, "ada").headers


@pytest.fixture
def bob(server: Client, backend: dict[str, str]) -> Headers:
    return add_person(server, backend, "bob").headers


def test_a_new_key_has_the_access_of_its_user_and_is_shown_once(server: Client) -> None:
    made = make(server, name="laptop")
    assert made["key"].startswith(made["prefix"])
    assert (made["scopes"], made["models"], made["predict_rate"], made["monthly_quota"], made["expires_at"]) == (
        USUAL,
        None,
        None,
        None,
        None,
    )
    assert server.http.get("/api/v1/models", headers=headers_of(made)).status_code == 200
    listed = server.http.get(KEYS).json()["items"]
    assert [item["name"] for item in listed if item["id"] == made["id"]] == ["laptop"]
    assert shown(server, made) == next(item for item in listed if item["id"] == made["id"])
    assert all("key" not in item and made["key"] not in str(item) for item in listed)


def test_a_revoked_key_stops_at_once_and_revoking_is_idempotent(server: Client) -> None:
    made = make(server, name="old")
    assert server.http.delete(f"{KEYS}/{made['id']}").status_code == 204
    answer = server.http.get("/api/v1/models", headers=headers_of(made))
    assert answer.status_code == 401
    assert answer.json()["code"] == "not_authenticated"
    revoked_at = shown(server, made)["revoked_at"]
    assert server.http.delete(f"{KEYS}/{made['id']}").status_code == 204
    assert shown(server, made)["revoked_at"] == revoked_at


@pytest.mark.parametrize("header", ["", "srv_short", "srv_" + "A" * 51, "Basic abc"])
def test_a_malformed_or_unknown_key_is_401(server: Client, header: str) -> None:
    answer = server.http.get("/api/v1/models", headers={"X-API-Key": header})
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_key_may_be_sent_as_bearer_but_not_twice(server: Client) -> None:
    bearer = {"Authorization": f"Bearer {server.key}"}
    assert plain_http.get(f"{server.url}/api/v1/models", headers=bearer).status_code == 200
    assert server.http.get("/api/v1/models", headers=bearer).status_code == 400


@pytest.mark.parametrize(("method", "path"), [("DELETE", ""), ("GET", ""), ("POST", "/rotate")])
def test_an_unknown_key_id_is_404(server: Client, method: str, path: str) -> None:
    for key_id in ("key_nothing", new_id("key"), *HOSTILE):
        assert server.http.request(method, f"{KEYS}/{quote(key_id, safe='')}{path}").status_code == 404


OPENED_BY = {
    "predict": ("POST", "/api/v1/predict/keyed-a", ROW),
    "models:read": ("GET", "/api/v1/models/keyed-a", None),
    "models:write": ("PATCH", "/api/v1/models/keyed-a", {"description": "changed"}),
    "admin": ("GET", KEYS, None),
}


@pytest.mark.parametrize("scope", OPENED_BY)
def test_a_key_is_limited_to_its_scopes(server: Client, models: tuple[str, str], scope: str) -> None:
    own = headers_of(make(server, scopes=[scope]))
    for other, (method, path, body) in OPENED_BY.items():
        answers = [server.http.request(method, path, json=body, headers=own) for _ in range(2)]
        for answer in answers:  # the second prediction is one of a known caller
            assert answer.status_code == (200 if other == scope else 403), (scope, other, answer.text)
            if other != scope:
                assert answer.json()["code"] == "not_permitted"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": " "}, "`name`"),
        ({"name": "x" * 101}, "name"),
        ({"name": 5}, "name"),
        ({"nam": "x"}, "nam"),
        ({"scopes": []}, "`scopes`"),
        (
            {"scopes": ["predict", "all"]},
            "`all` is no scope; the scopes are `predict`, `models:read`, `models:write`, `admin`",
        ),
        ({"scopes": "predict"}, "scopes"),
        ({"scopes": [None]}, "scopes"),
        ({"scopes": ["predict"] * 1000}, "scopes"),
        ({"models": []}, "models"),
        ({"models": ["keyed-a"] * 1000}, "models"),
        ({"models": "keyed-a"}, "models"),
        ({"models": [{"id": "mdl_1"}]}, "models"),
        ({"expires_in_days": 0}, "expires_in_days"),
        ({"expires_in_days": 36_501}, "expires_in_days"),
        ({"expires_in_days": "5"}, "expires_in_days"),
        ({"expires_in_days": 1.5}, "expires_in_days"),
        ({"expires_in_days": 5, "expires_at": "2100-01-01T00:00:00Z"}, "`expires_in_days` and `expires_at`"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "in the past"),
        ({"expires_at": "9999-01-01T00:00:00Z"}, "36500 days"),
        ({"expires_at": "2100-01-01T00:00:00"}, "expires_at"),
        ({"expires_at": 4102444800}, "expires_at"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"predict_rate": "fast"}, "predict_rate: Expected a rate as `1000/s`"),
        ({"predict_rate": "0/s"}, "predict_rate"),
        ({"predict_rate": "5/year"}, "predict_rate"),
        ({"predict_rate": 5}, "predict_rate"),
        ({"monthly_quota": -1}, "monthly_quota"),
        ({"monthly_quota": 2**60}, "monthly_quota"),
        ({"monthly_quota": "5"}, "monthly_quota"),
        ({"monthly_quota": True}, "monthly_quota"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_invalid_options_of_a_key_are_refused(
    server: Client, models: tuple[str, str], options: dict[str, Any], words: str
) -> None:
    status, detail = refused(server, **options)
    assert status == 400, detail
    assert words in detail


def test_an_oversized_body_is_refused(server: Client) -> None:
    answer = plain_http.post(
        f"{server.url}{KEYS}", json={"name": "test", "models": ["m" * 200] * 1000}, headers={"X-API-Key": server.key}
    )
    assert answer.status_code == 413


def test_a_key_is_limited_to_its_models(server: Client, models: tuple[str, str]) -> None:
    made = make(server, models=["keyed-a", models[0], "admin/keyed-a"])
    assert made["models"] == [models[0]]
    own = headers_of(made)
    assert server.predict("keyed-a", ROW, headers=own).status_code == 200
    for model in ("keyed-b", models[1], "admin/keyed-b"):
        answer = server.predict(model, ROW, headers=own)
        assert (answer.status_code, answer.json()["code"]) == (403, "not_permitted")
    assert server.predict("keyed-c", ROW, headers=own).status_code == 404


def test_a_key_cannot_name_models_that_its_user_cannot_see(
    server: Client, models: tuple[str, str], ada: Headers
) -> None:
    for model in ("keyed-z", models[0], "admin/keyed-a", *HOSTILE):
        assert refused(server, ada, models=[model]) == (404, f"There is no model `{model}`.")


def test_a_key_cannot_create_a_key_with_more_access(server: Client, models: tuple[str, str]) -> None:
    ends = (datetime.now(UTC) + timedelta(days=2)).isoformat()
    maker = headers_of(make(server, scopes=["predict", "admin"], models=["keyed-a"], expires_at=ends))
    for beyond, words in (
        ({"scopes": ["models:write"]}, "`models:write`"),
        ({"scopes": ["predict", "admin", "models:read"]}, "`models:read`"),
        ({"models": ["keyed-b"]}, "not for the model"),
        ({"models": ["keyed-a", "keyed-b"]}, "not for the model"),
        ({"expires_in_days": 3}, "cannot be valid for longer"),
        ({"expires_at": "2100-01-01T00:00:00Z"}, "cannot be valid for longer"),
    ):
        status, detail = refused(server, maker, **beyond)
        assert (status, words in detail) == (403, True), detail
    made = make(server, maker)
    assert (made["scopes"], made["models"]) == (["predict"], [models[0]])
    assert datetime.fromisoformat(made["expires_at"]) == datetime.fromisoformat(ends)
    less = make(server, maker, scopes=["predict"], models=["keyed-a"], expires_in_days=1)
    assert datetime.fromisoformat(less["expires_at"]) < datetime.fromisoformat(ends)
    assert refused(server, headers_of(less))[0] == 403


def test_a_key_with_only_the_admin_scope_must_name_the_scopes_of_new_keys(server: Client) -> None:
    maker = headers_of(make(server, scopes=["admin"]))
    status, detail = refused(server, maker)
    assert (status, "`scopes`" in detail) == (400, True)
    assert make(server, maker, scopes=["admin"])["scopes"] == ["admin"]


def test_a_key_stops_when_it_expires(server: Client, models: tuple[str, str]) -> None:
    """On the path of warm predictions too, to the second."""
    ends = datetime.now(UTC) + timedelta(seconds=2)
    own = headers_of(make(server, expires_at=ends.isoformat()))
    assert last_answer(server, own) < ends
    assert datetime.now(UTC) >= ends
    assert server.http.get("/api/v1/models", headers=own).status_code == 401


def last_answer(server: Client, own: Headers) -> datetime:
    """Predict until the key opens nothing any more; when the last prediction was asked for."""
    last_attempt = datetime.min.replace(tzinfo=UTC)
    while True:
        began = datetime.now(UTC)
        status = server.predict("keyed-a", ROW, headers=own).status_code
        if status != 200:
            assert status == 401
            return last_attempt
        last_attempt = began


@pytest.fixture
def patient(server: Client) -> Iterator[httpx2.Client]:
    with plain_http.client(base_url=server.url, headers={"X-API-Key": server.key}, timeout=30) as client:
        yield client


def test_a_key_in_use_stops_within_a_second_after_revocation(
    server: Client, models: tuple[str, str], patient: httpx2.Client
) -> None:
    made = make(server)
    own = headers_of(made)
    for _ in range(20):
        assert server.predict("keyed-a", ROW, headers=own).status_code == 200
    assert patient.delete(f"{KEYS}/{made['id']}").status_code == 204
    revoked = datetime.now(UTC)
    assert last_answer(server, own) - revoked < timedelta(seconds=REVOKED_WITHIN_SECONDS)


def test_a_rotated_key_works_beside_its_successor_during_the_overlap(server: Client, models: tuple[str, str]) -> None:
    old = make(
        server,
        name="ci",
        scopes=["predict"],
        models=["keyed-a"],
        expires_in_days=30,
        predict_rate="1000/s",
        monthly_quota=500,
    )
    answer = server.http.post(f"{KEYS}/{old['id']}/rotate", json={"overlap_seconds": 60})
    assert answer.status_code == 201
    new = answer.json()
    same = ("name", "scopes", "models", "predict_rate", "monthly_quota")
    assert [new[member] for member in same] == [old[member] for member in same]
    assert new["key"] != old["key"]
    assert new["id"] != old["id"]
    for made in (old, new):
        assert server.predict("keyed-a", ROW, headers=headers_of(made)).status_code == 200
    listed = shown(server, old)
    assert listed["replaced_by"] == new["id"]
    seconds_left = (datetime.fromisoformat(listed["expires_at"]) - datetime.now(UTC)).total_seconds()
    assert 0 < seconds_left <= 60
    spans = [
        datetime.fromisoformat(made["expires_at"]) - datetime.fromisoformat(made["created_at"]) for made in (old, new)
    ]
    assert spans[0] == spans[1] == timedelta(days=30)


def test_without_an_overlap_a_rotated_key_stops_at_once(server: Client, models: tuple[str, str]) -> None:
    old = make(server)
    assert server.predict("keyed-a", ROW, headers=headers_of(old)).status_code == 200
    new = server.http.post(f"{KEYS}/{old['id']}/rotate", json={"overlap_seconds": 0})
    assert new.status_code == 201
    assert server.predict("keyed-a", ROW, headers=headers_of(old)).status_code == 401
    assert server.http.get("/api/v1/models", headers=headers_of(old)).status_code == 401
    assert server.predict("keyed-a", ROW, headers=headers_of(new.json())).status_code == 200


def test_the_default_overlap_is_a_day_within_the_life_of_the_key(server: Client) -> None:
    lasting, ending = make(server), make(server, expires_at=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    for made in (lasting, ending):
        assert server.http.post(f"{KEYS}/{made['id']}/rotate").status_code == 201
    day = datetime.fromisoformat(shown(server, lasting)["expires_at"]) - datetime.now(UTC)
    assert timedelta(hours=23, minutes=59) < day <= timedelta(days=1)
    assert shown(server, ending)["expires_at"] == ending["expires_at"]


def test_an_invalid_or_rotated_key_cannot_be_rotated(server: Client, backend: dict[str, str]) -> None:
    revoked, expired, rotated = make(server), make(server), make(server)
    assert server.http.delete(f"{KEYS}/{revoked['id']}").status_code == 204
    expired_at = update(ApiKey).where(ApiKey.id == expired["id"]).values(expires_at=datetime(2020, 1, 1, tzinfo=UTC))
    on_database(server, backend, lambda database: changed(database, expired_at))
    assert server.http.post(f"{KEYS}/{rotated['id']}/rotate", json={}).status_code == 201
    for made, state in ((revoked, "revoked"), (expired, "expired"), (rotated, "already rotated")):
        answer = server.http.post(f"{KEYS}/{made['id']}/rotate", json={})
        assert (answer.status_code, state in answer.json()["detail"]) == (409, True), answer.text


@pytest.mark.parametrize(
    "body",
    [{"overlap_seconds": -1}, {"overlap_seconds": 30 * 86_400 + 1}, {"overlap_seconds": "60"}, {"seconds": 1}, []],
)
def test_an_invalid_overlap_is_refused(server: Client, body: Any) -> None:
    made = make(server)
    assert server.http.post(f"{KEYS}/{made['id']}/rotate", json=body).status_code == 400
    assert shown(server, made)["replaced_by"] is None


def test_a_key_cannot_rotate_keys_with_more_access_or_extend_its_own_life(server: Client) -> None:
    narrow = make(server, scopes=["predict", "admin"], expires_in_days=1)
    wide = make(server, scopes=["predict", "models:write"])
    answer = server.http.post(f"{KEYS}/{wide['id']}/rotate", json={}, headers=headers_of(narrow))
    assert (answer.status_code, "`models:write`" in answer.json()["detail"]) == (403, True)
    itself = server.http.post(f"{KEYS}/{narrow['id']}/rotate", json={}, headers=headers_of(narrow)).json()
    assert itself["expires_at"] == narrow["expires_at"]


async def changed(database: Database, change: Update) -> None:
    async with database.write() as session:
        await session.execute(change)


def test_keys_are_listed_in_pages_newest_first(server: Client, ada: Headers) -> None:
    made = [make(server, ada, name=f"number {number}") for number in range(5)]
    pages, cursor = [], None
    while True:
        query = {"limit": "2"} | ({} if cursor is None else {"cursor": cursor})
        page = server.http.get(KEYS, params=query, headers=ada).json()
        pages.append([item["id"] for item in page["items"]])
        cursor = page["next"]
        if cursor is None:
            break
    assert [len(page) for page in pages] == [2, 2, 2]
    listed = [key_id for page in pages for key_id in page]
    assert listed == sorted(listed, reverse=True)
    assert set(listed[:-1]) == {each["id"] for each in made}


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=501", "limit=x", "cursor=key_x", "cursor='--", "limit=1&limit=2", "user=a&user=b", "user=%00"],
)
def test_an_invalid_page_of_keys_is_refused(server: Client, query: str) -> None:
    assert server.http.get(f"{KEYS}?{query}").status_code == 400


def test_keys_of_other_users_are_not_found(server: Client, ada: Headers, bob: Headers) -> None:
    made = make(server, ada)
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/rotate")):
        answer = server.http.request(method, f"{KEYS}/{made['id']}{path}", headers=bob)
        unknown = server.http.request(method, f"{KEYS}/key_none{path}", headers=bob)
        assert (answer.status_code, answer.json()["detail"]) == (404, f"There is no API key `{made['id']}`.")
        assert unknown.status_code == 404
    assert made["id"] not in server.http.get(KEYS, headers=bob).text
    owner = shown(server, made, ada)["user"]
    for user in (owner, "nobody"):
        assert server.http.get(KEYS, params={"user": user}, headers=bob).status_code == 403
    assert server.http.get(KEYS, params={"user": owner}, headers=ada).status_code == 200


def test_administrators_list_and_revoke_keys_of_others_without_their_secrets(server: Client, ada: Headers) -> None:
    made = make(server, ada, name="of a user")
    owner = shown(server, made)["user"]
    assert made["id"] in {item["id"] for item in server.http.get(KEYS, params={"user": owner}).json()["items"]}
    assert server.http.post(f"{KEYS}/{made['id']}/rotate", json={}).status_code == 403
    assert server.http.delete(f"{KEYS}/{made['id']}").status_code == 204
    assert server.http.get("/api/v1/models", headers=headers_of(made)).status_code == 401
    for user in ("nobody", "usr_none", *HOSTILE):
        assert server.http.get(KEYS, params={"user": user}).status_code == 404


def test_keys_of_a_disabled_user_are_refused(server: Client, backend: dict[str, str]) -> None:
    person = add_person(server, backend, "eve")
    made = make(server, person.headers)
    disabled = update(User).where(User.id == person.id).values(disabled_at=now())
    on_database(server, backend, lambda database: changed(database, disabled))
    for own in (person.headers, headers_of(made)):
        assert server.http.get("/api/v1/models", headers=own).status_code == 401
        assert server.predict("keyed-a", ROW, headers=own).status_code == 401


@pytest.mark.parametrize("use", ["a call", "a prediction"])
def test_the_last_use_of_a_key_is_shown(server: Client, models: tuple[str, str], use: str) -> None:
    made = make(server)
    assert shown(server, made)["last_used_at"] is None
    began = datetime.now(UTC)
    if use == "a call":
        assert server.http.get("/api/v1/models", headers=headers_of(made)).status_code == 200
    else:
        assert server.predict("keyed-a", ROW, headers=headers_of(made)).status_code == 200
    wait_until(lambda: shown(server, made)["last_used_at"])
    last = datetime.fromisoformat(shown(server, made)["last_used_at"])
    assert began - timedelta(milliseconds=5) <= last <= datetime.now(UTC)
    assert server.predict("keyed-a", ROW, headers=headers_of(made)).status_code == 200
    wait_until(lambda: datetime.fromisoformat(shown(server, made)["last_used_at"]) > last)


def test_the_use_of_a_key_counts_requests(server: Client, models: tuple[str, str]) -> None:
    made = make(server)
    for body in (ROW, ROW, {"inputs": [[1.0], [2.0], [3.0]]}):
        assert server.predict("keyed-a", body, headers=headers_of(made)).status_code == 200
    assert server.predict("keyed-a", {"input": ["x"]}, headers=headers_of(made)).status_code == 400
    wait_until(lambda: shown(server, made)["used_this_month"] == 3)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_names_of_keys_are_plain_text(server: Client, hostile: str) -> None:
    made = make(server, name=hostile)
    assert shown(server, made)["name"] == hostile
    assert refused(server, scopes=[hostile])[0] == 400
    assert refused(server, models=[hostile])[0] == 404
    for member in ("expires_at", "expires_in_days", "predict_rate", "monthly_quota"):
        assert refused(server, **{member: hostile})[0] == 400
    assert server.http.get(KEYS, params={"cursor": hostile}).status_code == 400


def test_acts_on_keys_are_audited_without_secrets(
    server: Client, backend: dict[str, str], models: tuple[str, str]
) -> None:
    old = make(server, name="audited", scopes=["predict"], models=["keyed-a"])
    new = server.http.post(
        f"{KEYS}/{old['id']}/rotate", json={"overlap_seconds": 5}, headers={"X-Request-Id": "rotation"}
    ).json()
    for _ in range(2):
        assert server.http.delete(f"{KEYS}/{new['id']}").status_code == 204
    assert server.http.delete(f"{KEYS}/key_none").status_code == 404
    entries = on_database(server, backend, lambda database: recorded(database, [old["id"], new["id"]]))
    assert [(entry.action, entry.subject_id) for entry in entries] == [
        ("key.create", old["id"]),
        ("key.rotate", old["id"]),
        ("key.revoke", new["id"]),
    ]
    created, rotated, _ = entries
    assert created.details == {"prefix": old["prefix"], "scopes": ["predict"], "models": [models[0]]}
    assert rotated.details == {
        **created.details,
        "prefix": new["prefix"],
        "replaced_by": new["id"],
        "overlap_seconds": 5,
    }
    assert {(entry.subject, entry.actor, entry.outcome, entry.owner_id) for entry in entries} == {
        ("audited", "admin", "success", created.actor_id)
    }
    assert (rotated.request_id, rotated.address) == ("rotation", created.address)
    assert not any(made["key"] in str(vars(entry)) for entry in entries for made in (old, new))


async def recorded(database: Database, subjects: list[str]) -> list[AuditEntry]:
    async with database.read() as session:
        return list(
            await session.scalars(select(AuditEntry).where(AuditEntry.subject_id.in_(subjects)).order_by(AuditEntry.at))
        )


def test_concurrent_rotations_of_a_key_succeed_once(server: Client) -> None:
    made = make(server)
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(
                lambda _: plain_http.post(f"{server.url}{KEYS}/{made['id']}/rotate", headers={"X-API-Key": server.key}),
                range(4),
            )
        )
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]


def test_a_second_valid_key_of_a_name_is_refused_until_the_first_has_ended(server: Client) -> None:
    owner = person(server)
    body = {"name": "checkout"}
    first = plain_http.post(f"{server.url}{KEYS}", json=body, headers=owner.bearer).json()
    assert plain_http.post(f"{server.url}{KEYS}", json=body, headers=person(server).bearer).status_code == 201
    second = plain_http.post(f"{server.url}{KEYS}", json={"name": " checkout "}, headers=owner.bearer)
    assert (second.status_code, second.json()["code"]) == (409, "name_taken")
    assert f"`{first['id']}`, starts with {first['prefix']}" in second.json()["detail"]
    rotated = plain_http.post(f"{server.url}{KEYS}/{first['id']}/rotate", json={}, headers=owner.bearer).json()
    for made in (rotated, first):
        assert plain_http.post(f"{server.url}{KEYS}", json=body, headers=owner.bearer).status_code == 409
        plain_http.delete(f"{server.url}{KEYS}/{made['id']}", headers=owner.bearer)
    with ThreadPoolExecutor(4) as pool:
        at_once = [
            pool.submit(plain_http.post, f"{server.url}{KEYS}", json=body, headers=owner.bearer) for _ in range(4)
        ]
        assert sorted(answer.result().status_code for answer in at_once) == [201, 409, 409, 409]
