"""Ids are selected by the time at which they were made."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from serval.audit.tables import AuditEntry
from serval.db.engine import Database
from serval.db.id_ranges import id_range
from serval.ids import first_id

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
IDS = [first_id("aud", NOON + timedelta(hours=hours)) for hours in range(4)]


@pytest.mark.parametrize(
    ("since", "until", "before", "expected"),
    [
        (None, None, None, IDS),
        (NOON + timedelta(hours=1), None, None, IDS[1:]),
        (None, NOON + timedelta(hours=1), None, IDS[:1]),
        (datetime(2026, 11, 20, 13), datetime(2026, 11, 20, 15), None, IDS[1:3]),  # noqa: DTZ001 - no offset: UTC
        (None, None, IDS[2], IDS[:2]),
        (NOON + timedelta(hours=1), None, IDS[2], IDS[1:2]),
    ],
)
async def test_a_range_has_an_inclusive_start_and_exclusive_ends(
    database: Database, since: datetime | None, until: datetime | None, before: str | None, expected: list[str]
) -> None:
    async with database.write() as session:
        session.add_all(
            AuditEntry(
                id=id, at=NOON, actor="", action="login", subject="", outcome="success", address="", request_id=""
            )
            for id in IDS  # noqa: A001
        )
    conditions = id_range(AuditEntry.id, "aud", since=since, until=until, before=before)
    async with database.read() as session:
        assert list(await session.scalars(select(AuditEntry.id).where(*conditions).order_by(AuditEntry.id))) == expected
