"""Signatures describe the inputs of the fitted pipeline."""

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

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
    limit = column("scaler, forest", 0).maximum
    assert limit is not None
    assert limit < float(np.finfo(np.float32).max)
    model.predict(np.full((1, 4), limit))


def test_a_missing_value_marker_other_than_nan_is_a_number() -> None:
    features = np.where(iris()[0] > 6, -1.0, iris()[0])
    model = make_pipeline(SimpleImputer(missing_values=-1.0), LogisticRegression(max_iter=5000)).fit(
        features, iris()[1]
    )
    assert convert(model).signature.columns[0].missing is None


def test_the_range_of_a_radius_model_covers_its_training_rows() -> None:
    case = plain("RadiusNeighborsClassifier")
    maximum = convert(case.model).signature.columns[3].maximum
    assert maximum == pytest.approx(np.abs(case.X).max())
