"""The figures that the kernel gives of a process."""

from pathlib import Path

from serval.process_metrics import ProcessMetrics

NETSTAT = """TcpExt: SyncookiesSent SyncookiesRecv
TcpExt: 1 2
IpExt: InNoRoutes InOctets OutOctets
IpExt: 0 3000 4000
"""


def values(proc: Path) -> dict[str, float]:
    return {family.name: family.samples[0].value for family in ProcessMetrics(proc).collect()}


def test_bytes_of_disks_and_network_are_those_of_the_kernel(tmp_path: Path) -> None:
    own = tmp_path / "self"
    (own / "net").mkdir(parents=True)
    (own / "io").write_text("rchar: 9\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 0\n")
    (own / "net" / "netstat").write_text(NETSTAT)
    assert values(tmp_path) == {
        "process_disk_read_bytes": 4096,
        "process_disk_written_bytes": 8192,
        "process_network_receive_bytes": 3000,
        "process_network_transmit_bytes": 4000,
    }


def test_what_the_kernel_does_not_give_is_left_out(tmp_path: Path) -> None:
    assert values(tmp_path) == {}
