"""What runs inside a confined child: restrict files, confine the process, and only then read the upload.

Children are forked from a template, an interpreter that imports what they need and never sees an upload. It is started
as `python -I -m serval.conversion.sandbox.child CONFIG`, with CONFIG the JSON of `TemplateConfig`. It sends `READY` on
its control socket, forks a child for each message there (JSON of `ChildConfig`, with the descriptors of
`ChildDescriptors`) and answers with the child's process id.

A child sends `READY` on a control socket of its own and receives one message with the descriptors of the request and,
if there is one, of the upload. It runs its task and writes one msgpack `Outcome` to the answer descriptor.
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
from typing import NoReturn, Protocol, cast

import msgspec

from serval import _native
from serval.conversion.sandbox.protocol import (
    READY,
    ChildConfig,
    ChildDescriptors,
    Done,
    Failed,
    Outcome,
    TemplateConfig,
)
from serval.errors import ServalError

CONFIG_BYTES = 1 << 16
FIRST_UID, UIDS = 60578, 606
"""User ids that systemd leaves unused; each child takes one of its own, so that the kernel counts its threads apart."""
SYSTEM_PATHS = (
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/usr/share/zoneinfo"),
    *("/sys/devices/system/cpu", "/proc/cpuinfo", "/proc/meminfo", "/proc/self/maps"),
)
LATE_IMPORTS = (
    "base64 bz2 concurrent.futures.thread csv decimal difflib encodings.ascii encodings.cp437 encodings.idna"
    " encodings.latin_1 encodings.raw_unicode_escape encodings.unicode_escape encodings.utf_16 encodings.utf_32"
    " fractions gzip hashlib hmac json linecache lzma mmap multiprocessing.pool numbers pickle pprint random secrets"
    " statistics tempfile uuid zipfile zlib zoneinfo"
)
"""What libraries import of the standard library when first needed; by then another user cannot read a Python below
`/root`."""
MESSAGE_CHARACTERS = 2000
SPARE_THREADS = 8
"""The kernel's limit is this much above the parent's, so that the parent stops the child and can give the reason."""

Task = Callable[[bytes, bytes], bytes]


class Tasks(Protocol):
    """A module of tasks."""

    TASKS: dict[str, Task]

    def preload(self) -> None: ...


def main() -> None:
    template = msgspec.json.decode(sys.argv[1], type=TemplateConfig)
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=template.control)
    os.nice(15)  # predictions go first
    set_process_name("serval-template")
    gc.disable()  # each collection would walk all that is imported
    readable = readable_paths(template.tasks)
    tasks = tasks_in(template.tasks)
    for module in LATE_IMPORTS.split():
        importlib.import_module(module)
    tasks.preload()
    if (threads := sum(1 for _ in Path("/proc/self/task").iterdir())) != 1:
        raise RuntimeError(f"{threads} threads run after the imports, where a fork carries only one over")
    gc.freeze()  # a collection in a child would touch, and so copy, every page of what was imported
    gc.enable()
    os.write(control.fileno(), READY)
    while (received := next_config(control)) is not None:
        config, descriptors = received
        pid = forked(config, descriptors, tasks, readable)
        for descriptor in descriptors:
            os.close(descriptor)
        os.write(control.fileno(), str(pid).encode())


def next_config(control: socket.socket) -> tuple[ChildConfig, ChildDescriptors] | None:
    """Wait for the next child to fork. None: the server is gone."""
    message, descriptors, _, _ = socket.recv_fds(control, CONFIG_BYTES, len(ChildDescriptors._fields))
    return (msgspec.json.decode(message, type=ChildConfig), ChildDescriptors(*descriptors)) if message else None


def forked(config: ChildConfig, descriptors: ChildDescriptors, tasks: Tasks, readable: list[str]) -> int:
    """Fork a child twice removed: when this returns, the server has adopted it. Return its id. Raises OSError."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    intermediate = os.fork()
    if intermediate == 0:
        status = 1
        try:
            parent = os.getpid()
            pid = os.fork()
            if pid == 0:
                run(config, descriptors, tasks, readable, parent)
            os.write(writer, str(pid).encode())
            status = 0
        finally:
            leave(status)
    os.close(writer)
    pid_text = os.read(reader, 20)
    os.close(reader)
    os.waitpid(intermediate, 0)
    if not pid_text:
        raise ChildProcessError("no process can be forked")
    return int(pid_text)


def run(
    config: ChildConfig, descriptors: ChildDescriptors, tasks: Tasks, readable: list[str], intermediate: int
) -> NoReturn:
    """Run a child from start to exit. `intermediate`: the process that forked it, which exits at once."""
    try:
        os.setsid()
        set_process_name(f"serval-{config.task}")
        prefer_for_oom_kill()
        os.chdir(config.folder)
        for standard in (1, 2):
            os.dup2(descriptors.printed, standard)
        while os.getppid() == intermediate:  # a death signal names the parent of the moment it is set
            time.sleep(0.0005)
        if random := sys.modules.get("numpy.random"):
            random.seed()  # as `random` does after a fork: two children of one template draw different numbers
        _native.restrict_files(readable, required=config.is_required)
        task = tasks.TASKS[config.task]
        confine(config, descriptors)
        request, upload = receive_work(
            socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=descriptors.control)
        )
        outcome = outcome_of(config.task, task, upload, request)
        write_all(descriptors.answer, msgspec.msgpack.encode(outcome))
        leave(0)
    except BaseException as error:  # noqa: BLE001 - no exception may return into the loop of the template
        traceback.print_exception(error)
        leave(1)


def set_process_name(name: str) -> None:
    """Set the name that `ps` and `top` show, at most 15 bytes."""
    with contextlib.suppress(OSError):  # /proc is read-only in some containers
        Path("/proc/self/comm").write_text(name[:15])


def prefer_for_oom_kill() -> None:
    """Make this process the first that the kernel kills when memory runs out."""
    with contextlib.suppress(OSError):  # /proc is read-only in some containers
        Path("/proc/self/oom_score_adj").write_text("1000")


def tasks_in(file: str | None) -> Tasks:
    if file is None:
        return cast(Tasks, importlib.import_module("serval.conversion.tasks"))
    spec = importlib.util.spec_from_file_location("tasks", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules["tasks"] = module
    spec.loader.exec_module(module)
    return cast(Tasks, module)


def confine(config: ChildConfig, descriptors: ChildDescriptors) -> None:
    """Confine this process for good; exit if the parent has died meanwhile, because then no death signal comes."""
    _native.confine(
        descriptors=[0, 1, 2, descriptors.control, descriptors.answer],
        violations=descriptors.violations,
        uid=FIRST_UID + os.getpid() % UIDS if os.geteuid() == 0 else None,
        memory_bytes=config.memory_bytes,
        cpu_seconds=config.cpu_seconds,
        threads=config.threads + SPARE_THREADS,
        required=config.is_required,
    )
    if os.getppid() != config.parent:
        leave(1)


def readable_paths(tasks: str | None) -> list[str]:
    """Where this interpreter imports from, and what libraries read of the system: code and hardware facts, no data."""
    imports = [os.path.realpath(entry) for entry in sys.path if entry]
    for path in imports:
        if Path.cwd().is_relative_to(path):
            raise ValueError(f"the data folder lies below {path}, which uploads may read: choose another")
    return [*imports, *SYSTEM_PATHS, *([tasks] if tasks else [])]


def receive_work(control: socket.socket) -> tuple[bytes, bytes]:
    """Send `READY`, wait for work, and read the request and the upload (empty if there is none). Exit if the parent is
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


def outcome_of(name: str, task: Task, upload: bytes, request: bytes) -> Outcome:
    try:
        return Done(task(upload, request))
    except BaseException as error:  # noqa: BLE001 - hostile code raises what it likes, SystemExit among it
        return failure(name, error)


def failure(task: str, error: BaseException) -> Failed:
    """What went wrong in a task; the causes of an error count too, because a task may have translated it."""
    chain = list(causes(error))
    if any(
        isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno == errno.ENOMEM)
        for cause in chain
    ):
        return Failed("memory", "")
    for cause in chain:
        if isinstance(cause, PermissionError):
            return Failed("refused", text_of(cause))
    if not isinstance(error, ServalError) or error.__cause__ is not None:
        traceback.print_exception(error)
    if isinstance(error, ServalError):
        return Failed(error.code, error.message[:MESSAGE_CHARACTERS])
    return Failed("unexpected", task)


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
    """Exit at once: what the upload registered with `atexit` does not run."""
    os._exit(status)


if __name__ == "__main__":
    main()
