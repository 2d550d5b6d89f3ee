"""Runs a graph on rows through the data plane, exactly as predictions do."""

import msgspec
import numpy as np

from serval import _native
from serval.conversion.refusals import of_models
from serval.conversion.rows import Answers, Rows
from serval.conversion.signature import Signature
from serval.data_plane.runtime import runtime_library
from serval.data_plane.settings import settings_to_run_a_model

PROBE_ROWS = 64
VERSION = "candidate"


class DataPlaneEngine:
    """A data plane of its own, for one graph."""

    def run(self, onnx: bytes, signature: Signature, rows: Rows) -> Answers:
        """The data plane's answers. Raises NotConvertible if it refuses the graph."""
        models = _native.DataPlane(settings_to_run_a_model(str(runtime_library()), len(rows))).models
        probe = rows.take(slice(0, PROBE_ROWS))
        try:
            models.load(VERSION, onnx, msgspec.json.encode(signature), numbers_of(probe), strings_of(probe))
            outputs = models.run(VERSION, numbers_of(rows), strings_of(rows))
        except (_native.GraphError, _native.LoadError) as error:
            raise of_models.ENGINE_REFUSES(error=error) from error
        return answers_of(signature, outputs, len(rows))


def numbers_of(rows: Rows) -> bytes:
    """float64 `[rows, n]`, row-major."""
    return np.ascontiguousarray(rows.numbers, dtype=np.float64).tobytes()


def strings_of(rows: Rows) -> list[str]:
    return [str(cell) for cell in rows.strings.ravel()]


def answers_of(signature: Signature, outputs: _native.Outputs, count: int) -> Answers:
    return Answers(
        labels=np.frombuffer(outputs.labels, dtype=np.int64).reshape(count, signature.label_width),
        scores=np.frombuffer(outputs.scores, dtype=signature.scores_dtype)
        .astype(np.float64)
        .reshape(count, signature.score_width),
        margins=np.full((count, signature.label_width), np.inf),
        is_answered=np.ones(count, dtype=bool),
    )
