"""The interpreter that confined children are forked from: it has imported what they need, and never sees an upload."""

import asyncio
import os
import socket
import subprocess
from pathlib import Path

import msgspec

from serval import _native
from serval.conversion.sandbox.child import READY, ChildConfig, ChildDescriptors, TemplateConfig
from serval.errors import Unavailable

ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "OPENBLAS_NUM_THREADS": "1",  # what forks may have one thread
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "JOBLIB_MULTIPROCESSING": "0",  # `n_jobs=-1` runs in this thread: no semaphore files, no processes
    "MALLOC_ARENA_MAX": "2",
    "MIMALLOC_ARENA_RESERVE": "16384",  # in KiB; the default of 1 GiB would count against the limit of memory
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime reports its use to its makers otherwise, from a thread of its own
}
START_SECONDS = 60.0
PID_BYTES = 20
LAST_WORDS_BYTES = 16 << 10


class Template:
    """One fresh interpreter by exec, in a session of its own, with a clean environment. Its methods belong to one
    loop."""

    def __init__(self, python: str, root: Path, tasks: Path | None) -> None:
        """Start it; `ready` waits for its imports. What it forks becomes this process's own children. Raises
        OSError."""
        _native.adopt_orphans()
        self._turn = asyncio.Lock()
        self._failed: Unavailable | None = None
        self._printed = os.memfd_create("printed", os.MFD_CLOEXEC)
        self._control, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)
        orders = TemplateConfig(control=control.fileno(), tasks=str(tasks) if tasks else None)
        with control:
            self._process = subprocess.Popen(
                [
                    python,
                    "-I",
                    "-B",
                    "-u",
                    "-m",
                    "serval.conversion.sandbox.child",
                    msgspec.json.encode(orders).decode(),
                ],
                stdin=subprocess.DEVNULL,
                stdout=self._printed,
                stderr=self._printed,
                pass_fds=(orders.control,),
                cwd=root,
                env=ENVIRONMENT,
                start_new_session=True,
            )

    @property
    def is_alive(self) -> bool:
        return self._failed is None and self._process.poll() is None

    async def ready(self) -> None:
        """Wait until it has imported all. Raises Unavailable."""
        if await self._said(len(READY)) != READY:
            raise self._unavailable("its process did not start")

    async def fork(self, orders: ChildConfig, descriptors: ChildDescriptors) -> int:
        """Return the process id of a new child, which has the descriptors by then. Not to be cancelled. Raises
        Unavailable."""
        async with self._turn:
            if self._failed is not None:  # and may be closed
                raise self._failed
            try:
                socket.send_fds(self._control, [msgspec.json.encode(orders)], descriptors)
            except OSError:
                raise self._unavailable("what its processes are forked from has ended") from None
            if not (pid := await self._said(PID_BYTES)):
                raise self._unavailable("no process can be forked")
            return int(pid)

    def close(self) -> None:
        """End it; its children live on."""
        self._process.kill()
        self._process.wait()
        self._control.close()
        os.close(self._printed)

    async def _said(self, most: int) -> bytes:
        """The next message; nothing where it has ended or takes too long."""
        try:
            async with asyncio.timeout(START_SECONDS):
                return await asyncio.get_running_loop().sock_recv(self._control, most)
        except (TimeoutError, ConnectionError):
            self._process.kill()
            return b""

    def _unavailable(self, why: str) -> Unavailable:
        lines = os.pread(self._printed, LAST_WORDS_BYTES, 0).decode("utf-8", "replace").strip().splitlines()
        self._failed = Unavailable(f"Conversion is unavailable: {why} ({lines[-1] if lines else 'it said nothing'})")
        return self._failed
