"""What the converter knows about a model's columns, for the choice of rows."""

import msgspec


class ColumnHints(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Values of one column around which the answer may change: thresholds, centres, categories."""

    numbers: list[float] = []
    strings: list[str] = []
    typical: float | str | None = None
    """A number in the middle of those that the column holds, or one of its categories, where the model shows one."""


Hints = list[ColumnHints]
