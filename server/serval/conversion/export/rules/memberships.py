"""Splits of trees by sets of categories, as columns of zeros and ones that a tree compares with a threshold."""

from dataclasses import dataclass, field, replace

import numpy as np

from serval.conversion.export.rules.tree_sums import Nodes
from serval.conversion.export.tensor import Array, Tensor, concat

MAX_CATEGORIES = 256
"""Histogram boosting counts categories in one byte."""


@dataclass
class Sets:
    """The different sets by which trees split one feature: of each, who goes right.

    A set is a row of `MAX_CATEGORIES + 1` booleans; the last is for missing and unknown values.
    """

    positions: dict[bytes, int] = field(default_factory=dict)

    def add(self, goes_right: Array) -> int:
        """The index of a set among the different ones."""
        return self.positions.setdefault(goes_right.tobytes(), len(self.positions))

    def table(self) -> Array:
        """Bool `[categories + 1, sets]`."""
        return np.array([np.frombuffer(key, dtype=bool) for key in self.positions]).T


def with_memberships(stages: list[list[Nodes]], x: Tensor, width: int) -> tuple[list[list[Nodes]], Tensor]:
    """The same trees, with every split by categories replaced by one on a column that is added to the features.

    `x` `[rows, width]` holds the codes of categories from 0 on; any other number, or NaN, is a missing category.
    """
    sets: dict[int, Sets] = {}
    for nodes in (nodes for stage in stages for nodes in stage):
        for node, goes_right in nodes.members.items():
            sets.setdefault(int(nodes.feature[node]), Sets()).add(goes_right)
    if not sets:
        return stages, x
    starts = dict(zip(sets, np.cumsum([width, *(len(one.positions) for one in sets.values())]).tolist(), strict=False))
    added = [codes(x.column(feature)).look_up(one.table()).cast("float64") for feature, one in sets.items()]
    origins = (*x.origins, *(None for one in sets.values() for _ in one.positions)) if x.origins else ()
    moved = [[_moved(nodes, sets, starts) for nodes in stage] for stage in stages]
    return moved, concat([x, *added]).with_origins(origins)


def codes(value: Tensor) -> Tensor:
    """Int64 `[rows]`: a category's code as scikit-learn cuts it to a byte, `MAX_CATEGORIES` for any other value."""
    is_code = (value >= 0.0) & (value < float(MAX_CATEGORIES))
    return is_code.choose(value, float(MAX_CATEGORIES)).cast("int64")


def _moved(nodes: Nodes, sets: dict[int, Sets], starts: dict[int, int]) -> Nodes:
    feature = np.array(nodes.feature, dtype=np.int64)
    threshold = np.array(nodes.threshold, dtype=np.float64)
    for node, goes_right in nodes.members.items():
        old = int(nodes.feature[node])
        feature[node], threshold[node] = starts[old] + sets[old].add(goes_right), 0.5
    return replace(nodes, feature=feature, threshold=threshold, members={})


def goes_right(left: Array, known: Array, *, is_missing_left: bool) -> Array:
    """Who goes right at a split: bool `[MAX_CATEGORIES + 1]`, by scikit-learn's sets of 256 bits in eight integers.

    `left`: the categories that go left; `known`: all that the model was fitted with. Any other goes where a missing
    value goes.
    """
    is_left, is_known = _bits(left), _bits(known)
    sides = np.where(is_left, False, np.where(is_known, True, not is_missing_left))
    return np.append(sides, not is_missing_left)


def _bits(bitset: Array) -> Array:
    return np.unpackbits(np.asarray(bitset, dtype="<u4").view(np.uint8), bitorder="little").astype(bool)
