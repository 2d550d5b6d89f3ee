"""A client of HTTP/2 that sends what a test says and nothing by itself."""

import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.settings import SettingCodes
from hyperframe.frame import Frame, GoAwayFrame

from support.raw_http import Reply
from support.tls import secured

Headers = Iterable[tuple[str, str]]


class Connection(H2Connection):
    """One that goes on after the server's goodbye, with the streams that it has."""

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        event = ConnectionTerminated()
        event.error_code, event.last_stream_id = ErrorCodes(frame.error_code), frame.last_stream_id
        return [], [event]


@dataclass
class Stream:
    """What has come on a stream so far."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    has_ended: bool = False
    error: int | None = None
    """Of the reset that ended it."""


class Http2:
    """One connection."""

    def __init__(self, connection: ssl.SSLSocket, *, window_bytes: int = 1 << 20) -> None:
        """`window_bytes`: of each answer, what the server may send before it is asked for more, which this client does
        by itself."""
        assert connection.selected_alpn_protocol() == "h2"
        self.socket = connection
        self.streams: dict[int, Stream] = {}
        self.goodbye: ConnectionTerminated | None = None
        self.takes_data = window_bytes > 0
        # What it sends is the test's business.
        config = H2Configuration(
            client_side=True, header_encoding="utf-8", validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self.h2 = Connection(config)
        self.h2.local_settings = type(self.h2.local_settings)(
            client=True, initial_values={SettingCodes.INITIAL_WINDOW_SIZE: window_bytes}
        )
        self.h2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        self.socket.sendall(self.h2.data_to_send())

    def ask(
        self, method: str, path: str, headers: Headers = (), body: bytes | None = None, *, authority: str = "serval"
    ) -> int:
        """Send a request; the number of its stream. `body` of None: there is none."""
        number = self.begin(
            [(":method", method), (":scheme", "https"), (":authority", authority), (":path", path), *headers],
            ends=body is None,
        )
        if body is not None:
            self.send(number, body, ends=True)
        return number

    def begin(self, head: Headers, *, ends: bool = False) -> int:
        """Send the head of a request."""
        number = self.h2.get_next_available_stream_id()
        self.h2.send_headers(number, list(head), end_stream=ends)
        self.streams[number] = Stream()
        self.flush()
        return number

    def send(self, number: int, data: bytes, *, ends: bool = False) -> None:
        """Send a piece of a body, as the server has room for it."""
        while data:
            room = min(self.h2.local_flow_control_window(number), self.h2.max_outbound_frame_size)
            if room == 0:
                self.read()
                continue
            self.h2.send_data(number, data[:room])
            data = data[room:]
            self.flush()
        if ends:
            self.h2.end_stream(number)
            self.flush()

    def answer(self, number: int) -> Reply:
        """Wait for the whole answer on a stream."""
        stream = self.streams[number]
        while not stream.has_ended:
            assert self.read(), f"the server hung up: {stream} {self.goodbye}"
        assert stream.error in {None, ErrorCodes.NO_ERROR}, stream  # which says that the rest of the body is not wanted
        return Reply(stream.status, stream.headers, stream.body)

    def reset(self, number: int) -> int:
        """Wait until the server has reset a stream; the error code."""
        stream = self.streams[number]
        while stream.error is None:
            assert self.read(), f"the server hung up: {stream} {self.goodbye}"
        return stream.error

    def hangs_up(self) -> None:
        """Wait until the server has closed the connection."""
        try:
            while self.read():
                pass
        except (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError):
            pass

    def read(self) -> bool:
        """Take what comes next; False: the server has hung up."""
        data = self.socket.recv(65536)
        for event in self.h2.receive_data(data) if data else ():
            match event:
                case ResponseReceived():
                    stream = self.streams[event.stream_id]
                    stream.headers = {name: value for name, value in event.headers if name != ":status"}
                    stream.status = int(dict(event.headers)[":status"])
                case DataReceived():
                    self.streams[event.stream_id].body += event.data
                    if self.takes_data:
                        self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                case TrailersReceived():
                    raise AssertionError(event)
                case StreamEnded():
                    self.streams[event.stream_id].has_ended = True
                case StreamReset():
                    stream = self.streams[event.stream_id]
                    stream.has_ended, stream.error = True, int(event.error_code)
                case ConnectionTerminated():
                    self.goodbye = event
        if data:
            self.flush()
        return bool(data)


@contextmanager
def http2(port: int, context: ssl.SSLContext, *, window_bytes: int = 1 << 20) -> Iterator[Http2]:
    with secured(port, context) as connection:
        yield Http2(connection, window_bytes=window_bytes)
