"""Streams, every way."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

import micro
from micro import errors
from micro.testing import Fleet


def numbers() -> micro.Service:
    service = micro.Service("numbers")

    @service.endpoint("Numbers.Count")
    async def count(to: int, context: micro.Context) -> AsyncIterator[int]:
        context.set_header("from", "one")
        for number in range(1, to + 1):
            yield number
        context.set_trailer("to", str(to))

    @service.endpoint("Numbers.Sum")
    async def total(numbers: AsyncIterator[int]) -> int:
        found = 0
        async for number in numbers:
            found += number
        return found

    @service.endpoint("Numbers.Double")
    async def double(numbers: AsyncIterator[int]) -> AsyncIterator[int]:
        async for number in numbers:
            if number < 0:
                raise errors.OutOfRange(f"{number} is negative")
            yield number * 2

    @service.server_stream("Threads.Count")
    def count_on_a_thread(to: int) -> Iterator[int]:
        yield from range(1, to + 1)

    @service.client_stream("Threads.Sum")
    def sum_on_a_thread(numbers: Iterator[int]) -> int:
        return sum(numbers)

    @service.bidi_stream("Threads.Double")
    def double_on_a_thread(numbers: Iterator[int]) -> Iterator[int]:
        for number in numbers:
            yield number * 2

    return service


@pytest.mark.parametrize("kind", ["Numbers", "Threads"])
async def test_streams_go_every_way(fleet: Fleet, kind: str) -> None:
    await fleet.start(numbers())
    client = fleet.client
    assert [n async for n in client.server_stream("numbers", f"{kind}.Count", 1000)] == list(range(1, 1001))
    assert await client.client_stream("numbers", f"{kind}.Sum", range(1000)) == 499500
    doubled = client.bidi_stream("numbers", f"{kind}.Double", range(1000))
    assert [n async for n in doubled] == list(range(0, 2000, 2))


async def test_requests_are_sent_one_by_one_and_the_reply_is_awaited(fleet: Fleet) -> None:
    await fleet.start(numbers())
    async with fleet.client.client_stream("numbers", "Numbers.Sum", returns=int) as stream:
        for number in range(10):
            await stream.send(number)
        stream.done_sending()
        assert await stream == 45


async def test_a_conversation_takes_turns(fleet: Fleet) -> None:
    await fleet.start(numbers())
    async with fleet.client.bidi_stream("numbers", "Numbers.Double") as stream:
        number = 1
        while number < 100:
            await stream.send(number)
            number = await anext(stream)
        stream.done_sending()
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        with pytest.raises(errors.LocalError):
            await stream.send(1)
    assert number == 128


async def test_headers_come_first_and_trailers_last(fleet: Fleet) -> None:
    await fleet.start(numbers())
    stream = fleet.client.server_stream("numbers", "Numbers.Count", 2)
    assert (await stream.headers())["from"] == "one"
    assert [n async for n in stream] == [1, 2]
    assert stream.trailers["to"] == "2"


async def test_headers_are_sent_before_the_first_message_where_a_handler_says_so(fleet: Fleet) -> None:
    service = micro.Service("numbers")
    on, asked = asyncio.Event(), threading.Event()

    @service.endpoint("Numbers.Later")
    async def later(request: None, context: micro.Context) -> AsyncIterator[int]:
        context.set_header("from", "one")
        context.send_headers()
        context.send_headers()
        await on.wait()
        yield 1

    @service.endpoint("Numbers.Thread")
    def thread(request: None, context: micro.Context) -> Iterator[int]:
        context.set_header("from", "one")
        context.send_headers()
        asked.wait(20)
        yield 1

    @service.endpoint("Numbers.One")
    async def one(request: None, context: micro.Context) -> str:
        with pytest.raises(errors.WrongArgument, match="answers with one message"):
            context.send_headers()
        return "refused"

    await fleet.start(service)
    for name, gate in (("Numbers.Later", on), ("Numbers.Thread", asked)):
        stream = fleet.client.server_stream("numbers", name)
        # One task may read while another one waits for the headers.
        reading = asyncio.ensure_future(anext(stream))
        headers = await asyncio.wait_for(stream.headers(), 20)
        assert dict(headers)["from"] == "one" and not reading.done()
        gate.set()
        assert await reading == 1
    assert await fleet.client.call("numbers", "Numbers.One") == "refused"


async def test_a_stream_ends_with_what_its_handler_raised(fleet: Fleet) -> None:
    await fleet.start(numbers())
    stream = fleet.client.bidi_stream("numbers", "Numbers.Double", [1, 2, -3, 4])
    got = []
    with pytest.raises(errors.OutOfRange, match="-3 is negative") as failed:
        async for number in stream:
            got.append(number)
    assert got == [2, 4] and failed.value.endpoint == "Numbers.Double"


async def test_what_is_wrong_with_requests_is_what_the_caller_sees(fleet: Fleet) -> None:
    await fleet.start(numbers())

    async def broken() -> AsyncIterator[int]:
        yield 1
        raise ValueError("no more numbers")

    with pytest.raises(ValueError, match="no more numbers"):
        await fleet.client.client_stream("numbers", "Numbers.Sum", broken())
    with pytest.raises(TypeError, match="give an iterable"):
        await fleet.client.client_stream("numbers", "Numbers.Sum", 7)  # type: ignore[arg-type]


async def test_a_stream_that_is_let_go_of_is_cancelled(fleet: Fleet) -> None:
    service = micro.Service("endless")
    over = asyncio.get_running_loop().create_future()

    @service.endpoint("Endless.Count")
    async def count(request: None) -> AsyncIterator[int]:
        number = 0
        try:
            while True:
                yield number
                number += 1
        finally:
            over.set_result(number)

    await fleet.start(service)
    async for number in fleet.client.server_stream("endless", "Endless.Count"):
        if number == 3:
            break
    gc.collect()
    assert await asyncio.wait_for(over, 10) >= 3


async def test_a_sender_waits_for_a_reader_that_is_slow(fleet: Fleet) -> None:
    service = micro.Service("sink")
    go, sent = asyncio.Event(), 0

    @service.endpoint("Sink.Take")
    async def take(requests: AsyncIterator[bytes]) -> bytes:
        await go.wait()
        count = 0
        async for _ in requests:
            count += 1
        return str(count).encode()

    await fleet.start(service)

    async def many() -> AsyncIterator[bytes]:
        nonlocal sent
        for sent in range(1, 2001):  # noqa: B007
            yield bytes(32 * 1024)

    reply = asyncio.ensure_future(fleet.client.client_stream("sink", "Sink.Take", many(), returns=bytes))
    before = -1
    while before != sent or sent == 0:
        before = sent
        await asyncio.sleep(0.2)
    assert 0 < sent < 1000, "it was held back"
    go.set()
    assert await asyncio.wait_for(reply, 60) == b"2000"
