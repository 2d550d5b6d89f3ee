"""Fits small models with the scikit-learn installed, and writes them with their own answers.

Run it as a script with an older scikit-learn. 1.0.2, 1.1.3, 1.2.2, 1.3.2, 1.4.2, 1.5.2, 1.6.1, 1.7.2 and 1.8.0 wrote
what lies in `tests/data/old_versions`: for each a `VERSION.tar.xz`, with `NAME.pkl` and `NAME.json` of each model. The
JSON has rows, predictions, probabilities and scores, and for each column whether a missing value in it is refused.
"""

import io
import json
import pickle
import sys
import tarfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import sklearn
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.cross_decomposition import PLSRegression
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import SelectFromModel
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import ClassifierChain
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import NearestCentroid, RadiusNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    SplineTransformer,
    StandardScaler,
)
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.tree import DecisionTreeClassifier

VERSION = tuple(int(part) for part in sklearn.__version__.split(".")[:2])
IRIS, SPECIES = load_iris(return_X_y=True)
TWO = (SPECIES == 1).astype(int)
NAMES = np.array(["setosa", "versicolor", "virginica"], dtype=object)[SPECIES]
BODIES, PROGRESS = load_diabetes(return_X_y=True)
RANDOM = np.random.RandomState(0)  # the same in every version
TABLE = pd.DataFrame(
    {
        "age": RANDOM.normal(40, 10, 200).round(),
        "plan": RANDOM.choice(list("abc"), 200),
        "income": RANDOM.lognormal(3, 1, 200).round(2),
    }
)
TABLE.loc[::7, "age"] = np.nan
PAYS = (TABLE.income > 20).astype(int).to_numpy()
DENSE = {"sparse": False} if VERSION < (1, 2) else {"sparse_output": False}
OVR = {} if VERSION >= (1, 8) else {"multi_class": "ovr"}


def logistic(**parameters):
    return LogisticRegression(max_iter=300, **parameters)


def by_column(encoder, **parameters):
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    return ColumnTransformer([("n", numbers, ["age", "income"]), ("c", encoder, ["plan"])], **parameters)


def models():
    """(name, unfitted model, rows, targets)."""
    yield from logistic_models()
    yield from classifiers()
    yield from regressors()
    yield from pipelines()


def logistic_models():
    multi_classes = ("auto", "ovr", "multinomial") if VERSION < (1, 8) else ()
    for kind in multi_classes:
        for solver in ("lbfgs", "liblinear", *(["newton-cholesky"] if VERSION >= (1, 2) else [])):
            model = logistic(multi_class=kind, solver=solver)
            yield f"logistic {kind} {solver} 3", model, IRIS, NAMES
            yield f"logistic {kind} {solver} 2", model, IRIS, TWO
        yield f"logistic cv {kind}", LogisticRegressionCV(Cs=3, cv=2, max_iter=300, multi_class=kind), IRIS, SPECIES
    yield "logistic", logistic(), IRIS, NAMES
    yield "calibrated", CalibratedClassifierCV(logistic(**OVR), cv=2), IRIS, SPECIES
    yield "search", GridSearchCV(logistic(**OVR), {"C": [0.1, 1.0]}, cv=2), IRIS, SPECIES
    members = [("a", logistic(**OVR)), ("b", DecisionTreeClassifier(max_depth=2))]
    yield "voting", VotingClassifier(members, voting="soft"), IRIS, SPECIES
    yield "stacking", StackingClassifier(members, GaussianNB(), cv=2), IRIS, NAMES
    yield "chain", ClassifierChain(logistic()), IRIS, np.c_[SPECIES > 0, SPECIES > 1].astype(int)


def classifiers():
    for y, classes in ((NAMES, 3), (TWO, 2)):
        yield f"tree {classes}", DecisionTreeClassifier(max_depth=3, random_state=0), IRIS, y
        forest = RandomForestClassifier(4, max_depth=3, random_state=0, class_weight="balanced")
        yield f"forest {classes}", forest, IRIS, y
        yield f"extra {classes}", ExtraTreesClassifier(4, max_depth=3, random_state=0), IRIS, y
        yield f"bagging {classes}", BaggingClassifier(DecisionTreeClassifier(max_depth=2), 3, random_state=0), IRIS, y
        for kind in ("SAMME", "SAMME.R") if VERSION < (1, 8) else ():
            boosting = AdaBoostClassifier(n_estimators=4, random_state=0, algorithm=kind)
            yield f"adaptive {kind} {classes}", boosting, IRIS, y
        for init in (None, "zero", DecisionTreeClassifier(max_depth=2, random_state=0)):
            boosting = GradientBoostingClassifier(n_estimators=3, init=init, random_state=0)
            yield f"gradient {str(init)[:8]} {classes}", boosting, IRIS, y
        yield f"calibrated gradient {classes}", CalibratedClassifierCV(boosting, cv=2), IRIS, y
        yield f"histogram {classes}", HistGradientBoostingClassifier(max_iter=3, max_leaf_nodes=5), IRIS, y
        for loss in ("log", "log_loss", "modified_huber"):
            yield f"sgd {loss} {classes}", SGDClassifier(loss=loss, random_state=0), IRIS, y
        yield f"ridge {classes}", RidgeClassifier(), IRIS, y
    yield "exponential", GradientBoostingClassifier(loss="exponential", n_estimators=3, random_state=0), IRIS, TWO
    yield "tree of two targets", DecisionTreeClassifier(max_depth=3), IRIS, np.c_[SPECIES > 0, TWO].astype(int)
    yield "centroid", NearestCentroid(), IRIS, NAMES
    yield "self-training", SelfTrainingClassifier(logistic()), IRIS, np.where(np.arange(150) % 3, SPECIES, -1)


def regressors():
    yield "forest of values", RandomForestRegressor(3, max_depth=3, random_state=0), BODIES, PROGRESS
    for loss in ("squared_error", "absolute_error", "huber", "quantile", "ls"):
        boosting = GradientBoostingRegressor(loss=loss, n_estimators=3, random_state=0)
        yield f"gradient {loss}", boosting, BODIES, PROGRESS
    for loss in ("squared_error", "poisson", "absolute_error", "least_squares"):
        boosting = HistGradientBoostingRegressor(loss=loss, max_iter=3, max_leaf_nodes=5)
        yield f"histogram {loss}", boosting, BODIES, PROGRESS
    for loss in ("squared_error", "squared_loss", "huber"):
        yield f"sgd {loss}", SGDRegressor(loss=loss, random_state=0), BODIES, PROGRESS
    yield "poisson", PoissonRegressor(), BODIES, PROGRESS
    yield "latent", PLSRegression(2), BODIES, PROGRESS
    yield "latent of two targets", PLSRegression(2), BODIES, np.c_[PROGRESS, BODIES[:, 0]]
    yield "within a radius", RadiusNeighborsRegressor(0.5), BODIES[:60], PROGRESS[:60]


def pipelines():
    for encode, strategy in (("ordinal", "uniform"), ("onehot", "quantile")):
        bins = KBinsDiscretizer(4, encode=encode, strategy=strategy)
        yield f"bins {encode}", make_pipeline(bins, logistic()), IRIS, SPECIES
    yield "spline", make_pipeline(SplineTransformer(), Ridge()), BODIES, PROGRESS
    yield "selected", make_pipeline(SelectFromModel(logistic(), max_features=2), logistic()), IRIS, SPECIES
    yield (
        "selected by l1",
        make_pipeline(SelectFromModel(LogisticRegression(penalty="l1", solver="liblinear", C=0.1)), LinearRegression()),
        IRIS,
        TWO,
    )
    yield "encoded", make_pipeline(by_column(OneHotEncoder(handle_unknown="ignore")), logistic()), TABLE, PAYS
    yield "encoded but the first", make_pipeline(by_column(OneHotEncoder(drop="first")), logistic()), TABLE, PAYS
    passing = ColumnTransformer([("e", OneHotEncoder(**DENSE), ["plan"])], remainder="passthrough")
    yield "passed through", make_pipeline(passing, SimpleImputer(), GaussianNB()), TABLE, PAYS
    masked = ColumnTransformer([("s", StandardScaler(), [True, False, True, False])], remainder=MinMaxScaler())
    yield "masked", make_pipeline(masked, logistic()), IRIS, SPECIES
    known = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    yield (
        "ordinal",
        make_pipeline(by_column(known), RandomForestClassifier(3, max_depth=3, random_state=0)),
        TABLE,
        PAYS,
    )
    filled = make_pipeline(SimpleImputer(strategy="constant", fill_value="?"), OneHotEncoder(handle_unknown="ignore"))
    yield "filled text", make_pipeline(by_column(filled), logistic()), TABLE, PAYS


def answers(model, table):
    """What a model answers, as JSON has it."""
    rows = table.iloc[::17] if isinstance(table, pd.DataFrame) else table[::17]
    found = {"rows": plain(rows), "predictions": np.asarray(model.predict(rows)).tolist()}
    for name in ("predict_proba", "decision_function"):
        found[name] = np.asarray(getattr(model, name)(rows)).tolist() if hasattr(model, name) else None
    found["refuses_missing"] = [refuses_missing(model, rows, column) for column in range(rows.shape[1])]
    return found


def plain(rows):
    if isinstance(rows, pd.DataFrame):
        return rows.astype(object).where(rows.notna(), None).to_dict("records")
    return rows.tolist()


def refuses_missing(model, rows, column):
    row = rows[:1].copy()
    if isinstance(row, pd.DataFrame):
        row.iloc[0, column] = np.nan
    else:
        row[0, column] = np.nan
    try:
        model.predict(row)
    except ValueError:
        return True
    return False


def main():
    warnings.simplefilter("ignore")
    path = Path(__file__).parent.parent / "data" / "old_versions" / f"{sklearn.__version__}.tar.xz"
    with tarfile.open(path, "w:xz", preset=9) as archive:
        for name, model, rows, targets in models():
            try:
                model.fit(rows, targets)
            except (TypeError, ValueError) as error:  # this version has no such model
                print(f"{name}: {str(error)[:80]}", file=sys.stderr)  # noqa: T201
                continue
            add(archive, f"{name}.pkl", pickle.dumps(model, protocol=4))
            add(archive, f"{name}.json", json.dumps(answers(model, rows)).encode())


def add(archive, name, content):
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


if __name__ == "__main__":
    main()
