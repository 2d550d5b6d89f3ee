"""The second cache level: replicas share rows in a real Redis, and its failures fail no call."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import redis

from serval._native import DataPlane
from support import graphs
from support.backends import Redis
from support.planes import ask, load, new_plane, put_caller, regressor, route, samples, signature
from support.registry import heavy
from support.waiting import wait_until

ROW = '{"input":[0.25,0.75]}'
SECRET = b"s" * 32
CONTRACT = signature(2, labels=[["no", "yes"]])
ECHO = regressor(2, targets=2, is_multi_target=True)
STATES = ["up", "read_only", "down"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Redis]:
    server = Redis(tmp_path)
    try:
        yield server
    finally:
        server.stop()


def keeper(server: Redis) -> "redis.Redis":
    return redis.Redis.from_url(server.url)


def replica(
    server: Redis,
    *,
    url: str | None = None,
    secret: bytes = SECRET,
    contract: dict[str, Any] = CONTRACT,
    graph: onnx.ModelProto | None = None,
    **settings: Any,
) -> DataPlane:
    """A plane whose model asks the Redis for every call, and keeps nothing itself unless `settings` of its route say
    otherwise."""
    plane = new_plane(cache_url=url or server.url, cache_secret=secret)
    put_caller(plane)
    put_caller(plane, hashlib.sha256(b"bob").digest(), "usr_2")
    load(plane, graph or graphs.largest(2), contract, np.ones((1, len(contract["columns"]))))
    plane.models.set_routes([route(**({"cache": "l2", "cache_ttl_seconds": 0.0} | settings))])
    wait_until(lambda: plane.shared_cache_state() == "up")
    return plane


def written(plane: DataPlane, rows: int) -> None:
    """Wait until so many rows have been written."""
    wait_until(lambda: samples(plane, "serval_cache_level_two_written_total") == [rows])


def hit(plane: DataPlane, body: str = ROW, **settings: Any) -> Any:
    """The answer, once it comes from the Redis: a machine that is busy may miss the time for an answer."""
    answers: list[Any] = []
    wait_until(lambda: answers.append(ask(plane, body, **settings)) or answers[-1].cache == "l2")
    return answers[-1]


def test_a_row_run_by_one_replica_is_a_hit_with_equal_bytes_on_another(server: Redis) -> None:
    one, other = replica(server), replica(server)
    first = ask(one, ROW)
    written(one, 1)
    second = hit(other)
    assert (first.cache, second.cache_hits) == ("miss", 1)
    members = [json.loads(answer.body, parse_float=str) for answer in (first, second)]
    for member in ("prediction", "probability", "probabilities"):
        assert members[0][member] == members[1][member]
    assert members[1]["cache_hit"] is True


def test_the_tables_of_several_targets_are_shared_whole(server: Redis) -> None:
    contract = signature(5, labels=[["no", "yes"], [0, 1, 2]], targets=2, is_multi_target=True)
    one, other = (replica(server, contract=contract, graph=graphs.largest_of([2, 3])) for _ in range(2))
    body = '{"inputs":[[0.25,0.75,0.5,0.125,0.375],[1,0,0,0,1]]}'
    first = ask(one, body, all_probabilities=True)
    written(one, 2)
    second = hit(other, body, all_probabilities=True)
    told, shared = json.loads(first.body), json.loads(second.body)
    assert told["probabilities"] == [[[0.25, 0.75], [0.5, 0.125, 0.375]], [[1.0, 0.0], [0.0, 0.0, 1.0]]]
    assert {name: shared[name] for name in ("predictions", "classes", "probabilities")} == {
        name: told[name] for name in ("predictions", "classes", "probabilities")
    }


def test_cached_rows_of_a_batch_are_reused_and_only_the_others_are_run(server: Redis) -> None:
    one, other = replica(server), replica(server)
    ask(one, '{"inputs":[[1,2],[3,4]]}')
    written(one, 2)
    hit(other, '{"inputs":[[3,4],[1,2]]}')
    mixed = ask(other, '{"inputs":[[5,6],[3,4],[8,7]]}')
    assert (mixed.cache, mixed.cache_hits) == ("miss", 1)
    assert json.loads(mixed.body)["predictions"] == ["yes", "yes", "no"]


def test_a_hit_in_level_two_is_stored_in_level_one(server: Redis) -> None:
    one, other = replica(server), replica(server, cache_ttl_seconds=None)
    ask(one, ROW)
    written(one, 1)
    ask(other, ROW)
    assert ask(other, ROW).cache == "l1"


def test_redis_can_be_reached_through_a_unix_socket(server: Redis) -> None:
    plane = replica(server, url=f"unix://{server.socket}")
    ask(plane, ROW)
    written(plane, 1)
    assert hit(plane).cache == "l2"


def test_entries_expire_after_the_configured_time_to_live(server: Redis) -> None:
    plane = replica(server, cache_l2_ttl_seconds=120.0)
    ask(plane, ROW)
    written(plane, 1)
    [name] = keeper(server).keys()
    assert 100_000 < keeper(server).pttl(name) <= 120_000


def test_tenants_share_no_entries(server: Redis) -> None:
    one, other = replica(server), replica(server, owner="usr_2", owner_username="bob")
    ask(one, ROW)
    written(one, 1)
    reply = ask(other, ROW, caller=hashlib.sha256(b"bob").digest())
    written(other, 1)
    assert reply.cache == "miss"
    assert keeper(server).dbsize() == 2


def test_models_with_different_signatures_share_no_entries(server: Redis) -> None:
    one, other = replica(server), replica(server, contract=CONTRACT | {"labels": [["yes", "no"]]})
    assert json.loads(ask(one, ROW).body)["prediction"] == "yes"
    written(one, 1)
    assert json.loads(ask(other, ROW).body)["prediction"] == "no"
    written(other, 1)
    assert keeper(server).dbsize() == 2


def test_replicas_with_different_secrets_share_no_entries(server: Redis) -> None:
    one, other = replica(server), replica(server, secret=b"t" * 32)
    ask(one, ROW)
    written(one, 1)
    ask(other, ROW)
    written(other, 1)
    assert keeper(server).dbsize() == 2


@pytest.mark.parametrize("change", ["flip", "cut", "swap", "list", "nothing", "long"])
def test_a_value_that_was_tampered_with_is_a_miss(server: Redis, change: str) -> None:
    plane, redis_ = replica(server), keeper(server)
    ask(plane, ROW)
    written(plane, 1)
    [name] = redis_.keys()
    ask(plane, '{"input":[0.75,0.25]}')
    written(plane, 2)
    [other] = set(redis_.keys()) - {name}
    value: Any = redis_.get(name)
    redis_.delete(name)
    if change == "list":
        redis_.rpush(name, value)
    else:
        forged = {
            "flip": bytes([value[0], value[1] ^ 1]) + value[2:],
            "cut": value[:-1],
            "swap": redis_.get(other),
            "nothing": b"",
            "long": value * 9,
        }
        redis_.set(name, forged[change])
    reply = ask(plane, ROW)
    assert (reply.cache, json.loads(reply.body)["prediction"]) == ("miss", "yes")
    if change != "list":
        wait_until(lambda: samples(plane, "serval_cache_level_two_forged_total") == [1])


@pytest.mark.parametrize(("levels", "expected"), [("off", "bypass"), ("l1", "l1")])
def test_a_model_can_disable_level_two(server: Redis, levels: str, expected: str) -> None:
    plane = replica(server, cache=levels, cache_ttl_seconds=60.0)
    ask(plane, ROW)
    assert ask(plane, ROW).cache == expected
    assert keeper(server).dbsize() == 0


def test_a_time_to_live_of_zero_disables_level_two(server: Redis) -> None:
    plane = replica(server, cache_l2_ttl_seconds=0.0)
    assert [ask(plane, ROW).cache for _ in range(2)] == ["bypass", "bypass"]


def test_a_call_with_no_cache_bypasses_both_levels(server: Redis) -> None:
    plane = replica(server)
    assert ask(plane, ROW, no_cache=True).cache == "bypass"
    assert keeper(server).dbsize() == 0


def test_by_default_a_run_cheaper_than_a_round_trip_is_not_looked_up(server: Redis) -> None:
    plane = replica(server, cache="auto")
    assert [ask(plane, ROW, waits=False).cache for _ in range(2)] == ["miss", "miss"]
    assert keeper(server).dbsize() == 0


def test_by_default_a_run_costlier_than_a_round_trip_is_looked_up(server: Redis) -> None:
    plane = replica(server, cache="auto")
    load(plane, onnx.load_from_string(heavy(width=800)), ECHO, np.ones((1, 2)))
    # Both times are measured: while the machine is busy, a round trip may seem the longer one.
    assert hit(plane).cache_hits == 1


def test_hits_are_counted_by_level_and_round_trips_are_measured(server: Redis) -> None:
    plane = replica(server)
    ask(plane, ROW)
    written(plane, 1)
    hit(plane)
    assert samples(plane, "serval_cache_hits_total", level="l2") == [1]
    assert samples(plane, "serval_cache_hits_total", level="l1") == [0]
    assert samples(plane, "serval_cache_level_two_round_trip_seconds_count")[0] >= 2
    assert [samples(plane, "serval_cache_level_two_state", state=state) for state in STATES] == [[1], [0], [0]]


def answers_all_the_while(plane: DataPlane, state: str) -> None:
    """Ask new rows until level two has come to a state; every one of them is answered."""
    asked = iter(range(1_000_000))
    wait_until(
        lambda: bool(ask(plane, f'{{"input":[{next(asked)},0.5]}}').body) and plane.shared_cache_state() == state
    )


def test_calls_succeed_while_redis_is_stopped_and_use_it_again_afterwards(server: Redis) -> None:
    plane = replica(server)
    server.stop()
    answers_all_the_while(plane, "down")
    server.start()
    answers_all_the_while(plane, "up")
    assert samples(plane, "serval_cache_level_two_openings_total") == [1]


def test_calls_succeed_while_redis_is_paused_and_use_it_again_afterwards(server: Redis) -> None:
    plane = replica(server)
    server.pause()
    answers_all_the_while(plane, "down")
    assert samples(plane, "serval_cache_level_two_errors_total", kind="timeout")[0] >= 3
    server.resume()
    answers_all_the_while(plane, "up")


def test_a_redis_that_stops_is_reported_down_without_any_call(server: Redis) -> None:
    plane = replica(server)
    server.stop()
    wait_until(lambda: plane.shared_cache_state() == "down")


def test_a_full_redis_is_read_but_not_written_until_it_has_room(server: Redis) -> None:
    plane = replica(server)
    ask(plane, ROW)
    written(plane, 1)
    keeper(server).config_set("maxmemory", "1")
    answers_all_the_while(plane, "read_only")
    assert samples(plane, "serval_cache_level_two_errors_total", kind="full")[0] >= 1
    assert hit(plane).cache == "l2"
    keeper(server).config_set("maxmemory", "0")
    answers_all_the_while(plane, "up")


def test_a_redis_that_is_unreachable_at_start_is_connected_to_later(server: Redis) -> None:
    server.stop()
    plane = new_plane(cache_url=server.url, cache_secret=SECRET)
    assert plane.shared_cache_state() == "down"
    server.start()
    wait_until(lambda: plane.shared_cache_state() == "up")


def test_level_two_is_off_without_a_redis_url() -> None:
    plane = new_plane()
    assert plane.shared_cache_state() == "off"
    assert b"level_two" not in plane.metrics()


@pytest.mark.parametrize(
    "settings", [{"cache_url": "http://nowhere"}, {"cache_url": "redis://x", "cache_secret": b"short"}]
)
def test_an_invalid_redis_url_or_secret_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"URL|expected"):
        new_plane(**settings)
