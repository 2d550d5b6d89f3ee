"""Lines of the log: their form, their order, and that nobody waits for them."""

import json
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serval.log import Log, RequestLog, Writer, open_log, redirect_logging

Read = Callable[[], str]


@pytest.fixture
def pipe() -> tuple[int, Read]:
    """A descriptor to write to, and a function that closes it and reads all of it."""
    reading, writing = os.pipe()

    def read() -> str:
        os.close(writing)
        with os.fdopen(reading, encoding="utf-8") as stream:
            return stream.read()

    return writing, read


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_json_line_has_time_level_event_and_fields(pipe: tuple[int, Read]) -> None:
    log = open_log(level="info", form="json", descriptor=pipe[0])
    log.info("model live", model="iris", version=3)
    log.close()
    (line,) = lines(pipe[1]())
    assert line.pop("timestamp").endswith("Z")
    assert line == {"level": "info", "event": "model live", "model": "iris", "version": 3}


def test_all_lines_are_written_in_order_when_the_log_closes(pipe: tuple[int, Read]) -> None:
    log = open_log(level="info", form="json", descriptor=pipe[0])
    for number in range(500):
        log.info("counted", number=number)
    log.close()
    assert [line["number"] for line in lines(pipe[1]())] == list(range(500))


def test_lines_below_the_level_are_not_written(pipe: tuple[int, Read]) -> None:
    log = open_log(level="warning", form="json", descriptor=pipe[0])
    log.debug("no")
    log.info("no")
    log.warning("yes")
    log.error("yes")
    log.close()
    assert [line["level"] for line in lines(pipe[1]())] == ["warning", "error"]


def test_a_bound_field_is_in_every_line_of_its_log_only(pipe: tuple[int, Read]) -> None:
    log = open_log(level="debug", form="json", descriptor=pipe[0])
    log.bind(request_id="r1").debug("inside")
    log.debug("outside")
    log.close()
    inside, outside = lines(pipe[1]())
    assert inside["request_id"] == "r1"
    assert "request_id" not in outside


def test_an_exception_is_its_traceback(pipe: tuple[int, Read]) -> None:
    log = open_log(level="info", form="json", descriptor=pipe[0])
    log.error("fault", exception=ZeroDivisionError("a fault of ours"))
    log.close()
    assert lines(pipe[1]())[0]["exception"].endswith("ZeroDivisionError: a fault of ours\n")


@pytest.mark.parametrize("value", ["\ud800 lone", 2**70, {"a", "set"}, b"bytes"])
def test_a_value_that_json_cannot_encode_is_written_as_text(pipe: tuple[int, Read], value: object) -> None:
    log = open_log(level="info", form="json", descriptor=pipe[0])
    log.info("odd", value=value)
    log.close()
    assert lines(pipe[1]())[0]["event"] == "odd"


def test_text_lines_cannot_be_forged(pipe: tuple[int, Read]) -> None:
    log = open_log(level="info", form="text", descriptor=pipe[0])
    log.info("upload", name="a\nb\x1b[2J")
    log.close()
    text = pipe[1]()
    assert text.count("\n") == 1
    assert "a\\nb\\x1b[2J" in text


def test_a_blocked_reader_does_not_block_the_writers() -> None:
    reading, writing = os.pipe()
    log = Log(Writer(writing))
    began = time.perf_counter()
    for _ in range(30_000):
        log.info("nobody reads this", filler="x" * 50)
    assert time.perf_counter() - began < 5
    os.close(reading)
    log.close()
    os.close(writing)


def test_dropped_lines_are_counted() -> None:
    reading, writing = os.pipe()
    log = Log(Writer(writing))
    for _ in range(40_000):
        log.info("too many", filler="x" * 50)
    with os.fdopen(reading, "rb") as stream:
        dropped = next(line for line in map(json.loads, stream) if line["event"] == "log_lines_left_out")
    assert dropped["lines"] > 0
    log.close()
    os.close(writing)


def test_a_file_on_a_nearly_full_disk_gets_no_lines_of_usual_requests_and_their_number(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        log = Log(Writer(file.fileno(), min_free_bytes=1 << 62))
        log.info("request", status=200)
        log.info("prediction")
        log.warning("request", status=200)
        log.info("ready")
        log.close()
    assert {(line["event"], line.get("lines")) for line in lines((tmp_path / "log").read_text())} == {
        ("log_lines_left_out", 2),
        ("request", None),
        ("ready", None),
    }


def test_a_closed_reader_stops_nothing() -> None:
    reading, writing = os.pipe()
    log = Log(Writer(writing))
    os.close(reading)
    log.info("lost")
    log.info("lost too")
    log.close()
    os.close(writing)


def test_warnings_of_libraries_are_written_to_the_log(pipe: tuple[int, Read], monkeypatch: pytest.MonkeyPatch) -> None:
    library = logging.getLogger("some.library")
    library.addHandler(logging.NullHandler())
    library.propagate = False
    monkeypatch.setattr(logging.root, "handlers", logging.root.handlers)
    log = open_log(level="info", form="json", descriptor=pipe[0])
    redirect_logging(log)
    logging.captureWarnings(False)
    library.info("no")
    library.warning("disk is %s", "full")
    log.close()
    (line,) = lines(pipe[1]())
    assert (line["level"], line["event"], line["logger"]) == ("warning", "disk is full", "some.library")


def ask(log: RequestLog, status: int, ms: float, **fields: float) -> None:
    log.write(
        request_id="r1",
        client="192.0.2.1",
        user="usr_1",
        endpoint="/predict",
        method="POST",
        status=status,
        ms=ms,
        model="mdl_1",
        version=2,
        **fields,
    )


def test_the_time_that_a_client_asked_to_wait_makes_no_request_slow(pipe: tuple[int, Read]) -> None:
    log = open_log(level="info", form="json", descriptor=pipe[0])
    requests = RequestLog(log, slow_ms=1000)
    ask(requests, 200, 30_500, waited_ms=30_000)
    ask(requests, 200, 31_500, waited_ms=30_000)
    log.close()
    written = lines(pipe[1]())
    assert [(line["event"], line["waited_ms"]) for line in written] == [("request", 30000), ("slow_request", 30000)]


@pytest.mark.parametrize(
    ("status", "ms", "level", "event"),
    [
        (200, 1.5, "info", "request"),
        (400, 1, "info", "request"),
        (200, 5000, "warning", "slow_request"),
        (500, 1, "error", "request"),
        (503, 1, "info", "request"),
    ],
)
def test_the_level_of_a_request_line_depends_on_its_duration_and_status(
    pipe: tuple[int, Read], status: int, ms: float, level: str, event: str
) -> None:
    log = open_log(level="info", form="json", descriptor=pipe[0])
    ask(RequestLog(log, slow_ms=1000), status, ms)
    log.close()
    (line,) = lines(pipe[1]())
    assert (line["level"], line["event"]) == (level, event)
    assert {
        "timestamp",
        "request_id",
        "client",
        "user",
        "endpoint",
        "method",
        "status",
        "ms",
        "model",
        "version",
    } < set(line)


def test_a_line_makes_few_calls() -> None:
    with Path(os.devnull).open("wb") as nothing:
        log = Log(Writer(nothing.fileno()))
        requests = RequestLog(log, slow_ms=1000)
        ask(requests, 200, 0.3)
        calls = calls_of(lambda: ask(requests, 200, 0.3))
        log.close()
    assert calls <= 24


def calls_of(act: Callable[[], None]) -> int:
    """How many functions of Python and of C are called: what a line costs, on any machine."""
    count = 0

    def on_event(_: Any, event: str, function: Any) -> None:
        nonlocal count
        is_probe = event == "c_call" and function.__module__ == "slipcover.probe"  # of a measured run
        count += event in {"call", "c_call"} and not is_probe

    before = sys.getprofile()
    sys.setprofile(on_event)
    try:
        act()
    finally:
        sys.setprofile(before)
    return count
