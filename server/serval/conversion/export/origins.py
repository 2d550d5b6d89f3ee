"""Which input column a value of a graph comes from, as long as only scales and shifts lie between."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """Where a value comes from: `scale * column + shift` of an input column."""

    column: int
    scale: float = 1.0
    shift: float = 0.0

    def moved(self, scale: float, shift: float) -> "Origin":
        return Origin(self.column, self.scale * scale, self.shift * scale + shift)


Origins = tuple[Origin | None, ...]
