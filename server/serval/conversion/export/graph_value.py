"""One value of a graph, the nodes that read it, and the input values around which it may change."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from serval.conversion.export.blocks import Blocks
from serval.conversion.export.graph import TYPES, Graph
from serval.conversion.export.origins import Origin, Origins


@dataclass(frozen=True, eq=False)
class GraphValue:
    """`origins`: for each column what it is of the input, as far as known; empty where nothing is.

    `blocks`: of what it consists, where indicators of categories are among it; else empty.
    """

    graph: Graph
    name: str
    dtype: str
    origins: Origins = ()
    blocks: Blocks = ()

    @classmethod
    def input(cls, graph: Graph, name: str, dtype: str, columns: Sequence[int]) -> Self:
        """`[rows, columns]`; `columns`: the index that each of its columns has among those of the model."""
        graph.add_input(name, dtype, len(columns))
        return cls(graph, name, dtype, tuple(Origin(column) for column in columns))

    def constant(self, values: npt.ArrayLike) -> Self:
        """Integers become int64, other numbers float64; text and booleans stay what they are."""
        return type(self)(self.graph, *self.graph.add_constant(values))

    def op(self, kind: str, *others: Any, dtype: str | None = None, domain: str = "", **attributes: Any) -> Self:
        """The first output of a node of this kind with this value as its first input.

        `dtype`: of the output; this value's own by default.
        """
        inputs = [self.like(other) for other in others]
        return self.ops(kind, *inputs, dtypes=(dtype or self.dtype,), domain=domain, **attributes)[0]

    def ops(
        self, kind: str, *others: "GraphValue", dtypes: Sequence[str], domain: str = "", **attributes: Any
    ) -> tuple[Self, ...]:
        """The outputs of such a node, of these dtypes."""
        inputs = [self.name, *(other.name for other in others)]
        names = self.graph.add_node(kind, inputs, len(dtypes), domain, **attributes)
        return tuple(type(self)(self.graph, name, dtype) for name, dtype in zip(names, dtypes, strict=True))

    def cast(self, dtype: str) -> Self:
        if dtype == self.dtype:
            return self
        blocks = tuple(block.cast(dtype) for block in self.blocks) if dtype.startswith("float") else ()
        return replace(self.op("Cast", dtype=dtype, to=TYPES[dtype]), blocks=blocks).with_origins(self.origins)

    def note(self, edges: Any) -> None:
        """Remember values of these columns, one for each or all for the only one, at which the answer may change."""
        if not self.origins or isinstance(edges, GraphValue) or self.dtype == "string":
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

    def nulls(self) -> list[Literal["nan", "none", "nat"] | None]:
        """For each column what null stands for, as far as known; empty where no origin is."""
        return [None if origin is None else self.graph.nulls.get(origin.column) for origin in self.origins]

    def like(self, other: Any) -> Self:
        if isinstance(other, type(self)):
            return other
        return self.constant(np.asarray(other).astype(object if self.dtype == "string" else self.dtype))

    def with_origins(self, origins: Origins) -> Self:
        return replace(self, origins=origins) if any(origins) else self

    def _image(self, source: "GraphValue", scales: Any = 1.0, shifts: Any = 0.0) -> Self:
        """This value, which is `source * scales + shifts`; only a constant for each column is followed."""
        width = len(source.origins)
        if not width or any(
            isinstance(constant, GraphValue) or np.size(constant) not in {1, width} for constant in (scales, shifts)
        ):
            return self
        scale, shift = (np.broadcast_to(np.ravel(constant), width).tolist() for constant in (scales, shifts))
        return self.with_origins(
            tuple(origin and origin.moved(*by) for origin, *by in zip(source.origins, scale, shift, strict=True))
        )
