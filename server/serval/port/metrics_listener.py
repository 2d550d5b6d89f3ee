"""The operators' listener, which answers `GET /metrics` alone."""

import asyncio
from collections.abc import Awaitable, Callable

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

READ_SECONDS = 5.0
PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8"


def answer_scrapes(render: Callable[[], bytes]) -> Answer:
    """A handler for `asyncio.start_server`: one request a connection."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(READ_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(respond(head, render))
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass  # no request came, or the client has gone
        finally:
            writer.close()

    return answer


def respond(head: bytes, render: Callable[[], bytes]) -> bytes:
    """The response to the head of a request."""
    method, _, rest = head.partition(b" ")
    path = rest.partition(b" ")[0].partition(b"?")[0]
    if path != b"/metrics":
        return response("404 Not Found", "text/plain", b"only /metrics is here\n")
    if method != b"GET":
        return response("405 Method Not Allowed", "text/plain", b"only GET is answered\n")
    return response("200 OK", PROMETHEUS_TEXT, render())


def response(status: str, content_type: str, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body
