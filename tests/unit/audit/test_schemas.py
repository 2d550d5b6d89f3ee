"""An entry as a line of CSV: whoever reads it gets back what was there, and no spreadsheet runs it."""

import csv
import io
import json
from datetime import UTC, datetime

from hypothesis import example, given
from hypothesis import strategies as st

from serval.audit.schemas import AuditEntryView, csv_header, csv_rows

TEXT = st.text(st.characters(codec="utf-8"))


def entry(subject: str, details: dict[str, str] | None) -> AuditEntryView:
    at = datetime(2026, 11, 20, 12, tzinfo=UTC)
    return AuditEntryView("aud_1", at, "ada", None, "login", "success", subject, None, None, None, None, None, details)


def read(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))


@given(TEXT, st.none() | st.dictionaries(TEXT, TEXT))
@example("=1", {"=1": "+1"})
@example('a,"b"\r\n', {"\r\n": '"'})
def test_an_entry_written_as_csv_is_read_back(subject: str, details: dict[str, str] | None) -> None:
    [names, cells] = read(csv_header() + csv_rows([entry(subject, details)]))
    found = dict(zip(names, cells, strict=True))
    assert found["subject"].removeprefix("'") == subject.removeprefix("'")
    assert (json.loads(found["details"]) if found["details"] else None) == details
    assert (found["at"], found["actor_id"]) == ("2026-11-20T12:00:00Z", "")


@given(TEXT, st.sampled_from("=+-@\t\r\n\0\uff1d\uff0b\uff0d\uff20"))
def test_no_cell_starts_like_a_formula(rest: str, start: str) -> None:
    [cells] = read(csv_rows([entry(start + rest, None)]))
    assert cells[6] == "'" + start + rest


def test_csv_records_end_with_crlf() -> None:
    assert csv_rows([entry("a", None), entry("b", None)]).split(b"\r\n")[1:] == [csv_rows([entry("b", None)])[:-2], b""]
