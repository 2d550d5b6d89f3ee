"""Planes with one model on a route and one caller."""

from collections.abc import Callable
from typing import Any

import hypothesis
import numpy as np
import onnx
import pytest

from serval._native import DataPlane
from support import graphs
from support.planes import load, new_plane, put_caller, regressor, route

hypothesis.settings.register_profile("native", deadline=None)
hypothesis.settings.load_profile("native")


@pytest.fixture
def plane() -> DataPlane:
    plane = new_plane()
    put_caller(plane)
    plane.models.set_routes([route()])
    return plane


@pytest.fixture
def serve(plane: DataPlane) -> Callable[..., DataPlane]:
    """Load a graph under the only route, measured on a few rows."""

    def serve(model: onnx.ModelProto, contract: dict[str, Any], rows: np.ndarray | None = None) -> DataPlane:
        load(plane, model, contract, np.ones((3, len(contract["columns"]))) if rows is None else rows)
        return plane

    return serve


def echoing(dtype: str, columns: int, **settings: Any) -> DataPlane:
    """A plane whose model answers with the row it was given."""
    plane = new_plane(**settings)
    put_caller(plane)
    plane.models.set_routes([route()])
    takes_missing = [
        {"name": f"x{place}", "kind": "number", "dtype": dtype, "missing": "nan"} for place in range(columns)
    ]
    contract = regressor(
        columns, targets=columns, is_multi_target=True, numbers_dtype=dtype, scores_dtype=dtype, columns=takes_missing
    )
    load(plane, graphs.echo(columns, dtype), contract, np.ones((3, columns)))
    return plane


@pytest.fixture(scope="session")
def echo64() -> DataPlane:
    return echoing("float64", 2, max_rows=100_000)


@pytest.fixture(scope="session")
def echo32() -> DataPlane:
    return echoing("float32", 2)
