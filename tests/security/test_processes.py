"""An upload starts, signals and inspects no other process."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.sandbox_lab import Laboratory

STARTING = {
    "system": "import os; os.system('touch {marker}')",
    "popen": "import os; os.popen('touch {marker}').read()",
    "subprocess": "import subprocess; subprocess.run(['touch', '{marker}'])",
    "spawn": "import os; os.waitpid(os.posix_spawn('/bin/touch', ['touch', '{marker}'], {{}}), 0)",
    "fork": "import os; pid = os.fork(); os.waitpid(pid, 0) if pid else (open('{marker}', 'w').close(), os._exit(0))",
    "exec": "import os; os.execv('/bin/touch', ['touch', '{marker}'])",
    "multiprocessing": (
        "import multiprocessing as m, os; p = m.get_context('fork').Process(target=os.mknod, args=('{marker}',)); "
        "p.start(); p.join()"
    ),
    "vfork without libc": (
        "import ctypes, os\nif ctypes.CDLL(None).fork() == 0: open('{marker}', 'w').close(); os._exit(0)\nos.wait()"
    ),
    "double fork and session": (
        "import os\npid = os.fork()\nif not pid:\n    os.setsid()\n"
        "    if not os.fork(): open('{marker}', 'w').close()\n    else: os.wait()\n"
        "    os._exit(0)\nos.waitpid(pid, 0)"
    ),
}


@pytest.mark.parametrize("source", STARTING.values(), ids=STARTING)
def test_an_upload_cannot_start_a_process(laboratory: Laboratory, open_folder: Path, source: str) -> None:
    error = laboratory.refusal(source.format(marker=open_folder / "marker"))
    assert "tried to start a process" in error.message
    assert not (open_folder / "marker").exists()


@pytest.mark.parametrize("source", STARTING.values(), ids=STARTING)
def test_the_same_code_starts_a_process_if_unconfined(
    unconfined: Callable[[str], str], open_folder: Path, source: str
) -> None:
    unconfined(source.format(marker=open_folder / "marker"))
    assert (open_folder / "marker").exists()


def test_a_refused_process_is_reported_even_if_the_upload_hides_the_error(laboratory: Laboratory) -> None:
    error = laboratory.refusal("import os\ntry: os.fork()\nexcept OSError: pass\nresult = 'an innocent model'")
    assert error.message.startswith("The file tried to start a process")


def test_threads_without_bound_are_stopped(laboratory: Laboratory) -> None:
    source = (
        "import threading, time\nwhile True:\n"
        "    try: threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        "    except RuntimeError: time.sleep(60)"
    )
    assert laboratory.refusal(source).message.startswith("The file started more than 16 threads")


def test_a_few_threads_are_allowed(laboratory: Laboratory) -> None:
    source = """
from concurrent.futures.thread import ThreadPoolExecutor
with ThreadPoolExecutor(4) as pool:
    result = sum(pool.map(abs, range(-9, 0)))
"""
    assert laboratory.attack(source) == "45"


SIGNALS = {
    "kill the parent": "import os; os.kill(os.getppid(), 10)",
    "kill a bystander": "import os; os.kill({bystander}, 9)",
    "kill the bystander's thread": "import ctypes, os; ctypes.CDLL(None).tgkill({bystander}, {bystander}, 9)",
    "signal with a value": "import ctypes; ctypes.CDLL(None).sigqueue({bystander}, 9, 0)",
    "signal by descriptor": "import os, signal; signal.pidfd_send_signal(os.pidfd_open({bystander}), 9)",
    "signal everybody": "import os; os.kill(-1, 0)",
}


@pytest.mark.parametrize("source", SIGNALS.values(), ids=SIGNALS)
def test_an_upload_cannot_signal_another_process(
    laboratory: Laboratory, bystander: subprocess.Popen[bytes], source: str
) -> None:
    received: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _frame: received.append(number))
    error = laboratory.refusal(source.format(bystander=bystander.pid))
    signal.signal(signal.SIGUSR1, before)
    assert "another process" in error.message
    assert received == []


def test_an_upload_may_kill_itself(laboratory: Laboratory) -> None:
    assert laboratory.refusal("import os; os.kill(os.getpid(), 11)").message.startswith(
        "The file crashed with signal SIGSEGV"
    )


def test_an_upload_that_aborts_is_a_crash(laboratory: Laboratory) -> None:
    assert laboratory.refusal("import os; os.abort()").message.startswith("The file crashed with signal SIGABRT")


def test_an_upload_runs_as_a_user_of_its_own(laboratory: Laboratory) -> None:
    source = "import os; result = os.getresuid(), os.getresgid()"
    uids, gids = eval(laboratory.attack(source))
    assert 0 not in {*uids, *gids}
    expected = {os.getuid()} if os.getuid() else set(uids)
    assert set(uids) == expected
    assert len(expected) == 1
