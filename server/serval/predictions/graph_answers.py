"""Answers of a graph, encoded as the data plane encodes them; for versions that it does not answer for."""

import math
import time
from typing import Any, NamedTuple

import msgspec
import numpy as np

from serval.conversion.rows import Answers
from serval.conversion.signature import Signature, label_text
from serval.data_plane.plane import Answer
from serval.db.engine import now
from serval.models.tables import Version
from serval.predictions.schemas import RowAnswer, RowsAnswer, answer_headers, timing


class EncodedAnswer(NamedTuple):
    """`body`: a RowAnswer or RowsAnswer as JSON. `headers`: of its response."""

    body: bytes
    headers: dict[str, str]

    @classmethod
    def of(cls, answer: Answer) -> "EncodedAnswer":
        """What the data plane has encoded."""
        return cls(answer.body, answer_headers(answer))


def encoded(
    version: Version, signature: Signature, answers: Answers, started_ns: int, *, is_list: bool
) -> EncodedAnswer:
    """Encode the answers of a graph, with all probabilities. `started_ns`: CLOCK_MONOTONIC when the request began.

    `is_list`: the request has asked for a list, also of one row.
    """
    frame = {
        "model": version.model.name,
        "version": version.id,
        "model_version": version.number,
        "latency_ms": round(_seconds_since(started_ns) * 1e3, 3),
        "timestamp": now(),
    }
    answer = _rows_answer(signature, answers, frame) if is_list else _row_answer(signature, answers, frame)
    return EncodedAnswer(msgspec.json.encode(answer), uncached_headers(version, started_ns))


def uncached_headers(version: Version, started_ns: int) -> dict[str, str]:
    """The headers of an answer that no cache has seen. `started_ns`: CLOCK_MONOTONIC when the request began."""
    seconds = _seconds_since(started_ns)
    return {"X-Model-Version": str(version.number), "X-Cache": "bypass", "Server-Timing": timing(infer=seconds)}


def _seconds_since(then_ns: int) -> float:
    return (time.monotonic_ns() - then_ns) / 1e9


def _row_answer(signature: Signature, answers: Answers, frame: dict[str, Any]) -> RowAnswer:
    answer = RowAnswer(prediction=prediction(signature, answers, 0), cache_hit=False, **frame)
    if signature.has_probabilities:
        tables = signature.tables(scores(signature, answers, 0))
        codes = answers.labels[0].tolist()
        answer.probability = signature.by_target([table[code] for table, code in zip(tables, codes, strict=True)])
        maps = [
            dict(zip(map(label_text, labels), table, strict=True))
            for labels, table in zip(signature.labels, tables, strict=True)
        ]
        if list(map(len, maps)) == list(map(len, tables)):
            answer.probabilities = signature.by_target(maps)
        else:
            answer.classes, answer.probabilities = _classes(signature), signature.by_target(tables)
    return answer


def _rows_answer(signature: Signature, answers: Answers, frame: dict[str, Any]) -> RowsAnswer:
    rows = range(len(answers.is_answered))
    answer = RowsAnswer(predictions=[prediction(signature, answers, row) for row in rows], cache_hits=0, **frame)
    if signature.has_probabilities:
        answer.classes = _classes(signature)
        answer.probabilities = [signature.by_target(signature.tables(scores(signature, answers, row))) for row in rows]
    return answer


def _classes(signature: Signature) -> Any:
    return signature.by_target([list(labels) for labels in signature.labels])


def prediction(signature: Signature, answers: Answers, row: int) -> Any:
    """The label or value of a row; a list where the model has several targets."""
    if signature.kind == "classifier":
        return signature.by_target(signature.predicted(answers.labels[row].tolist()))
    return signature.by_target(scores(signature, answers, row))


def scores(signature: Signature, answers: Answers, row: int) -> list[float | None]:
    """Probabilities in the order of the classes, or values by target, as the model's own precision prints them; None
    for NaN and infinities, which JSON has not."""
    numbers = answers.scores[row].astype(np.dtype(signature.scores_dtype))
    return [float(str(number)) if math.isfinite(number) else None for number in numbers]
