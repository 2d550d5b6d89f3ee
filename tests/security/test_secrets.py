"""An upload reads neither the environment nor the memory of the server, nor those of another child."""

import ctypes
import logging
import os
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from support.sandbox_lab import Laboratory

SPYING = {
    "environment of the parent": "import os; result = open(f'/proc/{os.getppid()}/environ').read()",
    "command line of the parent": "import os; result = open(f'/proc/{os.getppid()}/cmdline').read()",
    "memory as a file": (
        "import os; f = open(f'/proc/{os.getppid()}/mem', 'rb', 0); f.seek({address}); result = f.read({size})"
    ),
    "memory map": "import os; result = open(f'/proc/{os.getppid()}/maps').read()",
    "open files": "import os; result = os.listdir(f'/proc/{os.getppid()}/fd')",
}
PEEKING = {
    "read": """
import ctypes, os
class Part(ctypes.Structure):
    _fields_ = [("address", ctypes.c_void_p), ("size", ctypes.c_size_t)]
result = ctypes.create_string_buffer({size})
own, other = Part(ctypes.addressof(result), {size}), Part({address}, {size})
result = ctypes.CDLL(None).process_vm_readv(os.getppid(), ctypes.byref(own), 1, ctypes.byref(other), 1, 0), result.raw
""",
    "write": """
import ctypes, os
class Part(ctypes.Structure):
    _fields_ = [("address", ctypes.c_void_p), ("size", ctypes.c_size_t)]
lie = ctypes.create_string_buffer(b"changed", 8)
own, other = Part(ctypes.addressof(lie), 8), Part({address}, 8)
result = ctypes.CDLL(None).process_vm_writev(os.getppid(), ctypes.byref(own), 1, ctypes.byref(other), 1, 0)
""",
    "trace": "import ctypes, os; result = ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0)",
    "take a descriptor": (
        "import ctypes, os; result = ctypes.CDLL(None).syscall(438, os.pidfd_open(os.getppid()), 0, 0)"
    ),
}


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> ctypes.Array[ctypes.c_char]:
    """A secret in the memory and the environment of the server."""
    value = f"secret-{secrets.token_hex(16)}".encode()
    monkeypatch.setenv("SERVAL_SECRET", value.decode())
    return ctypes.create_string_buffer(value)


def with_address(source: str, secret: ctypes.Array[ctypes.c_char]) -> str:
    return source.replace("{address}", str(ctypes.addressof(secret))).replace("{size}", str(len(secret.value)))


@pytest.mark.parametrize("source", SPYING.values(), ids=SPYING)
def test_an_upload_cannot_read_the_server_in_proc(
    laboratory: Laboratory, secret: ctypes.Array[ctypes.c_char], source: str
) -> None:
    reached = laboratory.reach(with_address(source, secret))
    assert "tried to access what an upload may not access" in reached
    assert secret.value.decode() not in reached


@pytest.mark.parametrize("source", PEEKING.values(), ids=PEEKING)
def test_an_upload_cannot_access_the_memory_of_the_server(
    laboratory: Laboratory, secret: ctypes.Array[ctypes.c_char], source: str
) -> None:
    before = secret.value
    error = laboratory.refusal(with_address(source, secret))
    assert error.message.startswith("The file tried to look into another process")
    assert secret.value == before


def test_the_same_code_reads_the_memory_of_its_parent_if_unconfined(
    unconfined: Callable[[str], str], secret: ctypes.Array[ctypes.c_char]
) -> None:
    assert secret.value.decode() in unconfined(with_address(PEEKING["read"], secret))


def test_the_environment_of_a_child_holds_nothing_of_the_server(
    laboratory: Laboratory, secret: ctypes.Array[ctypes.c_char]
) -> None:
    environment = eval(laboratory.attack("import os; result = dict(os.environ)"))
    assert "SERVAL_SECRET" not in environment
    assert set(environment) <= {
        "LANG",
        "LC_CTYPE",
        "OPENBLAS_NUM_THREADS",
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "JOBLIB_MULTIPROCESSING",
        "MALLOC_ARENA_MAX",
        "MIMALLOC_ARENA_RESERVE",
        "ORT_DISABLE_TELEMETRY",
    }


def test_the_memory_of_the_child_holds_nothing_of_the_server(
    laboratory: Laboratory, secret: ctypes.Array[ctypes.c_char]
) -> None:
    """A fresh interpreter by exec: not a page comes from the server."""
    source = (
        "import gc; result = [x for x in gc.get_objects() if 'SERVAL_SECRET' in repr(x)[:10000] and x is not globals()]"
    )
    assert secret.value.decode() not in laboratory.reach(source)


def test_a_child_has_only_its_own_descriptors_open(laboratory: Laboratory) -> None:
    source = """
import os
result = []
for number in range(4096):
    try:
        os.fstat(number)
        result.append(number)
    except OSError:
        pass
"""
    with Path("/etc/passwd").open() as inherited:
        os.set_inheritable(inherited.fileno(), True)
        opened = eval(laboratory.attack(source))
    assert opened[:3] == [0, 1, 2]
    assert len(opened) == 5  # and the answer, and the refusals


def test_the_output_of_an_upload_puts_no_secret_into_the_log(
    laboratory: Laboratory, secret: ctypes.Array[ctypes.c_char], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    laboratory.reach("import os\nprint(os.environ)\nprint(open(f'/proc/{os.getppid()}/environ').read())")
    assert caplog.records
    assert secret.value.decode() not in caplog.text
