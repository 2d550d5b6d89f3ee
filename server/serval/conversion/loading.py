"""Loads the bytes of an upload into a Python object; called only where hostile code can do no harm."""

from __future__ import annotations

import io
import pickle
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec
import sklearn
from sklearn.exceptions import InconsistentVersionWarning

from serval.conversion.file_kinds import SAVE, foreign_kind, unpacked, zip_kind
from serval.conversion.old_versions.changes import is_compared, upgrade, version_of
from serval.conversion.old_versions.unpickling import Unpickler, estimators_in
from serval.conversion.plain_text import plain
from serval.errors import NotAModel

LIMIT_BYTES = 2 << 30
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
            raise NotAModel(f"The file is {archive}: {SAVE}.")
        return _loaded(_load_skops, content, "skops", compression)
    if not content.startswith(b"\x80") and (kind := foreign_kind(content)):
        raise NotAModel(f"The file is {kind}: {SAVE}.")
    is_joblib = compression or b"joblib.numpy_pickle" in content[:100_000]
    return _loaded(_load_pickle, content, "joblib" if is_joblib else "pickle", compression)


def _loaded(read: Read, content: bytes, form: Format, compression: str | None) -> Loaded:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loaded, older = read(content)
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
        untrusted = [name for name in unknown if not is_trusted(name)]
        if untrusted:
            names = ", ".join(f"`{plain(name, 100)}`" for name in untrusted[:5])
            raise NotAModel(f"The file needs types that Serval does not load: {names}.")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            loaded = loads(content, trusted=unknown)
    except NotAModel:
        raise
    except Exception as error:
        raise _explained(error) from error
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
        raise _explained(error) from error
    return loaded, [(model, version) for model, version in unpickler.versions if version != sklearn.__version__]


def _explained(error: Exception) -> NotAModel:
    """The message for an error that loading the file raised."""
    text = plain(str(error), 200)
    if isinstance(error, ModuleNotFoundError):
        return NotAModel(_missing_module(error.name or text))
    if isinstance(error, AttributeError | ImportError):
        return NotAModel(_missing_name(text))
    if isinstance(error, EOFError) or "truncated" in text or "ran out of" in text.lower():
        return NotAModel("The file ends too early: it was cut short on the way; upload it again.")
    if isinstance(error, pickle.UnpicklingError | UnicodeDecodeError | IndexError | KeyError):
        return NotAModel(f"The file is not a readable pickle ({text}): {SAVE}.")
    if "incompatible dtype" in text or "node array" in text:
        return NotAModel(
            f"The file was saved by a scikit-learn version whose trees {sklearn.__version__} cannot read ({text}): fit"
            f" the model again with {sklearn.__version__}, and save it."
        )
    return NotAModel(f"The file cannot be loaded ({type(error).__name__}: {text}): {SAVE}.")


def _missing_module(name: str) -> str:
    root = name.split(".", maxsplit=1)[0]
    if root == "sklearn":
        return (
            f"The file needs `{plain(name, 100)}`, which scikit-learn {sklearn.__version__} no longer has: "
            f"fit and save the model again with scikit-learn {sklearn.__version__}."
        )
    return (
        f"The file needs the Python module `{plain(name, 100)}`, which Serval does not have: build the model from"
        " scikit-learn's own estimators and NumPy functions, and save it again."
    )


def _missing_name(text: str) -> str:
    match = re.search(r"Can't get attribute '([^']+)' on <module '([^']+)'", text) or re.search(
        r"cannot import name '([^']+)' from '([^']+)'", text
    )
    if match is None:
        return f"The file refers to something that does not exist here ({text}): {SAVE}."
    name, module = match.groups()
    if module in {"__main__", "__mp_main__", "serval.conversion.sandbox.child"} or not module.startswith("sklearn"):
        where = (
            "the script or notebook that saved it (`__main__`)"
            if module in {"__main__", "__mp_main__"}
            else f"the module `{module}`"
        )
        return (
            f"The file refers to `{name}`, which is defined in {where}, and a pickle holds no code: replace it by"
            " scikit-learn's own transformers and NumPy functions (`FunctionTransformer(numpy.log1p)`), fit and save"
            " again."
        )
    return (
        f"The file refers to `{module}.{name}`, which scikit-learn {sklearn.__version__} does not have: "
        f"fit and save the model again with scikit-learn {sklearn.__version__}."
    )


def predictor(content: Any) -> Any:
    """The object itself if it is an estimator. Raises NotAModel for containers, data and classes, with what to save
    instead."""
    if isinstance(content, type):
        raise NotAModel(
            f"The file holds the class `{content.__name__}`, not a fitted object: save what"
            f" `{content.__name__}(...).fit(X, y)` returns."
        )
    if hasattr(content, "predict") or hasattr(content, "fit"):
        return content
    name = type(content).__name__
    if isinstance(content, Mapping):
        raise NotAModel(
            _container(
                f"a dict with the keys {_keys(content)}",
                {repr(key): value for key, value in list(content.items())[:1000]},
            )
        )
    if isinstance(content, list | tuple):
        raise NotAModel(
            _container(
                f"a {name} of {len(content)} objects", {str(index): value for index, value in enumerate(content[:1000])}
            )
        )
    raise NotAModel(f"The file holds a `{plain(name, 100)}`, not a model: {SAVE}.")


def _keys(content: Mapping[Any, Any]) -> str:
    keys = [f"`{plain(repr(key), 60)}`" for key in list(content)[:8]]
    return ", ".join(keys) + (", ..." if len(content) > 8 else "")


def _container(description: str, parts: dict[str, Any]) -> str:
    models = [plain(key, 60) for key, part in parts.items() if hasattr(part, "predict") and not isinstance(part, type)]
    if not models:
        return f"The file holds {description}, and no model among them: {SAVE}."
    return f"The file holds {description}: save `saved[{models[0]}]` alone (`joblib.dump(saved[{models[0]}], path)`)."
