"""Threads for dear calls: a bounded queue, a deadline, a place for who comes after a call that does not end."""

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from serval.errors import OutOfTime, Unavailable
from serval.predictions.compute import WAITING_PER_THREAD, Compute, RanAway


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Calls that wait for it end when the test does."""
    event = threading.Event()
    yield event
    event.set()


def spin(released: threading.Event) -> None:
    while not released.is_set():
        pass


def test_a_call_returns_its_result_and_how_long_it_waited() -> None:
    async def ask() -> None:
        result, waited_seconds = await Compute(1, 30).run(lambda: 42)
        assert result == 42
        assert 0 <= waited_seconds < 30

    asyncio.run(ask())


def test_what_a_call_raises_reaches_who_asked() -> None:
    async def ask() -> None:
        with pytest.raises(ZeroDivisionError):
            await Compute(1, 30).run(lambda: 1 // 0)

    asyncio.run(ask())


def test_a_call_that_can_not_end_in_time_is_refused_before_it_starts() -> None:
    calls: list[int] = []

    async def ask() -> None:
        with pytest.raises(OutOfTime, match="would take about 40 s, and 30 s is the limit"):
            await Compute(1, 30).run(lambda: calls.append(1), expected_seconds=40)

    asyncio.run(ask())
    assert calls == []


def test_a_full_queue_refuses_at_once_and_says_when_to_come_again(released: threading.Event) -> None:
    async def ask() -> None:
        compute = Compute(1, 30)
        waiting = [asyncio.create_task(compute.run(released.wait)) for _ in range(WAITING_PER_THREAD)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable) as refused:
            await compute.run(lambda: 1)
        assert refused.value.retry_after_seconds == 1
        released.set()
        await asyncio.gather(*waiting)
        assert (await compute.run(lambda: 1))[0] == 1

    asyncio.run(ask())


def test_a_late_call_is_left_behind_and_its_thread_replaced(released: threading.Event) -> None:
    async def ask() -> None:
        compute = Compute(1, 0.1)
        with pytest.raises(OutOfTime, match=r"did not end within 0\.1 s"):
            await compute.run(released.wait)
        assert (await compute.run(lambda: "next"))[0] == "next"

    asyncio.run(ask())


def test_a_thread_that_was_replaced_ends_with_its_call(released: threading.Event) -> None:
    async def ask() -> None:
        compute = Compute(1, 0.1)
        left: list[threading.Thread] = []

        def wait() -> None:
            left.append(threading.current_thread())
            released.wait()

        with pytest.raises(OutOfTime):
            await compute.run(wait)
        released.set()
        left[0].join(20)
        assert not left[0].is_alive()

    asyncio.run(ask())


def test_calls_left_behind_keep_their_place_in_the_queue(released: threading.Event) -> None:
    async def ask() -> None:
        compute = Compute(1, 0.02)
        for _ in range(WAITING_PER_THREAD):
            with pytest.raises(OutOfTime):
                await compute.run(released.wait)
        with pytest.raises(Unavailable):
            await compute.run(lambda: 1)

    asyncio.run(ask())


def test_a_call_that_waited_too_long_is_never_run(released: threading.Event) -> None:
    calls: list[int] = []

    async def ask() -> None:
        compute = Compute(1, 0.1)
        tasks = [asyncio.create_task(compute.run(released.wait)), asyncio.create_task(compute.run(lambda: calls.append(1)))]
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(answer) for answer in answers] == [OutOfTime, OutOfTime]
        released.set()
        await compute.run(time.monotonic)

    asyncio.run(ask())
    assert calls == []


def test_a_call_that_uses_far_more_than_it_was_measured_at_has_run_away(released: threading.Event) -> None:
    async def ask() -> None:
        with pytest.raises(RanAway, match=r"measured at 0\.001 s has not ended"):
            await Compute(1, 0.5).run(lambda: spin(released), expected_seconds=0.001)

    asyncio.run(ask())


def test_a_call_that_is_late_without_using_the_machine_is_not_blamed(released: threading.Event) -> None:
    async def ask() -> None:
        with pytest.raises(OutOfTime):
            await Compute(1, 0.1).run(released.wait, expected_seconds=0.001)

    asyncio.run(ask())


def test_a_call_as_dear_as_it_was_measured_is_not_blamed(released: threading.Event) -> None:
    async def ask() -> None:
        with pytest.raises(OutOfTime):
            await Compute(1, 0.2).run(lambda: spin(released), expected_seconds=0.1)

    asyncio.run(ask())
