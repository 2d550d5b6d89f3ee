"""An upload starts nothing, stops nothing and looks into nothing."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.sandbox_lab import Laboratory

STARTING = {
    "system": "import os; os.system('touch {mark}')",
    "popen": "import os; os.popen('touch {mark}').read()",
    "subprocess": "import subprocess; subprocess.run(['touch', '{mark}'])",
    "spawn": "import os; os.waitpid(os.posix_spawn('/bin/touch', ['touch', '{mark}'], {{}}), 0)",
    "fork": "import os; pid = os.fork(); os.waitpid(pid, 0) if pid else (open('{mark}', 'w').close(), os._exit(0))",
    "exec": "import os; os.execv('/bin/touch', ['touch', '{mark}'])",
    "multiprocessing": (
        "import multiprocessing as m, os; p = m.get_context('fork').Process(target=os.mknod, args=('{mark}',)); p.start(); p.join()"
    ),
    "vfork without libc": "import ctypes, os\nif ctypes.CDLL(None).fork() == 0: open('{mark}', 'w').close(); os._exit(0)\nos.wait()",
    "double fork and session": (
        "import os\npid = os.fork()\nif not pid:\n    os.setsid()\n    if not os.fork(): open('{mark}', 'w').close()\n    else: os.wait()\n"
        "    os._exit(0)\nos.waitpid(pid, 0)"
    ),
}


@pytest.mark.parametrize("source", STARTING.values(), ids=STARTING)
def test_an_upload_can_not_start_a_process(laboratory: Laboratory, meadow: Path, source: str) -> None:
    error = laboratory.refusal(source.format(mark=meadow / "mark"))
    assert "tried to start a process" in error.message
    assert not (meadow / "mark").exists()


@pytest.mark.parametrize("source", STARTING.values(), ids=STARTING)
def test_the_same_code_starts_a_process_where_it_is_free(free: Callable[[str], str], meadow: Path, source: str) -> None:
    free(source.format(mark=meadow / "mark"))
    assert (meadow / "mark").exists()


def test_a_process_that_is_refused_and_hidden_by_the_upload_is_told_all_the_same(laboratory: Laboratory) -> None:
    error = laboratory.refusal("import os\ntry: os.fork()\nexcept OSError: pass\nloot = 'an innocent model'")
    assert error.message == "The file tried to start a process"


def test_threads_without_bound_are_stopped(laboratory: Laboratory) -> None:
    source = (
        "import threading, time\nwhile True:\n"
        "    try: threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n    except RuntimeError: time.sleep(60)"
    )
    assert laboratory.refusal(source).message == "The file started more than 16 threads"


def test_a_few_threads_are_allowed(laboratory: Laboratory) -> None:
    source = """
from concurrent.futures.thread import ThreadPoolExecutor
with ThreadPoolExecutor(4) as pool:
    loot = sum(pool.map(abs, range(-9, 0)))
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
def test_an_upload_can_not_signal_another_process(
    laboratory: Laboratory, bystander: subprocess.Popen[bytes], source: str
) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _frame: heard.append(number))
    error = laboratory.refusal(source.format(bystander=bystander.pid))
    signal.signal(signal.SIGUSR1, before)
    assert "another process" in error.message
    assert heard == []


def test_an_upload_may_kill_itself(laboratory: Laboratory) -> None:
    assert laboratory.refusal("import os; os.kill(os.getpid(), 11)").message == "The file crashed with signal SIGSEGV"


def test_an_upload_that_aborts_is_a_crash(laboratory: Laboratory) -> None:
    assert laboratory.refusal("import os; os.abort()").message == "The file crashed with signal SIGABRT"


def test_an_upload_is_neither_root_nor_another_child(laboratory: Laboratory) -> None:
    source = "import os; loot = os.getresuid(), os.getresgid()"
    uids, gids = eval(laboratory.attack(source))
    assert 0 not in {*uids, *gids}
    expected = {os.getuid()} if os.getuid() else set(uids)
    assert set(uids) == expected
    assert len(expected) == 1
