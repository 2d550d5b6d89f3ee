"""Converts a fitted model and answers rows of JSON with its graph."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from serval.conversion import samples
from serval.conversion.from_sklearn import convert
from serval.conversion.rows import Rows
from serval.conversion.signature import Signature
from serval.conversion.verify import onnxruntime_engine
from serval.conversion.verify.data_plane_engine import DataPlaneEngine
from serval.predictions.decoding import decode_json
from serval.predictions.values import Decoded

Record = dict[str, Any] | list[Any]


class Served:
    """A converted model, run by ONNX Runtime alone or, slower, by a data plane, which checks the graph first."""

    def __init__(self, model: Any, *, in_data_plane: bool = False, sample: Sequence[Record] = ()) -> None:
        self.in_data_plane = in_data_plane
        self.converted = convert(model, sample=sample)
        self.signature: Signature = self.converted.signature

    def predict(self, rows: Sequence[Record]) -> np.ndarray:
        """Labels or values. Raises ValueError for a null or a category that the signature refuses."""
        return self._answers(samples.rows_of(self.signature, [self._cells(row) for row in rows]))

    def answer(self, rows: Sequence[Record]) -> np.ndarray:
        """Labels or values for rows as the JSON reader takes them. Raises InvalidFeatures."""
        body = json.dumps({"inputs": list(rows)}).encode()
        return self.predict_decoded(decode_json(body, self.signature, max_rows=len(rows), shape="full"))

    def predict_decoded(self, decoded: Decoded) -> np.ndarray:
        """Labels or values for rows that a reader has read."""
        numbers = np.frombuffer(decoded.numbers, dtype=np.float64).reshape(decoded.rows, -1)
        strings = np.array(decoded.strings, dtype=object).reshape(decoded.rows, -1)
        return self._answers(Rows(numbers, strings))

    def _answers(self, rows: Rows) -> np.ndarray:
        run = DataPlaneEngine().run if self.in_data_plane else onnxruntime_engine.run
        answers = run(self.converted.onnx, self.signature, rows)
        if self.signature.kind == "regressor":
            return answers.scores if self.signature.is_multi_target else answers.scores[:, 0]
        labels = np.stack(
            [np.array(names)[answers.labels[:, target]] for target, names in enumerate(self.signature.labels)], axis=1
        )
        return labels if self.signature.is_multi_target else labels[:, 0]

    def _cells(self, row: Record) -> list[Any]:
        columns = self.signature.columns
        cells = [row[column.name] for column in columns] if isinstance(row, dict) else row
        for cell, column in zip(cells, columns, strict=True):
            if cell is None and column.missing is None:
                raise ValueError(f"null is refused for {column.name}")
            if cell is not None and column.categories is not None and cell not in column.categories:
                raise ValueError(f"{cell!r} is refused for {column.name}")
        return list(cells)


def records(table: pd.DataFrame) -> list[Record]:
    """The rows of a frame as JSON has them: a missing value is null."""
    columns = [[None if pd.isna(cell) else cell for cell in table[name].tolist()] for name in table]
    return [dict(zip(table.columns, row, strict=True)) for row in zip(*columns, strict=True)]
