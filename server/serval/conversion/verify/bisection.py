"""Narrows the way between two rows down to adjacent floats, around the place where something changes."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from serval.conversion.rows import Rows

Numbers = npt.NDArray[np.float64]
SECTIONS = 16
ROUNDS = 24
"""Sixteenths of the way; floats near zero take more than the fourteen rounds that the 53 bits of a float64 take."""
Steps = Callable[[Rows, int], npt.NDArray[np.int64]]
"""For rows `[pairs * points]` and the points of each pair, first to last: after which point `[pairs]` the change is."""


def narrowed(first: Rows, second: Rows, locate: Steps) -> tuple[Rows, Rows]:
    """For each pair of rows the two beside the change between them: equal, or adjacent floats, in every column.

    `locate` chooses the section of a pair to go on with. Strings stay those of the first row.
    """
    low, high = first.numbers.copy(), second.numbers.copy()
    shares = np.arange(1, SECTIONS) / SECTIONS
    pairs = np.arange(len(low))
    for _ in range(ROUNDS):
        between = low[:, None, :] + (high - low)[:, None, :] * shares[:, None]
        points = np.concatenate([low[:, None, :], between, high[:, None, :]], axis=1)
        rows = Rows(points.reshape(-1, low.shape[1]), np.repeat(first.strings, SECTIONS + 1, axis=0))
        section = locate(rows, SECTIONS + 1)
        low, high = points[pairs, section], points[pairs, section + 1]
        if (np.nextafter(low, high) == high).all():
            break
    return Rows(low, first.strings), Rows(high, first.strings)


def beyond(low: Rows, high: Rows, steps: int) -> tuple[Rows, Rows]:
    """The rows moved apart by so many float64 steps, in the columns in which they differ."""
    way = np.sign(high.numbers - low.numbers) * steps
    return (
        Rows(low.numbers - way * np.spacing(np.abs(low.numbers)), low.strings),
        Rows(high.numbers + way * np.spacing(np.abs(high.numbers)), high.strings),
    )
