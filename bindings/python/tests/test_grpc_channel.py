"""What a channel has of the client it is made of: nodes, waiting, deadlines, and what it cannot do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from grpc_lab import failed, grpc, request, service_of

import micro
from micro import sync


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
