"""Of what a matrix consists, column by column: parts of other matrices, and indicators of categories.

An indicator of 100 000 categories has as many columns, of which a row uses one: a product with it is a look-up, and a
selection of its columns needs no others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from serval.conversion.export.tensor import Tensor

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Dense:
    """`[rows, width]`; the width is None where it is not known."""

    value: Tensor
    width: int | None

    def elementwise(self, kind: str, row: Array) -> Dense:
        return replace(self, value=self.value.op(kind, row))

    def columns(self, indices: Array) -> Dense:
        return Dense(self.value.columns(indices), len(indices))

    def cast(self, dtype: str) -> Dense:
        return replace(self, value=self.value.cast(dtype))

    def dense(self) -> Tensor:
        return self.value

    def product(self, matrix: Array) -> Tensor:
        return self.value @ matrix


ELEMENTWISE: dict[str, Any] = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}


@dataclass(frozen=True)
class Indicator:
    """`[rows, columns]`: where `position` `[rows]` is the one of a column, its value `on`, elsewhere its value `off`.

    Positions are int64: from 0 to `depth - 1`; `depth` is that of no column; `depth + 1` makes a row NaN.
    """

    position: Tensor
    depth: int
    positions: Array
    on: Array
    off: Array
    dtype: str = "float64"

    @property
    def width(self) -> int:
        return len(self.positions)

    def elementwise(self, kind: str, row: Array) -> Indicator:
        with np.errstate(all="ignore"):
            return replace(self, on=ELEMENTWISE[kind](self.on, row), off=ELEMENTWISE[kind](self.off, row))

    def columns(self, indices: Array) -> Indicator:
        return replace(self, positions=self.positions[indices], on=self.on[indices], off=self.off[indices])

    def cast(self, dtype: str) -> Indicator:
        if dtype != "float32":
            return replace(self, dtype=dtype)
        with np.errstate(over="ignore"):
            on, off = (values.astype(np.float32).astype(np.float64) for values in (self.on, self.off))
        return replace(self, dtype=dtype, on=on, off=off)

    def dense(self) -> Tensor:
        """Each column compared with the position."""
        is_on = self.position.as_column().equals(self.positions)
        if (self.on == 1.0).all() and (self.off == 0.0).all():
            values = is_on.cast("float64")
        else:
            values = is_on.choose(is_on.constant(self.on[None]), is_on.constant(self.off[None]))
        return (self.position.as_column() > self.depth).choose(np.nan, values).cast(self.dtype)

    def product(self, matrix: Array) -> Tensor:
        """`[rows, targets]` for a matrix `[columns, targets]`: its rows, looked up by position."""
        flat = matrix.reshape(self.width, -1)
        table = np.repeat((self.off @ flat)[None], self.depth + 2, axis=0)
        np.add.at(table, self.positions, (self.on - self.off)[:, None] * flat)
        table[self.depth + 1] = np.nan
        return self.position.look_up(table.reshape(self.depth + 2, *matrix.shape[1:]))


Block = Dense | Indicator
Blocks = tuple[Block, ...]


def indicator(position: Tensor, depth: int) -> Tensor:
    """Float64 `[rows, depth]` of int64 `[rows]`: 1 at the position, else 0; a position of `depth` is a row of zeros, of
    `depth + 1` one of NaN."""
    block = Indicator(position, depth, np.arange(depth), np.ones(depth), np.zeros(depth))
    return replace(block.dense(), blocks=(block,))


def has_indicators(blocks: Sequence[Block]) -> bool:
    return any(isinstance(block, Indicator) for block in blocks)


def joined(tensors: Sequence[Tensor], widths: Sequence[int | None]) -> Blocks:
    """The blocks of matrices side by side; empty where none of them has an indicator."""
    if not any(has_indicators(tensor.blocks) for tensor in tensors):
        return ()
    blocks: list[Block] = []
    for tensor, width in zip(tensors, widths, strict=True):
        blocks += tensor.blocks or (Dense(tensor, width or len(tensor.origins) or None),)
    return tuple(blocks)


def starts(blocks: Sequence[Block], width: int | None = None) -> list[int] | None:
    """Where each block starts, and where the last ends; None where that is not known.

    `width`: of all, from which the width of one block that is not known follows.
    """
    widths = [block.width for block in blocks]
    if widths.count(None) == 1 and width is not None:
        widths[widths.index(None)] = width - sum(one for one in widths if one is not None)
    if None in widths:
        return None
    return [0, *np.cumsum(np.array(widths, dtype=np.int64)).tolist()]


def selected(blocks: Blocks, indices: Array) -> Blocks:
    """Some columns, in the order given; empty where the columns of the blocks are not known."""
    edges = starts(blocks)
    if edges is None:
        return ()
    owners = np.searchsorted(edges, indices, side="right") - 1
    runs = np.split(np.arange(len(indices)), np.flatnonzero(np.diff(owners)) + 1)
    return tuple(blocks[owners[run[0]]].columns(indices[run] - edges[owners[run[0]]]) for run in runs if len(run))


def elementwise(blocks: Blocks, kind: str, other: Any) -> Blocks:
    """The blocks after an operation with one number for each column or for all; empty for anything else."""
    if np.ndim(other) > 1 and np.shape(other)[0] != 1:
        return ()
    row = np.ravel(np.asarray(other, dtype=np.float64))
    edges = starts(blocks, row.size if row.size > 1 else None)
    if row.size == 1:
        return tuple(block.elementwise(kind, row) for block in blocks)
    if edges is None or edges[-1] != row.size:
        return ()
    return tuple(
        block.elementwise(kind, row[start:stop])
        for block, start, stop in zip(blocks, edges[:-1], edges[1:], strict=True)
    )


def product(blocks: Blocks, matrix: Array) -> Tensor | None:
    """The product of the matrix with `matrix`, without a table of its columns; None where that cannot be."""
    edges = starts(blocks, len(matrix))
    if edges is None or edges[-1] != len(matrix):
        return None
    first, *others = [
        block.product(matrix[start:stop]) for block, start, stop in zip(blocks, edges[:-1], edges[1:], strict=True)
    ]
    for other in others:
        first = first + other
    return first
