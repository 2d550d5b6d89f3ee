"""Why a file does not load, and what to do."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from typing import Any

import sklearn

from serval.conversion.old_versions.unpickling import SCRIPTS, Absent
from serval.conversion.plain_text import plain
from serval.conversion.refusals import of_files
from serval.conversion.refusals.places import parts_of
from serval.errors import ServalError

MAX_DEPTH = 12


def explained(error: Exception, content: bytes, what: str) -> ServalError:
    """The message for an error that loading the file raised while it made this object."""
    text = str(error)[:500]
    if isinstance(error, EOFError) or "truncated" in text or "ran out of" in text.lower():
        return of_files.CUT_SHORT()
    if "incompatible dtype" in text or "node array" in text:
        return of_files.OLD_TREES(version=saved_by(content), present=sklearn.__version__)
    if isinstance(error, pickle.UnpicklingError | UnicodeDecodeError | IndexError | KeyError):
        return of_files.DAMAGED_PICKLE()
    return of_files.CANNOT_LOAD(version=saved_by(content), present=sklearn.__version__, what=what)


def other_file(kind: str) -> ServalError:
    """The message for a file that is no pickle; `kind`: what it is."""
    is_model = "model" in kind or "Keras" in kind
    return (of_files.OTHER_LIBRARY_FILE if is_model else of_files.OTHER_FILE)(kind=kind)


def untrusted(names: list[str]) -> ServalError:
    """The message for a skops file that names these types."""
    return of_files.UNTRUSTED_TYPES(names=", ".join(f"`{plain(name, 100)}`" for name in names[:5]))


def trailing(first: Any, count: int) -> ServalError:
    """The message for a file that goes on with so many bytes after its first object."""
    return of_files.TRAILING_BYTES(first=plain(type(first).__name__, 100), count=count)


def too_many_objects(limit: int) -> ServalError:
    return of_files.TOO_MANY_OBJECTS(limit=limit)


def saved_by(content: bytes) -> str:
    """The scikit-learn version that a pickle names, in words."""
    found = re.search(rb"_sklearn_version.{1,12}?(\d+\.\d+(?:\.\w+)?)", content, re.DOTALL)
    return f"scikit-learn {plain(found[1].decode(), 40)}" if found else "an unknown version of scikit-learn"


OTHER_LIBRARIES = {
    "autogluon": "AutoGluon", "catboost": "CatBoost", "fastai": "fastai", "keras": "Keras", "lightgbm": "LightGBM",
    "prophet": "Prophet", "statsmodels": "statsmodels", "tensorflow": "TensorFlow", "torch": "PyTorch",
    "transformers": "Transformers", "xgboost": "XGBoost",
}  # fmt: skip
SCORING = frozenset({"refit", "scorer_", "scoring"})


def absent_name(loaded: Any, module: str, name: str, content: bytes) -> ServalError:
    """The message for what a file refers to and does not exist here.

    `loaded`: the object, with an `Absent` in its place; None if it did not load.
    """
    shown, root = plain(f"{module}.{name}", 100), module.split(".", maxsplit=1)[0]
    if root == "sklearn":
        return of_files.GONE_FROM_SKLEARN(version=saved_by(content), name=shown, present=sklearn.__version__)
    if root in OTHER_LIBRARIES:
        return of_files.OTHER_LIBRARY(library=OTHER_LIBRARIES[root], name=shown)
    place = next(places(loaded), [])
    where = f" ({', '.join(place)})" if place else ""
    defined = (
        "the script or notebook that saved it (`__main__`)"
        if module in SCRIPTS
        else f"the Python module `{plain(module, 100)}`, which Serval does not have"
    )
    is_score = bool(place) and any(f"`{attribute}`" in place[-1] for attribute in SCORING)
    kind = of_files.OWN_SCORER if is_score else of_files.OWN_CODE
    return kind(name=plain(name, 100), place=where, module=defined)


def places(part: Any, depth: int = 0, seen: set[int] | None = None) -> Iterator[list[str]]:
    """Where an object holds something that is absent, from the outside in. `seen`: the ids of what was looked at."""
    seen = set() if seen is None else seen
    if id(part) in seen:
        return
    if not isinstance(part, type):
        seen.add(id(part))
    if isinstance(part, Absent) or (isinstance(part, type) and issubclass(part, Absent)):
        yield []
    elif depth < MAX_DEPTH:
        for name, inner in parts_of(part):
            for place in places(inner, depth + 1, seen):
                yield [name, *place] if name else place
