"""What goes into a converted model and what comes out: columns, labels, dtypes."""

import json
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec

from serval.conversion import timestamps

T = TypeVar("T")

Label = bool | int | float | str

MAX_TEXT = 10_000
"""Characters of a column's name, a category or a label."""
MISSING_STRING = "\x1a"
"""Stands for a missing value in a tensor of strings, which has no other marker; no input may contain it."""


def label_text(label: Label) -> str:
    """A label as the name of a member in JSON."""
    return label if isinstance(label, str) else json.dumps(label)


class Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, dict=True):
    """One input column.

    `number`, `boolean` and `timestamp` columns go, in column order, into the graph's input `numbers` (`[rows, n]`, a
    missing value is NaN, a timestamp the microseconds since 1970 in UTC); `string` columns go, in column order, into
    its input `strings` (`[rows, m]`, a missing value is `MISSING_STRING`). An `unused` column was in the training data
    but no part of the model reads it: it goes nowhere, a row may leave it out, and any value is taken for it.
    """

    name: str
    kind: Literal["number", "boolean", "string", "timestamp", "unused"]
    dtype: str
    """The pandas or numpy dtype of this column for the original: `float64`, `int64`, `bool`, `object`, `str`, ...; of a
    timestamp one of `timestamps.DTYPES`."""
    missing: Literal["nan", "none", "nat"] | None = None
    """The marker of a missing value that the model was fitted with (`nat`: pandas' `NaT`); None if missing values are
    refused."""
    minimum: float | None = None
    maximum: float | None = None
    """Values outside are refused: scikit-learn's own cast would overflow."""
    categories: tuple[Label, ...] | None = None
    """Set only where the model refuses any other value (`handle_unknown="error"`); of a timestamp RFC 3339 in UTC."""

    @property
    def is_number(self) -> bool:
        """Whether it goes into the graph's input `numbers`."""
        return self.kind in {"number", "boolean", "timestamp"}

    @cached_property
    def category_numbers(self) -> tuple[float, ...]:
        """The categories of a column of the input `numbers`, as they are there."""
        return tuple(self.moment(value) if isinstance(value, str) else float(value) for value in self.categories or ())

    def moment(self, text: str) -> float:
        """RFC 3339 text of a timestamp as it is in `numbers`. Raises NotATimestampError."""
        return timestamps.read(text, self.dtype)

    def moment_text(self, microseconds: float) -> str:
        """The reverse, in UTC."""
        return timestamps.written(microseconds, self.dtype)

    @cached_property
    def category_set(self) -> frozenset[Label]:
        """The categories, to look one up; empty where there are none."""
        return frozenset(self.categories or ())


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The contract between a frozen graph, the engine that runs it and the decoders that feed it.

    Graph inputs: `numbers` (`numbers_dtype`, `[rows, n]`) if any column is a number, boolean or timestamp, `strings`
    (`[rows, m]`) if any is a string. Graph outputs of a classifier: `labels` (int64 indices into `labels`, `[rows]`, or
    `[rows, targets]` where `is_multi_target`) and, where `has_probabilities`, `probabilities` (`scores_dtype`, `[rows,
    classes]`, of several targets the classes of the first, then those of the second, ...). Graph output of a regressor:
    `values` (`scores_dtype`, `[rows]`, or `[rows, targets]` where `is_multi_target`).
    """

    kind: Literal["classifier", "regressor"]
    columns: tuple[Column, ...]
    has_names: bool
    """Whether the columns have names of their own; without, they are `x0`, `x1`, ... and a named row is refused."""
    labels: tuple[tuple[Label, ...], ...]
    """For each target the labels in the order of the classes; empty for a regressor."""
    targets: int
    is_multi_target: bool
    """The target was two-dimensional: a prediction is a list, also of one."""
    has_probabilities: bool
    numbers_dtype: Literal["float32", "float64"]
    scores_dtype: Literal["float32", "float64"]

    @property
    def label_width(self) -> int:
        """Labels of a row."""
        return self.targets if self.kind == "classifier" else 0

    @property
    def score_width(self) -> int:
        """Probabilities of a row, of all targets; or its values."""
        if self.kind == "regressor":
            return self.targets
        return sum(map(len, self.labels)) if self.has_probabilities else 0

    def by_name(self, cells: Sequence[T]) -> dict[str, T]:
        """A row's cells by column name, without the columns that nothing reads."""
        named = zip(self.columns, cells, strict=True)
        return {column.name: cell for column, cell in named if column.kind != "unused"}

    def request_row(self, cells: list[T]) -> dict[str, T] | list[T]:
        """A row as requests hold it: by name where the columns have names, else by position."""
        return self.by_name(cells) if self.has_names else cells

    def predicted(self, codes: Sequence[int]) -> list[Label]:
        """The labels of a row of a classifier, one a target, by their indices."""
        return [labels[code] for labels, code in zip(self.labels, codes, strict=True)]

    def by_target(self, items: list[Any]) -> Any:
        """What there is for each target: a list of it, or the only one itself."""
        return items if self.is_multi_target else items[0]

    def tables(self, scores: list[T]) -> list[list[T]]:
        """The probabilities of a row, target by target."""
        ends = accumulate(map(len, self.labels))
        return [scores[end - len(labels) : end] for labels, end in zip(self.labels, ends, strict=True)]


class Position(NamedTuple):
    """Where a graph takes a column: among its strings or its numbers, and the position there, from 0."""

    is_string: bool
    offset: int


def input_positions(signature: Signature) -> list[Position | None]:
    """For each column its place in the graph's inputs; None for an unused one."""
    positions: list[Position | None] = []
    counts = [0, 0]
    for column in signature.columns:
        is_string = column.kind == "string"
        positions.append(None if column.kind == "unused" else Position(is_string, counts[is_string]))
        counts[is_string] += column.kind != "unused"
    return positions
