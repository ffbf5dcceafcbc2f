"""Generic handlers that do not list their methods, and the endpoint that answers what no other does."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from grpc_lab import Counted, Noted, failed, grpc

import micro
from micro import errors, sync
from micro.testing import Fleet


class Later(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Serves whatever ends in the name of a shape, with `async def`."""

    def service(self, details: Any) -> Any:
        path = details.method

        async def one(request: bytes, context: Any) -> bytes:
            if request == b"abort":
                await context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")
            return request and path.encode() + b" " + request

        async def many(request: bytes, context: Any) -> AsyncIterator[bytes]:
            await context.send_initial_metadata((("test-header", "h"),))
            for _ in range(2):
                yield request

        async def joined(requests: Any, context: Any) -> bytes:
            return b" ".join([request async for request in requests])

        async def each(requests: Any, context: Any) -> AsyncIterator[bytes]:
            async for request in requests:
                yield request * 2

        return handler_of(path, one, many, joined, each)


class Here(grpc.GenericRpcHandler):  # type: ignore[misc]
    """The same on threads."""

    def service(self, details: Any) -> Any:
        path = details.method

        def one(request: bytes, context: Any) -> bytes:
            if request == b"abort":
                context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")
            assert threading.current_thread().name.startswith("micro")
            return request and path.encode() + b" " + request

        def many(request: bytes, context: Any) -> Iterator[bytes]:
            context.send_initial_metadata((("test-header", "h"),))
            for _ in range(2):
                yield request

        def joined(requests: Any, context: Any) -> bytes:
            return b" ".join(requests)

        def each(requests: Any, context: Any) -> Iterator[bytes]:
            for request in requests:
                yield request * 2

        return handler_of(path, one, many, joined, each)


def handler_of(path: str, one: Any, many: Any, joined: Any, each: Any) -> Any:
    kinds = {
        "One": (grpc.unary_unary_rpc_method_handler, one),
        "Many": (grpc.unary_stream_rpc_method_handler, many),
        "Joined": (grpc.stream_unary_rpc_method_handler, joined),
        "Each": (grpc.stream_stream_rpc_method_handler, each),
    }
    make, behavior = kinds.get(path.rpartition("/")[2], (None, None))
    return None if make is None else make(behavior)


async def check(channel: Any) -> None:
    """Calls every shape, what is refused, and what is not there."""
    one = channel.unary_unary("/any.Thing/One")
    assert await one(b"a") == b"/any.Thing/One a"
    assert await one(b"") == b""
    assert await channel.unary_unary("/other.Thing/One")(b"b") == b"/other.Thing/One b"
    many = channel.unary_stream("/any.Thing/Many")(b"x")
    assert (await many.initial_metadata())["test-header"] == "h"
    assert [reply async for reply in many] == [b"x", b"x"]
    assert await channel.stream_unary("/any.Thing/Joined")(iter([b"a", b"b"])) == b"a b"
    assert [reply async for reply in channel.stream_stream("/any.Thing/Each")(iter([b"a", b"b"]))] == [b"aa", b"bb"]
    error = await failed(one(b"abort"))
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "no such thing")
    error = await failed(channel.unary_unary("/any.Thing/Nothing")(b"a"))
    assert (error.code(), error.details()) == (grpc.StatusCode.UNIMPLEMENTED, "Method not found!")


LISTED = {"Listed": grpc.unary_unary_rpc_method_handler(lambda request, context: b"listed")}


@pytest.mark.parametrize("kind", ["asyncio", "interceptors", "threads", "threads of asyncio"])
async def test_a_handler_that_lists_no_methods_is_asked_by_each_call(kind: str, tmp_path: Any) -> None:
    url, notes = f"memory://{tmp_path.name}", list[str]()
    options: dict[str, Any] = {"registry": url, "address": "127.0.0.1:0", "propagation": 0}
    listed = grpc.method_handlers_generic_handler("any.Thing", LISTED)
    if kind == "threads":
        blocking = sync.Service("greeter", **options)
        micro.grpc.server(blocking, [Counted(notes)]).add_generic_rpc_handlers((Here(), listed))
        blocking.start()
        address, stop = blocking.address, blocking.stop
    else:
        service = micro.Service("greeter", **options)
        interceptors = [Noted("outer", notes)] if kind == "interceptors" else None
        handler = Here() if kind == "threads of asyncio" else Later()
        micro.grpc.server(service, interceptors).add_generic_rpc_handlers((handler, listed))
        await service.start()
        address, stop = service.address, service.stop
    try:
        async with micro.grpc.channel("greeter", registry=url) as channel:
            await check(channel)
        async with grpc.aio.insecure_channel(address) as channel:
            await check(channel)
            assert await channel.unary_unary("/any.Thing/Listed")(b"") == b"listed"
    finally:
        stopping = stop()
        if stopping is not None:
            await stopping
    assert bool(notes) == (kind in ("interceptors", "threads"))


async def test_the_endpoint_of_a_star_answers_what_no_other_does(fleet: Fleet) -> None:
    service = micro.Service("edge")

    @service.endpoint("*")
    async def any_other(requests: AsyncIterator[bytes], context: micro.Context) -> AsyncIterator[bytes]:
        async for request in requests:
            yield f"{context.path} {context.endpoint} ".encode() + request

    @service.endpoint("Edge.Own")
    async def own(request: bytes, context: micro.Context) -> bytes:
        return str(context.path).encode()

    await fleet.start(service)
    call = fleet.client.call
    assert await call("edge", "shop.v1.Cart.Add", b"a") == b"/shop.v1.Cart/Add Cart.Add a"
    assert await call("edge", "Edge.Own", b"") == b"None"
    assert [one.name for one in service.record.endpoints] == ["Edge.Own"]


async def test_the_endpoint_of_a_star_is_a_stream_both_ways() -> None:
    service = micro.Service("edge", registry="memory://star")

    @service.endpoint("*")
    async def one(request: bytes) -> bytes:
        return request

    with pytest.raises(errors.InvalidArgument, match="it is a stream both ways"):
        await service.start()
