"""Interceptors of grpcio around calls and around handlers, for asyncio and for threads."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest
from grpc_lab import Counted, Marks, Noted, failed, grpc, request, service_of

import micro
from micro import sync


async def test_interceptors_of_a_channel_see_every_call_from_the_outside_in(world: Any, tmp_path: Any) -> None:
    url, notes = f"memory://{tmp_path.name}", []
    chain = [Marks("outer", notes), Marks("inner", notes)]
    async with (
        service_of(world, url, world.AioGreeter()),
        micro.grpc.channel("greeter", registry=url, interceptors=chain) as channel,
    ):
        stub = world.stubs.GreeterStub(channel)
        call, told = stub.Hello(request("metadata"), timeout=9), []
        call.add_done_callback(told.append)
        assert (await call).message == "test-by='outer' test-by='inner'"
        assert notes == ["outer /hello.v1.Greeter/Hello 9", "inner /hello.v1.Greeter/Hello 9"]
        assert (await call.initial_metadata())["test-header"] == "h" and call.done() and told == [call]
        assert [reply.total_count async for reply in stub.Lots(request("Ada", 3))] == [0, 1, 2]
        assert (await stub.Collect(iter([request("Ada"), request("Bob")]))).message == "Ada Bob"
        assert [reply.message async for reply in stub.Chat(iter([request("Ada")]))] == ["Hello, Ada!"]
        writing = stub.Collect()
        for name in ("Ada", "Bob", "Cid"):
            await writing.write(request(name))
        await writing.done_writing()
        assert (await writing).message == "Ada Bob Cid"
        both = stub.Chat()
        for name in ("Ada", "Bob"):
            await both.write(request(name))
            assert (await both.read()).message == f"Hello, {name}!"
        await both.done_writing()
        assert await both.read() is grpc.aio.EOF
        with pytest.raises(asyncio.InvalidStateError):
            await both.write(request("late"))
        assert len(notes) == 12
        error = await failed(stub.Hello(request("abort")))
        assert error.code() is grpc.StatusCode.NOT_FOUND


async def test_an_interceptor_may_answer_refuse_and_replace(world: Any, tmp_path: Any) -> None:
    class Answers(grpc.aio.UnaryUnaryClientInterceptor, grpc.aio.UnaryStreamClientInterceptor):  # type: ignore[misc]
        async def intercept_unary_unary(self, continuation: Any, details: Any, message: Any) -> Any:
            if message.name == "refuse":
                raise grpc.aio.AioRpcError(grpc.StatusCode.PERMISSION_DENIED, details="not you")
            if message.name == "wait":
                await asyncio.sleep(600)
            return world.pb.HelloReply(message="from a cache")

        async def intercept_unary_stream(self, continuation: Any, details: Any, message: Any) -> Any:
            call = await continuation(details, message)

            async def doubled() -> AsyncIterator[Any]:
                async for reply in call:
                    yield reply
                    yield reply

            return doubled()

    url = f"memory://{tmp_path.name}"
    async with (
        service_of(world, url, world.AioGreeter()),
        micro.grpc.channel("greeter", registry=url, interceptors=[Answers()]) as channel,
    ):
        stub = world.stubs.GreeterStub(channel)
        call = stub.Hello(request("Ada"))
        assert ((await call).message, await call.code()) == ("from a cache", grpc.StatusCode.OK)
        call = stub.Hello(request("refuse"))
        error = await failed(call)
        assert (error.code(), await call.code(), await call.details()) == (
            grpc.StatusCode.PERMISSION_DENIED,
            grpc.StatusCode.PERMISSION_DENIED,
            "not you",
        )
        call = stub.Hello(request("wait"))
        await asyncio.sleep(0)
        assert not call.done() and call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert call.cancelled() and await call.code() is grpc.StatusCode.CANCELLED
        lots = stub.Lots(request("Ada", 2))
        assert [reply.total_count async for reply in lots] == [0, 0, 1, 1]
        assert await lots.code() is grpc.StatusCode.OK
    with pytest.raises(ValueError, match=r"no interceptor of grpc\.aio"):
        micro.grpc.channel("greeter", interceptors=[object()])  # type: ignore[list-item]


def test_interceptors_for_threads_are_added_as_to_any_channel(world: Any, tmp_path: Any) -> None:
    seen: list[str] = []

    class Sees(
        grpc.UnaryUnaryClientInterceptor,  # type: ignore[misc]
        grpc.UnaryStreamClientInterceptor,  # type: ignore[misc]
        grpc.StreamUnaryClientInterceptor,  # type: ignore[misc]
        grpc.StreamStreamClientInterceptor,  # type: ignore[misc]
    ):
        def _next(self, continuation: Any, details: Any, request: Any) -> Any:
            seen.append(details.method)
            return continuation(details, request)

        intercept_unary_unary = intercept_unary_stream = intercept_stream_unary = intercept_stream_stream = _next

    with world.pair_of(world.OURS, f"memory://{tmp_path.name}") as channel:
        stub = world.stubs.GreeterStub(grpc.intercept_channel(channel, Sees()))
        assert stub.Hello(request("Ada")).message == "Hello, Ada!"
        assert stub.Hello.future(request("Ada")).result(20).message == "Hello, Ada!"
        assert stub.Hello.with_call(request("Ada"))[1].code() is grpc.StatusCode.OK
        assert [reply.total_count for reply in stub.Lots(request("Ada", 2))] == [0, 1]
        assert stub.Collect(iter([request("Ada")])).message == "Ada"
        assert [reply.message for reply in stub.Chat(iter([request("Ada")]))] == ["Hello, Ada!"]
        with pytest.raises(grpc.RpcError) as caught:
            stub.Hello(request("abort"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert len(seen) == 7


async def test_interceptors_of_a_server_see_every_call_from_the_outside_in(world: Any, tmp_path: Any) -> None:
    notes: list[str] = []
    chain = [Noted("outer", notes), Noted("inner", notes)]
    url = f"memory://{tmp_path.name}"
    async with service_of(world, url, world.AioGreeter(), chain), micro.grpc.channel("greeter", registry=url) as channel:
        stub = world.stubs.GreeterStub(channel)
        assert (await stub.Hello(request("Ada"))).message == "Hello, Ada!"
        path = "/hello.v1.Greeter/Hello"
        assert notes == [f"outer {path}", f"inner {path}", "inner goes on", "outer goes on"]
        assert [reply.total_count async for reply in stub.Lots(request("Ada", 3))] == [0, 1, 2]
        assert notes[4] == "outer /hello.v1.Greeter/Lots"
        error = await failed(stub.Hello(request("Ada"), metadata=(("test-refuse", "1"),)))
        assert (error.code(), error.details()) == (grpc.StatusCode.UNAUTHENTICATED, "who are you?")
        error = await failed(stub.Hello(request("Ada"), metadata=(("test-hide", "1"),)))
        assert (error.code(), error.details()) == (grpc.StatusCode.UNIMPLEMENTED, "Method not found!")


async def test_methods_that_are_plain_functions_run_on_threads_behind_such_interceptors(world: Any, tmp_path: Any) -> None:
    notes: list[str] = []
    url = f"memory://{tmp_path.name}"
    greeter = world.Greeter()
    service = service_of(world, url, greeter, [Noted("outer", notes)])
    async with service, micro.grpc.channel("greeter", registry=url) as channel:
        stub = world.stubs.GreeterStub(channel)
        assert (await stub.Hello(request("Ada"))).message == "Hello, Ada!"
        assert [reply.total_count async for reply in stub.Lots(request("Ada", 3))] == [0, 1, 2]
        assert (await stub.Collect(iter([request("Ada"), request("Bob")]))).message == "Ada Bob"
        assert [reply.message async for reply in stub.Chat(iter([request("Ada")]))] == ["Hello, Ada!"]
        error = await failed(stub.Hello(request("abort")))
        assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "no such name")
        call = stub.Hello(request("wait"))
        assert await asyncio.to_thread(greeter.waits.wait, 20)
        call.cancel()
        assert await asyncio.to_thread(greeter.over.wait, 20)
        assert notes.count("outer goes on") == 6


async def test_a_call_that_finds_no_thread_is_refused_behind_such_interceptors(world: Any, tmp_path: Any) -> None:
    from micro.grpc import _endpoint

    url = f"memory://{tmp_path.name}"
    greeter = world.Greeter()
    service = service_of(world, url, greeter, [Noted("outer", [])], stream_threads=1)
    async with service, micro.grpc.channel("greeter", registry=url) as channel:
        stub = world.stubs.GreeterStub(channel)
        first = stub.Lots(request("wait", 1))
        await first.read()
        assert await asyncio.to_thread(greeter.waits.wait, 20)
        calls = [stub.Lots(request("Ada", 1)) for _ in range(2)]
        reads = [asyncio.ensure_future(call.read()) for call in calls]
        refused, waiting = await asyncio.wait(reads, timeout=20, return_when=asyncio.FIRST_COMPLETED)
        error = refused.pop().exception()
        assert isinstance(error, grpc.aio.AioRpcError) and error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        servings = [one for one in gc.get_objects() if isinstance(one, _endpoint.Serving) and one._elsewhere]
        assert [len(one._elsewhere) for one in servings] == [2], "the one that was refused does not wait"
        first.cancel()
        assert (await waiting.pop()).message == "Ada"


def test_interceptors_for_threads_run_on_the_thread_of_the_handler(world: Any, tmp_path: Any) -> None:
    threads: list[str] = []
    url = f"memory://{tmp_path.name}"
    service = sync.Service("greeter", registry=url, address="127.0.0.1:0", propagation=0)
    server = micro.grpc.server(service, [Counted(threads)])
    world.stubs.add_GreeterServicer_to_server(world.Greeter(), server)
    with service, micro.grpc.sync.channel("greeter", registry=url) as channel:
        stub = world.stubs.GreeterStub(channel)
        assert stub.Hello(request("Ada")).message == "Hello, Ada!"
        assert [reply.total_count for reply in stub.Lots(request("Ada", 2))] == [0, 1]
        assert len(threads) == 2 and all(name.startswith("micro handler") for name in threads)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Hello(request("Ada"), metadata=(("test-hide", "1"),))
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
