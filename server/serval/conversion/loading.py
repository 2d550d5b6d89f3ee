"""Loads the bytes of an upload into a Python object; called only where hostile code can do no harm."""

from __future__ import annotations

import io
import pickle
import re
import warnings
from collections.abc import Mapping
from typing import Any, Literal

import joblib
import msgspec
import sklearn
from sklearn.exceptions import InconsistentVersionWarning

from serval.conversion.file_kinds import SAVE, foreign_kind, unpacked, zip_kind
from serval.conversion.plain_text import plain
from serval.errors import NotAModel

LIMIT_BYTES = 2 << 30
TRUSTED = ("sklearn.", "numpy.", "scipy.", "pandas.")
NOT_TRUSTED = {"sklearn.utils._joblib", "numpy.load", "numpy.save", "numpy.fromfile", "pandas.read_pickle", "scipy.io"}
Format = Literal["pickle", "joblib", "skops"]


class Loaded(msgspec.Struct, frozen=True):
    """An object from an upload, and how it was saved."""

    content: Any
    format: Format
    compression: str | None
    saved_by: str | None
    """The scikit-learn version that saved it, if it differs from ours; None: ours, or unknown."""
    notes: list[str]


def load(upload: bytes, limit_bytes: int = LIMIT_BYTES) -> Loaded:
    """The object in a `.pkl`, `.joblib` or `.skops` file. Raises NotAModel, with what the file is and what to do."""
    content, compression = unpacked(upload, limit_bytes)
    if content.startswith(b"PK\x03\x04"):
        archive = zip_kind(content, limit_bytes)
        if archive != "skops":
            raise NotAModel(f"The file is {archive}: {SAVE}.")
        loaded, notes, saved_by = _with_warnings(_load_skops, content)
        return Loaded(loaded, "skops", compression, saved_by, notes)
    if not content.startswith(b"\x80") and (kind := foreign_kind(content)):
        raise NotAModel(f"The file is {kind}: {SAVE}.")
    loaded, notes, saved_by = _with_warnings(_load_pickle, content)
    return Loaded(
        loaded,
        "joblib" if compression or b"joblib.numpy_pickle" in content[:100_000] else "pickle",
        compression,
        saved_by,
        notes,
    )


def _with_warnings(read: Any, content: bytes) -> tuple[Any, list[str], str | None]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loaded = read(content)
    versions = [item.message for item in caught if isinstance(item.message, InconsistentVersionWarning)]
    saved_by = plain(str(versions[0].original_sklearn_version), 40) if versions else None
    notes = [
        plain(str(item.message), 300) for item in caught if not isinstance(item.message, InconsistentVersionWarning)
    ]
    return loaded, list(dict.fromkeys(notes))[:10], saved_by


def _load_skops(content: bytes) -> Any:
    from skops.io import get_untrusted_types, loads

    try:
        unknown = get_untrusted_types(data=content)
        untrusted = [name for name in unknown if not is_trusted(name)]
        if untrusted:
            names = ", ".join(f"`{plain(name, 100)}`" for name in untrusted[:5])
            raise NotAModel(f"The file needs types that Serval does not load: {names}.")
        return loads(content, trusted=unknown)
    except NotAModel:
        raise
    except Exception as error:
        raise _explained(error) from error


def is_trusted(name: str) -> bool:
    """Whether a skops file may name this type: the numeric libraries' own, but nothing that reads or runs."""
    return name.startswith(TRUSTED) and not any(
        name == banned or name.startswith(banned + ".") for banned in NOT_TRUSTED
    )


def _load_pickle(content: bytes) -> Any:
    try:
        return joblib.load(io.BytesIO(content))
    except Exception as error:
        raise _explained(error) from error


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
    """The object itself where it is an estimator. Raises NotAModel for containers, data and classes, with what to save
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
