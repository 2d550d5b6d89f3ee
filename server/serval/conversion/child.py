"""What runs inside a confined child: close the file system, import, lock the door, and only then open the upload.

Started as `python -I -m serval.conversion.child ORDERS` with ORDERS the JSON of `Orders`. On the control socket it says
`READY`, receives one message with the descriptors of the request and, where there is one, of the upload, runs its task and writes
one msgpack `Outcome` to the answer descriptor.
"""

import contextlib
import errno
import importlib
import importlib.util
import os
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, cast

import msgspec

from serval import _native
from serval.errors import ServalError

READY = b"ready"
FIRST_UID, UIDS = 60578, 606
"""User ids that systemd's map of ids leaves unused; each child takes one of its own, so that the kernel counts its threads apart."""
SYSTEM_PATHS = (
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/usr/share/zoneinfo"),
    *("/sys/devices/system/cpu", "/proc/cpuinfo", "/proc/meminfo", "/proc/self/maps"),
)
LATE_IMPORTS = (
    "base64 bz2 concurrent.futures.thread csv decimal difflib encodings.ascii encodings.cp437 encodings.idna encodings.latin_1"
    " encodings.raw_unicode_escape encodings.unicode_escape encodings.utf_16 encodings.utf_32 fractions gzip hashlib hmac json linecache"
    " lzma mmap multiprocessing.pool numbers pickle pprint random secrets statistics tempfile uuid zipfile zlib zoneinfo"
)
"""What is imported of the standard library when first needed; for another user a Python below `/root` is out of reach by then."""
MESSAGE_CHARACTERS = 2000
THREADS_UNSEEN = 8
"""The kernel refuses threads a little later than the parent stops the child for them, so that it can say why."""

Task = Callable[[bytes, bytes], bytes]


class Tasks(Protocol):
    """What a module of tasks offers."""

    TASKS: dict[str, Task]

    def preload(self, task: str) -> None: ...


class Orders(msgspec.Struct, frozen=True):
    """What the parent asks of a child when it starts it."""

    task: str
    tasks: str | None
    """A file that takes the place of `serval.conversion.tasks`."""
    control: int
    answer: int
    acts: int
    memory_bytes: int
    cpu_seconds: int
    threads: int
    is_required: bool
    """Whether a kernel that can not confine ends the child."""
    parent: int


class Done(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="done"):
    answer: bytes


class Failed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="failed"):
    code: str
    """A `ServalError` code, or `memory`, `refused` (the kernel said no), `unexpected`."""
    message: str


Outcome = Done | Failed


def main() -> None:
    orders = msgspec.json.decode(sys.argv[1], type=Orders)
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=orders.control)
    step_back()
    _native.restrict_files(readable_paths(orders.tasks), required=orders.is_required)
    tasks = tasks_in(orders.tasks)
    for module in LATE_IMPORTS.split():
        importlib.import_module(module)
    tasks.preload(orders.task)
    task = tasks.TASKS[orders.task]
    confine(orders)
    request, upload = handed(control)
    outcome = outcome_of(task, upload, request)
    write_all(orders.answer, msgspec.msgpack.encode(outcome))
    leave(0)


def step_back() -> None:
    """Predictions go first for the CPU, and the child is the first to go when memory runs out."""
    os.nice(15)
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


def confine(orders: Orders) -> None:
    """Lock this process for good; end it where the parent died meanwhile, because a death signal set too late never comes."""
    _native.confine(
        descriptors=[0, 1, 2, orders.control, orders.answer],
        acts=orders.acts,
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
    """Say ready, wait for work, and read the request and the upload (empty where there is none). No work: the parent is gone."""
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
    if any(isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno == errno.ENOMEM) for cause in chain):
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


def leave(status: int) -> None:
    """End at once: what the upload registered for the end of the interpreter does not run."""
    os._exit(status)


if __name__ == "__main__":
    main()
