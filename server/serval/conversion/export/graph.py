"""An ONNX graph under construction: nodes and constants of the domains '' and `ai.onnx.ml`, each written once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

ML = "ai.onnx.ml"
OPSET = 21
ML_OPSET = 3
IR_VERSION = 10

TYPES = {
    "bool": TensorProto.BOOL,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "int64": TensorProto.INT64,
    "string": TensorProto.STRING,
}


@dataclass
class Graph:
    """The nodes and constants written so far, each once, in an order that equal models share.

    `interesting`: for each input column, values around which the answer may change. `nulls`: for each input column that
    takes null, what it stands for.
    """

    nodes: list[NodeProto] = field(default_factory=list)
    inputs: list[tuple[str, str, int]] = field(default_factory=list)
    interesting: dict[int, set[float]] = field(default_factory=dict)
    prefix: str = ""
    """Of all names, for the body of a loop."""
    nulls: dict[int, Literal["nan", "none", "nat"]] = field(default_factory=dict)
    _constants: dict[tuple[str, tuple[int, ...], bytes], TensorProto] = field(default_factory=dict)
    _outputs_by_content: dict[bytes, list[str]] = field(default_factory=dict)

    def add_input(self, name: str, dtype: str, width: int) -> None:
        """Declare the input `name`, `[rows, width]`."""
        self.inputs.append((name, dtype, width))

    def add_constant(self, values: npt.ArrayLike) -> tuple[str, str]:
        """Return its name and dtype: integers become int64, other numbers float64; text and booleans stay."""
        array = np.asarray(values)
        dtype = {"b": "bool", "i": "int64", "u": "int64", "U": "string", "O": "string"}.get(array.dtype.kind, "float64")
        array = np.ascontiguousarray(array.astype(object if dtype == "string" else dtype)).reshape(array.shape)
        key = (dtype, array.shape, repr(array.tolist()).encode() if dtype == "string" else array.tobytes())
        if key not in self._constants:
            self._constants[key] = numpy_helper.from_array(array, f"{self.prefix}c{len(self._constants)}")
        return self._constants[key].name, dtype

    def add_node(self, kind: str, inputs: Sequence[str], outputs: int, domain: str, **attributes: Any) -> list[str]:
        """Return the names of its outputs."""
        node = helper.make_node(kind, inputs, [], domain=domain, **attributes)
        content = blake2b(node.SerializeToString(deterministic=True)).digest()
        if content not in self._outputs_by_content:
            node.name = f"{self.prefix}{kind}_{len(self.nodes)}"
            node.output.extend(f"{node.name}_{index}" for index in range(outputs))
            self.nodes.append(node)
            self._outputs_by_content[content] = list(node.output)
        return self._outputs_by_content[content]

    def body(
        self, controls: Sequence[tuple[str, str]], inputs: Sequence[tuple[str, str]], outputs: Sequence[tuple[str, str]]
    ) -> GraphProto:
        """The graph as the body of a loop.

        Name and dtype of each: `controls`, scalars, come before the `inputs`; the first of the `outputs` is a scalar.
        """
        given = [helper.make_tensor_value_info(name, TYPES[dtype], []) for name, dtype in controls]
        given += [helper.make_tensor_value_info(name, TYPES[dtype], [None, None]) for name, dtype in inputs]
        made = [
            helper.make_tensor_value_info(name, TYPES[dtype], [None, None] if index else [])
            for index, (name, dtype) in enumerate(outputs)
        ]
        return helper.make_graph(self.nodes, f"{self.prefix}body", given, made, list(self._constants.values()))

    def model(
        self, outputs: Mapping[str, tuple[str, str]], shapes: Mapping[str, Sequence[int | None] | None]
    ) -> ModelProto:
        """The finished model, without the nodes that its outputs do not need.

        `outputs`: output name → (tensor name, dtype).
        """
        ends = [helper.make_node("Identity", [tensor], [name]) for name, (tensor, _) in outputs.items()]
        nodes = _needed([*self.nodes, *ends])
        used = {name for node in nodes for name in reads(node)}
        input_infos = [
            helper.make_tensor_value_info(name, TYPES[dtype], [None, width]) for name, dtype, width in self.inputs
        ]
        output_infos = [
            helper.make_tensor_value_info(name, TYPES[dtype], shapes[name]) for name, (_, dtype) in outputs.items()
        ]
        constants = [constant for constant in self._constants.values() if constant.name in used]
        versions = {"": OPSET, ML: ML_OPSET}
        opsets = [
            helper.make_opsetid(domain, versions[domain]) for domain in sorted({"", *(node.domain for node in nodes)})
        ]
        graph = helper.make_graph(nodes, "serval", input_infos, output_infos, constants)
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="serval")


def _needed(nodes: list[NodeProto]) -> list[NodeProto]:
    """The nodes on which the final `Identity` nodes depend."""
    required: set[str] = set()
    needed = []
    for node in reversed(nodes):
        if not node.name or required & set(node.output):
            needed.append(node)
            required |= reads(node)
    return needed[::-1]


def reads(node: NodeProto) -> set[str]:
    """The values that a node reads, those that its body takes from the graph around among them."""
    inner = {
        name
        for attribute in node.attribute
        if attribute.HasField("g")
        for part in attribute.g.node
        for name in part.input
    }
    return set(node.input) | inner
