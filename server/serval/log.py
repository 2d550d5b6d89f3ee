"""The log: one line per event, as JSON or text, written by a thread so that a slow reader blocks nothing."""

import atexit
import logging
import os
import queue
import select
import stat
import threading
import time
import traceback
from datetime import UTC, datetime
from typing import Any, Final, Literal

import orjson

Level = Literal["debug", "info", "warning", "error"]
LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
COLOURS: Final = {"debug": "2", "info": "32", "warning": "33", "error": "31"}
JSON_OPTIONS: Final = orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS
MAX_QUEUED_LINES: Final = 20_000
"""Lines that may wait for the reader; more are counted and dropped."""
FREQUENT: Final = frozenset({"request", "prediction"})
"""Events of which each request may make one."""
LOOK_SECONDS: Final = 1.0
"""Between two looks at the disk of a log file."""


class Writer:
    """Accepts lines from any thread without blocking, and writes them in order from its own thread."""

    def __init__(self, descriptor: int, min_free_bytes: int = 0) -> None:
        """`min_free_bytes`: a file on a disk with less free space gets no lines of usual requests."""
        self._descriptor = descriptor
        self._min_free_bytes = min_free_bytes if stat.S_ISREG(os.fstat(descriptor).st_mode) else 0
        self._is_disk_low = False
        self._looks_again_at = 0.0
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._dropped_lines = 0
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def put(self, line: bytes, *, matters: bool = True) -> None:
        """Queue a line; one that does not matter is counted instead while the disk of a log file is nearly full."""
        if self._queue.qsize() < MAX_QUEUED_LINES and (matters or not self._must_save()):
            self._queue.put(line)
        else:
            self._dropped_lines += 1

    def _must_save(self) -> bool:
        if self._min_free_bytes and (now := time.monotonic()) >= self._looks_again_at:
            self._looks_again_at = now + LOOK_SECONDS
            disk = os.fstatvfs(self._descriptor)
            self._is_disk_low = disk.f_bavail * disk.f_frsize < self._min_free_bytes
        return self._is_disk_low

    def close(self, timeout_seconds: float = 2.0) -> None:
        """Write the queued lines, unless the reader takes longer than the timeout."""
        self._queue.put(None)
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while (line := self._queue.get()) is not None:
            lines = [line, *self._queued()]
            self._write(b"".join(part for part in lines if part is not None))
            if lines[-1] is None:
                return

    def _queued(self) -> list[bytes | None]:
        """Return at most 200 further queued lines; None, the last one, closes the log."""
        lines: list[bytes | None] = []
        while len(lines) < 200 and not self._queue.empty():
            lines.append(self._queue.get())
            if lines[-1] is None:
                break
        if self._dropped_lines:
            dropped, self._dropped_lines = self._dropped_lines, 0
            lines.insert(0, encode_json("warning", "log_lines_left_out", {"lines": dropped}))
        return lines

    def _write(self, data: bytes) -> None:
        """Write all of it. A closed reader or a full disk loses lines and stops nothing."""
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [])
            except OSError:
                self._dropped_lines += data.count(b"\n")
                return


class Log:
    """Logs events with fields, by level. Fields never hold bodies, keys or passwords."""

    __slots__ = ("_bound", "_encode", "_level", "_writer")

    def __init__(
        self, writer: Writer, *, level: Level = "info", is_text: bool = False, bound: dict[str, Any] | None = None
    ) -> None:
        self._writer = writer
        self._level = LEVELS[level]
        self._encode = encode_text if is_text else encode_json
        self._bound = bound or {}

    def debug(self, event: str, **fields: Any) -> None:
        if self._level <= 10:
            self._write("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        if self._level <= 20:
            self._write("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        if self._level <= 30:
            self._write("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Log a fault; `exception=error` adds its traceback."""
        self._write("error", event, fields)

    def bind(self, **fields: Any) -> "Log":
        """Return a log that adds these fields to its lines."""
        other = object.__new__(Log)
        other._writer, other._level, other._encode = self._writer, self._level, self._encode
        other._bound = {**self._bound, **fields}
        return other

    def close(self) -> None:
        """Write the queued lines."""
        self._writer.close()

    def _write(self, level: Level, event: str, fields: dict[str, Any]) -> None:
        line = self._encode(level, event, {**self._bound, **fields} if self._bound else fields)
        self._writer.put(line, matters=event not in FREQUENT or LEVELS[level] > LEVELS["info"])


class RequestLog:
    """Logs one line per request: a warning if it was slow, an error if it was a fault of ours."""

    __slots__ = ("_log", "_slow_ms")

    def __init__(self, log: Log, *, slow_ms: float) -> None:
        self._log = log
        self._slow_ms = slow_ms

    def write(
        self,
        *,
        request_id: str,
        client: str | None,
        user: str | None,
        endpoint: str,
        method: str,
        status: int,
        ms: float,
        model: str | None = None,
        version: int | None = None,
        waited_ms: float = 0.0,
        **more: Any,
    ) -> None:
        """`client`: an address. `endpoint`: the template of the route, because a path may hold private names.

        `waited_ms`: the part of the time that the client has asked to wait for. `more`: further fields.
        """
        fields: dict[str, Any] = {
            "request_id": request_id,
            "client": client,
            "user": user,
            "endpoint": endpoint,
            "method": method,
        }
        fields |= {"status": status, "ms": round(ms, 3)}
        if model is not None:
            fields["model"], fields["version"] = model, version
        if waited_ms:
            fields["waited_ms"] = round(waited_ms, 3)
        if more:
            fields.update(more)
        if status >= 500 and status not in {503, 504}:
            self._log.error("request", **fields)
        elif ms - waited_ms > self._slow_ms:
            self._log.warning("slow_request", **fields)
        elif "near_limit_bytes" in more:
            self._log.warning("large_request", **fields)
        else:
            self._log.info("request", **fields)


class LoggingBridge(logging.Handler):
    """Writes the warnings of libraries that use `logging` to the log."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {"logger": record.name}
        if record.exc_info and record.exc_info[1]:
            fields["exception"] = record.exc_info[1]
        write = self._log.error if record.levelno >= logging.ERROR else self._log.warning
        write(record.getMessage(), **fields)


def open_log(
    *, level: Level, form: Literal["auto", "json", "text"], descriptor: int = 1, min_free_bytes: int = 0
) -> Log:
    """Return a log on a file descriptor (standard output); queued lines are written when the process ends.

    `min_free_bytes`: where it is a file, with less free on its disk no lines of usual requests are written.
    """
    is_text = form == "text" or (form == "auto" and os.isatty(descriptor))
    log = Log(Writer(descriptor, min_free_bytes), level=level, is_text=is_text)
    atexit.register(log.close)
    return log


def redirect_logging(log: Log) -> None:
    """Send what libraries log through `logging` to the log, and nowhere else."""
    for logger in logging.root.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.handlers, logger.propagate = [], True
    logging.root.handlers = [LoggingBridge(log)]
    logging.captureWarnings(True)


def encode_json(level: str, event: str, fields: dict[str, Any]) -> bytes:
    """Return `{"timestamp", "level", "event", ...}` and a line feed."""
    line = {"timestamp": now(), "level": level, "event": event, **fields}
    try:
        return orjson.dumps(line, default=as_text, option=JSON_OPTIONS)
    except orjson.JSONEncodeError:  # a lone surrogate, or an integer beyond 64 bits
        return orjson.dumps({name: one_line(value) for name, value in line.items()}, option=JSON_OPTIONS)


def encode_text(level: str, event: str, fields: dict[str, Any]) -> bytes:
    """Return `21:40:03 info  model live  model=iris version=2`, with a traceback below."""
    shown = "  ".join(
        f"\x1b[2m{name}=\x1b[0m{one_line(value)}"
        for name, value in fields.items()
        if name != "exception" and value is not None
    )
    below = as_text(fields["exception"]) if "exception" in fields else ""
    time = f"\x1b[2m{datetime.now():%H:%M:%S}\x1b[0m"  # noqa: DTZ005 - local time, for people
    coloured_level = f"\x1b[{COLOURS[level]}m{level:<7}\x1b[0m"
    return f"{time} {coloured_level} {one_line(event)}  {shown}\n{below}".encode()


def one_line(value: Any) -> str:
    """Return a value as text that cannot forge a line or move the cursor."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in str(value))


def as_text(value: Any) -> str:
    """Return what JSON cannot encode as text: an exception as its traceback."""
    if isinstance(value, BaseException):
        return "".join(traceback.format_exception(value))
    return str(value)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
