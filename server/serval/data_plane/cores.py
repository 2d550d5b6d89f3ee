"""CPU cores that this process may use."""

import math
import os
from pathlib import Path


def cores_by_quota(limit_file: Path = Path("/sys/fs/cgroup/cpu.max")) -> float | None:
    """Return the CPU seconds per second that the control group allows; None where there is no quota."""
    try:
        quota, period = limit_file.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else round(int(quota) / int(period), 2)


def compute_threads() -> int:
    """Return the number of threads for expensive predictions: one per core that affinity and quota allow."""
    cores = len(os.sched_getaffinity(0))
    quota = cores_by_quota()
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))
