"""The tasks that run in confined children: each takes the upload's bytes and a request, and returns bytes."""

from __future__ import annotations

import contextlib
import importlib
import sys
import warnings
from collections.abc import Callable

import msgspec
import numpy as np

from serval.conversion import messages as wire
from serval.errors import NotAPredictor, NotConvertible

Task = Callable[[bytes, bytes], bytes]
LIBRARIES = (
    *(
        "serval.conversion.sandbox.loading",
        "serval.conversion.export.columns",
        "serval.conversion.from_sklearn",
        "serval.conversion.export.original",
    ),
    *("serval.conversion.verify.data_plane_engine", "serval.conversion.verify.probing", "serval.conversion.samples"),
    *("numpy.ma", "numpy.random", "pandas"),
)
"""What one task or another needs."""
PICKLED = (
    "calibration cluster compose covariance cross_decomposition decomposition discriminant_analysis dummy ensemble"
    " experimental.enable_iterative_imputer feature_extraction feature_selection frozen gaussian_process impute isotonic"
    " kernel_approximation kernel_ridge linear_model manifold mixture model_selection multiclass multioutput naive_bayes neighbors"
    " neural_network pipeline preprocessing random_projection semi_supervised svm tree"
)
"""Where scikit-learn keeps what a pickle may name."""


NEVER_IMPORTED = frozenset(
    {"antigravity", "ensurepip", "idlelib", "lib2to3", "this", "tkinter", "turtle", "turtledemo", "venv"}
)
"""Parts of the standard library that do something on import, or are programs."""


def preload() -> None:
    """Import what the tasks need, before there is an upload: a confined process may not be able to."""
    preload_standard_library()
    for name in (*LIBRARIES, *(f"sklearn.{name}" for name in PICKLED.split())):
        importlib.import_module(name)


def preload_standard_library() -> None:
    """Import all of it, in a quarter of a second: libraries import parts late, when a child of another user may read
    them no more."""
    for name in sorted(sys.stdlib_module_names - NEVER_IMPORTED):
        if not name.startswith("_"):
            with (
                contextlib.suppress(ImportError),
                warnings.catch_warnings(action="ignore"),
            ):  # other platforms have other parts
                importlib.import_module(name)


def inspect(upload: bytes, request: bytes) -> bytes:
    """What is in the file. Raises NotAModel."""
    import sklearn

    from serval.conversion.export import columns
    from serval.conversion.sandbox.loading import load, predictor

    orders = msgspec.msgpack.decode(request, type=wire.InspectRequest)
    loaded = load(upload, orders.limit_bytes)
    estimator = predictor(loaded.content)
    kind, problem = None, None
    try:
        kind = columns.predictor_kind(estimator)
    except NotAPredictor as error:
        problem = error.message
    return wire.encode(
        wire.Inspection(
            format=loaded.format,
            compression=loaded.compression,
            estimator=type(estimator).__name__,
            kind=kind,
            steps=[type(step).__name__ for _, step in getattr(estimator, "steps", [])][:100],
            scikit_learn_saved_with=loaded.saved_by or sklearn.__version__,
            scikit_learn_verified_with=sklearn.__version__,
            columns=[str(name) for name in getattr(estimator, "feature_names_in_", [])],
            labels=_labels(estimator) if kind == "classifier" else [],
            notes=loaded.notes,
            problem=problem,
        )
    )


def _labels(estimator: object) -> list[bool | int | float | str]:
    classes = getattr(estimator, "classes_", [])
    return [] if isinstance(classes, list) else np.asarray(classes).tolist()


def convert(upload: bytes, request: bytes) -> bytes:
    """The upload's predictor as a graph, with signature and hints. Raises NotAModel, NotAPredictor,
    NotConvertible."""
    import sklearn

    from serval.conversion import from_sklearn
    from serval.conversion.sandbox.loading import load, predictor

    orders = msgspec.msgpack.decode(request, type=wire.ConvertRequest)
    loaded = load(upload, orders.limit_bytes)
    estimator = predictor(loaded.content)
    converted = from_sklearn.convert(estimator, orders.columns, orders.sample, is_text=orders.is_text)
    return wire.encode(
        wire.Conversion(
            onnx=converted.onnx,
            signature=converted.signature,
            hints=converted.hints,
            form=converted.form,
            tried=converted.tried,
            estimator=type(estimator).__name__,
            scikit_learn_saved_with=loaded.saved_by or sklearn.__version__,
            scikit_learn_verified_with=sklearn.__version__,
            notes=loaded.notes,
        )
    )


def engine(_: bytes, request: bytes) -> bytes:
    """The rows on which graph and original must agree, and what the data plane answers for them. Raises
    NotConvertible."""
    from serval.conversion.verify.data_plane_engine import NativeEngine

    return run_engine(request, NativeEngine())


def run_engine(request: bytes, runner: wire.Engine) -> bytes:
    from serval.conversion import samples
    from serval.conversion.verify import probing

    orders = msgspec.msgpack.decode(request, type=wire.EngineRequest)
    wire.check_signature(orders.signature)
    if len(orders.hints) != len(orders.signature.columns):
        raise NotConvertible("The converted model's hints are not for its columns.")
    cells = samples.fitting(orders.sample, orders.signature.columns, is_text=orders.is_text)
    given = samples.rows_of(orders.signature, cells) if cells else None
    rows = probing.choose(orders.signature, probing.widened(orders.onnx, orders.signature, orders.hints), given)
    answers = runner.run(orders.onnx, orders.signature, rows)
    return wire.encode(wire.EngineResult(wire.packed_rows(rows), wire.packed_answers(answers)))


def reference(upload: bytes, request: bytes) -> bytes:
    """What the original answers for rows chosen elsewhere. Raises NotAModel."""
    from serval.conversion.export.original import ask
    from serval.conversion.sandbox.loading import load, predictor

    orders = msgspec.msgpack.decode(request, type=wire.ReferenceRequest)
    estimator = predictor(load(upload, orders.limit_bytes).content)
    return wire.encode(
        wire.packed_answers(ask(estimator, orders.signature, wire.rows_in(orders.rows, orders.signature)))
    )


TASKS: dict[str, Task] = {"inspect": inspect, "convert": convert, "engine": engine, "reference": reference}
