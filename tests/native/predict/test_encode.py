"""Encoded answers are what Python's json and numpy write, byte for byte."""

import json
import math
import re
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serval._native import Answer, DataPlane, Refusal
from support import graphs
from support.planes import ask, predict, regressor, signature

Serve = Callable[..., DataPlane]


def predicted(plane: DataPlane, rows: np.ndarray) -> bytes:
    """The answer to rows that Python decoded."""
    numbers = np.ascontiguousarray(rows, dtype=np.float64).tobytes()
    reply = predict(plane, numbers, is_list=True, no_cache=True)
    assert isinstance(reply, Answer)
    return reply.body


def finite_or_null(number: float) -> str:
    return repr(number) if math.isfinite(number) else "null"


@given(st.lists(st.tuples(st.floats(), st.floats()), min_size=1, max_size=20))
@example(
    [
        (0.0, -0.0),
        (1e16, 1e-5),
        (9999999999999998.0, 0.0001),
        (5e-324, 1.7976931348623157e308),
        (123456789012345680.0, 1e22),
    ]
)
def test_float64_prints_as_python_prints_it(echo64: DataPlane, rows: list[tuple[float, float]]) -> None:
    expected = ",".join(f"[{finite_or_null(one)},{finite_or_null(other)}]" for one, other in rows)
    assert predicted(echo64, np.array(rows)).startswith(f'{{"predictions":[{expected}],"model":'.encode())


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=2, max_size=2))
@example([1e-5, 16777216.0])
@example([1.4480928e-08, 3.4028234663852886e38])
@example([9.999999e15, 1e16])
def test_float32_has_the_digits_of_numpy_in_the_layout_of_python(echo32: DataPlane, row: list[float]) -> None:
    expected = ",".join(repr(float(str(np.float32(number)))) for number in row)
    assert predicted(echo32, np.array([row])).startswith(f'{{"predictions":[[{expected}]],"model":'.encode())


def timeless(answer: Answer) -> str:
    """The body with its time and duration taken out."""
    body = re.sub(r'"latency_ms":\d+\.\d{3}', '"latency_ms":0.000', answer.body.decode())
    return re.sub(r'"timestamp":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"', '"timestamp":"T"', body)


TAIL = '"model":"iris","version":"ver_1","model_version":1,"latency_ms":0.000,'


def test_one_row_has_its_label_its_probability_and_a_map(serve: Serve) -> None:
    plane = serve(graphs.largest(3), signature(3, labels=[["setosa", 'a "b" \\ é', "\u2028"]]))
    reply = ask(plane, '{"input":[0.25,0.5,0.25]}')
    expected = (
        '{"prediction":"a \\"b\\" \\\\ é","probability":0.5,'
        '"probabilities":{"setosa":0.25,"a \\"b\\" \\\\ é":0.5,"\u2028":0.25},'
    )
    assert timeless(reply) == expected + TAIL + '"cache_hit":false,"timestamp":"T"}'


def test_the_short_answer_has_four_members(serve: Serve) -> None:
    plane = serve(graphs.largest(3), signature(3))
    reply = ask(plane, '{"model_name":"iris","features":[0.25,0.5,0.25]}', "short")
    assert timeless(reply) == '{"prediction":1,"probability":0.5,"latency_ms":0.000,"cache_hit":false}'


def test_without_probabilities_the_short_answer_has_null(serve: Serve) -> None:
    plane = serve(graphs.largest(3, has_probabilities=False), signature(3, has_probabilities=False))
    reply = ask(plane, '{"model_name":"iris","features":[0.25,0.5,0.25]}', "short")
    assert timeless(reply) == '{"prediction":1,"probability":null,"latency_ms":0.000,"cache_hit":false}'


def test_without_probabilities_the_full_answer_leaves_them_out(serve: Serve) -> None:
    plane = serve(graphs.largest(3, has_probabilities=False), signature(3, has_probabilities=False))
    assert (
        timeless(ask(plane, '{"input":[0.25,0.5,0.25]}'))
        == '{"prediction":1,' + TAIL + '"cache_hit":false,"timestamp":"T"}'
    )


def test_many_rows_have_probabilities_when_asked(serve: Serve) -> None:
    plane = serve(graphs.largest(2), signature(2, labels=[[True, False]]))
    body = '{"inputs":[[0.25,0.75],[1,0]]}'
    assert timeless(ask(plane, body)) == '{"predictions":[false,true],' + TAIL + '"cache_hits":0,"timestamp":"T"}'
    expected = '{"predictions":[false,true],"classes":[true,false],"probabilities":[[0.25,0.75],[1.0,0.0]],'
    assert timeless(ask(plane, body, all_probabilities=True)) == expected + TAIL + '"cache_hits":2,"timestamp":"T"}'


def test_a_list_of_one_row_is_answered_with_a_list(serve: Serve) -> None:
    plane = serve(graphs.largest(2), signature(2, labels=[[0, 1]]))
    assert timeless(ask(plane, '{"inputs":[[0,1]]}')).startswith('{"predictions":[1],"model"')


def test_labels_that_look_alike_come_as_classes_and_a_list(serve: Serve) -> None:
    plane = serve(graphs.largest(2), signature(2, labels=[[1, "1"]]))
    assert timeless(ask(plane, '{"input":[0.25,0.75]}')).startswith(
        '{"prediction":"1","probability":0.75,"classes":[1,"1"],"probabilities":[0.25,0.75],"model"'
    )


@pytest.mark.parametrize(("classes", "is_mapped"), [(20, True), (21, False)])
def test_probabilities_are_included_by_default_up_to_twenty_classes(
    serve: Serve, classes: int, is_mapped: bool
) -> None:
    plane = serve(graphs.largest(classes), signature(classes, labels=[list(range(classes))]))
    body = json.dumps({"input": [0] * classes})
    assert ("probabilities" in json.loads(ask(plane, body).body)) is is_mapped
    assert "probabilities" in json.loads(ask(plane, body, all_probabilities=True).body)


TWO_TARGETS: dict[str, Any] = {"labels": [["no", "yes"], [0, 1, 2]], "targets": 2, "is_multi_target": True}
OF_TWO_TARGETS = [0.25, 0.75, 0.5, 0.125, 0.375]


def test_several_targets_have_a_table_each(serve: Serve) -> None:
    plane = serve(graphs.largest_of([2, 3]), signature(5, **TWO_TARGETS))
    one = ask(plane, json.dumps({"input": OF_TWO_TARGETS}))
    assert timeless(one) == (
        '{"prediction":["yes",0],"probability":[0.75,0.5],'
        '"probabilities":[{"no":0.25,"yes":0.75},{"0":0.5,"1":0.125,"2":0.375}],'
        + TAIL
        + '"cache_hit":false,"timestamp":"T"}'
    )
    short = ask(plane, json.dumps({"model_name": "iris", "features": OF_TWO_TARGETS}), "short")
    assert timeless(short) == '{"prediction":["yes",0],"probability":[0.75,0.5],"latency_ms":0.000,"cache_hit":true}'


def test_many_rows_of_several_targets_have_their_tables_when_asked_cached_or_not(serve: Serve) -> None:
    plane = serve(graphs.largest_of([2, 3]), signature(5, **TWO_TARGETS))
    body = json.dumps({"inputs": [OF_TWO_TARGETS, [1, 0, 0, 0, 1]]})
    expected = (
        '{"predictions":[["yes",0],["no",2]],"classes":[["no","yes"],[0,1,2]],'
        '"probabilities":[[[0.25,0.75],[0.5,0.125,0.375]],[[1.0,0.0],[0.0,0.0,1.0]]],'
    )
    for hits in (0, 2):
        answer = timeless(ask(plane, body, all_probabilities=True))
        assert answer == expected + TAIL + f'"cache_hits":{hits},"timestamp":"T"}}'
    alone = '{"predictions":[["yes",0],["no",2]],' + TAIL + '"cache_hits":2,"timestamp":"T"}'
    assert timeless(ask(plane, body)) == alone


@pytest.mark.parametrize(("targets", "is_mapped"), [(10, True), (11, False)])
def test_tables_are_included_by_default_up_to_twenty_classes_of_all_targets(
    serve: Serve, targets: int, is_mapped: bool
) -> None:
    contract = signature(2 * targets, labels=[[0, 1]] * targets, targets=targets, is_multi_target=True)
    plane = serve(graphs.largest_of([2] * targets), contract)
    body = json.dumps({"input": [0] * 2 * targets})
    assert ("probabilities" in json.loads(ask(plane, body).body)) is is_mapped
    assert len(json.loads(ask(plane, body, all_probabilities=True).body)["probabilities"]) == targets


@pytest.mark.parametrize(
    "contract",
    [{"labels": [[0, 1]]}, {"labels": [[0, 1], [0, 1]], "targets": 2, "is_multi_target": True}],
    ids=["one target", "two targets"],
)
def test_probabilities_that_a_classifier_has_not_are_refused(serve: Serve, contract: dict[str, Any]) -> None:
    targets = contract.get("targets", 1)
    graph = graphs.largest(2, has_probabilities=False) if targets == 1 else graphs.labels_alone([1, 1])
    plane = serve(graph, signature(2, has_probabilities=False, **contract))
    for body in ('{"input":[0,1]}', '{"inputs":[[0,1]]}'):
        reply = ask(plane, body, all_probabilities=True)
        assert isinstance(reply, Refusal)
        assert (reply.code, reply.arguments) == ("no_probabilities", {"version": "1"})
    reply = predict(plane, np.zeros(2).tobytes(), all_probabilities=True)
    assert isinstance(reply, Refusal)
    assert reply.code == "no_probabilities"


def test_a_regressor_answers_with_its_value_whatever_is_asked(serve: Serve) -> None:
    plane = serve(graphs.echo(1), regressor(1, numbers_dtype="float64", scores_dtype="float64"))
    assert json.loads(ask(plane, '{"input":[0.5]}', all_probabilities=True).body)["prediction"] == 0.5


def test_a_probability_that_is_no_number_is_null(serve: Serve) -> None:
    columns = [{"name": f"x{place}", "kind": "number", "dtype": "float64", "missing": "nan"} for place in range(2)]
    plane = serve(graphs.largest(2), signature(2, labels=[[0, 1]], columns=columns))
    assert json.loads(ask(plane, '{"input":[null,null]}').body)["probabilities"] == {"0": None, "1": None}


def test_a_multi_target_answer_is_a_list_even_with_one_target(serve: Serve) -> None:
    one = serve(graphs.echo(1), regressor(1, is_multi_target=True, numbers_dtype="float64", scores_dtype="float64"))
    assert json.loads(ask(one, '{"input":[0.1]}').body)["prediction"] == [0.1]


def test_a_regressor_answers_with_a_number(serve: Serve) -> None:
    plane = serve(graphs.echo(1), regressor(1, numbers_dtype="float64", scores_dtype="float64"))
    assert timeless(ask(plane, '{"input":[0.1]}')) == '{"prediction":0.1,' + TAIL + '"cache_hit":false,"timestamp":"T"}'


def test_a_short_request_with_many_rows_gets_the_full_answer(serve: Serve) -> None:
    plane = serve(graphs.largest(2), signature(2, labels=[[0, 1]]))
    reply = ask(plane, '{"model_name":"iris","inputs":[[0,1]]}', "short")
    assert timeless(reply) == '{"predictions":[1],' + TAIL + '"cache_hits":0,"timestamp":"T"}'


def test_latency_counts_from_the_first_byte(serve: Serve) -> None:
    plane = serve(graphs.largest(2), signature(2, labels=[[0, 1]]))
    a_second_ago = time.monotonic_ns() - 10**9
    reply: Any = ask(plane, b'{"input":[0,1]}', started_ns=a_second_ago)
    assert 1000 <= json.loads(reply.body)["latency_ms"] < 2000
    assert 1 <= reply.latency_seconds < 2
