"""What one confined child may use."""

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """Limits of one child. `memory_bytes` counts private memory, imports included; CPU and wall time count from the
    first byte."""

    memory_bytes: int = 2 << 30
    cpu_seconds: int = 120
    wall_seconds: float = 120.0
    output_bytes: int = 1 << 30
    threads: int = 32


def human_size(count: int) -> str:
    """Bytes in the largest unit that fits: `2 GiB`, `1.5 MiB`."""
    for unit, bytes_each in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= bytes_each:
            return f"{count / bytes_each:.3g} {unit}"
    return f"{count} bytes"
