"""From an uploaded file to a graph that is verified to answer like the original."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from serval.conversion import messages
from serval.conversion.expected import Expected
from serval.conversion.golden import Golden, golden_of
from serval.conversion.refusals import of_outcomes
from serval.conversion.report import Report
from serval.conversion.reporting import plain_inspection, verified_report
from serval.conversion.rows import Answers, Rows
from serval.conversion.signature import Signature
from serval.conversion.signature_check import check_signature
from serval.conversion.verify import jumps

T = TypeVar("T")
LIMIT_BYTES = 2 << 30
PROBE_ROWS = 64


class Sandbox(Protocol):
    """Runs a task on an upload in a confined process."""

    async def run(self, task: str, upload: Path | None, request: bytes) -> bytes: ...


class FreezeRequest(msgspec.Struct, frozen=True):
    """What came with an upload.

    `columns`: names for a model without its own. `sample`: rows by position or by name, without answers; `is_text`: its
    cells are CSV text. `expected`: the answers for these rows where the model was saved.
    """

    columns: list[str] | None = None
    sample: messages.Sample = []
    is_text: bool = False
    expected: Expected | None = None
    limit_bytes: int = LIMIT_BYTES
    """The most that a compressed file may unpack to."""


class Frozen(msgspec.Struct, frozen=True):
    """A verified graph. `numbers`, `strings`: probe rows, as the data plane loads them; the first is one that the
    original answers: of the sample, or a typical one."""

    onnx: bytes
    signature: Signature
    report: Report
    numbers: bytes
    strings: list[str]
    golden: Golden | None = None
    """Expected answers of the sample, to be asked again."""


async def inspect(sandbox: Sandbox, upload: Path, limit_bytes: int = LIMIT_BYTES) -> messages.Inspection:
    """What is in a file. Raises NotAModel, SandboxViolation."""
    inspection = await _run(sandbox, "inspect", upload, messages.InspectRequest(limit_bytes), messages.Inspection)
    return plain_inspection(inspection)


async def join(sandbox: Sandbox, upload: Path, limit_bytes: int = LIMIT_BYTES) -> bytes:
    """A pickle of the one predictor that the parts of a file make. Raises NotAModel, SandboxViolation."""
    return await sandbox.run("join", upload, messages.encode(messages.InspectRequest(limit_bytes)))


async def freeze(
    sandbox: Sandbox, upload: Path, request: FreezeRequest, on_stage: Callable[[str], Awaitable[None]]
) -> Frozen:
    """Convert an upload, and verify the result on rows that its author did not choose.

    `on_stage` is called with `converting` and `verifying`. Raises NotAModel, NotAPredictor, NotConvertible,
    InvalidFeatures, SandboxViolation, and NotVerified with the report in `extra`.
    """
    started = time.monotonic()
    await on_stage("converting")
    conversion = await _convert(sandbox, upload, request)
    await on_stage("verifying")
    rows, converted = await _run_graph(sandbox, conversion, request)
    original = await _run_original(sandbox, upload, conversion.signature, rows, request)
    beside = await _beside_jumps(sandbox, upload, conversion.signature, rows, original, converted, request)
    report = verified_report(conversion, rows, original, converted, request.expected, started, beside)
    first = int(original.is_answered.argmax())
    order = [first, *(index for index in range(min(len(rows), PROBE_ROWS)) if index != first)]
    probe = messages.pack_rows(rows.take(order[:PROBE_ROWS]))
    golden = None
    if request.expected is not None and report.expected_agreement == 1.0:
        golden = await asyncio.to_thread(golden_of, conversion.signature, rows, converted, request.expected)
        report = msgspec.structs.replace(report, golden_requests=len(golden.requests) if golden else 0)
    return Frozen(conversion.onnx, conversion.signature, report, probe.numbers, probe.strings, golden)


async def ask(sandbox: Sandbox, onnx: bytes, signature: Signature, rows: messages.PackedRows) -> Answers:
    """The data plane's answers of a frozen graph. Raises NotConvertible, SandboxViolation."""
    request = messages.AnswerRequest(onnx, signature, rows)
    return _answers(await _run(sandbox, "answer", None, request, messages.PackedAnswers), signature, rows.rows)


async def _convert(sandbox: Sandbox, upload: Path, request: FreezeRequest) -> messages.Conversion:
    message = messages.ConvertRequest(request.limit_bytes, request.columns, request.sample, request.is_text)
    conversion = await _run(sandbox, "convert", upload, message, messages.Conversion)
    check_signature(conversion.signature)
    return conversion


async def _run_graph(sandbox: Sandbox, conversion: messages.Conversion, request: FreezeRequest) -> tuple[Rows, Answers]:
    signature = conversion.signature
    message = messages.EngineRequest(
        conversion.onnx, signature, conversion.hints, conversion.rows, request.sample, request.is_text
    )
    result = await _run(sandbox, "engine", None, message, messages.EngineResult)
    try:
        rows = messages.unpack_rows(result.rows, signature)
        return rows, messages.unpack_answers(result.answers, signature, result.rows.rows)
    except ValueError as error:
        what = "made the engine answer in another shape than the model's signature has"
        raise of_outcomes.FORGED(what=what) from error


async def _run_original(
    sandbox: Sandbox, upload: Path, signature: Signature, rows: Rows, request: FreezeRequest
) -> Answers:
    message = messages.ReferenceRequest(request.limit_bytes, signature, messages.pack_rows(rows))
    return _answers(await _run(sandbox, "reference", upload, message, messages.PackedAnswers), signature, len(rows))


async def _beside_jumps(
    sandbox: Sandbox,
    upload: Path,
    signature: Signature,
    rows: Rows,
    original: Answers,
    converted: Answers,
    request: FreezeRequest,
) -> npt.NDArray[np.bool_]:
    """`[rows]`: where the original gives the converted answer within four float64 steps of the row."""
    questions = jumps.questions(signature, rows, original, converted)
    if not len(questions.rows):
        return np.zeros(len(rows), dtype=bool)
    answers = await _run_original(sandbox, upload, signature, questions.rows, request)
    return jumps.excused(signature, questions, answers, converted)


def _answers(packed: messages.PackedAnswers, signature: Signature, rows: int) -> Answers:
    """What a child answers for rows. Raises SandboxViolation for another shape than the signature has."""
    try:
        return messages.unpack_answers(packed, signature, rows)
    except ValueError as error:
        raise of_outcomes.FORGED(what="answered in another shape than its signature has") from error


async def _run(sandbox: Sandbox, task: str, upload: Path | None, request: msgspec.Struct, kind: type[T]) -> T:
    """Run a task; in threads what takes long beside a graph of hundreds of megabytes. Raises SandboxViolation."""
    answer = await sandbox.run(task, upload, await asyncio.to_thread(messages.encode, request))
    return await asyncio.to_thread(_decoded, answer, kind)


def _decoded(answer: bytes, kind: type[T]) -> T:
    try:
        return msgspec.msgpack.decode(answer, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise of_outcomes.FORGED(what="answered with something else than a conversion") from error
