"""Routes of the audit trail."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import QueryParameter
from litestar.response import Stream

from serval.audit.schemas import AuditEntryList, AuditEntryView, csv_header, csv_rows
from serval.audit.service import AuditFilter, AuditTrail, actions_of
from serval.audit.tables import AuditEntry, Outcome
from serval.auth.caller import Caller
from serval.http.openapi import JsonSchema, keyed_responses, operation
from serval.http.pagination import Limit, Since, Until, cursor_of, page
from serval.http.request import PLAIN_TEXT, HttpRequest

CSV = "text/csv"
CSV_ANSWER: JsonSchema = {
    "type": "string",
    "description": "All matching entries as RFC 4180 in UTF-8, with a header line; `limit` does not apply.",
}

ActorFilter = Annotated[
    str | None,
    QueryParameter(
        name="actor", pattern=PLAIN_TEXT, max_length=254, required=False, description="Username or user id of the actor"
    ),
]
ActionFilter = Annotated[
    str | None,
    QueryParameter(
        name="action",
        pattern=PLAIN_TEXT,
        max_length=40,
        required=False,
        description="Action, or a prefix such as `key.`",
    ),
]
SubjectFilter = Annotated[
    str | None,
    QueryParameter(
        name="subject",
        pattern=PLAIN_TEXT,
        max_length=200,
        required=False,
        description="Id of the resource, or its name at the time; of a model `owner/name`, or the name of one of yours",
    ),
]
OutcomeFilter = Annotated[
    Outcome | None, QueryParameter(name="outcome", required=False, description="Outcome of the act")
]
Cursor = Annotated[str | None, cursor_of("aud")]
Format = Annotated[
    Literal["json", "csv"] | None,
    QueryParameter(name="format", required=False, description="Overrides the `Accept` header"),
]


@get(
    "/api/v1/audit",
    operation_id="list_audit_entries",
    summary="List audit entries, newest first, or export them as CSV",
    tags=["Audit"],
    responses={200: ResponseSpec(AuditEntryList, generate_examples=False, description="A page."), **keyed_responses()},
    operation_class=operation(
        headers={"Content-Disposition": "With CSV, the name of the file."}, also={CSV: CSV_ANSWER}
    ),
)
async def list_audit(
    request: HttpRequest,
    caller: NamedDependency[Caller],
    audit: NamedDependency[AuditTrail],
    actor: ActorFilter = None,
    action: ActionFilter = None,
    subject: SubjectFilter = None,
    outcome: OutcomeFilter = None,
    since: Since = None,
    until: Until = None,
    cursor: Cursor = None,
    limit: Limit = 100,
    export_format: Format = None,
) -> Response[Any]:
    """List your own acts and those of others on your models and keys; administrators see all."""
    filters = AuditFilter(actor, actions_of(action), subject, outcome, since, until, cursor, limit + 1)
    if _is_csv(request, export_format):
        return await _export(caller, audit, filters)
    entries = await audit.list_entries(caller, filters)
    return Response(AuditEntryList(*page(entries, limit, lambda row: AuditEntryView.of(row, caller))))


def _is_csv(request: HttpRequest, export_format: Literal["json", "csv"] | None) -> bool:
    if export_format is not None:
        return export_format == "csv"
    return request.accept.best_match(["application/json", CSV]) == CSV


async def _export(caller: Caller, audit: AuditTrail, filters: AuditFilter) -> Response[Any]:
    """Start an export once its first part is read: an unavailable database is then a problem, not a cut connection."""
    parts = audit.all_entries(caller, filters)
    first = await anext(parts)
    return Stream(
        _lines(caller, first, parts),
        media_type=CSV,
        headers={"Content-Disposition": 'attachment; filename="audit.csv"'},
    )


async def _lines(
    caller: Caller, first: list[AuditEntry], parts: AsyncIterator[list[AuditEntry]]
) -> AsyncIterator[bytes]:
    yield csv_header() + csv_rows(AuditEntryView.of(row, caller) for row in first)
    async for rows in parts:
        yield csv_rows(AuditEntryView.of(row, caller) for row in rows)
