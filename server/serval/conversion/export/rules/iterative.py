"""The imputer that predicts each missing value from the other columns, round after round."""

from typing import Any

import numpy as np
from sklearn.impute._iterative import IterativeImputer

from serval.conversion.export.emitter import Emitter, Family
from serval.conversion.export.features import Features, matrix
from serval.conversion.export.rules.imputing import indicated, is_missing
from serval.conversion.export.tensor import Tensor, concat
from serval.conversion.refusals import of_steps


def iterated(emit: Emitter, model: Any, x: Tensor) -> Features:
    """Source: `IterativeImputer.transform`, for a row among others: a table of nothing but missing values is a special
    case there."""
    if model.sample_posterior:
        raise of_steps.RANDOM_FILLS.of(model)
    filled = matrix(emit.transform(model.initial_imputer_, x))
    is_empty = np.asarray(model._is_empty_feature, dtype=bool)
    kept = np.arange(len(is_empty)) if model.keep_empty_features else np.flatnonzero(~is_empty)
    is_absent = is_missing(model, x.columns(kept))
    for step in model.imputation_sequence_ if model.n_iter_ else ():
        if not is_empty[kept[step.feat_idx]]:
            is_column = np.arange(len(kept)) == step.feat_idx
            value = emit.predict(step.estimator, filled.columns(step.neighbor_feat_idx)).as_column()
            limits = float(model._min_value[step.feat_idx]), float(model._max_value[step.feat_idx])
            filled = (is_absent & is_absent.constant(is_column)).choose(value.clip(*limits), filled)
    has_indicators = model.add_indicator and len(model.indicator_.features_)
    return concat([filled, indicated(emit, model.indicator_, x)]) if has_indicators else filled


FAMILY = Family(transform={IterativeImputer: iterated})
