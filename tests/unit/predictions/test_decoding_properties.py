"""Decoded rows equal a slow, obvious reading by `json.loads`, `csv.writer` and numpy."""

import csv
import io
import json
import math
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from serval.conversion.signature import MISSING_STRING, Column, Signature
from serval.errors import InvalidFeatures, MalformedBody, TooLarge
from serval.predictions.csv_rows import decode_csv, read_dialect
from serval.predictions.decoding import decode_json
from serval.predictions.values import Decoded
from support.signatures import signature_of

CELLS = {
    "number": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53) | st.just(-0.0),
    "boolean": st.booleans() | st.sampled_from([0, 1]),
    "string": st.text(st.characters(codec="utf-8", exclude_characters=[MISSING_STRING, "\0"]), max_size=8),
}
names = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12)


@st.composite
def tables(draw: st.DrawFn) -> tuple[Signature, list[list[object]]]:
    """A signature and rows that fit it."""
    column_names = draw(st.lists(names, min_size=1, max_size=5, unique=True))
    kinds = draw(st.lists(st.sampled_from(sorted(CELLS)), min_size=len(column_names), max_size=len(column_names)))
    missing = draw(st.lists(st.sampled_from(["nan", "none", None]), min_size=len(kinds), max_size=len(kinds)))
    columns = [
        Column(*column, missing=marker)
        for column, marker in zip(zip(column_names, kinds, kinds, strict=True), missing, strict=True)
    ]
    row = st.tuples(*(CELLS[column.kind] | st.none() if column.missing else CELLS[column.kind] for column in columns))
    return signature_of(*columns), [list(cells) for cells in draw(st.lists(row, min_size=1, max_size=5))]


def expected(signature: Signature, rows: list[list[object]]) -> tuple[list[list[float]], list[str]]:
    """The tensors of rows, cell by cell."""
    numbers = [
        [
            math.nan if cell is None else float(cell)
            for cell, column in zip(row, signature.columns, strict=True)
            if column.kind != "string"
        ]
        for row in rows
    ]
    strings = [
        MISSING_STRING if cell is None else str(cell)
        for row in rows
        for cell, column in zip(row, signature.columns, strict=True)
        if column.kind == "string"
    ]
    return numbers, strings


def assert_tensors(decoded: Decoded, signature: Signature, rows: list[list[object]]) -> None:
    numbers, strings = expected(signature, rows)
    assert decoded.numbers == (np.array(numbers, dtype=np.float64).tobytes() if numbers[0] else b"")
    assert decoded.strings == strings
    assert decoded.rows == len(rows)


@given(tables(), st.data())
def test_json_rows_become_the_bytes_that_numpy_makes_of_them(
    table: tuple[Signature, list[list[object]]], data: st.DataObject
) -> None:
    signature, rows = table
    columns = [column.name for column in signature.columns]
    order = data.draw(st.permutations(range(len(columns))))
    forms = [data.draw(st.sampled_from([row, {columns[place]: row[place] for place in order}])) for row in rows]
    body = json.dumps(
        {"inputs": forms}, ensure_ascii=data.draw(st.booleans()), indent=data.draw(st.sampled_from([None, 1]))
    )
    assert json.loads(body) == {"inputs": forms}
    assert_tensors(decode_json(body.encode(), signature, max_rows=10, shape="full"), signature, rows)


@given(tables(), st.data())
def test_a_row_alone_is_decoded_to_the_same_bytes_as_in_a_list(
    table: tuple[Signature, list[list[object]]], data: st.DataObject
) -> None:
    signature, rows = table
    key = data.draw(st.sampled_from(["input", "data", "features"]))
    body = json.dumps({"model_name": "m", key: rows[0]}).encode()
    assert_tensors(decode_json(body, signature, max_rows=1, shape="short"), signature, rows[:1])


@given(tables(), st.sampled_from([",", ";", "\t"]), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_csv_rows_become_the_bytes_that_numpy_makes_of_them(
    table: tuple[Signature, list[list[object]]], delimiter: str, ending: str, has_header: bool
) -> None:
    signature, rows = table
    rows = [
        [None if cell == "" and column.missing else cell for cell, column in zip(row, signature.columns, strict=True)]
        for row in rows
    ]
    assume(all(cell != "" for row in rows for cell in row))
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator=ending, quoting=csv.QUOTE_ALL)
    writer.writerows([[column.name for column in signature.columns]] if has_header else [])
    writer.writerows(
        [
            ["" if cell is None else json.dumps(cell) if not isinstance(cell, str) else cell for cell in row]
            for row in rows
        ]
    )
    parameters = {"delimiter": delimiter, "header": "present" if has_header else "absent"}
    assert_tensors(
        decode_csv(text.getvalue().encode(), signature, dialect=read_dialect(parameters), max_rows=10), signature, rows
    )


@given(tables(), st.data())
def test_one_wrong_cell_is_named_by_its_path(table: tuple[Signature, list[list[object]]], data: st.DataObject) -> None:
    signature, rows = table
    row = data.draw(st.integers(0, len(rows) - 1))
    place = data.draw(st.integers(0, len(signature.columns) - 1))
    wrong = {"number": ["1", [], 2**53 + 1], "boolean": ["true", 2, []], "string": [1, False, {}]}
    rows[row][place] = data.draw(st.sampled_from(wrong[signature.columns[place].kind]))
    with pytest.raises(InvalidFeatures) as caught:
        decode_json(json.dumps({"inputs": rows}).encode(), signature, max_rows=10, shape="full")
    assert [path for path, _ in caught.value.errors] == [f"inputs[{row}][{place}]"]


values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=6,
)
bodies = st.dictionaries(
    st.sampled_from(["input", "inputs", "data", "features", "model_name", "x"]), values, max_size=3
)


@given(tables(), bodies.map(json.dumps).map(str.encode) | st.binary(max_size=40), st.sampled_from(["short", "full"]))
def test_any_json_body_is_decoded_or_refused(
    table: tuple[Signature, list[list[object]]], body: bytes, shape: str
) -> None:
    with suppress(MalformedBody, InvalidFeatures, TooLarge):
        assert decode_json(body, table[0], max_rows=3, shape=shape).rows in {1, 2, 3}


@given(tables(), st.binary(max_size=60) | st.text('ab,"\n\r01.', max_size=60).map(str.encode))
def test_any_csv_body_is_decoded_or_refused(table: tuple[Signature, list[list[object]]], body: bytes) -> None:
    with suppress(MalformedBody, InvalidFeatures, TooLarge):
        assert decode_csv(body, table[0], dialect=read_dialect({"header": "absent"}), max_rows=3).rows in {1, 2, 3}
