"""What does not load is refused with the cause, its place in the model, and a way out that works."""

import pickle
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from serval.conversion import from_sklearn
from serval.conversion.contents import predictor
from serval.conversion.export.predictor_kind import predictor_kind
from serval.conversion.loading import load
from serval.errors import NotAModel, NotAPredictor
from support.sample_models import iris

X, Y = iris()
Pickled = Callable[[str, Callable[[], Any]], bytes]


def doubled(rows: Any) -> Any:
    return np.asarray(rows) * 2


def scored(model: Any, rows: Any, targets: Any) -> float:
    return float(model.score(rows, targets))


class Doubled(FunctionTransformer):
    pass


class Halved(LogisticRegression):
    pass


@pytest.fixture
def pickled(monkeypatch: pytest.MonkeyPatch) -> Pickled:
    """The pickle of what a function builds from names that a module has only meanwhile."""

    def make(module: str, build: Callable[[], Any]) -> bytes:
        with monkeypatch.context() as patch:
            if module not in sys.modules:
                patch.setitem(sys.modules, module, ModuleType(module))
            for each in (doubled, scored, Doubled, Halved):
                patch.setattr(each, "__module__", module)
                patch.setattr(sys.modules[module], each.__name__, each, raising=False)
            return pickle.dumps(build())

    return make


def refusal(content: bytes) -> str:
    with pytest.raises(NotAModel) as caught:
        predictor(load(content).content)
    return caught.value.message


def logistic() -> Any:
    return LogisticRegression(max_iter=500)


def of_a_class() -> Any:
    return make_pipeline(Doubled(), logistic()).fit(X, Y)


def of_a_function() -> Any:
    return make_pipeline(FunctionTransformer(doubled), logistic()).fit(X, Y)


def of_a_class_in_columns() -> Any:
    return make_pipeline(ColumnTransformer([("d", Doubled(), [0])]), logistic()).fit(X, Y)


def of_a_subclass() -> Any:
    return Halved(max_iter=500).fit(X, Y)


@pytest.mark.parametrize(
    ("build", "name", "place"),
    [
        (of_a_class, "Doubled", " (pipeline step 1, `doubled`)"),
        (of_a_function, "doubled", " (pipeline step 1, `functiontransformer`, `func` of `FunctionTransformer`)"),
        (of_a_class_in_columns, "Doubled", " (pipeline step 1, `columntransformer`, transformer `d`)"),
        (of_a_subclass, "Halved", ""),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_a_notebook_defined_is_named_with_its_place(
    build: Callable[[], Any], name: str, place: str, pickled: Pickled
) -> None:
    found = refusal(pickled("__main__", build))
    assert found.startswith(f"The file refers to `{name}`{place}")
    assert "the script or notebook that saved it (`__main__`)" in found
    assert "serval.conversion" not in found
    assert "child" not in found


def test_replacing_it_as_advised_makes_a_model_that_converts(pickled: Pickled) -> None:
    assert "FunctionTransformer(numpy.log1p)" in refusal(pickled("__main__", of_a_function))
    assert from_sklearn.convert(make_pipeline(FunctionTransformer(np.log1p), logistic()).fit(X, Y)).onnx


def test_a_name_of_serval_s_own_process_is_not_taken_for_the_user_s() -> None:
    content = b"\x80\x04c__main__\nmain\n."
    sys.modules["__main__"].main = None  # type: ignore[attr-defined]
    try:
        assert "`main`, which is defined in the script or notebook" in refusal(content)
    finally:
        del sys.modules["__main__"].main  # type: ignore[attr-defined]


def test_what_another_module_defined_is_named_with_the_module(pickled: Pickled) -> None:
    assert "the Python module `churn_features`, which Serval does not have" in refusal(
        pickled("churn_features", of_a_class)
    )


def scorer_of_a_search() -> Any:
    return GridSearchCV(logistic(), {"C": [0.1, 1.0]}, scoring=scored, cv=2).fit(X, Y)


def scorers_of_a_search() -> Any:
    scoring = {"own": scored, "accuracy": "accuracy"}
    return GridSearchCV(logistic(), {"C": [0.1, 1.0]}, scoring=scoring, refit="own", cv=2).fit(X, Y)


def scorer_of_a_random_search() -> Any:
    search = RandomizedSearchCV(logistic(), {"C": [0.1, 1.0]}, n_iter=1, scoring=scored, cv=2, random_state=0)
    return search.fit(X, Y)


def scorer_of_a_search_in_a_pipeline() -> Any:
    return make_pipeline(FunctionTransformer(), scorer_of_a_search()).fit(X, Y)


@pytest.mark.parametrize(
    "build",
    [scorer_of_a_search, scorers_of_a_search, scorer_of_a_random_search, scorer_of_a_search_in_a_pipeline],
    ids=lambda build: build.__name__,
)
def test_a_scorer_of_a_notebook_is_left_out_with_the_search(build: Callable[[], Any], pickled: Pickled) -> None:
    found = refusal(pickled("__main__", build))
    assert "`scored`" in found
    assert "joblib.dump(search.best_estimator_, path)" in found
    assert "transformers" not in found
    search = build()
    search = search[-1] if hasattr(search, "steps") else search
    assert from_sklearn.convert(load(pickle.dumps(search.best_estimator_)).content).onnx


@pytest.mark.parametrize(
    ("module", "library"),
    [
        ("xgboost.sklearn", "XGBoost"),
        ("lightgbm.sklearn", "LightGBM"),
        ("catboost.core", "CatBoost"),
        ("torch.nn.modules.linear", "PyTorch"),
    ],
)
def test_models_of_other_libraries_are_named_and_not_to_be_rebuilt(module: str, library: str, pickled: Pickled) -> None:
    found = refusal(b"\x80\x04c" + module.encode() + b"\nModel\n.")
    assert f"a model of {library} (`{module}.Model`)" in found
    assert "scikit-learn alone" in found
    assert "estimators" not in found


@pytest.mark.parametrize("content", [b"tree\nversion=v4\n", b"{L\x00\x00\x00", b"CBM1" + bytes(8)])
def test_files_of_other_libraries_are_not_to_be_saved_otherwise(content: bytes) -> None:
    found = refusal(content)
    assert "Serval serves the models of scikit-learn alone" in found
    assert "joblib.dump" not in found


def test_what_scikit_learn_removed_is_named_with_both_versions() -> None:
    content = pickle.dumps({"_sklearn_version": "0.22.1"}, protocol=4)[:-1] + b"csklearn.tree.tree\nOldTree\n."
    found = refusal(content)
    assert "saved by scikit-learn 0.22.1" in found
    assert "`sklearn.tree.tree.OldTree`" in found
    assert "fit and save the model again" in found


@pytest.mark.parametrize("is_in_pipeline", [False, True])
@pytest.mark.parametrize("scoring", [None, ["accuracy", "f1_macro"]], ids=["one score", "several"])
def test_a_search_that_kept_no_model_is_refused_with_what_to_fit(is_in_pipeline: bool, scoring: Any) -> None:
    search = GridSearchCV(logistic(), {"C": [0.1, 1.0]}, refit=False, scoring=scoring, cv=2)
    model = make_pipeline(FunctionTransformer(), search) if is_in_pipeline else search
    with pytest.raises(NotAPredictor, match="there is no fitted model in it: search with `refit=True`"):
        predictor_kind(model.fit(X, Y))


def test_fitting_the_best_parameters_as_advised_makes_a_model_that_converts() -> None:
    from sklearn.base import clone

    search = GridSearchCV(logistic(), {"C": [0.1, 1.0]}, refit=False, cv=2).fit(X, Y)
    with pytest.raises(NotAPredictor) as caught:
        predictor_kind(search)
    advised = caught.value.message.partition("or save `")[2].rstrip("`.")
    assert from_sklearn.convert(eval(advised, {"clone": clone, "search": search, "X": X, "y": Y})).onnx
