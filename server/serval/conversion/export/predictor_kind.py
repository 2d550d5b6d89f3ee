"""Whether a fitted object is a classifier or a regressor, and what it is otherwise."""

from typing import Any, Literal

from serval.conversion.plain_text import plain
from serval.conversion.refusals import of_models
from serval.conversion.refusals.places import described


def predictor_kind(estimator: Any) -> Literal["classifier", "regressor"]:
    """Raises NotAPredictor for any object but a fitted classifier or regressor."""
    from sklearn.base import BaseEstimator, is_classifier, is_clusterer, is_outlier_detector, is_regressor

    name = plain(type(estimator).__name__, 100)
    _check_search(estimator)
    if not isinstance(estimator, BaseEstimator) and not hasattr(estimator, "predict"):
        raise of_models.NO_SKLEARN_PREDICTOR(type=name)
    if is_classifier(estimator) or is_regressor(estimator):
        _check_fitted(estimator)
        return "classifier" if is_classifier(estimator) else "regressor"
    what = (
        "a clusterer"
        if is_clusterer(estimator)
        else "an outlier detector"
        if is_outlier_detector(estimator)
        else "a transformer"
    )
    what = what if hasattr(estimator, "transform") or what != "a transformer" else "no predictor"
    raise of_models.OTHER_ESTIMATOR(type=name, what=what)


def _check_fitted(estimator: Any) -> None:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    steps = [step for _, step in getattr(estimator, "steps", []) if step is not None and not isinstance(step, str)]
    unfitted = estimator
    try:
        check_is_fitted(estimator)
        for unfitted in steps:
            check_is_fitted(unfitted)
    except (NotFittedError, AttributeError) as error:
        raise of_models.NOT_FITTED(estimator=described(estimator, unfitted)) from error


def _check_search(estimator: Any) -> None:
    """Raises NotAPredictor for a search that kept no model, also at the end of a pipeline."""
    whole = estimator
    while hasattr(estimator, "steps") and estimator.steps:
        estimator = estimator.steps[-1][1]
    if (
        not hasattr(estimator, "cv_results_")
        or hasattr(estimator, "best_estimator_")
        or not hasattr(estimator, "refit")
    ):
        return
    way = (
        "`clone(search.estimator).set_params(**search.best_params_).fit(X, y)`"
        if hasattr(estimator, "best_params_")
        else "`search.estimator` with the parameters that you choose, fitted"
    )
    raise of_models.SEARCH_WITHOUT_MODEL(estimator=described(whole, estimator), way=way)
