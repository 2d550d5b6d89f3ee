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
    assert_readers_agree(plane, body)


@given(row=st.tuples(numbers, numbers, numbers))
def test_rust_and_python_read_every_spelling_of_a_number_alike(plane: DataPlane, row: tuple[str, ...]) -> None:
    assert_readers_agree(plane, f'{{"input": [{", ".join(row)}]}}'.encode())


@given(body=st.binary(max_size=40) | st.text('{}[]",:input0123456789.eE+-null \\', max_size=60).map(str.encode))
def test_rust_never_answers_a_body_that_python_refuses(plane: DataPlane, body: bytes) -> None:
    assert_readers_agree(plane, body)


def test_rust_answers_the_usual_forms_of_a_body(plane: DataPlane) -> None:
    plain = [
        '{"input":[1,2,3]}',
        '{"inputs":[[1,null,3]]}',
        '{"data":{"c d":1,"a":2,"b":3}}',
        '{ "features" : [ 1.5e3 , -0 , 2 ] }',
    ]
    assert [body for body in plain if not isinstance(ask(plane, body.encode()), Answer)] == []
