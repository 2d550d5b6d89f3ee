"""Rust and Python read bodies alike: to the same bits, and Rust answers nothing that Python refuses."""

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serval._native import Answer
from serval.data_plane.request import CsvDialect
from support.body_readers import NUMBERS, STRINGS, Readers


@pytest.fixture(scope="module")
def readers() -> Readers:
    return Readers(NUMBERS)


@pytest.fixture(scope="module")
def readers_of_strings() -> Readers:
    return Readers(STRINGS)


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
@example(body=b'{"input": [1, 2, 0, 3, -1]}')
@example(body=b'{"input": [-0, null, "x", 1e-400, true]}')
@example(body=b'{"input": {"a": 1, "b": 2, "c d": 3, "f": true, "a": 1}}')
@example(body=b'{"input": {"a": 1, "b": 2, "c d": 3, "f": true, "e": 1, "e": 1}}')
@example(body=b'{"input": {"a": 1, "b": 2, "c d": 3, "f": -0, "e": [1, {"x": 2}]}}')
@example(body=b'{"input": {"a": 1, "b": 2, "c d": 3, "f": 1, "e": [01]}}')
@example(body=b'\xef\xbb\xbf{"input": [1, 2, 3, 4, 1]}')
def test_rust_and_python_read_a_body_alike(readers: Readers, body: bytes) -> None:
    readers.assert_agree(body)


@given(row=st.tuples(numbers, numbers, anything, numbers, booleans))
def test_rust_and_python_read_every_spelling_of_a_number_alike(readers: Readers, row: tuple[str, ...]) -> None:
    readers.assert_agree(f'{{"input": [{", ".join(row)}]}}'.encode())


@given(body=st.binary(max_size=40) | st.text('{}[]",:input0123456789.eE+-null \\', max_size=60).map(str.encode))
def test_rust_never_answers_a_body_that_python_refuses(readers: Readers, body: bytes) -> None:
    readers.assert_agree(body)


def test_rust_answers_the_usual_forms_of_a_body(readers: Readers) -> None:
    plain = [
        '{"input":[1,2,"any",3,true]}',
        '{"inputs":[[1,null,3,4,null]]}',
        '{"data":{"c d":1,"a":2,"b":3,"f":0}}',
        '{"data":{"c d":1,"a":true,"b":3,"f":false,"e":"2026-01-01"}}',
        '{ "features" : [ 1.5e3 , -0 , null , 2 , 1.0 ] }',
    ]
    assert [body for body in plain if not isinstance(readers.ask(body.encode()), Answer)] == []


TEXTS = ["basic", "", "é\n", "🦡", "日本", '"\\/', "\b\f\r\t", "\x1a", "\0", "\x7f", "gold", "\u2028", "x" * 300]


def spelled(text: str, ways: list[int]) -> str:
    """A string as JSON may write it: each character as itself, where it may be, or in one of its escapes."""

    def character(one: str, way: int) -> str:
        units = one.encode("utf-16-be").hex()
        codes = [units[at : at + 4] for at in range(0, len(units), 4)]
        return [
            json.dumps(one, ensure_ascii=False)[1:-1],
            json.dumps(one)[1:-1],
            "".join(f"\\u{code}" for code in codes),
            "".join(f"\\u{code.upper()}" for code in codes),
        ][way]

    return '"' + "".join(character(one, ways[place % len(ways)]) for place, one in enumerate(text)) + '"'


ways = st.lists(st.integers(0, 3), min_size=1, max_size=4)
spelled_texts = st.builds(spelled, st.sampled_from(TEXTS) | st.text(max_size=6), ways)
odd_texts = st.sampled_from(
    ['"\\ud800"', '"\\udc00\\ud800"', '"\\ud83e\\u0041"', '"\\x"', '"\\u12"', '"a\tb"', "'a'", '"\\"', '"é', "1", "[]"]
)
text_names = ["a", "b", "c d", "f", "s", "n", 't "é"', "u", "v", "e"]
text_cells = st.tuples(
    numbers,
    numbers,
    st.sampled_from(["1", "-2.5", "1e29"]),
    booleans,
    spelled_texts | st.just("null"),
    st.sampled_from(["0", "1", "2.5", "-0", "25e-1", "true"]),
    spelled_texts,
    st.builds(spelled, st.sampled_from(["", "basic", "é\n", "🦡"]), ways),
    st.sampled_from(["true", "1", "1.0"]),
    numbers | spelled_texts,
)
odd_cells = st.tuples(
    st.integers(0, 9), odd_texts | st.sampled_from(["null", "2", "false", '"gold"', "9007199254740993"])
)


def replaced(row: tuple[str, ...], odd: tuple[int, str] | None) -> list[str]:
    cells = list(row)
    if odd is not None:
        cells[odd[0]] = odd[1]
    return cells


text_rows = st.builds(replaced, text_cells, st.none() | st.none() | odd_cells)
text_rows_by_name = st.tuples(text_rows, st.permutations(range(10)), st.integers(9, 10), ways).map(
    lambda parts: (
        "{" + ",".join(f"{spelled(text_names[at], parts[3])}:{parts[0][at]}" for at in parts[1][: parts[2]]) + "}"
    )
)
text_rows_by_position = text_rows.map(lambda row: f"[{','.join([*row[:2], row[9], *row[2:9]])}]")


@given(rows=st.lists(text_rows_by_name | text_rows_by_position, min_size=1, max_size=3))
def test_rust_and_python_read_strings_alike(readers_of_strings: Readers, rows: list[str]) -> None:
    readers_of_strings.assert_agree(f'{{"input": {rows[0]}}}'.encode())
    readers_of_strings.assert_agree(f'{{"inputs": [{",".join(rows)}]}}'.encode())


@given(string=st.binary(max_size=12) | st.text(max_size=12).map(str.encode))
def test_no_bytes_between_quotes_are_another_string_for_rust(readers_of_strings: Readers, string: bytes) -> None:
    readers_of_strings.assert_agree(b'{"input": [1, 2, 0, 3, 1, "%b", 1, "%b", "basic", 1]}' % (string, string))


def test_rust_answers_the_usual_forms_of_strings(readers_of_strings: Readers) -> None:
    usual = [
        '{"input":[1,2,"any",3,true,"Köln",2.5,"x","basic",true]}',
        '{"inputs":[[1,null,null,3,null,null,0,"","",1],[1,2,3,4,1,"K\\u00f6ln",1,"\\"","\\u00e9\\n",1]]}',
        '{"data":{"u":"\\ud83e\\udda1","t \\"\\u00e9\\"":"x","s":"y","v":1,"n":1,"c d":1,"a":2,"b":3,"f":0}}',
    ]
    assert [body for body in usual if not isinstance(readers_of_strings.ask(body.encode()), Answer)] == []


fields = st.sampled_from(
    [
        "",
        "1",
        "0",
        "-0",
        "2.5",
        " 1 ",
        "+1.",
        ".5",
        "1e3",
        "true",
        "False",
        "NA",
        "nan",
        "inf",
        "basic",
        "é\n",
        "🦡",
        "a,b",
    ]
)
odd_fields = st.sampled_from(
    ["1e999", "9007199254740993", "0009007199254740992", "1_0", "\xa01", "\x0b1", "0x1", " ", "\x1a", "\0", "gold", "-"]
) | st.text(max_size=4)
good_records = st.tuples(
    st.sampled_from(["1", "-0", " 2.5 ", "1e3", "TRUE"]),
    st.sampled_from(["1", "", "NA", "nan"]),
    st.sampled_from(["3", ".5", "+1."]),
    st.sampled_from(["1", "", "true", "False"]),
    fields | st.text(max_size=4),
    st.sampled_from(["0", "1", "2.5", "-0"]),
    st.text('ab,;"\n\r é🦡', min_size=1, max_size=4),
    st.sampled_from(["basic", "é\n", "🦡"]),
    st.sampled_from(["1", "true", "TRUE"]),
    fields,
)
records = st.builds(replaced, good_records, st.none() | st.none() | st.tuples(st.integers(0, 9), odd_fields))
dialects = st.builds(CsvDialect, st.booleans(), st.sampled_from([",", ";", "\t", " ", "é"]))


@given(
    rows=st.lists(records, min_size=1, max_size=4),
    order=st.permutations(range(10)),
    width=st.integers(9, 10),
    dialect=dialects,
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_rust_and_python_read_tables_alike(
    readers_of_strings: Readers,
    rows: list[list[str]],
    order: list[int],
    width: int,
    dialect: CsvDialect,
    quoting: Any,
    end: str,
) -> None:
    order = order[:width] if dialect.has_header else [0, 1, 9, *range(2, 9)]
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=dialect.delimiter, quoting=quoting, lineterminator=end)
    table = [[row[place] for place in order] for row in rows]
    writer.writerows([[text_names[place] for place in order], *table] if dialect.has_header else table)
    readers_of_strings.assert_agree(text.getvalue().encode(), dialect)
    readers_of_strings.assert_agree(text.getvalue().rstrip("\r\n").encode(), dialect)


@given(body=st.binary(max_size=60) | st.text('ab,"\n\r01. ', max_size=60).map(str.encode), dialect=dialects)
def test_rust_never_answers_a_table_that_python_refuses(readers: Readers, body: bytes, dialect: CsvDialect) -> None:
    readers.assert_agree(body, dialect)
    readers.assert_agree(b"a,b,c d,f\n1,2,3,0\n" + body, CsvDialect(True, ","))


def test_rust_answers_the_usual_tables(readers_of_strings: Readers) -> None:
    usual = [
        ('a,b,c d,f,s,n,"t ""é""",u,v\n1,,3,true,Köln,1,"x, y",basic,1\n2,NA,4,,,2.5,z,"é\n",TRUE\n', True, ","),
        ('\ufeff1;2;any;3;1;s;1;"a""b";basic;true\r\n', False, ";"),
    ]
    assert [
        body
        for body, has_header, delimiter in usual
        if not isinstance(readers_of_strings.ask(body.encode(), CsvDialect(has_header, delimiter)), Answer)
    ] == []
