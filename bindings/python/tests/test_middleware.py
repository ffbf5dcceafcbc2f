"""Functions around handlers and calls, and around the start and the stop of a service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import micro
import micro.sync
from micro import errors
from micro.testing import Fleet


def numbers() -> micro.Service:
    """Every kind of endpoint, on the loop and on threads."""
    service = micro.Service("numbers")

    @service.endpoint("Loop.Double")
    async def double(request: int) -> int:
        return 2 * request

    @service.endpoint("Loop.Count")
    async def count(request: int) -> AsyncIterator[int]:
        for number in range(request):
            yield number

    @service.endpoint("Loop.Sum")
    async def total(requests: AsyncIterator[int]) -> int:
        return sum([number async for number in requests])

    @service.endpoint("Loop.Each")
    async def each(requests: AsyncIterator[int]) -> AsyncIterator[int]:
        async for number in requests:
            yield number

    @service.endpoint("Thread.Double")
    def thread_double(request: int) -> int:
        return 2 * request

    @service.endpoint("Thread.Count")
    def thread_count(request: int) -> Iterator[int]:
        yield from range(request)

    @service.endpoint("Thread.Sum")
    def thread_total(requests: Iterator[int]) -> int:
        return sum(requests)

    return service


async def calls(client: micro.Client, kind: str) -> list[Any]:
    """Each kind of call once; what came of it."""
    found: list[Any] = [await client.call("numbers", f"{kind}.Double", 21, timeout=5)]
    found.append([number async for number in client.server_stream("numbers", f"{kind}.Count", 3)])
    found.append(await client.client_stream("numbers", f"{kind}.Sum", [1, 2, 3]))
    return found


@pytest.mark.parametrize("kind", ["Loop", "Thread"])
async def test_middleware_of_a_service_sees_every_call_and_the_first_is_outermost(fleet: Fleet, kind: str) -> None:
    service, log = numbers(), list[str]()

    @service.use
    async def outer(request: Any, context: micro.Context, call_next: Any) -> Any:
        log.append(f"outer {context.endpoint}")
        reply = await call_next()
        log.append("/outer")
        return reply

    @service.use
    def plain(request: Any, context: micro.Context, call_next: Any) -> Any:
        log.append("plain")
        return call_next(request)

    @service.use(endpoints=[f"{kind}.Double"])
    async def inner(request: int, context: micro.Context, call_next: Any) -> Any:
        assert micro.context().endpoint == context.endpoint
        log.append(f"inner {request}")
        return 1 + await call_next(request + 1)

    await fleet.start(service)
    assert await calls(fleet.client, kind) == [45, [0, 1, 2], 6]
    expected = [f"outer {kind}.Double", "plain", "inner 21", "/outer"]
    assert log == [*expected, f"outer {kind}.Count", "plain", "/outer", f"outer {kind}.Sum", "plain", "/outer"]


async def test_middleware_of_a_service_changes_messages_of_streams_both_ways(fleet: Fleet) -> None:
    service = numbers()

    @service.use
    async def tens(requests: Any, context: micro.Context, call_next: Any) -> Any:
        async def each(messages: Any) -> AsyncIterator[int]:
            async for message in messages:
                yield message * 10

        if not hasattr(requests, "__aiter__"):
            return await call_next()
        replies = await call_next(each(requests))
        return each(replies) if hasattr(replies, "__aiter__") else replies

    await fleet.start(service)
    assert await fleet.client.client_stream("numbers", "Loop.Sum", [1, 2]) == 30
    assert [n async for n in fleet.client.bidi_stream("numbers", "Loop.Each", [1, 2])] == [100, 200]


@pytest.mark.parametrize("kind", ["Loop", "Thread"])
async def test_middleware_of_a_service_refuses_and_answers_without_the_handler(fleet: Fleet, kind: str) -> None:
    service = numbers()

    @service.use
    async def tenant(request: Any, context: micro.Context, call_next: Any) -> Any:
        if "tenant" not in context.metadata:
            raise errors.Unauthenticated("send the header `tenant`")
        return 7 if context.metadata["tenant"] == "seven" else await call_next()

    await fleet.start(service)
    with pytest.raises(errors.Unauthenticated, match="send the header"):
        await fleet.client.call("numbers", f"{kind}.Double", 1)
    assert await fleet.client.call("numbers", f"{kind}.Double", 1, metadata={"tenant": "seven"}) == 7
    assert await fleet.client.call("numbers", f"{kind}.Double", 1, metadata={"tenant": "blue"}) == 2
    assert [health.serving for health in await fleet.client.health("numbers")] == [True]


async def test_middleware_for_an_endpoint_that_is_not_there_is_refused(fleet: Fleet) -> None:
    service = numbers()
    service.use(lambda request, context, call_next: call_next(), endpoints=["Loop.Doubel"])
    with pytest.raises(ValueError, match=r"Loop\.Doubel.*Loop\.Double"):
        await fleet.start(service)


async def test_middleware_of_a_client_sees_every_call_and_the_first_is_outermost(fleet: Fleet) -> None:
    await fleet.start(numbers())
    client, log = fleet.new_client(), list[str]()

    @client.use
    async def outer(call: micro.Call, call_next: Any) -> Any:
        log.append(f"{call.shape} {call.service} {call.endpoint}")
        reply = await call_next()
        log.append("/outer")
        return reply

    @client.use
    async def inner(call: micro.Call, call_next: Any) -> Any:
        log.append("inner")
        if call.endpoint == "Loop.Double":
            call.request += 1
            reply = await call_next(call)
            return reply._replace(message=reply.message + 1)
        return await call_next()

    assert await calls(client, "Loop") == [45, [0, 1, 2], 6]
    stream = client.bidi_stream("numbers", "Loop.Each")
    for number in (4, 5):
        await stream.send(number)
        assert await anext(stream) == number
    stream.done_sending()
    assert [number async for number in stream] == []
    shapes = ["unary", "server_stream", "client_stream", "bidi_stream"]
    names = ["Double", "Count", "Sum", "Each"]
    assert log == [
        line for shape, name in zip(shapes, names, strict=True) for line in (f"{shape} numbers Loop.{name}", "inner", "/outer")
    ]


async def test_middleware_of_a_client_sends_headers_wraps_replies_answers_and_refuses(fleet: Fleet) -> None:
    service = numbers()

    @service.endpoint("Loop.Tenant")
    async def tenant(request: None, context: micro.Context) -> str:
        return str(context.metadata["tenant"])

    await fleet.start(service)
    client = fleet.new_client()

    @client.use
    async def layer(call: micro.Call, call_next: Any) -> Any:
        if call.endpoint == "Loop.Tenant":
            call.options["metadata"] = {"tenant": "blue"}
            return await call_next()
        if call.endpoint == "Loop.Double":
            return micro.Reply(-1)
        if call.endpoint == "Loop.Sum":
            raise errors.PermissionDenied("no sums")
        replies = await call_next()

        async def negative() -> AsyncIterator[int]:
            async for reply in replies:
                yield -reply

        return negative()

    assert await client.call("numbers", "Loop.Tenant") == "blue"
    assert (await client.request("numbers", "Loop.Double", 1)).message == -1
    with pytest.raises(errors.PermissionDenied):
        await client.client_stream("numbers", "Loop.Sum", [1])
    stream = client.bidi_stream("numbers", "Loop.Each")
    await stream.send(3)
    stream.done_sending()
    assert [number async for number in stream] == [-3]
    with pytest.raises(errors.Error):
        await client.call("numbers", "Loop.Tenant", returns=int)


async def test_a_middleware_that_returns_no_reply_is_told_so(fleet: Fleet) -> None:
    client = fleet.new_client()
    client.use(lambda call, call_next: 7)
    with pytest.raises(TypeError, match=r"returned int.*micro\.Reply"):
        await client.call("numbers", "Loop.Double", 1)
    with pytest.raises(TypeError, match="asynchronous iterator"):
        await anext(client.server_stream("numbers", "Loop.Count", 1))
    with pytest.raises(TypeError, match="give a function"):
        client.use(7)  # type: ignore[type-var]


async def test_giving_up_a_call_gives_up_its_middleware(fleet: Fleet) -> None:
    client, over, begun = fleet.new_client(), asyncio.Event(), asyncio.Event()

    @client.use
    async def waits(call: micro.Call, call_next: Any) -> Any:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            over.set()

    call = asyncio.ensure_future(client.call("numbers", "Loop.Double", 1))
    await begun.wait()
    call.cancel()
    await over.wait()
    over.clear()
    begun.clear()
    stream = client.server_stream("numbers", "Loop.Count", 1)
    await begun.wait()
    await stream.aclose()
    await over.wait()
    with pytest.raises(asyncio.CancelledError):
        await anext(stream)


async def test_middleware_of_a_client_that_blocks(fleet: Fleet) -> None:
    await fleet.start(numbers())
    log: list[str] = []

    def use() -> list[Any]:
        with fleet.sync_client() as client:

            @client.use
            def outer(call: micro.Call, call_next: Any) -> Any:
                log.append(call.shape)
                return call_next()

            @client.use
            def inner(call: micro.Call, call_next: Any) -> Any:
                log.append("inner")
                reply = call_next()
                return (-n for n in reply) if call.shape == "server_stream" else reply

            found: list[Any] = [client.call("numbers", "Loop.Double", 21)]
            found.append(client.request("numbers", "Loop.Double", 1).message)
            found.append(list(client.server_stream("numbers", "Loop.Count", 3)))
            found.append(client.client_stream("numbers", "Loop.Sum", [1, 2, 3]))
            with client.bidi_stream("numbers", "Loop.Each") as stream:
                stream.send(4)
                stream.done_sending()
                found.append(list(stream))
            with pytest.raises(TypeError, match="plain function"):
                client.use(test_middleware_of_a_client_that_blocks)
            return found

    assert await asyncio.to_thread(use) == [42, 2, [0, -1, -2], 6, [4]]
    shapes = ["unary", "unary", "server_stream", "client_stream", "bidi_stream"]
    assert log == [line for shape in shapes for line in (shape, "inner")]


def hooked(log: list[str], service: micro.Service) -> None:
    for moment in ("before_start", "after_start", "before_stop", "after_stop"):

        @getattr(service, moment)
        async def later(moment: str = moment) -> None:
            await asyncio.sleep(0)
            log.append(moment)

        @getattr(service, moment)
        def at_once(moment: str = moment) -> None:
            log.append(f"{moment} 2")


EVERY = [
    f"{moment}{number}" for moment in ("before_start", "after_start", "before_stop", "after_stop") for number in ("", " 2")
]


async def test_hooks_run_in_order_around_the_start_and_the_stop(fleet: Fleet) -> None:
    service, log = numbers(), list[str]()
    hooked(log, service)

    @service.before_stop
    async def still_served() -> None:
        log.append(f"serves {await fleet.client.call('numbers', 'Loop.Double', 1)}")

    await fleet.start(service)
    assert log == EVERY[:4]
    await asyncio.gather(service.stop(), service.stop())
    assert log == [*EVERY[:6], "serves 2", *EVERY[6:]]


async def test_a_start_hook_that_fails_leaves_nothing_running(fleet: Fleet) -> None:
    for moment in ("before_start", "after_start"):
        service, log = numbers(), list[str]()

        @getattr(service, moment)
        async def fails() -> None:
            raise RuntimeError("no database")

        service.after_stop(lambda log=log: log.append("stopped"))
        with pytest.raises(RuntimeError, match="no database"):
            await fleet.start(service)
        assert log == ([] if moment == "before_start" else ["stopped"])
        with pytest.raises(errors.NotFound):
            await fleet.client.lookup("numbers")


async def test_a_stop_hook_that_fails_keeps_nothing_up(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    service, log = numbers(), list[str]()

    @service.before_stop
    async def fails() -> None:
        raise RuntimeError("no database")

    hooked(log, service)
    await fleet.start(service)
    await service.stop()
    assert log == EVERY
    assert "a hook `before_stop` failed" in caplog.text


def test_hooks_of_a_service_of_threads(program: Any) -> None:
    said = program(
        """
        import micro.sync
        service = micro.sync.Service("numbers", registry="memory://hooks", network="memory://hooks")
        for moment in ("before_start", "after_start", "before_stop", "after_stop"):
            getattr(service, moment)(lambda moment=moment: print(moment))
        with service:
            print("runs")
        """
    )
    assert said.split() == ["before_start", "after_start", "runs", "before_stop", "after_stop"]
