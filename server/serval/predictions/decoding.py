"""JSON bodies of a prediction become tensors, or a sentence about what is wrong and where."""

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import msgspec

from serval.conversion.signature import Signature
from serval.data_plane.request import Shape
from serval.errors import InvalidFeatures, TooLarge
from serval.predictions.exact_json import parse, shown
from serval.predictions.values import MAX_ERRORS, SKIPPED, Decoded, Wrong, invalid_features, tensors

ROW_KEYS = ("input", "data", "features")
"""Each holds one row, as an object by column name or a list by position."""

LIST_KEY = "inputs"
"""Holds a list of such rows."""

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")
_MAX_NAMES_COMPARED = 500
_NUMBERED = re.compile(r"(.*?)([0-9]{1,9})", re.DOTALL)

_NO_NAMES = (
    "the model was fitted without column names, so it takes rows by position, or under `data` by names that end in "
    "consecutive numbers (`x0`, `x1`, ...); give it `columns`, with the upload or to its version, to send other names"
)


def decode_json(body: bytes, signature: Signature, *, max_rows: int, shape: Shape) -> Decoded:
    """Rows of a JSON body as tensors of the signature's columns.

    `shape`: `short` is `POST /predict`, whose body names the model too. Raises MalformedBody where it is not exact
    JSON, InvalidFeatures with up to ten paths where it does not fit the model, TooLarge past `max_rows`.
    """
    document = _document(parse(body), shape)
    key = _rows_key(document)
    rows = _rows(document[key], key, max_rows)
    wrong: list[Wrong] = []
    cells = list(_cells_of_rows(rows, key, signature, wrong))
    numbers, strings = tensors(
        signature, cells, lambda row, column: _path(key, row, rows[row], column, signature), wrong
    )
    name = _name(document) if shape == "short" else None
    return Decoded(is_list=key == LIST_KEY, rows=len(rows), numbers=numbers, strings=strings, model_name=name)


def model_name(body: bytes) -> str:
    """The model that a `POST /predict` body asks for; the rest of the body is not judged unless this fails.

    Raises MalformedBody, InvalidFeatures.
    """
    try:
        return _PEEK.decode(body).model_name
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _name(_document(parse(body), "short"))


class _Peek(msgspec.Struct):
    model_name: str


_PEEK = msgspec.json.Decoder(_Peek)


def _document(document: object, shape: Shape) -> dict[str, object]:
    """The body as an object whose keys are all known."""
    if not isinstance(document, dict):
        raise _refused("body", f'expected an object such as {{"input": [5.1, 3.5, 1.4, 0.2]}}, got {shown(document)}')
    known = {*ROW_KEYS, LIST_KEY, *(["model_name"] if shape == "short" else [])}
    unknown = list(islice((key for key in document if key not in known), MAX_ERRORS))
    if unknown:
        raise invalid_features(
            Wrong(0, place, _member(key).removeprefix("."), _about_unknown_key(key, known))
            for place, key in enumerate(unknown)
        )
    if shape == "short":
        _name(document)
    return document


def _about_unknown_key(key: str, known: Iterable[str]) -> str:
    if key == "model_name":
        return "the path of this route names the model already; leave it out"
    return f"unknown key{did_you_mean(key, known)}; one row goes under `input`, many go under `inputs`"


def _name(document: dict[str, object]) -> str:
    if "model_name" not in document:
        raise _refused("model_name", "absent; it says which model to ask")
    name = document["model_name"]
    if not isinstance(name, str):
        raise _refused("model_name", f"expected a string, got {shown(name)}")
    return name


def _rows_key(document: dict[str, object]) -> str:
    present = [key for key in (*ROW_KEYS, LIST_KEY) if key in document]
    if not present:
        raise _refused("body", "no row in it; one row goes under `input`, many go under `inputs`")
    if len(present) > 1:
        both = " and ".join(f"`{key}`" for key in present)
        raise _refused(present[1], f"{both} are both there; send one row under `input`, or many under `inputs`")
    return present[0]


def _rows(value: object, key: str, max_rows: int) -> list[object]:
    if key != LIST_KEY:
        return [value]
    if not isinstance(value, list):
        raise _refused(key, f"expected a list of rows, got {shown(value)}; one row goes under `input`")
    if not value:
        raise _refused(key, "there is no row in the list")
    if len(value) > max_rows:
        raise TooLarge(
            f"`inputs` has {len(value)} rows; this server takes {max_rows} in one request. Send them in parts.",
            errors=[(key, f"more than {max_rows} rows")],
        )
    return value


def _cells_of_rows(
    rows: Sequence[object], key: str, signature: Signature, wrong: list[Wrong]
) -> Iterator[Sequence[object]]:
    """Cells of each row in column order; what is wrong with a row as a whole goes into `wrong`, and enough of that ends
    the reading."""
    for index, row in enumerate(rows):
        if isinstance(row, dict) and signature.has_names:
            yield _cells_by_name(row, index, key, signature, wrong)
        else:
            yield _cells_by_position(row, index, key, signature, wrong)
        if len(wrong) >= MAX_ERRORS:
            break


def _cells_by_position(row: object, index: int, key: str, signature: Signature, wrong: list[Wrong]) -> Sequence[object]:
    values = row
    if isinstance(row, dict) and key == "data" and (names := _in_order_of_numbers(row)) is not None:
        values = [row[name] for name in names]
    if isinstance(values, list) and len(values) == len(signature.columns) and not _holds_rows(values, key):
        return values
    wrong.append(Wrong(index, -1, _place(key, index), _about_row(values, key, signature)))
    return [SKIPPED] * len(signature.columns)


def _in_order_of_numbers(row: dict[str, object]) -> list[str] | None:
    """The names of a row in the order of the numbers that they end in; None where no order can be read from them.

    They have one if they are one word with consecutive numbers from 0 or 1 (`x0`, `x1`).
    """
    matches = [_NUMBERED.fullmatch(name) for name in row]
    numbered = sorted((int(match[2]), match[1], match[0]) for match in matches if match)
    if not numbered or len(numbered) < len(row) or numbered[0][0] not in {0, 1}:
        return None
    first, word, _ = numbered[0]
    is_consecutive = [(number, prefix) for number, prefix, _ in numbered] == [
        (first + place, word) for place in range(len(numbered))
    ]
    return [name for _, _, name in numbered] if is_consecutive else None


def _cells_by_name(
    row: dict[str, object], index: int, key: str, signature: Signature, wrong: list[Wrong]
) -> Sequence[object]:
    cells = [row.get(column.name, SKIPPED) for column in signature.columns]
    absent = cells.count(SKIPPED)
    if absent or len(row) > len(cells) - absent:
        wrong += islice(_unknown_columns(row, index, key, signature), MAX_ERRORS)
        wrong += islice(_absent_columns(cells, index, key, signature), MAX_ERRORS)
    return cells


def _unknown_columns(row: dict[str, object], index: int, key: str, signature: Signature) -> Iterator[Wrong]:
    names = {column.name: None for column in signature.columns}
    for name in row:
        if name not in names:
            yield Wrong(index, -1, _place(key, index) + _member(name), f"unknown column{did_you_mean(name, names)}")


def _absent_columns(cells: Sequence[object], index: int, key: str, signature: Signature) -> Iterator[Wrong]:
    for place, (cell, column) in enumerate(zip(cells, signature.columns, strict=True)):
        if cell is SKIPPED and column.kind != "unused":
            instead = "; null where it has no value" if column.missing else ""
            yield Wrong(
                index,
                place,
                _place(key, index) + _member(column.name),
                f"absent; a row gives every column of the model{instead}",
            )


def _holds_rows(row: list[object], key: str) -> bool:
    return key != LIST_KEY and bool(row) and all(isinstance(cell, list | dict) for cell in row)


def _about_row(row: object, key: str, signature: Signature) -> str:
    if isinstance(row, dict):
        return _NO_NAMES
    if not isinstance(row, list):
        return f"expected a row (a list or an object), got {shown(row)}" + (
            "; one row goes under `input`" if key == LIST_KEY else ""
        )
    if _holds_rows(row, key):
        return "expected one row, got rows; many rows go under `inputs`"
    return f"expected {len(signature.columns)} values, got {len(row)}"


def _refused(path: str, message: str) -> InvalidFeatures:
    return invalid_features([Wrong(0, 0, path, message)])


def _place(key: str, row: int) -> str:
    return f"{key}[{row}]" if key == LIST_KEY else key


def _path(key: str, index: int, row: object, column: int, signature: Signature) -> str:
    """Where the body holds the cell: `input.income`, `inputs[3][2]`."""
    if not isinstance(row, dict):
        return f"{_place(key, index)}[{column}]"
    names = [] if signature.has_names else _in_order_of_numbers(row) or list(row)
    return _place(key, index) + _member(signature.columns[column].name if signature.has_names else names[column])


def _member(name: str) -> str:
    return f".{name}" if _PLAIN_NAME.fullmatch(name) else f"[{shown(name)}]"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean "income"?`, or nothing where no known name is near."""
    by_folded = {candidate.casefold(): candidate for candidate in known}
    if len(by_folded) > _MAX_NAMES_COMPARED or len(name) > 100:
        return ""
    nearest = difflib.get_close_matches(name.casefold(), by_folded, n=1)
    return f"; did you mean {shown(by_folded[nearest[0]])}?" if nearest else ""
