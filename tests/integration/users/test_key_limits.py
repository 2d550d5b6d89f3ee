"""How often a key may predict: its rate, its quota of a month, those of its user's plan."""

import json
import secrets
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from support.backends import Postgres
from support.http_client import Client, serving
from support.replicas import ROW, Replicas, constant, replicas
from support.waiting import wait_until

KEYS = "/api/v1/api-keys"
PREDICT = "/api/v1/predict/limited"
PLANS = {"default": {"monthly_quota": 4, "predict_rate": "1000/s"}}
Headers = dict[str, str]


def make(server: Client, **options: Any) -> tuple[str, Headers]:
    """The id of a new key, and what it is presented in."""
    answer = server.http.post(KEYS, json={"name": f"limited {secrets.token_hex(4)}", **options})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"], {"X-API-Key": answer.json()["key"]}


def predict_statuses(server: Client, own: Headers, times: int) -> list[int]:
    """The statuses of so many predictions."""
    return [server.predict("limited", ROW, headers=own).status_code for _ in range(times)]


def used(server: Client, key_id: str) -> int:
    answer = server.http.get(f"{KEYS}/{key_id}")
    return int(answer.json()["used_this_month"]) if answer.status_code == 200 else -1


@pytest.fixture(scope="module")
def limited(server: Client) -> Client:
    assert server.upload("limited", constant(1)).status_code == 201
    return server


def seconds_of_the_month_left() -> float:
    at = datetime.now(UTC)
    return (datetime(at.year + at.month // 12, at.month % 12 + 1, 1, tzinfo=UTC) - at).total_seconds()


def test_a_quota_is_used_by_predictions_and_resets_each_month(limited: Client) -> None:
    _, own = make(limited, monthly_quota=3)
    assert predict_statuses(limited, own, 3) == [200, 200, 200]
    refused = limited.predict("limited", ROW, headers=own)
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert "quota of 3 predictions" in refused.json()["detail"]
    assert abs(int(refused.headers["retry-after"]) - seconds_of_the_month_left()) < 60
    assert limited.http.get("/api/v1/models", headers=own).status_code == 200


def test_a_quota_counts_only_answered_predictions(limited: Client) -> None:
    _, own = make(limited, monthly_quota=2)
    for body in ({"input": ["x"]}, {"inputs": []}, b"{"):
        assert limited.predict("limited", body, headers=own).status_code == 400
    assert limited.predict("limited", {"inputs": [[1.0]] * 50}, headers=own).status_code == 200
    assert predict_statuses(limited, own, 2) == [200, 429]


def test_keys_without_a_quota_are_unlimited_and_a_zero_quota_allows_none(limited: Client) -> None:
    _, free = make(limited)
    _, nothing = make(limited, monthly_quota=0)
    assert predict_statuses(limited, free, 20) == [200] * 20
    assert predict_statuses(limited, nothing, 2) == [429, 429]


@pytest.mark.parametrize("count", [5, 60])
def test_a_rate_per_minute_or_longer_allows_a_burst(limited: Client, count: int) -> None:
    _, own = make(limited, predict_rate=f"{count}/day")
    with ThreadPoolExecutor(6) as pool:
        statuses = list(pool.map(lambda _: predict_statuses(limited, own, 1)[0], range(count)))
    assert statuses == [200] * count
    assert predict_statuses(limited, own, 3) == [429] * 3


def test_the_rates_of_two_keys_are_independent(limited: Client) -> None:
    _, own = make(limited, predict_rate="5/day")
    assert predict_statuses(limited, own, 7) == [200] * 5 + [429] * 2
    refused = limited.predict("limited", ROW, headers=own)
    assert refused.status_code == 429
    assert refused.headers["ratelimit-policy"] == '"key";q=5;w=86400'
    assert refused.headers["ratelimit"].startswith('"key";r=0;')
    assert 1 <= int(refused.headers["retry-after"]) <= 86_400
    assert predict_statuses(limited, make(limited, predict_rate="5/day")[1], 1) == [200]


def test_rotating_a_key_does_not_reset_its_quota(limited: Client) -> None:
    """Neither by the new key, nor by both together, nor by rotating again."""
    old_id, old = make(limited, monthly_quota=5)
    assert predict_statuses(limited, old, 2) == [200, 200]
    wait_until(lambda: used(limited, old_id) == 2)
    new_id, new = rotated(limited, old_id)
    assert used(limited, new_id) == used(limited, old_id) == 2
    assert predict_statuses(limited, new, 2) == [200, 200]
    wait_until(lambda: used(limited, old_id) == 4)
    newest_id, newest = rotated(limited, new_id)
    assert predict_statuses(limited, old, 1) == [200]
    wait_until(lambda: {used(limited, key_id) for key_id in (old_id, new_id, newest_id)} == {5})
    wait_until(
        lambda: (
            predict_statuses(limited, newest, 1)
            == predict_statuses(limited, new, 1)
            == predict_statuses(limited, old, 1)
            == [429]
        )
    )
    assert used(limited, newest_id) == 5


def rotated(server: Client, key_id: str) -> tuple[str, Headers]:
    answer = server.http.post(f"{KEYS}/{key_id}/rotate", json={})
    assert answer.status_code == 201
    return answer.json()["id"], {"X-API-Key": answer.json()["key"]}


def test_the_use_of_a_quota_survives_a_restart(
    backend: dict[str, str], folder_with_models: Path, tmp_path: Path
) -> None:
    """The server's last act is to write it."""
    settings = {name: value for name, value in backend.items() if name == "SERVAL_FRONT"}
    folder = shutil.copytree(folder_with_models, tmp_path / "data")
    with serving(folder, settings) as before:
        key_id, own = make(before, monthly_quota=4)
        assert predict_statuses(before, own, 3) == [200, 200, 200]
    with serving(folder, settings) as after:
        assert used(after, key_id) == 3
        assert predict_statuses(after, own, 2) == [200, 429]


@pytest.fixture(scope="module")
def planned(folder_with_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A server whose users have a plan, and where others are unlimited."""
    settings = {"SERVAL_PLANS": json.dumps(PLANS), "SERVAL_PREDICT_RATE": "5/s"}
    with serving(shutil.copytree(folder_with_models, tmp_path_factory.mktemp("serval") / "data"), settings) as client:
        yield client


def test_a_plan_limits_the_quota_of_its_users_keys(planned: Client) -> None:
    _, own = make(planned)
    answer = planned.predict("limited", ROW, headers=own)
    assert answer.headers["ratelimit-policy"] == '"user";q=1000;w=1'
    assert predict_statuses(planned, own, 4) == [200, 200, 200, 429]


def test_only_an_administrator_may_exceed_the_quota_of_the_plan(planned: Client) -> None:
    assert predict_statuses(planned, make(planned, monthly_quota=1)[1], 2) == [200, 429]
    assert predict_statuses(planned, make(planned, monthly_quota=6)[1], 7) == [200] * 6 + [429]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    with replicas(tmp_path_factory) as servers:
        assert servers.first.upload("limited", constant(1)).status_code == 201
        wait_until(lambda: servers.second.predict("limited", ROW).status_code == 200)
        yield servers


def test_two_servers_share_a_quota_up_to_unreported_predictions(both: Replicas) -> None:
    batch, quota = 5, 30
    key_id, own = make(both.first, monthly_quota=quota)
    answered = 0
    while True:
        statuses = predict_statuses(both.first, own, batch) + predict_statuses(both.second, own, batch)
        answered += statuses.count(200)
        if not statuses.count(200):
            break
        wait_until(lambda answered=answered: used(both.first, key_id) == answered)  # type: ignore[misc]
    assert quota <= answered <= quota + 2 * batch


def test_a_key_rotated_on_one_server_stops_on_the_other(both: Replicas) -> None:
    key_id, own = make(both.first)
    assert predict_statuses(both.second, own, 2) == [200, 200]
    assert both.first.http.post(f"{KEYS}/{key_id}/rotate", json={"overlap_seconds": 0}).status_code == 201
    began = time.monotonic()
    wait_until(lambda: predict_statuses(both.second, own, 1) == [401])
    assert time.monotonic() - began < 1.0


def test_predictions_without_the_database_are_counted_when_it_is_back(database: Postgres, tmp_path: Path) -> None:
    with serving(tmp_path / "data", {"SERVAL_DATABASE_URL": database.url()}) as client:
        assert client.upload("limited", constant(1)).status_code == 201
        key_id, own = make(client)
        assert predict_statuses(client, own, 1) == [200]
        wait_until(lambda: used(client, key_id) == 1)
        database.stop()
        try:
            assert predict_statuses(client, own, 20) == [200] * 20
            client.process.until("usage_waiting_for_database")
        finally:
            database.start()
        wait_until(lambda: used(client, key_id) == 21)
        lines = [line for line in client.process.events if line["event"] == "usage_waiting_for_database"]
        assert len(lines) == 1
