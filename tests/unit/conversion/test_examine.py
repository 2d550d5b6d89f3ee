"""An examination says whether a file would be served, and keeps nothing of it."""

from pathlib import Path

import joblib
import pytest
from sklearn.linear_model import LogisticRegression

from serval.conversion.examine import examine
from serval.conversion.freeze import FreezeRequest
from support.in_process import InProcessSandbox
from support.sample_models import specimen

pytestmark = pytest.mark.anyio


async def test_a_model_that_converts_has_an_inspection_a_signature_and_a_report(tmp_path: Path) -> None:
    path = tmp_path / "model.joblib"
    joblib.dump(specimen("iris logistic").model, path)
    examination = await examine(InProcessSandbox(), path, FreezeRequest())
    assert examination.converts
    assert examination.failure is None
    assert examination.inspection is not None
    assert examination.inspection.format == "joblib"
    assert examination.signature is not None
    assert examination.report is not None
    assert examination.report.agreement == 1.0


async def test_an_unfitted_model_has_an_inspection_and_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "model.joblib"
    joblib.dump(LogisticRegression(), path)
    examination = await examine(InProcessSandbox(), path, FreezeRequest())
    assert not examination.converts
    assert examination.failure is not None
    assert examination.failure.code == "not_a_predictor"
    assert examination.inspection is not None
    assert examination.report is None


async def test_a_file_that_is_not_a_model_has_only_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1,2\n")
    examination = await examine(InProcessSandbox(), path, FreezeRequest())
    assert examination.failure is not None
    assert examination.failure.code == "not_a_model"
    assert examination.inspection is None
