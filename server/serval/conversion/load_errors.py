"""Why a file does not load, and what to do."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from typing import Any

import sklearn

from serval.conversion.file_kinds import SAVE
from serval.conversion.old_versions.unpickling import SCRIPTS, Absent
from serval.conversion.plain_text import plain
from serval.errors import NotAModel

MAX_DEPTH = 12


def explained(error: Exception, content: bytes) -> NotAModel:
    """The message for an error that loading the file raised."""
    text = plain(str(error), 200)
    if isinstance(error, EOFError) or "truncated" in text or "ran out of" in text.lower():
        return NotAModel("The file ends too early: it was cut short on the way; upload it again.")
    if isinstance(error, pickle.UnpicklingError | UnicodeDecodeError | IndexError | KeyError):
        return NotAModel(f"The file is not a readable pickle ({text}): {SAVE}.")
    if "incompatible dtype" in text or "node array" in text:
        return NotAModel(
            f"The file was saved by {saved_by(content)}, whose trees scikit-learn {sklearn.__version__} cannot read:"
            f" fit the model again with {sklearn.__version__}, and save it."
        )
    return NotAModel(f"The file cannot be loaded ({type(error).__name__}: {text}): {SAVE}.")


def saved_by(content: bytes) -> str:
    """The scikit-learn version that a pickle names, in words."""
    found = re.search(rb"_sklearn_version.{1,12}?(\d+\.\d+(?:\.\w+)?)", content, re.DOTALL)
    return f"scikit-learn {plain(found[1].decode(), 40)}" if found else "another version of scikit-learn"


OTHER_LIBRARIES = {
    "autogluon": "AutoGluon", "catboost": "CatBoost", "fastai": "fastai", "keras": "Keras", "lightgbm": "LightGBM",
    "prophet": "Prophet", "statsmodels": "statsmodels", "tensorflow": "TensorFlow", "torch": "PyTorch",
    "transformers": "Transformers", "xgboost": "XGBoost",
}  # fmt: skip
SCORING = frozenset({"refit", "scorer_", "scoring"})


def absent_name(loaded: Any, module: str, name: str, content: bytes) -> NotAModel:
    """The message for what a file refers to and does not exist here.

    `loaded`: the object, with an `Absent` in its place; None if it did not load.
    """
    shown, root = plain(f"{module}.{name}", 100), module.split(".", maxsplit=1)[0]
    if root == "sklearn":
        return NotAModel(
            f"The file was saved by {saved_by(content)} and refers to `{shown}`, which scikit-learn"
            f" {sklearn.__version__} does not have: fit and save the model again with scikit-learn"
            f" {sklearn.__version__}."
        )
    if root in OTHER_LIBRARIES:
        return NotAModel(
            f"The file holds a model of {OTHER_LIBRARIES[root]} (`{shown}`): Serval serves the models of scikit-learn"
            " alone."
        )
    place = next(places(loaded), [])
    where = f" ({', '.join(place)})" if place else ""
    defined = (
        "the script or notebook that saved it (`__main__`)"
        if module in SCRIPTS
        else f"the Python module `{plain(module, 100)}`, which Serval does not have"
    )
    said = f"The file refers to `{plain(name, 100)}`{where}, which is defined in {defined}, and a pickle holds no code"
    if place and any(f"`{attribute}`" in place[-1] for attribute in SCORING):
        return NotAModel(
            f"{said}: a score is not needed to predict, so save the model that the search found"
            " (`joblib.dump(search.best_estimator_, path)`)."
        )
    return NotAModel(
        f"{said}: replace it by scikit-learn's own transformers and NumPy functions"
        " (`FunctionTransformer(numpy.log1p)`), fit and save again."
    )


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
        for name, inner in _named_parts(part):
            for place in places(inner, depth + 1, seen):
                yield [name, *place] if name else place


def _named_parts(part: Any) -> list[tuple[str, Any]]:
    if isinstance(part, dict):
        return [("", value) for value in part.values()]
    if isinstance(part, list | tuple):
        return [("", value) for value in part]
    if not type(part).__module__.startswith("sklearn.") or not hasattr(part, "__dict__"):
        return []
    own = type(part).__name__
    steps = vars(part).get("steps")
    if own == "Pipeline" and isinstance(steps, list):
        return [(f"pipeline step {index}, `{plain(str(step[0]), 60)}`", step[1]) for index, step in enumerate(steps, 1)]
    return [(f"`{name}` of `{own}`", value) for name, value in vars(part).items()]
