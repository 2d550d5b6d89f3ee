"""Loads that this server has begun and not ended: what takes the process down must not be tried for ever."""

from pathlib import Path


class LoadAttempts:
    """Counts by version, in files that outlast the process. Each server counts for itself: several may load a version
    at once."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder

    def begin(self, version_id: str) -> int:
        """Count a load before it is made. Returns how many before it have not ended. Raises OSError.

        The count is the length of a file without content, which takes no space on a full disk.
        """
        with (self._folder / version_id).open("ab") as file:
            before = file.tell()
            file.truncate(before + 1)
            return before

    def end(self, version_id: str) -> None:
        """The process has survived it."""
        (self._folder / version_id).unlink(missing_ok=True)
