"""More calls than can be served: late ones are not begun, and what is done is what callers still wait for."""

from __future__ import annotations

import asyncio
import collections
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import micro
from micro import errors
from micro.testing import Fleet

RATE = 80
"""Calls a second that 4 threads with 50 ms each can do."""


class Gate:
    """A handler that blocks until it is let go, and what it was given."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.began, self.go = threading.Event(), threading.Event()

    def __call__(self, request: int) -> int:
        self.seen.append(request)
        self.began.set()
        assert self.go.wait(30)
        return request


async def begun(gate: Gate) -> None:
    assert await asyncio.to_thread(gate.began.wait, 10)


async def running(fleet: Fleet) -> int:
    """Calls that are under way at the gate, this one among them."""
    load = await fleet.client.call("gate", "Debug.Load", {})
    return int(load["in_flight"])


async def test_a_call_on_a_thread_that_is_late_is_not_begun(fleet: Fleet) -> None:
    gate, service = Gate(), micro.Service("gate", threads=1)
    service.endpoint("Gate.Do")(gate)
    await fleet.start(service)
    alone = await running(fleet)
    first = asyncio.ensure_future(fleet.client.call("gate", "Gate.Do", 1))
    await begun(gate)
    with pytest.raises(errors.DeadlineExceeded):
        await fleet.client.call("gate", "Gate.Do", 2, timeout=0.1, retry="never")
    cancelled = asyncio.ensure_future(fleet.client.call("gate", "Gate.Do", 3))
    last = asyncio.ensure_future(fleet.client.call("gate", "Gate.Do", 4))
    while await running(fleet) < alone + 3:
        pass
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    while await running(fleet) > alone + 2:
        pass
    gate.go.set()
    assert await asyncio.gather(first, last) == [1, 4]
    assert gate.seen == [1, 4]


async def test_a_stream_on_a_thread_that_is_late_is_not_begun(fleet: Fleet) -> None:
    gate, service = Gate(), micro.Service("gate", stream_threads=1)

    @service.endpoint("Gate.Stream")
    def stream(request: int) -> Iterator[int]:
        yield gate(request)

    await fleet.start(service)
    first = fleet.client.server_stream("gate", "Gate.Stream", 1)
    reading = asyncio.ensure_future(first.__anext__())
    await begun(gate)
    second = fleet.client.server_stream("gate", "Gate.Stream", 2, timeout=0.1)
    with pytest.raises(errors.DeadlineExceeded):
        await anext(second)
    gate.go.set()
    assert await reading == 1
    assert [one async for one in fleet.client.server_stream("gate", "Gate.Stream", 3)] == [3]
    assert gate.seen == [1, 3]


async def test_a_call_on_the_loop_that_is_late_is_not_begun(fleet: Fleet) -> None:
    service, seen = micro.Service("loop"), []

    @service.endpoint("Loop.Do")
    async def do(request: int) -> int:
        seen.append(request)
        if request == 1:
            # Blocks the loop for longer than the others wait.
            time.sleep(0.5)
        return request

    # The others wait on a thread of their own, because this loop stands still.
    await fleet.start(service)
    refused: list[Any] = []

    def ask(number: int) -> None:
        with fleet.sync_client() as client:
            try:
                client.call("loop", "Loop.Do", number, timeout=0.1, retry="never")
            except errors.Error as error:
                refused.append(error.code)

    blocked = asyncio.ensure_future(fleet.client.call("loop", "Loop.Do", 1))
    threads = [threading.Thread(target=ask, args=(number,)) for number in range(2, 6)]
    for thread in threads:
        thread.start()
    await blocked
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert await fleet.client.call("loop", "Loop.Do", 9) == 9
    assert set(refused) <= {errors.Code.DEADLINE_EXCEEDED}
    assert len(seen) == 2 + 4 - len(refused), "a refused call was not served"


async def test_a_call_whose_turn_would_come_too_late_is_refused_at_once(fleet: Fleet) -> None:
    gate, service = Gate(), micro.Service("gate", threads=1, limiter="off")
    gate.go.set()
    usual = service.endpoint("Gate.Slow")

    @usual
    def slow(request: int) -> int:
        time.sleep(0.2)
        return request

    await fleet.start(service)
    assert await fleet.client.call("gate", "Gate.Slow", 0) == 0
    waiting = [asyncio.ensure_future(fleet.client.call("gate", "Gate.Slow", n, timeout=60)) for n in range(10)]
    await asyncio.wait(waiting, timeout=0.1)
    started = time.monotonic()
    with pytest.raises(errors.ResourceExhausted, match="Gate.Slow is overloaded: 1 threads are busy") as refused:
        await fleet.client.call("gate", "Gate.Slow", 99, timeout=1, retry="never")
    assert time.monotonic() - started < 0.9 and "try another node or later" in refused.value.detail
    assert await asyncio.gather(*waiting) == list(range(10)), "who has the time waits"


async def test_the_line_before_the_threads_is_bounded(fleet: Fleet) -> None:
    gate, service = Gate(), micro.Service("gate", threads=1, limiter="off")
    service.endpoint("Gate.Do")(gate)
    await fleet.start(service)
    client = fleet.new_client(max_in_flight=2000)
    calls = [asyncio.ensure_future(client.call("gate", "Gate.Do", n, timeout=float("inf"), retry="never")) for n in range(1100)]
    await begun(gate)
    refused, _ = await asyncio.wait(calls, timeout=10, return_when=asyncio.FIRST_COMPLETED)
    assert isinstance(refused.pop().exception(), errors.ResourceExhausted)
    gate.go.set()
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert collections.Counter(type(one) for one in ended)[int] == 1025, "one that runs, and 1024 that wait"


async def test_streams_on_threads_leave_calls_alone_and_that_they_are_full_is_said_once(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    service, go = micro.Service("tail", threads=2, stream_threads=3), threading.Event()

    @service.endpoint("Tail.Stream")
    def stream(request: int) -> Iterator[int]:
        yield request
        assert go.wait(30)

    @service.endpoint("Tail.Ping")
    def ping(request: int) -> int:
        return request

    await fleet.start(service)
    streams = [fleet.client.server_stream("tail", "Tail.Stream", n, retry="never") for n in range(9)]
    first = [asyncio.ensure_future(one.__anext__()) for one in streams]
    done, _ = await asyncio.wait(first, timeout=5, return_when=asyncio.FIRST_EXCEPTION)
    assert await fleet.client.call("tail", "Tail.Ping", 7, timeout=5) == 7
    assert any(isinstance(one.exception(), errors.ResourceExhausted) for one in done)
    warned = [one.getMessage() for one in caplog.records if "threads are busy" in one.getMessage()]
    assert len(warned) == 1 and "`stream_threads`" in warned[0]
    go.set()
    for one in streams:
        one.cancel()
    await asyncio.gather(*first, return_exceptions=True)


async def test_calls_that_wait_behind_a_handler_that_does_not_end_are_told_of(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    gate, service = Gate(), micro.Service("gate", threads=1)
    service.endpoint("Gate.Do")(gate)
    await fleet.start(service)
    calls = [asyncio.ensure_future(fleet.client.call("gate", "Gate.Do", 1))]
    await begun(gate)
    with caplog.at_level(logging.WARNING, "micro"):
        while not any("threads are busy" in one.getMessage() for one in caplog.records):
            calls.append(asyncio.ensure_future(fleet.client.call("gate", "Gate.Do", 2, timeout=30)))
            await asyncio.wait(calls, timeout=0.1)
            assert len(calls) < 100
    gate.go.set()
    await asyncio.gather(*calls, return_exceptions=True)


async def load(client: micro.Client, rate: float, deadline: float, seconds: float) -> float:
    """Answers a second, of so many calls a second whose callers wait for ``deadline``."""
    good, calls, begin = 0, [], time.monotonic()

    async def one() -> None:
        nonlocal good
        try:
            await client.call("work", "Work.Do", b"x" * 1000, timeout=deadline, retry="never")
            good += 1
        except errors.Error:
            pass

    while (gone := time.monotonic() - begin) < seconds:
        while len(calls) < gone * rate:
            calls.append(asyncio.ensure_future(one()))
        await asyncio.sleep(0.005)
    await asyncio.gather(*calls)
    return good / (time.monotonic() - begin)


def peak() -> float:
    """Most memory this process has had, in MB."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


@pytest.mark.parametrize("deadline", [1.0, 0.3, 0.15])
async def test_five_times_the_load_is_answered_as_fast_as_can_be_and_a_little_less_is_answered_whole(deadline: float) -> None:
    late, before = 0, peak()
    service = micro.Service("work", threads=4, address="127.0.0.1:0", registry=f"memory://work{deadline}", propagation=0)

    @service.endpoint("Work.Do")
    def do(request: bytes, context: micro.Context) -> bytes:
        nonlocal late
        late += context.cancelled
        time.sleep(0.05)
        return request

    async with service, micro.Client(registry=f"memory://work{deadline}") as client:
        # What else the machine does can only take away from it.
        for _ in range(3):
            full = await load(client, 5 * RATE, deadline, 2.0)
            after = await load(client, 0.8 * RATE, deadline, 2.0)
            print(f"deadline {deadline}: {full:.0f}/s at {5 * RATE}/s, then {after:.0f}/s at {0.8 * RATE:.0f}/s")
            if full >= 0.8 * RATE and after >= 0.9 * 0.8 * RATE:
                break
        else:
            pytest.fail(f"{full:.0f}/s under load, {after:.0f}/s after it")
    assert late == 0
    print(f"peak memory {peak():.0f} MB, {peak() - before:.0f} more than before")
    assert peak() - before < 60
