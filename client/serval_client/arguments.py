"""Arguments of commands as values: names of models from their files, values of rows from text."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any


def name_from(file: str | Path) -> str:
    """`My Model (2).pkl` → `my-model-2`."""
    name = re.sub(r"[^a-z0-9._]+", "-", Path(file).name.lower().split(".")[0]).strip("-._")[:50].strip("-._")
    return name if len(name) >= 3 else f"model-{name}".strip("-")


def value_of(text: str) -> Any:
    """`5.1` → a number, `true` → a boolean, `null` → missing, other text → a string."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if isinstance(value, (str, list, dict)) else value
