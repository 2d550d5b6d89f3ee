"""Whether a fitted object is a classifier or a regressor, and what it is otherwise."""

from typing import Any, Literal

from serval.errors import NotAPredictor


def predictor_kind(estimator: Any) -> Literal["classifier", "regressor"]:
    """Raises NotAPredictor for any object but a fitted classifier or regressor."""
    from sklearn.base import BaseEstimator, is_classifier, is_clusterer, is_outlier_detector, is_regressor

    name = type(estimator).__name__
    _check_search(estimator)
    if not isinstance(estimator, BaseEstimator) and not hasattr(estimator, "predict"):
        raise NotAPredictor(
            f"The file holds a `{name}`, which is not a scikit-learn predictor: upload a fitted classifier or"
            " regressor."
        )
    if is_classifier(estimator) or is_regressor(estimator):
        _check_fitted(estimator, name)
        return "classifier" if is_classifier(estimator) else "regressor"
    what = (
        "a clusterer"
        if is_clusterer(estimator)
        else "an outlier detector"
        if is_outlier_detector(estimator)
        else "a transformer"
    )
    what = what if hasattr(estimator, "transform") or what != "a transformer" else "no predictor"
    raise NotAPredictor(
        f"`{name}` is {what}; Serval serves classifiers and regressors: put a predictor at the end of the pipeline."
    )


def _check_fitted(estimator: Any, name: str) -> None:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(estimator)
    except (NotFittedError, AttributeError) as error:
        raise NotAPredictor(f"`{name}` is not fitted: call `fit` before saving it.") from error


def _check_search(estimator: Any) -> None:
    """Raises NotAPredictor for a search that kept no model, also at the end of a pipeline."""
    while hasattr(estimator, "steps") and estimator.steps:
        estimator = estimator.steps[-1][1]
    if (
        not hasattr(estimator, "cv_results_")
        or hasattr(estimator, "best_estimator_")
        or not hasattr(estimator, "refit")
    ):
        return
    name = type(estimator).__name__
    way = (
        "`clone(search.estimator).set_params(**search.best_params_).fit(X, y)`"
        if hasattr(estimator, "best_params_")
        else "`search.estimator` with the parameters that you choose, fitted"
    )
    raise NotAPredictor(
        f"`{name}` searched with `refit=False`, so there is no fitted model in it: search with `refit=True`, or save"
        f" {way}."
    )
