"""The two readers of bodies side by side: the data plane's and Python's."""

import json
import math
from typing import Any

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper

from serval._native import Answer, NeedsPython, Refusal
from serval.conversion.signature import MISSING_STRING, Column, Signature
from serval.data_plane.request import CsvDialect
from serval.errors import ServalError, TooLarge
from serval.predictions.csv_rows import decode_csv
from serval.predictions.decoding import decode_json
from support import graphs, planes
from support.planes import new_plane, put_caller, route

MAX_ROWS = 4
NUMBERS = (
    Column("a", "number", "float64"),
    Column("b", "number", "float64", missing="nan"),
    Column("e", "unused", "object"),
    Column("c d", "number", "float64", maximum=1e30),
    Column("f", "boolean", "bool", missing="nan"),
)
STRINGS = (
    *NUMBERS,
    Column("s", "string", "str", missing="nan"),
    Column("n", "number", "int64", categories=(0, 1, 2.5)),
    Column('t "é"', "string", "object"),
    Column("u", "string", "str", categories=("", "basic", "é\n", "🦡")),
    Column("v", "boolean", "bool", categories=(True,)),
)
"""With strings, and with categories that are all a column takes."""


class Readers:
    """A plane whose model `echo` answers a row with its own numbers and caches nothing, beside Python's reader."""

    def __init__(self, columns: tuple[Column, ...]) -> None:
        width = sum(column.is_number for column in columns)
        strings = sum(column.kind == "string" for column in columns)
        self.signature = Signature("regressor", columns, True, (), width, True, False, "float64", "float64")
        self.plane = new_plane(cache_bytes=0, cache_ttl_seconds=0.0, max_rows=MAX_ROWS, keeps_inputs=True)
        self.plane.models.load(
            "ver_1",
            echo(width, strings).SerializeToString(),
            msgspec.json.encode(self.signature),
            np.zeros((2, width)).tobytes(),
            [""] * (2 * strings),
        )
        self.plane.models.set_routes([route(name="echo")])
        put_caller(self.plane)

    def ask(self, body: bytes, dialect: CsvDialect | None = None) -> Any:
        """`dialect`: of a CSV body."""
        return planes.ask(self.plane, body, model="echo", no_cache=True, waits=False, csv=dialect)

    def assert_agree(self, body: bytes, dialect: CsvDialect | None = None) -> None:
        """What Rust answers, Python decodes to the same bits; what Python refuses, Rust does not answer."""
        reply = self.ask(body, dialect)
        try:
            if dialect is None:
                decoded = decode_json(body, self.signature, max_rows=MAX_ROWS, shape="full")
            else:
                decoded = decode_csv(body, self.signature, dialect, max_rows=MAX_ROWS)
        except TooLarge:
            assert isinstance(reply, NeedsPython | Refusal)
        except ServalError:
            assert isinstance(reply, NeedsPython) or reply.code == "too_many_rows"
        else:
            assert isinstance(reply, Answer | NeedsPython)
            if isinstance(reply, Answer):
                assert np.array(rows_read(reply)).tobytes() == decoded.numbers
                assert self._strings_read() == decoded.strings
                assert decoded.is_list == (b'"predictions"' in reply.body)

    def _strings_read(self) -> list[str]:
        """The strings of the request that was answered last, as the history recorded them."""
        *_, last = self.plane.history.drain(1000)
        assert last.inputs is not None
        return [
            MISSING_STRING if cell is None else cell
            for row in json.loads(last.inputs)
            for column, cell in zip(self.signature.columns, row, strict=True)
            if column.kind == "string"
        ]


def echo(numbers: int, strings: int) -> onnx.ModelProto:
    """A graph that answers with the numbers of a row, and leaves its strings alone."""
    inputs = [helper.make_tensor_value_info("numbers", TensorProto.DOUBLE, ["rows", numbers])]
    nodes = [helper.make_node("Identity", ["numbers"], ["values"])]
    if strings:
        inputs.append(helper.make_tensor_value_info("strings", TensorProto.STRING, ["rows", strings]))
        nodes.append(helper.make_node("Identity", ["strings"], ["unused"]))
    values = helper.make_tensor_value_info("values", TensorProto.DOUBLE, ["rows", numbers])
    return graphs.model(nodes, [values], inputs=inputs)


def rows_read(answer: Answer) -> list[list[float]]:
    document = json.loads(answer.body)
    rows = document["predictions"] if "predictions" in document else [document["prediction"]]
    return [[math.nan if cell is None else float(cell) for cell in row] for row in rows]
