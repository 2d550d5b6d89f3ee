"""Multilayer perceptrons."""

from typing import Any

import numpy as np
from sklearn import neural_network

from serval.conversion.export.emitter import Emitter, Family
from serval.conversion.export.rules.linear import two
from serval.conversion.export.rules.member_classes import side_by_side
from serval.conversion.export.tensor import Tensor

ACTIVATIONS = {
    "identity": lambda x: x,
    "relu": lambda x: x.maximum(0.0),
    "tanh": lambda x: x.tanh(),
    "logistic": lambda x: x.sigmoid(),
    "softmax": lambda x: x.softmax(),
}


def network(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    """`[rows, outputs]`"""
    outputs: Tensor = emit.once("outputs", model, x, lambda: forward(model, x))
    return outputs


def forward(model: Any, x: Tensor) -> Tensor:
    values = x
    for depth, (weights, biases) in enumerate(zip(model.coefs_, model.intercepts_, strict=True), start=1):
        name = model.activation if depth < len(model.coefs_) else model.out_activation_
        values = ACTIVATIONS[name](
            values @ np.asarray(weights, dtype=np.float64) + np.asarray(biases, dtype=np.float64)
        )
    return values


def network_values(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    values = network(emit, model, x)
    return values.ravel() if model.n_outputs_ == 1 else values


def network_proba(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    values = network(emit, model, x)
    if model.n_outputs_ == 1:
        return two(values.ravel())
    return side_by_side(values) if is_multilabel(model) else values


def is_multilabel(model: Any) -> bool:
    return str(model._label_binarizer.y_type_).startswith("multilabel")


def network_labels(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    values = network(emit, model, x)
    if model.n_outputs_ == 1 or is_multilabel(model):
        chosen = (values > 0.5).cast("int64")
        return chosen.ravel() if model.n_outputs_ == 1 else chosen
    return values.argmax()


FAMILY = Family(
    predict={neural_network.MLPClassifier: network_labels, neural_network.MLPRegressor: network_values},
    predict_proba={neural_network.MLPClassifier: network_proba},
)
