"""Deployments as a part of the service: which version answers whom."""

from typing import NamedTuple

from serval.core import Core
from serval.deployments.publishing import RoutePublisher
from serval.deployments.releases import ReleaseService
from serval.deployments.routes import ReleaseController
from serval.feature import Feature
from serval.models.golden_requests import GoldenRequests
from serval.models.loading import ModelLoader
from serval.models.publication import Publication

ROUTES = (ReleaseController,)


class Deployments(NamedTuple):
    """The feature, and what others ask of it."""

    feature: Feature
    publisher: RoutePublisher
    publication: Publication


def build(core: Core, loader: ModelLoader, golden: GoldenRequests) -> Deployments:
    publisher = RoutePublisher(core.database, loader, core.plane.models, core.changes, core.log)
    releases = ReleaseService(core.database, loader, golden, publisher, core.changes)
    publication = Publication(publisher.refresh, publisher.announcing, releases.release_converted)
    feature = Feature(routes=ROUTES, dependencies={"releases": releases}, background=[publisher])
    return Deployments(feature, publisher, publication)
