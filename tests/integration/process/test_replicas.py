"""What one replica changes is in force on the others within a second, with and without Redis."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from serval.auth import key_format as keys
from support.backends import without
from support.http_client import Client
from support.replicas import ROW, Replicas, constant, replicas
from support.stored_users import add_person
from support.waiting import wait_until

IN_FORCE_SECONDS = 1.0


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    """Two servers and a model `served` with two versions, the second of them live."""
    with replicas(tmp_path_factory) as both:
        assert [both.first.upload("served", constant(number)).status_code for number in (1, 2)] == [201, 201]
        wait_until(lambda: answer_of(both.second, "served") == 2)
        yield both


@pytest.fixture(params=["with-redis", "without-redis"])
def both(servers: Replicas, request: pytest.FixtureRequest) -> Iterator[Replicas]:
    if request.param == "with-redis":
        yield servers
    else:
        with without(servers.redis):
            yield servers


def wait_until_in_force(condition: Callable[[], object]) -> None:
    wait_until(condition, within_seconds=IN_FORCE_SECONDS)


def answer_of(client: Client, name: str) -> Any:
    answer = client.predict(name, ROW, headers={"Cache-Control": "no-cache"})
    return answer.json()["prediction"] if answer.status_code == 200 else answer.status_code


def new_key(client: Client) -> tuple[str, dict[str, str]]:
    made = client.http.post("/api/v1/api-keys", json={"name": "to be revoked"}).json()
    return made["id"], {"X-API-Key": made["key"]}


def test_a_model_uploaded_on_one_server_answers_on_the_other(both: Replicas, request: pytest.FixtureRequest) -> None:
    name = f"fresh-{request.node.callspec.id}"
    assert both.first.upload(name, constant(1)).status_code == 201
    wait_until_in_force(lambda: answer_of(both.second, name) == 1)


def test_columns_named_on_one_server_are_known_on_the_other(both: Replicas, request: pytest.FixtureRequest) -> None:
    name = f"named-{request.node.callspec.id}"
    assert both.first.upload(name, constant(1)).status_code == 201
    wait_until(lambda: answer_of(both.second, name) == 1)
    row = {"input": {f"column {index}": cell for index, cell in enumerate(ROW["input"])}}
    assert both.second.predict(name, row).status_code == 400
    named = both.first.http.patch(f"/api/v1/models/{name}/versions/1", json={"columns": list(row["input"])})
    assert named.status_code == 200, named.text
    wait_until_in_force(lambda: both.second.predict(name, row).status_code == 200)


def test_a_version_promoted_on_one_server_is_live_on_the_other_without_a_gap(both: Replicas) -> None:
    for number in (1, 2):
        assert both.first.http.post(f"/api/v1/models/served/versions/{number}/promote").status_code == 200
        assert answer_of(both.first, "served") == number
        answers: list[Any] = []

        def has_followed(number: int = number, answers: list[Any] = answers) -> bool:
            answers.append(answer_of(both.second, "served"))
            return bool(answers[-1] == number)

        wait_until_in_force(has_followed)
        assert set(answers) <= {1, 2}


def test_a_model_deleted_on_one_server_is_gone_on_the_other_and_comes_back(both: Replicas) -> None:
    model_id = both.first.http.get("/api/v1/models/served").json()["id"]
    assert both.first.http.delete("/api/v1/models/served").status_code == 204
    wait_until_in_force(lambda: answer_of(both.second, "served") == 404)
    assert both.first.http.post(f"/api/v1/models/{model_id}/restore").status_code == 200
    wait_until_in_force(lambda: answer_of(both.second, "served") == 2)


def test_a_share_granted_and_revoked_on_one_server_follows_on_the_other(both: Replicas) -> None:
    bob = add_person(both.first, {"SERVAL_DATABASE_URL": both.database.url()}, "bob")
    shares = f"/api/v1/models/{both.first.http.get('/api/v1/models/served').json()['id']}/shares"

    def status_of(client: Client) -> int:
        return client.predict("admin/served", ROW, headers=bob.headers).status_code

    assert status_of(both.second) == 404
    made = both.first.http.put(shares, json={"user": bob.name, "permission": "predict"})
    assert made.status_code == 201, made.text
    wait_until_in_force(lambda: status_of(both.second) == 200)
    assert both.first.http.delete(f"{shares}/{made.json()['id']}").status_code == 204
    assert status_of(both.first) == 404
    wait_until_in_force(lambda: status_of(both.second) == 404)


def test_the_cache_setting_changed_on_one_server_follows_on_the_other(both: Replicas) -> None:
    for cache, found in (("off", "bypass"), ("l1", "l1")):
        assert both.first.http.patch("/api/v1/models/served", json={"cache": cache}).status_code == 200
        wait_until(
            lambda found=found: both.second.predict("served", ROW).headers["x-cache"] == found,
            within_seconds=IN_FORCE_SECONDS,
        )


def test_a_revoked_key_stops_on_both_servers(both: Replicas) -> None:
    key_id, key = new_key(both.second)
    assert [client.predict("served", ROW, headers=key).status_code for client in (both.first, both.second)] == [
        200,
        200,
    ]
    assert both.first.http.delete(f"/api/v1/api-keys/{key_id}").status_code == 204
    assert both.first.predict("served", ROW, headers=key).status_code == 401
    wait_until(
        lambda: both.second.predict("served", ROW, headers=key).status_code == 401, within_seconds=IN_FORCE_SECONDS
    )


def test_a_known_caller_is_served_in_a_database_outage_and_revocable_after_it(servers: Replicas) -> None:
    key_id, key = new_key(servers.first)
    assert servers.second.predict("served", ROW, headers=key).status_code == 200
    with without(servers.database):
        servers.second.process.until("changes_waiting_for_database")
        assert servers.second.predict("served", ROW, headers=key).status_code == 200
    wait_until(lambda: servers.first.http.delete(f"/api/v1/api-keys/{key_id}").status_code == 204)
    wait_until(
        lambda: servers.second.predict("served", ROW, headers=key).status_code == 401, within_seconds=IN_FORCE_SECONDS
    )


def test_a_key_known_as_unknown_is_refused_without_the_database(servers: Replicas) -> None:
    wrong = {"X-API-Key": keys.new_key()}
    assert servers.second.predict("served", ROW, headers=wrong).status_code == 401
    with without(servers.database):
        assert servers.second.predict("served", ROW, headers=wrong).status_code == 401
        assert servers.second.predict("served", ROW, headers={"X-API-Key": keys.new_key()}).status_code == 503


def test_an_outage_of_redis_is_logged_once_and_counted(servers: Replicas) -> None:
    log = servers.second.process
    assert servers.second.http.get("/api/v1/models", headers={"X-Request-Id": "before"}).status_code == 200
    log.until_line("request", request_id="before")
    told_before = len(log.events)
    before = metric(servers.second, 'serval_redis_failures_total{use="changes"}')
    with without(servers.redis):
        log.until("change_notifications_unavailable")
        wait_until(lambda: metric(servers.second, 'serval_redis_failures_total{use="changes"}') >= before + 3)
    log.until("change_notifications_restored")
    told = [event["event"] for event in log.events[told_before:] if event["event"].startswith("change_notifications")]
    assert told == ["change_notifications_unavailable", "change_notifications_restored"]


def metric(client: Client, name: str) -> float:
    lines = client.http.get("/metrics").text.splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} ")), 0.0)
