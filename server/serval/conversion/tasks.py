"""The tasks that run in confined processes: each takes the upload's bytes and a request, and returns bytes."""

from __future__ import annotations

import contextlib
import importlib
import sys
import warnings
from collections.abc import Callable

import msgspec
import numpy as np

from serval.conversion import messages
from serval.conversion.refusals import of_files, of_models, of_steps
from serval.conversion.refusals.kind import Refused
from serval.conversion.signature_check import check_signature
from serval.errors import NotAPredictor, ServalError

Task = Callable[[bytes, bytes], bytes]
LIBRARIES = (
    *(
        "serval.conversion.loading",
        "serval.conversion.contents",
        "serval.conversion.export.columns",
        "serval.conversion.from_sklearn",
        "serval.conversion.export.original",
    ),
    *("serval.conversion.verify.data_plane_engine", "serval.conversion.verify.probing", "serval.conversion.samples"),
    *("numpy.ma", "numpy.random", "pandas"),
)
"""What the tasks import."""
PICKLED = (
    "calibration cluster compose covariance cross_decomposition decomposition discriminant_analysis dummy ensemble"
    " experimental.enable_halving_search_cv experimental.enable_iterative_imputer feature_extraction feature_selection"
    " frozen gaussian_process impute isotonic kernel_approximation kernel_ridge linear_model manifold mixture"
    " model_selection multiclass multioutput naive_bayes neighbors neural_network pipeline preprocessing"
    " random_projection semi_supervised svm tree"
)
"""The modules of scikit-learn that a pickle may name."""


NEVER_IMPORTED = frozenset(
    {"antigravity", "distutils", "ensurepip", "idlelib", "lib2to3", "this", "tkinter", "turtle", "turtledemo", "venv"}
)
"""Parts of the standard library that are programs or do something on import: `distutils` imports setuptools."""


def preload() -> None:
    """Import what the tasks need before there is an upload: a confined process may not be able to."""
    preload_standard_library()
    for name in (*LIBRARIES, *(f"sklearn.{name}" for name in PICKLED.split())):
        importlib.import_module(name)


def preload_standard_library() -> None:
    """Import all of it, in a quarter of a second: libraries import parts late, when a child of another user cannot read
    them any more."""
    for name in sorted(sys.stdlib_module_names - NEVER_IMPORTED):
        if not name.startswith("_"):
            # Other platforms have other parts.
            with contextlib.suppress(ImportError), warnings.catch_warnings(action="ignore"):
                importlib.import_module(name)


def inspect(upload: bytes, request: bytes) -> bytes:
    """What is in the file. Raises NotAModel."""
    import sklearn

    from serval.conversion.contents import predictor
    from serval.conversion.export.predictor_kind import predictor_kind
    from serval.conversion.loading import load

    message = msgspec.msgpack.decode(request, type=messages.InspectRequest)
    loaded = load(upload, message.limit_bytes)
    estimator = predictor(loaded.content)
    kind, problem = None, None
    try:
        kind = predictor_kind(estimator)
    except NotAPredictor as error:
        problem = error.message
    return messages.encode(
        messages.Inspection(
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
    from serval.conversion.contents import predictor
    from serval.conversion.loading import load
    from serval.conversion.refusals.places import described

    message = msgspec.msgpack.decode(request, type=messages.ConvertRequest)
    loaded = load(upload, message.limit_bytes)
    estimator = predictor(loaded.content)
    try:
        converted = from_sklearn.convert(estimator, message.columns, message.sample, is_text=message.is_text)
    except ServalError as error:
        refused = error.__cause__
        if loaded.saved_by is None or not isinstance(refused, Refused) or refused.kind is not of_steps.NOT_AS_FITTED:
            raise
        raise of_models.UNUSABLE_OF_VERSION(
            version=loaded.saved_by, estimator=described(estimator, refused.part), present=sklearn.__version__
        ) from error
    return messages.encode(
        messages.Conversion(
            onnx=converted.onnx,
            signature=converted.signature,
            hints=converted.hints,
            rows=messages.pack_rows(converted.rows),
            form=converted.form,
            tried=converted.tried,
            estimator=type(estimator).__name__,
            scikit_learn_saved_with=loaded.saved_by or sklearn.__version__,
            scikit_learn_verified_with=sklearn.__version__,
            is_evaluated_as_saved=loaded.is_evaluated_as_saved,
            notes=loaded.notes,
        )
    )


def engine(_: bytes, request: bytes) -> bytes:
    """The rows on which graph and original must agree, and the data plane's answers. Raises NotConvertible."""
    from serval.conversion.verify.data_plane_engine import DataPlaneEngine

    return run_engine(request, DataPlaneEngine())


def run_engine(request: bytes, runner: messages.Engine) -> bytes:
    from serval.conversion import samples
    from serval.conversion.verify import probing

    message = msgspec.msgpack.decode(request, type=messages.EngineRequest)
    check_signature(message.signature)
    if len(message.hints) != len(message.signature.columns):
        raise of_models.OUT_OF_BOUNDS(part="hints that are not for its columns")
    cells = samples.fitting(message.sample, message.signature.columns, is_text=message.is_text)
    sample = samples.rows_of(message.signature, cells) if cells else None
    hints = probing.widened(message.onnx, message.signature, message.hints)
    extra = messages.unpack_rows(message.extra, message.signature)
    rows = probing.choose(message.signature, hints, sample, extra)
    answers = runner.run(message.onnx, message.signature, rows)
    return messages.encode(messages.EngineResult(messages.pack_rows(rows), messages.pack_answers(answers)))


def answer(_: bytes, request: bytes) -> bytes:
    """The data plane's answers of a graph for rows. Raises NotConvertible."""
    from serval.conversion.verify.data_plane_engine import DataPlaneEngine

    message = msgspec.msgpack.decode(request, type=messages.AnswerRequest)
    rows = messages.unpack_rows(message.rows, message.signature)
    return messages.encode(messages.pack_answers(DataPlaneEngine().run(message.onnx, message.signature, rows)))


def reference(upload: bytes, request: bytes) -> bytes:
    """The original's answers for rows of the engine task. Raises NotAModel."""
    from serval.conversion.contents import predictor
    from serval.conversion.export.original import answers_of
    from serval.conversion.loading import load

    message = msgspec.msgpack.decode(request, type=messages.ReferenceRequest)
    estimator = predictor(load(upload, message.limit_bytes).content)
    rows = messages.unpack_rows(message.rows, message.signature)
    return messages.encode(messages.pack_answers(answers_of(estimator, message.signature, rows)))


def join(upload: bytes, request: bytes) -> bytes:
    """A pickle of the one predictor that the parts of a file make. Raises NotAModel."""
    import pickle

    import sklearn

    from serval.conversion.contents import joined
    from serval.conversion.loading import load

    message = msgspec.msgpack.decode(request, type=messages.InspectRequest)
    loaded = load(upload, message.limit_bytes)
    if loaded.saved_by is not None:
        raise of_files.JOIN_WITH_ITS_VERSION(version=loaded.saved_by, present=sklearn.__version__)
    return pickle.dumps(joined(loaded.content))


TASKS: dict[str, Task] = {
    "inspect": inspect,
    "convert": convert,
    "engine": engine,
    "answer": answer,
    "reference": reference,
    "join": join,
}
