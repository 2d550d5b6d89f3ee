"""Neighbours that scikit-learn takes from a partition of the distances: which of equals, depends on the processor."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from serval.conversion.export.tensor import Array, floats
from serval.conversion.refusals import of_models

SEED = 20_240_303
MAX_ROWS = 300
SHARE = 0.4
"""Of the other columns so many are emptied too, in every third row."""
MAX_CELLS = 4_000_000
REASON = "for a row that it was fitted on{but}, the nearest {count} are not told from the next"
ROUNDING = 4e-15
"""A share of the squared lengths: distances by products that differ by less are equal but for rounding."""


def refuse_tied(model: Any) -> None:
    """Raises Refused for a neighbours model that is fitted on rows among which such a choice decides its answer."""
    is_sparse = sparse.issparse(model._fit_X)
    if model._fit_method != "brute" or not (model.effective_metric_ == "cosine" or is_sparse):
        return
    points = floats(model._fit_X)
    if model.effective_metric_ == "cosine":
        lengths = np.linalg.norm(points, axis=1, keepdims=True)
        points = points / np.where(lengths == 0, 1.0, lengths)
    elif model.effective_metric_ != "euclidean":
        return
    held = getattr(model, "_y", None)
    values = np.arange(len(points))[:, None] if held is None else floats(held).reshape(len(points), -1)
    asked = points[_some(len(points), len(points))]
    lengths = (points**2).sum(axis=1)
    squares = np.maximum((asked**2).sum(axis=1)[:, None] + lengths - 2.0 * asked @ points.T, 0.0)
    room = ((asked**2).sum(axis=1) + lengths.max()) * ROUNDING
    if has_deciding_tie(squares, values, model.n_neighbors, room):
        kind = of_models.TIED_SPARSE if is_sparse else of_models.TIED_COSINE
        raise kind.of(model, reasons=REASON.format(but="", count=model.n_neighbors))


def refuse_tied_imputer(model: Any) -> None:
    """Raises Refused for a fitted `KNNImputer` that fills one of its own rows by such a choice."""
    rng = np.random.default_rng(SEED)
    points, gaps = np.where(model._mask_fit_X, 0.0, floats(model._fit_X)), np.asarray(model._mask_fit_X, dtype=bool)
    lengths = (points**2).sum(axis=1)
    for column in np.flatnonzero(model._valid_mask):
        donors = np.flatnonzero(~gaps[:, column])
        if len(donors) <= model.n_neighbors:
            continue
        chosen = _some(len(points), len(donors))
        emptied = gaps[chosen] | (
            rng.random((len(chosen), points.shape[1])) < SHARE * (np.arange(len(chosen)) % 3 == 0)[:, None]
        )
        emptied[:, column] = True
        asked = np.where(emptied, 0.0, points[chosen])
        squares = common_squares(asked, ~emptied, points[donors], ~gaps[donors])
        room = ((asked**2).sum(axis=1) + lengths.max()) * ROUNDING * points.shape[1]
        if has_deciding_tie(squares, points[donors, column, None], model.n_neighbors, room):
            reasons = REASON.format(but=" without a value in this column", count=model.n_neighbors)
            raise of_models.TIED_IMPUTER.of(model, column=int(column), reasons=reasons)


def common_squares(rows: Array, is_there: Array, points: Array, is_point_there: Array) -> Array:
    """`[rows, points]`: squared distances over the columns that both have, scaled up to all; infinite without any."""
    present, others = floats(is_there), floats(is_point_there)
    squares = rows**2 @ others.T + present @ (points**2).T - 2.0 * rows @ points.T
    common = present @ others.T
    with np.errstate(all="ignore"):
        return np.asarray(np.where(common > 0, np.maximum(squares, 0.0) / common * rows.shape[1], np.inf))


def has_deciding_tie(squares: Array, values: Array, count: int, room: npt.NDArray[np.float64]) -> bool:
    """Whether for a row the points at the distance of the `count`-th, within `room` (`[rows]`), are not all taken and
    differ in `values`."""
    if squares.shape[1] <= count or not len(squares):
        return False
    last = np.partition(squares, count - 1, axis=1)[:, count - 1]
    for row in np.flatnonzero(np.isfinite(last)):
        near = np.abs(squares[row] - last[row]) <= room[row]
        if (squares[row] <= last[row] + room[row]).sum() > count and (np.ptp(values[near], axis=0) > 0).any():
            return True
    return False


def _some(rows: int, width: int) -> npt.NDArray[np.int64]:
    """Of so many rows some, spread evenly, of which a table of that width is not too large."""
    return np.linspace(0, rows - 1, max(1, min(rows, MAX_ROWS, MAX_CELLS // max(1, width)))).astype(np.int64)
