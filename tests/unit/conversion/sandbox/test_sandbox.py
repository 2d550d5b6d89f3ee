"""The sandbox runs tasks, returns their answers, reports what ended a child, and leaves nothing behind."""

import asyncio
import logging
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import uvloop

from serval.conversion.sandbox.confined_process import ProcessEnd
from serval.conversion.sandbox.limits import human_size
from serval.conversion.sandbox.outcomes import answer_of, printable
from serval.conversion.sandbox.protocol import Done, Failed
from serval.conversion.sandbox.sandbox import closed_folders, kernel_gap
from serval.errors import NotConvertible, SandboxViolation, Unavailable, Unprocessable
from support.crashes import children
from support.sandbox_lab import LIMITS, TASKS, Laboratory, Payload, children_of, wait_for_end

SLEEP = pickle.dumps(Payload("import time; time.sleep(1000)"))


@pytest.fixture
def laboratory(tmp_path: Path) -> Iterator[Laboratory]:
    laboratory = Laboratory(tmp_path)
    with laboratory.runner:
        yield laboratory
        laboratory.runner.run(laboratory.sandbox.close())
    assert laboratory.children() == []
    assert list(laboratory.root.iterdir()) == []


def process_end(**changes: object) -> ProcessEnd:
    clean = ProcessEnd(
        stop_reason=None, status=0, cpu_seconds=0.1, violations="", answer=msgspec.msgpack.encode(Done(b"yes")), log=b""
    )
    return msgspec.structs.replace(clean, **changes)


def test_a_clean_exit_returns_the_answer() -> None:
    assert answer_of(process_end(), LIMITS) == b"yes"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stop_reason": "ran past 2 s"}, "The file ran past 2 s"),
        ({"status": -signal.SIGSEGV}, "The file crashed with signal SIGSEGV"),
        ({"status": -signal.SIGXCPU}, "The file used more than 10 s of CPU"),
        ({"status": -signal.SIGKILL, "cpu_seconds": 11.0}, "The file used more than 10 s of CPU"),
        ({"status": -signal.SIGKILL}, "The file crashed with signal SIGKILL"),
        ({"status": -signal.SIGRTMIN - 3}, f"The file crashed with signal {signal.SIGRTMIN + 3}"),
        ({"status": -signal.SIGSYS}, "The file tried to start a process, or another call that no model needs"),
        ({"status": 3}, "The file ended its process with status 3"),
        ({"violations": "oc"}, "The file tried to open a connection"),
        ({"answer": b""}, "The file ended its process without one well-formed answer"),
        ({"answer": msgspec.msgpack.encode(Failed("memory", ""))}, "The file used more than 256 MiB of memory"),
    ],
)
def test_each_kind_of_exit_has_its_message(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SandboxViolation) as caught:
        answer_of(process_end(**changes), LIMITS)
    assert caught.value.message.startswith(f"{message}: ")


def test_a_refused_call_that_is_only_logged_does_not_spoil_the_answer() -> None:
    assert answer_of(process_end(violations="o"), LIMITS) == b"yes"


def test_a_report_becomes_the_error_of_its_code() -> None:
    with pytest.raises(NotConvertible, match="no converter"):
        answer_of(process_end(answer=msgspec.msgpack.encode(Failed("not_convertible", "no converter"))), LIMITS)


def test_an_unexpected_exception_in_a_task_is_a_422() -> None:
    with pytest.raises(Unprocessable, match="Serval failed on this file while it was to convert it: save what"):
        answer_of(process_end(answer=msgspec.msgpack.encode(Failed("unexpected", "convert"))), LIMITS)


@pytest.mark.parametrize(
    ("count", "text"),
    [(2 << 30, "2 GiB"), (1536 << 10, "1.5 MiB"), (256 << 20, "256 MiB"), (4096, "4 KiB"), (12, "12 bytes")],
)
def test_sizes_are_shown_in_the_largest_unit_that_fits(count: int, text: str) -> None:
    assert human_size(count) == text


def test_hostile_text_is_reduced_to_one_printable_line() -> None:
    assert printable("a\nb\x1b[1m\u202e\U000e0041" + "c" * 9999) == "a b [1m  " + "c" * 1991


def test_a_task_gets_its_upload_and_its_request(laboratory: Laboratory) -> None:
    laboratory.sandbox = laboratory.make(msgspec.structs.replace(LIMITS, output_bytes=64 << 20, memory_bytes=512 << 20))
    upload, request = os.urandom(20 << 20), os.urandom(10 << 20)
    assert laboratory.run("echo", upload, request) == request + upload


def test_a_task_may_have_no_upload(laboratory: Laboratory) -> None:
    assert laboratory.runner.run(laboratory.sandbox.run("echo", None, b"alone")) == b"alone"


def test_an_upload_that_is_a_link_is_not_followed(laboratory: Laboratory, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic link"):
        laboratory.runner.run(laboratory.sandbox.run("echo", link, b""))


def test_every_run_has_an_interpreter_of_its_own(laboratory: Laboratory) -> None:
    assert laboratory.run("pid") != laboratory.run("pid")


def test_runs_beyond_max_children_wait(laboratory: Laboratory) -> None:
    async def crowd() -> tuple[list[bytes], int]:
        runs = [asyncio.create_task(laboratory.sandbox.run("pid", None, b"")) for _ in range(6)]
        most = 0
        while not all(run.done() for run in runs):
            most = max(most, len(laboratory.children()))
            await asyncio.wait(runs, timeout=0.01, return_when=asyncio.FIRST_COMPLETED)
        return [run.result() for run in runs], most

    answers, most = laboratory.runner.run(crowd())
    assert len(set(answers)) == 6
    assert most <= 2


def template_of(parent: int) -> int:
    """The process that the children of a sandbox are forked from."""
    (template,) = [pid for pid in children(parent) if Path(f"/proc/{pid}/comm").read_text() == "serval-template\n"]
    return template


def test_a_template_is_used_again_until_it_dies_and_then_replaced(laboratory: Laboratory) -> None:
    laboratory.runner.run(laboratory.sandbox.start())
    laboratory.run("pid")
    first = template_of(os.getpid())
    laboratory.run("pid")
    assert template_of(os.getpid()) == first
    os.kill(first, signal.SIGKILL)
    assert wait_for_end(first, 5)
    assert laboratory.run("echo", b" world", b"hello") == b"hello world"
    assert template_of(os.getpid()) != first


def test_runs_whose_template_dies_at_the_fork_get_a_new_template(laboratory: Laboratory) -> None:
    async def run_while_the_template_dies() -> list[bytes]:
        runs = [asyncio.create_task(laboratory.sandbox.run("pid", None, b"")) for _ in range(4)]
        await asyncio.wait(runs, timeout=0.2)
        os.kill(template, signal.SIGKILL)
        return await asyncio.gather(*runs)

    laboratory.sandbox = laboratory.make(LIMITS, max_children=4)
    laboratory.run("pid")
    template = template_of(os.getpid())
    os.kill(template, signal.SIGSTOP)
    assert len(set(laboratory.runner.run(run_while_the_template_dies()))) == 4
    assert template_of(os.getpid()) != template


def test_a_template_that_dies_at_every_fork_is_reported(laboratory: Laboratory, tmp_path: Path) -> None:
    dying = tmp_path / "dying.py"
    dying.write_text(
        "import os\nTASKS = {}\ndef preload(): os.fork = lambda: print('gone', flush=True) or os._exit(1)\n"
    )
    laboratory.sandbox = laboratory.make(LIMITS, tasks=dying)
    with pytest.raises(Unavailable, match=r"no process can be forked \(gone\)"):
        laboratory.run("echo")


def test_a_run_that_is_cancelled_at_its_fork_leaves_no_child(laboratory: Laboratory) -> None:
    laboratory.run("pid")
    template = template_of(os.getpid())

    async def cancelled() -> None:
        os.kill(template, signal.SIGSTOP)
        run = asyncio.create_task(laboratory.sandbox.run("pid", None, b""))
        await asyncio.wait([run], timeout=0.2)
        run.cancel()
        await asyncio.wait([run], timeout=0.2)
        os.kill(template, signal.SIGCONT)
        with pytest.raises(asyncio.CancelledError):
            await run

    laboratory.runner.run(cancelled())
    assert laboratory.children() == []
    assert laboratory.run("echo", b" world", b"hello") == b"hello world"


@pytest.mark.parametrize("module", ["random", "numpy.random"])
def test_children_of_one_template_draw_different_random_numbers(
    laboratory: Laboratory, tmp_path: Path, module: str
) -> None:
    drawing = tmp_path / "drawing.py"
    drawing.write_text(f"""
import {module} as numbers

TASKS = {{"draw": lambda upload, request: repr(numbers.random()).encode()}}
def preload(): pass
""")
    laboratory.sandbox = laboratory.make(LIMITS, tasks=drawing)
    assert laboratory.run("draw") != laboratory.run("draw")


def test_a_cancelled_run_leaves_no_child(laboratory: Laboratory) -> None:
    laboratory.upload.write_bytes(SLEEP)

    async def cancelled() -> list[int]:
        run = asyncio.create_task(laboratory.sandbox.run("load", laboratory.upload, b""))
        while not (started := laboratory.children()):
            await asyncio.wait([run], timeout=0.01)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        return started

    started = laboratory.runner.run(cancelled())
    assert all(wait_for_end(pid, 1) for pid in started)


ORPHANING = """
import asyncio, sys
from pathlib import Path
from serval.conversion.sandbox.limits import Limits
from serval.conversion.sandbox.sandbox import Sandbox

async def main():
    root, tasks, upload = map(Path, sys.argv[1:])
    sandbox = Sandbox(
        python=sys.executable, root=root, limits=Limits(), allow_unconfined=False, max_children=1, tasks=tasks
    )
    await sandbox.run("load", upload, b"")

asyncio.run(main())
"""


def test_children_and_their_template_die_with_their_parent(tmp_path: Path) -> None:
    upload = tmp_path / "upload"
    upload.write_bytes(SLEEP)
    arguments = [sys.executable, "-c", ORPHANING, str(tmp_path), str(TASKS), str(upload)]
    with subprocess.Popen(arguments) as parent:
        while not (started := children_of(parent.pid)):
            assert parent.poll() is None
        template = template_of(parent.pid)
        parent.kill()
    assert all(wait_for_end(pid, 5) for pid in (*started, template))


def test_a_child_that_cannot_start_reports_why(laboratory: Laboratory, tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("raise RuntimeError('no such luck')")
    laboratory.sandbox = laboratory.make(LIMITS, tasks=broken)
    with pytest.raises(Unavailable, match="RuntimeError: no such luck"):
        laboratory.run("load")


def test_a_thread_that_an_import_left_running_is_reported(laboratory: Laboratory, tmp_path: Path) -> None:
    threaded = tmp_path / "threaded.py"
    threaded.write_text("""
import threading

threading.Thread(target=threading.Event().wait, daemon=True).start()
TASKS = {}
def preload(): pass
""")
    laboratory.sandbox = laboratory.make(LIMITS, tasks=threaded)
    with pytest.raises(Unavailable, match="2 threads run after the imports"):
        laboratory.run("echo")


def test_this_kernel_can_confine() -> None:
    assert kernel_gap() is None


WITHOUT_LANDLOCK = """
import asyncio, ctypes, logging, struct, sys
from pathlib import Path

rules = [(0x20, 0, 0, 0), (0x15, 0, 1, 444), (0x06, 0, 0, 0x00050000 | 38), (0x06, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Program(len(rules), ctypes.addressof(code))), 0, 0) == 0

from serval.conversion.sandbox.limits import Limits
from serval.conversion.sandbox.sandbox import Sandbox

async def main():
    logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s")
    root, tasks, allow = sys.argv[1:]
    sandbox = Sandbox(
        python=sys.executable,
        root=Path(root),
        limits=Limits(),
        allow_unconfined=allow == "yes",
        max_children=1,
        tasks=Path(tasks),
    )
    try:
        print(await sandbox.run("echo", None, b"ran"))
    except Exception as error:
        print(type(error).__name__, error)

asyncio.run(main())
"""


def on_a_kernel_without_landlock(root: Path, allow: str) -> str:
    command = [sys.executable, "-c", WITHOUT_LANDLOCK, str(root), str(TASKS), allow]
    return subprocess.run(command, capture_output=True, check=True, text=True, timeout=30).stdout


def test_a_kernel_that_cannot_confine_refuses_conversions(tmp_path: Path) -> None:
    output = on_a_kernel_without_landlock(tmp_path, "no")
    assert output.startswith("Unavailable Conversion is refused: this kernel has no Landlock")
    assert "allow_unconfined_conversion" in output


def test_a_kernel_that_cannot_confine_runs_conversions_if_allowed_and_logs_a_warning(tmp_path: Path) -> None:
    output = on_a_kernel_without_landlock(tmp_path, "yes")
    assert "WARNING uploads run unconfined: this kernel has no Landlock" in output
    assert "b'ran'" in output


def test_the_output_of_a_child_is_logged_in_one_escaped_line(
    laboratory: Laboratory, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    laboratory.refusal("print('forged\\nlog line\\x1b[2J')\nraise ValueError")
    assert "forged\\nlog line\\x1b[2J" in caplog.text


def test_a_start_removes_what_a_killed_server_left(laboratory: Laboratory) -> None:
    (laboratory.root / "left" / "over").mkdir(parents=True)
    laboratory.runner.run(laboratory.sandbox.start())
    assert list(laboratory.root.iterdir()) == []


def test_a_data_folder_that_uploads_could_read_is_refused(tmp_path: Path) -> None:
    """A virtual environment around the data folder: its site-packages are on the path of the child."""
    home = tmp_path / "environment"
    packages = home / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    packages.mkdir(parents=True)
    (home / "bin").mkdir()
    (home / "bin" / "python").symlink_to(Path(sys.executable).resolve())
    (home / "pyvenv.cfg").write_text(f"home = {Path(sys.executable).resolve().parent}\n")
    (packages / "borrowed.pth").write_text("\n".join(path for path in sys.path if path))
    laboratory = Laboratory(packages)
    laboratory.sandbox = laboratory.make(LIMITS, python=str(home / "bin" / "python"))
    with laboratory.runner, pytest.raises(Unavailable, match="which uploads may read: choose another"):
        laboratory.run("echo")


def test_a_late_import_works_if_the_child_can_read_the_interpreter(laboratory: Laboratory) -> None:
    source = "try: import wave\nexcept ImportError as error: wave = error\nresult = type(wave).__name__"
    assert laboratory.attack(source) == ("'ModuleNotFoundError'" if closed_folders() else "'module'")


def test_the_sandbox_works_on_uvloop(tmp_path: Path) -> None:
    laboratory = Laboratory(tmp_path)
    laboratory.runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    with laboratory.runner:
        assert laboratory.run("echo", b" world", b"hello") == b"hello world"
        assert laboratory.refusal("import os; os.fork()").message.startswith("The file tried to start a process: ")
        laboratory.runner.run(laboratory.sandbox.close())
