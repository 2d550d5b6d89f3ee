"""Small models that older versions of scikit-learn fitted, with their own answers."""

import json
import tarfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

FOLDER = Path(__file__).parent.parent / "data" / "old_versions"
VERSIONS = sorted(path.name.removesuffix(".tar.xz") for path in FOLDER.glob("*.tar.xz"))


@dataclass(frozen=True)
class OldModel:
    content: bytes
    """The pickle."""
    answers: dict[str, Any]
    """`rows`, `predictions`, `predict_proba` and `decision_function` (None: it has none), `refuses_missing`."""

    @property
    def table(self) -> Any:
        rows = self.answers["rows"]
        if isinstance(rows[0], dict):
            return pd.DataFrame(rows).astype({"plan": object, "age": float})
        return np.array(rows)


@cache
def old_models(version: str) -> dict[str, OldModel]:
    """By name, what a version fitted."""
    with tarfile.open(FOLDER / f"{version}.tar.xz") as archive:
        files = {entry.name: archive.extractfile(entry).read() for entry in archive}  # type: ignore[union-attr]
    names = [name.removesuffix(".pkl") for name in files if name.endswith(".pkl")]
    return {name: OldModel(files[f"{name}.pkl"], json.loads(files[f"{name}.json"])) for name in names}
