"""Planes, models and callers for the tests of the data plane."""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from prometheus_client.parser import text_string_to_metric_families
from skl2onnx import to_onnx
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

from serval._native import DataPlane, Later, Route

KEY = hashlib.sha256(b"a key").digest()
LIBRARY = str(next((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so*")))
OPSET = {"": 21, "ai.onnx.ml": 3}


def new_plane(**settings: Any) -> DataPlane:
    defaults = {
        "cache_bytes": 1 << 24,
        "cache_ttl_seconds": 60.0,
        "cheap_seconds": 10.0,
        "max_rows": 1000,
        "threads": 2,
        "timeout_seconds": 30.0,
    }
    return DataPlane(runtime_library=LIBRARY, **(defaults | settings))


def route(model: str = "mdl_1", **settings: Any) -> Route:
    defaults: dict[str, Any] = {
        "name": "iris",
        "owner": "usr_1",
        "owner_username": "ada",
        "live": 1,
        "versions": {1: "ver_1"},
        "aliases": {},
        "cache_ttl_seconds": None,
        "is_public": False,
        "shared_with": [],
    }
    return Route(model=model, **(defaults | settings))


def put_caller(plane: DataPlane, digest: bytes = KEY, user: str = "usr_1", **settings: Any) -> bool:
    defaults: dict[str, Any] = {
        "key": None,
        "is_admin": False,
        "can_predict": True,
        "models": None,
        "expires_at": time.time() + 3600,
        "limits": [],
        "quota": None,
        "epoch": plane.epoch(digest),
    }
    return plane.put_caller(digest, user=user, **(defaults | settings))


def signature(width: int, /, **settings: Any) -> dict[str, Any]:
    """A classifier of one target with probabilities in float32, unless `settings` say otherwise."""
    defaults = {
        "kind": "classifier",
        "columns": [{"name": f"x{place}", "kind": "number", "dtype": "float64"} for place in range(width)],
        "has_names": True,
        "labels": [[0, 1, 2]],
        "targets": 1,
        "is_multi_target": False,
        "has_probabilities": True,
        "numbers_dtype": "float32",
        "scores_dtype": "float32",
    }
    return defaults | settings


def regressor(width: int, /, **settings: Any) -> dict[str, Any]:
    return signature(width, **({"kind": "regressor", "labels": [], "has_probabilities": False} | settings))


def converted(estimator: Any, columns: int, outputs: dict[str, str], dtype: str = "float32") -> onnx.ModelProto:
    """The ONNX of an estimator fitted on integer classes from 0, with its outputs renamed."""
    tensor = FloatTensorType if dtype == "float32" else DoubleTensorType
    options = {"zipmap": False} if hasattr(estimator, "classes_") else None
    model = to_onnx(
        estimator, initial_types=[("numbers", tensor([None, columns]))], options=options, target_opset=OPSET
    )
    return renamed(model, outputs)


def renamed(model: onnx.ModelProto, names: dict[str, str]) -> onnx.ModelProto:
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for output in model.graph.output:
        output.name = names.get(output.name, output.name)
    return model


def load(
    plane: DataPlane, model: onnx.ModelProto, contract: dict[str, Any], rows: np.ndarray, version: str = "ver_1"
) -> Any:
    return plane.load(
        version,
        model.SerializeToString(),
        json.dumps(contract).encode(),
        np.ascontiguousarray(rows, dtype=np.float64).tobytes(),
        [],
    )


def samples(plane: DataPlane, name: str, **labels: str) -> list[float]:
    """The values of a metric of the data plane, of every combination of labels that has these."""
    families = text_string_to_metric_families(plane.metrics().decode())
    return [
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]


def ask(
    plane: DataPlane,
    body: bytes | str,
    shape: str = "full",
    model: str | None = "iris",
    *,
    caller: bytes = KEY,
    **settings: Any,
) -> Any:
    """What the data plane answers, waited for unless `waits=False`."""
    defaults = {"version": None, "alias": None, "all_probabilities": False, "no_cache": False, "waits": True}
    given = defaults | settings
    reply = plane.answer(
        caller,
        shape,
        model if shape == "full" else None,
        given["version"],
        given["alias"],
        given["all_probabilities"],
        given["no_cache"],
        body.encode() if isinstance(body, str) else body,
        time.monotonic_ns(),
    )
    return reply.wait() if isinstance(reply, Later) and given["waits"] else reply
