"""Converts a fitted scikit-learn predictor into an ONNX graph that answers like it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import onnx
from scipy import sparse
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from serval.conversion import samples
from serval.conversion.export import columns
from serval.conversion.export.column_facts import ColumnFacts, observe
from serval.conversion.export.descents import of_inputs
from serval.conversion.export.original import answers_of, fitted_with
from serval.conversion.export.predictors import ExportedModel, export, numbers_dtype
from serval.conversion.export.sparse_targets import read_sparse_targets
from serval.conversion.export.timestamp_columns import cells
from serval.conversion.hints import Hints
from serval.conversion.old_versions.unpickling import estimators_in
from serval.conversion.plain_text import plain
from serval.conversion.refusals import of_models
from serval.conversion.refusals.kind import Refused
from serval.conversion.refusals.places import guarded, placed
from serval.conversion.report import FormTried
from serval.conversion.rows import Answers, Rows, joined
from serval.conversion.signature import Column, Signature
from serval.conversion.verify import jumps, onnxruntime_engine, probing
from serval.conversion.verify.reaching import reaching_rows
from serval.conversion.verify.verify import compare
from serval.errors import ServalError

FORMS = {"float32 trees": True, "float64 trees": False}
STRICTNESS = 0.2
"""A share of the tolerance: the converter leaves room for rows that are not tried."""


MAX_SHOWN = 8


@dataclass(frozen=True)
class Converted:
    onnx: bytes
    signature: Signature
    hints: Hints
    rows: Rows
    """Rows to verify on: at what the model holds, and where its answer changes."""
    form: str
    tried: list[FormTried]


def convert(
    estimator: Any, column_names: Sequence[str] | None = None, sample: samples.Sample = (), *, is_text: bool = False
) -> Converted:
    """The first form that answers like the estimator on rows around everything that it decides by.

    `sample`: rows by position or by name; `is_text`: its cells are text.
    Raises NotAPredictor, NotConvertible, InvalidFeatures.
    """
    with threadpool_limits(1), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        with placed(estimator), guarded(estimator):
            read_sparse_targets(estimator)
            return _convert(estimator, *columns.infer(estimator, column_names, sample, is_text=is_text))


def answered_rows(
    estimator: Any, limit: int, column_names: Sequence[str] | None = None
) -> tuple[Signature, Rows, Answers]:
    """Up to `limit` rows chosen as for a conversion without a sample, and the estimator's answers for them.

    `column_names`: given for a model without its own. Raises NotAPredictor, NotConvertible, InvalidFeatures.
    """
    with threadpool_limits(1), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        with placed(estimator), guarded(estimator):
            signature, facts, _ = columns.infer(estimator, column_names, [], is_text=False)
            hints = probing.hints_of(signature, facts, export(estimator, signature).interesting)
            rows = probing.choose(signature, hints, None).take(slice(0, limit))
            return signature, rows, answers_of(estimator, signature, rows)


def as_fitted(estimator: Any, table: Any) -> Any:
    """A pandas frame whose timestamps are text, with these as the estimator was fitted on them.

    Raises InvalidFeatures for text that is no timestamp.
    """
    names = fitted_with(estimator, "feature_names_in_")
    names = list(table.columns) if names is None else list(names)
    facts = [ColumnFacts() for _ in names]
    observe(estimator, of_inputs(len(names)), facts)
    columns = {
        name: Column(str(name), "timestamp", fact.dtype, missing=fact.marker)
        for name, fact in zip(names, facts, strict=True)
        if fact.is_timestamp and fact.dtype is not None and name in table
    }
    return table.assign(
        **{name: cells(column, samples.timestamps_of(column, table[name].tolist())) for name, column in columns.items()}
    )


def _convert(estimator: Any, signature: Signature, facts: list[ColumnFacts], sample: Rows | None) -> Converted:
    tried: dict[bytes, FormTried] = {}
    hints: Hints | None = None
    for form, has_narrow_trees in FORMS.items():
        exported = export(estimator, signature, has_narrow_trees=has_narrow_trees)
        if hints is None:
            hints = probing.hints_of(signature, facts, exported.interesting)
            extra, rows, original = _asked(estimator, signature, hints, sample)
        content, complete = _finished(exported, signature)
        if content in tried:
            continue
        tried[content] = FormTried(form, _mismatch(estimator, content, complete, rows, original))
        if tried[content].reason is None:
            return Converted(content, complete, hints, extra, precision(exported.model), list(tried.values()))
    raise no_form(estimator, list(tried.values()))


def _asked(estimator: Any, signature: Signature, hints: Hints, sample: Rows | None) -> tuple[Rows, Rows, Answers]:
    """The rows that only the estimator shows, all rows to verify on, and its answers for these."""
    usual = probing.choose(signature, hints, sample)
    answers = answers_of(estimator, signature, usual)
    if not answers.is_answered.any():
        raise of_models.REFUSES_ALL_ROWS(type=plain(type(estimator).__name__, 100))
    extra = reaching_rows(estimator, signature, usual, answers)
    rows = probing.choose(signature, hints, sample, extra)
    return extra, rows, joined(answers, answers_of(estimator, signature, rows.take(slice(len(usual), None))))


def _finished(exported: ExportedModel, signature: Signature) -> tuple[bytes, Signature]:
    onnx.checker.check_model(exported.model)
    complete = msgspec.structs.replace(signature, numbers_dtype=numbers_dtype(exported.model), scores_dtype="float64")
    return exported.model.SerializeToString(deterministic=True), complete


def no_form(estimator: Any, tried: list[FormTried]) -> ServalError | Refused:
    """The refusal of a model of which no form answers like it, with a way out for the known causes."""
    reasons = "; ".join(dict.fromkeys(str(form.reason) for form in tried))
    last = getattr(estimator, "steps", [(None, estimator)])[-1][1]
    imputer = next((part for part in estimators_in(estimator) if type(part).__name__ == "KNNImputer"), None)
    if imputer is not None:
        return of_models.TIED_IMPUTER.of(imputer, reasons=reasons)
    kind = of_models.ANSWERS_OTHERWISE
    if getattr(last, "_fit_method", None) == "brute" and last.effective_metric_ in {"euclidean", "cosine"}:
        if sparse.issparse(last._fit_X):
            return of_models.TIED_SPARSE.of(last, reasons=reasons)
        if last.effective_metric_ == "cosine":
            return of_models.TIED_COSINE.of(last, reasons=reasons)
        kind = of_models.ROUNDED_NEIGHBOURS
    elif type(last).__name__ == "GaussianProcessRegressor":
        kind = of_models.ROUNDED_PROCESS
    return kind(type=plain(_last_step(estimator), 100), reasons=reasons)


def _last_step(estimator: Any) -> str:
    steps = getattr(estimator, "steps", None)
    return _last_step(steps[-1][1]) if steps else type(estimator).__name__


def precision(model: onnx.ModelProto) -> str:
    """`float32`, `mixed` or `float64`: the precision that the graph computes in."""
    casts = {attribute.i for node in model.graph.node if node.op_type == "Cast" for attribute in node.attribute}
    has_wide_trees = any(
        attribute.name == "nodes_values_as_tensor" for node in model.graph.node for attribute in node.attribute
    )
    if numbers_dtype(model) == "float32":
        return "mixed" if has_wide_trees else "float32"
    return "mixed" if onnx.TensorProto.FLOAT in casts else "float64"


def _mismatch(estimator: Any, content: bytes, signature: Signature, rows: Rows, original: Answers) -> str | None:
    """Why the graph does not answer like the original; None if it does."""
    try:
        converted = onnxruntime_engine.run(content, signature, rows)
    except onnxruntime_engine.EngineError as error:
        raise of_models.ENGINE_REFUSES(error=error) from error
    asked = jumps.questions(signature, rows, original, converted, STRICTNESS)
    answers = answers_of(estimator, signature, asked.rows)
    is_beside_jump = jumps.excused(signature, asked, answers, converted, STRICTNESS)
    parity = compare(signature, original, converted, STRICTNESS, is_beside_jump)
    if parity.reason is None or parity.worst is None:
        return parity.reason
    row, worst = rows.take([parity.worst]), parity.worst
    cells = [repr(value) for value in (row.numbers.tolist()[0] + row.strings.tolist()[0])[:MAX_SHOWN]]
    return (
        f"{parity.reason}; worst is the row {', '.join(cells)}: {_shown(signature, original, worst)} by the original,"
        f" {_shown(signature, converted, worst)} by the converted model"
    )


def _shown(signature: Signature, answers: Answers, index: int) -> str:
    labels = [
        str(known[code]) if 0 <= code < len(known) else "another label"
        for known, code in zip(signature.labels, answers.labels[index].tolist(), strict=False)
    ]
    return ", ".join([*labels, *(f"{score:.9g}" for score in answers.scores[index].tolist())][:MAX_SHOWN])
