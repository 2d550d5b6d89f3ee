"""Tables of any length as the bodies of requests, each of which a server takes."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Callable, NamedTuple

import msgspec

from serval_client.answers import Predictions
from serval_client.errors import RequestFailed
from serval_client.rows import rows_of

MAX_ROWS = 10_000
"""Of one request, as many as a server takes by default."""
MAX_BYTES = 4 << 20
"""Of the body of one request, half of what a server takes by default."""
PLACE = r"^(inputs\[|line )(\d+)"
"""How the message about a part of a request begins."""


class Part(NamedTuple):
    """Some rows of a table, as the body of a request."""

    content: bytes
    start: int
    end: int
    """Of the rows, the one after the last."""


class Table:
    """The rows of a table, in the order in which they are sent."""

    def __init__(
        self, rows: Sequence[Any], content_type: str, encode: Callable[[Any], bytes], lines: Sequence[int] | None = None
    ) -> None:
        """`encode` makes a body of some of the rows. `lines`: of each row of a text, the lines before it, without
        those of the header."""
        self._rows = rows
        self._encode = encode
        self._lines = lines
        self.content_type = content_type

    @classmethod
    def of(cls, rows: Any) -> Table:
        """The rows of the CSV file at a path, or of anything that `rows_of` takes. Raises OSError, and what `rows_of`
        raises."""
        if isinstance(rows, os.PathLike):
            return cls.of_csv(Path(rows).read_bytes())
        return cls(rows_of(rows), "application/json", lambda some: msgspec.json.encode({"inputs": some}))

    @classmethod
    def of_csv(cls, content: bytes) -> Table:
        header, *records = records_of(content) or [b""]
        lines, before = [], 0
        for record in records:
            lines.append(before)
            before += len(record.splitlines())
        return cls(records, "text/csv", lambda some: b"".join([ended(header) if some else header, *some]), lines)

    def __len__(self) -> int:
        return len(self._rows)

    def part(self, start: int, count: int) -> Part:
        """At most `count` rows from `start` on, fewer if they would be too many bytes, and one at least."""
        end = min(start + count, len(self._rows))
        while True:
            content = self._encode(self._rows[start:end])
            if len(content) <= MAX_BYTES or end <= start + 1:
                return Part(content, start, end)
            end = start + max(1, (end - start) * MAX_BYTES // (len(content) + 1))

    def error_of(self, part: Part, error: RequestFailed) -> RequestFailed:
        """The error of a part, with the rows or lines that it names counted in the whole table."""
        if part.start == 0:
            return error
        problem = error.problem
        moved = msgspec.structs.replace(
            problem,
            detail=self._moved(problem.detail, part),
            errors=problem.errors
            and [msgspec.structs.replace(each, path=self._moved(each.path, part)) for each in problem.errors],
        )
        return type(error)(moved, error.retry_after_seconds)

    def _moved(self, text: str, part: Part) -> str:
        before = part.start if self._lines is None else self._lines[part.start]
        return re.sub(PLACE, lambda found: f"{found[1]}{int(found[2]) + before}", text)


def records_of(content: bytes) -> list[bytes]:
    """The records of a CSV text with their line ends, the header first. A blank line belongs to the record before."""
    records: list[bytes] = []
    is_quoted = False
    for line in content.splitlines(keepends=True):
        if records and (is_quoted or not line.strip()):
            records[-1] += line
        else:
            records.append(line)
        is_quoted ^= line.count(b'"') % 2 == 1
    return records


def ended(line: bytes) -> bytes:
    return line if line.endswith((b"\n", b"\r")) else line + b"\n"


def joined(answers: Sequence[Predictions]) -> Predictions:
    """The predictions of the parts of a table as those of the whole."""
    first = answers[0]
    if len(answers) == 1:
        return first
    return msgspec.structs.replace(
        first,
        predictions=[prediction for answer in answers for prediction in answer.predictions],
        probabilities=None
        if first.probabilities is None
        else [row for answer in answers for row in answer.probabilities or []],
    )
