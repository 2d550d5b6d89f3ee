"""Estimators that hand everything to one other: searches, eliminations, self-training, transformed targets."""

from typing import Any

import numpy as np
from sklearn import compose, feature_selection, model_selection, semi_supervised
from sklearn.model_selection._search_successive_halving import HalvingGridSearchCV, HalvingRandomSearchCV

from serval.conversion.export.emitter import Emitter, Family
from serval.conversion.export.features import Features
from serval.conversion.export.tensor import Tensor


def member(name: str, method: str) -> Any:
    """The rule of an estimator that hands a method to the member in this attribute."""

    def emitted(emit: Emitter, model: Any, x: Features) -> Any:
        return getattr(emit, method)(getattr(model, name, None) or model.estimator, x)

    return emitted


def selected(method: str) -> Any:
    """The rule of an estimator that hands a method to its member, with the selected columns alone."""

    def emitted(emit: Emitter, model: Any, x: Tensor) -> Any:
        return getattr(emit, method)(model.estimator_, x.columns(np.flatnonzero(model.support_)))

    return emitted


def transformed_target(emit: Emitter, model: Any, x: Features) -> Tensor:
    raw = emit.predict(model.regressor_, x)
    back = emit.inverse_transform(
        model.transformer_, raw.reshape(0, -1) if model._training_dim > 1 else raw.as_column()
    )
    return back.ravel() if model._training_dim == 1 else back


SEARCHES = (
    model_selection.GridSearchCV,
    model_selection.RandomizedSearchCV,
    HalvingGridSearchCV,
    HalvingRandomSearchCV,
)
ELIMINATIONS = (feature_selection.RFE, feature_selection.RFECV)


def handed(method: str) -> dict[type, Any]:
    return {
        semi_supervised.SelfTrainingClassifier: member("estimator_", method),
        **dict.fromkeys(SEARCHES, member("best_estimator_", method)),
        **dict.fromkeys(ELIMINATIONS, selected(method)),
    }


FAMILY = Family(
    predict={compose.TransformedTargetRegressor: transformed_target, **handed("predict")},
    predict_proba=handed("predict_proba"),
    decision_function=handed("decision_function"),
    transform=dict.fromkeys(SEARCHES, member("best_estimator_", "transform")),
    inverse_transform=dict.fromkeys(SEARCHES, member("best_estimator_", "inverse_transform")),
    tables=frozenset({semi_supervised.SelfTrainingClassifier, compose.TransformedTargetRegressor, *SEARCHES}),
)
