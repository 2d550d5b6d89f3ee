"""HTTP for releases: which version of a model is live, and which are out of service."""

from typing import TypeAlias

from litestar import Controller, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from serval.deployments.releases import ReleaseService
from serval.deployments.schemas import Promotion
from serval.errors import Conflict, GoldenMismatch, NotConvertible, NotFound, SandboxViolation, SchemaChanged
from serval.http.openapi import JSON_ERRORS, KEYED, keyed_responses, operation
from serval.http.request import Name, VersionNumber
from serval.models.dependencies import LINKS, CallerDependency, LinksDependency
from serval.models.schemas import VersionView

ReleasesDependency: TypeAlias = NamedDependency[ReleaseService]


class ReleaseController(Controller):
    """The releases of a model: those who manage it decide which version answers."""

    path = "/api/v1/models/{model:str}"
    tags = ("Versions",)
    dependencies = LINKS

    @post(
        "/rollback",
        operation_id="rollback_model",
        summary="Roll back to the previous live version",
        status_code=200,
        responses=keyed_responses(NotFound, Conflict, GoldenMismatch),
        operation_class=KEYED,
    )
    async def roll_back(
        self, model: Name, caller: CallerDependency, releases: ReleasesDependency, links: LinksDependency
    ) -> VersionView:
        """Make the version live again that was live before."""
        return VersionView.of(await releases.roll_back(caller, model), links)

    @post(
        "/versions/{number:int}/promote",
        operation_id="promote_version",
        summary="Promote a version to be the live one",
        status_code=200,
        responses=keyed_responses(
            NotFound, Conflict, SchemaChanged, GoldenMismatch, NotConvertible, SandboxViolation, *JSON_ERRORS
        ),
        operation_class=operation(is_body_required=False),
    )
    async def promote(
        self,
        model: Name,
        number: VersionNumber,
        caller: CallerDependency,
        releases: ReleasesDependency,
        links: LinksDependency,
        data: JSONBody[Promotion | None] = None,
    ) -> VersionView:
        """Make a ready version the live one, also one that is held. One with other columns needs
        `allow_schema_change`."""
        allow = data is not None and data.allow_schema_change
        return VersionView.of(await releases.promote(caller, model, number, allow_schema_change=allow), links)

    @post(
        "/versions/{number:int}/deprecate",
        operation_id="deprecate_version",
        summary="Deprecate a version",
        status_code=200,
        responses=keyed_responses(NotFound, Conflict),
        operation_class=KEYED,
    )
    async def deprecate(
        self,
        model: Name,
        number: VersionNumber,
        caller: CallerDependency,
        releases: ReleasesDependency,
        links: LinksDependency,
    ) -> VersionView:
        """Mark a version as one that should not be used any more. It still answers requests that name it."""
        return VersionView.of(await releases.retire(caller, model, number, "deprecated"), links)

    @post(
        "/versions/{number:int}/archive",
        operation_id="archive_version",
        summary="Archive a version, which ends its service permanently",
        status_code=200,
        responses=keyed_responses(NotFound, Conflict),
        operation_class=KEYED,
    )
    async def archive(
        self,
        model: Name,
        number: VersionNumber,
        caller: CallerDependency,
        releases: ReleasesDependency,
        links: LinksDependency,
    ) -> VersionView:
        """End the service of a version that is not live. It answers no more requests and cannot be promoted."""
        return VersionView.of(await releases.retire(caller, model, number, "archived"), links)
