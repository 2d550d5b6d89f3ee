"""A confined child as its parent sees it: started, handed work, watched, dead."""

import asyncio
import contextlib
import fcntl
import logging
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from serval.conversion.sandbox.child import READY, ChildConfig, ChildDescriptors
from serval.conversion.sandbox.template import START_SECONDS, Template
from serval.errors import Unavailable

ACTS = {
    "p": "tried to start a process",
    "c": "tried to open a connection",
    "f": "tried to change a file",
    "s": "tried to signal another process",
    "l": "tried to look into another process",
    "k": "tried to reach into the kernel",
}
"""The calls that no model makes, by the letter that `confine.rs` writes; another letter is only noted."""
WATCH_SECONDS = 0.05
LOG_KEPT_BYTES = 16 << 10
LOG_BYTES = 1 << 20
MOVED_BYTES = 1 << 20
ACTS_READ_BYTES = 1 << 16
CLOCK_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL


log = logging.getLogger(__name__)


class Limits(msgspec.Struct, frozen=True):
    """What one child may use. `memory_bytes` counts private memory, imports included; CPU and wall time count from the
    first byte."""

    memory_bytes: int = 2 << 30
    cpu_seconds: int = 120
    wall_seconds: float = 120.0
    output_bytes: int = 1 << 30
    threads: int = 32


class Ending(msgspec.Struct, frozen=True):
    """How a child ended, read after its death: all of it hostile but `stopped`, `status` and `cpu_seconds`."""

    stopped: str | None
    """Why the parent killed it, as the rest of a sentence that begins with the file."""
    status: int
    """Exit status; negative: the signal."""
    cpu_seconds: float
    acts: str
    """A letter for each kind of call that the kernel refused (`confine.rs`)."""
    answer: bytes
    log: bytes


class Sink:
    """Bytes of a pipe, moved into memory that belongs to this process alone, never more than `limit` and one."""

    def __init__(self, source: int, limit: int) -> None:
        self.source = source
        self._limit = limit
        self._size = 0
        self._memory = os.memfd_create("sink", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)

    @property
    def is_over(self) -> bool:
        return self._size > self._limit

    def take(self) -> bool:
        """Move what has come. False: nothing is left to come, or nothing has come now."""
        try:
            moved = os.splice(
                self.source, self._memory, min(MOVED_BYTES, self._limit + 1 - self._size), flags=os.SPLICE_F_NONBLOCK
            )
        except BlockingIOError:
            return False
        self._size += moved
        return moved > 0

    def sealed(self) -> bytes:
        """All of it, after which nobody can change it."""
        fcntl.fcntl(self._memory, fcntl.F_ADD_SEALS, SEALS)
        return os.pread(self._memory, self._size, 0)

    def close(self) -> None:
        os.close(self.source)
        os.close(self._memory)


class Child:
    """One interpreter for one upload, its pipes and its empty folder. Every method belongs to the loop that started
    it."""

    def __init__(self, *, template: Template, root: Path, task: str, limits: Limits, is_required: bool) -> None:
        """Fork it from the template; `ready` waits until it is confined. Raises OSError."""
        self._limits = limits
        self._is_required = is_required
        self._stopped: str | None = None
        self._status: int | None = None
        self._seen: set[str] = set()
        self._cpu_seconds = 0.0
        self._loop = asyncio.get_running_loop()
        self._dead = asyncio.Event()
        self._folder = Path(tempfile.mkdtemp(dir=root))
        self._control, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)
        answers, answer = os.pipe2(os.O_CLOEXEC)
        logs, printed = os.pipe2(os.O_CLOEXEC)
        self._acts, acts = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._answer = Sink(answers, limits.output_bytes)
        self._log = Sink(logs, LOG_BYTES)
        orders = ChildConfig(
            task=task,
            folder=str(self._folder),
            memory_bytes=limits.memory_bytes,
            cpu_seconds=limits.cpu_seconds,
            threads=limits.threads,
            is_required=is_required,
            parent=os.getpid(),
        )
        theirs = ChildDescriptors(control.detach(), answer, acts, printed)
        self._birth = self._loop.create_task(self._be_born(template, orders, theirs))

    async def _be_born(self, template: Template, orders: ChildConfig, theirs: ChildDescriptors) -> None:
        try:
            self.pid = await template.fork(orders, theirs)
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        self._pidfd = os.pidfd_open(self.pid)
        self._loop.add_reader(self._acts, self._see)
        self._loop.add_reader(self._pidfd, self._dead.set)
        output_limit = size(self._limits.output_bytes)
        self._loop.add_reader(
            self._answer.source, self._collect, self._answer, f"answered with more than {output_limit}"
        )
        self._loop.add_reader(self._log.source, self._collect, self._log, f"printed more than {size(LOG_BYTES)}")

    async def ready(self) -> None:
        """Wait until it has locked itself in, and see for ourselves. Raises Unavailable."""
        await asyncio.shield(self._birth)
        try:
            async with asyncio.timeout(START_SECONDS):
                said = await self._loop.sock_recv(self._control, len(READY))
        except (TimeoutError, ConnectionError):
            said = b""
        if said != READY:
            self.stop("did not start")
            await self._dead.wait()
            raise Unavailable(f"Conversion is unavailable: its confined process did not start ({self._last_words()})")
        if self._is_required and (hole := next(filter(None, map(hole_in, threads_of(self.pid))), None)):
            raise Unavailable(f"Conversion is unavailable: its process is not confined ({hole})")

    def hand(self, upload: Path | None, request: bytes) -> None:
        """Give it its work: descriptors, so that not a byte of the upload passes through this process.

        Raises OSError where the upload can not be opened, Unavailable where the child is dead.
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

    async def ended(self) -> Ending:
        """Wait for its end, within the limits; whatever it started is dead before its answer is read."""
        deadline = self._loop.time() + self._limits.wall_seconds
        while not self._dead.is_set():
            self._watch(deadline)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._dead.wait(), WATCH_SECONDS)
        self._reap()
        return Ending(
            stopped=self._stopped,
            status=self._status or 0,
            cpu_seconds=self._cpu_seconds,
            acts="".join(sorted(self._seen)),
            answer=self._answer.sealed(),
            log=self._log.sealed()[:LOG_KEPT_BYTES],
        )

    def stop(self, why: str) -> None:
        """Kill it. The first reason is the one that counts."""
        if self._stopped is None and self._is_alive:
            self._stopped = why
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    @property
    def _is_alive(self) -> bool:
        """Asked of the kernel: the loop may not have been told yet."""
        return self._status is None and os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    async def bury(self) -> None:
        """Kill it if it lives, wait for its death, and give back all that it held."""
        await asyncio.wait([self._birth])
        if self._birth.exception() is None:
            self.stop("was not needed any more")
            await self._dead.wait()
            self._reap()
            for descriptor in (self._pidfd, self._acts, self._answer.source, self._log.source):
                self._loop.remove_reader(descriptor)
            os.close(self._pidfd)
        os.close(self._acts)
        self._answer.close()
        self._log.close()
        self._control.close()
        shutil.rmtree(self._folder, onerror=lambda _call, path, _error: log.warning("%s could not be removed", path))

    def _watch(self, deadline: float) -> None:
        if self._loop.time() > deadline:
            self.stop(f"ran past {self._limits.wall_seconds:g} s")
        elif int(status_of(self.pid).get("Threads", "0")) > self._limits.threads:
            self.stop(f"started more than {self._limits.threads} threads")

    def _see(self) -> None:
        """Note the refused calls; the first that no model makes ends it."""
        try:
            letters = os.read(self._acts, ACTS_READ_BYTES)
        except BlockingIOError:
            return
        if not letters:
            self._loop.remove_reader(self._acts)
        self._seen.update(letters.decode("ascii", "replace"))
        if act := next((ACTS[letter] for letter in sorted(self._seen) if letter in ACTS), None):
            self.stop(act)

    def _collect(self, sink: Sink, too_much: str) -> None:
        if not sink.take():
            self._loop.remove_reader(sink.source)
        if sink.is_over:
            self.stop(too_much)
            self._loop.remove_reader(sink.source)

    def _reap(self) -> None:
        """Kill what is left of its session while its number still names it, then let the kernel forget it."""
        if self._status is not None:
            return
        self._cpu_seconds = cpu_seconds_of(self.pid)
        with contextlib.suppress(ProcessLookupError):  # it died before it had a session
            os.killpg(self.pid, signal.SIGKILL)
        self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self._see()
        for sink in (self._answer, self._log):
            while not sink.is_over and sink.take():
                pass

    def _last_words(self) -> str:
        self._reap()
        lines = self._log.sealed().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else f"it ended with status {self._status}"


def sealed_memory(content: bytes) -> int:
    """A descriptor from which `content` can be read and by which it can not be changed."""
    descriptor = os.memfd_create("request", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def status_of(pid: int) -> dict[str, str]:
    """The fields of `/proc/<pid>/status`."""
    return fields_of(Path(f"/proc/{pid}/status"))


def threads_of(pid: int) -> Iterator[dict[str, str]]:
    """The fields of the status of each of its threads."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            yield fields_of(thread / "status")


def fields_of(status: Path) -> dict[str, str]:
    return {name: value.strip() for name, _, value in (line.partition(":") for line in status.read_text().splitlines())}


def hole_in(status: dict[str, str]) -> str | None:
    """What a confined process may not show: root, a capability, no filter."""
    if "0" in status["Uid"].split():
        return "it runs as root"
    if int(status["CapPrm"], 16) or int(status["CapEff"], 16):
        return "it has capabilities"
    if status["Seccomp"] != "2":
        return "no system call is filtered"
    return None if status["NoNewPrivs"] == "1" else "it could gain privileges"


def cpu_seconds_of(pid: int) -> float:
    """User and system time of a process that is dead but not yet reaped, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS_PER_SECOND


def size(count: int) -> str:
    """Bytes as people say them: `2 GiB`, `1.5 MiB`."""
    for unit, bytes_each in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= bytes_each:
            return f"{count / bytes_each:.3g} {unit}"
    return f"{count} bytes"
