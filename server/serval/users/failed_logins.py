"""Records failed logins in the audit trail, as long as what strangers write does not fill the disk."""

from collections.abc import Callable
from contextlib import suppress

from serval.audit.record import AuditSubject, record_unauthenticated
from serval.auth.caller import ClientInfo
from serval.db.engine import Database
from serval.errors import DatabaseDiskFull
from serval.log import Log


class FailedLogins:
    """Writes one entry for each."""

    def __init__(self, database: Database, is_disk_low: Callable[[], bool], log: Log) -> None:
        """`is_disk_low`: whether they are logged only."""
        self._database = database
        self._is_disk_low = is_disk_low
        self._log = log

    async def record(self, client: ClientInfo, account: str, subject: AuditSubject | None) -> None:
        """Record a failed login. `account`: as it was typed; `subject`: the account, where there is one. Raises
        DatabaseUnavailable, but not where only its disk is full."""
        if not self._is_disk_low():
            with suppress(DatabaseDiskFull):
                async with self._database.write() as session:
                    subject = subject or AuditSubject(None, account, None)
                    record_unauthenticated(session, client, "login", subject, "failure", account)
                return
        self._log.warning("audit_entry_left_out", action="login", outcome="failure", client=client.address)
