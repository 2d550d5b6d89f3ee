"""What runs inside a confined child: close the file system, lock the door, and only then open the upload.

Children are forked from a template, an interpreter that imports what they need and never sees an upload. It is started
as
`python -I -m serval.conversion.sandbox.child ORDERS` with ORDERS the JSON of `TemplateConfig`, says `READY` on its
control socket, forks a child
for each message there (JSON of `ChildConfig`, with the descriptors of `ChildDescriptors`) and answers with the child's
process id.
A child says `READY` on a control socket of its own, receives one message with the descriptors of the request and, where
there is one,
of the upload, runs its task and writes one msgpack `Outcome` to the answer descriptor.
"""

import contextlib
import errno
import gc
import importlib
import importlib.util
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn, Protocol, cast

import msgspec

from serval import _native
from serval.errors import ServalError

READY = b"ready"
ORDER_BYTES = 1 << 16
FIRST_UID, UIDS = 60578, 606
"""User ids that systemd's map of ids leaves unused; each child takes one of its own, so that the kernel counts its
threads apart."""
SYSTEM_PATHS = (
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/usr/share/zoneinfo"),
    *("/sys/devices/system/cpu", "/proc/cpuinfo", "/proc/meminfo", "/proc/self/maps"),
)
LATE_IMPORTS = (
    "base64 bz2 concurrent.futures.thread csv decimal difflib encodings.ascii encodings.cp437 encodings.idna encodings.latin_1"
    " encodings.raw_unicode_escape encodings.unicode_escape encodings.utf_16 encodings.utf_32 fractions gzip hashlib hmac json linecache"
    " lzma mmap multiprocessing.pool numbers pickle pprint random secrets statistics tempfile uuid zipfile zlib zoneinfo"
)
"""What is imported of the standard library when first needed; for another user a Python below `/root` is out of reach
by then."""
MESSAGE_CHARACTERS = 2000
THREADS_UNSEEN = 8
"""The kernel refuses threads a little later than the parent stops the child for them, so that it can say why."""

Task = Callable[[bytes, bytes], bytes]


class Tasks(Protocol):
    """What a module of tasks offers."""

    TASKS: dict[str, Task]

    def preload(self) -> None: ...


class TemplateConfig(msgspec.Struct, frozen=True):
    """What the server asks of the template when it starts it."""

    control: int
    tasks: str | None
    """A file that takes the place of `serval.conversion.tasks`."""


class ChildConfig(msgspec.Struct, frozen=True):
    """What the server asks of a child."""

    task: str
    folder: str
    memory_bytes: int
    cpu_seconds: int
    threads: int
    is_required: bool
    """Whether a kernel that can not confine ends the child."""
    parent: int


class ChildDescriptors(NamedTuple):
    """What a child has open, in the order in which its orders bring them."""

    control: int
    answer: int
    acts: int
    printed: int


class Done(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="done"):
    answer: bytes


class Failed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="failed"):
    code: str
    """A `ServalError` code, or `memory`, `refused` (the kernel said no), `unexpected`."""
    message: str


Outcome = Done | Failed


def main() -> None:
    template = msgspec.json.decode(sys.argv[1], type=TemplateConfig)
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=template.control)
    os.nice(15)  # predictions go first
    be_called("serval-template")
    readable = readable_paths(template.tasks)
    tasks = tasks_in(template.tasks)
    for module in LATE_IMPORTS.split():
        importlib.import_module(module)
    tasks.preload()
    if (threads := sum(1 for _ in Path("/proc/self/task").iterdir())) != 1:
        raise RuntimeError(f"{threads} threads run after the imports, where a fork carries only one over")
    gc.freeze()  # a collection in a child would touch, and so copy, every page of what was imported
    os.write(control.fileno(), READY)
    while (order := ordered(control)) is not None:
        pid = forked(order, tasks, readable)
        for descriptor in order[1]:
            os.close(descriptor)
        os.write(control.fileno(), str(pid).encode())


def ordered(control: socket.socket) -> tuple[ChildConfig, ChildDescriptors] | None:
    """Wait for the next order. None: the server is gone."""
    message, descriptors, _, _ = socket.recv_fds(control, ORDER_BYTES, len(ChildDescriptors._fields))
    return (msgspec.json.decode(message, type=ChildConfig), ChildDescriptors(*descriptors)) if message else None


def forked(order: tuple[ChildConfig, ChildDescriptors], tasks: Tasks, readable: list[str]) -> int:
    """Fork a child and let go of it: whoever adopts orphans is its parent when this returns. Raises OSError."""
    told, tell = os.pipe2(os.O_CLOEXEC)
    between = os.fork()
    if between == 0:
        status = 1
        try:
            here = os.getpid()
            pid = os.fork()
            if pid == 0:
                run(*order, tasks, readable, here)
            os.write(tell, str(pid).encode())
            status = 0
        finally:
            leave(status)
    os.close(tell)
    found = os.read(told, 20)
    os.close(told)
    os.waitpid(between, 0)
    if not found:
        raise ChildProcessError("no process can be forked")
    return int(found)


def run(
    orders: ChildConfig, descriptors: ChildDescriptors, tasks: Tasks, readable: list[str], between: int
) -> NoReturn:
    """Be a child from its first breath to its last. `between`: the process that forked it and lets go of it."""
    try:
        os.setsid()
        be_called(f"serval-{orders.task}")
        be_first_to_go()
        os.chdir(orders.folder)
        for standard in (1, 2):
            os.dup2(descriptors.printed, standard)
        while os.getppid() == between:  # a death signal is of the parent that a process has when it asks for one
            time.sleep(0.0005)
        if numbers := sys.modules.get("numpy.random"):
            numbers.seed()  # as the standard library does for its own: children of one template are no twins
        _native.restrict_files(readable, required=orders.is_required)
        task = tasks.TASKS[orders.task]
        confine(orders, descriptors)
        request, upload = handed(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=descriptors.control))
        outcome = outcome_of(task, upload, request)
        write_all(descriptors.answer, msgspec.msgpack.encode(outcome))
        leave(0)
    except BaseException as error:  # noqa: BLE001 - nothing may climb back into what the template does
        traceback.print_exception(error)
        leave(1)


def be_called(name: str) -> None:
    """Take a name that `ps` and `top` show, of 15 bytes at most."""
    with contextlib.suppress(OSError):  # /proc is read-only in some containers, and this is a courtesy
        Path("/proc/self/comm").write_text(name[:15])


def be_first_to_go() -> None:
    """Be what the kernel ends when memory runs out."""
    with contextlib.suppress(OSError):  # /proc is read-only in some containers, and this is a courtesy
        Path("/proc/self/oom_score_adj").write_text("1000")


def tasks_in(file: str | None) -> Tasks:
    if file is None:
        return cast(Tasks, importlib.import_module("serval.conversion.tasks"))
    spec = importlib.util.spec_from_file_location("tasks", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules["tasks"] = module
    spec.loader.exec_module(module)
    return cast(Tasks, module)


def confine(orders: ChildConfig, descriptors: ChildDescriptors) -> None:
    """Lock this process for good; end it where the parent died meanwhile, because a death signal set too late never
    comes."""
    _native.confine(
        descriptors=[0, 1, 2, descriptors.control, descriptors.answer],
        acts=descriptors.acts,
        uid=FIRST_UID + os.getpid() % UIDS if os.geteuid() == 0 else None,
        memory_bytes=orders.memory_bytes,
        cpu_seconds=orders.cpu_seconds,
        threads=orders.threads + THREADS_UNSEEN,
        required=orders.is_required,
    )
    if os.getppid() != orders.parent:
        leave(1)


def readable_paths(tasks: str | None) -> list[str]:
    """Where this interpreter imports from, and what libraries read of the system: code and facts, no data."""
    imports = [os.path.realpath(entry) for entry in sys.path if entry]
    for path in imports:
        if Path.cwd().is_relative_to(path):
            raise ValueError(f"the data folder lies below {path}, which uploads may read: choose another")
    return [*imports, *SYSTEM_PATHS, *([tasks] if tasks else [])]


def handed(control: socket.socket) -> tuple[bytes, bytes]:
    """Say ready, wait for work, and read the request and the upload (empty where there is none). No work: the parent is
    gone."""
    os.write(control.fileno(), READY)
    _, descriptors, _, _ = socket.recv_fds(control, 16, 2)
    control.close()
    if not descriptors:
        leave(0)
    request, *upload = [read_all(descriptor) for descriptor in descriptors]
    return request, upload[0] if upload else b""


def read_all(descriptor: int) -> bytes:
    with open(descriptor, "rb", buffering=0) as file:
        return file.readall()


def outcome_of(task: Task, upload: bytes, request: bytes) -> Outcome:
    try:
        return Done(task(upload, request))
    except BaseException as error:  # noqa: BLE001 - hostile code raises what it likes, SystemExit among it
        return failure(error)


def failure(error: BaseException) -> Failed:
    """What went wrong; memory and refusals of the kernel count also where the task translated them."""
    chain = list(causes(error))
    if any(
        isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno == errno.ENOMEM)
        for cause in chain
    ):
        return Failed("memory", "")
    for cause in chain:
        if isinstance(cause, PermissionError):
            return Failed("refused", text_of(cause))
    if isinstance(error, ServalError):
        return Failed(error.code, error.message[:MESSAGE_CHARACTERS])
    traceback.print_exception(error)
    return Failed("unexpected", f"{type(error).__name__}: {text_of(error)}"[:MESSAGE_CHARACTERS])


def causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    for _ in range(20):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__ or cause.__context__


def text_of(error: BaseException) -> str:
    return str(error)[:MESSAGE_CHARACTERS]


def write_all(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def leave(status: int) -> NoReturn:
    """End at once: what the upload registered for the end of the interpreter does not run."""
    os._exit(status)


if __name__ == "__main__":
    main()
