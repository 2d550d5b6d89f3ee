"""A confined process as its parent sees it: started, given its work, watched, cleaned up."""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
import tempfile
from pathlib import Path

import msgspec

from serval.conversion.sandbox.limits import Limits, human_size
from serval.conversion.sandbox.memory_files import PipeBuffer, sealed_memory
from serval.conversion.sandbox.process_status import confinement_gap, cpu_seconds_of, status_of, threads_of
from serval.conversion.sandbox.protocol import READY, ChildConfig, ChildDescriptors
from serval.conversion.sandbox.template import START_SECONDS, Template
from serval.errors import Unavailable

VIOLATIONS = {
    "p": "tried to start a process",
    "c": "tried to open a connection",
    "f": "tried to change a file",
    "s": "tried to signal another process",
    "l": "tried to look into another process",
    "k": "tried to reach into the kernel",
}
"""The calls that no model makes, by the letter that `native/src/confine` writes; other letters are only logged."""
WATCH_SECONDS = 0.05
LOGGED_BYTES = 16 << 10
LOG_BYTES = 1 << 20
VIOLATIONS_READ_BYTES = 1 << 16


log = logging.getLogger(__name__)


class ProcessEnd(msgspec.Struct, frozen=True):
    """How a process ended, read after its death: all hostile but `stop_reason`, `status` and `cpu_seconds`."""

    stop_reason: str | None
    """Why the parent killed it, as the rest of a sentence that begins with the file."""
    status: int
    """Exit status; negative: the signal."""
    cpu_seconds: float
    violations: str
    """A letter for each kind of call that the kernel refused (`VIOLATIONS`)."""
    answer: bytes
    log: bytes


class ConfinedProcess:
    """One interpreter for one upload, its pipes and its empty folder. All methods belong to the loop that started
    it."""

    def __init__(self, *, template: Template, root: Path, task: str, limits: Limits, is_required: bool) -> None:
        """Fork it from the template; `ready` waits until it is confined. Raises OSError."""
        self._limits = limits
        self._is_required = is_required
        self._stop_reason: str | None = None
        self._status: int | None = None
        self._letters: set[str] = set()
        self._cpu_seconds = 0.0
        self._loop = asyncio.get_running_loop()
        self._dead = asyncio.Event()
        self._folder = Path(tempfile.mkdtemp(dir=root))
        self._control, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)
        answers, answer = os.pipe2(os.O_CLOEXEC)
        logs, printed = os.pipe2(os.O_CLOEXEC)
        self._violations, violations = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._answer = PipeBuffer(answers, limits.output_bytes)
        self._log = PipeBuffer(logs, LOG_BYTES)
        config = ChildConfig(
            task=task,
            folder=str(self._folder),
            memory_bytes=limits.memory_bytes,
            cpu_seconds=limits.cpu_seconds,
            threads=limits.threads,
            is_required=is_required,
            parent=os.getpid(),
        )
        descriptors = ChildDescriptors(control.detach(), answer, violations, printed)
        self._spawned = self._loop.create_task(self._spawn(template, config, descriptors))

    async def _spawn(self, template: Template, config: ChildConfig, descriptors: ChildDescriptors) -> None:
        try:
            self.pid = await template.fork(config, descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        self._pidfd = os.pidfd_open(self.pid)
        self._loop.add_reader(self._violations, self._read_violations)
        self._loop.add_reader(self._pidfd, self._dead.set)
        answer_limit, log_limit = human_size(self._limits.output_bytes), human_size(LOG_BYTES)
        self._loop.add_reader(
            self._answer.source, self._collect, self._answer, f"answered with more than {answer_limit}"
        )
        self._loop.add_reader(self._log.source, self._collect, self._log, f"printed more than {log_limit}")

    async def ready(self) -> None:
        """Wait until it has confined itself, and check that from outside. Raises Unavailable."""
        await asyncio.shield(self._spawned)
        try:
            async with asyncio.timeout(START_SECONDS):
                message = await self._loop.sock_recv(self._control, len(READY))
        except (TimeoutError, ConnectionError):
            message = b""
        if message != READY:
            self.stop("did not start")
            await self._dead.wait()
            raise Unavailable(f"Conversion is unavailable: its confined process did not start ({self._stderr_tail()})")
        if self._is_required and (gap := next(filter(None, map(confinement_gap, threads_of(self.pid))), None)):
            raise Unavailable(f"Conversion is unavailable: its process is not confined ({gap})")

    def assign(self, upload: Path | None, request: bytes) -> None:
        """Send it its work: descriptors, so that not a byte of the upload passes through this process.

        Raises OSError where the upload cannot be opened, Unavailable where the process is dead.
        """
        descriptors = [sealed_memory(request)]
        try:
            if upload is not None:
                descriptors.append(os.open(upload, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW))
            socket.send_fds(self._control, [b"work"], descriptors)
        except ConnectionError:
            raise Unavailable("Conversion is unavailable: its confined process ended before it had work") from None
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    async def ended(self) -> ProcessEnd:
        """Wait for its end, within the limits; all that it started is dead before its answer is read."""
        deadline = self._loop.time() + self._limits.wall_seconds
        while not self._dead.is_set():
            self._enforce_limits(deadline)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._dead.wait(), WATCH_SECONDS)
        self._reap()
        return ProcessEnd(
            stop_reason=self._stop_reason,
            status=self._status or 0,
            cpu_seconds=self._cpu_seconds,
            violations="".join(sorted(self._letters)),
            answer=self._answer.sealed(),
            log=self._log.sealed()[:LOGGED_BYTES],
        )

    def stop(self, reason: str) -> None:
        """Kill it. The first reason is the one that counts."""
        if self._stop_reason is None and self._is_alive:
            self._stop_reason = reason
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    @property
    def _is_alive(self) -> bool:
        """Asked of the kernel: the loop may not have noticed the end yet."""
        return self._status is None and os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    async def clean_up(self) -> None:
        """Kill it if it lives, wait for its death, and release all that it held."""
        await asyncio.wait([self._spawned])
        if self._spawned.exception() is None:
            self.stop("was not needed any more")
            await self._dead.wait()
            self._reap()
            for descriptor in (self._pidfd, self._violations, self._answer.source, self._log.source):
                self._loop.remove_reader(descriptor)
            os.close(self._pidfd)
        os.close(self._violations)
        self._answer.close()
        self._log.close()
        self._control.close()
        shutil.rmtree(self._folder, onerror=lambda _call, path, _error: log.warning("%s could not be removed", path))

    def _enforce_limits(self, deadline: float) -> None:
        if self._loop.time() > deadline:
            self.stop(f"ran past {self._limits.wall_seconds:g} s")
        elif int(status_of(self.pid).get("Threads", "0")) > self._limits.threads:
            self.stop(f"started more than {self._limits.threads} threads")

    def _read_violations(self) -> None:
        """Record the refused calls; the first that no model makes ends the process."""
        try:
            letters = os.read(self._violations, VIOLATIONS_READ_BYTES)
        except BlockingIOError:
            return
        if not letters:
            self._loop.remove_reader(self._violations)
        self._letters.update(letters.decode("ascii", "replace"))
        if violation := next((VIOLATIONS[letter] for letter in sorted(self._letters) if letter in VIOLATIONS), None):
            self.stop(violation)

    def _collect(self, buffer: PipeBuffer, over_limit: str) -> None:
        if not buffer.take():
            self._loop.remove_reader(buffer.source)
        if buffer.is_over:
            self.stop(over_limit)
            self._loop.remove_reader(buffer.source)

    def _reap(self) -> None:
        """Kill what is left of its session while its number still names it, then let the kernel forget it."""
        if self._status is not None:
            return
        self._cpu_seconds = cpu_seconds_of(self.pid)
        with contextlib.suppress(ProcessLookupError):  # it died before it had a session
            os.killpg(self.pid, signal.SIGKILL)
        self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self._read_violations()
        for buffer in (self._answer, self._log):
            while not buffer.is_over and buffer.take():
                pass

    def _stderr_tail(self) -> str:
        self._reap()
        lines = self._log.sealed().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else f"it ended with status {self._status}"
