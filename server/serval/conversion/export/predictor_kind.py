"""Whether a fitted object is a classifier or a regressor, and what it is otherwise."""

from typing import Any, Literal

from serval.errors import NotAPredictor


def predictor_kind(estimator: Any) -> Literal["classifier", "regressor"]:
    """Raises NotAPredictor for any object but a fitted classifier or regressor."""
    from sklearn.base import BaseEstimator, is_classifier, is_clusterer, is_outlier_detector, is_regressor

    name = type(estimator).__name__
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
