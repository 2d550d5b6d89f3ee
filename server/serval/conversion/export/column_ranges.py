"""Between which numbers a fitted estimator answers, column by column, tried out on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from serval.conversion.export.original import answer, answers_of
from serval.conversion.rows import Rows
from serval.conversion.signature import Signature

Numbers = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
HUGE = 1e300
LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
SMALLEST = float(np.nextafter(0.0, 1.0))
BELOW_ZERO = 1e-9
MAX_SINGLE = 64
"""Of more columns all have the same room, since a refused row costs a call of its own."""
FEW, ROUNDS, ROUNDS_OF_FEW = 8, 12, 40
EXPONENTS = (-30, 128)


@dataclass(frozen=True)
class Trial:
    """A model, a row that it answers, and the columns that are moved, by their positions among the row's numbers."""

    estimator: Any
    signature: Signature
    base: Rows
    positions: npt.NDArray[np.int64]

    @property
    def start(self) -> Numbers:
        """`[columns]`: what the row has there."""
        return np.asarray(self.base.numbers[0, self.positions])

    def takes(self, values: Any, which: Flags | None = None) -> Flags:
        """`[columns]`: whether the row is answered with each of the values (`[columns]`, or one) in its column.

        `which`: the columns to ask about; False for the others.
        """
        chosen = np.flatnonzero(np.ones(len(self.positions), dtype=bool) if which is None else which)
        taken = np.zeros(len(self.positions), dtype=bool)
        if not chosen.size:
            return taken
        rows = self.base.take(np.zeros(len(chosen), dtype=np.int64))
        numbers = np.broadcast_to(np.asarray(values, dtype=np.float64), self.positions.shape)
        rows.numbers[np.arange(len(chosen)), self.positions[chosen]] = numbers[chosen]
        if len(self.positions) > MAX_SINGLE:
            taken[chosen] = self._takes_all(rows)
        else:
            taken[chosen] = answers_of(self.estimator, self.signature, rows).is_answered
        return taken

    def takes_all(self, value: float) -> bool:
        """Whether the row is answered with the value in each of the columns in turn."""
        rows = self.base.take(np.zeros(len(self.positions), dtype=np.int64))
        rows.numbers[np.arange(len(rows)), self.positions] = value
        return self._takes_all(rows)

    def _takes_all(self, rows: Rows) -> bool:
        try:
            answer(self.estimator, self.signature, rows)
        except (MemoryError, PermissionError):
            raise
        except Exception:  # noqa: BLE001  an estimator refuses by raising what it likes
            return False
        return True


def ranges_of(
    estimator: Any, signature: Signature, base: Rows, positions: list[int], fitted: Numbers
) -> list[tuple[float | None, float | None]]:
    """For each column the least and the largest number that it may hold; None: no limit.

    `fitted`: rows `[rows, columns]` that the model was fitted on, where it keeps them; they are always within.
    """
    trial = Trial(estimator, signature, base, np.array(positions, dtype=np.int64))
    limits = [_end(trial, sign) for sign in (-1.0, 1.0)]
    if len(fitted):
        limits = [np.minimum(limits[0], fitted.min(axis=0)), np.maximum(limits[1], fitted.max(axis=0))]
    return [
        (float(low) if np.isfinite(low) else None, float(high) if np.isfinite(high) else None)
        for low, high in zip(*limits, strict=True)
    ]


def _end(trial: Trial, sign: float) -> Numbers:
    """`[columns]`: the last number in this direction that the model takes, infinite where none is the last."""
    if trial.takes_all(sign * HUGE):
        return np.full(len(trial.positions), sign * np.inf)
    if trial.takes_all(sign * LARGEST_FLOAT32):
        return np.full(len(trial.positions), sign * LARGEST_FLOAT32)
    limits = np.where(trial.takes(sign * HUGE), sign * np.inf, np.nan)
    is_open = np.isnan(limits)
    limits[is_open & trial.takes(sign * LARGEST_FLOAT32, is_open)] = sign * LARGEST_FLOAT32
    is_open = np.isnan(limits)
    ends_at_zero = is_open & (trial.start * sign <= 0)
    ends_at_zero &= ~trial.takes(sign * BELOW_ZERO, ends_at_zero)
    for last in (0.0, -sign * SMALLEST):
        limits[ends_at_zero & np.isnan(limits) & trial.takes(last, ends_at_zero & np.isnan(limits))] = last
    return _narrowed(trial, sign, limits)


def _narrowed(trial: Trial, sign: float, limits: Numbers) -> Numbers:
    """The limits, and where they are NaN what halving finds."""
    is_open = np.isnan(limits)
    low, high = (np.full(len(limits), exponent) for exponent in EXPONENTS)
    while is_open.any() and (high - low)[is_open].max() > 1:
        middle = (low + high) // 2
        is_taken = trial.takes(trial.start + sign * 2.0**middle, is_open & (high - low > 1))
        low = np.where(is_taken, middle, low)
        high = np.where(is_taken, high, middle)
    inside = np.where(low > EXPONENTS[0], trial.start + sign * 2.0**low, trial.start)
    outside = trial.start + sign * 2.0**high
    for _ in range(ROUNDS_OF_FEW if is_open.sum() <= FEW else ROUNDS):
        between = inside + (outside - inside) / 2
        is_taken = trial.takes(between, is_open)
        inside, outside = np.where(is_taken, between, inside), np.where(is_taken, outside, between)
    return np.where(is_open, inside, limits)
