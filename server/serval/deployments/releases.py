"""Releases: which version of a model is the live one, and which are out of service."""

from typing import Literal

from sqlalchemy.ext.asyncio import AsyncSession

from serval.audit.record import Action, record
from serval.auth.caller import Caller
from serval.changes import Changes
from serval.db.engine import Database
from serval.deployments.promotion import Candidate, check_promotable, hold_reason, schema_changed, takes_other_columns
from serval.deployments.publishing import RoutePublisher
from serval.errors import Conflict
from serval.models.access import PROMOTE, RETIRE
from serval.models.golden_requests import GoldenRequests
from serval.models.lifecycle import retire
from serval.models.loading import ModelLoader
from serval.models.queries import VisibleVersion, find_model, find_version, subject_of
from serval.models.tables import Model, Version


class ReleaseService:
    """Promotes versions, rolls them back and takes them out of service."""

    def __init__(
        self,
        database: Database,
        loader: ModelLoader,
        golden: GoldenRequests,
        routes: RoutePublisher,
        changes: Changes,
    ) -> None:
        self._database = database
        self._loader = loader
        self._golden = golden
        self._routes = routes
        self._changes = changes

    async def promote(self, caller: Caller, model: str, number: int, *, allow_schema_change: bool) -> VisibleVersion:
        """Make a version the live one. Raises NotFound, NotPermitted, Conflict, SchemaChanged, GoldenMismatch,
        and of a held version what its confined run raises."""
        return await self._release(caller, model, number, "version.promote", allow_schema_change=allow_schema_change)

    async def roll_back(self, caller: Caller, model: str) -> VisibleVersion:
        """Make the version live that was live before. Raises NotFound, NotPermitted, GoldenMismatch, Conflict when
        there is none."""
        async with self._database.read() as session:
            row, _ = await find_model(session, caller, model, PROMOTE)
        if row.previous is None:
            raise Conflict(f"`{row.name}` has no earlier live version to go back to.")
        return await self._release(caller, row.id, row.previous, "version.rollback", allow_schema_change=True)

    async def retire(
        self, caller: Caller, model: str, number: int, lifecycle: Literal["deprecated", "archived"]
    ) -> VisibleVersion:
        """Deprecate or archive a version. Raises NotFound, NotPermitted, Conflict."""
        async with self._database.write() as session:
            row, access = await find_model(session, caller, model, RETIRE, to_change=True)
            version = await find_version(session, row, number)
            version.lifecycle = retire(version.lifecycle, lifecycle, is_live=row.live == number)
            action: Action = "version.deprecate" if lifecycle == "deprecated" else "version.archive"
            record(session, caller, action, subject_of(row), version=number)
            self._changes.record(session, "model", row.id)
        await self._routes.refresh()
        return VisibleVersion(version, access)

    async def release_converted(self, session: AsyncSession, version: Version, unproven: str | None) -> None:
        """Make a version live that has just been converted, or record why it is held, in the transaction of the
        session; one that is archived by then does neither. `unproven`: why its report does not prove enough."""
        model = await session.get_one(Model, version.model_id, with_for_update={"of": Model}, populate_existing=True)
        await session.refresh(version, ["lifecycle"])
        self._changes.record(session, "model", model.id)
        if version.lifecycle == "archived":  # while it was converted
            return
        candidate = Candidate(
            version.number,
            takes_other_columns=await _changes_schema(session, model, version),
            allows_schema_change=version.request["allow_schema_change"],
            unproven=unproven,
        )
        version.held = hold_reason(candidate, model.live)
        if version.held is None:
            _make_live(model, version)

    async def _release(
        self,
        caller: Caller,
        model: str,
        number: int,
        action: Literal["version.promote", "version.rollback"],
        *,
        allow_schema_change: bool,
    ) -> VisibleVersion:
        async with self._database.read() as session:
            row, _ = await find_model(session, caller, model, PROMOTE)
            version = await find_version(session, row, number)
        check_promotable(version.number, version.status, version.lifecycle)
        await self._golden.check(version)
        await self._loader.ensure_loaded(version.id)
        async with self._database.write() as session:
            row, access = await find_model(session, caller, model, PROMOTE, to_change=True)
            version = await find_version(session, row, number)
            check_promotable(version.number, version.status, version.lifecycle)
            if action == "version.rollback" and row.previous != number:
                raise Conflict(f"Another version of `{row.name}` went live meanwhile: see which, then roll back again.")
            if not allow_schema_change and await _changes_schema(session, row, version):
                raise schema_changed(version.number)
            record(session, caller, action, subject_of(row), version=number, before=row.live)
            _make_live(row, version)
            self._changes.record(session, "model", row.id)
        await self._routes.refresh()
        return VisibleVersion(version, access)


def _make_live(model: Model, version: Version) -> None:
    """Let a version answer from the next publication on; nothing holds it any more."""
    version.held = None
    if model.live != version.number:
        model.previous, model.live = model.live, version.number


async def _changes_schema(session: AsyncSession, model: Model, version: Version) -> bool:
    """Whether a version takes other columns than the live one."""
    if model.live is None or model.live == version.number:
        return False
    live = await find_version(session, model, model.live)
    return takes_other_columns(version.signature, live.signature)
