"""Health probes and the description of the running server."""

import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec

from serval import __version__
from serval.errors import BadRequest
from serval.http.openapi import PUBLIC, problem_responses
from serval.http.request import HttpRequest

Check = Callable[[], Awaitable[str | None]]
"""Raises an error where the dependency does not work; None where all is well, else what is not."""


class Health(msgspec.Struct):
    """The state of the service; `checks` is that of its dependencies."""

    status: Literal["ok", "degraded", "stopping"]
    version: str
    uptime_seconds: float
    model_loaded: bool
    checks: dict[str, str]


class Probes:
    """The state that the probes report."""

    def __init__(
        self, checks: Mapping[str, Check], is_ready: Callable[[], bool], loaded_models: Callable[[], int]
    ) -> None:
        self._checks = checks
        self._is_ready = is_ready
        self._loaded_models = loaded_models
        self._started = time.monotonic()
        self._stopping = False

    def stop(self) -> None:
        """Report from now on that the server is not ready, because it is about to stop."""
        self._stopping = True

    @property
    def is_ready(self) -> bool:
        return self._is_ready() and not self._stopping

    async def health(self) -> Health:
        """Check every dependency; cached and loaded predictions need none of them."""
        checks = {name: await _outcome(check) for name, check in self._checks.items()}
        status: Literal["ok", "degraded", "stopping"] = (
            "ok" if all(text == "ok" for text in checks.values()) else "degraded"
        )
        if self._stopping:
            status = "stopping"
        return Health(
            status, __version__, round(time.monotonic() - self._started, 3), self._loaded_models() > 0, checks
        )


async def _outcome(check: Check) -> str:
    try:
        return await check() or "ok"
    except Exception as error:  # noqa: BLE001 - a probe reports whatever is wrong; the kind is enough, its text may hold an address
        return f"failed: {type(error).__name__}"


class Status(msgspec.Struct):
    status: str


LIVE = Status("live")


class Info(msgspec.Struct):
    """The running server."""

    name: str
    version: str
    python: str
    cores: int
    docs: str


_WRONG = problem_responses(BadRequest)
_NOT_READY = {
    **_WRONG,
    503: ResponseSpec(
        Status,
        generate_examples=False,
        description="The process is starting or about to stop, or has loaded nothing yet.",
    ),
}


@get(
    "/health",
    operation_id="get_health",
    summary="Show the health of the service and its dependencies",
    tags=["Observability"],
    responses=_WRONG,
    operation_class=PUBLIC,
)
async def health(probes: NamedDependency[Probes]) -> Health:
    """Show whether the server and what it depends on work: `ok`, `degraded` or `stopping`, with each check."""
    return await probes.health()


@get(
    "/health/live",
    operation_id="get_liveness",
    summary="Check that the process is alive",
    tags=["Observability"],
    responses=_WRONG,
    operation_class=PUBLIC,
)
async def live() -> Status:
    """Answer 200 while the process runs and its event loop does not stall. For the liveness probe of an
    orchestrator."""
    return LIVE


@get(
    "/health/ready",
    operation_id="get_readiness",
    summary="Check that the process is ready for requests",
    tags=["Observability"],
    responses=_NOT_READY,
    operation_class=PUBLIC,
)
async def ready(probes: NamedDependency[Probes]) -> Response[Status]:
    """Answer 200 when the server takes requests, and 503 while it starts or stops, or could load nothing of what is
    live. For the readiness probe."""
    return (
        Response(Status("ready"), status_code=200)
        if probes.is_ready
        else Response(Status("not ready"), status_code=503)
    )


@get(
    "/info",
    operation_id="get_info",
    summary="Show the version and environment of the server",
    tags=["Observability"],
    responses=_WRONG,
    operation_class=PUBLIC,
)
async def info(request: HttpRequest) -> Info:
    """Show the version of Serval and of Python, and the number of cores that it may use."""
    return Info(
        "serval",
        __version__,
        ".".join(map(str, sys.version_info[:3])),
        len(os.sched_getaffinity(0)),
        f"{request.root_path}/docs",
    )
