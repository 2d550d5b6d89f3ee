"""Files that commands write: whole or not at all."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path


def write_new(file: Path, parts: Iterable[bytes]) -> int:
    """Write parts to a new file, by way of one beside it: it appears when the last part is there. Returns its bytes.

    What `parts` raises passes, and nothing is left. Raises OSError, FileExistsError where there is such a file.
    """
    if file.exists():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(file))
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    incoming = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            size = sum(map(opened.write, parts))
        incoming.chmod(0o666 & ~umask())
        incoming.rename(file)
    except BaseException:
        with contextlib.suppress(OSError):
            incoming.unlink()
        raise
    return size


def umask() -> int:
    """The mode bits that new files of this process lack; it can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
