"""What a converter tells of a model's columns, for the choice of rows."""

import msgspec


class ColumnHints(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Values of one column around which the answer may change: thresholds, centres, categories."""

    numbers: list[float] = []
    strings: list[str] = []


Hints = list[ColumnHints]
