"""Closing a listening socket without cutting off a client that has just connected (Linux)."""

import ctypes
import socket
import struct

SO_ATTACH_FILTER = 26
TCP_STATISTICS_BYTES = 104

# Classic BPF over the TCP header: load the flags, drop the segment if SYN is set, else keep all of it.
DROP_SYN = ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))


def drop_new_connections(listener: socket.socket) -> None:
    """Drop the first packet of new clients: they retry and find the port closed, or a successor on it.

    Without it, closing the socket would reset connections that the kernel has completed and no one has accepted.
    """
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in DROP_SYN)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("@HP", len(DROP_SYN), ctypes.addressof(buffer))
    listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


def accepted_all(listener: socket.socket) -> bool:
    """Whether no completed connection waits to be accepted."""
    statistics = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_STATISTICS_BYTES)
    # tcpi_unacked: on a listening socket, the length of its queue.
    queued: int = struct.unpack_from("I", statistics, 24)[0]
    return queued == 0
