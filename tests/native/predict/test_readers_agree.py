"""The two readers of JSON bodies: what Rust accepts, Python reads to the same bits; what Python refuses, Rust never answers."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from serval._native import Answer, DataPlane, NeedsPython, Refusal
from serval.conversion.signature import Column, Signature
from serval.errors import ServalError, TooLarge
from serval.predictions.decoding import decode_json
from support import planes
from support.planes import new_plane, put_caller, route

KEY = hashlib.sha256(b"a key").digest()
LIBRARY = str(next((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so*")))
MAX_ROWS = 4
COLUMNS = (
    Column("a", "number", "float64"),
    Column("b", "number", "float64", missing="nan"),
    Column("c d", "number", "float64", maximum=1e30),
)
ECHO = Signature("regressor", COLUMNS, True, (), len(COLUMNS), True, False, "float64", "float64")
"""A regressor that answers a row with the row itself, so that an answer shows what was read."""


@pytest.fixture(scope="module")
def plane() -> DataPlane:
    shape = ["rows", len(COLUMNS)]
    numbers, values = (helper.make_tensor_value_info(name, TensorProto.DOUBLE, shape) for name in ("numbers", "values"))
    graph = helper.make_graph([helper.make_node("Identity", ["numbers"], ["values"])], "echo", [numbers], [values])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    plane = new_plane(cache_bytes=0, cache_ttl_seconds=0.0, max_rows=MAX_ROWS)
    plane.models.load(
        "ver_1", onnx.ModelProto.SerializeToString(model), msgspec.json.encode(ECHO), np.zeros((2, 3)).tobytes(), []
    )
    plane.models.set_routes([route(name="echo")])
    put_caller(plane)
    return plane


def ask(plane: DataPlane, body: bytes) -> Any:
    return planes.ask(plane, body, model="echo", no_cache=True, waits=False)


def rows_read(answer: Answer) -> list[list[float]]:
    document = json.loads(answer.body)
    rows = document["predictions"] if "predictions" in document else [document["prediction"]]
    return [[math.nan if cell is None else float(cell) for cell in row] for row in rows]


def assert_both_agree(plane: DataPlane, body: bytes) -> None:
    reply = ask(plane, body)
    try:
        decoded = decode_json(body, ECHO, max_rows=MAX_ROWS, shape="full")
    except TooLarge:
        assert isinstance(reply, NeedsPython | Refusal)
    except ServalError:
        assert isinstance(reply, NeedsPython) or reply.code == "too_many_rows"
    else:
        assert isinstance(reply, Answer | NeedsPython)
        if isinstance(reply, Answer):
            assert np.array(rows_read(reply)).tobytes() == decoded.numbers
            assert decoded.is_list == (b'"predictions"' in reply.body)


numbers = (
    st.floats(allow_nan=False).map(repr)
    | st.integers(-(2**54), 2**54).map(str)
    | st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
)
cells = numbers | st.sampled_from(
    ["null", "true", '"1"', "[]", "{}", "01", "+1", ".5", "1.", "NaN", "1e400", "-0", "1e-400", "9007199254740993"]
)
spaces = st.sampled_from(["", " ", "\n\t", "\r\n"])
rows_by_position = st.lists(cells, min_size=2, max_size=4).map(lambda row: f"[{','.join(row)}]")
names = st.sampled_from(["a", "b", "c d", "e", "\\u0061", "A"])
rows_by_name = st.lists(st.tuples(names, spaces, cells), min_size=2, max_size=4).map(
    lambda members: "{" + ",".join(f'"{name}"{space}:{space}{cell}' for name, space, cell in members) + "}"
)
good_row = st.tuples(numbers, numbers | st.just("null"), numbers).map(lambda row: f"[{','.join(row)}]")
row = good_row | rows_by_position | rows_by_name
values = row | st.lists(row, max_size=6).map(lambda rows: f"[{','.join(rows)}]")
keys = st.sampled_from(["input", "inputs", "data", "features", "model_name", "x"])
bodies = st.tuples(
    st.lists(st.tuples(keys, values), min_size=1, max_size=2), spaces, st.sampled_from(["", "", "", "x", "}"])
).map(
    lambda parts: (
        parts[1] + "{" + ",".join(f'"{key}":{value}' for key, value in parts[0]) + "}" + parts[1] + parts[2]
    ).encode()
)


@given(body=bodies)
@example(body=b'{"inputs": [[1,2,3],[1,2,3],[1,2,3],[1,2,3]]}')
@example(body=b'{"inputs": [[1,2,3],[1,2,3],[1,2,3],[1,2,3],[1,2,3]]}')
@example(body=b'{"input": [-0, null, 1e-400]}')
@example(body=b'{"input": {"a": 1, "b": 2, "c d": 3, "a": 1}}')
@example(body=b'\xef\xbb\xbf{"input": [1, 2, 3]}')
def test_rust_and_python_read_a_body_alike(plane: DataPlane, body: bytes) -> None:
    assert_both_agree(plane, body)


@given(row=st.tuples(numbers, numbers, numbers))
def test_every_spelling_of_a_number_is_one_value_to_both(plane: DataPlane, row: tuple[str, ...]) -> None:
    assert_both_agree(plane, f'{{"input": [{", ".join(row)}]}}'.encode())


@given(body=st.binary(max_size=40) | st.text('{}[]",:input0123456789.eE+-null \\', max_size=60).map(str.encode))
def test_what_python_refuses_rust_never_answers(plane: DataPlane, body: bytes) -> None:
    assert_both_agree(plane, body)


def test_the_plain_forms_are_answered_by_rust(plane: DataPlane) -> None:
    plain = [
        '{"input":[1,2,3]}',
        '{"inputs":[[1,null,3]]}',
        '{"data":{"c d":1,"a":2,"b":3}}',
        '{ "features" : [ 1.5e3 , -0 , 2 ] }',
    ]
    assert [body for body in plain if not isinstance(ask(plane, body.encode()), Answer)] == []
