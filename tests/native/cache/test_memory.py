"""The first cache level: equal rows share an entry only where they may."""

import hashlib
import json
import re
from typing import Any

import numpy as np
import pytest

from serval._native import Answer, DataPlane
from support import graphs
from support.planes import ask, load, new_plane, predict, put_caller, route, signature

ROW = '{"input":[0.25,0.75]}'
CONTRACT = signature(2, labels=[["no", "yes"]])


def cached_plane(**settings: Any) -> DataPlane:
    plane = new_plane(**settings)
    put_caller(plane)
    load(plane, graphs.largest(2), CONTRACT, np.ones((1, 2)))
    plane.models.set_routes([route()])
    return plane


def caches(plane: DataPlane, *bodies: str, **settings: Any) -> list[str]:
    return [ask(plane, body, **settings).cache for body in bodies]


def sample(plane: DataPlane, name: str) -> int:
    found = re.search(rf"^{name} (\d+)$", plane.metrics().decode(), re.MULTILINE)
    assert found
    return int(found[1])


def test_the_second_equal_call_is_a_cache_hit() -> None:
    assert caches(cached_plane(), ROW, ROW) == ["miss", "l1"]


def test_spellings_of_one_number_share_an_entry() -> None:
    spellings = ["1", "1.0", "1e0", "10e-1", "0.1E+1"]
    replies = caches(
        cached_plane(),
        *[f'{{"input":[{spelling},0]}}' for spelling in spellings],
        '{"data":{"x1":0,"x0":1}}',
        '{"inputs":[[1,0]]}',
    )
    assert replies == ["miss"] + ["l1"] * 6


def test_minus_zero_has_an_entry_of_its_own() -> None:
    assert caches(cached_plane(), '{"input":[0.0,1]}', '{"input":[-0.0,1]}') == ["miss", "miss"]


def test_missing_values_share_an_entry() -> None:
    plane = cached_plane()
    columns = [{"name": f"x{place}", "kind": "number", "dtype": "float64", "missing": "nan"} for place in range(2)]
    load(plane, graphs.largest(2), CONTRACT | {"columns": columns}, np.ones((1, 2)))
    assert ask(plane, '{"input":[null,1]}').cache == "miss"
    other_nan = np.frombuffer(np.array([0xFFF8000000001234], dtype=np.uint64).tobytes(), dtype=np.float64)
    numbers = np.array([other_nan[0], 1.0]).tobytes()
    reply: Any = predict(plane, numbers)
    assert reply.cache == "l1"


def test_rows_are_cached_one_by_one() -> None:
    plane = cached_plane()
    ask(plane, '{"input":[1,2]}')
    reply = ask(plane, '{"inputs":[[3,4],[1,2],[5,6]]}')
    assert (reply.cache, reply.cache_hits, reply.rows) == ("miss", 1, 3)
    assert json.loads(reply.body)["cache_hits"] == 1
    assert ask(plane, '{"inputs":[[5,6],[3,4]]}').cache == "l1"


def two_owners() -> DataPlane:
    """The same file, with the same version id even, on the routes of two owners."""
    plane = cached_plane()
    plane.models.set_routes([route(), route("mdl_2", owner="usr_2", owner_username="bob")])
    put_caller(plane, hashlib.sha256(b"bob").digest(), "usr_2")
    return plane


def test_models_of_different_owners_share_no_entries() -> None:
    plane = two_owners()
    assert caches(plane, ROW, ROW) == ["miss", "l1"]
    assert caches(plane, ROW, ROW, caller=hashlib.sha256(b"bob").digest()) == ["miss", "l1"]


@pytest.mark.parametrize(
    ("sharing", "second"), [({"shared_with": frozenset({"usr_2"})}, "miss"), ({"is_public": True}, "l1")]
)
def test_users_of_one_model_share_its_rows_only_where_it_is_public(sharing: dict[str, Any], second: str) -> None:
    plane = cached_plane()
    plane.models.set_routes([route(**sharing)])
    bob = hashlib.sha256(b"bob").digest()
    put_caller(plane, bob, "usr_2")
    assert caches(plane, ROW, ROW) == ["miss", "l1"]
    assert caches(plane, ROW, ROW, caller=bob, model="ada/iris") == [second, "l1"]


def test_versions_of_a_model_share_no_entries() -> None:
    plane = cached_plane()
    load(plane, graphs.largest(2), CONTRACT, np.ones((1, 2)), "ver_2")
    plane.models.set_routes([route(versions={1: "ver_1", 2: "ver_2"})])
    assert caches(plane, ROW, ROW, version=1) == ["miss", "l1"]
    assert caches(plane, ROW, ROW, version=2) == ["miss", "l1"]


def test_promoting_a_version_needs_no_invalidation() -> None:
    plane = cached_plane()
    load(plane, graphs.largest(2), CONTRACT | {"labels": [["NO", "YES"]]}, np.ones((1, 2)), "ver_2")
    assert json.loads(ask(plane, ROW).body)["prediction"] == "yes"
    plane.models.set_routes([route(live=2, versions={1: "ver_1", 2: "ver_2"})])
    assert json.loads(ask(plane, ROW).body)["prediction"] == "YES"
    plane.models.set_routes([route(live=1, versions={1: "ver_1", 2: "ver_2"})])
    assert ask(plane, ROW).cache == "l1"


def test_another_signature_under_the_same_id_shares_no_entries() -> None:
    plane = cached_plane()
    ask(plane, ROW)
    load(plane, graphs.largest(2), CONTRACT | {"labels": [["yes", "no"]]}, np.ones((1, 2)))
    reply = ask(plane, ROW)
    assert (reply.cache, json.loads(reply.body)["prediction"]) == ("miss", "no")


def test_an_expired_entry_is_not_used() -> None:
    assert caches(cached_plane(cache_ttl_seconds=1e-9), ROW, ROW) == ["miss", "miss"]


@pytest.mark.parametrize(("ttl_seconds", "expected"), [(0.0, ["bypass", "bypass"]), (60.0, ["miss", "l1"])])
def test_a_route_has_its_own_time_to_live(ttl_seconds: float, expected: list[str]) -> None:
    plane = cached_plane(cache_ttl_seconds=0.0)
    plane.models.set_routes([route(cache_ttl_seconds=ttl_seconds)])
    assert caches(plane, ROW, ROW) == expected


def test_a_call_with_no_cache_bypasses_the_cache() -> None:
    plane = cached_plane()
    ask(plane, ROW)
    assert ask(plane, ROW, no_cache=True).cache == "bypass"


def test_a_capacity_of_zero_bytes_disables_the_cache() -> None:
    assert caches(cached_plane(cache_bytes=0), ROW, ROW) == ["bypass", "bypass"]


def test_cache_bytes_are_bounded_and_evictions_are_counted() -> None:
    plane = cached_plane(cache_bytes=100_000)
    for place in range(40):
        ask(plane, json.dumps({"inputs": [[place, row] for row in range(100)]}))
    assert sample(plane, "serval_cache_bytes") <= 100_000
    assert sample(plane, "serval_cache_evictions_total") > 2000
    assert sample(plane, "serval_cache_entries") > 100


def test_a_cached_answer_has_equal_bytes() -> None:
    plane = cached_plane()
    members = [json.loads(ask(plane, ROW).body, parse_float=str) for _ in range(2)]
    for member in ("prediction", "probability", "probabilities"):
        assert members[0][member] == members[1][member]
    assert [answer["cache_hit"] for answer in members] == [False, True]


def test_a_cache_hit_is_answered_inline_however_expensive_the_model() -> None:
    plane = cached_plane(inline_below_seconds=1e-6)
    assert not isinstance(ask(plane, ROW, waits=False), Answer)
    ask(plane, ROW)
    assert ask(plane, ROW, waits=False).cache == "l1"
