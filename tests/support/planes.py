"""Planes, models and callers for the tests of the data plane."""

import hashlib
import json
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime
from prometheus_client.parser import text_string_to_metric_families
from skl2onnx import to_onnx
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

from serval._native import DataPlane, Deferred
from serval.auth.caller import SCOPES, Caller, Quota
from serval.data_plane.request import PredictRequest
from serval.data_plane.route import Route
from serval.data_plane.settings import PlaneSettings
from serval.settings.plans import Rate

KEY = hashlib.sha256(b"a key").digest()
LIBRARY = str(next((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so*")))
OPSET = {"": 21, "ai.onnx.ml": 3}


def plane_settings(**settings: Any) -> PlaneSettings:
    """Settings of a small data plane, but for `settings`."""
    defaults = PlaneSettings(
        runtime_library=LIBRARY,
        cache_bytes=1 << 24,
        cache_ttl_seconds=60.0,
        cache_url=None,
        cache_secret=None,
        cache_l2_ttl_seconds=300.0,
        inline_below_seconds=10.0,
        max_rows=1000,
        threads=2,
        timeout_seconds=30.0,
        max_queued=512,
        max_queued_per_model=128,
        caller_age_seconds=3600.0,
        history_capacity=8192,
        history_sample=1.0,
        keeps_inputs=False,
        log_sample=0.0,
        slow_seconds=1.0,
    )
    return msgspec.structs.replace(defaults, **settings)


def new_plane(**settings: Any) -> DataPlane:
    return DataPlane(plane_settings(**settings))


def route(model: str = "mdl_1", **settings: Any) -> Route:
    defaults = Route(
        model=model,
        name="iris",
        owner="usr_1",
        owner_username="ada",
        live=1,
        versions={1: "ver_1"},
        aliases={},
        cache="auto",
        cache_ttl_seconds=None,
        cache_l2_ttl_seconds=None,
        is_public=False,
        shared_with=frozenset(),
    )
    return msgspec.structs.replace(defaults, **settings)


Limit = tuple[str, int, int]
"""`kind:id` of a subject, count and seconds of its rate."""


def rates_of(limits: Iterable[Limit]) -> tuple[tuple[str, Rate], ...]:
    return tuple((subject, Rate(count, seconds)) for subject, count, seconds in limits)


def put_caller(
    plane: DataPlane,
    digest: bytes = KEY,
    user: str = "usr_1",
    *,
    key: str | None = None,
    is_admin: bool = False,
    can_predict: bool = True,
    models: Iterable[str] | None = None,
    expires_at: float | None = None,
    limits: Iterable[Limit] = (),
    quota: tuple[int, int, float] | None = None,
    epoch: int | None = None,
) -> bool:
    """`expires_at`: Unix seconds. `quota`: predictions made this month, those allowed, Unix seconds of the month's end."""
    caller = Caller(
        user_id=user,
        username=user,
        role="admin" if is_admin else "user",
        scopes=frozenset(scope for scope in SCOPES if can_predict or scope != "predict"),
        models=None if models is None else frozenset(models),
        key_id=key,
        session_id=None,
        digest=digest,
        expires_at=None if expires_at is None else datetime.fromtimestamp(expires_at, UTC),
        api_rate=None,
        predict_limits=rates_of(limits),
        quota=None if quota is None else Quota(quota[0], quota[1], datetime.fromtimestamp(quota[2], UTC)),
    )
    return plane.callers.put(caller, plane.callers.epoch(digest) if epoch is None else epoch)


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
    return plane.models.load(
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


def predict_request(caller: bytes = KEY, shape: Any = "full", **settings: Any) -> PredictRequest:
    defaults = PredictRequest(
        caller=caller, shape=shape, all_probabilities=False, no_cache=False, started_ns=time.monotonic_ns()
    )
    return msgspec.structs.replace(defaults, **settings)


def ask(
    plane: DataPlane,
    body: bytes | str,
    shape: str = "full",
    model: str | None = "iris",
    *,
    version: int | None = None,
    alias: str | None = None,
    waits: bool = True,
    **request: Any,
) -> Any:
    """What the data plane answers, waited for unless `waits=False`."""
    reply = plane.predictor.answer(
        predict_request(shape=shape, **request),
        model if shape == "full" else None,
        version,
        alias,
        body.encode() if isinstance(body, str) else body,
    )
    return reply.wait() if isinstance(reply, Deferred) and waits else reply


def predict(
    plane: DataPlane,
    numbers: bytes,
    strings: Sequence[str] = (),
    *,
    model: str = "mdl_1",
    version: str = "ver_1",
    is_list: bool = False,
    **request: Any,
) -> Any:
    """What the data plane answers to decoded rows, not waited for."""
    return plane.predictor.predict(predict_request(**request), model, version, is_list, numbers, strings)
