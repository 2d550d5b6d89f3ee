"""Who did what can be read back: by administrators all of it, by everybody else what concerns them."""

import csv
import io
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import httpx2
import pytest
from sqlalchemy import update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from serval.audit.record import ACTIONS, AuditSubject
from serval.audit.service import EXPORT_ROWS
from serval.audit.tables import AuditEntry
from serval.ids import new_id
from support import plain_http
from support.audit_trail import ORIGIN, Act, Person, Store, add_people, record_all
from support.http_client import Client
from support.users import person

Headers = dict[str, str]
Entry = dict[str, Any]

INJECTIONS = [
    "' OR '1'='1",
    "'; DROP TABLE audit; --",
    "%",
    "_",
    "\\",
    'x" OR 1=1 --',
    "key.%",
    "1) UNION SELECT * FROM users --",
]


class Scene(NamedTuple):
    """Two people and an administrator, a model of ada's, and what happened."""

    start: str
    end: str
    """It happened between these moments, and nothing else did."""
    ada: Person
    bob: Person
    carl: Person
    """Who had no part in it."""
    root: Person
    model: str

    def acts(self, found: list[Entry]) -> set[str]:
        """`who action` of each entry, in the names of the scene."""
        known = {self.ada.name: "ada", self.bob.name: "bob", self.root.name: "root"}
        acts = {f"{known.get(entry['actor'], entry['actor'])} {entry['action']}" for entry in found}
        assert len(acts) == len(found)
        return acts


ADAS = {"ada model.upload", "bob version.promote", "root model.delete", "ada login"}
BOBS = {"bob version.promote", "bob key.create"}
ALL = ADAS | BOBS | {"nobody@example.com login"}


@pytest.fixture(scope="module")
def store(server: Client, backend: dict[str, str]) -> Store:
    return Store(server.folder, backend)


@pytest.fixture(scope="module")
def scene(store: Store) -> Scene:
    ada, bob, carl, root = add_people(store, {}, {}, {}, {"role": "admin"})
    start, model = datetime.now(UTC), new_id("mdl")
    tree, key = AuditSubject(model, "tree", ada.id), AuditSubject(new_id("key"), "laptop", bob.id)
    acts = [
        Act(ada.caller, "model.upload", tree, details={"version": 1}),
        Act(bob.caller, "version.promote", tree),
        Act(root.caller, "model.delete", tree),
        Act(bob.caller, "key.create", key),
        Act(ada.name, "login", AuditSubject(ada.id, ada.name, ada.id), "failure"),
        Act("nobody@example.com", "login", AuditSubject(None, "nobody@example.com", None), "failure"),
    ]
    record_all(store, acts)
    end = datetime.now(UTC) + timedelta(milliseconds=1)
    return Scene(start.isoformat(), end.isoformat(), ada, bob, carl, root, model)


def get_audit(client: Client, headers: Headers | None = None, **query: Any) -> httpx2.Response:
    return client.http.get("/api/v1/audit", params=query, headers=headers)


def listed(client: Client, headers: Headers | None = None, **query: Any) -> list[Entry]:
    answer = get_audit(client, headers, **query)
    assert answer.status_code == 200, answer.text
    items: list[Entry] = answer.json()["items"]
    return items


def exported(client: Client, headers: Headers | None = None, **query: Any) -> list[Entry]:
    answer = get_audit(client, headers, format="csv", **query)
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text, newline=""), strict=True))


def test_administrators_see_the_whole_audit_trail(server: Client, scene: Scene) -> None:
    assert scene.acts(listed(server, since=scene.start, until=scene.end)) == ALL


def test_users_see_their_own_acts_and_those_on_their_resources(server: Client, scene: Scene) -> None:
    assert scene.acts(listed(server, scene.ada.headers)) == ADAS
    assert scene.acts(listed(server, scene.bob.headers)) == BOBS


def test_an_audit_entry_has_actor_action_resource_and_client(server: Client, scene: Scene) -> None:
    [entry] = listed(server, scene.ada.headers, action="model.upload")
    assert datetime.now(UTC) - datetime.fromisoformat(entry.pop("at")) < timedelta(minutes=10)
    assert entry.pop("id").startswith("aud_")
    assert entry == {
        "actor": scene.ada.name,
        "actor_id": scene.ada.id,
        "action": "model.upload",
        "outcome": "success",
        "subject": "tree",
        "subject_id": scene.model,
        "owner_id": scene.ada.id,
        "address": ORIGIN.address,
        "credential_id": scene.ada.caller.key_id,
        "request_id": ORIGIN.request_id,
        "details": {"version": 1},
    }


def test_only_administrators_see_the_clients_of_others(server: Client, scene: Scene) -> None:
    def origins(headers: Headers | None, actor: str) -> list[tuple[Any, ...]]:
        found = listed(server, headers, actor=actor, subject=scene.model)
        return [(entry["address"], entry["credential_id"], entry["request_id"]) for entry in found]

    for other in (scene.root, scene.bob):
        assert origins(scene.ada.headers, other.name) == [(None, None, None)]
        assert origins(None, other.name) == [(ORIGIN.address, other.caller.key_id, ORIGIN.request_id)]
    [failed] = listed(server, scene.ada.headers, action="login")
    assert (failed["actor_id"], failed["address"], failed["request_id"]) == (None, None, None)


@pytest.mark.parametrize(
    ("query", "acts"),
    [
        ({"actor": "{bob.name}"}, {"bob version.promote", "bob key.create"}),
        ({"actor": "{bob.id}"}, {"bob version.promote", "bob key.create"}),
        ({"actor": "{ada.name}"}, {"ada model.upload", "ada login"}),
        ({"actor": "{ada.id}"}, {"ada model.upload"}),
        ({"actor": "nobody@example.com"}, {"nobody@example.com login"}),
        ({"actor": "{bob.name}", "action": "version.promote"}, {"bob version.promote"}),
        ({"action": "login"}, {"ada login", "nobody@example.com login"}),
        ({"action": "model."}, {"ada model.upload", "root model.delete"}),
        ({"subject": "{model}"}, {"ada model.upload", "bob version.promote", "root model.delete"}),
        ({"subject": "{model}", "action": "model.", "actor": "{root.id}"}, {"root model.delete"}),
        ({"subject": "tree"}, {"ada model.upload", "bob version.promote", "root model.delete"}),
        ({"subject": "laptop", "action": "key."}, {"bob key.create"}),
        ({"subject": "nobody@example.com"}, {"nobody@example.com login"}),
        ({"subject": "nobody/tree"}, set()),
        ({"outcome": "failure"}, {"ada login", "nobody@example.com login"}),
        ({"outcome": "success"}, ALL - {"ada login", "nobody@example.com login"}),
        ({"outcome": "success", "action": "login"}, set()),
        ({"until": "{start}"}, set()),
        ({"since": "2999-01-01T00:00:00Z"}, set()),
    ],
    ids=lambda part: str(part) if isinstance(part, dict) else str(sorted(part)),
)
def test_audit_filters_apply_to_visible_entries(
    server: Client, scene: Scene, query: dict[str, str], acts: set[str]
) -> None:
    filled = {"since": scene.start, "until": scene.end} | {
        name: value.format(**scene._asdict()) for name, value in query.items()
    }
    assert scene.acts(listed(server, **filled)) == acts
    assert scene.acts(listed(server, scene.ada.headers, **filled)) == acts & ADAS
    assert scene.acts(listed(server, scene.bob.headers, **filled)) == acts & BOBS


def test_an_audit_time_without_an_offset_is_in_utc(server: Client, scene: Scene) -> None:
    assert scene.acts(listed(server, scene.ada.headers, since="0001-01-01T00:00:00+14:00")) == ADAS
    assert scene.acts(listed(server, scene.ada.headers, since=scene.start.removesuffix("+00:00"))) == ADAS


def test_audit_entries_are_listed_in_pages_newest_first(server: Client, scene: Scene) -> None:
    whole = {"since": scene.start, "until": scene.end}
    for headers, query in ((scene.ada.headers, {}), (None, whole), (None, whole | {"outcome": "success"})):
        all_ids = [entry["id"] for entry in listed(server, headers, **query)]
        assert all_ids == sorted(all_ids, reverse=True)
        paged: list[str] = []
        page: dict[str, Any] = {"next": None}
        while not paged or page["next"] is not None:
            page = get_audit(server, headers, **query, limit=1, **({"cursor": page["next"]} if paged else {})).json()
            assert len(page["items"]) == 1
            paged += [entry["id"] for entry in page["items"]]
        assert paged == all_ids


def test_an_unknown_audit_action_is_refused_with_the_known_ones(server: Client) -> None:
    for action in ("key", "key.*", "logins", ".", "", "x."):
        answer = get_audit(server, action=action)
        assert answer.status_code == 400
        assert all(f"`{known}`" in answer.json()["detail"] for known in ACTIONS)


@pytest.mark.parametrize(
    "query",
    [
        "cursor=nothing", "cursor=prd_01M7XEZP4GCTEJJ6AZ0VR52KCA", "cursor=aud_" + "Z" * 5000, "cursor=", "limit=0",
        "limit=501", "limit=-1", "limit=1e3", "limit=9999999999999999999999", "limit=true", "since=yesterday",
        "until=1e400", "outcome=maybe",
        "outcome=", "format=xml", "actor=a&actor=b", "action=login&action=logout", "subject=a&subject=a",
        "outcome=success&outcome=failure", "limit=1&limit=2", "since=2026-01-01T00:00:00Z&since=2026-01-01T00:00:00Z",
        "format=csv&format=json", "actor=%00", "subject=a%00b", "actor=" + "a" * 255, "subject=" + "a" * 201,
    ],
)  # fmt: skip
def test_an_invalid_audit_filter_is_refused(server: Client, query: str) -> None:
    answer = server.http.get(f"/api/v1/audit?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")


def test_the_extreme_audit_cursors_select_everything_and_nothing(server: Client, scene: Scene) -> None:
    assert listed(server, scene.ada.headers, cursor="aud_" + "0" * 26) == []
    assert scene.acts(listed(server, scene.ada.headers, cursor="aud_" + "Z" * 26)) == ADAS


@pytest.mark.parametrize("injection", INJECTIONS)
def test_sql_in_an_audit_filter_is_text(server: Client, scene: Scene, injection: str) -> None:
    for headers in (None, scene.bob.headers):
        for name in ("actor", "subject"):
            assert listed(server, headers, **{name: injection}) == []
            assert exported(server, headers, **{name: injection}) == []
        for name in ("action", "outcome", "cursor", "since", "limit"):
            assert get_audit(server, headers, **{name: injection}).status_code == 400
    assert scene.acts(listed(server, since=scene.start, until=scene.end)) == ALL


def test_the_audit_trail_needs_a_login_or_the_admin_scope(server: Client, store: Store, scene: Scene) -> None:
    scopes = ("predict", "models:read", "models:write")
    for narrow in add_people(store, {"scopes": scopes}, {"scopes": scopes, "role": "admin"}):
        answer = get_audit(server, narrow.headers)
        assert (answer.status_code, "`admin`" in answer.json()["detail"]) == (403, True)
    assert plain_http.get(f"{server.url}/api/v1/audit").status_code == 401
    assert (
        server.http.get("/api/audit", headers=scene.ada.headers).json() == get_audit(server, scene.ada.headers).json()
    )


def test_the_csv_export_equals_the_json_list(server: Client, scene: Scene) -> None:
    answer = get_audit(server, scene.ada.headers, format="csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="audit.csv"'
    entries = listed(server, scene.ada.headers)
    assert answer.text.startswith(",".join(entries[0]) + "\r\n")
    assert [json.loads(row["details"]) if row["details"] else None for row in exported(server, scene.ada.headers)] == [
        entry.pop("details") for entry in entries
    ]
    shown = [
        {name: value for name, value in row.items() if name != "details"} for row in exported(server, scene.ada.headers)
    ]
    assert shown == [{name: value or "" for name, value in entry.items()} for entry in entries]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/csv", "text/csv"),
        ("text/csv, */*;q=0.1", "text/csv"),
        ("application/json, text/csv;q=0.5", "application/json"),
        ("text/csv;q=0.5, application/json", "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
        ("*/*", "application/json"),
        ("image/png", "application/json"),
        ("", "application/json"),
        (";;q=,,/", "application/json"),
    ],
)
def test_csv_is_selected_by_the_accept_header(server: Client, scene: Scene, accept: str, kind: str) -> None:
    def kind_of(**query: str) -> str:
        answer = get_audit(server, {**scene.ada.headers, "Accept": accept}, **query)
        assert answer.status_code == 200
        return answer.headers["content-type"].partition(";")[0]

    assert kind_of() == kind
    assert (kind_of(format="json"), kind_of(format="csv")) == ("application/json", "text/csv")


def test_an_empty_export_is_its_header_line(server: Client, scene: Scene) -> None:
    answer = get_audit(server, scene.ada.headers, format="csv", since="2999-01-01T00:00:00Z")
    assert (answer.status_code, answer.text.count("\r\n"), answer.text[:6]) == (200, 1, "id,at,")


def test_an_export_holds_all_matching_entries(server: Client, store: Store, scene: Scene) -> None:
    subject = AuditSubject(new_id("key"), "many", scene.carl.id)
    acts = [
        Act(scene.carl.caller, "key.create", subject, details={"number": number})
        for number in range(2 * EXPORT_ROWS + 1)
    ]
    record_all(store, acts)
    for headers in (scene.carl.headers, None):
        rows = exported(server, headers, subject=subject.id, limit=3)
        assert sorted(json.loads(row["details"])["number"] for row in rows) == list(range(len(acts)))
        ids = [row["id"] for row in rows]
        assert ids == sorted(ids, reverse=True)


@pytest.mark.parametrize(
    "name",
    [
        "=1+1",
        "+cmd|' /C calc'!A0",
        "-2+3",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "\uff1d1+1",
        '=HYPERLINK("http://x","y"),z',
        'a "b", c\r\nd',
    ],
)
def test_a_hostile_name_is_no_formula_in_an_export(server: Client, store: Store, scene: Scene, name: str) -> None:
    subject = AuditSubject(new_id("key"), name, scene.carl.id)
    record_all(store, [Act(scene.carl.caller, "key.create", subject, details={"note": name})])
    [row] = exported(server, scene.carl.headers, subject=subject.id)
    assert row["subject"] == (name if name.startswith("a") else "'" + name)
    assert json.loads(row["details"]) == {"note": name}
    assert listed(server, scene.carl.headers, subject=subject.id)[0]["subject"] == name


def test_acts_over_http_are_audited_and_counted(server: Client) -> None:
    def counted(action: str) -> float:
        lines = server.http.get("/metrics").text
        found = re.search(
            rf'^serval_audit_entries_total{{action="{action}",outcome="success"}} (\S+)$', lines, re.MULTILINE
        )
        return float(found[1]) if found else 0

    before = counted("key.create")
    somebody = person(server)
    made = plain_http.post(f"{server.url}/api/v1/api-keys", json={"name": "laptop"}, headers=somebody.bearer)
    assert made.status_code == 201, made.text
    key, login, register = plain_http.get(f"{server.url}/api/v1/audit", headers=somebody.bearer).json()["items"]
    assert [entry["action"] for entry in (key, login, register)] == ["key.create", "login", "user.register"]
    assert (key["subject_id"], key["actor_id"], key["owner_id"]) == (made.json()["id"], somebody.id, somebody.id)
    assert (key["address"], key["request_id"]) == ("127.0.0.1", made.headers["x-request-id"])
    assert counted("key.create") == before + 1


def test_the_database_refuses_to_change_an_entry(store: Store, scene: Scene) -> None:
    async def rewrite(session: AsyncSession) -> None:
        await session.execute(
            update(AuditEntry).where(AuditEntry.subject_id == scene.model).values(actor="somebody else")
        )

    with pytest.raises(DBAPIError, match="append-only"):
        store.write(rewrite)


def test_the_openapi_document_shows_the_json_and_csv_of_the_audit_trail(server: Client) -> None:
    operation = server.http.get("/openapi.json").json()["paths"]["/api/v1/audit"]["get"]
    assert set(operation["responses"]["200"]["content"]) == {"application/json", "text/csv"}
    names = {parameter["name"] for parameter in operation["parameters"]}
    assert names == {"actor", "action", "subject", "outcome", "since", "until", "cursor", "limit", "format"}
