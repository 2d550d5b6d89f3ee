"""A serving process as its parent sees it, and the channel to it."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
from asyncio.subprocess import Process
from collections.abc import Sequence

import msgspec

from serval.errors import CannotStart
from serval.log import Log
from serval.process import handover
from serval.process.handover import ServeConfig
from serval.process.termination import end


class ServingProcess:
    """A serving process and the channel from it."""

    def __init__(self, process: Process, channel: socket.socket) -> None:
        self.process = process
        self.ready = asyncio.Event()
        self._channel = channel
        self._started_at = asyncio.get_running_loop().time()

    @classmethod
    async def start(cls, command: Sequence[str], config: ServeConfig, lock: int) -> "ServingProcess":
        own_end, child_end = socket.socketpair()
        config = msgspec.structs.replace(config, control_descriptor=child_end.fileno())
        with child_end:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=subprocess.PIPE,
                pass_fds=[config.public_descriptor, config.metrics_descriptor, config.control_descriptor, lock],
                start_new_session=True,
                env=environment_without_settings(),
            )
        own_end.setblocking(False)
        child = cls(process, own_end)
        # A child that died at once is seen by the one that waits for it.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            await write_stdin(process, handover.encode(config))
        return child

    @property
    def is_ready(self) -> bool:
        return self.ready.is_set()

    def age_seconds(self) -> float:
        return asyncio.get_running_loop().time() - self._started_at

    async def listen(self, stall_seconds: float, log: Log) -> None:
        """Receive heartbeats; kill the process when they stop."""
        loop = asyncio.get_running_loop()
        try:
            while beats := await asyncio.wait_for(loop.sock_recv(self._channel, 64), stall_seconds):
                if handover.READY in beats:
                    self.ready.set()
        except TimeoutError:
            log.error("serving_process_stalled", without_a_beat_seconds=stall_seconds)
            self.process.kill()
        except ConnectionResetError:
            return

    async def end(self, patience_seconds: float) -> bool:
        """Ask it to stop, then kill it. Returns whether it stopped in time."""
        return await end(self.process, patience_seconds)

    def close(self) -> None:
        self._channel.close()


async def write_stdin(process: Process, data: bytes) -> None:
    """Write all of a process's standard input."""
    assert process.stdin is not None  # noqa: S101
    process.stdin.write(data)
    await process.stdin.drain()
    process.stdin.close()


def environment_without_settings() -> dict[str, str]:
    """The environment without the variables of settings, some of which are secrets."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SERVAL_")}


def startup_failure(code: int) -> int:
    """The exit code for a serving process that never got ready. Raises CannotStart where it has not reported why."""
    if code != handover.ALREADY_REPORTED:
        ((name, value),) = exit_fields(code).items()
        raise CannotStart(f"the serving process ended before it was ready ({name} {value})")
    return 1


def exit_fields(code: int) -> dict[str, object]:
    """How a process ended, as fields of a log line."""
    return {"code": code} if code >= 0 else {"signal": signal.Signals(-code).name}
