"""Memory, CPU, time and output are limited, and the error names the limit."""

import gzip
import io
import lzma
import pickle
import zipfile
import zlib

import msgspec
import pytest

from serval.errors import SandboxViolation, ServalError
from support.sandbox_lab import LIMITS, Laboratory, Payload

ZEROS = 400 << 20
GREEDY = {
    "one large block": "result = bytes(100 << 30)",
    "many small ones": "result = []\nwhile True: result.append(bytes(1 << 16))",
    "a list that grows": "result = [0]\nwhile True: result += result",
    "mapped": "import mmap; result = mmap.mmap(-1, 100 << 30, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)",
    "hidden by the upload": (
        "try: bytes(100 << 30)\nexcept MemoryError as error: raise ValueError('an innocent mistake')"
    ),
}


@pytest.mark.parametrize("source", GREEDY.values(), ids=GREEDY)
def test_memory_is_bounded(laboratory: Laboratory, source: str) -> None:
    assert laboratory.refusal(source).message.startswith("The file used more than 256 MiB of memory")


def test_memory_is_bounded_even_if_the_task_translates_errors(laboratory: Laboratory) -> None:
    with pytest.raises(SandboxViolation, match="used more than 256 MiB of memory"):
        laboratory.run("translate", pickle.dumps(Payload("bytes(100 << 30)")))


SPINNING = {
    "loop": "while True: pass",
    "deaf to the warning": "import signal; signal.signal(24, signal.SIG_IGN)\nwhile True: pass",
    "threads": """
import threading, zlib
def spin():
    while True: zlib.crc32(block)
block = bytes(1 << 22)
threads = [threading.Thread(target=spin) for _ in range(4)]
for thread in threads: thread.start()
threads[0].join()
""",
}
WAITING = {
    "sleep": "import time; time.sleep(1000)",
    "lock": "import threading; threading.Event().wait()",
    "signal": "import signal; signal.pause()",
    "input": "import os; r, w = os.pipe(); os.read(r, 1)",
}


@pytest.mark.parametrize("source", SPINNING.values(), ids=SPINNING)
def test_cpu_time_is_bounded(laboratory: Laboratory, source: str) -> None:
    laboratory.sandbox = laboratory.make(msgspec.structs.replace(LIMITS, cpu_seconds=1, wall_seconds=60.0))
    assert laboratory.refusal(source).message.startswith("The file used more than 1 s of CPU")


@pytest.mark.parametrize("source", WAITING.values(), ids=WAITING)
def test_wall_time_is_bounded(laboratory: Laboratory, source: str) -> None:
    laboratory.sandbox = laboratory.make(msgspec.structs.replace(LIMITS, wall_seconds=0.5))
    assert laboratory.refusal(source).message.startswith("The file ran past 0.5 s")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_the_output_of_a_child_is_bounded(laboratory: Laboratory, stream: str) -> None:
    error = laboratory.refusal(f"import sys\nwhile True: sys.{stream}.write('x' * 100000)")
    assert error.message.startswith("The file printed more than 1 MiB")


def test_the_answer_is_bounded(laboratory: Laboratory) -> None:
    assert laboratory.refusal("result = 'x' * (2 << 20)").message.startswith("The file answered with more than 1 MiB")


def test_a_flood_on_every_descriptor_is_bounded(laboratory: Laboratory) -> None:
    source = """
import os
while True:
    for number in range(64):
        try: os.write(number, b"x" * 4096)
        except OSError: pass
"""
    assert "more than 1 MiB" in laboratory.refusal(source).message


def test_a_flood_of_refused_calls_is_bounded(laboratory: Laboratory) -> None:
    source = """
import os
while True:
    try: os.fork()
    except OSError: pass
"""
    assert laboratory.refusal(source).message.startswith("The file tried to start a process")


def test_open_files_are_bounded(laboratory: Laboratory) -> None:
    source = """
import os
result = 0
while True:
    try: os.dup(0)
    except OSError: break
    result += 1
"""
    assert int(laboratory.attack(source)) < 128


def bombs() -> dict[str, bytes]:
    zeros = bytes(ZEROS)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("bomb", zeros)
    return {
        "gzip": gzip.compress(zeros, 1),
        "zlib": zlib.compress(zeros, 1),
        "lzma": lzma.compress(zeros, preset=0),
        "zip": archive.getvalue(),
    }


@pytest.fixture(scope="module", name="bombs")
def bombs_of_every_kind() -> dict[str, bytes]:
    return bombs()


@pytest.mark.parametrize("kind", ["gzip", "zlib", "lzma", "zip"])
def test_a_compressed_bomb_ends_at_the_limit_of_memory(
    laboratory: Laboratory, bombs: dict[str, bytes], kind: str
) -> None:
    assert len(bombs[kind]) < 4 << 20
    with pytest.raises(SandboxViolation, match="used more than 256 MiB of memory"):
        laboratory.run("inflate", bombs[kind], kind.encode())


LONG = {
    "a long of a terabyte": b"\x80\x02\x8b\xff\xff\xff\x7f" + bytes(100) + b".",
    "a frame of an exabyte": b"\x80\x04\x95" + (1 << 60).to_bytes(8, "little") + b".",
    "bytes of a terabyte": b"\x80\x04\x8e" + (1 << 40).to_bytes(8, "little") + b"x.",
    "a memo of four thousand million": b"\x80\x04Kar\xff\xff\xff\xff.",
    "truncated": pickle.dumps(list(range(1000)))[:-100],
    "empty": b"",
    "text": b"sepal_length,sepal_width\n5.1,3.5\n",
    "an executable": b"\x7fELF" + bytes(1000),
    "nesting": b"\x80\x04" + b"]" * 100000 + b"a" * 99999 + b".",
}


@pytest.mark.parametrize("name", LONG)
def test_a_broken_file_is_a_4xx(laboratory: Laboratory, name: str) -> None:
    with pytest.raises(ServalError) as caught:
        laboratory.run("load", LONG[name])
    assert 400 <= caught.value.status < 500
    assert caught.value.message


def test_an_endless_conversion_of_a_number_to_text_is_ended(laboratory: Laboratory) -> None:
    laboratory.refusal("result = 1 << 4000000000")
