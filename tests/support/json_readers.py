"""The two readers of JSON bodies side by side: the data plane's and Python's."""

import json
import math
from typing import Any

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper

from serval._native import Answer, DataPlane, NeedsPython, Refusal
from serval.conversion.signature import Column, Signature
from serval.errors import ServalError, TooLarge
from serval.predictions.decoding import decode_json
from support import planes
from support.planes import new_plane, put_caller, route

MAX_ROWS = 4
COLUMNS = (
    Column("a", "number", "float64"),
    Column("b", "number", "float64", missing="nan"),
    Column("e", "unused", "object"),
    Column("c d", "number", "float64", maximum=1e30),
    Column("f", "boolean", "bool", missing="nan"),
)
NUMBERS = sum(column.is_number for column in COLUMNS)
ECHO = Signature("regressor", COLUMNS, True, (), NUMBERS, True, False, "float64", "float64")
"""A regressor that answers a row with the row itself, so that an answer shows what was read."""


def echo_plane() -> DataPlane:
    """A plane whose model `echo` has the signature `ECHO` and caches nothing."""
    shape = ["rows", NUMBERS]
    numbers, values = (helper.make_tensor_value_info(name, TensorProto.DOUBLE, shape) for name in ("numbers", "values"))
    graph = helper.make_graph([helper.make_node("Identity", ["numbers"], ["values"])], "echo", [numbers], [values])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    plane = new_plane(cache_bytes=0, cache_ttl_seconds=0.0, max_rows=MAX_ROWS)
    plane.models.load(
        "ver_1",
        onnx.ModelProto.SerializeToString(model),
        msgspec.json.encode(ECHO),
        np.zeros((2, NUMBERS)).tobytes(),
        [],
    )
    plane.models.set_routes([route(name="echo")])
    put_caller(plane)
    return plane


def ask(plane: DataPlane, body: bytes) -> Any:
    return planes.ask(plane, body, model="echo", no_cache=True, waits=False)


def rows_read(answer: Answer) -> list[list[float]]:
    document = json.loads(answer.body)
    rows = document["predictions"] if "predictions" in document else [document["prediction"]]
    return [[math.nan if cell is None else float(cell) for cell in row] for row in rows]


def assert_readers_agree(plane: DataPlane, body: bytes) -> None:
    """What Rust answers, Python decodes to the same bits; what Python refuses, Rust does not answer."""
    reply = ask(plane, body)
    try:
        decoded = decode_json(body, ECHO, max_rows=MAX_ROWS, shape="full")
    except TooLarge:
        assert isinstance(reply, NeedsPython | Refusal)
    except ServalError:
        assert isinstance(reply, NeedsPython) or reply.code == "too_many_rows"
    else:
        assert isinstance(reply, Answer | NeedsPython)
        if isinstance(reply, Answer):
            assert np.array(rows_read(reply)).tobytes() == decoded.numbers
            assert decoded.is_list == (b'"predictions"' in reply.body)
