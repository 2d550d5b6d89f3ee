"""The iris model in ONNX Runtime, as its documentation shows it, for the peers that have no runner of their own."""

import os
from pathlib import Path

import numpy as np
from onnxruntime import InferenceSession, SessionOptions

FOLDER = Path(os.environ["BENCH_MODELS"])


class Model:
    def __init__(self) -> None:
        options = SessionOptions()
        options.intra_op_num_threads = 1
        self._session = InferenceSession(FOLDER / "iris.onnx", options, providers=["CPUExecutionProvider"])

    def predict(self, features: list[float]) -> dict[str, float]:
        labels, probabilities = self._session.run(None, {"X": np.array([features], np.float32)})
        return {"prediction": int(labels[0]), "probability": float(probabilities[0].max())}
