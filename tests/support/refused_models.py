"""Models that are refused as a whole, by the kind of the refusal, and models that follow its way out."""

import datetime
import decimal
import pickle
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, RadiusNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, OneHotEncoder, PowerTransformer, StandardScaler

from serval.conversion.export.labels import check_count
from serval.conversion.from_sklearn import no_form
from serval.conversion.refusals import of_models
from serval.conversion.refusals.kind import Kind
from serval.conversion.report import FormTried
from serval.conversion.samples import rows_of
from serval.conversion.signature import Column, Signature
from serval.conversion.signature_check import check_signature
from serval.conversion.verify.data_plane_engine import DataPlaneEngine
from serval.errors import ServalError
from support.refusal_cases import Case, Version, X, Y, again, called, evaluated, logistic

SIGNATURE = Signature(
    kind="regressor", columns=(Column(name="x0", kind="number", dtype="float64"),), has_names=False, labels=(),
    targets=1, is_multi_target=False, has_probabilities=False, numbers_dtype="float64", scores_dtype="float64",
)  # fmt: skip
ROWS = X[::20].tolist()


def encoded(values: list[Any], encoder: Any = None) -> Any:
    frame = pd.DataFrame({"price": pd.Series(values, dtype=object)})
    return make_pipeline(encoder or OneHotEncoder(handle_unknown="ignore"), Ridge()).fit(frame, np.arange(len(values)))


def named(*names: str) -> Any:
    return logistic(pd.DataFrame(X[:, : len(names)], columns=list(names)))


def search(**arguments: Any) -> Any:
    return GridSearchCV(LogisticRegression(max_iter=500), {"C": [0.1, 1.0]}, cv=2, **arguments).fit(X, Y)


def within(radius: float) -> Any:
    return make_pipeline(StandardScaler(), RadiusNeighborsClassifier(radius)).fit(X[::5], Y[::5])


def uncounted() -> Any:
    model = DummyClassifier().fit(X, Y)
    del model.n_features_in_
    return model


def of_version_1_5() -> bytes:
    model = make_pipeline(PCA(2), logistic()).fit(X, Y)
    del model[0].components_
    with Version("1.5.2"):
        return pickle.dumps(model)


def more_categories_than_fit(_: Any) -> None:
    check_count((Column(name="id", kind="string", dtype="object", categories=tuple(map(str, range(1_000_001)))),))


def engine_given_no_graph(_: Any) -> None:
    DataPlaneEngine().run(b"no graph", SIGNATURE, rows_of(SIGNATURE, [[1.0]]))


def forged_signature(_: Any) -> None:
    check_signature(
        Signature(**{name: getattr(SIGNATURE, name) for name in SIGNATURE.__struct_fields__} | {"targets": 0})
    )


def unlike(model: Any) -> None:
    error = no_form(model, [FormTried("float64 trees", "1 of 2 rows get another label")])
    assert isinstance(error, ServalError)
    raise error


def process(alpha: float) -> Any:
    return GaussianProcessRegressor(alpha=alpha).fit(X[::5] + 1e8, Y[::5])


def imputed(imputer: Any) -> Any:
    return make_pipeline(imputer, logistic()).fit(X, Y)


def neighbours_by_products(*steps: Any) -> Any:
    return make_pipeline(*steps, KNeighborsClassifier(algorithm="brute")).fit(WIDE + 1e8, WIDE[:, 0] > 0)


def neighbours_of_categories(encoder: Any) -> Any:
    frame = pd.DataFrame({"plan": list("abcd") * 15, "city": list("xyz") * 20})
    return make_pipeline(encoder, KNeighborsRegressor()).fit(frame, np.arange(60.0))


SPREAD = np.random.default_rng(0).normal(size=(200, 4))
WIDE = np.random.default_rng(0).normal(size=(60, 300))
GRID = np.random.default_rng(0).integers(0, 5, (200, 4)).astype(float)
BIG = [2**53 + 1 + index for index in range(9)]
PRICES = [decimal.Decimal(index % 4) / 2 for index in range(20)]
DURATIONS = pd.DataFrame({"since": pd.to_timedelta(range(12), unit="s")})
SECONDS = pd.DataFrame({"since": DURATIONS["since"].dt.total_seconds()})
NANOSECONDS = pd.DataFrame({"day": pd.date_range("2024-01-01", periods=12, freq="1s1ns").as_unit("ns")})
WHOLE_SECONDS = pd.DataFrame({"day": NANOSECONDS["day"].dt.floor("s")})

MOMENTS = pd.DataFrame({"when": pd.date_range("2024-05-05", periods=30, freq="7h"), "n": np.arange(30.0) % 7})


def powered(frame: pd.DataFrame) -> Any:
    columns = ColumnTransformer([("power", PowerTransformer(), ["when"])], remainder="passthrough")
    return make_pipeline(columns, Ridge()).fit(frame, np.arange(30.0) % 11)


CASES: list[tuple[Kind, Case]] = [
    (of_models.NO_SKLEARN_PREDICTOR, Case(lambda: scipy.stats.norm, again(logistic), "`norm_gen`")),
    (
        of_models.OTHER_ESTIMATOR,
        Case(lambda: KMeans(2).fit(X), again(lambda: make_pipeline(KMeans(2), logistic()).fit(X, Y)), "`KMeans`"),
    ),
    (of_models.NOT_FITTED, Case(LogisticRegression, lambda built, _: built.fit(X, Y), "`LogisticRegression`")),
    (
        of_models.SEARCH_WITHOUT_MODEL,
        Case(
            lambda: search(refit=False),
            lambda built, message: eval(
                message.partition("or save `")[2].rstrip("`."), {"clone": clone, "search": built, "X": X, "y": Y}
            ),
            "`GridSearchCV`",
        ),
    ),
    (
        of_models.TOO_MANY_COLUMNS,
        Case(lambda: Ridge().fit(np.eye(2, 10_001), [0, 1]), again(lambda: Ridge().fit(np.eye(2, 5), [0, 1])), "10001"),
    ),
    (
        of_models.NO_COLUMNS,
        Case(lambda: DummyClassifier().fit(pd.DataFrame(index=range(4)), [0, 1, 0, 1]), again(logistic)),
    ),
    (
        of_models.TOO_MANY_TARGETS,
        Case(
            lambda: Ridge().fit(X, np.ones((len(X), 1001))),
            again(lambda: Ridge().fit(X, np.c_[Y, -Y])),
            "1001",
        ),
    ),
    (
        of_models.TOO_MANY_LABELS,
        Case(
            lambda: DummyClassifier(strategy="most_frequent").fit(np.zeros((10_001, 1)), np.arange(10_001)),
            again(lambda: DummyClassifier(strategy="most_frequent").fit(np.zeros((10_001, 1)), np.arange(10_001) % 9)),
            "10001",
            request={"sample": [[0.0]]},
            then={"sample": [[0.0]]},
        ),
    ),
    (
        of_models.TOO_MANY_CATEGORIES,
        Case(
            lambda: encoded(list("abc"), OneHotEncoder()),
            lambda built, message: called(message, built[0]) and built,
            "`id`",
            ask=more_categories_than_fit,
        ),
    ),
    (
        of_models.NAMES_DO_NOT_FIT,
        Case(logistic, lambda built, _: built, request={"columns": ["a"]}, then={"columns": list("abcd")}),
    ),
    (
        of_models.HAS_NAMES,
        Case(
            lambda: named("a", "b"),
            lambda built, _: built,
            "names `c`, but the model was fitted on a table with names: `a`, `b`",
            request={"columns": ["a", "c"]},
            then={"columns": ["a", "b"]},
        ),
    ),
    (
        of_models.NUMBER_OF_COLUMNS_UNKNOWN,
        Case(uncounted, lambda built, _: built, "`DummyClassifier`", then={"sample": ROWS}),
    ),
    (of_models.EMPTY_NAME, Case(lambda: named("a", ""), again(lambda: named("a", "b")), "Column 2")),
    (of_models.NAME_NOT_SERVED, Case(lambda: named("a", "x" * 10_001), again(lambda: named("a", "x")), "`xxx")),
    (
        of_models.SAME_NAMES,
        Case(
            logistic, lambda built, _: built, "`a`", request={"columns": list("aabc")}, then={"columns": list("abcd")}
        ),
    ),
    (
        of_models.LABEL_NOT_IN_JSON,
        Case(lambda: encoded(PRICES), again(lambda: encoded([str(price) for price in PRICES])), "column `price`"),
    ),
    (
        of_models.LABEL_NOT_IN_JSON,
        Case(
            lambda: encoded([datetime.timedelta(days=index) for index in range(5)]),
            again(lambda: encoded([f"{index} days" for index in range(5)])),
            "`timedelta`",
        ),
    ),
    (
        of_models.NUMBER_NOT_IN_JSON,
        Case(lambda: encoded(BIG), again(lambda: encoded([str(value) for value in BIG])), f"{BIG[0]}"),
    ),
    (
        of_models.TEXT_NOT_SERVED,
        Case(lambda: encoded(["a", "x" * 10_001, "b"]), again(lambda: encoded(["a", "x", "b"])), "column `price`"),
    ),
    (
        of_models.CATEGORIES_OF_DURATIONS,
        Case(
            lambda: make_pipeline(OneHotEncoder(), Ridge()).fit(DURATIONS, range(12)),
            again(lambda: make_pipeline(OneHotEncoder(), Ridge()).fit(SECONDS, range(12))),
            "column `since`",
        ),
    ),
    (
        of_models.TIMESTAMPS_OUT_OF_REACH,
        Case(
            lambda: make_pipeline(OneHotEncoder(), Ridge()).fit(NANOSECONDS, range(12)),
            again(lambda: make_pipeline(OneHotEncoder(), Ridge()).fit(WHOLE_SECONDS, range(12))),
            "column `day`",
        ),
    ),
    (
        of_models.UNCOUNTED_TIMESTAMPS,
        Case(
            lambda: powered(MOMENTS),
            lambda _, message: powered(
                MOMENTS.assign(when=evaluated(message, "(column -", column=MOMENTS["when"], pandas=pd))
            ),
            "column `when`",
            request={"sample": [{"when": "2024-05-05T10:00:00Z", "n": 1.0}]},
        ),
    ),
    (
        of_models.REFUSES_PLAIN_ROWS,
        Case(
            lambda: within(0.3),
            lambda built, _: built,
            "`RadiusNeighborsClassifier` (pipeline step 2, `radiusneighborsclassifier`)",
            then={"sample": ROWS},
        ),
    ),
    (
        of_models.REFUSES_SAMPLE,
        Case(
            lambda: within(0.3),
            lambda built, _: built,
            "(pipeline step 2, `radiusneighborsclassifier`)",
            request={"sample": [[1e9] * 4]},
            then={"sample": ROWS},
        ),
    ),
    (
        of_models.REFUSES_ALL_ROWS,
        Case(
            lambda: RadiusNeighborsClassifier(1e-9).fit(X[::5], Y[::5]),
            lambda built, _: built,
            "`Radius",
            then={"sample": ROWS},
        ),
    ),
    (
        of_models.UNUSABLE_OF_VERSION,
        Case(
            of_version_1_5,
            again(lambda: make_pipeline(PCA(2), logistic()).fit(X, Y)),
            "1.5.2, and `PCA` (pipeline step 1, `pca`)",
        ),
    ),
    (of_models.ENGINE_REFUSES, Case(logistic, again(lambda: Ridge().fit(X, Y)), ask=engine_given_no_graph)),
    (
        of_models.ANSWERS_OTHERWISE,
        Case(logistic, again(lambda: make_pipeline(StandardScaler(), logistic()).fit(X, Y)), "`Logis", ask=unlike),
    ),
    (
        of_models.ROUNDED_PROCESS,
        Case(lambda: process(1e-10), again(lambda: process(0.1)), "`GaussianProcessRegressor`"),
    ),
    (
        of_models.TIED_IMPUTER,
        Case(
            lambda: imputed(KNNImputer(n_neighbors=2)),
            again(lambda: imputed(SimpleImputer())),
            "`KNNImputer` (pipeline step 1, `knnimputer`)",
        ),
    ),
    (
        of_models.TIED_COSINE,
        Case(
            lambda: KNeighborsClassifier(metric="cosine").fit(GRID, GRID[:, 0] > 2),
            again(lambda: make_pipeline(Normalizer(), KNeighborsClassifier()).fit(GRID, GRID[:, 0] > 2)),
            "`KNeighborsClassifier`",
        ),
    ),
    (
        of_models.TIED_SPARSE,
        Case(
            lambda: neighbours_of_categories(OneHotEncoder(handle_unknown="ignore")),
            again(lambda: neighbours_of_categories(OneHotEncoder(handle_unknown="ignore", sparse_output=False))),
            "(pipeline step 2, `kneighborsregressor`)",
        ),
    ),
    (
        of_models.ROUNDED_NEIGHBOURS,
        Case(neighbours_by_products, again(lambda: neighbours_by_products(StandardScaler())), "`KNeighborsClassifier`"),
    ),
    (of_models.OUT_OF_BOUNDS, Case(logistic, lambda built, _: built, "the number of targets", ask=forged_signature)),
]
