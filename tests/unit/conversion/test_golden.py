"""Golden requests: which expected answers are kept, and when they agree."""

import pickle
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from serval.conversion import golden as golden_requests
from serval.conversion.expected import Expected
from serval.conversion.freeze import FreezeRequest, Frozen, freeze
from serval.conversion.golden import Golden, compare_golden
from serval.conversion.rows import Answers
from serval.conversion.verify.data_plane_engine import DataPlaneEngine
from serval.errors import NotVerified
from support.in_process import InProcessSandbox
from support.sample_models import diabetes, iris, specimen

pytestmark = pytest.mark.anyio

IRIS = specimen("iris logistic").model
ROWS = iris()[0][::10]


async def frozen(folder: Path, model: Any = IRIS, rows: Any = ROWS, **changes: Any) -> Frozen:
    path = folder / "model.pkl"
    path.write_bytes(pickle.dumps(model))
    answers = {"answers": model.predict(rows).tolist(), "scikit_learn": "1.9"} | changes

    async def stage(_: str) -> None:
        pass

    request = FreezeRequest(sample=rows.tolist(), expected=Expected(**answers))
    return await freeze(InProcessSandbox(), path, request, stage)


def asked(version: Frozen, golden: Golden) -> Answers:
    """The data plane's answers for golden requests that were written and read again."""
    golden = msgspec.json.decode(msgspec.json.encode(golden), type=Golden)
    return DataPlaneEngine().run(version.onnx, version.signature, golden.rows(version.signature))


@pytest.mark.parametrize("name", ["iris logistic", "two targets", "boosting regressor", "multi-output forest"])
async def test_expected_answers_are_kept_and_agree_when_asked_again(tmp_path: Path, name: str) -> None:
    chosen = specimen(name)
    version = await frozen(tmp_path, chosen.model, np.asarray(chosen.held_out[:20]))
    golden = version.golden
    assert golden is not None
    assert (version.report.golden_requests, golden.scikit_learn) == (20, "1.9")
    result = compare_golden(version.signature, golden, asked(version, golden))
    assert (result.rows, result.agreeing, result.worst) == (20, 20, None)


async def test_the_worst_of_those_that_differ_is_shown(tmp_path: Path) -> None:
    version = await frozen(tmp_path, probabilities=IRIS.predict_proba(ROWS).tolist())
    golden = version.golden
    assert golden is not None
    changed = [
        msgspec.structs.replace(request, probabilities=[value + step for value in request.probabilities])
        if (step := {3: 0.001, 7: 0.2}.get(index))
        else request
        for index, request in enumerate(golden.requests)
    ]
    wrong = msgspec.structs.replace(golden, requests=changed)
    result = compare_golden(version.signature, wrong, asked(version, wrong))
    assert (result.rows, result.agreeing, result.worst) == (len(ROWS), len(ROWS) - 2, changed[7])
    assert "expected the probabilities" in str(result.problem)
    changed[3] = msgspec.structs.replace(changed[3], prediction=2 - int(changed[3].prediction), probabilities=None)
    labels = msgspec.structs.replace(
        golden, requests=[msgspec.structs.replace(request, probabilities=None) for request in changed]
    )
    assert "expected [2], got [0]" in str(compare_golden(version.signature, labels, asked(version, labels)).problem)


async def test_the_worst_of_several_targets_is_found_by_their_tables(tmp_path: Path) -> None:
    chosen = specimen("multi-output forest")
    rows = np.asarray(chosen.held_out[:5])
    tables = [table.tolist() for table in chosen.model.predict_proba(rows)]
    version = await frozen(tmp_path, chosen.model, rows, probabilities=[list(row) for row in zip(*tables, strict=True)])
    golden = version.golden
    assert golden is not None
    assert compare_golden(version.signature, golden, asked(version, golden)).agreeing == 5
    changed = [
        msgspec.structs.replace(request, probabilities=[request.probabilities[0], [step, 1 - step]])
        if (step := {1: 0.3, 4: 5.0}.get(index))
        else request
        for index, request in enumerate(golden.requests)
    ]
    wrong = msgspec.structs.replace(golden, requests=changed)
    result = compare_golden(version.signature, wrong, asked(version, wrong))
    assert (result.agreeing, result.worst) == (3, changed[4])


async def test_answers_that_the_version_does_not_give_are_not_kept(tmp_path: Path) -> None:
    wrong = [2 - label for label in IRIS.predict(ROWS).tolist()]
    version = await frozen(tmp_path, answers=wrong, scikit_learn="2.0.0")  # which did not save it: they prove nothing
    assert (version.golden, version.report.golden_requests) == (None, 0)


async def test_golden_requests_are_bounded_in_rows_and_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = np.tile(iris()[0], (3, 1))
    version = await frozen(tmp_path, rows=many)
    assert version.report.golden_requests == 300
    golden = version.golden
    assert golden is not None
    monkeypatch.setattr(golden_requests, "MAX_BYTES", len(msgspec.json.encode(golden.requests[:5])))
    assert (await frozen(tmp_path, rows=many)).report.golden_requests == 5
    monkeypatch.setattr(golden_requests, "MAX_BYTES", 1)
    assert (await frozen(tmp_path, rows=many)).golden is None


async def test_values_that_are_text_in_csv_are_kept_as_numbers(tmp_path: Path) -> None:
    chosen = specimen("boosting regressor")
    rows = diabetes()[0][:3]
    texts = [repr(float(value)) for value in chosen.model.predict(rows)]
    golden = (await frozen(tmp_path, chosen.model, rows, answers=texts)).golden
    assert golden is not None
    assert [request.prediction for request in golden.requests] == [float(text) for text in texts]
    with pytest.raises(NotVerified, match="nan"):
        await frozen(tmp_path, chosen.model, rows, answers=[texts[0], "nan", texts[2]])


async def test_the_scale_of_small_values_is_that_of_the_expected_ones(tmp_path: Path) -> None:
    chosen = specimen("boosting regressor")
    version = await frozen(tmp_path, chosen.model, diabetes()[0][:10])
    golden = version.golden
    assert golden is not None
    answers = asked(version, golden)
    huge = Answers(answers.labels, answers.scores * 1e12, answers.margins, answers.is_answered)
    assert compare_golden(version.signature, golden, huge).agreeing == 0
    broken = Answers(answers.labels, answers.scores * np.nan, answers.margins, answers.is_answered)
    assert compare_golden(version.signature, golden, broken).agreeing == 0
