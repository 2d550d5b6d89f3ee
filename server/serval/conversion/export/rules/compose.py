"""Pipelines, feature unions and column transformers."""

from typing import Any

from sklearn import compose, frozen, pipeline

from serval.conversion.export.descents import after, of_inputs
from serval.conversion.export.emitter import Emitter, Family
from serval.conversion.export.features import Features, join, matrix, select
from serval.conversion.export.tensor import Tensor


def transformed(emit: Emitter, step: Any, x: Features) -> Features:
    return x if step is None or isinstance(step, str) else emit.transform(step, x)


def before_last(emit: Emitter, model: Any, x: Features) -> Features:
    for _, step in model.steps[:-1]:
        x = transformed(emit, step, x)
    return x


def last_step(method: str) -> Any:
    """The rule of a pipeline: its transformers, then this method of its last step."""

    def emitted(emit: Emitter, model: Any, x: Features) -> Any:
        return getattr(emit, method)(model.steps[-1][1], before_last(emit, model, x))

    return emitted


def pipeline_transform(emit: Emitter, model: Any, x: Features) -> Features:
    return transformed(emit, model.steps[-1][1], before_last(emit, model, x))


def pipeline_inverse(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    for _, step in reversed(model.steps):
        x = x if step is None or isinstance(step, str) else emit.inverse_transform(step, x)
    return x


def weighted(part: Features, weights: Any, name: str) -> Features:
    return matrix(part) * float(weights[name]) if weights and name in weights else part


def column_transformer(emit: Emitter, model: Any, x: Features) -> Features:
    parts: list[tuple[Features, int]] = []
    for name, step, _ in model.transformers_:
        columns = list(model._transformer_to_input_indices[name])
        if not columns or (isinstance(step, str) and step == "drop"):
            continue
        part = weighted(transformed(emit, step, select(x, columns)), model.transformer_weights, name)
        where = model.output_indices_[name]
        parts.append((part, where.stop - where.start))
    return join(parts)


def feature_union(emit: Emitter, model: Any, x: Features) -> Features:
    parts: list[tuple[Features, int]] = []
    width = next((step.n_features_in_ for _, step in model.transformer_list if hasattr(step, "n_features_in_")), 0)
    inputs = of_inputs(width)
    for name, step in model.transformer_list:
        if not (isinstance(step, str) and step == "drop"):
            part = weighted(transformed(emit, step, x), model.transformer_weights, name)
            parts.append((part, len(after(step, inputs))))
    return join(parts)


def frozen_one(method: str) -> Any:
    def emitted(emit: Emitter, model: Any, x: Features) -> Any:
        return getattr(emit, method)(model.estimator, x)

    return emitted


METHODS = ("predict", "predict_proba", "decision_function")

FAMILY = Family(
    **{
        method: {pipeline.Pipeline: last_step(method), frozen.FrozenEstimator: frozen_one(method)} for method in METHODS
    },
    transform={
        pipeline.Pipeline: pipeline_transform,
        pipeline.FeatureUnion: feature_union,
        compose.ColumnTransformer: column_transformer,
        frozen.FrozenEstimator: frozen_one("transform"),
    },
    inverse_transform={pipeline.Pipeline: pipeline_inverse},
    tables=frozenset({pipeline.Pipeline, pipeline.FeatureUnion, compose.ColumnTransformer, frozen.FrozenEstimator}),
)
