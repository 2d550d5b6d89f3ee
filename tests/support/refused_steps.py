"""Models with a step that is refused, by the kind of the refusal, and models that follow its way out."""

from typing import Any

import numpy as np
import pandas as pd
from scipy import special
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern, PairwiseKernel
from sklearn.impute import KNNImputer
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.manifold import Isomap
from sklearn.metrics.pairwise import linear_kernel, rbf_kernel
from sklearn.neighbors import KNeighborsClassifier, RadiusNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    SplineTransformer,
    StandardScaler,
)
from sklearn.semi_supervised import LabelPropagation
from sklearn.svm import SVC

from serval.conversion.export.features import TableColumn
from serval.conversion.export.graph import Graph
from serval.conversion.export.predictors import emitter
from serval.conversion.export.tensor import Tensor
from serval.conversion.refusals import of_steps
from serval.conversion.refusals.kind import Kind
from serval.conversion.refusals.places import placed
from support.refusal_cases import FRAME, TARGET, Case, X, Y, again, called, logistic

TEXTS = ["good day", "bad day", "good night", "bad night"] * 9
SPREAD = np.random.default_rng(0).normal(size=(80, 4))
TWO = np.c_[Y > 0, Y > 1].astype(int)


def behind(*steps: Any, x: Any = X, y: Any = Y) -> Any:
    return make_pipeline(*steps, LogisticRegression(max_iter=500)).fit(x, y)


def near(rows: Any, others: Any) -> float:
    return float(np.abs(rows - others).sum())


def similar(rows: Any, others: Any) -> float:
    return float(np.exp(-np.square(rows - others).sum()))


DAYS = pd.DataFrame({"day": pd.date_range("2024-01-01", periods=12)})


def near_with_gaps(rows: Any, others: Any, missing_values: float = np.nan) -> float:
    return float(np.nansum(np.abs(rows - others)))


def closer(distances: Any) -> Any:
    return 1 / (1 + distances)


def without_components() -> Any:
    model = behind(StandardScaler(), PCA(2))
    model[1].components_ = "none"
    return model


def frozen(times: int) -> Any:
    model = logistic()
    for _ in range(times):
        model = FrozenEstimator(model)
    return model


def taken_out(model: Any, _: str) -> Any:
    while isinstance(model, FrozenEstimator):
        model = model.estimator
    return model


def asked_with_text(model: Any) -> None:
    emitter(["plan"]).predict(model, Tensor.input(Graph(), "strings", "string", [0]))


def strict_encoder() -> Any:
    frame = FRAME.assign(plan=FRAME.age % 3)
    encoder = ColumnTransformer([("o", OneHotEncoder(), [1])], remainder="passthrough")
    return make_pipeline(
        StandardScaler(), PolynomialFeatures(2), FunctionTransformer(np.round), encoder, LogisticRegression()
    ).fit(frame, TARGET)


def told_to_ignore(model: Any, message: str) -> Any:
    called(message, model[3].named_transformers_["o"])
    return model


def column_left_out(model: Any) -> None:
    with placed(model):
        _ = TableColumn(None, 0).tensor


def text_encoder_given_numbers(model: Any) -> None:
    emitter().transform(model[0], Tensor.input(Graph(), "numbers", "float64", [0]))


def timestamp_encoder_given_text(model: Any) -> None:
    emitter().transform(model[0], Tensor.input(Graph(), "strings", "string", [0]))


def mixed() -> Any:
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    model = make_pipeline(encoder, Ridge()).fit(FRAME[["plan"]], TARGET)
    model[0].categories_[0] = np.array([1, "b", "c"], dtype=object)
    return model


def imputed(**arguments: Any) -> Any:
    return behind(KNNImputer(**arguments), x=SPREAD, y=SPREAD[:, 0] > 0)


def draws(model: Any, message: str) -> Any:
    called(message, model[0])
    return model


def drawing() -> Any:
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    return behind(IterativeImputer(sample_posterior=True, max_iter=2, random_state=0))


def text_copied() -> Any:
    steps = make_pipeline(FunctionTransformer(np.copy), OneHotEncoder())
    return behind(ColumnTransformer([("plan", steps, ["plan"])]), x=FRAME, y=TARGET)


def counted(model: Any, _: str) -> Any:
    return LogisticRegression().fit(model[0].transform(TEXTS).toarray(), np.arange(36) % 2)


FUNCTION = "`FunctionTransformer` (pipeline step 1, `functiontransformer`)"
SINGLE = pd.DataFrame(X, columns=list("abcd")).assign(b=1.0)
CASES: list[tuple[Kind, Case]] = [
    (
        of_steps.NOT_AS_FITTED,
        Case(without_components, again(lambda: behind(StandardScaler(), PCA(2))), "`PCA` (pipeline step 2, `pca`)"),
    ),
    (of_steps.NO_RULE, Case(lambda: behind(Isomap()), again(lambda: behind(PCA(2))), "(pipeline step 1, `isomap`)")),
    (
        of_steps.SPLITS_TEXT,
        Case(lambda: behind(CountVectorizer(), x=TEXTS, y=np.arange(36) % 2), counted, "(pipeline step 1, `countv"),
    ),
    (of_steps.TOO_DEEP, Case(lambda: frozen(50), taken_out, "`FrozenEstimator`")),
    (
        of_steps.STRING_COLUMN,
        Case(
            logistic,
            again(lambda: make_pipeline(OneHotEncoder(), LogisticRegression()).fit(FRAME[["plan"]], TARGET)),
            "`LogisticRegression` receives the string column `plan`",
            ask=asked_with_text,
        ),
    ),
    (of_steps.LEFT_OUT_COLUMN, Case(logistic, again(lambda: logistic(X[:, :2])), ask=column_left_out)),
    (
        of_steps.STRICT_ENCODER,
        Case(
            strict_encoder,
            told_to_ignore,
            "`OneHotEncoder` (pipeline step 4, `columntransformer`, transformer `o`)",
        ),
    ),
    (
        of_steps.TEXT_OF_NUMBERS,
        Case(
            lambda: make_pipeline(OneHotEncoder(), Ridge()).fit(FRAME[["plan"]], TARGET),
            lambda built, _: built,
            "column `plan`",
            ask=text_encoder_given_numbers,
        ),
    ),
    (
        of_steps.TEXT_OF_TIMESTAMPS,
        Case(
            lambda: make_pipeline(OneHotEncoder(), Ridge()).fit(DAYS, range(12)),
            lambda built, _: built,
            "column `day`",
            ask=timestamp_encoder_given_text,
        ),
    ),
    (
        of_steps.MIXED_CATEGORIES,
        Case(
            mixed,
            again(lambda: make_pipeline(OrdinalEncoder(), Ridge()).fit(FRAME[["plan"]].astype(str), TARGET)),
            "column `plan`",
        ),
    ),
    (
        of_steps.FUNCTION,
        Case(
            lambda: behind(FunctionTransformer(special.j0)),
            lambda built, _: built[1:].fit(special.j0(X), Y),
            FUNCTION,
        ),
    ),
    (
        of_steps.FUNCTION_OF_TEXT,
        Case(
            text_copied,
            again(lambda: behind(ColumnTransformer([("plan", OneHotEncoder(), ["plan"])]), x=FRAME, y=TARGET)),
            "(pipeline step 1, `columntransformer`, transformer `plan`, pipeline step 1, `functiontransformer`)",
            request={"sample": [{"age": 1.0, "plan": "a"}]},
        ),
    ),
    (
        of_steps.ARGUMENT,
        Case(
            lambda: behind(FunctionTransformer(np.asarray, kw_args={"dtype": int})),
            lambda built, _: built[1:].fit(np.asarray(X, dtype=int), Y),
            FUNCTION,
        ),
    ),
    (
        of_steps.ROWS_TOGETHER,
        Case(
            lambda: behind(FunctionTransformer(special.softmax)),
            again(lambda: behind(FunctionTransformer(special.softmax, kw_args={"axis": 1}))),
            FUNCTION,
        ),
    ),
    (
        of_steps.RANDOM_ANSWERS,
        Case(
            lambda: make_pipeline(StandardScaler(), DummyClassifier(strategy="stratified")).fit(X, Y),
            again(lambda: make_pipeline(StandardScaler(), DummyClassifier(strategy="prior")).fit(X, Y)),
            "(pipeline step 2, `dummyclassifier`)",
        ),
    ),
    (of_steps.RANDOM_FILLS, Case(drawing, draws, "(pipeline step 1, `iterativeimputer`)")),
    (
        of_steps.OWN_SVM_KERNEL,
        Case(lambda: SVC(kernel=linear_kernel).fit(X, Y), again(lambda: SVC(kernel="linear").fit(X, Y)), "`SVC`"),
    ),
    (
        of_steps.OWN_KERNEL,
        Case(
            lambda: KernelRidge(kernel=similar).fit(X, Y),
            again(lambda: KernelRidge(kernel="rbf").fit(X, Y)),
            "`KernelRidge`",
        ),
    ),
    (
        of_steps.KERNEL_NAME,
        Case(
            lambda: KernelRidge(kernel="additive_chi2").fit(X, Y),
            again(lambda: KernelRidge(kernel="laplacian").fit(X, Y)),
            "`KernelRidge` has the kernel 'additive_chi2'",
        ),
    ),
    (
        of_steps.PROCESS_KERNEL,
        Case(
            lambda: GaussianProcessRegressor(PairwiseKernel()).fit(X[::9], Y[::9]),
            again(lambda: GaussianProcessRegressor(Matern(), alpha=0.1).fit(X[::9], Y[::9])),
            "PairwiseKernel",
        ),
    ),
    (
        of_steps.MATERN,
        Case(
            lambda: GaussianProcessRegressor(Matern(nu=0.7)).fit(X[::9], Y[::9]),
            again(lambda: GaussianProcessRegressor(Matern(nu=1.5), alpha=0.1).fit(X[::9], Y[::9])),
            "nu=0.7",
        ),
    ),
    (
        of_steps.SPLINE_ENDS,
        Case(
            lambda: behind(SplineTransformer(extrapolation="linear")),
            again(lambda: behind(SplineTransformer(extrapolation="constant"))),
            "(pipeline step 1, `splinetransformer`)",
        ),
    ),
    (
        of_steps.SPLINE_OF_ONE_VALUE,
        Case(
            lambda: behind(SplineTransformer(), x=SINGLE),
            again(lambda: behind(SplineTransformer(), x=SINGLE.drop(columns="b"))),
            "column `b`",
        ),
    ),
    (
        of_steps.IMPUTER_MARKER,
        Case(lambda: imputed(missing_values=-1.0), again(imputed), "(pipeline step 1, `knnimputer`)"),
    ),
    (
        of_steps.IMPUTER_METRIC,
        Case(lambda: imputed(metric=near_with_gaps), again(imputed), "(pipeline step 1, `knnimputer`)"),
    ),
    (
        of_steps.TEMPERATURE,
        Case(
            lambda: CalibratedClassifierCV(GradientBoostingClassifier(n_estimators=2), method="temperature", cv=2).fit(
                X, Y
            ),
            again(
                lambda: CalibratedClassifierCV(GradientBoostingClassifier(n_estimators=2), method="sigmoid", cv=2).fit(
                    X, Y
                )
            ),
            "`CalibratedClassifierCV`",
        ),
    ),
    (
        of_steps.OWN_METRIC,
        Case(
            lambda: KNeighborsClassifier(metric=near).fit(X, Y),
            again(lambda: KNeighborsClassifier(metric="manhattan").fit(X, Y)),
            "`KNeighborsClassifier`",
        ),
    ),
    (
        of_steps.METRIC_NAME,
        Case(
            lambda: KNeighborsClassifier(metric="canberra").fit(X, Y),
            again(lambda: KNeighborsClassifier(metric="chebyshev").fit(X, Y)),
            "'canberra'",
        ),
    ),
    (
        of_steps.OWN_WEIGHTS,
        Case(
            lambda: KNeighborsClassifier(weights=closer).fit(X, Y),
            again(lambda: KNeighborsClassifier(weights="distance").fit(X, Y)),
            "`KNeighborsClassifier`",
        ),
    ),
    (
        of_steps.OUTLIER_LABEL,
        Case(
            lambda: RadiusNeighborsClassifier(2.0, outlier_label=99).fit(X, Y),
            again(lambda: RadiusNeighborsClassifier(2.0, outlier_label=0).fit(X, Y)),
            "`RadiusNeighborsClassifier`",
        ),
    ),
    (
        of_steps.PROPAGATION_KERNEL,
        Case(
            lambda: LabelPropagation(kernel=rbf_kernel).fit(X, Y),
            again(lambda: LabelPropagation(kernel="rbf").fit(X, Y)),
            "`LabelPropagation`",
        ),
    ),
]
