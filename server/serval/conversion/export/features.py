"""The features of an estimator: one matrix, or a table of columns of numbers and of strings."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from serval.conversion.export.origins import Origin
from serval.conversion.export.tensor import Tensor, concat


@dataclass(frozen=True)
class TableColumn:
    """One column of a table: a column of a matrix `[rows, columns]`."""

    source: Tensor
    index: int

    @property
    def origin(self) -> Origin | None:
        return self.source.origins[self.index] if self.source.origins else None

    def values(self) -> Tensor:
        """`[rows]`"""
        return self.source.column(self.index)


@dataclass(frozen=True)
class Table:
    """Columns of numbers and of strings."""

    columns: tuple[TableColumn, ...]

    def matrix(self) -> Tensor:
        """`[rows, columns]`, all of one dtype; neighbours of one source are taken together."""
        parts = []
        for _, run in groupby(self.columns, key=lambda column: column.source.name):
            neighbours = list(run)
            parts.append(neighbours[0].source.columns([column.index for column in neighbours]))
        return concat(parts)

    @property
    def has_strings(self) -> bool:
        return any(column.source.dtype == "string" for column in self.columns)


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
    return chosen if chosen.has_strings else chosen.matrix()


def join(parts: Sequence[tuple[Features, int]]) -> Features:
    """Side by side: each part with its number of columns."""
    if all(isinstance(part, Tensor) and part.dtype != "string" for part, _ in parts):
        matrices = [matrix(part) for part, _ in parts]
        origins = [part.origins or (None,) * width for part, (_, width) in zip(matrices, parts, strict=True)]
        return concat(matrices).with_origins(sum(origins, ()) if all(origins) else ())
    return Table(tuple(column for part, width in parts for column in as_table(part, width).columns))
