"""Tensor expressions that read like numpy, write ONNX nodes of the domains '' and `ai.onnx.ml`, and note around which inputs they turn."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from scipy import sparse

Array = npt.NDArray[Any]

ML = "ai.onnx.ml"
OPSET = 21
ML_OPSET = 3
IR_VERSION = 10


def floats(values: Any) -> npt.NDArray[np.float64]:
    """Whatever a model keeps, sparse or float32, as a dense float64 array."""
    return np.asarray(values.toarray() if sparse.issparse(values) else values, dtype=np.float64)


TYPES = {
    "bool": TensorProto.BOOL,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "int64": TensorProto.INT64,
    "string": TensorProto.STRING,
}


@dataclass(frozen=True)
class Origin:
    """Where a value comes from: `scale * column + shift` of an input column."""

    column: int
    scale: float = 1.0
    shift: float = 0.0

    def moved(self, scale: float, shift: float) -> "Origin":
        return Origin(self.column, self.scale * scale, self.shift * scale + shift)


Origins = tuple[Origin | None, ...]


@dataclass
class Graph:
    """The nodes and constants written so far, each once, in an order that equal models share.

    `interesting`: for each input column, values around which the answer may change.
    """

    nodes: list[NodeProto] = field(default_factory=list)
    inputs: list[tuple[str, str, int]] = field(default_factory=list)
    interesting: dict[int, set[float]] = field(default_factory=dict)
    _constants: dict[tuple[str, tuple[int, ...], bytes], TensorProto] = field(default_factory=dict)
    _made: dict[bytes, list[str]] = field(default_factory=dict)

    def input(self, name: str, dtype: str, columns: Sequence[int]) -> "Tensor":
        """`[rows, columns]`; `columns`: the number that each of its columns has among those of the model."""
        self.inputs.append((name, dtype, len(columns)))
        return Tensor(self, name, dtype, tuple(Origin(column) for column in columns))

    def constant(self, values: npt.ArrayLike) -> "Tensor":
        """Integers become int64, other numbers float64; text and booleans stay what they are."""
        array = np.asarray(values)
        kind = {"b": "bool", "i": "int64", "u": "int64", "U": "string", "O": "string"}.get(array.dtype.kind, "float64")
        array = np.ascontiguousarray(array.astype(object if kind == "string" else kind)).reshape(array.shape)
        key = (kind, array.shape, repr(array.tolist()).encode() if kind == "string" else array.tobytes())
        if key not in self._constants:
            self._constants[key] = numpy_helper.from_array(array, f"c{len(self._constants)}")
        return Tensor(self, self._constants[key].name, kind)

    def op(self, kind: str, *inputs: "Tensor", dtype: str, domain: str = "", **attributes: Any) -> "Tensor":
        """The first output of a node, of this dtype."""
        return self.ops(kind, *inputs, dtypes=(dtype,), domain=domain, **attributes)[0]

    def ops(
        self, kind: str, *inputs: "Tensor", dtypes: Sequence[str], domain: str = "", **attributes: Any
    ) -> "tuple[Tensor, ...]":
        node = helper.make_node(kind, [i.name for i in inputs], [], domain=domain, **attributes)
        content = blake2b(node.SerializeToString(deterministic=True)).digest()
        if content not in self._made:
            node.name = f"{kind}_{len(self.nodes)}"
            node.output.extend(f"{node.name}_{place}" for place in range(len(dtypes)))
            self.nodes.append(node)
            self._made[content] = list(node.output)
        return tuple(Tensor(self, name, dtype) for name, dtype in zip(self._made[content], dtypes, strict=True))

    def model(self, outputs: "Mapping[str, Tensor]", shapes: Mapping[str, Sequence[int | None]]) -> ModelProto:
        """The finished model, without whatever its outputs do not need."""
        ends = [helper.make_node("Identity", [tensor.name], [name]) for name, tensor in outputs.items()]
        nodes = _needed([*self.nodes, *ends])
        used = {name for node in nodes for name in node.input}
        given = [helper.make_tensor_value_info(name, TYPES[dtype], [None, width]) for name, dtype, width in self.inputs]
        made = [
            helper.make_tensor_value_info(name, TYPES[tensor.dtype], shapes[name]) for name, tensor in outputs.items()
        ]
        constants = [constant for constant in self._constants.values() if constant.name in used]
        versions = {"": OPSET, ML: ML_OPSET}
        opsets = [
            helper.make_opsetid(domain, versions[domain]) for domain in sorted({"", *(node.domain for node in nodes)})
        ]
        graph = helper.make_graph(nodes, "serval", given, made, constants)
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="serval")


def _needed(nodes: list[NodeProto]) -> list[NodeProto]:
    """The nodes on which the final `Identity` nodes depend."""
    wanted: set[str] = set()
    kept = []
    for node in reversed(nodes):
        if not node.name or wanted & set(node.output):
            kept.append(node)
            wanted |= set(node.input)
    return kept[::-1]


@dataclass(frozen=True, eq=False)
class Tensor:
    """One value of a graph: operators and methods write the node that computes them.

    `origins`: for each column what it is of the input, as far as known; empty where nothing is.
    """

    graph: Graph
    name: str
    dtype: str
    origins: Origins = ()

    __array_ufunc__ = None  # an array on the left leaves the operator to the tensor

    def op(self, kind: str, *others: Any, dtype: str | None = None, **attributes: Any) -> "Tensor":
        """A node of this kind with this tensor as its first input; its output has the same dtype unless told
        otherwise."""
        return self.graph.op(
            kind, self, *(self._like(other) for other in others), dtype=dtype or self.dtype, **attributes
        )

    def _like(self, other: Any) -> "Tensor":
        if isinstance(other, Tensor):
            return other
        return self.graph.constant(np.asarray(other).astype(object if self.dtype == "string" else self.dtype))

    def _of(self, origins: Origins) -> "Tensor":
        return replace(self, origins=origins) if any(origins) else self

    def _image(self, source: "Tensor", scales: Any = 1.0, shifts: Any = 0.0) -> "Tensor":
        """This tensor, which is `source * scales + shifts`; what is no constant for each column is not followed."""
        width = len(source.origins)
        if not width or any(
            isinstance(constant, Tensor) or np.size(constant) not in {1, width} for constant in (scales, shifts)
        ):
            return self
        scale, shift = (np.broadcast_to(np.ravel(constant), width).tolist() for constant in (scales, shifts))
        return self._of(
            tuple(origin and origin.moved(*by) for origin, *by in zip(source.origins, scale, shift, strict=True))
        )

    def note(self, edges: Any) -> None:
        """Remember values of these columns, one for each or all for the only one, at which the answer may change."""
        if not self.origins or isinstance(edges, Tensor) or self.dtype == "string":
            return
        values = np.ravel(np.asarray(edges, dtype=np.float64))
        if values.size == 1 or len(self.origins) in {1, values.size}:
            count = max(values.size, len(self.origins))
            origins = self.origins * count if len(self.origins) == 1 else self.origins
            for origin, value in zip(origins, np.broadcast_to(values, count).tolist(), strict=True):
                self.note_one(origin, value)

    def note_one(self, origin: Origin | None, value: float) -> None:
        if origin is not None and origin.scale and np.isfinite(value):
            self.graph.interesting.setdefault(origin.column, set()).add((value - origin.shift) / origin.scale)

    def _compared(self, kind: str, other: Any) -> "Tensor":
        self.note(other)
        return self.op(kind, other, dtype="bool")

    def __add__(self, other: Any) -> "Tensor":
        return self.op("Add", other)._image(self, shifts=other)

    def __sub__(self, other: Any) -> "Tensor":
        return self.op("Sub", other)._image(self, shifts=other if isinstance(other, Tensor) else np.negative(other))

    def __mul__(self, other: Any) -> "Tensor":
        return self.op("Mul", other)._image(self, scales=other)

    def __truediv__(self, other: Any) -> "Tensor":
        return self.op("Div", other)._image(self, scales=other if isinstance(other, Tensor) else np.divide(1.0, other))

    def __matmul__(self, other: Any) -> "Tensor":
        return self.op("MatMul", other)

    def __pow__(self, other: Any) -> "Tensor":
        return self.op("Pow", other)

    def __radd__(self, other: Any) -> "Tensor":
        return self._like(other).op("Add", self)

    def __rsub__(self, other: Any) -> "Tensor":
        return self._like(other).op("Sub", self)

    def __rmul__(self, other: Any) -> "Tensor":
        return self._like(other).op("Mul", self)

    def __rtruediv__(self, other: Any) -> "Tensor":
        return self._like(other).op("Div", self)

    def __neg__(self) -> "Tensor":
        return self.op("Neg")

    def __lt__(self, other: Any) -> "Tensor":
        return self._compared("Less", other)

    def __le__(self, other: Any) -> "Tensor":
        return self._compared("LessOrEqual", other)

    def __gt__(self, other: Any) -> "Tensor":
        return self._compared("Greater", other)

    def __ge__(self, other: Any) -> "Tensor":
        return self._compared("GreaterOrEqual", other)

    def __and__(self, other: "Tensor") -> "Tensor":
        return self.op("And", other)

    def __or__(self, other: "Tensor") -> "Tensor":
        return self.op("Or", other)

    def __invert__(self) -> "Tensor":
        return self.op("Not")

    def equals(self, other: Any) -> "Tensor":
        return self._compared("Equal", other)

    def is_nan(self) -> "Tensor":
        return self.op("IsNaN", dtype="bool")

    def abs(self) -> "Tensor":
        return self.op("Abs")

    def exp(self) -> "Tensor":
        return self.op("Exp")

    def log(self) -> "Tensor":
        return self.op("Log")

    def sqrt(self) -> "Tensor":
        return self.op("Sqrt")

    def sign(self) -> "Tensor":
        return self.op("Sign")

    def sigmoid(self) -> "Tensor":
        """As scipy has it; ONNX Runtime's own operator gives up below about -37."""
        return 1.0 / ((-self).exp() + 1.0)

    def tanh(self) -> "Tensor":
        return self.op("Tanh")

    def square(self) -> "Tensor":
        return self.op("Mul", self)

    def minimum(self, other: Any) -> "Tensor":
        return self.op("Min", other)

    def maximum(self, other: Any) -> "Tensor":
        return self.op("Max", other)

    def clip(self, low: float, high: float) -> "Tensor":
        return self.op("Clip", low, high)

    def softmax(self) -> "Tensor":
        return self.op("Softmax", axis=-1)

    def row_sums(self, width: int) -> "Tensor":
        """`[..., 1]` of `[..., width]`: a product with ones, because ReduceSum gives a row other last bits among other
        rows."""
        return self @ np.ones((width, 1))

    def count(self) -> "Tensor":
        """Int64 `[rows]`: in how many columns of a row this is true."""
        return self.cast("int64").op("ReduceSum", self.graph.constant([1]), keepdims=0)

    def max(self, axis: int = 1, *, keep: bool = False) -> "Tensor":
        return self.op("ReduceMax", self.graph.constant([axis]), keepdims=int(keep))

    def argmax(self, axis: int = 1, *, keep: bool = False) -> "Tensor":
        """The first of equals, as numpy has it."""
        return self.op("ArgMax", dtype="int64", axis=axis, keepdims=int(keep))

    def argmin(self, axis: int = 1) -> "Tensor":
        return self.op("ArgMin", dtype="int64", axis=axis, keepdims=0)

    def cast(self, dtype: str) -> "Tensor":
        return self if dtype == self.dtype else self.op("Cast", dtype=dtype, to=TYPES[dtype])._of(self.origins)

    def rounded_to_float32(self) -> "Tensor":
        """The values that float32 can hold, in float64: what a tree of scikit-learn compares."""
        return self.cast("float32").cast("float64")

    def reshape(self, *shape: int) -> "Tensor":
        return self.op("Reshape", self.graph.constant(np.array(shape)))

    def as_column(self) -> "Tensor":
        return self.reshape(-1, 1)._of(self.origins[:1] if len(self.origins) == 1 else ())

    def ravel(self) -> "Tensor":
        return self.reshape(-1)

    def transpose(self, *axes: int) -> "Tensor":
        return self.op("Transpose", perm=list(axes))

    def columns(self, indices: Sequence[int] | Array) -> "Tensor":
        """`[rows, len(indices)]`"""
        places = np.asarray(indices, dtype=np.int64)
        if self.origins and places.tolist() == list(range(len(self.origins))):
            return self
        origins = tuple(self.origins[place] for place in places.tolist()) if self.origins else ()
        return self.op("Gather", self.graph.constant(places), axis=1)._of(origins)

    def column(self, index: int) -> "Tensor":
        """`[rows]`"""
        return self.op("Gather", self.graph.constant(np.int64(index)), axis=1)._of(
            self.origins[index : index + 1] if index >= 0 else ()
        )

    def look_up(self, values: Array) -> "Tensor":
        """`values[self]` for indices into the first axis of a constant."""
        table = self.graph.constant(values)
        return table.op("Gather", self, axis=0)

    def choose(self, yes: Any, no: Any) -> "Tensor":
        """`numpy.where(self, yes, no)`; at least one of the two is a tensor."""
        known = yes if isinstance(yes, Tensor) else no
        chosen = self.op("Where", known._like(yes), known._like(no), dtype=known.dtype)
        return chosen if isinstance(yes, Tensor) and isinstance(no, Tensor) else chosen._of(known.origins)

    def one_hot(self, depth: int) -> "Tensor":
        """Float64 `[rows, depth]` of int64 `[rows]`; a value outside `0 .. depth-1` is a row of zeros."""
        return self.as_column().equals(np.arange(depth)).cast("float64")

    def normalised(self, columns: int) -> "Tensor":
        """Rows divided by their sum; a row of zeros becomes uniform."""
        whole = self.row_sums(columns)
        is_empty = whole.equals(0.0)
        return is_empty.choose(1.0, self) / is_empty.choose(float(columns), whole)

    def full(self, values: npt.ArrayLike) -> "Tensor":
        """`values` (one row) repeated for each row of this `[rows, columns]`, whatever it holds."""
        row = np.atleast_1d(np.asarray(values))
        constant = self.graph.constant(row[None])
        count = self.op("Shape", dtype="int64", start=0, end=1)
        return constant.op("Expand", count.op("Concat", np.array([row.size]), axis=0))


def concat(tensors: Iterable[Tensor], axis: int = 1) -> Tensor:
    parts = list(tensors)
    if len(parts) == 1:
        return parts[0]
    origins = sum((part.origins for part in parts), ()) if axis == 1 and all(part.origins for part in parts) else ()
    return parts[0].op("Concat", *parts[1:], axis=axis)._of(origins)


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


@dataclass(frozen=True)
class Slot:
    """One column of a table: a column of a matrix `[rows, columns]`."""

    source: Tensor
    index: int

    @property
    def origin(self) -> Origin | None:
        return self.source.origins[self.index] if self.source.origins else None

    def column(self) -> Tensor:
        """`[rows]`"""
        return self.source.column(self.index)


@dataclass(frozen=True)
class Table:
    """Columns of numbers and of strings."""

    slots: tuple[Slot, ...]

    def matrix(self) -> Tensor:
        """`[rows, columns]`, all of one dtype; neighbours of one source are taken together."""
        parts = []
        for _, run in groupby(self.slots, key=lambda slot: slot.source.name):
            slots = list(run)
            parts.append(slots[0].source.columns([slot.index for slot in slots]))
        return concat(parts)

    @property
    def has_strings(self) -> bool:
        return any(slot.source.dtype == "string" for slot in self.slots)


Features = Tensor | Table


def matrix(x: Features) -> Tensor:
    return x.matrix() if isinstance(x, Table) else x


def as_table(x: Features, width: int) -> Table:
    return x if isinstance(x, Table) else Table(tuple(Slot(x, index) for index in range(width)))


def select(x: Features, indices: Sequence[int]) -> Features:
    """Some columns, in the order given: numbers as a matrix, anything with strings as a table."""
    if isinstance(x, Tensor):
        return x.columns(indices)
    chosen = Table(tuple(x.slots[index] for index in indices))
    return chosen if chosen.has_strings else chosen.matrix()


def join(parts: Sequence[tuple[Features, int]]) -> Features:
    """Side by side: each part with its number of columns."""
    if all(isinstance(part, Tensor) and part.dtype != "string" for part, _ in parts):
        matrices = [matrix(part) for part, _ in parts]
        origins = [part.origins or (None,) * width for part, (_, width) in zip(matrices, parts, strict=True)]
        return concat(matrices)._of(sum(origins, ()) if all(origins) else ())
    return Table(tuple(slot for part, width in parts for slot in as_table(part, width).slots))
