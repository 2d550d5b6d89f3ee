"""Every ordered pair of the commonest transformers before a model: none is converted and answers otherwise."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, FastICA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.tree import DecisionTreeClassifier

from serval.conversion.export.original import answers_of
from serval.conversion.export.predictors import export
from serval.conversion.from_sklearn import convert
from serval.conversion.rows import Rows
from serval.conversion.signature import Column, Signature
from serval.conversion.verify import onnxruntime_engine
from serval.conversion.verify.verify import compare
from serval.errors import NotConvertible

pytestmark = pytest.mark.slow

ROWS = 60
RANDOM = np.random.default_rng(0)
WHOLE = np.column_stack(
    [
        RANDOM.normal(50, 9, ROWS).round(1),
        RANDOM.integers(0, 5, ROWS),
        RANDOM.lognormal(2, 0.5, ROWS).round(2),
        RANDOM.choice([0.0, 1.0], ROWS),
    ]
)
TARGET = ((WHOLE[:, 0] - 50) / 9 + WHOLE[:, 1] / 2 + RANDOM.normal(0, 0.5, ROWS) > 1).astype(int)
GAPS = np.where((RANDOM.random(WHOLE.shape) < 0.04) & (np.arange(4) != 1), np.nan, WHOLE)

TRANSFORMERS: dict[str, BaseEstimator] = {
    "standard": StandardScaler(),
    "minmax": MinMaxScaler(),
    "clipping": MinMaxScaler(clip=True),
    "robust": RobustScaler(),
    "normalizer": Normalizer(),
    "binarizer": Binarizer(threshold=1.0),
    "power": PowerTransformer(),
    "quantile": QuantileTransformer(n_quantiles=20),
    "normal": QuantileTransformer(n_quantiles=20, output_distribution="normal"),
    "bins": KBinsDiscretizer(4, encode="ordinal", quantile_method="averaged_inverted_cdf"),
    "bins one-hot": KBinsDiscretizer(3, encode="onehot-dense", strategy="uniform"),
    "polynomial": PolynomialFeatures(2),
    "spline": SplineTransformer(3),
    "log": FunctionTransformer(np.log1p),
    "rounding": FunctionTransformer(np.rint),
    "one-hot": OneHotEncoder(handle_unknown="ignore", max_categories=6, sparse_output=False),
    "ordinal": OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    "target": TargetEncoder(),
    "imputer": SimpleImputer(),
    "indicator": SimpleImputer(strategy="median", add_indicator=True),
    "neighbours": KNNImputer(n_neighbors=3),
    "iterative": IterativeImputer(max_iter=2),
    "pca": PCA(2),
    "ica": FastICA(2, random_state=0),
    "best": SelectKBest(k=2),
    "variance": VarianceThreshold(),
    "nystroem": Nystroem(n_components=5, random_state=0),
    "lda": LinearDiscriminantAnalysis(),
    "union": FeatureUnion([("a", MinMaxScaler()), ("b", StandardScaler())]),
    "columns": ColumnTransformer([("s", StandardScaler(), [0])], remainder="passthrough"),
}
UNNAMED = ["x0", "x1", "x2", "x3"]
COLUMNS = tuple(Column(name=name, kind="number", dtype="float64", missing="nan") for name in UNNAMED)


def fitted(model: Pipeline) -> tuple[Pipeline, np.ndarray] | None:
    """Fitted on rows with gaps, or on whole ones where a step takes no gaps; None where it fits on neither."""
    for x in (GAPS, WHOLE):
        try:
            return model.fit(x, TARGET), x
        except (ValueError, np.linalg.LinAlgError):
            continue
    return None


def outcome(model: Pipeline, x: np.ndarray) -> str:
    """`live`, or why it is refused; `WRONG` for a model that is converted and answers otherwise on its own rows."""
    signature = Signature(
        kind="classifier",
        columns=COLUMNS,
        has_names=False,
        labels=((0, 1),),
        targets=1,
        is_multi_target=False,
        has_probabilities=True,
        numbers_dtype="float64",
        scores_dtype="float64",
    )
    rows = Rows(x, np.empty((len(x), 0), dtype=object))
    try:
        content = export(model, signature).model.SerializeToString()
        answers = onnxruntime_engine.run(content, signature, rows)
        if compare(signature, answers_of(model, signature, rows), answers).reason is None:
            return "live"
        convert(model)
    except NotConvertible as error:
        return str(error)
    return "WRONG"


COMPARING = {"quantile", "normal", "bins", "bins one-hot", "one-hot", "ordinal", "target", "neighbours"}
"""Steps that compare numbers exactly; what a step before them has rounded otherwise decides their answer."""


SINGULAR = {("spline", "lda")}
"""The columns of splines add up to one, and the discriminant of such columns multiplies rounding."""


def is_expected(first: str, second: str, refusal: str) -> bool:
    if "was fitted on a single value" in refusal:
        return True
    if "neighbours" in {first, second} and "equally distant rows" in refusal:
        return True
    is_rounding = second in COMPARING or (first, second) in SINGULAR
    return is_rounding and "does not answer like the original" in refusal


@pytest.mark.parametrize("first", TRANSFORMERS)
def test_no_pair_of_transformers_is_converted_and_answers_otherwise(
    first: str, record_property: Callable[[str, object], None]
) -> None:
    outcomes: dict[str, str] = {}
    for index, second in enumerate(TRANSFORMERS):
        steps = [("first", clone(TRANSFORMERS[first])), ("second", clone(TRANSFORMERS[second]))]
        last: Any = LogisticRegression(max_iter=100) if index % 2 else DecisionTreeClassifier(max_depth=4)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = fitted(Pipeline([*steps, ("model", last)]))
            if found is not None:
                outcomes[second] = outcome(*found)
    refused = {second: why for second, why in outcomes.items() if why not in {"live", "WRONG"}}
    record_property("fitted", len(outcomes))
    record_property("refused", refused)
    assert [second for second, why in outcomes.items() if why == "WRONG"] == []
    assert {second: why for second, why in refused.items() if not is_expected(first, second, why)} == {}
