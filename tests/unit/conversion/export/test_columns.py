"""Signatures describe the inputs of the fitted pipeline."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.special
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, PowerTransformer

from serval.conversion.from_sklearn import convert
from serval.conversion.signature import Column
from support.estimators import plain
from support.sample_models import iris, specimen


def column(name: str, index: int) -> Column:
    return convert(specimen(name).model).signature.columns[index]


def test_kinds_come_from_the_encoders() -> None:
    columns = convert(specimen("mixed columns, logistic").model).signature.columns
    assert [(column.name, column.kind) for column in columns] == [
        ("age", "number"),
        ("city", "string"),
        ("member", "number"),
        ("income", "number"),
    ]


def test_a_sample_says_which_columns_are_boolean() -> None:
    sample = [{"age": 41.5, "city": "Rome", "member": True, "income": 30_000}]
    columns = convert(specimen("mixed columns, logistic").model, sample=sample).signature.columns
    assert columns[2].kind == "boolean"


def test_a_sample_of_text_is_read_by_column() -> None:
    sample = [{"age": "", "city": "Rome", "member": "true", "income": "30000"}]
    columns = convert(specimen("mixed columns, logistic").model, sample=sample, is_text=True).signature.columns
    assert [column.kind for column in columns] == ["number", "string", "boolean", "number"]


def test_imputed_columns_may_be_missing_and_others_not() -> None:
    columns = convert(specimen("mixed columns, logistic").model).signature.columns
    assert [column.missing for column in columns] == ["nan", "nan", None, "nan"]


def test_a_linear_model_takes_no_missing_values() -> None:
    assert column("iris logistic", 0).missing is None


def test_histogram_boosting_takes_missing_values() -> None:
    model = HistGradientBoostingClassifier(max_iter=5).fit(*iris())
    assert all(column.missing == "nan" for column in convert(model).signature.columns)


def test_an_encoder_that_refuses_unknown_categories_lists_those_it_knows() -> None:
    assert column("mixed columns, forest", 1).categories == ("Oslo", "Paris", "Rome")


def test_an_encoder_that_ignores_unknown_categories_lists_none() -> None:
    assert column("mixed columns, logistic", 1).categories is None


def test_values_that_overflow_float32_before_trees_are_out_of_range() -> None:
    assert column("cancer forest", 0).maximum == float(np.finfo(np.float32).max)


def test_a_model_without_a_cast_to_float32_has_no_range() -> None:
    assert column("iris logistic", 0).maximum is None


def test_a_scaler_narrows_the_range_until_the_model_itself_takes_it() -> None:
    model = specimen("scaler, forest").model
    limits = [each.maximum for each in convert(model).signature.columns]
    assert all(limit is not None and limit <= float(np.finfo(np.float32).max) for limit in limits)
    assert min(filter(None, limits)) < float(np.finfo(np.float32).max)
    model.predict(np.array([limits]))


NEGATIVE = pd.DataFrame({"price": np.geomspace(0.1, 900, 40), "gain": np.linspace(-9, 9, 40), "far": -1e4})
BESIDE: dict[str, tuple[Any, tuple[float | None, float | None]]] = {
    "log": (FunctionTransformer(np.log), (float(np.nextafter(0, 1)), None)),
    "square root": (FunctionTransformer(np.sqrt), (0.0, None)),
    "box-cox": (PowerTransformer(method="box-cox"), (float(np.nextafter(0, 1)), None)),
    "exponential": (FunctionTransformer(np.exp), (None, pytest.approx(709.78, abs=0.01))),
}


@pytest.mark.parametrize("name", BESIDE)
def test_what_one_column_refuses_limits_no_other(name: str) -> None:
    step, expected = BESIDE[name]
    columns = ColumnTransformer([("p", step, ["price"])], remainder="passthrough")
    price, *others = convert(
        make_pipeline(columns, Ridge()).fit(NEGATIVE.assign(price=NEGATIVE.price / 100), NEGATIVE.gain)
    ).signature.columns
    assert (price.minimum, price.maximum) == expected
    assert [(other.minimum, other.maximum) for other in others] == [(None, None)] * 2


def test_a_model_of_shares_is_tried_between_zero_and_one() -> None:
    shares = np.linspace(0.01, 0.99, 30).reshape(-1, 1)
    model = make_pipeline(FunctionTransformer(scipy.special.logit), Ridge()).fit(shares, shares.ravel())
    (share,) = convert(model).signature.columns
    assert (share.minimum, share.maximum) == (float(np.nextafter(0, 1)), pytest.approx(1.0, abs=1e-9))


def test_a_power_of_far_columns_takes_the_rows_that_it_was_fitted_on() -> None:
    random = np.random.default_rng(0)
    x = random.normal([0.0, 1e4, -1e4], size=(150, 3))
    columns = convert(make_pipeline(PowerTransformer(), Ridge()).fit(x, x.sum(axis=1))).signature.columns
    for each, values in zip(columns, x.T, strict=True):
        assert each.minimum is None or each.minimum <= values.min()
        assert each.maximum is None or each.maximum >= values.max()


def test_a_missing_value_marker_other_than_nan_is_a_number() -> None:
    features = np.where(iris()[0] > 6, -1.0, iris()[0])
    model = make_pipeline(SimpleImputer(missing_values=-1.0), LogisticRegression(max_iter=5000)).fit(
        features, iris()[1]
    )
    assert convert(model).signature.columns[0].missing is None


def test_the_range_of_a_radius_model_covers_its_training_rows() -> None:
    case = plain("RadiusNeighborsClassifier")
    for each, values in zip(convert(case.model).signature.columns, case.X.T, strict=True):
        assert each.minimum is not None
        assert each.maximum is not None
        assert each.minimum <= values.min() < values.max() <= each.maximum
