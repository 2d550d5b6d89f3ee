"""The features of an estimator: one matrix, or a table of columns of numbers and of strings."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from serval.conversion.export.origins import Origin
from serval.conversion.export.tensor import Tensor, concat
from serval.conversion.refusals.of_steps import LEFT_OUT_COLUMN


@dataclass(frozen=True)
class TableColumn:
    """One column of a table: a column of a matrix `[rows, columns]`; without a source, one that no step reads."""

    source: Tensor | None
    index: int

    @property
    def tensor(self) -> Tensor:
        """The matrix that holds it. Raises Refused for a column without a source."""
        if self.source is None:
            raise LEFT_OUT_COLUMN.of(None)
        return self.source

    @property
    def is_string(self) -> bool:
        return self.source is not None and self.source.dtype == "string"

    @property
    def identity(self) -> tuple[str | None, int]:
        return (None if self.source is None else self.source.name), self.index

    @property
    def origin(self) -> Origin | None:
        return self.tensor.origins[self.index] if self.tensor.origins else None

    def values(self) -> Tensor:
        """`[rows]`"""
        return self.tensor.column(self.index)


@dataclass(frozen=True)
class Table:
    """Columns of numbers and of strings."""

    columns: tuple[TableColumn, ...]

    def matrix(self) -> Tensor:
        """`[rows, columns]`, all of one dtype; neighbours of one source are taken together."""
        parts, widths = [], []
        for _, run in groupby(self.columns, key=lambda column: column.tensor.name):
            neighbours = list(run)
            parts.append(neighbours[0].tensor.columns([column.index for column in neighbours]))
            widths.append(len(neighbours))
        return concat(parts, widths=widths)

    @property
    def is_numeric(self) -> bool:
        """Whether it can be one matrix of numbers."""
        return all(column.source is not None and not column.is_string for column in self.columns)

    @property
    def has_strings(self) -> bool:
        return any(column.is_string for column in self.columns)


Features = Tensor | Table


def matrix(x: Features) -> Tensor:
    return x.matrix() if isinstance(x, Table) else x


def as_table(x: Features, width: int) -> Table:
    return x if isinstance(x, Table) else Table(tuple(TableColumn(x, index) for index in range(width)))


def select(x: Features, indices: Sequence[int]) -> Features:
    """Some columns, in the order given: numbers as a matrix, anything with strings as a table."""
    if isinstance(x, Tensor):
        return x.columns(indices)
    chosen = Table(tuple(x.columns[index] for index in indices))
    return chosen.matrix() if chosen.is_numeric else chosen


def join(parts: Sequence[tuple[Features, int]]) -> Features:
    """Side by side: each part with its number of columns."""
    if all(isinstance(part, Tensor) and part.dtype != "string" for part, _ in parts):
        matrices = [matrix(part) for part, _ in parts]
        origins = [part.origins or (None,) * width for part, (_, width) in zip(matrices, parts, strict=True)]
        widths = [width or None for _, width in parts]
        return concat(matrices, widths=widths).with_origins(sum(origins, ()) if all(origins) else ())
    return Table(tuple(column for part, width in parts for column in as_table(part, width).columns))
