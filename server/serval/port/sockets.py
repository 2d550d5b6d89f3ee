"""Paths of Unix sockets."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

LONGEST_SOCKET_PATH = 100
"""Bytes; the kernel takes 107, and Valkey appends a few while it binds."""


@contextmanager
def socket_path(folder: Path, name: str) -> Iterator[Path]:
    """A path for a socket in a folder, or in a temporary folder where that path would be too long.

    A file that is already there is removed.
    """
    with ExitStack() as stack:
        path = folder.resolve() / name
        if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
            path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="serval-"))) / name
        path.unlink(missing_ok=True)
        stack.callback(path.unlink, missing_ok=True)
        yield path
