"""Where the ONNX Runtime library lies."""

import importlib.util
from pathlib import Path


def runtime_library() -> Path:
    """The `libonnxruntime.so` of the installed `onnxruntime` package. Raises FileNotFoundError."""
    spec = importlib.util.find_spec("onnxruntime")
    folders = spec.submodule_search_locations if spec else None
    found = sorted(Path(folders[0], "capi").glob("libonnxruntime.so*")) if folders else []
    if not found:
        raise FileNotFoundError("the package `onnxruntime` holds no libonnxruntime.so")
    return found[0]
