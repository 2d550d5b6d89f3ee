"""System calls by their numbers, without the C library and without Python in between."""

import platform

import pytest

from support.sandbox_lab import Laboratory

NUMBERS = {  # x86_64, aarch64
    "clone as fork": (56, 220, "17, 0, 0, 0, 0"),
    "clone into a new user namespace": (56, 220, "0x10000011, 0, 0, 0, 0"),
    "a thread in a new namespace": (56, 220, "0x3d0f00 | 0x20000000, 0, 0, 0, 0"),
    "vfork by clone": (56, 220, "0x4111, 0, 0, 0, 0"),
    "execve": (59, 221, "b'/bin/true', 0, 0"),
    "execveat": (322, 281, "-100, b'/bin/true', 0, 0, 0"),
    "io_uring_setup": (425, 425, "8, ctypes.create_string_buffer(200)"),
    "memfd_create": (319, 279, "b'program', 0"),
    "memfd_secret": (447, 447, "0"),
    "unshare user and network": (272, 97, "0x50000000"),
    "setns": (308, 268, "0, 0"),
    "bpf": (321, 280, "0, 0, 0"),
    "keyctl": (250, 219, "0, -3, 0"),
    "add_key": (248, 217, "b'user', b'k', b'v', 1, -3"),
    "userfaultfd": (323, 282, "0"),
    "perf_event_open": (298, 241, "0, 0, -1, -1, 0"),
    "mount": (165, 40, "b'none', b'/', b'tmpfs', 0, 0"),
    "chroot": (161, 51, "b'/'"),
    "open_by_handle_at": (304, 265, "-100, 0, 0"),
    "setresuid": (117, 147, "0, 0, 0"),
    "shmget": (29, 194, "0, 4096, 0o600 | 0o1000"),
    "ptrace": (101, 117, "0, 0, 0, 0"),
    "process_vm_readv": (310, 270, "1, 0, 0, 0, 0, 0"),
    "pidfd_open": (434, 434, "1, 0"),
    "tkill of init": (200, 130, "1, 0"),
    "rt_tgsigqueueinfo": (297, 240, "1, 1, 9, ctypes.create_string_buffer(128)"),
    "socketpair": (53, 199, "1, 1, 0, ctypes.create_string_buffer(8)"),
    "renameat2": (316, 276, "-100, b'a', -100, b'b', 0"),
    "openat for writing": (257, 56, "-100, b'/tmp/mark', 0o101, 0o600"),
}
KILLED = "tried to start a process, or another call that no model needs"
COLUMN = ("x86_64", "aarch64").index(platform.machine())
REFUSED = {name: (numbers[COLUMN], numbers[2]) for name, numbers in NUMBERS.items()}


def calling(number: int, arguments: str) -> str:
    return (
        "import ctypes; libc = ctypes.CDLL(None, use_errno=True); "
        f"result = libc.syscall({number}, {arguments}), ctypes.get_errno()"
    )


@pytest.mark.parametrize("name", REFUSED)
def test_a_system_call_that_no_model_makes_ends_the_child(laboratory: Laboratory, name: str) -> None:
    number, arguments = REFUSED[name]
    assert "tried to" in laboratory.refusal(calling(number, arguments)).message


@pytest.mark.parametrize("number", [435, 437], ids=["clone3", "openat2"])
def test_a_system_call_whose_arguments_cannot_be_filtered_fails_as_unknown(laboratory: Laboratory, number: int) -> None:
    assert laboratory.attack(calling(number, "ctypes.create_string_buffer(88), 88, 0, 0")) == "(-1, 38)"


HARMLESS = {
    "prctl": "libc.prctl(38, 0, 0, 0, 0)",
    "dumpable": "libc.prctl(4, 1, 0, 0, 0)",
    "affinity": "libc.sched_setaffinity(0, 8, b'\\1' + bytes(7))",
    "priority": "libc.setpriority(0, 0, 5)",
    "limits": "libc.setrlimit(6, ctypes.create_string_buffer(16))",
    "terminal input": "libc.ioctl(0, 0x5412, b'x')",
    "owner of signals": "libc.fcntl(1, 8, 1)",
    "more capabilities": "libc.capset(b'\\x22\\5\\8 ' + bytes(4), b'\\xff' * 24)",
    "another filter": "libc.prctl(22, 2, 0, 0, 0)",
}


@pytest.mark.parametrize("call", HARMLESS.values(), ids=HARMLESS)
def test_a_call_that_would_loosen_the_confinement_fails(laboratory: Laboratory, call: str) -> None:
    source = f"import ctypes; libc = ctypes.CDLL(None, use_errno=True); result = {call}, ctypes.get_errno()"
    assert laboratory.attack(source) == "(-1, 1)"


INTERPRETED = {
    "x86_64": {
        "the 32-bit gate": "b8 02 00 00 00 cd 80 c3",  # mov eax, fork of i386; int 0x80; ret
        "the x32 table": "b8 39 00 00 40 0f 05 c3",  # mov eax, fork of x32; syscall; ret
        "plain fork": "b8 39 00 00 00 0f 05 c3",
    },
    "aarch64": {"plain clone": "881b8052 20028052 010000d4 c0035fd6"},  # mov x8, clone; mov x0, SIGCHLD; svc; ret
}[platform.machine()]


@pytest.mark.parametrize("code", INTERPRETED.values(), ids=INTERPRETED)
def test_machine_code_starts_no_process_either(laboratory: Laboratory, code: str) -> None:
    source = f"""
import ctypes, mmap
page = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes.fromhex({code!r}))
result = ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
assert result < 0, result
"""
    reached = laboratory.reach(source)
    assert "tried to start a process" in reached or reached == "-1"


def test_a_signal_handler_does_not_allow_a_refused_call(laboratory: Laboratory) -> None:
    source = """
import ctypes, os, signal
signal.signal(31, signal.SIG_IGN)
result = os.fork()
"""
    assert laboratory.refusal(source).message.startswith(f"The file {KILLED}")


def test_blocking_the_signal_does_not_allow_a_refused_call(laboratory: Laboratory) -> None:
    source = "import os, signal; signal.pthread_sigmask(signal.SIG_BLOCK, [31]); os.fork()"
    assert laboratory.refusal(source).message.startswith(f"The file {KILLED}")


def test_every_thread_is_confined(laboratory: Laboratory) -> None:
    source = """
import threading
def read():
    global result
    try: result = open("/etc/passwd").read()
    except OSError as error: result = str(error)
thread = threading.Thread(target=read)
thread.start()
thread.join()
"""
    assert "Permission denied" in laboratory.attack(source)
