"""What the serving process takes of the machine: both planes run in it."""

from collections.abc import Iterator
from pathlib import Path

from prometheus_client import ProcessCollector
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

_IO_FIELDS = (
    ("process_disk_read_bytes_total", "Bytes read from disks by the process.", "read_bytes"),
    ("process_disk_written_bytes_total", "Bytes written to disks by the process.", "write_bytes"),
)
_NETWORK_FIELDS = (
    ("process_network_receive_bytes_total", "Bytes received in the network namespace of the process.", "InOctets"),
    ("process_network_transmit_bytes_total", "Bytes sent in the network namespace of the process.", "OutOctets"),
)


class ProcessMetrics(Collector):
    """CPU time, memory, descriptors, start, and bytes of disks and network, in the names that Prometheus clients use.

    A figure that the kernel does not give (in some containers `/proc/self/io` cannot be read) is left out.
    """

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._common = ProcessCollector(proc=str(proc), registry=None)

    def collect(self) -> Iterator[Metric]:
        yield from self._common.collect()
        own = self._proc / "self"
        yield from _counters(_IO_FIELDS, _fields_by_line(_text(own / "io")))
        yield from _counters(_NETWORK_FIELDS, _fields_by_column(_text(own / "net" / "netstat"), "IpExt:"))


def _counters(known: tuple[tuple[str, str, str], ...], values: dict[str, str]) -> Iterator[Metric]:
    for name, documentation, field in known:
        if field in values:
            yield CounterMetricFamily(name, documentation, value=float(values[field]))


def _text(path: Path) -> str:
    """Return the text of a file of the kernel; empty where it gives none."""
    try:
        return path.read_text()
    except OSError:
        return ""


def _fields_by_line(text: str) -> dict[str, str]:
    """Return the fields of lines like `read_bytes: 4096`."""
    return dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)


def _fields_by_column(text: str, prefix: str) -> dict[str, str]:
    """Return the fields of two lines of one prefix, the first of which has the names."""
    lines = [line.split() for line in text.splitlines() if line.startswith(prefix)]
    return dict(zip(*lines, strict=False)) if len(lines) == 2 else {}
