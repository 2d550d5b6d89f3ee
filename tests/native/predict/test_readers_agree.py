"""Rust and Python read JSON bodies alike: to the same bits, and Rust answers nothing that Python refuses."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serval._native import Answer, DataPlane
from support.json_readers import ask, assert_readers_agree, echo_plane


@pytest.fixture(scope="module")
def plane() -> DataPlane:
    return echo_plane()


numbers = (
    st.floats(allow_nan=False).map(repr)
    | st.integers(-(2**54), 2**54).map(str)
    | st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
)
cells = numbers | st.sampled_from(
    [
        "null",
        "true",
        "false",
        "tru",
        '"1"',
        '"\\u0061"',
        '"é"',
        "[]",
        "{}",
        "01",
        "+1",
        ".5",
        "1.",
        "NaN",
        "1e400",
        "-0",
        "1e-400",
        "9007199254740993",
    ]
)
spaces = st.sampled_from(["", " ", "\n\t", "\r\n"])
rows_by_position = st.lists(cells, min_size=4, max_size=6).map(lambda row: f"[{','.join(row)}]")
names = st.sampled_from(["a", "b", "c d", "e", "f", "g", "\\u0061", "A"])
rows_by_name = st.lists(st.tuples(names, spaces, cells), min_size=3, max_size=6).map(
    lambda members: "{" + ",".join(f'"{name}"{space}:{space}{cell}' for name, space, cell in members) + "}"
)
booleans = st.sampled_from(["true", "false", "0", "1", "-0", "1.0", "10e-1"])
anything = cells | st.text('ab{}[]",:\\', max_size=5).map(lambda text: f'"{text}"')
good_cells = st.tuples(numbers | booleans, numbers | st.just("null"), anything, numbers, booleans | st.just("null"))
good_row = good_cells.map(lambda row: f"[{','.join(row)}]")
good_named_row = st.tuples(good_cells, st.permutations(["a", "b", "e", "c d", "f"]), st.integers(4, 5)).map(
    lambda parts: (
        "{"
        + ",".join(
            f'"{name}":{dict(zip(["a", "b", "e", "c d", "f"], parts[0], strict=True))[name]}'
            for name in parts[1][: parts[2]]
        )
        + "}"
    )
)
row = good_row | good_named_row | rows_by_position | rows_by_name
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
@example(body=b'{"inputs": [[1,2,3,4,1],[1,2,3,4,1],[1,2,3,4,1],[1,2,3,4,1]]}')
@example(body=b'{"inputs": [[1,2,3,4,1],[1,2,3,4,1],[1,2,3,4,1],[1,2,3,4,1],[1,2,3,4,1]]}')
@example(body=b'{"input": [-0, null, "x", 1e-400, true]}')
@example(body=b'{"input": {"a": 1, "b": 2, "c d": 3, "f": true, "a": 1}}')
@example(body=b'{"input": {"a": 1, "b": 2, "c d": 3, "f": true, "e": 1, "e": 1}}')
@example(body=b'{"input": {"a": 1, "b": 2, "c d": 3, "f": -0, "e": [1, {"x": 2}]}}')
@example(body=b'{"input": {"a": 1, "b": 2, "c d": 3, "f": 1, "e": [01]}}')
@example(body=b'\xef\xbb\xbf{"input": [1, 2, 3, 4, 1]}')
def test_rust_and_python_read_a_body_alike(plane: DataPlane, body: bytes) -> None:
    assert_readers_agree(plane, body)


@given(row=st.tuples(numbers, numbers, anything, numbers, booleans))
def test_rust_and_python_read_every_spelling_of_a_number_alike(plane: DataPlane, row: tuple[str, ...]) -> None:
    assert_readers_agree(plane, f'{{"input": [{", ".join(row)}]}}'.encode())


@given(body=st.binary(max_size=40) | st.text('{}[]",:input0123456789.eE+-null \\', max_size=60).map(str.encode))
def test_rust_never_answers_a_body_that_python_refuses(plane: DataPlane, body: bytes) -> None:
    assert_readers_agree(plane, body)


def test_rust_answers_the_usual_forms_of_a_body(plane: DataPlane) -> None:
    plain = [
        '{"input":[1,2,"any",3,true]}',
        '{"inputs":[[1,null,3,4,null]]}',
        '{"data":{"c d":1,"a":2,"b":3,"f":0}}',
        '{"data":{"c d":1,"a":true,"b":3,"f":false,"e":"2026-01-01"}}',
        '{ "features" : [ 1.5e3 , -0 , null , 2 , 1.0 ] }',
    ]
    assert [body for body in plain if not isinstance(ask(plane, body.encode()), Answer)] == []
