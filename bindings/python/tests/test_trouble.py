"""When things go wrong: handlers that misbehave, and ends in the middle of work."""

from __future__ import annotations

import asyncio
import gc
import pickle
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from conftest import OPERATION, greeter, settled

import micro
from micro import errors
from micro.testing import Fleet


async def failure(fleet: Fleet, handler: Any, request: Any = None, **options: Any) -> errors.Error:
    """What the caller of a handler sees."""
    service = micro.Service("bad")
    service.endpoint("Bad.Do", **options)(handler)
    await fleet.start(service)
    with pytest.raises(errors.Error) as failed:
        await fleet.client.call("bad", "Bad.Do", request, timeout=5)
    error: errors.Error = failed.value
    assert (error.service, error.endpoint, error.attempts) == ("bad", "Bad.Do", 1)
    assert service.address in error.node
    return error


async def test_handler_raises(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: None) -> None:
        raise ValueError("seven is not a colour")

    error = await failure(fleet, handler)
    assert isinstance(error, errors.Internal) and error.is_remote
    assert error.detail == "Bad.Do failed: the log of its service says why", "that text was not meant for the caller"
    (record,) = [one for one in caplog.records if one.name == "micro"]
    assert record.exc_info and "Bad.Do raised ValueError" in record.getMessage()
    assert str(record.exc_info[1]) == "seven is not a colour"


async def test_handler_raises_after_it_has_waited(fleet: Fleet) -> None:
    async def handler(request: None) -> None:
        await asyncio.sleep(0)
        raise KeyError("name")

    error = await failure(fleet, handler)
    assert isinstance(error, errors.Internal) and "name" not in error.detail


async def test_handler_raises_on_a_thread(fleet: Fleet) -> None:
    def handler(request: None) -> None:
        raise ZeroDivisionError

    error = await failure(fleet, handler)
    assert isinstance(error, errors.Internal) and "ZeroDivision" not in error.detail


async def test_handler_raises_an_error_of_the_tree(fleet: Fleet) -> None:
    async def handler(request: None) -> None:
        detail = micro.Detail("type.googleapis.com/shop.Hint", b"\x0a\x01x")
        raise errors.ResourceExhausted("sold out", id="shop", details=[detail])

    error = await failure(fleet, handler)
    assert type(error) is errors.ResourceExhausted
    assert (error.id, error.detail, error.http) == ("shop", "sold out", 429)
    assert error.details == (micro.Detail("type.googleapis.com/shop.Hint", b"\x0a\x01x"),)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error) and again.__dict__ == error.__dict__ and str(again) == str(error)


async def test_handler_keeps_go_micros_number(fleet: Fleet) -> None:
    async def handler(request: None) -> None:
        raise errors.Error("short and stout", id="tea", http=418)

    error = await failure(fleet, handler)
    assert (error.http, error.id, error.detail) == (418, "tea", "short and stout")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (1j, "what Bad.Do returned is complex, which is no JSON"),
        (object(), "what Bad.Do returned is object, which is no JSON"),
        ({"a": [{"b": object()}]}, "what Bad.Do returned is dict, which is no JSON (`a[0].b` is object"),
    ],
)
async def test_handler_returns_the_wrong_type(fleet: Fleet, answer: Any, says: str) -> None:
    async def handler(request: None) -> Any:
        return answer

    error = await failure(fleet, handler)
    assert error.detail.startswith(says) and "give a dict" in error.detail


async def test_handler_returns_json_to_a_caller_that_speaks_protobuf(fleet: Fleet) -> None:
    async def handler(request: bytes) -> Any:
        return {"a": 1}

    error = await failure(fleet, handler, b"x")
    assert error.detail == ("what Bad.Do returned is dict, but the call speaks protobuf: give a protobuf message or bytes")


async def test_handler_forgets_to_answer(fleet: Fleet) -> None:
    async def handler(request: bytes) -> Any:
        pass

    error = await failure(fleet, handler, b"x")
    assert error.detail == "what Bad.Do returned is None: is a `return` missing?"


async def test_handler_forgets_an_await(fleet: Fleet) -> None:
    async def answer() -> str:
        return "late"

    async def handler(request: None) -> Any:
        return answer()

    error = await failure(fleet, handler)
    assert error.detail == "what Bad.Do returned is a coroutine: `await` is missing"


async def test_request_is_not_what_the_handler_takes(fleet: Fleet) -> None:
    async def handler(request: int) -> int:
        return request

    error = await failure(fleet, handler, "seven")
    assert isinstance(error, errors.InvalidArgument)
    assert error.detail == "the request of Bad.Do is no int: it is a string, and should be an integer"


async def test_handlers_that_cannot_be_served_are_refused_when_they_are_declared() -> None:
    service = micro.Service("bad")
    with pytest.raises(TypeError, match="a request, or a request and a context"):

        @service.endpoint("Bad.Many")
        async def many(a: int, b: int, c: int) -> None: ...

    with pytest.raises(TypeError, match="types of the handler of Bad.Names cannot be read.*Nowhere"):

        @service.endpoint("Bad.Names")
        async def names(a: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(TypeError, match="should `yield` them"):

        @service.server_stream("Bad.Stream")
        async def stream(a: int) -> list[int]:
            return [a]

    with pytest.raises(TypeError, match=r"has one reply, but its handler yields"):

        @service.client_stream("Bad.Yields")
        async def yields(a: AsyncIterator[int]) -> AsyncIterator[int]:
            yield 1


async def test_handler_blocks_the_loop(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    service = micro.Service("stuck")

    @service.endpoint("Stuck.Block")
    async def block(request: None) -> str:
        await asyncio.sleep(0)
        time.sleep(7.5)
        return "done"

    @service.endpoint("Stuck.Quick")
    async def quick(request: None) -> str:
        return "quick"

    await fleet.start(service)
    calls = [fleet.client.call("stuck", "Stuck.Block", timeout=30)]
    calls += [fleet.client.call("stuck", "Stuck.Quick", timeout=30) for _ in range(5)]
    assert await asyncio.gather(*calls) == ["done"] + ["quick"] * 5
    warned = [one for one in caplog.records if "a queue is not drained" in one.getMessage()]
    assert len(warned) == 1 and warned[0].name == "micro.bridge"
    assert warned[0].threadName == "micro logs", "told while the loop was stuck"


async def test_client_is_closed_with_work_in_flight(fleet: Fleet) -> None:
    service = micro.Service("slow")

    @service.endpoint("Slow.Wait")
    async def wait(request: None) -> None:
        await asyncio.sleep(60)

    @service.endpoint("Slow.Stream")
    async def stream(request: None) -> AsyncIterator[int]:
        yield 1
        await asyncio.sleep(60)

    await fleet.start(service)
    client = fleet.new_client()
    calls = [asyncio.ensure_future(client.call("slow", "Slow.Wait")) for _ in range(20)]
    replies = client.server_stream("slow", "Slow.Stream")
    assert await anext(replies) == 1
    await client.close()
    ended = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 5)
    assert all(isinstance(one, errors.Cancelled) for one in ended)
    with pytest.raises(errors.Cancelled):
        await anext(replies)
    with pytest.raises(errors.Closed, match="this client is closed: make a new one"):
        await client.call("slow", "Slow.Wait")
    await client.close()
    await settled(OPERATION, 1)


async def test_service_is_stopped_with_work_in_flight(fleet: Fleet) -> None:
    service = micro.Service("slow", grace=0.2)
    served, tally = asyncio.Semaphore(0), []

    @service.endpoint("Slow.Wait")
    async def wait(request: float) -> str:
        served.release()
        try:
            await asyncio.sleep(request)
        except asyncio.CancelledError:
            tally.append("cancelled")
            raise
        return "finished"

    await fleet.start(service)
    short = asyncio.ensure_future(fleet.client.call("slow", "Slow.Wait", 0.05, timeout=30, retry="never"))
    long = asyncio.ensure_future(fleet.client.call("slow", "Slow.Wait", 60.0, timeout=30, retry="never"))
    for _ in range(2):
        await served.acquire()
    await asyncio.wait_for(service.stop(), 10)
    assert await short == "finished", "within the grace"
    with pytest.raises(errors.Unavailable):
        await long
    assert tally == ["cancelled"]
    await service.stop()
    with pytest.raises(RuntimeError, match="slow does not run"):
        _ = service.client


async def test_service_starts_again_after_its_end(fleet: Fleet) -> None:
    service = greeter()
    for _ in range(3):
        await fleet.start(service)
        assert await fleet.client.call("greeter", "Greeter.Hello", {"name": "Ada"}) == "Hello, Ada!"
        with pytest.raises(RuntimeError, match="runs already"):
            await service.start()
        await service.stop()


async def test_service_that_cannot_start_says_why() -> None:
    service = micro.Service("greeter", registry="memory://nowhere", address="256.0.0.1:1")
    with pytest.raises(errors.Error, match=r"256\.0\.0\.1"):
        await service.start()
    with pytest.raises(RuntimeError, match="does not run"):
        await service.stats()


async def test_no_node_is_there(fleet: Fleet) -> None:
    with pytest.raises(errors.Unavailable, match="service nobody: not found") as failed:
        await fleet.client.call("nobody", "Nobody.Home", {})
    assert (failed.value.attempts, failed.value.node, failed.value.is_remote) == (0, "", False)
    assert (failed.value.reason, failed.value.id, failed.value.http) == ("no_nodes", "go.micro.client", 500)


async def test_a_call_that_may_wait_is_answered_once_a_node_is_there(fleet: Fleet) -> None:
    call = asyncio.ensure_future(fleet.client.call("late", "Late.Hello", "Ada", wait_for_ready=True))
    service = micro.Service("late")

    @service.endpoint("Late.Hello")
    async def hello(name: str) -> str:
        return f"Hello, {name}!"

    await fleet.start(service)
    assert await call == "Hello, Ada!"
    with pytest.raises(errors.DeadlineExceeded, match="waiting for a node") as failed:
        await fleet.client.call("nobody", "Nobody.Home", wait_for_ready=True, timeout=0.1)
    assert failed.value.reason == "no_nodes"


async def test_ten_thousand_calls_are_outstanding_when_the_runtime_ends() -> None:
    runtime = micro.Runtime(workers=2)
    async with Fleet(runtime=runtime) as fleet:
        service = micro.Service("slow", runtime=runtime, limiter="off")
        served = asyncio.Event()

        @service.endpoint("Slow.Wait")
        async def wait(request: None) -> None:
            served.set()
            await asyncio.sleep(600)

        await fleet.start(service)
        client = fleet.new_client(max_in_flight=10_000, timeout=None)
        calls = [asyncio.ensure_future(client.call("slow", "Slow.Wait")) for _ in range(10_000)]
        await served.wait()
        await asyncio.get_running_loop().run_in_executor(None, runtime.close)
        ended = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 60)
        assert all(isinstance(one, errors.Error) for one in ended)
        with pytest.raises(errors.Closed):
            await client.call("slow", "Slow.Wait")
    gc.collect()


async def test_a_consumer_slower_than_its_stream_is_bounded_and_warned_of_once(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    service = micro.Service("fast")
    produced = 0

    @service.endpoint("Fast.Stream")
    async def stream(request: None) -> AsyncIterator[bytes]:
        nonlocal produced
        while produced < 5000:
            produced += 1
            yield bytes(16 * 1024)

    await fleet.start(service)
    replies = fleet.client.server_stream("fast", "Fast.Stream", returns=bytes)
    assert len(await anext(replies)) == 16 * 1024
    before = -1
    while before != produced:
        before = produced
        await asyncio.sleep(0.5)
    assert produced < 1000, "held back"
    until = time.monotonic() + 20
    while not (warned := [one for one in caplog.records if "slow" in one.getMessage()]):
        assert time.monotonic() < until
        await asyncio.sleep(0.1)
    await asyncio.sleep(1.5)
    count = 1 + sum([1 async for _ in replies])
    assert count == 5000
    warned = [one for one in caplog.records if "slow" in one.getMessage()]
    assert len(warned) == 1 and "Fast.Stream" in warned[0].getMessage()
