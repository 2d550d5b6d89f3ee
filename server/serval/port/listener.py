"""Closing a listening socket without cutting off a client that has just connected (Linux)."""

import ctypes
import socket
import struct

SO_ATTACH_FILTER = 26
TCP_STATISTICS_BYTES = 104

# Classic BPF over the TCP header: load the flags, drop the segment if SYN is set, else keep all of it.
DROP_SYN = ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))


def drop_new_connections(listener: socket.socket) -> None:
    """New clients get no answer, as if their first packet was lost; they ask again and find the port closed, or a
    successor.

    Without it a client whose connection the kernel has completed and nobody has accepted would be reset when the socket
    closes.
    """
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in DROP_SYN)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("@HP", len(DROP_SYN), ctypes.addressof(buffer))
    listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


def accepted_all(listener: socket.socket) -> bool:
    """Whether no completed connection waits to be accepted."""
    statistics = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_STATISTICS_BYTES)
    waiting = int(
        struct.unpack_from("I", statistics, 24)[0]
    )  # tcpi_unacked: on a listening socket, the length of its queue
    return waiting == 0
