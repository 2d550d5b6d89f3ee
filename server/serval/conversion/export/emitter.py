"""Writes the methods of a fitted estimator (`predict`, `transform`, ...) into a graph, through nested estimators."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from serval.conversion.export.features import Features, Table, matrix
from serval.conversion.export.stored_rows import points_of
from serval.conversion.export.tensor import Tensor
from serval.conversion.plain_text import plain
from serval.conversion.refusals import of_steps
from serval.conversion.refusals.places import guarded, placed

Rule = Callable[["Emitter", Any, Any], Any]
Rules = Mapping[type, Rule]


@dataclass(frozen=True)
class Family:
    """The rules of one family of estimators: for each method, which function writes it for which exact class.

    A rule takes the emitter, the fitted estimator and the features `[rows, columns]`: in float64, or unchanged for the
    classes in `tables`. Classifiers predict int64 indices into their `classes_`; everything else has the shape that
    scikit-learn returns, but for probabilities of several targets: these are the tables of all targets, side by side.
    """

    predict: Rules = field(default_factory=dict)
    predict_proba: Rules = field(default_factory=dict)
    decision_function: Rules = field(default_factory=dict)
    transform: Rules = field(default_factory=dict)
    inverse_transform: Rules = field(default_factory=dict)
    tables: frozenset[type] = frozenset()


MAX_DEPTH = 40
TEXT = {"CountVectorizer", "HashingVectorizer", "TfidfVectorizer"}


class Emitter:
    """Looks up the rule of an estimator's exact class: a subclass may compute anything, so it has no rule.

    `has_narrow_trees`: whether trees compare and add up in float32. `columns`: the names of the model's columns, for
    refusals.
    """

    def __init__(
        self, families: Sequence[Family], columns: Sequence[str] = (), *, has_narrow_trees: bool = False
    ) -> None:
        self.families = families
        self.columns = columns
        self.has_narrow_trees = has_narrow_trees
        self._emitted: dict[Hashable, tuple[Any, Features]] = {}
        self._shared: dict[Hashable, tuple[Any, Any]] = {}
        self._depth = 0

    def predict(self, model: Any, x: Features) -> Tensor:
        return self._answer("predict", model, x)

    def predict_proba(self, model: Any, x: Features) -> Tensor:
        return self._answer("predict_proba", model, x)

    def decision_function(self, model: Any, x: Features) -> Tensor:
        return self._answer("decision_function", model, x)

    def transform(self, model: Any, x: Features) -> Features:
        return self._emit("transform", model, x)

    def inverse_transform(self, model: Any, x: Tensor) -> Tensor:
        return self._answer("inverse_transform", model, x)

    def respond(self, model: Any, x: Features, methods: tuple[str, ...]) -> tuple[Tensor, str]:
        """The result of the first of these methods that the estimator has, and its name."""
        method = next(name for name in methods if hasattr(model, name))
        return self._answer(method, model, x), method

    def once(self, what: str, model: Any, x: Features, write: Callable[[], Any]) -> Any:
        """What `write` returns, which several methods of an estimator need; written once for the same features."""
        key = (what, id(model), _identity(x))
        if key not in self._shared:
            self._shared[key] = (model, write())
        return self._shared[key][1]

    def _answer(self, method: str, model: Any, x: Features) -> Tensor:
        return matrix(self._emit(method, model, x))

    def _emit(self, method: str, model: Any, x: Features) -> Features:
        """What the method returns; written once for the same features. The outermost call raises NotConvertible, with
        the place of what is refused; those inside it raise Refused."""
        key = (method, id(model), _identity(x))
        if key not in self._emitted:
            with nullcontext() if self._depth else placed(model):
                self._emitted[key] = (model, self._from_rule(method, model, x))
        return self._emitted[key][1]

    def _from_rule(self, method: str, model: Any, x: Features) -> Features:
        for family in self.families:
            rule = getattr(family, method).get(type(model))
            if rule is not None:
                return self._apply(rule, model, x if type(model) in family.tables else self._numbers(model, x))
        if type(model).__name__ in TEXT:
            raise of_steps.SPLITS_TEXT.of(model)
        raise of_steps.NO_RULE.of(model, method=method)

    def _apply(self, rule: Rule, model: Any, x: Features) -> Features:
        if self._depth >= MAX_DEPTH:
            raise of_steps.TOO_DEEP.of(model, depth=MAX_DEPTH)
        self._depth += 1
        try:
            with guarded(model):
                if isinstance(x, Tensor) and x.dtype != "string":
                    for point in points_of(model, len(x.origins)):
                        x.note(point)
                features: Features = rule(self, model, x)
            return features
        finally:
            self._depth -= 1

    def _numbers(self, model: Any, x: Features) -> Tensor:
        """The features as one matrix. Raises Refused if one of them is a string column."""
        origins = [column.origin for column in x.columns if column.is_string] if isinstance(x, Table) else x.origins
        if x.has_strings if isinstance(x, Table) else x.dtype == "string":
            name = next((self.columns[origin.column] for origin in origins if origin and self.columns), None)
            column = "text" if name is None else f"the string column `{plain(name, 100)}`"
            raise of_steps.STRING_COLUMN.of(model, column=column)
        return matrix(x)


def _identity(x: Features) -> Hashable:
    return x.name if isinstance(x, Tensor) else tuple(column.identity for column in x.columns)
