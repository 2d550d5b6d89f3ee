"""Operators and functions that a graph computes element by element, as numpy does."""

from dataclasses import replace
from typing import Any, Self

import numpy as np

from serval.conversion.export.blocks import elementwise, product
from serval.conversion.export.graph_value import GraphValue


class Arithmetic(GraphValue):
    """A value on which Python's operators write nodes; a comparison notes where the answer may change."""

    __array_ufunc__ = None  # an array on the left leaves the operator to the tensor

    def __add__(self, other: Any) -> Self:
        return self._with_row("Add", other)._image(self, shifts=other)

    def __sub__(self, other: Any) -> Self:
        shifts = other if isinstance(other, GraphValue) else np.negative(other)
        return self._with_row("Sub", other)._image(self, shifts=shifts)

    def __mul__(self, other: Any) -> Self:
        return self._with_row("Mul", other)._image(self, scales=other)

    def __truediv__(self, other: Any) -> Self:
        scales = other if isinstance(other, GraphValue) else np.divide(1.0, other)
        return self._with_row("Div", other)._image(self, scales=scales)

    def _with_row(self, kind: str, other: Any) -> Self:
        result = self.op(kind, other)
        if not self.blocks or isinstance(other, GraphValue):
            return result
        return replace(result, blocks=elementwise(self.blocks, kind, other))

    def __matmul__(self, other: Any) -> Self:
        if not isinstance(other, np.ndarray):
            return self.op("MatMul", other)
        if len(other) == 1:
            # ONNX Runtime moves a scale of one number before a MatMul into it, and rounds it to float32.
            products = self.op("Mul", other.reshape(1, -1))
            return products if other.ndim > 1 else products.op("Squeeze", self.constant([-1]))
        looked_up: Any = product(self.blocks, other) if self.blocks else None
        return self.op("MatMul", other) if looked_up is None else looked_up

    def __pow__(self, other: Any) -> Self:
        return self.op("Pow", other)

    def __radd__(self, other: Any) -> Self:
        return self.like(other).op("Add", self)

    def __rsub__(self, other: Any) -> Self:
        return self.like(other).op("Sub", self)

    def __rmul__(self, other: Any) -> Self:
        return self.like(other).op("Mul", self)

    def __rtruediv__(self, other: Any) -> Self:
        return self.like(other).op("Div", self)

    def __neg__(self) -> Self:
        return self.op("Neg")

    def __lt__(self, other: Any) -> Self:
        return self._compared("Less", other)

    def __le__(self, other: Any) -> Self:
        return self._compared("LessOrEqual", other)

    def __gt__(self, other: Any) -> Self:
        return self._compared("Greater", other)

    def __ge__(self, other: Any) -> Self:
        return self._compared("GreaterOrEqual", other)

    def __and__(self, other: Any) -> Self:
        return self.op("And", other)

    def __or__(self, other: Any) -> Self:
        return self.op("Or", other)

    def __invert__(self) -> Self:
        return self.op("Not")

    def equals(self, other: Any) -> Self:
        return self._compared("Equal", other)

    def _compared(self, kind: str, other: Any) -> Self:
        self.note(other)
        return self.op(kind, other, dtype="bool")

    def is_nan(self) -> Self:
        return self.op("IsNaN", dtype="bool")

    def abs(self) -> Self:
        return self.op("Abs")

    def exp(self) -> Self:
        return self.op("Exp")

    def log(self) -> Self:
        return self.op("Log")

    def sqrt(self) -> Self:
        return self.op("Sqrt")

    def sign(self) -> Self:
        return self.op("Sign")

    def sigmoid(self) -> Self:
        """As scipy has it; ONNX Runtime's own operator gives up below about -37."""
        return 1.0 / ((-self).exp() + 1.0)

    def tanh(self) -> Self:
        return self.op("Tanh")

    def square(self) -> Self:
        return self.op("Mul", self)

    def minimum(self, other: Any) -> Self:
        return self.op("Min", other)

    def maximum(self, other: Any) -> Self:
        return self.op("Max", other)

    def clip(self, low: float, high: float) -> Self:
        return self.op("Clip", low, high)

    def rounded_to_float32(self) -> Self:
        """The values that float32 can hold, in float64: what a tree of scikit-learn compares."""
        return self.cast("float32").cast("float64")

    def choose(self, yes: Any, no: Any) -> Self:
        """`numpy.where(self, yes, no)`; at least one of the two is a tensor."""
        known: Self = yes if isinstance(yes, type(self)) else no
        chosen = self.op("Where", known.like(yes), known.like(no), dtype=known.dtype)
        is_either = isinstance(yes, GraphValue) and isinstance(no, GraphValue)
        return chosen if is_either else chosen.with_origins(known.origins)
