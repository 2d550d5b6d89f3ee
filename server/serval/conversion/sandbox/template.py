"""The interpreter that confined children are forked from: it has imported what they need, and never sees an upload."""

import asyncio
import os
import socket
import subprocess
from pathlib import Path

import msgspec

from serval import _native
from serval.conversion.sandbox.protocol import READY, ChildConfig, ChildDescriptors, TemplateConfig
from serval.errors import Unavailable

ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "OPENBLAS_NUM_THREADS": "1",  # a process that forks may have only one thread
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "JOBLIB_MULTIPROCESSING": "0",  # `n_jobs=-1` runs in this thread: no semaphore files, no processes
    "MALLOC_ARENA_MAX": "2",
    "MIMALLOC_ARENA_RESERVE": "16384",  # in KiB; the default of 1 GiB would count against the memory limit
    "ORT_DISABLE_TELEMETRY": "1",  # otherwise it runs in a thread of its own
}
START_SECONDS = 60.0
PID_BYTES = 20
STDERR_TAIL_BYTES = 16 << 10


class Template:
    """One fresh interpreter by exec, with a session of its own and a clean environment. Its methods belong to one
    loop."""

    def __init__(self, python: str, root: Path, tasks: Path | None) -> None:
        """Start it; `ready` waits for its imports. What it forks becomes this process's own children. Raises
        OSError."""
        _native.adopt_orphans()
        self._lock = asyncio.Lock()
        self._failed: Unavailable | None = None
        self._printed = os.memfd_create("printed", os.MFD_CLOEXEC)
        self._control, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)
        config = TemplateConfig(control=control.fileno(), tasks=str(tasks) if tasks else None)
        with control:
            self._process = subprocess.Popen(
                [
                    python,
                    "-I",
                    "-B",
                    "-u",
                    "-m",
                    "serval.conversion.sandbox.child",
                    msgspec.json.encode(config).decode(),
                ],
                stdin=subprocess.DEVNULL,
                stdout=self._printed,
                stderr=self._printed,
                pass_fds=(config.control,),
                cwd=root,
                env=ENVIRONMENT,
                start_new_session=True,
            )

    @property
    def is_alive(self) -> bool:
        return self._failed is None and self._process.poll() is None

    async def ready(self) -> None:
        """Wait for its imports. Raises Unavailable."""
        if await self._received(len(READY)) != READY:
            raise self._unavailable("its process did not start")

    async def fork(self, config: ChildConfig, descriptors: ChildDescriptors) -> int:
        """Return the process id of a new child, which has the descriptors by then. Do not cancel it. Raises
        Unavailable."""
        async with self._lock:
            if self._failed is not None:  # it may be closed
                raise self._failed
            try:
                socket.send_fds(self._control, [msgspec.json.encode(config)], descriptors)
            except OSError:
                raise self._unavailable("the template process has ended") from None
            if not (pid := await self._received(PID_BYTES)):
                raise self._unavailable("no process can be forked")
            return int(pid)

    def close(self) -> None:
        """End it; its children live on."""
        self._process.kill()
        self._process.wait()
        self._control.close()
        os.close(self._printed)

    async def _received(self, max_bytes: int) -> bytes:
        """The next message; empty if it has ended or takes too long."""
        try:
            async with asyncio.timeout(START_SECONDS):
                return await asyncio.get_running_loop().sock_recv(self._control, max_bytes)
        except (TimeoutError, ConnectionError):
            self._process.kill()
            return b""

    def _unavailable(self, reason: str) -> Unavailable:
        lines = os.pread(self._printed, STDERR_TAIL_BYTES, 0).decode("utf-8", "replace").strip().splitlines()
        self._failed = Unavailable(f"Conversion is unavailable: {reason} ({lines[-1] if lines else 'without output'})")
        return self._failed
