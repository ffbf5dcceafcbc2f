"""What a channel has of the client it is made of: nodes, waiting, deadlines, interceptors, its end."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import micro
from micro import sync

grpc = pytest.importorskip("grpc")
pytest.importorskip("grpc_status")


@pytest.fixture(scope="module")
def world(pb: Any) -> Any:
    import grpc_greeter

    return grpc_greeter


def request(name: str, times: int = 0) -> Any:
    import greeter_pb2

    return greeter_pb2.HelloRequest(name=name, times_greeted=times)


async def failed(call: Any) -> Any:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


def service_of(world: Any, url: str, servicer: Any) -> micro.Service:
    service = micro.Service("greeter", registry=url, address="127.0.0.1:0", propagation=0)
    world.stubs.add_GreeterServicer_to_server(servicer, micro.grpc.server(service))
    return service


async def test_calls_go_to_all_nodes_of_the_registry(world: Any, tmp_path: Any) -> None:
    class Named(world.AioGreeter):  # type: ignore[misc, name-defined]
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        async def Hello(self, request: Any, context: Any) -> Any:
            return world.pb.HelloReply(message=self.name)

    url = f"memory://{tmp_path.name}"
    async with (
        service_of(world, url, Named("one")),
        service_of(world, url, Named("two")) as second,
        micro.grpc.channel("greeter", registry=url, strategy="round_robin") as channel,
    ):
        stub = world.stubs.GreeterStub(channel)
        assert {(await stub.Hello(request("Ada"))).message for _ in range(4)} == {"one", "two"}
        await second.stop()
        assert {(await stub.Hello(request("Ada"))).message for _ in range(4)} == {"one"}


async def test_a_service_that_is_not_there_is_unavailable_unless_it_is_waited_for(world: Any, tmp_path: Any) -> None:
    url = f"memory://{tmp_path.name}"
    async with micro.grpc.channel("greeter", registry=url) as channel:
        stub = world.stubs.GreeterStub(channel)
        error = await failed(stub.Hello(request("Ada")))
        assert error.code() is grpc.StatusCode.UNAVAILABLE and "greeter" in error.details()
        assert channel.get_state() is grpc.ChannelConnectivity.IDLE
        assert channel.get_state(try_to_connect=True) is grpc.ChannelConnectivity.CONNECTING
        waiting = stub.Hello(request("Ada"), wait_for_ready=True)
        connecting = asyncio.ensure_future(channel.wait_for_state_change(grpc.ChannelConnectivity.CONNECTING))
        ready = asyncio.ensure_future(channel.channel_ready())
        assert not waiting.done()
        async with service_of(world, url, world.AioGreeter()):
            assert (await asyncio.wait_for(waiting, 20)).message == "Hello, Ada!"
            await asyncio.wait_for(connecting, 20)
            await asyncio.wait_for(ready, 20)
            assert channel.get_state() is grpc.ChannelConnectivity.READY
            call = stub.Lots(request("Ada", 1))
            await call.wait_for_connection()
            assert (await call.read()).message == "Ada"
    assert channel.get_state() is grpc.ChannelConnectivity.SHUTDOWN


def test_a_thread_waits_for_a_service(world: Any, tmp_path: Any) -> None:
    url = f"memory://{tmp_path.name}"
    with micro.grpc.sync.channel("greeter", registry=url) as channel:
        stub = world.stubs.GreeterStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Hello(request("Ada"))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        waiting, ready = stub.Hello.future(request("Ada"), wait_for_ready=True), grpc.channel_ready_future(channel)
        service = sync.Service("greeter", registry=url, address="127.0.0.1:0", propagation=0)
        world.stubs.add_GreeterServicer_to_server(world.Greeter(), micro.grpc.server(service))
        assert not waiting.done() and not ready.done()
        with service:
            assert waiting.result(20).message == "Hello, Ada!"
            ready.result(20)


async def test_what_is_idempotent_by_its_proto_file_is_tried_again(world: Any, tmp_path: Any) -> None:
    tried: list[str] = []

    class Fails(world.AioGreeter):  # type: ignore[misc, name-defined]
        async def Hello(self, message: Any, context: Any) -> Any:
            tried.append(message.name)
            if tried.count(message.name) == 1:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
            return world.pb.HelloReply(message="at last")

    url = f"memory://{tmp_path.name}"
    async with (
        service_of(world, url, Fails()) as service,
        micro.grpc.channel("greeter", addresses=[service.address]) as channel,
        micro.grpc.channel("greeter", addresses=[service.address], retry="never") as once,
    ):
        assert (await world.stubs.GreeterStub(channel).Hello(request("Ada"))).message == "at last"
        error = await failed(world.stubs.GreeterStub(once).Hello(request("Bob")))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        # The same under a name that no proto file describes.
        error = await failed(channel.unary_unary("/any.Greeter/Hello")(request("Cid").SerializeToString()))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert tried == ["Ada", "Ada", "Bob", "Cid"]


async def test_a_call_of_a_handler_is_part_of_the_call_it_serves(world: Any, tmp_path: Any) -> None:
    url = f"memory://{tmp_path.name}"
    channels = {name: micro.grpc.channel("greeter", registry=url, detached=name == "alone") for name in ("part", "alone")}

    class Relay(world.AioGreeter):  # type: ignore[misc, name-defined]
        async def Hello(self, message: Any, context: Any) -> Any:
            if message.name not in channels:
                return await super().Hello(message, context)
            return await world.stubs.GreeterStub(channels[message.name]).Hello(request("time"))

    async with service_of(world, url, Relay()), channels["part"] as channel, channels["alone"]:
        stub = world.stubs.GreeterStub(channel)
        assert (await stub.Hello(request("part"))).message == "none"
        assert 30_000 < (await stub.Hello(request("part"), timeout=50)).total_count <= 50_000
        assert (await stub.Hello(request("alone"), timeout=50)).message == "none"


async def test_a_fleet_in_memory_is_called_by_stubs(world: Any, fleet: Any) -> None:
    service = micro.Service("greeter")
    world.stubs.add_GreeterServicer_to_server(world.AioGreeter(), micro.grpc.server(service))
    await fleet.start(service)
    stub = world.stubs.GreeterStub(micro.grpc.channel("greeter", client=fleet.client))
    assert (await stub.Hello(request("Ada"))).message == "Hello, Ada!"
    assert [reply.total_count async for reply in stub.Lots(request("Ada", 2))] == [0, 1]


async def test_a_channel_may_have_a_timeout_of_its_own(world: Any, tmp_path: Any) -> None:
    url = f"memory://{tmp_path.name}"
    async with (
        service_of(world, url, world.AioGreeter()) as service,
        micro.grpc.channel("greeter", registry=url, timeout=30) as channel,
        micro.grpc.channel("greeter", client=service.client) as other,
    ):
        assert 20_000 < (await world.stubs.GreeterStub(channel).Hello(request("time"))).total_count <= 30_000
        assert 0 < (await world.stubs.GreeterStub(other).Hello(request("time"))).total_count <= 5_000
        await other.close()
        assert await service.client.call("greeter", "Greeter.Hello", {"name": "Ada"}), "a client that was given stays open"


class Marks(
    grpc.aio.UnaryUnaryClientInterceptor,  # type: ignore[misc]
    grpc.aio.UnaryStreamClientInterceptor,  # type: ignore[misc]
    grpc.aio.StreamUnaryClientInterceptor,  # type: ignore[misc]
    grpc.aio.StreamStreamClientInterceptor,  # type: ignore[misc]
):
    """Adds its name to the metadata of each call, and notes it."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self.name, self.notes = name, notes

    async def _next(self, continuation: Any, details: Any, request: Any) -> Any:
        self.notes.append(f"{self.name} {details.method.decode()} {details.timeout}")
        details.metadata.add("test-by", self.name)
        return await continuation(details, request)

    intercept_unary_unary = intercept_unary_stream = intercept_stream_unary = intercept_stream_stream = _next


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


def broken(_: Any) -> Any:
    raise RuntimeError("secret")


async def test_what_serializers_raise_is_internal(world: Any, tmp_path: Any) -> None:
    url = f"memory://{tmp_path.name}"
    path = "/hello.v1.Greeter/"
    writes, reads = "Exception serializing request!", "Exception deserializing response!"
    async with service_of(world, url, world.AioGreeter()), micro.grpc.channel("greeter", registry=url) as channel:
        for serializer, deserializer, details in ((broken, None, writes), (None, broken, reads)):
            error = await failed(channel.unary_unary(path + "Hello", serializer, deserializer)(b""))
            assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, details)
            assert isinstance(error.__cause__.__cause__, RuntimeError)
            lots = channel.unary_stream(path + "Lots", serializer, deserializer)(request("Ada", 1).SerializeToString())
            error = await failed(lots.read())
            assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, details)
            error = await failed(channel.stream_unary(path + "Collect", serializer, deserializer)(iter([b""])))
            assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, details)
            chat = channel.stream_stream(path + "Chat", serializer, deserializer)()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await chat.write(b"")
                await chat.read()
            assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.INTERNAL, details)


def test_what_serializers_raise_is_internal_on_threads(world: Any, tmp_path: Any) -> None:
    path = "/hello.v1.Greeter/"
    writes, reads = "Exception serializing request!", "Exception deserializing response!"
    with world.pair_of(world.OURS, f"memory://{tmp_path.name}") as channel:
        for serializer, deserializer, details in ((broken, None, writes), (None, broken, reads)):
            hello = channel.unary_unary(path + "Hello", serializer, deserializer)
            lots = channel.unary_stream(path + "Lots", serializer, deserializer)
            collect = channel.stream_unary(path + "Collect", serializer, deserializer)
            chat = channel.stream_stream(path + "Chat", serializer, deserializer)
            asked: list[Callable[[], Any]] = [
                lambda hello=hello: hello(b""),
                lambda hello=hello: hello.with_call(b""),
                lambda hello=hello: hello.future(b"").result(20),
                lambda lots=lots: list(lots(request("Ada", 1).SerializeToString())),
                lambda collect=collect: collect(iter([b""])),
                lambda chat=chat: list(chat(iter([b""]))),
            ]
            for ask in asked:
                with pytest.raises(grpc.RpcError) as caught:
                    ask()
                assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.INTERNAL, details)


async def test_what_a_channel_cannot_do_is_refused_with_what_to_do_instead(world: Any) -> None:
    async with micro.grpc.channel("greeter", registry="memory://none") as channel:
        hello = world.stubs.GreeterStub(channel).Hello
        with pytest.raises(ValueError, match="'authorization', 'Bearer"):
            hello(request("Ada"), credentials=grpc.access_token_call_credentials("x"))
        with pytest.raises(ValueError, match=r"give grpc\.Compression\.Gzip"):
            hello(request("Ada"), compression=grpc.Compression.Deflate)
        with pytest.raises(ValueError, match="give /package.Service/Method"):
            channel.unary_unary("Hello")
        with pytest.raises(TypeError, match="metadata"):
            hello(request("Ada"), metadata=[("a", 7)])
    with pytest.raises(TypeError, match="timeout: give options to the client"):
        micro.grpc.channel("greeter", client=micro.Client(), timeout=3)
    with pytest.raises(ValueError, match=r"give grpc\.Compression\.Gzip"):
        micro.grpc.channel("greeter", compression=grpc.Compression.Deflate)  # type: ignore[arg-type]
    with micro.grpc.sync.channel("greeter", registry="memory://none") as blocking:
        with pytest.raises(ValueError, match="'authorization', 'Bearer"):
            world.stubs.GreeterStub(blocking).Hello(request("Ada"), credentials=grpc.access_token_call_credentials("x"))


async def test_a_channel_that_is_closed_ends_its_calls_and_takes_no_more(world: Any, tmp_path: Any) -> None:
    url = f"memory://{tmp_path.name}"
    greeter = world.AioGreeter()
    async with service_of(world, url, greeter):
        channel = micro.grpc.channel("greeter", registry=url)
        stub = world.stubs.GreeterStub(channel)
        unary, stream = stub.Hello(request("wait")), stub.Lots(request("wait", 1))
        await stream.read()
        await asyncio.wait_for(greeter.waits.wait(), 20)
        await channel.close()
        for call in (unary, stream):
            assert call.cancelled() and await call.details() == "Channel is closed."
        with pytest.raises(grpc.aio.UsageError, match="closed"):
            stub.Hello(request("Ada"))
        channel = micro.grpc.channel("greeter", registry=url)
        call = world.stubs.GreeterStub(channel).Hello(request("Ada"))
        await channel.close(grace=20)
        assert (await call).message == "Hello, Ada!"


async def test_waiting_for_a_service_ends_with_the_channel(tmp_path: Any) -> None:
    channel = micro.grpc.channel("greeter", registry=f"memory://{tmp_path.name}")
    ready = asyncio.ensure_future(channel.channel_ready())
    assert channel.get_state(try_to_connect=True) is grpc.ChannelConnectivity.CONNECTING
    changed = asyncio.ensure_future(channel.wait_for_state_change(grpc.ChannelConnectivity.CONNECTING))
    await asyncio.sleep(0)
    await channel.close()
    with pytest.raises(grpc.aio.UsageError, match="closed"):
        await asyncio.wait_for(ready, 20)
    await asyncio.wait_for(changed, 20)
    assert channel.get_state() is grpc.ChannelConnectivity.SHUTDOWN
    with pytest.raises(grpc.aio.UsageError, match="closed"):
        await channel.channel_ready()


def test_a_channel_for_threads_that_is_closed_ends_its_calls_and_its_thread(world: Any, tmp_path: Any) -> None:
    greeter = world.Greeter()
    with world.pair_of(world.OURS, f"memory://{tmp_path.name}", greeter) as channel:
        stub = world.stubs.GreeterStub(channel)
        future, stream = stub.Hello.future(request("wait")), stub.Lots(request("wait", 1))
        next(stream)
        assert greeter.waits.wait(20)
        pump = next(one for one in threading.enumerate() if one.name == "micro channel")
        channel.close()
        assert future.cancelled() and stream.code() is grpc.StatusCode.CANCELLED and stream.details() == "Channel closed!"
        with pytest.raises(ValueError, match="closed channel"):
            stub.Hello(request("Ada"))
        pump.join(20)
        assert not pump.is_alive()


def test_a_channel_for_threads_that_is_let_go_of_ends_its_thread(world: Any, tmp_path: Any) -> None:
    with world.pair_of(world.OURS, f"memory://{tmp_path.name}"):
        other = micro.grpc.sync.channel("greeter", registry=f"memory://{tmp_path.name}")
        future = world.stubs.GreeterStub(other).Hello.future(request("Ada"))
        assert future.result(20).message == "Hello, Ada!"
        pump = next(one for one in threading.enumerate() if one.name == "micro channel")
        del other, future
        pump.join(20)
        assert not pump.is_alive()


def test_nothing_of_grpcio_is_loaded_before_it_is_asked_for(program: Callable[..., str]) -> None:
    printed = program(
        """
        import sys
        import micro, micro.sync
        micro.Client, micro.Service, micro.testing
        print([name for name in sys.modules if name.split(".")[0] == "grpc"])
        sys.modules["grpc"] = None
        try:
            micro.grpc
        except ImportError as error:
            print(error)
        """
    )
    assert printed.splitlines() == ["[]", "micro.grpc needs grpcio: pip install grpcio"]


def test_a_program_ends_with_calls_under_way(program: Callable[..., str], pb: Any) -> None:
    printed = program(
        """
        import micro, micro.grpc
        from micro import sync
        import grpc

        service = sync.Service("raw", registry="memory://end", propagation=0)

        def wait(message, context):
            print("waits", flush=True)
            import threading
            ended = threading.Event()
            context.add_callback(ended.set)
            ended.wait(20)
            return b""

        handlers = {"Wait": grpc.unary_unary_rpc_method_handler(wait)}
        micro.grpc.server(service).add_registered_method_handlers("test.Raw", handlers)
        service.start()
        channel = micro.grpc.sync.channel("raw", registry="memory://end")
        future = channel.unary_unary("/test.Raw/Wait")\\
            .future(b"")
        stream = channel.stream_stream("/test.Raw/Wait")(iter([]))
        """
    )
    assert printed in ("waits\n", "")


def left(*kinds: type) -> list[object]:
    gc.collect()
    return [one for one in gc.get_objects() if isinstance(one, kinds)]


async def test_calls_leave_nothing_behind(world: Any, tmp_path: Any) -> None:
    from micro.grpc import _calls, _context, _endpoint, _intercepted

    url, greeter = f"memory://{tmp_path.name}", world.AioGreeter()
    kinds = (_calls.Call, _calls.CallPipe, _context.Said, _endpoint.HandlerPipe, _intercepted.Intercepted)
    async with (
        service_of(world, url, greeter),
        micro.grpc.channel("greeter", registry=url) as plain,
        micro.grpc.channel("greeter", registry=url, interceptors=[Marks("one", [])]) as marked,
    ):
        for channel in (plain, marked):
            stub = world.stubs.GreeterStub(channel)
            for name in ("Ada", "abort", "wait"):
                greeter.waits.clear()
                unary, lots = stub.Hello(request(name)), stub.Lots(request(name, 3))
                collect, chat = stub.Collect(iter([request(name)])), stub.Chat()
                if name == "wait":
                    await asyncio.wait_for(greeter.waits.wait(), 20)
                    unary.cancel()
                    lots.cancel()
                await chat.write(request("Ada"))
                await chat.read()
                await chat.done_writing()
                await asyncio.wait([asyncio.ensure_future(one.code()) for one in (unary, lots, collect, chat)])
                del unary, lots, collect, chat
        await asyncio.gather(plain.close(grace=20), marked.close(grace=20))
        del stub, channel
    assert left(*kinds) == [] and plain._calls == marked._calls == {}


def test_calls_on_threads_leave_nothing_behind(world: Any, tmp_path: Any) -> None:
    from micro.grpc import _context, _endpoint, _thread_calls

    kinds = (_thread_calls.Call, _thread_calls.CallPipe, _context.Said, _endpoint.Requests)
    greeter = world.Greeter()
    with world.pair_of(world.OURS, f"memory://{tmp_path.name}", greeter) as channel:
        stub = world.stubs.GreeterStub(channel)
        for name in ("Ada", "abort", "wait"):
            unary, lots = stub.Hello.future(request(name)), stub.Lots(request(name, 3))
            collect, chat = stub.Collect.future(iter([request(name)])), stub.Chat(iter([request("Ada")]))
            if name == "wait":
                assert greeter.waits.wait(20)
                unary.cancel()
                lots.cancel()
            assert [one.code() is not None for one in (unary, lots, collect, chat)] == [True] * 4
            del unary, lots, collect, chat
        assert channel._calls == {}
    assert left(*kinds) == []


def test_a_channel_that_was_not_used_before_a_fork_works_after_it(program: Callable[..., str]) -> None:
    printed = program(
        """
        import os
        import grpc
        import micro, micro.grpc
        from micro import sync

        service = sync.Service("raw", registry="memory://fork", propagation=0)
        handlers = {"Twice": grpc.unary_unary_rpc_method_handler(lambda message, context: message * 2)}
        micro.grpc.server(service).add_registered_method_handlers("test.Raw", handlers)
        service.start()
        used, unused = (micro.grpc.sync.channel("raw", addresses=[service.address]) for _ in range(2))
        twice = used.unary_unary("/test.Raw/Twice")
        assert twice(b"a") == twice.future(b"a").result(20) == b"aa"
        child = os.fork()
        if not child:
            for ask in (twice, lambda message: twice.future(message).result(20)):
                try:
                    ask(b"a")
                except micro.errors.Forked:
                    pass
                else:
                    os._exit(1)
            twice = unused.unary_unary("/test.Raw/Twice")
            os._exit(0 if twice(b"b") == twice.future(b"b").result(20) == b"bb" else 2)
        print(os.waitpid(child, 0)[1])
        used.close()
        service.stop()
        """
    )
    assert printed == "0\n"
