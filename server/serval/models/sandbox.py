"""The sandbox of conversions, with the limits of the settings."""

import sys

from serval.conversion.sandbox.child_process import Limits
from serval.conversion.sandbox.sandbox import Sandbox
from serval.settings.settings import Settings


def new_sandbox(settings: Settings) -> Sandbox:
    scratch = settings.data_dir / "scratch"
    scratch.mkdir(mode=0o711, exist_ok=True)
    limits = Limits(
        memory_bytes=settings.convert_memory_bytes,
        cpu_seconds=settings.convert_cpu_seconds,
        wall_seconds=settings.convert_wall_seconds,
    )
    return Sandbox(
        python=sys.executable,
        root=scratch,
        limits=limits,
        allow_unconfined=settings.allow_unconfined_conversion,
        max_children=settings.convert_parallel,
    )


class RunningSandbox:
    """Starts the sandbox with the service and ends its children with it."""

    def __init__(self, sandbox: Sandbox, *, preload: bool) -> None:
        self._sandbox = sandbox
        self._preload = preload

    async def start(self) -> None:
        await self._sandbox.start(preload=self._preload)

    async def stop(self) -> None:
        await self._sandbox.close()
