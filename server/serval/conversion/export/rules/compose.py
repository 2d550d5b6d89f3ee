"""Pipelines, unions and tables of columns: what goes where."""

from typing import Any

from sklearn import compose, frozen, pipeline

from serval.conversion.export.emitter import Emitter, Family
from serval.conversion.export.features import Features, join, matrix, select
from serval.conversion.export.tensor import Tensor


def passed(emit: Emitter, step: Any, x: Features) -> Features:
    return x if step is None or isinstance(step, str) else emit.transform(step, x)


def before_last(emit: Emitter, model: Any, x: Features) -> Features:
    for _, step in model.steps[:-1]:
        x = passed(emit, step, x)
    return x


def last(verb: str) -> Any:
    """The rule of a pipeline: its transformers, then this verb of its last step."""

    def emitted(emit: Emitter, model: Any, x: Features) -> Any:
        return getattr(emit, verb)(model.steps[-1][1], before_last(emit, model, x))

    return emitted


def through(emit: Emitter, model: Any, x: Features) -> Features:
    return passed(emit, model.steps[-1][1], before_last(emit, model, x))


def back(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    for _, step in reversed(model.steps):
        x = x if step is None or isinstance(step, str) else emit.inverse_transform(step, x)
    return x


def weighted(part: Features, weights: Any, name: str) -> Features:
    return matrix(part) * float(weights[name]) if weights and name in weights else part


def by_columns(emit: Emitter, model: Any, x: Features) -> Features:
    parts: list[tuple[Features, int]] = []
    for name, step, _ in model.transformers_:
        columns = list(model._transformer_to_input_indices[name])
        if not columns or (isinstance(step, str) and step == "drop"):
            continue
        part = weighted(passed(emit, step, select(x, columns)), model.transformer_weights, name)
        where = model.output_indices_[name]
        parts.append((part, where.stop - where.start))
    return join(parts)


def united(emit: Emitter, model: Any, x: Features) -> Features:
    steps = [(name, step) for name, step in model.transformer_list if not (isinstance(step, str) and step == "drop")]
    parts = [weighted(passed(emit, step, x), model.transformer_weights, name) for name, step in steps]
    return join([(part, 0) for part in parts])


def frozen_one(verb: str) -> Any:
    def emitted(emit: Emitter, model: Any, x: Features) -> Any:
        return getattr(emit, verb)(model.estimator, x)

    return emitted


VERBS = ("predict", "predict_proba", "decision_function")

FAMILY = Family(
    **{verb: {pipeline.Pipeline: last(verb), frozen.FrozenEstimator: frozen_one(verb)} for verb in VERBS},
    transform={
        pipeline.Pipeline: through,
        pipeline.FeatureUnion: united,
        compose.ColumnTransformer: by_columns,
        frozen.FrozenEstimator: frozen_one("transform"),
    },
    inverse_transform={pipeline.Pipeline: back},
    tables=frozenset({pipeline.Pipeline, pipeline.FeatureUnion, compose.ColumnTransformer, frozen.FrozenEstimator}),
)
