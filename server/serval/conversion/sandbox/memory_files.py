"""Bytes in anonymous memory files: sealed for a child to read, or moved out of a pipe that it writes."""

import fcntl
import os

SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
MAX_MOVE_BYTES = 1 << 20


def sealed_memory(content: bytes) -> int:
    """A descriptor from which `content` can be read and through which it cannot be changed."""
    descriptor = os.memfd_create("request", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


class PipeBuffer:
    """Bytes of a pipe, moved into memory that belongs to this process alone, at most one byte more than `limit`."""

    def __init__(self, source: int, limit: int) -> None:
        self.source = source
        self._limit = limit
        self._size = 0
        self._memory = os.memfd_create("output", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)

    @property
    def is_over(self) -> bool:
        return self._size > self._limit

    def take(self) -> bool:
        """Move what has come. False: nothing is left to come, or nothing has come now."""
        try:
            moved = os.splice(
                self.source, self._memory, min(MAX_MOVE_BYTES, self._limit + 1 - self._size), flags=os.SPLICE_F_NONBLOCK
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
