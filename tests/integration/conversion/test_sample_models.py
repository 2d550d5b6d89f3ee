"""Every kind of model in the zoo, from the file to the answer: a row's bytes do not depend on its company."""

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
from support.in_process import Direct
from support.planes import new_plane, predict, put_caller, route
from support.sample_models import SPECIMENS, specimen

ROWS = 40


def frozen(name: str, folder: Path) -> Frozen:
    path = folder / "model.joblib"
    joblib.dump(specimen(name).model, path)

    async def no_stage(_: str) -> None: ...

    return asyncio.run(freeze(Direct(), path, FreezeRequest(), no_stage))


def loaded(model: Frozen) -> DataPlane:
    plane = new_plane(cache_bytes=1 << 24)
    put_caller(plane)
    plane.models.set_routes([route()])
    plane.models.load("ver_1", model.onnx, msgspec.json.encode(model.signature), model.numbers, model.strings)
    return plane


class Asker:
    """Asks for some of the probe rows of a model and returns what was printed for each."""

    def __init__(self, model: Frozen) -> None:
        kinds = [column.kind for column in model.signature.columns]
        self.plane = loaded(model)
        self.numbers = np.frombuffer(model.numbers).reshape(-1, sum(kind != "string" for kind in kinds) or 1)[:ROWS]
        text = sum(kind == "string" for kind in kinds)
        self.strings = np.array(model.strings, dtype=object).reshape(-1, text)[:ROWS] if text else None
        self.has_numbers = any(kind != "string" for kind in kinds)
        self.count = len(self.strings) if self.strings is not None else len(self.numbers)

    def ask(self, places: Any, *, no_cache: bool) -> list[str]:
        numbers = np.ascontiguousarray(self.numbers[places]).tobytes() if self.has_numbers else b""
        strings = self.strings[places].ravel().tolist() if self.strings is not None else []
        answer = predict(self.plane, numbers, strings, is_list=True, all_probabilities=True, no_cache=no_cache)
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
def test_a_rows_bytes_do_not_depend_on_its_company(name: str, tmp_path: Path) -> None:
    asker = Asker(frozen(name, tmp_path))
    everyone = np.arange(asker.count)
    together = asker.ask(everyone, no_cache=True)
    order = np.random.default_rng(5).permutation(asker.count)
    assert asker.ask(order, no_cache=True) == [together[place] for place in order]
    assert asker.ask(everyone[::3], no_cache=False) == together[::3]
    assert asker.ask(everyone, no_cache=False) == together
    assert asker.ask(everyone, no_cache=False) == together
    assert [asker.ask([place], no_cache=True)[0] for place in everyone] == together
