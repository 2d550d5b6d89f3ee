"""Loads the bytes of an upload into a Python object; called only where hostile code can do no harm."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any, Literal

import msgspec
import sklearn
from sklearn.exceptions import InconsistentVersionWarning

from serval.conversion.file_kinds import foreign_kind, unpacked, zip_kind
from serval.conversion.joining import Consecutive
from serval.conversion.load_errors import absent_name, explained, other_file, too_many_objects, trailing, untrusted
from serval.conversion.old_versions.changes import is_compared, upgrade, version_of
from serval.conversion.old_versions.unpickling import Unpickler, estimators_in
from serval.conversion.plain_text import plain
from serval.errors import NotAModel

LIMIT_BYTES = 2 << 30
MAX_OBJECTS = 100
TRUSTED = ("sklearn.", "numpy.", "scipy.", "pandas.")
NOT_TRUSTED = {"sklearn.utils._joblib", "numpy.load", "numpy.save", "numpy.fromfile", "pandas.read_pickle", "scipy.io"}
Format = Literal["pickle", "joblib", "skops"]
Versions = list[tuple[Any, str]]
"""Estimators that another scikit-learn saved, with its version."""
Read = Callable[[bytes], tuple[Any, Versions]]


class Loaded(msgspec.Struct, frozen=True):
    """An object from an upload, and how it was saved."""

    content: Any
    format: Format
    compression: str | None
    saved_by: str | None
    """The scikit-learn version that saved it, if it differs from ours; None: ours, or unknown."""
    notes: list[str]
    is_evaluated_as_saved: bool
    """Whether all its estimators are of this version, or were held against the real version that saved them."""


def load(upload: bytes, limit_bytes: int = LIMIT_BYTES) -> Loaded:
    """The object in a `.pkl`, `.joblib` or `.skops` file, evaluated as the version that saved it evaluates it.

    Raises NotAModel, with what the file is and what to do.
    """
    content, compression = unpacked(upload, limit_bytes)
    if content.startswith(b"PK\x03\x04"):
        archive = zip_kind(content, limit_bytes)
        if archive != "skops":
            raise other_file(archive)
        return _loaded(_load_skops, content, "skops", compression)
    if not content.startswith(b"\x80") and (kind := foreign_kind(content)):
        raise other_file(kind)
    is_joblib = compression or b"joblib.numpy_pickle" in content[:100_000]
    return _loaded(_load_pickle, content, "joblib" if is_joblib else "pickle", compression)


def _loaded(read: Read, content: bytes, form: Format, compression: str | None) -> Loaded:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loaded, older = read(content)
    if isinstance(loaded, Consecutive):
        loaded.is_compressed = compression is not None
    for model, version in older:
        upgrade_to_present(model, version)
    others = [item.message for item in caught if not isinstance(item.message, InconsistentVersionWarning)]
    return Loaded(
        content=loaded,
        format=form,
        compression=compression,
        saved_by=plain(older[0][1], 40) if older else None,
        notes=list(dict.fromkeys(plain(str(message), 300) for message in others))[:10],
        is_evaluated_as_saved=all(is_of_present_or_compared(model, version) for model, version in older),
    )


def is_of_present_or_compared(model: Any, saved_by: str) -> bool:
    version = version_of(saved_by)
    return version == version_of(sklearn.__version__) or is_compared(model, version)


def upgrade_to_present(model: Any, saved_by: str) -> None:
    version, present = version_of(saved_by), version_of(sklearn.__version__)
    if version and present and version < present:
        upgrade(model, version)


def _load_skops(content: bytes) -> tuple[Any, Versions]:
    from skops.io import get_untrusted_types, loads

    try:
        unknown = get_untrusted_types(data=content)
        if foreign := [name for name in unknown if not is_trusted(name)]:
            raise untrusted(foreign)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            loaded = loads(content, trusted=unknown)
    except NotAModel:
        raise
    except Exception as error:
        raise explained(error, content, "the model") from error
    versions = [item.message for item in caught if isinstance(item.message, InconsistentVersionWarning)]
    saved_by = str(versions[0].original_sklearn_version) if versions else None
    return loaded, [(model, saved_by) for model in estimators_in(loaded)] if saved_by else []


def is_trusted(name: str) -> bool:
    """Whether a skops file may name this type: the numeric libraries' own, but none that reads files or runs code."""
    return name.startswith(TRUSTED) and not any(
        name == banned or name.startswith(banned + ".") for banned in NOT_TRUSTED
    )


def _load_pickle(content: bytes) -> tuple[Any, Versions]:
    unpickler = Unpickler(io.BytesIO(content))
    try:
        loaded = unpickler.load()
    except Exception as error:
        if unpickler.absent:
            raise absent_name(None, *unpickler.absent[0], content) from error
        raise explained(error, content, unpickler.last_named) from error
    loaded = _with_the_rest(loaded, unpickler, content)
    if unpickler.absent:
        raise absent_name(loaded, *unpickler.absent[0], content)
    return loaded, [(model, version) for model, version in unpickler.versions if version != sklearn.__version__]


def _with_the_rest(first: Any, unpickler: Unpickler, content: bytes) -> Any:
    """The first object, or all of them where more follow it in the file."""
    objects = Consecutive([first])
    while rest := content[unpickler.position :].strip(b"\0\r\n\t "):
        try:
            objects.append(unpickler.load_next())
        except Exception as error:
            raise trailing(first, len(rest)) from error
        if len(objects) > MAX_OBJECTS:
            raise too_many_objects(MAX_OBJECTS)
    return first if len(objects) == 1 else objects
