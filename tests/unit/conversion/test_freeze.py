"""From a file to a verified graph, even if confined processes send forged answers."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import msgspec
import numpy as np
import onnx
import pytest
import sklearn
from onnx import numpy_helper
from sklearn.linear_model import LogisticRegression

from serval.conversion import messages
from serval.conversion.freeze import FreezeRequest, Frozen, freeze, inspect
from serval.conversion.hints import ColumnHints
from serval.conversion.signature import MISSING_STRING, Column
from serval.errors import InvalidFeatures, NotAModel, NotConvertible, NotVerified, SandboxViolation, ServalError
from support.in_process import InProcessSandbox
from support.sample_models import SPECIMENS, customers, specimen

pytestmark = pytest.mark.anyio


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[Any], Path]:
    def save(model: Any) -> Path:
        path = tmp_path / "model.joblib"
        joblib.dump(model, path)
        return path

    return save


async def frozen(
    path: Path,
    request: FreezeRequest | None = None,
    sandbox: InProcessSandbox | None = None,
    stages: list[str] | None = None,
) -> Frozen:

    async def note(stage: str) -> None:
        if stages is not None:
            stages.append(stage)

    return await freeze(sandbox or InProcessSandbox(), path, request or FreezeRequest(), note)


@pytest.mark.parametrize("name", SPECIMENS)
async def test_every_specimen_freezes(name: str, saved: Callable[[Any], Path]) -> None:
    report = (await frozen(saved(specimen(name).model))).report
    assert report.agreement == 1.0
    assert report.rows > 300
    assert report.hold_reason is None


async def test_the_stages_are_reported_in_order(saved: Callable[[Any], Path]) -> None:
    stages: list[str] = []
    await frozen(saved(specimen("iris logistic").model), stages=stages)
    assert stages == ["converting", "verifying"]


async def test_the_report_names_versions_form_and_worst_row(saved: Callable[[Any], Path]) -> None:
    report = (await frozen(saved(specimen("scaler, forest").model))).report
    assert (report.estimator, report.form) == ("Pipeline", "mixed")
    assert (report.scikit_learn_saved_with, report.scikit_learn_verified_with) == (
        sklearn.__version__,
        sklearn.__version__,
    )
    assert report.worst_row is not None
    assert len(report.worst_row.row) == 4


async def test_probe_rows_fit_the_signature(saved: Callable[[Any], Path]) -> None:
    graph = await frozen(saved(specimen("mixed columns, logistic").model))
    assert (len(graph.numbers), len(graph.strings)) == (64 * 3 * 8, 64)


async def test_a_sample_by_name_and_as_text_is_taken(saved: Callable[[Any], Path]) -> None:
    sample = [{"age": "", "city": "Rome", "member": "true", "income": "30000"}]
    signature = (
        await frozen(saved(specimen("mixed columns, logistic").model), FreezeRequest(sample=sample, is_text=True))
    ).signature
    assert [column.kind for column in signature.columns] == ["number", "string", "boolean", "number"]


@pytest.mark.parametrize("row", [[1.0, 2.0], {"x0": 1.0}, {"x0": 1.0, "x1": 1.0, "x2": 1.0, "x3": 1.0, "x4": 1.0}])
async def test_a_sample_of_other_columns_is_refused(row: Any, saved: Callable[[Any], Path]) -> None:
    with pytest.raises(InvalidFeatures, match="Row 1 of the sample"):
        await frozen(saved(specimen("iris logistic").model), FreezeRequest(sample=[row]))


def other_version(path: Path) -> Path:
    """The same pickle, as another scikit-learn would have signed it."""
    content = pickle.dumps(specimen("iris logistic").model, protocol=4)
    version = sklearn.__version__.encode()
    assert version in content
    path.write_bytes(content.replace(version, b"2.0.0"[: len(version)]))
    return path


async def test_a_model_saved_with_another_scikit_learn_is_held(tmp_path: Path) -> None:
    report = (await frozen(other_version(tmp_path / "old.pkl"))).report
    assert report.scikit_learn_saved_with == "2.0.0"
    assert report.hold_reason is not None
    assert "2.0.0" in report.hold_reason


def changed_conversion(change: Callable[[messages.Conversion], messages.Conversion]) -> InProcessSandbox:
    def rewrite(answer: bytes) -> bytes:
        return messages.encode(change(msgspec.msgpack.decode(answer, type=messages.Conversion)))

    return InProcessSandbox({"convert": rewrite})


def wrong_weights(conversion: messages.Conversion) -> messages.Conversion:
    graph = onnx.load_model_from_string(conversion.onnx)
    weights = numpy_helper.to_array(graph.graph.initializer[0]) * 1.01
    graph.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, graph.graph.initializer[0].name))
    return msgspec.structs.replace(
        conversion, onnx=graph.SerializeToString(), hints=[ColumnHints() for _ in conversion.hints]
    )


async def test_a_graph_that_differs_from_the_original_fails_verification(saved: Callable[[Any], Path]) -> None:
    with pytest.raises(NotVerified, match="does not answer like the original") as caught:
        await frozen(saved(specimen("iris logistic").model), sandbox=changed_conversion(wrong_weights))
    assert caught.value.extra["report"]["worst_row"] is not None
    assert (caught.value.status, caught.value.code) == (422, "not_verified")


@pytest.mark.parametrize(
    "column",
    [
        Column(name="", kind="number", dtype="float64"),
        Column(name="a\0", kind="number", dtype="float64"),
        Column(name="x" * 10_001, kind="number", dtype="float64"),
        Column(name="a", kind="number", dtype="\x1b[2J"),
        Column(name="a", kind="number", dtype="d" * 50),
        Column(name="a", kind="string", dtype="object", categories=(MISSING_STRING,)),
    ],
)
async def test_forged_columns_of_a_child_are_refused(column: Column, saved: Callable[[Any], Path]) -> None:
    def change(conversion: messages.Conversion) -> messages.Conversion:
        columns = (column, *conversion.signature.columns[1:])
        return msgspec.structs.replace(
            conversion, signature=msgspec.structs.replace(conversion.signature, columns=columns)
        )

    with pytest.raises(NotConvertible, match="out of bounds"):
        await frozen(saved(specimen("iris logistic").model), sandbox=changed_conversion(change))


@pytest.mark.parametrize(
    "labels", [((),), (("a\x1a", "b", "c"),), (("a",) * 10_001,), (("a", "b"), ("c",)), (("a" * 10_001, "b", "c"),)]
)
async def test_forged_labels_of_a_child_are_refused(labels: Any, saved: Callable[[Any], Path]) -> None:
    def change(conversion: messages.Conversion) -> messages.Conversion:
        return msgspec.structs.replace(
            conversion, signature=msgspec.structs.replace(conversion.signature, labels=labels)
        )

    with pytest.raises(NotConvertible, match="out of bounds: the labels"):
        await frozen(saved(specimen("iris logistic").model), sandbox=changed_conversion(change))


@pytest.mark.parametrize("task", ["convert", "engine", "reference"])
@pytest.mark.parametrize(
    "answer", [b"", b"\xc1", b"\x80", msgspec.msgpack.encode({"rows": -1}), msgspec.msgpack.encode([1] * 1000)]
)
async def test_an_answer_of_another_shape_is_refused(task: str, answer: bytes, saved: Callable[[Any], Path]) -> None:
    with pytest.raises(SandboxViolation):
        await frozen(saved(specimen("iris logistic").model), sandbox=InProcessSandbox({task: lambda _: answer}))


async def test_answers_for_too_few_rows_are_refused(saved: Callable[[Any], Path]) -> None:
    def shorten(answer: bytes) -> bytes:
        packed = msgspec.msgpack.decode(answer, type=messages.PackedAnswers)
        return messages.encode(msgspec.structs.replace(packed, answered=packed.answered[:-1]))

    with pytest.raises(SandboxViolation, match="another shape"):
        await frozen(saved(specimen("iris logistic").model), sandbox=InProcessSandbox({"reference": shorten}))


async def test_control_characters_in_the_notes_of_a_child_are_replaced(saved: Callable[[Any], Path]) -> None:
    def change(conversion: messages.Conversion) -> messages.Conversion:
        return msgspec.structs.replace(conversion, notes=["\x1b[2Jhello\nthere"], estimator="A\u202eB")

    report = (await frozen(saved(specimen("iris logistic").model), sandbox=changed_conversion(change))).report
    assert report.notes == ["\ufffd[2Jhello there"]
    assert report.estimator == "A\ufffdB"


async def test_an_inspection_describes_the_file(saved: Callable[[Any], Path]) -> None:
    inspection = await inspect(InProcessSandbox(), saved(specimen("mixed columns, logistic").model))
    assert (inspection.estimator, inspection.kind, inspection.format) == ("Pipeline", "classifier", "joblib")
    assert inspection.steps == ["ColumnTransformer", "LogisticRegression"]
    assert inspection.columns == ["age", "city", "member", "income"]
    assert inspection.labels == [False, True]


async def test_an_inspection_explains_why_a_file_is_not_a_predictor(saved: Callable[[Any], Path]) -> None:
    inspection = await inspect(InProcessSandbox(), saved(LogisticRegression()))
    assert inspection.kind is None
    assert inspection.problem is not None
    assert "not fitted" in inspection.problem


async def test_a_file_that_is_not_a_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with pytest.raises(NotAModel, match="a PNG image"):
        await frozen(path)


async def test_every_unreadable_file_is_a_serval_error(tmp_path: Path) -> None:
    path = tmp_path / "noise.pkl"
    chance = np.random.default_rng(0)
    for size in range(1, 200):
        path.write_bytes(b"\x80\x04" + chance.bytes(size))
        with pytest.raises(ServalError):
            await frozen(path)


async def test_missing_values_of_customers_reach_the_original(saved: Callable[[Any], Path]) -> None:
    sample = [
        {"age": None, "city": None, "member": bool(row.member), "income": float(row.income)}
        for row in customers()[0].head(3).itertuples()
    ]
    assert (
        await frozen(saved(specimen("mixed columns, logistic").model), FreezeRequest(sample=sample))
    ).report.agreement == 1.0
