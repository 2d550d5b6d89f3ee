"""What `/proc` says about a process and its threads."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

CLOCK_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def status_of(pid: int) -> dict[str, str]:
    """The fields of `/proc/<pid>/status`."""
    return fields_of(Path(f"/proc/{pid}/status"))


def threads_of(pid: int) -> Iterator[dict[str, str]]:
    """The fields of the status of each of its threads."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            yield fields_of(thread / "status")


def fields_of(status: Path) -> dict[str, str]:
    return {name: value.strip() for name, _, value in (line.partition(":") for line in status.read_text().splitlines())}


def confinement_gap(status: dict[str, str]) -> str | None:
    """Why a process is not confined: root, a capability, no filter; None where it is."""
    if "0" in status["Uid"].split():
        return "it runs as root"
    if int(status["CapPrm"], 16) or int(status["CapEff"], 16):
        return "it has capabilities"
    if status["Seccomp"] != "2":
        return "no system call is filtered"
    return None if status["NoNewPrivs"] == "1" else "it could gain privileges"


def cpu_seconds_of(pid: int) -> float:
    """User and system time of a process that is dead but not yet reaped, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS_PER_SECOND
