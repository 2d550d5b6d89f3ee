"""Answers that come with an upload: what they prove, and what is refused where the model answers otherwise."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn

from serval.conversion.expected import Expected
from serval.conversion.freeze import FreezeRequest, Frozen, freeze
from serval.errors import NotVerified
from support.in_process import InProcessSandbox
from support.sample_models import iris, specimen

pytestmark = pytest.mark.anyio

OTHER = "2.0.0"
ROWS = iris()[0][::10]
IRIS = specimen("iris logistic").model


def expected(**changes: Any) -> Expected:
    """What the model answers, as the version that saved it computed it, with changes."""
    answers = {
        "answers": IRIS.predict(ROWS).tolist(),
        "probabilities": IRIS.predict_proba(ROWS).tolist(),
        "scikit_learn": OTHER,
    }
    return Expected(**(answers | changes))


def moved(column: int) -> list[list[float]]:
    """The model's probabilities, but for one of the fourth row."""
    probabilities = IRIS.predict_proba(ROWS)
    probabilities[3, column] += 0.001
    return list(probabilities.tolist())


async def frozen(
    folder: Path, answers: Expected | None, *, is_other: bool = False, model: Any = IRIS, rows: Any = ROWS
) -> Frozen:
    """Freeze a model; `is_other`: another scikit-learn, of which nothing is known, has saved it."""
    content = pickle.dumps(model, protocol=4)
    version = sklearn.__version__.encode()
    assert version in content
    path = folder / "model.pkl"
    path.write_bytes(content.replace(version, OTHER.encode()[: len(version)]) if is_other else content)

    async def stage(_: str) -> None:
        pass

    return await freeze(InProcessSandbox(), path, FreezeRequest(sample=rows.tolist(), expected=answers), stage)


async def test_complete_answers_of_the_version_that_saved_a_model_release_it(tmp_path: Path) -> None:
    report = (await frozen(tmp_path, expected(), is_other=True)).report
    assert (report.hold_reason, report.expected_rows, report.expected_agreement) == (None, len(ROWS), 1.0)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"scikit_learn": None}, "do not say which scikit-learn"),
        ({"scikit_learn": sklearn.__version__}, f"scikit-learn {sklearn.__version__} computed them"),
        ({"probabilities": None}, "no `probabilities`"),
        ({"scikit_learn": "1.9", "probabilities": moved(0)}, "scikit-learn 1.9 computed them"),
    ],
    ids=["nobody says", "this version", "labels alone", "another version, and they differ"],
)
async def test_other_answers_release_nothing(changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    held = (await frozen(tmp_path, expected(**changes), is_other=True)).report.hold_reason
    assert held is not None
    assert reason in held


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        (
            {"answers": [2, *IRIS.predict(ROWS).tolist()[1:]]},
            "first row 1 ([5.1, 3.5, 1.4, 0.2]): expected [2], got [0]",
        ),
        ({"probabilities": moved(0)}, "first row 4 ([4.8, 3.1, 1.6, 0.2]): expected the probabilities ["),
        ({"probabilities": moved(2)}, "1 of 15 rows of the sample get another answer"),
        ({"probabilities": [[1.0, 0.0]] * len(ROWS)}, "expected a probability for each of [0, 1, 2]"),
        (
            {"probabilities": [{"0": 1.0, "1": 0.0, "3": 0.0}] * len(ROWS)},
            "expected a probability for each of [0, 1, 2]",
        ),
        ({"answers": [[0, 0]] * len(ROWS)}, "expected [0, 0], but the model has 1 targets"),
    ],
    ids=["label", "probability", "last probability", "too few", "another label", "several targets"],
)
@pytest.mark.parametrize("version", [None, sklearn.__version__], ids=["nobody says which", "the same version"])
async def test_a_model_that_answers_otherwise_is_refused_with_a_row(
    changes: dict[str, Any], shown: str, version: str | None, tmp_path: Path
) -> None:
    with pytest.raises(NotVerified) as refused:
        await frozen(tmp_path, expected(**(changes | {"scikit_learn": version})))
    assert shown in refused.value.message
    assert refused.value.extra["report"]["expected_agreement"] < 1


async def test_an_old_model_that_answers_otherwise_than_its_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotVerified, match="another answer than the one expected"):
        await frozen(tmp_path, expected(probabilities=moved(1)), is_other=True)


async def test_probabilities_may_be_given_by_label(tmp_path: Path) -> None:
    by_label = [dict(zip(["2", "1", "0"], row[::-1], strict=True)) for row in IRIS.predict_proba(ROWS).tolist()]
    report = (await frozen(tmp_path, expected(probabilities=by_label), is_other=True)).report
    assert (report.hold_reason, report.expected_agreement) == (None, 1.0)


async def test_labels_are_compared(tmp_path: Path) -> None:
    model = specimen("string labels").model
    labels = model.predict(ROWS).tolist()
    assert (await frozen(tmp_path, Expected(labels), model=model)).report.expected_agreement == 1.0
    with pytest.raises(NotVerified, match='expected \\["tulip"\\]'):
        await frozen(tmp_path, Expected([*labels[:-1], "tulip"]), model=model)


async def test_values_of_several_targets_are_compared(tmp_path: Path) -> None:
    regressor = specimen("two targets")
    rows, values = regressor.held_out[:3], regressor.model.predict(regressor.held_out[:3])
    report = (await frozen(tmp_path, Expected(values.tolist()), model=regressor.model, rows=rows)).report
    assert report.expected_agreement == 1.0
    with pytest.raises(NotVerified, match="1 of 3 rows"):
        await frozen(
            tmp_path, Expected((values * np.array([[1], [1], [1.0001]])).tolist()), model=regressor.model, rows=rows
        )
