"""Locates the ONNX Runtime library."""

import importlib.util
from pathlib import Path

from serval.errors import CannotStart


def runtime_library() -> Path:
    """Return the `libonnxruntime.so` of the installed wheel, so that a process has only one. Raises CannotStart."""
    spec = importlib.util.find_spec("onnxruntime")
    if spec is None or spec.origin is None:
        raise CannotStart("The package `onnxruntime` is not installed: install Serval again.")
    libraries = sorted((Path(spec.origin).parent / "capi").glob("libonnxruntime.so.*"))
    if not libraries:
        raise CannotStart(f"There is no libonnxruntime.so beside {spec.origin}: install `onnxruntime` again.")
    return libraries[0]
