"""Small tasks that do what conversions do."""

import importlib
import pickle
from collections.abc import Callable


def predict(upload: bytes, request: bytes) -> bytes:
    """Predict with each of the pickled models on the pickled rows."""
    models, rows = pickle.loads(upload)
    return pickle.dumps([model.predict(rows) for model in models])


def convert(upload: bytes, request: bytes) -> bytes:
    import skl2onnx

    model, rows = pickle.loads(upload)
    return skl2onnx.to_onnx(model, rows, options={"zipmap": False}).SerializeToString()


def infer(upload: bytes, request: bytes) -> bytes:
    import onnxruntime

    session = onnxruntime.InferenceSession(upload, providers=["CPUExecutionProvider"])
    return pickle.dumps(session.run(None, {"X": pickle.loads(request)})[0])


def echo(upload: bytes, request: bytes) -> bytes:
    return request + upload


TASKS: dict[str, Callable[[bytes, bytes], bytes]] = {
    function.__name__: function for function in (predict, convert, infer, echo)
}
LIBRARIES = (
    "onnxruntime skl2onnx sklearn.ensemble sklearn.linear_model sklearn.model_selection sklearn.neighbors"
    " sklearn.neural_network sklearn.pipeline sklearn.preprocessing sklearn.svm"
)


def preload() -> None:
    for library in LIBRARIES.split():
        importlib.import_module(library)
