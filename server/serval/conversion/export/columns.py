"""What a fitted estimator takes and gives: read from its parts, then tried out on it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
import numpy as np

from serval.conversion import samples
from serval.conversion.export.emitter import TEXT, refuse_text
from serval.conversion.export.original import answer, ask, inputs
from serval.conversion.export.rules.encoding import NEVER_SEEN, is_missing
from serval.conversion.export.stored_rows import points_of
from serval.conversion.plain_text import is_plain
from serval.conversion.rows import Rows
from serval.conversion.signature import MISSING_STRING, Column, Label, Signature
from serval.errors import NotAPredictor, NotConvertible

MAX_COLUMNS = 10_000
MAX_LABELS = 10_000
MAX_NAME = 200
LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
IMPUTERS = {"SimpleImputer", "KNNImputer", "IterativeImputer"}
KEEPERS = {
    "StandardScaler",
    "MinMaxScaler",
    "MaxAbsScaler",
    "RobustScaler",
    "SimpleImputer",
    "PowerTransformer",
    "QuantileTransformer",
}


@dataclass
class Facts:
    """What the parts of an estimator say of one input column."""

    known: list[Any] = field(default_factory=list)
    """Categories that an encoder was fitted with."""
    dtype: str | None = None
    is_text: bool = False
    marker: Literal["nan", "none"] | None = None


def infer(
    estimator: Any, column_names: Sequence[str] | None, given: samples.Sample, *, is_text: bool
) -> tuple[Signature, list[Facts], Rows | None]:
    """The signature of a fitted predictor, what its parts know of each column, and the sample's rows.

    `column_names`: names given with the upload, for a model without its own. Raises NotAPredictor, NotConvertible,
    InvalidFeatures.
    """
    kind = predictor_kind(estimator)
    names, has_names = _names(estimator, column_names, given)
    sample = samples.by_position(given, names)
    sample = samples.guessed(sample) if is_text else sample
    facts = [Facts() for _ in names]
    observe(estimator, list(range(len(names))), facts)
    columns = tuple(
        _column(name, fact, [row[index] for row in sample])
        for index, (name, fact) in enumerate(zip(names, facts, strict=True))
    )
    signature = Signature(
        kind=kind, columns=columns, has_names=has_names, labels=(), targets=1, is_multi_target=False,
        has_probabilities=False, numbers_dtype="float64", scores_dtype="float64",
    )  # fmt: skip
    cells = samples.fitting(given, columns, is_text=is_text)
    base, signature = _with_outputs(estimator, signature, base_rows(estimator, signature, facts, cells))
    return _with_limits(estimator, signature, facts, base), facts, samples.rows_of(signature, cells) if cells else None


def predictor_kind(estimator: Any) -> Literal["classifier", "regressor"]:
    """Raises NotAPredictor for whatever is not a fitted classifier or regressor."""
    from sklearn.base import BaseEstimator, is_classifier, is_clusterer, is_outlier_detector, is_regressor

    name = type(estimator).__name__
    if not isinstance(estimator, BaseEstimator) and not hasattr(estimator, "predict"):
        raise NotAPredictor(
            f"The file holds a `{name}`, which is not a scikit-learn predictor: upload a fitted classifier or regressor."
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


def _names(estimator: Any, given: Sequence[str] | None, sample: samples.Sample) -> tuple[list[str], bool]:
    own = getattr(estimator, "feature_names_in_", None)
    count = _count(estimator, own, given, sample)
    if count > MAX_COLUMNS:
        raise NotConvertible(f"The model takes {count} columns; Serval serves up to {MAX_COLUMNS}.")
    if own is not None:
        return _checked([str(name) for name in own]), True
    if given is None:
        return [f"x{index}" for index in range(count)], False
    if len(given) != count:
        raise NotConvertible(f"`columns` names {len(given)} columns, but the model takes {count}.")
    return _checked(list(given)), True


def _count(estimator: Any, own: Any, given: Sequence[str] | None, sample: samples.Sample) -> int:
    if own is not None:
        return len(own)
    count = getattr(estimator, "n_features_in_", None)
    if count is not None:
        return int(count)
    if given:
        return len(given)
    if sample:
        return len(sample[0])
    if type(estimator).__name__ == "IsotonicRegression":
        return 1
    first = estimator.steps[0][1] if hasattr(estimator, "steps") else estimator
    if type(first).__name__ in TEXT:
        raise refuse_text(first)
    raise NotConvertible(
        f"`{type(estimator).__name__}` does not say how many columns it takes: send a `sample` of its rows with the upload."
    )


def _checked(names: list[str]) -> list[str]:
    for name in names:
        if len(name) > MAX_NAME or not is_plain(name):
            raise NotConvertible(
                f"A column's name is longer than {MAX_NAME} characters or holds control characters: rename it and fit again."
            )
    if len(set(names)) != len(names):
        raise NotConvertible("Two columns have the same name: rename one and fit again.")
    return names


def observe(step: Any, places: list[int | None], facts: list[Facts]) -> list[int | None]:
    """Note what a step knows of the input columns at `places`; say which input columns its outputs still are."""
    kind = type(step).__name__
    if step is None or isinstance(step, str):
        return places if step is None or step == "passthrough" else []
    if hasattr(step, "steps"):
        for _, inner in step.steps:
            places = observe(inner, places, facts)
        return places
    if kind == "ColumnTransformer":
        return _observe_columns(step, places, facts)
    if kind == "FeatureUnion":
        return [place for _, inner in step.transformer_list for place in observe(inner, places, facts)]
    if hasattr(step, "categories_"):
        _observe_categories(step.categories_, places, facts)
        return [None]
    if hasattr(step, "n_categories_") and hasattr(step, "category_count_"):
        _observe_categories([np.arange(count) for count in step.n_categories_], places, facts)
    if kind in TEXT:
        for place in places:
            _mark_text(place, facts)
        return [None]
    if kind in IMPUTERS:
        _observe_imputer(step, places, facts)
    if kind in KEEPERS or (kind == "FunctionTransformer" and step.func is None):
        return places
    for inner in _inner(step):
        observe(inner, places, facts)
    return [None]


def _mark_text(place: int | None, facts: list[Facts]) -> None:
    if place is not None:
        facts[place].is_text = True


def _observe_columns(step: Any, places: list[int | None], facts: list[Facts]) -> list[int | None]:
    out: list[int | None] = []
    for name, inner, _ in step.transformers_:
        columns = step._transformer_to_input_indices[name]
        out += observe(inner, [places[column] if column < len(places) else None for column in columns], facts)
    return out


def _inner(step: Any) -> list[Any]:
    """The fitted estimators that see the same columns as the estimator that holds them."""
    found = [
        getattr(step, name)
        for name in ("best_estimator_", "regressor_", "estimator_", "_preprocessor")
        if hasattr(step, name)
    ]
    calibrated = [part.estimator for part in getattr(step, "calibrated_classifiers_", [])]
    several = (
        np.asarray(getattr(step, "estimators_", []), dtype=object).ravel().tolist()
        if not hasattr(step, "tree_")
        else []
    )
    return [
        inner for inner in [*found, *calibrated, *several[:50]] if inner is not None and not hasattr(inner, "tree_")
    ]


def _observe_categories(categories: list[Any], places: list[int | None], facts: list[Facts]) -> None:
    for place, values in zip(places, categories, strict=False):
        if place is not None:
            facts[place].known += [value for value in values.tolist() if not is_missing(value)]
            facts[place].dtype = str(values.dtype)
            _note_marker(facts[place], values.tolist())


def _observe_imputer(step: Any, places: list[int | None], facts: list[Facts]) -> None:
    for place, value in zip(places, getattr(step, "statistics_", []), strict=False):
        if place is not None:
            facts[place].is_text |= isinstance(value, str)
            facts[place].marker = "none" if step.missing_values is None else facts[place].marker


def _note_marker(fact: Facts, values: list[Any]) -> None:
    if any(value is None for value in values) and not any(
        isinstance(value, float) and is_missing(value) for value in values
    ):
        fact.marker = "none"


def _column(name: str, fact: Facts, cells: list[Any]) -> Column:
    present = [cell for cell in cells if cell is not None]
    if fact.is_text or any(isinstance(value, str) for value in [*fact.known, *present]):
        return Column(name=name, kind="string", dtype="object")
    values = fact.known or present
    if values and all(isinstance(value, bool) for value in values):
        return Column(name=name, kind="boolean", dtype="bool")
    return Column(name=name, kind="number", dtype=fact.dtype if fact.dtype and fact.dtype != "object" else "float64")


def base_rows(estimator: Any, signature: Signature, facts: list[Facts], sample: list[list[samples.Cell]]) -> list[Rows]:
    """Rows of which the model should take one: the sample's first, or known categories with zeros, ones or numbers that
    the model keeps."""
    if sample:
        return [samples.rows_of(signature, [_filled(sample[0], signature, facts)])]
    count = len(facts)
    plain = [[0.0] * count, [1.0] * count, *(point.tolist() for point in kept_points(estimator, count))]
    return [
        samples.rows_of(
            signature,
            [
                _filled(
                    [None if fact.known else value for fact, value in zip(facts, row, strict=True)], signature, facts
                )
            ],
        )
        for row in plain
    ]


def _filled(row: list[Any], signature: Signature, facts: list[Facts]) -> list[Any]:
    """Known categories and zeros in place of what is missing."""
    return [
        fact.known[0]
        if cell is None and fact.known
        else "a"
        if column.kind == "string" and not isinstance(cell, str)
        else 0.0
        if cell is None
        else cell
        for cell, fact, column in zip(row, facts, signature.columns, strict=True)
    ]


def kept_points(estimator: Any, width: int) -> list[Any]:
    """Rows that the estimator, or what it is made of, keeps in the space of the input."""
    inner = [step for _, step in getattr(estimator, "steps", []) if not isinstance(step, str)][:1] or _inner(estimator)[
        :3
    ]
    own = list(points_of(estimator, width)[:5])
    if hasattr(estimator, "X_thresholds_") and width == 1:
        own.append(np.asarray(estimator.X_thresholds_[:1], dtype=np.float64))
    return own + [point for part in inner for point in kept_points(part, width)][:5]


def _with_outputs(estimator: Any, signature: Signature, bases: list[Rows]) -> tuple[Rows, Signature]:
    """The first row that the model takes, and the signature with what it answers. Raises NotConvertible."""
    base, predicted = _first_answer(estimator, signature, bases)
    targets, is_multi = (predicted.shape[1], True) if predicted.ndim == 2 else (1, False)
    if signature.kind == "regressor":
        return base, msgspec.structs.replace(signature, targets=targets, is_multi_target=is_multi)
    labels = _labels(estimator, targets, is_multi)
    has_probabilities = not is_multi and _has_probabilities(estimator, signature, base)
    complete = msgspec.structs.replace(
        signature, targets=targets, is_multi_target=is_multi, labels=labels, has_probabilities=has_probabilities
    )
    return base, complete


def _has_probabilities(estimator: Any, signature: Signature, base: Rows) -> bool:
    """Whether `predict_proba` is there and does not refuse to answer, as it may for some arguments."""
    try:
        return (
            hasattr(estimator, "predict_proba")
            and np.ndim(estimator.predict_proba(inputs(estimator, signature, base))) == 2
        )
    except (NotImplementedError, ValueError, TypeError, AttributeError):
        return False


def _first_answer(estimator: Any, signature: Signature, bases: list[Rows]) -> tuple[Rows, Any]:
    first: Exception | None = None
    for base in bases:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return base, np.asarray(estimator.predict(inputs(estimator, signature, base)))
        except (MemoryError, PermissionError):
            raise
        except Exception as error:  # noqa: BLE001  an estimator raises what it likes
            first = first or error
    raise NotConvertible(_refused(estimator, first)) from first


def _refused(estimator: Any, error: Exception | None) -> str:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    return (
        f"`{type(estimator).__name__}` refuses a plain row ({first}): send a `sample` of its rows with the upload, "
        "so that Serval knows what it takes."
    )


def _labels(estimator: Any, targets: int, is_multi: bool) -> tuple[tuple[Label, ...], ...]:
    classes = estimator.classes_
    if not is_multi:
        return (tuple(_label(value) for value in np.asarray(classes).tolist()),)
    if isinstance(classes, list):
        return tuple(tuple(_label(value) for value in np.asarray(part).tolist()) for part in classes)
    return ((0, 1),) * targets


def _label(value: Any) -> Label:
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, str) and len(value) <= MAX_NAME and is_plain(value):
        return value
    raise NotConvertible(
        f"A label of type `{type(value).__name__}` can not be served: "
        f"labels are plain strings of up to {MAX_NAME} characters, numbers or booleans."
    )


def _with_limits(estimator: Any, signature: Signature, facts: list[Facts], base: Rows) -> Signature:
    """Try out on the model itself what each column may hold."""
    columns = _with_missing(estimator, signature, facts, base)
    signature = msgspec.structs.replace(signature, columns=columns)
    columns = tuple(_with_categories(estimator, signature, index, fact, base) for index, fact in enumerate(facts))
    signature = msgspec.structs.replace(signature, columns=columns)
    return msgspec.structs.replace(signature, columns=_with_range(estimator, signature, base))


def _with_range(estimator: Any, signature: Signature, base: Rows) -> tuple[Column, ...]:
    free = [column.kind == "number" and column.categories is None for column in signature.columns]
    places = [place for is_free, (_, place) in zip(free, places_of(signature), strict=True) if is_free]
    if not places:
        return signature.columns
    if type(estimator).__name__ == "IsotonicRegression" and estimator.out_of_bounds == "raise":
        return tuple(
            msgspec.structs.replace(column, minimum=float(estimator.X_min_), maximum=float(estimator.X_max_))
            for column in signature.columns
        )
    is_positive = _takes(estimator, signature, base, places, [1.0]) and not _takes(
        estimator, signature, base, places, [-1.0]
    )
    signs = [1.0] if is_positive else [1.0, -1.0]
    limit = _with_kept(_largest(estimator, signature, base, places, signs), getattr(estimator, "_fit_X", None))
    minimum = _smallest(estimator, signature, base, places) if is_positive else None if limit is None else -limit
    return tuple(
        msgspec.structs.replace(column, minimum=minimum, maximum=limit) if is_free else column
        for column, is_free in zip(signature.columns, free, strict=True)
    )


def _with_kept(limit: float | None, rows: Any) -> float | None:
    """A limit beyond the rows that were fitted: a model that answers only near them refuses what is far from any one of
    them."""
    return limit if limit is None or not isinstance(rows, np.ndarray) else max(limit, float(np.abs(rows).max()))


def _with_missing(estimator: Any, signature: Signature, facts: list[Facts], base: Rows) -> tuple[Column, ...]:
    columns = list(signature.columns)
    for marker in ("nan", "none"):
        tried = [
            msgspec.structs.replace(column, missing=fact.marker or marker)
            for column, fact in zip(columns, facts, strict=True)
        ]
        rows = _each_missing(signature, base)
        accepted = ask(estimator, msgspec.structs.replace(signature, columns=tuple(tried)), rows).is_answered
        for index, is_accepted in enumerate(accepted):
            if is_accepted and columns[index].missing is None:
                columns[index] = tried[index]
    return tuple(columns)


def _each_missing(signature: Signature, base: Rows) -> Rows:
    """The base row once for each column, that column missing."""
    rows = Rows(
        np.repeat(base.numbers, len(signature.columns), axis=0), np.repeat(base.strings, len(signature.columns), axis=0)
    )
    for index, (is_string, place) in enumerate(places_of(signature)):
        if is_string:
            rows.strings[index, place] = MISSING_STRING
        else:
            rows.numbers[index, place] = np.nan
    return rows


def places_of(signature: Signature) -> list[tuple[bool, int]]:
    """For each column: whether it is among the strings, and its place there or among the numbers."""
    out, counts = [], [0, 0]
    for column in signature.columns:
        is_string = column.kind == "string"
        out.append((is_string, counts[is_string]))
        counts[is_string] += 1
    return out


def _with_categories(estimator: Any, signature: Signature, index: int, fact: Facts, base: Rows) -> Column:
    column = signature.columns[index]
    if not fact.known or column.kind == "boolean":
        return column
    is_string, place = places_of(signature)[index]
    row = Rows(base.numbers.copy(), base.strings.copy())
    if is_string:
        row.strings[0, place] = NEVER_SEEN
    else:
        row.numbers[0, place] = float(max(fact.known)) + 1.5
    if ask(estimator, signature, row).is_answered[0]:
        return column
    return msgspec.structs.replace(column, categories=tuple(dict.fromkeys(_label(value) for value in fact.known)))


def _smallest(estimator: Any, signature: Signature, base: Rows, places: list[int]) -> float:
    """Zero, or the next number where a model of positive numbers refuses zero."""
    return 0.0 if _takes(estimator, signature, base, places, [0.0]) else float(np.nextafter(0.0, 1.0))


def _largest(estimator: Any, signature: Signature, base: Rows, places: list[int], signs: list[float]) -> float | None:
    """The largest magnitude that the model takes in every number column, a power of two at most float32's limit; None:
    no limit."""

    def takes(size: float) -> bool:
        return _takes(estimator, signature, base, places, [sign * size for sign in signs])

    if takes(1e300):
        return None
    if takes(LARGEST_FLOAT32):
        return LARGEST_FLOAT32
    low, high = 0, 127
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if takes(2.0**middle) else (low, middle)
    return 2.0**low


def _takes(estimator: Any, signature: Signature, base: Rows, places: list[int], values: list[float]) -> bool:
    """Whether the model takes the base row with each of the values in each of the places."""
    count = len(places) * len(values)
    rows = Rows(np.repeat(base.numbers, count, axis=0), np.repeat(base.strings, count, axis=0))
    rows.numbers[np.arange(count), np.repeat(places, len(values))] = np.tile(values, len(places))
    try:
        answer(estimator, signature, rows)
    except (MemoryError, PermissionError):
        raise
    except Exception:  # noqa: BLE001  an estimator refuses by raising what it likes
        return False
    return True
