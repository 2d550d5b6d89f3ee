"""How much of the machine's CPU is ours."""

import math
import os
from pathlib import Path


def cores_by_quota(limit_file: Path = Path("/sys/fs/cgroup/cpu.max")) -> float | None:
    """Return the CPU time per time that the control group allows; None where there is no quota."""
    try:
        quota, period = limit_file.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else round(int(quota) / int(period), 2)


def compute_threads() -> int:
    """Return how many threads expensive predictions have: a core each, as far as affinity and quota go."""
    cores = len(os.sched_getaffinity(0))
    quota = cores_by_quota()
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))
