"""The audit trail as a part of the service."""

from serval.audit.record import count_entries
from serval.audit.retention import AuditRetention
from serval.audit.routes import list_audit
from serval.audit.service import AuditTrail
from serval.core import Core
from serval.feature import Feature

ROUTES = (list_audit,)


def build(core: Core) -> Feature:
    count_entries(core.database.writers, core.metrics.audit_entries)
    return Feature(
        routes=ROUTES,
        dependencies={"audit": AuditTrail(core.database)},
        background=[AuditRetention(core.database, core.settings.audit_days, core.log)],
    )
