"""The dependencies of the registry's routes, by the names of their parameters."""

from typing import TypeAlias

from litestar.di import NamedDependency, Provide

from serval.auth.caller import Caller
from serval.http.request import HttpRequest
from serval.models.conversions import Conversions
from serval.models.links import Links
from serval.models.service import ModelService
from serval.models.sharing import SharingService
from serval.models.uploads import UploadService

CallerDependency: TypeAlias = NamedDependency[Caller]
ConversionsDependency: TypeAlias = NamedDependency[Conversions]
LinksDependency: TypeAlias = NamedDependency[Links]
ModelsDependency: TypeAlias = NamedDependency[ModelService]
SharingDependency: TypeAlias = NamedDependency[SharingService]
UploadsDependency: TypeAlias = NamedDependency[UploadService]


def provide_links(request: HttpRequest, caller: CallerDependency) -> Links:
    return Links(str(request.base_url).rstrip("/") + request.root_path, caller.user_id)


LINKS = {"links": Provide(provide_links, sync_to_thread=False)}
"""For routes that show versions: LinksDependency is made for each request."""
