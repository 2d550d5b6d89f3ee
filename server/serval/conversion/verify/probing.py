"""Chooses the rows on which a graph and its original must agree: around everything that the model decides by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx as proto
from onnx import numpy_helper

from serval.conversion.export.hints import ColumnHints, Hints
from serval.conversion.rows import Rows
from serval.conversion.signature import MISSING_STRING, Column, Signature

if TYPE_CHECKING:
    from serval.conversion.export.columns import Facts

SEED = 20_240_229
MAX_ROWS = 2000
MAX_NUMBERS = 300
MAX_CATEGORIES = 100
MAX_HINTS = 100_000
RANDOM_ROWS, STEP_ROWS, OFFSET_ROWS, MISSING_ROWS, TEXT_ROWS, SAMPLE_ROWS = 500, 700, 150, 150, 200, 300
Cells = npt.NDArray[Any]


def hints(signature: Signature, facts: list[Facts], interesting: Mapping[int, Iterable[float]]) -> Hints:
    """What the converter knows of each column, bounded, the widest spread kept."""
    most = max(8, min(MAX_NUMBERS, MAX_HINTS // max(1, len(facts))))
    out = []
    for index, (column, fact) in enumerate(zip(signature.columns, facts, strict=True)):
        spread = _spread(interesting.get(index, ()), most)
        strings = (
            [value for value in dict.fromkeys(fact.known) if isinstance(value, str)] if column.kind == "string" else []
        )
        out.append(ColumnHints(spread, strings[:MAX_CATEGORIES]))
    return out


def widened(onnx: bytes, signature: Signature, told: Hints) -> Hints:
    """The hints, with what the graph itself shows: thresholds of trees over the columns as they come, and the
    categories of its look-ups.

    The child that made the hints is not trusted; the graph is what will be served.
    """
    graph = proto.load_model_from_string(onnx).graph
    numeric = [index for index, column in enumerate(signature.columns) if column.kind != "string"]
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
        for index, (hint, column) in enumerate(zip(told, signature.columns, strict=True))
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
    numbers = _spread([*hint.numbers, *thresholds], 2 * MAX_NUMBERS) if column.kind == "number" else []
    strings = (
        list(dict.fromkeys([*hint.strings[:MAX_CATEGORIES], *words]))[: 2 * MAX_CATEGORIES]
        if column.kind == "string"
        else []
    )
    return ColumnHints(numbers, strings)


def _spread(values: Iterable[float], most: int) -> list[float]:
    """At most so many of the finite values, evenly from the sorted."""
    ordered = sorted({value for value in values if np.isfinite(value)})
    if len(ordered) <= most:
        return ordered
    return [ordered[place] for place in np.linspace(0, len(ordered) - 1, most).astype(int)]


def choose(signature: Signature, told: Hints, sample: Rows | None) -> Rows:
    """A few hundred to 2000 rows, the same for the same arguments."""
    chance = np.random.default_rng(SEED)
    columns = [(column, hint) for column, hint in zip(signature.columns, told, strict=True)]
    numeric = [_Numbers(column, hint) for column, hint in columns if column.kind != "string"]
    texts = [_texts(column, hint) for column, hint in columns if column.kind == "string"]
    if sample is not None:
        for place, values in enumerate(numeric):
            values.learn(sample.numbers[:, place])
    blocks = [] if sample is None else [sample.take(slice(0, SAMPLE_ROWS))]
    blocks.append(_random(chance, numeric, texts, RANDOM_ROWS))
    plain = _stacked(blocks)
    blocks.append(_steps(chance, numeric, plain))
    blocks.append(_offsets(chance, numeric, plain))
    blocks.append(_missing(chance, signature, plain))
    blocks.append(_categories(chance, texts, plain))
    rows = _stacked(blocks)
    for place, values in enumerate(numeric):
        values.confine(rows.numbers[:, place], chance)
    return rows.take(slice(0, MAX_ROWS))


class _Numbers:
    """What a number or boolean column may hold."""

    def __init__(self, column: Column, hint: ColumnHints) -> None:
        self.column = column
        fixed = [0.0, 1.0] if column.kind == "boolean" else [float(value) for value in column.categories or ()]
        self.fixed = np.array(fixed)
        self.edges = np.unique(np.array(fixed or hint.numbers, dtype=np.float64))

    def learn(self, values: Cells) -> None:
        finite = values[np.isfinite(values)]
        if not self.fixed.size:
            self.edges = np.unique(np.concatenate([self.edges, finite[:MAX_NUMBERS]]))

    def draw(self, chance: np.random.Generator, count: int) -> Cells:
        """Half on edges or a step from one, half anywhere around."""
        if self.fixed.size:
            return chance.choice(self.fixed, count)
        low, high = (self.edges.min(), self.edges.max()) if self.edges.size else (-1.0, 1.0)
        room = (high - low) * 0.25 or max(abs(low) * 0.25, 1.0)
        anywhere = chance.uniform(low - room, high + room, count)
        if not self.edges.size:
            return anywhere
        near = step(chance.choice(self.edges, count), chance.integers(-2, 3, count))
        return np.where(chance.random(count) < 0.5, near, anywhere)

    def confine(self, cells: Cells, chance: np.random.Generator) -> None:
        """Bring what was made by offsets back into what the signature allows."""
        if self.fixed.size:
            strange = ~np.isin(cells, self.fixed) & ~np.isnan(cells)
            cells[strange] = chance.choice(self.fixed, int(strange.sum()))
        if self.column.maximum is not None or self.column.minimum is not None:
            np.clip(cells, self.column.minimum, self.column.maximum, out=cells)


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


def _texts(column: Column, hint: ColumnHints) -> Cells:
    if column.categories is not None:
        return np.array([str(value) for value in column.categories], dtype=object)
    return np.array([*hint.strings, "", "never seen before"], dtype=object)


def _random(chance: np.random.Generator, numeric: list[_Numbers], texts: list[Cells], count: int) -> Rows:
    numbers = np.zeros((count, len(numeric)))
    for place, values in enumerate(numeric):
        numbers[:, place] = values.draw(chance, count)
    strings = np.empty((count, len(texts)), dtype=object)
    for place, known in enumerate(texts):
        strings[:, place] = chance.choice(known, count)
    return Rows(numbers, strings)


def _steps(chance: np.random.Generator, numeric: list[_Numbers], plain: Rows) -> Rows:
    """Rows with one column on an edge, and the same one step to each side."""
    targets = [
        (place, edge) for place, values in enumerate(numeric) if not values.fixed.size for edge in values.edges.tolist()
    ]
    if not targets:
        return plain.take(slice(0, 0))
    picked = chance.permutation(len(targets))[: STEP_ROWS // 5]
    rows = plain.take(np.repeat(chance.integers(0, len(plain), len(picked)), 5))
    for at, target in enumerate(picked.tolist()):
        place, edge = targets[target]
        rows.numbers[5 * at : 5 * at + 5, place] = step(np.full(5, edge), np.arange(-2, 3))
    return rows


def _offsets(chance: np.random.Generator, numeric: list[_Numbers], plain: Rows) -> Rows:
    """Rows far away, and very large and very small ones."""
    if not numeric:
        return plain.take(slice(0, 0))
    rows = plain.take(chance.integers(0, len(plain), OFFSET_ROWS))
    size = OFFSET_ROWS // 6
    for at, (factor, offset) in enumerate(
        [(1.0, 10_000.0), (1.0, -10_000.0), (1000.0, 0.0), (0.001, 0.0), (1.0, 1e6), (-1.0, 0.0)]
    ):
        part = rows.numbers[at * size : (at + 1) * size]
        part[:] = part * factor + offset
    return rows


def _missing(chance: np.random.Generator, signature: Signature, plain: Rows) -> Rows:
    """Rows with one value missing, then some, then all that may be."""
    takes = [
        np.array([c.missing is not None for c in signature.columns if (c.kind == "string") == is_string], dtype=bool)
        for is_string in (False, True)
    ]
    possible = [(index, place) for index, flags in enumerate(takes) for place in np.flatnonzero(flags).tolist()]
    if not possible:
        return plain.take(slice(0, 0))
    rows = plain.take(chance.integers(0, len(plain), MISSING_ROWS))
    for at in range(MISSING_ROWS):
        share = 0.0 if at < 2 * MISSING_ROWS // 3 else 0.4 if at < MISSING_ROWS - 1 else 1.0
        single = possible[at % len(possible)]
        for target in possible:
            if target == single or chance.random() < share:
                _forget(rows, at, target)
    return rows


def _forget(rows: Rows, at: int, target: tuple[int, int]) -> None:
    is_string, place = target
    if is_string:
        rows.strings[at, place] = MISSING_STRING
    else:
        rows.numbers[at, place] = np.nan


def _categories(chance: np.random.Generator, texts: list[Cells], plain: Rows) -> Rows:
    """Rows that show every category, as far as there is room."""
    every = [(place, value) for place, known in enumerate(texts) for value in known.tolist()]
    every = [every[index] for index in chance.permutation(len(every))[:TEXT_ROWS]]
    rows = plain.take(chance.integers(0, len(plain), len(every)))
    for at, (place, value) in enumerate(every):
        rows.strings[at, place] = value
    return rows


def _stacked(blocks: list[Rows]) -> Rows:
    return Rows(
        np.concatenate([block.numbers for block in blocks]), np.concatenate([block.strings for block in blocks])
    )
