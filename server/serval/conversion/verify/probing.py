"""Chooses the rows on which a graph and its original must agree: around everything that the model decides by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx as proto
from onnx import numpy_helper

from serval.conversion.hints import ColumnHints, Hints
from serval.conversion.rows import Rows
from serval.conversion.signature import MISSING_STRING, Column, Signature
from serval.conversion.timestamps import DTYPES, limits

if TYPE_CHECKING:
    from serval.conversion.export.column_facts import ColumnFacts

SEED = 20_240_229
MAX_ROWS = 2000
MAX_EXTRA_ROWS = 2000
MAX_NUMBERS = 300
MAX_CATEGORIES = 100
MAX_HINTS = 100_000
RANDOM_ROWS, STEP_ROWS, OFFSET_ROWS, MISSING_ROWS, TEXT_ROWS, SAMPLE_ROWS = 500, 700, 150, 150, 200, 300
Cells = npt.NDArray[Any]


def hints_of(signature: Signature, facts: list[ColumnFacts], interesting: Mapping[int, Iterable[float]]) -> Hints:
    """What the converter knows about each column, limited to evenly spread values."""
    limit = max(8, min(MAX_NUMBERS, MAX_HINTS // max(1, len(facts))))
    out = []
    for index, (column, fact) in enumerate(zip(signature.columns, facts, strict=True)):
        own = fact.examples if column.kind == "timestamp" else ()
        spread = _spread([*interesting.get(index, ()), *own], limit)
        strings = (
            [value for value in dict.fromkeys(fact.known) if isinstance(value, str)] if column.kind == "string" else []
        )
        out.append(ColumnHints(spread, strings[:MAX_CATEGORIES], _typical(column, fact, spread)))
    return out


def _typical(column: Column, fact: ColumnFacts, spread: list[float]) -> float | str | None:
    """Of text a category; a number in the middle: what a scaler or an imputer kept, a category, else the median of what
    the model decides by. None where the model shows none."""
    if column.kind == "string":
        return next((value for value in fact.known if isinstance(value, str)), None)
    numbers = sorted(float(value) for value in fact.known if isinstance(value, bool | int | float))
    values = fact.centers[:1] or numbers or spread
    return values[len(values) // 2] if values and column.kind == "number" else None


def widened(onnx: bytes, signature: Signature, hints: Hints) -> Hints:
    """The hints, and what the graph itself shows: thresholds of trees over input columns, and categories of look-ups.

    The process that made the hints is not trusted; the graph is what will be served.
    """
    graph = proto.load_model_from_string(onnx).graph
    numeric = [index for index, column in enumerate(signature.columns) if column.is_number]
    thresholds: dict[int, set[float]] = {}
    words: dict[str, None] = {}
    for node in graph.node:
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type.startswith("TreeEnsemble"):
            for feature, value in thresholds_in(node):
                if feature < len(numeric):
                    thresholds.setdefault(numeric[feature], set()).add(value)
        if node.op_type == "LabelEncoder" and "keys_strings" in attributes:
            words |= dict.fromkeys(
                key.decode("utf-8", "replace") for key in attributes["keys_strings"].strings[:MAX_CATEGORIES]
            )
    known = [word for word in words if MISSING_STRING not in word]
    return [
        _wider(hint, column, thresholds.get(index, set()), known)
        for index, (hint, column) in enumerate(zip(hints, signature.columns, strict=True))
    ]


def thresholds_in(node: proto.NodeProto) -> list[tuple[int, float]]:
    """(feature, threshold) of every branch of a tree ensemble."""
    attributes = {attribute.name: attribute for attribute in node.attribute}
    if not {"nodes_featureids", "nodes_modes"} <= set(attributes):
        return []
    if "nodes_values_as_tensor" in attributes:
        values = numpy_helper.to_array(attributes["nodes_values_as_tensor"].t).tolist()
    else:
        values = list(attributes["nodes_values"].floats)
    nodes = zip(attributes["nodes_featureids"].ints, attributes["nodes_modes"].strings, values, strict=False)
    return [(feature, value) for feature, mode, value in nodes if mode != b"LEAF" and feature >= 0]


def _wider(hint: ColumnHints, column: Column, thresholds: set[float], words: list[str]) -> ColumnHints:
    numbers = _spread([*hint.numbers, *thresholds], 2 * MAX_NUMBERS) if column.kind in {"number", "timestamp"} else []
    strings = (
        list(dict.fromkeys([*hint.strings[:MAX_CATEGORIES], *words]))[: 2 * MAX_CATEGORIES]
        if column.kind == "string"
        else []
    )
    return ColumnHints(numbers, strings, hint.typical)


def _spread(values: Iterable[float], limit: int) -> list[float]:
    """At most `limit` of the finite values, evenly spread over the sorted ones."""
    ordered = sorted({value for value in values if np.isfinite(value)})
    if len(ordered) <= limit:
        return ordered
    return [ordered[index] for index in np.linspace(0, len(ordered) - 1, limit).astype(int)]


def choose(signature: Signature, hints: Hints, sample: Rows | None, extra: Rows | None = None) -> Rows:
    """A few hundred to 2000 rows, the same for the same arguments, and up to as many of `extra` after them."""
    rng = np.random.default_rng(SEED)
    columns = [(column, hint) for column, hint in zip(signature.columns, hints, strict=True)]
    numeric = [_Numbers(column, hint) for column, hint in columns if column.is_number]
    texts = [_text_values(column, hint) for column, hint in columns if column.kind == "string"]
    if sample is not None:
        for index, values in enumerate(numeric):
            values.learn(sample.numbers[:, index])
    blocks = [typical_row(signature, hints)] if sample is None else [sample.take(slice(0, SAMPLE_ROWS))]
    blocks.append(_random(rng, numeric, texts, RANDOM_ROWS))
    base = _stacked(blocks)
    blocks.append(_steps(rng, numeric, base))
    blocks.append(_offsets(rng, numeric, base))
    blocks.append(_missing(rng, signature, base))
    blocks.append(_categories(rng, texts, base))
    parts = [_stacked(blocks).take(slice(0, MAX_ROWS))]
    if extra is not None:
        parts.append(extra.take(slice(0, MAX_EXTRA_ROWS)))
    for part in parts:
        for index, values in enumerate(numeric):
            values.confine(part.numbers[:, index], rng)
    return _stacked(parts)


def typical_row(signature: Signature, hints: Hints) -> Rows:
    """One row in the middle of what the model shows: typical numbers, and of each column of text a category of its
    own."""
    columns = list(zip(signature.columns, hints, strict=True))
    numbers = [_middle(column, hint) for column, hint in columns if column.is_number]
    texts = [_usual(column, hint) for column, hint in columns if column.kind == "string"]
    strings = np.empty((1, len(texts)), dtype=object)
    strings[0] = texts
    return Rows(np.array([numbers], dtype=np.float64).reshape(1, len(numbers)), strings)


def _usual(column: Column, hint: ColumnHints) -> str:
    known = column.categories or ()
    is_known = isinstance(hint.typical, str) and (not known or hint.typical in known)
    return str(hint.typical) if is_known else next((value for value in known if isinstance(value, str)), "")


def _middle(column: Column, hint: ColumnHints) -> float:
    value = hint.typical if column.kind == "number" and isinstance(hint.typical, float) else 0.0
    known = column.category_numbers or (hint.numbers if column.kind == "timestamp" else ())
    if known and value not in known:
        value = sorted(known)[len(known) // 2]
    low = value if column.minimum is None else max(value, column.minimum)
    return low if column.maximum is None else min(low, column.maximum)


class _Numbers:
    """What a number, boolean or timestamp column may hold."""

    def __init__(self, column: Column, hint: ColumnHints) -> None:
        self.column = column
        fixed = [0.0, 1.0] if column.kind == "boolean" else list(column.category_numbers)
        self.fixed = np.array(fixed)
        self.edges = np.unique(np.array(fixed or hint.numbers, dtype=np.float64))

    def learn(self, values: Cells) -> None:
        finite = values[np.isfinite(values)]
        if not self.fixed.size:
            self.edges = np.unique(np.concatenate([self.edges, finite[:MAX_NUMBERS]]))

    def draw(self, rng: np.random.Generator, count: int) -> Cells:
        """Half on edges or a step from one, half anywhere around."""
        if self.fixed.size:
            return rng.choice(self.fixed, count)
        low, high = (self.edges.min(), self.edges.max()) if self.edges.size else (-1.0, 1.0)
        room = (high - low) * 0.25 or max(abs(low) * 0.25, 1.0)
        anywhere = rng.uniform(low - room, high + room, count)
        if not self.edges.size:
            return anywhere
        near = step(rng.choice(self.edges, count), rng.integers(-2, 3, count))
        return np.where(rng.random(count) < 0.5, near, anywhere)

    def confine(self, cells: Cells, rng: np.random.Generator) -> None:
        """Limit values that offsets made to those that the signature allows."""
        if self.fixed.size:
            is_unknown = ~np.isin(cells, self.fixed) & ~np.isnan(cells)
            cells[is_unknown] = rng.choice(self.fixed, int(is_unknown.sum()))
        if self.column.maximum is not None or self.column.minimum is not None:
            np.clip(cells, self.column.minimum, self.column.maximum, out=cells)
        if self.column.kind == "timestamp":
            resolution = DTYPES[self.column.dtype]
            low, high = limits(self.column.dtype)
            np.clip(np.rint(cells / resolution) * resolution, low, high - high % resolution, out=cells)


def step(values: Cells, steps: Cells) -> Cells:
    """Values moved: 0 not at all, ±1 to the next float64, ±2 to the next float32."""
    out = np.array(values, dtype=np.float64)
    with np.errstate(over="ignore"):
        narrow = out.astype(np.float32)
    for direction in (-1, 1):
        out = np.where(steps == direction, np.nextafter(out, direction * np.inf), out)
        out = np.where(
            steps == 2 * direction, np.nextafter(narrow, np.float32(direction * np.inf)).astype(np.float64), out
        )
    return out


def _text_values(column: Column, hint: ColumnHints) -> Cells:
    if column.categories is not None:
        return np.array([str(value) for value in column.categories], dtype=object)
    return np.array([*hint.strings, "", "never seen before"], dtype=object)


def _random(rng: np.random.Generator, numeric: list[_Numbers], texts: list[Cells], count: int) -> Rows:
    numbers = np.zeros((count, len(numeric)))
    for index, values in enumerate(numeric):
        numbers[:, index] = values.draw(rng, count)
    strings = np.empty((count, len(texts)), dtype=object)
    for index, known in enumerate(texts):
        strings[:, index] = rng.choice(known, count)
    return Rows(numbers, strings)


def _steps(rng: np.random.Generator, numeric: list[_Numbers], base: Rows) -> Rows:
    """Rows with one column on an edge, and the same one step to each side."""
    targets = [
        (index, edge) for index, values in enumerate(numeric) if not values.fixed.size for edge in values.edges.tolist()
    ]
    if not targets:
        return base.take(slice(0, 0))
    picked = rng.permutation(len(targets))[: STEP_ROWS // 5]
    rows = base.take(np.repeat(rng.integers(0, len(base), len(picked)), 5))
    for block, target in enumerate(picked.tolist()):
        index, edge = targets[target]
        rows.numbers[5 * block : 5 * block + 5, index] = step(np.full(5, edge), np.arange(-2, 3))
    return rows


def _offsets(rng: np.random.Generator, numeric: list[_Numbers], base: Rows) -> Rows:
    """Rows far from the others, and very large and very small ones."""
    if not numeric:
        return base.take(slice(0, 0))
    rows = base.take(rng.integers(0, len(base), OFFSET_ROWS))
    size = OFFSET_ROWS // 6
    for block, (factor, offset) in enumerate(
        [(1.0, 10_000.0), (1.0, -10_000.0), (1000.0, 0.0), (0.001, 0.0), (1.0, 1e6), (-1.0, 0.0)]
    ):
        part = rows.numbers[block * size : (block + 1) * size]
        part[:] = part * factor + offset
    return rows


def _missing(rng: np.random.Generator, signature: Signature, base: Rows) -> Rows:
    """Rows with one value missing, then some, then all that may be."""
    takes = [
        np.array([column.missing is not None for column in signature.columns if column.kind in kinds], dtype=bool)
        for kinds in (("number", "boolean", "timestamp"), ("string",))
    ]
    cells = [(is_string, index) for is_string, flags in enumerate(takes) for index in np.flatnonzero(flags).tolist()]
    if not cells:
        return base.take(slice(0, 0))
    rows = base.take(rng.integers(0, len(base), MISSING_ROWS))
    for row in range(MISSING_ROWS):
        share = 0.0 if row < 2 * MISSING_ROWS // 3 else 0.4 if row < MISSING_ROWS - 1 else 1.0
        single = cells[row % len(cells)]
        for cell in cells:
            if cell == single or rng.random() < share:
                _clear(rows, row, cell)
    return rows


def _clear(rows: Rows, row: int, cell: tuple[int, int]) -> None:
    is_string, index = cell
    if is_string:
        rows.strings[row, index] = MISSING_STRING
    else:
        rows.numbers[row, index] = np.nan


def _categories(rng: np.random.Generator, texts: list[Cells], base: Rows) -> Rows:
    """Rows that cover every category, up to `TEXT_ROWS`."""
    every = [(index, value) for index, known in enumerate(texts) for value in known.tolist()]
    every = [every[choice] for choice in rng.permutation(len(every))[:TEXT_ROWS]]
    rows = base.take(rng.integers(0, len(base), len(every)))
    for row, (index, value) in enumerate(every):
        rows.strings[row, index] = value
    return rows


def _stacked(blocks: list[Rows]) -> Rows:
    return Rows(
        np.concatenate([block.numbers for block in blocks]), np.concatenate([block.strings for block in blocks])
    )
