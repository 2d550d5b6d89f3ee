"""The route of metrics."""

from collections.abc import Callable
from typing import NamedTuple

from litestar import Response, get
from litestar.di import NamedDependency

from serval.auth.caller import Caller
from serval.errors import NotPermitted
from serval.http.openapi import KEYED, keyed_responses

PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8"


class MetricsPages(NamedTuple):
    """What renders Prometheus text."""

    everything: Callable[[], bytes]
    of_user: Callable[[str], bytes]
    """Of one user's models, by the user's id."""


@get(
    "/metrics",
    operation_id="get_metrics",
    summary="Show the metrics of your models as Prometheus text; administrators see all metrics",
    tags=["Observability"],
    media_type=PROMETHEUS_TEXT,
    responses=keyed_responses(),
    operation_class=KEYED,
)
async def metrics(caller: NamedDependency[Caller], pages: NamedDependency[MetricsPages]) -> Response[bytes]:
    """Show the metrics of your own models in the text format of Prometheus; administrators see those of the whole
    server."""
    if caller.models is not None:
        raise NotPermitted("This API key is restricted to some models and cannot read metrics of all models.")
    text = pages.everything() if caller.is_admin else pages.of_user(caller.user_id)
    return Response(text, media_type=PROMETHEUS_TEXT)
