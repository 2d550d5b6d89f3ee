"""Tensor expressions that read like numpy and write ONNX nodes."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from onnx import ModelProto
from scipy import sparse

from serval.conversion.export.arithmetic import Arithmetic
from serval.conversion.export.blocks import joined, selected
from serval.conversion.export.graph import Graph

Array = npt.NDArray[Any]


def floats(values: Any) -> npt.NDArray[np.float64]:
    """An array of a fitted model, sparse or float32, as a dense float64 array."""
    return np.asarray(values.toarray() if sparse.issparse(values) else values, dtype=np.float64)


class Tensor(Arithmetic):
    """One value of a graph: operators and methods write the node that computes them."""

    def row_sums(self, width: int) -> Self:
        """`[..., 1]` of `[..., width]`: a product with ones, because ReduceSum is not batch-invariant."""
        return self @ np.ones((width, 1))

    def count(self) -> Self:
        """Int64 `[rows]`: in how many columns of a row this is true."""
        return self.cast("int64").op("ReduceSum", self.constant([1]), keepdims=0)

    def max(self, axis: int = 1, *, keep: bool = False) -> Self:
        return self.op("ReduceMax", self.constant([axis]), keepdims=int(keep))

    def argmax(self, axis: int = 1, *, keep: bool = False) -> Self:
        """The first of equals, as numpy has it."""
        return self.op("ArgMax", dtype="int64", axis=axis, keepdims=int(keep))

    def argmin(self, axis: int = 1) -> Self:
        return self.op("ArgMin", dtype="int64", axis=axis, keepdims=0)

    def softmax(self) -> Self:
        return self.op("Softmax", axis=-1)

    def normalised(self, columns: int) -> Self:
        """Rows divided by their sum; a row of zeros becomes uniform."""
        sums = self.row_sums(columns)
        is_empty = sums.equals(0.0)
        return is_empty.choose(1.0, self) / is_empty.choose(float(columns), sums)

    def reshape(self, *shape: int) -> Self:
        return self.op("Reshape", self.constant(np.array(shape)))

    def as_column(self) -> Self:
        return self.reshape(-1, 1).with_origins(self.origins[:1] if len(self.origins) == 1 else ())

    def ravel(self) -> Self:
        return self.reshape(-1)

    def transpose(self, *axes: int) -> Self:
        return self.op("Transpose", perm=list(axes))

    def columns(self, indices: Sequence[int] | Array) -> Self:
        """`[rows, len(indices)]`"""
        array = np.asarray(indices, dtype=np.int64)
        if self.origins and array.tolist() == list(range(len(self.origins))):
            return self
        origins = tuple(self.origins[index] for index in array.tolist()) if self.origins else ()
        if blocks := selected(self.blocks, array) if self.blocks else ():
            dense: Any = concat([block.dense() for block in blocks])
            return type(self)(self.graph, dense.name, dense.dtype, blocks=blocks).with_origins(origins)
        return self.op("Gather", self.constant(array), axis=1).with_origins(origins)

    def column(self, index: int) -> Self:
        """`[rows]`"""
        origins = self.origins[index : index + 1] if index >= 0 else ()
        return self.op("Gather", self.constant(np.int64(index)), axis=1).with_origins(origins)

    def look_up(self, values: Array) -> Self:
        """`values[self]` for indices into the first axis of a constant."""
        return self.constant(values).op("Gather", self, axis=0)

    def one_hot(self, depth: int) -> Self:
        """Float64 `[rows, depth]` of int64 `[rows]`; a value outside `0 .. depth-1` is a row of zeros."""
        return self.as_column().equals(np.arange(depth)).cast("float64")

    def full(self, values: npt.ArrayLike) -> Self:
        """`values` (one row) repeated for each row of this `[rows, columns]`; its own values are not read."""
        row = np.atleast_1d(np.asarray(values))
        constant = self.constant(row[None])
        count = self.op("Shape", dtype="int64", start=0, end=1)
        return constant.op("Expand", count.op("Concat", np.array([row.size]), axis=0))


def model_of(graph: Graph, outputs: dict[str, Tensor], shapes: Any) -> ModelProto:
    """The finished model that computes these outputs, by name."""
    return graph.model({name: (tensor.name, tensor.dtype) for name, tensor in outputs.items()}, shapes)


def concat(tensors: Iterable[Tensor], axis: int = 1, widths: Sequence[int | None] | None = None) -> Tensor:
    """`widths`: of each, where they are known."""
    parts = list(tensors)
    if len(parts) == 1:
        return parts[0]
    origins = sum((part.origins for part in parts), ()) if axis == 1 and all(part.origins for part in parts) else ()
    blocks = joined(parts, widths or [None] * len(parts)) if axis == 1 else ()
    return replace(parts[0].op("Concat", *parts[1:], axis=axis), blocks=blocks).with_origins(origins)


def stack(tensors: Iterable[Tensor]) -> Tensor:
    """`[rows, tensors]` of tensors `[rows]`."""
    return concat([tensor.as_column() for tensor in tensors])


def total(tensors: Iterable[Tensor]) -> Tensor:
    """The sum, added from the first to the last as scikit-learn does."""
    parts = iter(tensors)
    result = next(parts)
    for part in parts:
        result = result + part
    return result
