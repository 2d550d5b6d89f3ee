"""CSV bodies of a prediction become tensors, or a sentence with the line that is wrong."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from serval.conversion.signature import Column, Signature
from serval.data_plane.request import CsvDialect
from serval.errors import MalformedBody, TooLarge, UnsupportedContent
from serval.predictions.decoding import did_you_mean
from serval.predictions.exact_json import LARGEST_EXACT_INTEGER, InexactInteger, shown
from serval.predictions.values import MAX_ERRORS, SKIPPED, Decoded, Wrong, invalid_features, tensors

NA_WORDS = frozenset({
    "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
})  # fmt: skip
"""What `pandas.read_csv` takes for a missing value by default; here in columns of numbers and timestamps only."""

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INTEGER = re.compile(r"[+-]?0*([0-9]+)")
_BOOLEAN_WORDS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_BOOLEANS = _BOOLEAN_WORDS | {"1": True, "0": False}


class Record(NamedTuple):
    """One record of the text: the line it starts on, counted from 1, and its fields."""

    line: int
    fields: list[str]


def decode_csv(body: bytes, signature: Signature, dialect: CsvDialect, *, max_rows: int) -> Decoded:
    """Rows of a CSV body (RFC 4180, UTF-8) as tensors of the signature's columns.

    Raises MalformedBody, InvalidFeatures with lines, TooLarge past `max_rows`.
    """
    records = _records(_text(body), dialect.delimiter)
    names = [column.name for column in signature.columns]
    order: list[int | None] = list(range(len(names)))
    width = len(names)
    if dialect.has_header:
        header = next(records, None)
        order = _order(header, signature.columns)
        width = len(header.fields) if header else 0
    rows = list(islice(records, max_rows + 1))
    _check_count(rows, max_rows)
    wrong = list(islice(_ragged(rows, width), MAX_ERRORS))
    judged = rows if len(wrong) < MAX_ERRORS else rows[: wrong[-1].row + 1]
    cells = [_cells(record.fields, order, width, signature.columns) for record in judged]
    numbers, strings = tensors(signature, cells, lambda row, column: f"line {rows[row].line}, {names[column]}", wrong)
    return Decoded(is_list=True, rows=len(rows), numbers=numbers, strings=strings)


def read_dialect(parameters: Mapping[str, str]) -> CsvDialect:
    """Return what the parameters of a Content-Type say, their names in small letters: `header=absent` (default
    `present`), `delimiter` (one character or `tab`), `charset=utf-8`.

    Raises UnsupportedContent for others.
    """
    for name, value in parameters.items():
        if not _is_understood(name, value):
            raise UnsupportedContent(
                f"text/csv with {name}={shown(value)} is not understood; the parameters are `header=absent`, "
                "`delimiter=` one character (or `tab`), and `charset=utf-8`."
            )
    delimiter = parameters.get("delimiter", ",")
    return CsvDialect(
        has_header=parameters.get("header", "present").lower() == "present",
        delimiter="\t" if delimiter.lower() == "tab" else delimiter,
    )


def _is_understood(name: str, value: str) -> bool:
    match name:
        case "header":
            return value.lower() in {"present", "absent"}
        case "charset":
            return value.lower() in {"utf-8", "utf8", "us-ascii"}
        case "delimiter":
            return value.lower() == "tab" or (len(value) == 1 and value not in '"\r\n\0')
    return False


def _text(body: bytes) -> str:
    try:
        text = str(body, "utf-8-sig")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise MalformedBody(
            f"The body is not UTF-8: line {line} cannot be decoded.", errors=[(f"line {line}", "not UTF-8")]
        ) from None
    if not text.strip("\r\n"):
        raise MalformedBody("The body is empty; send a header line and a line for each row.")
    return text.rstrip("\r\n") + "\n"


def _records(text: str, delimiter: str) -> Iterator[Record]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    start = 1
    try:
        for fields in reader:
            yield Record(start, fields)
            start = reader.line_num + 1
    except csv.Error as error:
        raise MalformedBody(
            f"line {start}: not CSV: {error}", errors=[(f"line {start}", f"not CSV: {error}")]
        ) from None


def _order(header: Record | None, columns: tuple[Column, ...]) -> list[int | None]:
    """For each column of the model its place in the header line; None for one that is left out and unused."""
    fields = header.fields if header else []
    names = [column.name for column in columns]
    places = {name: place for place, name in enumerate(fields)}
    needed = [column.name for column in columns if column.kind != "unused"]
    absent = [f"column {shown(name)} is absent" for name in needed if name not in places]
    wrong = [*_duplicates(fields), *_unknown(fields, names), *absent]
    if len(absent) == len(needed):
        message = (
            "none of the model's columns is in the header line; without a header line, "
            "send `Content-Type: text/csv; header=absent`"
        )
        wrong = [message]
    if wrong:
        raise invalid_features(Wrong(0, index, "line 1", message) for index, message in enumerate(wrong))
    return [places.get(name) for name in names]


def _duplicates(fields: list[str]) -> Iterator[str]:
    return (f"column {shown(name)} is there twice" for name, count in Counter(fields).items() if count > 1)


def _unknown(fields: list[str], names: list[str]) -> Iterator[str]:
    known = frozenset(names)
    unknown = islice((name for name in dict.fromkeys(fields) if name not in known), MAX_ERRORS)
    return (f"unknown column {shown(name)}{did_you_mean(name, names)}" for name in unknown)


def _check_count(rows: list[Record], max_rows: int) -> None:
    if not rows:
        raise invalid_features([Wrong(0, 0, "line 2", "there is no row after the header line")])
    if len(rows) > max_rows:
        raise TooLarge(
            f"The body has more than the {max_rows} rows that this server takes in one request. Send them in parts.",
            errors=[(f"line {rows[max_rows].line}", f"more than {max_rows} rows")],
        )


def _ragged(rows: Iterable[Record], width: int) -> Iterator[Wrong]:
    for index, record in enumerate(rows):
        if len(record.fields) != width:
            found = f"got {len(record.fields)}" if record.fields else 'got an empty line (write one empty value as "")'
            yield Wrong(index, -1, f"line {record.line}", f"expected {width} values, {found}")


def _cells(fields: list[str], order: list[int | None], width: int, columns: tuple[Column, ...]) -> list[object]:
    if len(fields) != width:
        return [SKIPPED] * len(columns)
    return [
        None if place is None else _value(fields[place], column) for place, column in zip(order, columns, strict=True)
    ]


def _value(field: str, column: Column) -> object:
    """The field as JSON would have said it; a field that is no value of its column stays a string, for the column to
    refuse."""
    if not field:
        return None
    match column.kind:
        case "number":
            return _number(field.strip())
        case "boolean":
            return _BOOLEANS.get(field.strip(), field)
        case "string":
            return field
        case "timestamp":
            return None if field.strip() in NA_WORDS | {"NaT", ""} else field.strip()
        case "unused":
            return None


def _number(field: str) -> object:
    if _NUMBER.fullmatch(field):
        integer = _INTEGER.fullmatch(field)
        return InexactInteger(field) if integer and _is_inexact(integer[1]) else float(field)
    if field in NA_WORDS or not field:
        return None
    return _BOOLEAN_WORDS.get(field, field)


def _is_inexact(digits: str) -> bool:
    return len(digits) > 16 or int(digits) > LARGEST_EXACT_INTEGER
