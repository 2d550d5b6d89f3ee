"""Runs a graph on rows with ONNX Runtime's Python interface, without the data plane."""

import numpy as np
import onnxruntime

from serval.conversion.rows import Answers, Rows
from serval.conversion.signature import Signature


class EngineError(Exception):
    """ONNX Runtime refused the graph, or failed on a row."""


def run(onnx: bytes, signature: Signature, rows: Rows) -> Answers:
    """The graph's answers. Raises EngineError."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    feeds = {}
    if rows.numbers.shape[1]:
        with np.errstate(over="ignore"):
            feeds["numbers"] = rows.numbers.astype(signature.numbers_dtype)
    if rows.strings.shape[1]:
        feeds["strings"] = rows.strings
    try:
        session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
        outputs = dict(zip([output.name for output in session.get_outputs()], session.run(None, feeds), strict=True))
    except Exception as error:  # ONNX Runtime's errors have no base class
        raise EngineError("ONNX Runtime refuses it, and the log has its reason") from error
    return answers_of(signature, outputs, len(rows))


def answers_of(signature: Signature, outputs: dict[str, np.ndarray], count: int) -> Answers:
    """Outputs in the shapes of the signature. Raises EngineError if they do not fit."""
    is_classifier = signature.kind == "classifier"
    scores = outputs.get("probabilities" if is_classifier else "values")
    try:
        labels = outputs["labels"].reshape(count, signature.targets) if is_classifier else np.zeros((count, 0))
        values = np.zeros((count, 0)) if scores is None else scores.reshape(count, signature.score_width)
    except (KeyError, ValueError) as error:
        raise EngineError("its outputs have other shapes than its signature has") from error
    return Answers(
        labels.astype(np.int64), values.astype(np.float64), np.full(labels.shape, np.inf), np.ones(count, dtype=bool)
    )
