"""What a model predicts."""

from collections.abc import Iterator
from typing import Any, Optional

import msgspec


class Predictions(msgspec.Struct, frozen=True, kw_only=True):
    """The predictions of some rows, in their order; a sequence of labels or values, of one row too.

    `numpy.asarray` makes an array of them. A prediction of several targets is a list.
    """

    predictions: list[Any]
    """`[rows]`: labels of their own type, or values, exact; None for NaN and infinities."""
    probabilities: Optional[list[Any]] = None
    """`[rows][classes]`, of several targets `[rows][targets][classes]`; None if they were not asked for."""
    classes: Optional[list[Any]] = None
    """The labels that the probabilities belong to, `[classes]`, of several targets `[targets][classes]`."""
    model: str
    version: int = msgspec.field(name="model_version")
    """The number of the version that predicted."""

    def __len__(self) -> int:
        return len(self.predictions)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.predictions)

    def __getitem__(self, index: Any) -> Any:
        return self.predictions[index]

    def __array__(self, dtype: Any = None, copy: Optional[bool] = None) -> Any:
        import numpy as np

        return np.array(self.predictions, dtype=dtype)
