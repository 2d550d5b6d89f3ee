"""Files that commands write: whole or not at all."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def written_whole(file: Path) -> Iterator[IO[bytes]]:
    """A new file beside another, with mode 0600, which takes its place when the block has ended; a block that fails
    leaves nothing. Raises OSError."""
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    incoming = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            yield opened
        incoming.replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            incoming.unlink()
        raise


def write_new(file: Path, parts: Iterable[bytes]) -> int:
    """Write parts to a file that is not there yet: it appears when the last part is there. Returns its bytes.

    What `parts` raises passes, and nothing is left. Raises OSError, FileExistsError where there is such a file.
    """
    if file.exists():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(file))
    with written_whole(file) as opened:
        size = sum(map(opened.write, parts))
        os.fchmod(opened.fileno(), 0o666 & ~umask())
    return size


def umask() -> int:
    """The mode bits that new files of this process lack; it can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
