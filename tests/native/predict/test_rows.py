"""Rust reads rows as Python's json does, bit for bit, or leaves them to Python without a panic."""

import json
import struct
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serval._native import Answer, DataPlane, NeedsPython, Refusal
from support.planes import ask

EXACT_INTEGER = 2**53
ROWS_KEYS = ("input", "data", "features", "inputs")


class NotPlainError(Exception):
    """The reference leaves the body as well."""


def refuse(text: str) -> float:
    raise NotPlainError(text)


def read_integer(text: str) -> float:
    if abs(int(text)) > EXACT_INTEGER:
        raise NotPlainError(text)
    return -0.0 if text == "-0" else float(text)


def read_float(text: str) -> float:
    number = float(text)
    if number in {float("inf"), float("-inf")}:
        raise NotPlainError(text)
    return number


def read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise NotPlainError(pairs)
    return dict(pairs)


def reference(body: bytes) -> list[list[float]] | None:
    """The rows of a body by Python's json, or None: slow and obvious."""
    try:
        parsed = json.loads(
            body.decode(),
            parse_int=read_integer,
            parse_float=read_float,
            parse_constant=refuse,
            object_pairs_hook=read_object,
        )
        if not isinstance(parsed, dict) or len(parsed) != 1 or next(iter(parsed)) not in ROWS_KEYS:
            return None
        key, value = next(iter(parsed.items()))
        rows = value if key == "inputs" else [value]
        if not isinstance(rows, list) or not rows:
            return None
        return [read_row(row) for row in rows]
    except (NotPlainError, ValueError, RecursionError):
        return None


def read_row(row: Any) -> list[float]:
    if isinstance(row, dict):
        if row.keys() != {"x0", "x1"}:
            raise NotPlainError(row)
        row = [row["x0"], row["x1"]]
    if not isinstance(row, list) or len(row) != 2:
        raise NotPlainError(row)
    return [read_value(value) for value in row]


def read_value(value: Any) -> float:
    if value is None:
        return float("nan")
    if not isinstance(value, float | bool):
        raise NotPlainError(value)
    return float(value)


def rows_of(answer: Answer) -> list[list[float]]:
    parsed = json.loads(answer.body)
    predictions = parsed["predictions"] if "predictions" in parsed else [parsed["prediction"]]
    return [[float("nan") if value is None else value for value in row] for row in predictions]


def bits(rows: list[list[float]]) -> list[bytes]:
    return [struct.pack(f"{len(row)}d", *row) for row in rows]


def assert_reads_like_python(plane: DataPlane, body: bytes, *, must_answer: bool = False) -> None:
    expected, reply = reference(body), ask(plane, body)
    if isinstance(reply, Answer):
        assert expected is not None, body
        assert bits(rows_of(reply)) == bits(expected), body
    else:
        assert isinstance(reply, NeedsPython)
        assert not must_answer or expected is None, body


def digits(least: int, most: int) -> st.SearchStrategy[str]:
    return st.text("0123456789", min_size=least, max_size=most)


number_texts = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda number: f"{number:.17e}"),
    st.floats(-1e6, 1e6).map(lambda number: f"{number:.6f}"),
    st.integers(-(2**54), 2**54).map(str),
    st.integers().map(str),
    st.builds(
        lambda sign, whole, fraction, exponent: f"{sign}{whole}{fraction}{exponent}",
        st.sampled_from(["", "-"]),
        st.one_of(st.just("0"), st.builds(str.__add__, st.sampled_from("123456789"), digits(0, 25))),
        st.one_of(st.just(""), digits(1, 40).map(".{}".format)),
        st.one_of(
            st.just(""),
            st.builds("{}{}{}".format, st.sampled_from("eE"), st.sampled_from(["", "+", "-"]), digits(1, 4)),
        ),
    ),
)
spaces = st.text(" \t\r\n", max_size=2)


@given(number_texts, number_texts, spaces)
@example("9007199254740992", "-9007199254740993", "")
@example("-0", "-0.0", "")
@example("1e400", "1", "")
@example("2.2250738585072011e-308", "1e23", "")
@example("0.500000000000000166533453693773481063544750213623046875", "179769313486231580793728971405301e276", "")
@example("0e99999999999999999999", "1e-99999999999999999999", "")
def test_numbers_read_as_python_reads_them(echo64: DataPlane, one: str, other: str, space: str) -> None:
    assert_reads_like_python(echo64, f'{{"input":[{space}{one}{space},{other}]}}'.encode(), must_answer=True)


@given(
    st.lists(st.tuples(number_texts, number_texts), min_size=1, max_size=5),
    st.sampled_from(ROWS_KEYS),
    st.booleans(),
    spaces,
)
def test_rows_by_name_and_by_position_read_alike(
    echo64: DataPlane, rows: list[tuple[str, str]], key: str, is_swapped: bool, space: str
) -> None:
    named = ",".join(
        f'{{"x1"{space}:{one},"x0":{space}{other}}}' if is_swapped else f"[{one},{other}{space}]" for one, other in rows
    )
    body = f'{{"{key}":[{named}]}}' if key == "inputs" else f'{{"{key}":{named}}}'
    assert_reads_like_python(echo64, body.encode(), must_answer=True)


SEEDS = [
    b'{"input":[1,2.5]}',
    b'{"inputs":[[1,2],[3,4]]}',
    b'{"data":{"x0":1,"x1":null}}',
    b'{"features":[-0.0,1e-7]}',
    b'{"inputs":[{"x1":1,"x0":2}]}',
]
snippets = st.sampled_from(
    [
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b'"',
        b"\\",
        b"\\u0030",
        b"-",
        b"+",
        b".",
        b"e",
        b"0",
        b"9" * 20,
        b"null",
        b"true",
        b"NaN",
        b"Infinity",
        b'"x0"',
        b'"input"',
        b" ",
        b"\x00",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b"\xc2\xa0",
        b"1e999",
        b"\x0b",
    ]
)


@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3), st.one_of(snippets, st.binary(max_size=3))), max_size=4),
)
def test_damaged_bodies_are_never_read_as_other_values(
    echo64: DataPlane, seed: bytes, damages: list[tuple[int, int, bytes]]
) -> None:
    body = seed
    for place, length, snippet in damages:
        body = body[:place] + snippet + body[place + length :]
    assert_reads_like_python(echo64, body)


@given(st.binary(max_size=200))
def test_any_bytes_are_left_to_python_or_read_as_python_reads_them(echo64: DataPlane, body: bytes) -> None:
    assert_reads_like_python(echo64, body)


def on_a_small_stack(work: Callable[[], Any]) -> Any:
    results: list[Any] = []
    before = threading.stack_size(2 << 20)
    try:
        thread = threading.Thread(target=lambda: results.append(work()))
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    return results[0]


@pytest.mark.parametrize(
    "body",
    [
        b'{"input":' + b"[" * 100_000,
        b"[" * 100_000,
        b'{"input":' + b'{"x0":' * 100_000,
        b'{"inputs":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"input":[' + b"1" * 1_000_000 + b",1]}",
        b'{"input":[1e' + b"9" * 1_000_000 + b",1]}",
        b'{"' + b"a" * 1_000_000,
        b'{"input":[1,2],"input":[1,2]}',
        b'{"input":{"x0":1,"x0":1,"x1":1}}',
        b'{"input":{"\\ud800":1,"x1":1}}',
        b'{"\xed\xa0\x80":[1,2]}',
        b'{"input":[1,2],"inputs":[[1,2]]}',
        b'{"input":"[1,2]"}',
        b"\xef\xbb\xbf" + b'{"input":[1,2]}',
        b'{"input":[1,2]}' + b"\x00",
        b'{"input":[trux,1]}',
        b'{"input":["1",1]}',
        b'{"inputs":[1,2]}',
        b'{"input":[[1,2]]}',
        b'{"inputs":[]}',
    ],
    ids=range(20),
)
def test_hostile_bodies_are_left_to_python_on_a_small_stack(echo64: DataPlane, body: bytes) -> None:
    assert isinstance(on_a_small_stack(lambda: ask(echo64, body)), NeedsPython)
    assert isinstance(on_a_small_stack(lambda: ask(echo64, body, "short")), NeedsPython)


def test_many_digits_are_rounded_once(echo64: DataPlane) -> None:
    assert_reads_like_python(
        echo64, b'{"input":[0.' + b"3" * 100_000 + b",0." + b"0" * 100_000 + b"1]}", must_answer=True
    )


def test_a_row_more_than_the_limit_is_refused(echo32: DataPlane) -> None:
    assert isinstance(ask(echo32, json.dumps({"inputs": [[1, 2]] * 1000})), Answer)
    reply = ask(echo32, json.dumps({"inputs": [[1, 2]] * 1001}))
    assert isinstance(reply, Refusal)
    assert (reply.code, reply.arguments) == ("too_many_rows", {"limit": "1000"})


def test_float32_columns_are_read_as_float64_and_then_cast(echo32: DataPlane) -> None:
    # Read straight to float32 the first would be 1.0000001: it lies a hair above the middle, which float64 does not
    # see.
    assert json.loads(ask(echo32, b'{"input":[1.000000059604644775390625000001,1e39]}').body)["prediction"] == [
        1.0,
        None,
    ]


@pytest.mark.parametrize("body", ['{"model_name":"iris","%s":[1,2]}', '{"%s":[1,2],"model_name":"iris"}'])
@pytest.mark.parametrize("key", ["input", "data", "features"])
def test_a_short_body_takes_every_key_in_any_order(echo64: DataPlane, body: str, key: str) -> None:
    assert json.loads(ask(echo64, body % key, "short").body)["prediction"] == [1.0, 2.0]


def test_a_body_left_to_python_names_its_model_where_that_is_clear(echo64: DataPlane) -> None:
    left = ask(echo64, '{"model_name":"iris","features":[1,2],"\\u0061":1}', "short")
    assert (left.model, left.version, left.version_number) == ("", "", 0)
    left = ask(echo64, '{"model_name":"iris","features":[true,1]}', "short")
    assert (left.model, left.version, left.version_number) == ("mdl_1", "ver_1", 1)
