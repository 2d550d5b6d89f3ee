"""Ends a process: asks first, then kills."""

import asyncio
import contextlib
from asyncio.subprocess import Process


async def end(process: Process, patience_seconds: float) -> bool:
    """Ask a process to end, then make it. Returns whether it ended by itself in time."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), patience_seconds)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        return False
    return True
