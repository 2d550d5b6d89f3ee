"""Transformers of numbers: scalers, powers, quantiles, bins and selections, in float64."""

from typing import Any

import numpy as np
from sklearn import feature_selection, preprocessing

from serval.conversion.export.emitter import Emitter, Family
from serval.conversion.export.features import Features, matrix, select
from serval.conversion.export.rules.elementary import expm1, log1p
from serval.conversion.export.rules.quantiles import quantile, quantile_back
from serval.conversion.export.rules.snapping import rounding_of
from serval.conversion.export.tensor import Tensor, concat, floats, stack

# Scalers


def standard(_: Emitter, model: Any, x: Tensor) -> Tensor:
    centred = x - floats(model.mean_) if model.with_mean else x
    return centred / floats(model.scale_) if model.with_std else centred


def standard_back(_: Emitter, model: Any, x: Tensor) -> Tensor:
    scaled = x * floats(model.scale_) if model.with_std else x
    return scaled + floats(model.mean_) if model.with_mean else scaled


def robust(_: Emitter, model: Any, x: Tensor) -> Tensor:
    centred = x - floats(model.center_) if model.with_centering else x
    return centred / floats(model.scale_) if model.with_scaling else centred


def robust_back(_: Emitter, model: Any, x: Tensor) -> Tensor:
    scaled = x * floats(model.scale_) if model.with_scaling else x
    return scaled + floats(model.center_) if model.with_centering else scaled


def largest(_: Emitter, model: Any, x: Tensor) -> Tensor:
    scaled = x / floats(model.scale_)
    return scaled.clip(-1.0, 1.0) if model.clip else scaled


def largest_back(_: Emitter, model: Any, x: Tensor) -> Tensor:
    return x * floats(model.scale_)


def ranged(_: Emitter, model: Any, x: Tensor) -> Tensor:
    scaled = x * floats(model.scale_) + floats(model.min_)
    return scaled.clip(*map(float, model.feature_range)) if model.clip else scaled


def ranged_back(_: Emitter, model: Any, x: Tensor) -> Tensor:
    return (x - floats(model.min_)) / floats(model.scale_)


NOTHING = 10 * float(np.finfo(np.float64).eps)
"""A shorter row keeps its length. Source: `_handle_zeros_in_scale`."""


def unit_length(_: Emitter, model: Any, x: Tensor) -> Tensor:
    if model.norm == "l2":
        length = x.square().row_sums(model.n_features_in_).sqrt()
    else:
        length = x.abs().row_sums(model.n_features_in_) if model.norm == "l1" else x.abs().max(keep=True)
    return x / (length < NOTHING).choose(1.0, length)


def binary(_: Emitter, model: Any, x: Tensor) -> Tensor:
    return (x > float(model.threshold)).cast("float64")


# Powers


def power(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    one = box_cox if model.method == "box-cox" else yeo_johnson
    raised = stack(one(x.column(i), float(value)) for i, value in enumerate(model.lambdas_))
    return matrix(emit.transform(model._scaler, raised)) if model.standardize else raised


def box_cox(x: Tensor, exponent: float) -> Tensor:
    return x.log() if exponent == 0 else expm1(x.log() * exponent) / exponent


def yeo_johnson(x: Tensor, exponent: float) -> Tensor:
    """Source: `scipy.stats.yeojohnson`."""
    high, low = log1p(x.maximum(0.0)), log1p(-x.minimum(0.0))
    above = high if abs(exponent) < np.spacing(1.0) else expm1(high * exponent) / exponent
    rest = 2.0 - exponent
    below = -low if abs(rest) <= np.spacing(1.0) else -(expm1(low * rest) / rest)
    return x.is_nan().choose(x, (x >= 0.0).choose(above, below))


def power_back(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    plain = emit.inverse_transform(model._scaler, x) if model.standardize else x
    one = box_cox_back if model.method == "box-cox" else yeo_johnson_back
    return stack(one(plain.column(i), float(value)) for i, value in enumerate(model.lambdas_))


def box_cox_back(x: Tensor, exponent: float) -> Tensor:
    return x.exp() if exponent == 0 else (x * exponent + 1.0) ** (1.0 / exponent)


def yeo_johnson_back(x: Tensor, exponent: float) -> Tensor:
    high, low, rest = x.maximum(0.0), x.minimum(0.0), 2.0 - exponent
    above = high.exp() - 1.0 if abs(exponent) < np.spacing(1.0) else (high * exponent + 1.0) ** (1.0 / exponent) - 1.0
    below = 1.0 - (-low).exp() if abs(rest) <= np.spacing(1.0) else 1.0 - (low * -rest + 1.0) ** (1.0 / rest)
    return (x >= 0.0).choose(above, below)


# Bins, polynomials, selections


def binned(emit: Emitter, model: Any, x: Tensor) -> Any:
    parts = [
        x.columns([i]) >= edges[1:-1] - rounding_of(x.columns([i]), edges) if len(edges) > 2 else None
        for i, edges in enumerate(model.bin_edges_)
    ]
    ordinals = stack(
        (x.column(i) * 0.0 if part is None else part.count().cast("float64")) for i, part in enumerate(parts)
    )
    return ordinals if model.encode == "ordinal" else emit.transform(model._encoder, ordinals)


def polynomial(_: Emitter, model: Any, x: Tensor) -> Tensor:
    """Each column is a product of up to `degree` of the features; a factor of one stands for what is missing."""
    width = model.n_features_in_
    factors = [[index for index, times in enumerate(powers) for _ in range(times)] for powers in model.powers_.tolist()]
    longest = max(map(len, factors))
    extended = concat([x, x.full([1.0])])
    padded = np.array([factor + [width] * (longest - len(factor)) for factor in factors], dtype=np.int64)
    out = extended.columns(padded[:, 0])
    for position in range(1, longest):
        out = out * extended.columns(padded[:, position])
    return out


def chosen(_: Emitter, model: Any, x: Features) -> Features:
    return select(x, np.flatnonzero(model.get_support()).tolist())


SELECTIONS = (
    feature_selection.GenericUnivariateSelect,
    feature_selection.RFE,
    feature_selection.RFECV,
    feature_selection.SelectFdr,
    feature_selection.SelectFpr,
    feature_selection.SelectFromModel,
    feature_selection.SelectFwe,
    feature_selection.SelectKBest,
    feature_selection.SelectPercentile,
    feature_selection.SequentialFeatureSelector,
    feature_selection.VarianceThreshold,
)

FAMILY = Family(
    transform={
        preprocessing.StandardScaler: standard,
        preprocessing.RobustScaler: robust,
        preprocessing.MaxAbsScaler: largest,
        preprocessing.MinMaxScaler: ranged,
        preprocessing.Normalizer: unit_length,
        preprocessing.Binarizer: binary,
        preprocessing.PowerTransformer: power,
        preprocessing.QuantileTransformer: quantile,
        preprocessing.KBinsDiscretizer: binned,
        preprocessing.PolynomialFeatures: polynomial,
        **dict.fromkeys(SELECTIONS, chosen),
    },
    inverse_transform={
        preprocessing.StandardScaler: standard_back,
        preprocessing.RobustScaler: robust_back,
        preprocessing.MaxAbsScaler: largest_back,
        preprocessing.MinMaxScaler: ranged_back,
        preprocessing.PowerTransformer: power_back,
        preprocessing.QuantileTransformer: quantile_back,
    },
    tables=frozenset(SELECTIONS),
)
