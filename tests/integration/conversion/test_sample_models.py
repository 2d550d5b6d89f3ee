"""Every kind of sample model, from the file to the answer, is batch-invariant."""

import asyncio
import re
from pathlib import Path
from typing import Any

import joblib
import msgspec
import numpy as np
import pytest

from serval._native import Answer, DataPlane
from serval.conversion.freeze import FreezeRequest, Frozen, freeze
from support.in_process import InProcessSandbox
from support.planes import new_plane, predict, put_caller, route
from support.sample_models import SPECIMENS, specimen

ROWS = 40


def frozen(name: str, folder: Path) -> Frozen:
    path = folder / "model.joblib"
    joblib.dump(specimen(name).model, path)

    async def no_stage(_: str) -> None: ...

    return asyncio.run(freeze(InProcessSandbox(), path, FreezeRequest(), no_stage))


def loaded(model: Frozen) -> DataPlane:
    plane = new_plane(cache_bytes=1 << 24)
    put_caller(plane)
    plane.models.set_routes([route()])
    plane.models.load("ver_1", model.onnx, msgspec.json.encode(model.signature), model.numbers, model.strings)
    return plane


class Predictor:
    """Predicts some of the probe rows of a model and returns the printed answer of each."""

    def __init__(self, model: Frozen) -> None:
        kinds = [column.kind for column in model.signature.columns]
        self.plane = loaded(model)
        width = sum(column.is_number for column in model.signature.columns)
        self.numbers = np.frombuffer(model.numbers).reshape(-1, width or 1)[:ROWS]
        text = sum(kind == "string" for kind in kinds)
        self.strings = np.array(model.strings, dtype=object).reshape(-1, text)[:ROWS] if text else None
        self.has_numbers = width > 0
        self.has_probabilities = model.signature.has_probabilities
        self.count = len(self.strings) if self.strings is not None else len(self.numbers)

    def predict_rows(self, indices: Any, *, no_cache: bool) -> list[str]:
        numbers = np.ascontiguousarray(self.numbers[indices]).tobytes() if self.has_numbers else b""
        strings = self.strings[indices].ravel().tolist() if self.strings is not None else []
        answer = predict(
            self.plane,
            numbers,
            strings,
            is_list=True,
            all_probabilities=self.has_probabilities,
            no_cache=no_cache,
        )
        assert isinstance(answer, Answer)
        return rows_in(answer.body.decode())


def rows_in(body: str) -> list[str]:
    """The printed prediction and probabilities of each row."""
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    columns = [
        msgspec.json.decode(fields[name], type=list[msgspec.Raw])
        for name in ("predictions", "probabilities")
        if name in fields
    ]
    assert columns, re.sub(r"\s+", " ", body[:200])
    return [" ".join(bytes(cell).decode() for cell in row) for row in zip(*columns, strict=True)]


@pytest.mark.parametrize("name", SPECIMENS)
def test_every_model_is_batch_invariant(name: str, tmp_path: Path) -> None:
    predictor = Predictor(frozen(name, tmp_path))
    all_rows = np.arange(predictor.count)
    together = predictor.predict_rows(all_rows, no_cache=True)
    order = np.random.default_rng(5).permutation(predictor.count)
    assert predictor.predict_rows(order, no_cache=True) == [together[index] for index in order]
    assert predictor.predict_rows(all_rows[::3], no_cache=False) == together[::3]
    assert predictor.predict_rows(all_rows, no_cache=False) == together
    assert predictor.predict_rows(all_rows, no_cache=False) == together
    assert [predictor.predict_rows([index], no_cache=True)[0] for index in all_rows] == together
