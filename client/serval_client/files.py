"""The file of a model, to be uploaded."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from serval_client.progress import Progress, Show

if TYPE_CHECKING:
    from typing_extensions import Self


class ModelFile:
    """A file that shows how much of it was read."""

    def __init__(self, name: str, file: BinaryIO, show: Show) -> None:
        self.name = name
        self._file = file
        self._show = show
        self._size_bytes = os.fstat(file.fileno()).st_size

    @classmethod
    def of(cls, model: Any, show: Show) -> ModelFile:
        """The file at a path, or one that joblib makes of an object."""
        if isinstance(model, (str, os.PathLike)):
            return cls(Path(model).name, Path(model).open("rb"), show)
        import joblib  # type: ignore[import-untyped,unused-ignore]

        made = tempfile.TemporaryFile()  # noqa: SIM115 it is closed by whoever has the file
        joblib.dump(model, made)
        made.flush()
        return cls("model.joblib", made, show)

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(size)
        self._show(Progress("uploading", self._file.tell(), self._size_bytes))
        return content

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def fileno(self) -> int:
        return self._file.fileno()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def loaded(model: Any) -> Any:
    """The model itself, if a path is given. Loading runs the code in the file.

    Raises ValueError for a format that joblib does not read.
    """
    if not isinstance(model, (str, os.PathLike)):
        return model
    if Path(model).suffix == ".skops":
        raise ValueError(
            f"`{model}` is not loaded here: push it with `expected_answers=False`, or load it and push the object"
        )
    import joblib

    return joblib.load(model)
