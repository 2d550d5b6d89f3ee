"""What a file is and whether it would be served, of which nothing is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from serval.conversion.freeze import freeze, inspect
from serval.conversion.messages import Inspection
from serval.conversion.report import Reason, Report
from serval.conversion.signature import Signature
from serval.errors import Unprocessable

if TYPE_CHECKING:
    from pathlib import Path

    from serval.conversion.freeze import FreezeRequest, Sandbox


class Examination(msgspec.Struct):
    """What a file is, and whether it would be served; nothing of it is kept."""

    converts: bool
    failure: Reason | None
    """Why it would not be served."""
    inspection: Inspection | None
    """What is in the file, if it can be read."""
    signature: Signature | None
    report: Report | None
    """How accurate the converted model is, if it was compared with the original."""


async def examine(sandbox: Sandbox, upload: Path, request: FreezeRequest) -> Examination:
    """Inspect and convert an upload. Raises BadRequest, and Unavailable if nothing can run confined."""
    inspection: Inspection | None = None
    try:
        inspection = await inspect(sandbox, upload, request.limit_bytes)
        frozen = await freeze(sandbox, upload, request, _ignore_stage)
    except Unprocessable as error:
        report = msgspec.convert(error.extra["report"], Report) if "report" in error.extra else None
        return Examination(False, Reason(error.code, error.message), inspection, None, report)
    return Examination(True, None, inspection, frozen.signature, frozen.report)


async def _ignore_stage(_: str) -> None:
    """An examination has no version whose stage could be recorded."""
