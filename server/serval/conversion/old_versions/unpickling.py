"""Reads a pickle of any scikit-learn version from 1.0 on, and notes which version wrote each estimator."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
from joblib.numpy_pickle import NumpyUnpickler
from scipy.interpolate import BSpline
from sklearn.base import BaseEstimator

from serval.conversion.old_versions.names import MOVED_MODULES, present_class
from serval.conversion.plain_text import plain

SCRIPTS = frozenset({"__main__", "__mp_main__"})


class Absent:
    """In place of an object whose class does not exist here, or of what its function returned."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.__dict__.update(state)


class Unpickler(NumpyUnpickler):  # type: ignore[misc]
    """joblib's, which reads plain pickles too.

    `versions`: each estimator with the scikit-learn version that its state names. `absent`: (module, name) of what does
    not exist here; an `Absent` stands in its place. `last_named`: the class or function that the file named last.
    """

    dispatch = NumpyUnpickler.dispatch.copy()

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__("", file, ensure_native_byte_order=True)
        self.memo: dict[int, Any] = {}
        self.versions: list[tuple[Any, str]] = []
        self.absent: list[tuple[str, str]] = []
        self.last_named = "an object"

    @property
    def position(self) -> int:
        """How many bytes it has read."""
        return int(self.file_handle.tell())

    def load_next(self) -> Any:
        """The object after the last: of a pickler of its own, or of the same, which refers back."""
        start, memo = self.position, self.memo
        versions, absent = list(self.versions), list(self.absent)
        self.memo = {}
        try:
            return self.load()
        except (PermissionError, MemoryError):
            raise
        except Exception:  # noqa: BLE001  a pickle raises what it likes
            self.file_handle.seek(start)
            self.memo, self.versions, self.absent = memo, versions, absent
            return self.load()

    def find_class(self, module: str, name: str) -> Any:
        self.last_named = f"`{plain(f'{module}.{name}', 100)}`"
        known = present_class(module, name)
        if known is not None:
            return known
        try:
            if module in SCRIPTS:  # that would be Serval's own main module
                raise ModuleNotFoundError(module)
            return super().find_class(MOVED_MODULES.get(module, module), name)
        except (AttributeError, ImportError):
            self.absent.append((module, name))
            return type(name, (Absent,), {"__module__": module})

    def load_build(self) -> None:
        instance, state = self.stack[-2:]
        if isinstance(state, dict):
            if "_sklearn_version" in state:
                self.versions.append((instance, str(state["_sklearn_version"])))
            elif type(instance).__name__ == "Tree" and "nodes" in state:
                state["nodes"] = present_nodes(state["nodes"])
            elif type(instance) is BSpline and {"t", "c", "k"} <= state.keys():
                state |= vars(BSpline(state["t"], state["c"], state["k"], state["extrapolate"], state["axis"]))
        super().load_build()

    dispatch[pickle.BUILD[0]] = load_build


def present_nodes(nodes: Any) -> Any:
    """The nodes of a tree with the field that 1.3 added: before, no tree took missing values."""
    if not isinstance(nodes, np.ndarray) or nodes.dtype.names is None or "missing_go_to_left" in nodes.dtype.names:
        return nodes
    from sklearn.tree._tree import NODE_DTYPE

    out = np.zeros(nodes.shape, dtype=NODE_DTYPE)
    for name in nodes.dtype.names:
        out[name] = nodes[name]
    return out


def estimators_in(content: Any) -> list[Any]:
    """Every estimator of scikit-learn that an object leads to, once."""
    found: list[Any] = []
    seen: set[int] = set()
    pending = [content]
    while pending:
        part = pending.pop()
        if id(part) in seen or isinstance(part, str | bytes | int | float | type):
            continue
        seen.add(id(part))
        if isinstance(part, BaseEstimator):
            found.append(part)
        pending += children_of(part)
    return found


def children_of(part: Any) -> list[Any]:
    if isinstance(part, dict):
        return list(part.values())
    if isinstance(part, list | tuple | set):
        return list(part)
    if isinstance(part, np.ndarray):
        return part.ravel().tolist() if part.dtype == object else []
    return (
        list(vars(part).values()) if type(part).__module__.startswith("sklearn.") and hasattr(part, "__dict__") else []
    )
