"""From an uploaded file to a graph that is known to answer like the original."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec
import numpy as np

from serval.conversion import messages as wire
from serval.conversion.plain_text import plain
from serval.conversion.report import FormTried, Parity, Report, WorstRow
from serval.conversion.rows import Answers, Rows
from serval.conversion.signature import MISSING_STRING, Label, Signature
from serval.conversion.verify.verify import TOLERANCE, compare
from serval.errors import NotVerified, SandboxViolation

T = TypeVar("T")
LIMIT_BYTES = 2 << 30
PROBE_ROWS = 64


class Sandbox(Protocol):
    """What runs a task on an upload in a confined child."""

    async def run(self, task: str, upload: Path | None, request: bytes) -> bytes: ...


class FreezeRequest(msgspec.Struct, frozen=True):
    """What came with an upload.

    `columns`: names for a model without its own. `sample`: rows by position or by name, without answers; `is_text`: its
    cells are CSV text.
    `expected`: for each row of the sample the answer (for several targets a list) that the owner's own environment
    gives.
    """

    columns: list[str] | None = None
    sample: wire.Sample = []
    is_text: bool = False
    expected: list[Label | list[Label]] | None = None
    limit_bytes: int = LIMIT_BYTES
    """The most that a compressed file may unpack to."""


class Frozen(msgspec.Struct, frozen=True):
    """A verified graph. `numbers`, `strings`: probe rows, as `DataPlane.load` takes them."""

    onnx: bytes
    signature: Signature
    report: Report
    numbers: bytes
    strings: list[str]


async def inspect(sandbox: Sandbox, upload: Path, limit_bytes: int = LIMIT_BYTES) -> wire.Inspection:
    """What is in a file. Raises NotAModel, SandboxViolation."""
    told = await sandbox.run("inspect", upload, wire.encode(wire.InspectRequest(limit_bytes)))
    found = _decoded(told, wire.Inspection)
    return msgspec.structs.replace(
        found,
        format=plain(found.format, 20),
        compression=found.compression and plain(found.compression, 20),
        estimator=plain(found.estimator, 100),
        steps=[plain(step, 100) for step in found.steps],
        columns=[plain(name, wire.MAX_TEXT) for name in found.columns],
        labels=[plain(label, wire.MAX_TEXT) if isinstance(label, str) else label for label in found.labels],
        scikit_learn_saved_with=found.scikit_learn_saved_with and plain(found.scikit_learn_saved_with, 40),
        scikit_learn_verified_with=plain(found.scikit_learn_verified_with, 40),
        notes=[plain(note, 300) for note in found.notes],
        problem=found.problem and plain(found.problem, 1000),
    )


async def freeze(
    sandbox: Sandbox, upload: Path, request: FreezeRequest, on_stage: Callable[[str], Awaitable[None]]
) -> Frozen:
    """Convert an upload, and prove the result on rows that its maker did not choose.

    `on_stage` is told `converting` and `verifying`. Raises NotAModel, NotAPredictor, NotConvertible, InvalidFeatures,
    SandboxViolation,
    and NotVerified with the report in `extra`.
    """
    started = time.monotonic()
    await on_stage("converting")
    conversion = await _convert(sandbox, upload, request)
    await on_stage("verifying")
    rows, converted = await _run(sandbox, conversion, request)
    original = await _ask(sandbox, upload, conversion.signature, rows, request)
    parity = compare(conversion.signature, original, converted)
    report = _report(conversion, parity, rows, original, converted, request, time.monotonic() - started)
    if parity.reason is not None:
        raise NotVerified(_sentence(conversion, parity), extra={"report": msgspec.to_builtins(report)})
    probe = rows.take(slice(0, PROBE_ROWS))
    packed = wire.packed_rows(probe)
    return Frozen(conversion.onnx, conversion.signature, report, packed.numbers, packed.strings)


async def _convert(sandbox: Sandbox, upload: Path, request: FreezeRequest) -> wire.Conversion:
    orders = wire.ConvertRequest(request.limit_bytes, request.columns, request.sample, request.is_text)
    conversion = _decoded(await sandbox.run("convert", upload, wire.encode(orders)), wire.Conversion)
    wire.check_signature(conversion.signature)
    return conversion


async def _run(sandbox: Sandbox, conversion: wire.Conversion, request: FreezeRequest) -> tuple[Rows, Answers]:
    orders = wire.EngineRequest(
        conversion.onnx, conversion.signature, conversion.hints, request.sample, request.is_text
    )
    told = _decoded(await sandbox.run("engine", None, wire.encode(orders)), wire.EngineResult)
    try:
        return wire.rows_in(told.rows, conversion.signature), wire.answers_in(
            told.answers, conversion.signature, told.rows.rows
        )
    except ValueError as error:
        raise SandboxViolation(
            "The file made the engine answer in another shape than the model's signature says."
        ) from error


async def _ask(sandbox: Sandbox, upload: Path, signature: Signature, rows: Rows, request: FreezeRequest) -> Answers:
    orders = wire.ReferenceRequest(request.limit_bytes, signature, wire.packed_rows(rows))
    told = _decoded(await sandbox.run("reference", upload, wire.encode(orders)), wire.Told)
    try:
        return wire.answers_in(told, signature, len(rows))
    except ValueError as error:
        raise SandboxViolation("The file answered in another shape than its signature says.") from error


def _decoded(answer: bytes, kind: type[T]) -> T:
    try:
        return msgspec.msgpack.decode(answer, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise SandboxViolation("The file answered with something else than a conversion.") from error


def _sentence(conversion: wire.Conversion, parity: Parity) -> str:
    return (
        f"`{plain(conversion.estimator, 100)}` was converted, but the graph does not answer like the original: {parity.reason}. "
        "Nothing was made live; the report shows the worst row. Scale the features before it (`StandardScaler`) and fit again."
    )


def _report(
    conversion: wire.Conversion,
    parity: Parity,
    rows: Rows,
    original: Answers,
    converted: Answers,
    request: FreezeRequest,
    seconds: float,
) -> Report:
    there, here = (
        conversion.scikit_learn_saved_with and plain(conversion.scikit_learn_saved_with, 40),
        plain(conversion.scikit_learn_verified_with, 40),
    )
    expected_rows, agreement = expected_agreement(conversion.signature, converted, request.expected)
    notes = [plain(note, 300) for note in conversion.notes]
    if parity.refused:
        notes.append(
            f"The original refuses {parity.refused} of the rows that were tried; the service answers such rows."
        )
    return Report(
        form=plain(conversion.form, 40),
        forms_tried=[
            FormTried(plain(form.name, 40), form.reason and plain(form.reason, 500)) for form in conversion.tried
        ],
        rows=parity.rows,
        rows_refused_by_original=parity.refused,
        ties=parity.ties,
        agreement=parity.agreement,
        largest_difference=parity.largest_difference,
        mean_difference=parity.mean_difference,
        worst_row=None
        if parity.worst is None
        else worst_row(conversion.signature, rows, original, converted, parity.worst),
        estimator=plain(conversion.estimator, 100),
        scikit_learn_saved_with=there,
        scikit_learn_verified_with=here,
        expected_rows=expected_rows,
        expected_agreement=agreement,
        hold_reason=hold_reason(there, here, agreement),
        notes=notes,
        seconds=round(seconds, 3),
    )


def hold_reason(there: str | None, here: str, agreement: float | None) -> str | None:
    """Why a version must wait for its owner: parity with an object loaded by another scikit-learn proves nothing about
    the saved one."""
    if there is None or _minor(there) == _minor(here) or agreement == 1.0:
        return None
    if agreement is not None:
        return f"Saved by scikit-learn {there}, loaded here by {here}: only {agreement:.1%} of the answers expected came out. Fit it again."
    return (
        f"Saved by scikit-learn {there}, loaded here by {here}: nothing shows that it still answers as it did. Send the answers "
        f"expected with the sample (`serval model push` does), fit it again with {here}, or promote it yourself."
    )


def _minor(version: str) -> tuple[str, ...]:
    return tuple(version.split(".")[:2])


def expected_agreement(
    signature: Signature, converted: Answers, expected: Sequence[Label | list[Label]] | None
) -> tuple[int, float | None]:
    """(rows, share that came out) of the answers expected for the first rows, which are the sample's."""
    if not expected:
        return 0, None
    count = min(len(expected), len(converted.is_answered), wire.SAMPLE_ROWS)
    answers = [_comes_out(signature, converted, at, expected[at]) for at in range(count)]
    return count, sum(answers) / count


def _comes_out(signature: Signature, converted: Answers, at: int, wanted: Label | list[Label]) -> bool:
    targets = wanted if isinstance(wanted, list) else [wanted]
    if len(targets) != signature.targets:
        return False
    if signature.kind == "classifier":
        told = [
            labels[place]
            for labels, place in zip(signature.labels, converted.labels[at].tolist(), strict=True)
            if 0 <= place < len(labels)
        ]
        return len(told) == len(targets) and all(
            _is_same(label, target) for label, target in zip(told, targets, strict=True)
        )
    if not all(isinstance(target, int | float) for target in targets):
        return False
    return bool(
        np.allclose(
            converted.scores[at], np.asarray(targets, dtype=np.float64), rtol=TOLERANCE, atol=0.0, equal_nan=True
        )
    )


def _is_same(label: Label, wanted: Label) -> bool:
    """Equal labels; from CSV everything may be text."""
    if isinstance(wanted, str) and not isinstance(label, str):
        return str(label).lower() == wanted.lower() or (
            isinstance(label, int | float) and _as_number(wanted) == float(label)
        )
    return isinstance(label, str) == isinstance(wanted, str) and label == wanted


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def worst_row(signature: Signature, rows: Rows, original: Answers, converted: Answers, at: int) -> WorstRow:
    told, asked = _told(original, at), _told(converted, at)
    numbers = [left - right for left, right in zip(told, asked, strict=True) if left is not None and right is not None]
    return WorstRow(row_cells(signature, rows, at), told, asked, float(max(map(abs, numbers), default=0.0)))


def _told(answers: Answers, at: int) -> list[float | None]:
    values = [*answers.labels[at].tolist(), *answers.scores[at].tolist()][:100]
    return [float(value) if np.isfinite(value) else None for value in values]


def row_cells(signature: Signature, rows: Rows, at: int) -> list[Any]:
    """A row by column; None is a missing value."""
    numbers, strings = iter(rows.numbers[at].tolist()), iter(rows.strings[at].tolist())
    cells: list[Any] = []
    for column in signature.columns:
        if column.kind == "string":
            text = next(strings)
            cells.append(None if text == MISSING_STRING else plain(text, wire.MAX_TEXT))
        else:
            value = next(numbers)
            cells.append(None if not np.isfinite(value) else bool(value) if column.kind == "boolean" else value)
    return cells
