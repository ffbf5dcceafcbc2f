"""What can be a message: protobuf with its two styles of JSON, pydantic, bytes, and grpcio as a peer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

import micro
from micro import errors
from micro.testing import Fleet

pytest.importorskip("google.protobuf")


class Greeter:
    """The service by its methods' names."""

    def __init__(self, pb: Any) -> None:
        self.reply = pb.HelloReply

    async def Hello(self, request: Any, context: micro.Context) -> Any:
        return self.reply(message=f"Hello, {request.name}!", total_count=request.times_greeted)

    async def Lots(self, request: Any) -> AsyncIterator[Any]:
        for number in range(request.times_greeted):
            yield self.reply(message=request.name, total_count=number)

    async def Collect(self, requests: AsyncIterator[Any]) -> Any:
        names = [request.name async for request in requests]
        return self.reply(message=" ".join(names), total_count=len(names))

    async def Chat(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for request in requests:
            yield self.reply(message=f"Hello, {request.name}!")


def greeter(pb: Any, **options: Any) -> micro.Service:
    service = micro.Service("greeter", **options)
    service.implement(pb.DESCRIPTOR.services_by_name["Greeter"], Greeter(pb))
    return service


async def test_a_stub_has_the_methods_of_its_descriptor(fleet: Fleet, pb: Any) -> None:
    await fleet.start(greeter(pb))
    stub = micro.Stub(fleet.client, "greeter", pb.DESCRIPTOR.services_by_name["Greeter"], timeout=5)
    ask = pb.HelloRequest
    assert (await stub.Hello(ask(name="Ada", times_greeted=2))).total_count == 2
    assert [one.total_count async for one in stub.Lots(ask(times_greeted=3))] == [0, 1, 2]
    assert (await stub.Collect([ask(name="a"), ask(name="b")])).message == "a b"
    assert [one.message async for one in stub.Chat([ask(name="a")])] == ["Hello, a!"]
    with pytest.raises(TypeError, match=r"/hello.v1.Greeter/Hello takes a hello.v1.HelloRequest, not dict"):
        await stub.Hello({"name": "Ada"})


async def test_protobuf_json_has_go_micros_two_styles(fleet: Fleet, pb: Any) -> None:
    await fleet.start(greeter(pb))
    request = pb.HelloRequest(name="Ada", times_greeted=2)
    call = fleet.client.call
    found = await call("greeter", "Greeter.Hello", request, codec="json", returns=pb.HelloReply)
    assert (found.message, found.total_count) == ("Hello, Ada!", 2)
    # A server writes the names of the file and every field.
    raw = await call("greeter", "Greeter.Hello", {"name": "Ada"}, returns=bytes)
    assert json.loads(raw) == {"message": "Hello, Ada!", "total_count": "0", "data": ""}
    # A client writes camel case and leaves out what is not set.
    seen = micro.Service("raw")

    @seen.endpoint("Raw.Echo")
    async def echo(request: bytes) -> bytes:
        return request

    await fleet.start(seen)
    sent = await call("raw", "Raw.Echo", request, codec="json", returns=bytes)
    assert json.loads(sent) == {"name": "Ada", "timesGreeted": 2}
    both = {"times_greeted": 3, "name": "Ada", "unknown": 1}
    assert (await call("greeter", "Greeter.Hello", both))["total_count"] == "3"


async def test_broken_protobuf_is_refused(fleet: Fleet, pb: Any) -> None:
    await fleet.start(greeter(pb))
    with pytest.raises(errors.InvalidArgument, match=r"the request of hello\.v1\.Greeter\.Hello is no hello\.v1\.HelloRequest"):
        await fleet.client.call("greeter", "Greeter.Hello", b"\xff\xff\xff")


async def test_the_registry_knows_the_types(fleet: Fleet, pb: Any) -> None:
    await fleet.start(greeter(pb))
    (record,) = await fleet.client.lookup("greeter")
    hello = next(one for one in record.endpoints if one.name == "Greeter.Hello")
    assert hello.request["type"] == "HelloRequest"
    assert [one["name"] for one in hello.request["values"]] == ["name", "times_greeted"]


async def test_pydantic_models_go_both_ways(fleet: Fleet) -> None:
    pydantic = pytest.importorskip("pydantic")
    Order = pydantic.create_model("Order", item=(str, ...), count=(int, 1))
    service = micro.Service("shop")

    @service.endpoint("Shop.Order", request=Order, response=Order)
    async def order(request: Any) -> Any:
        return request.model_copy(update={"count": request.count + 1})

    await fleet.start(service)
    reply = await fleet.client.call("shop", "Shop.Order", Order(item="book"), returns=Order)
    assert (reply.item, reply.count) == ("book", 2)
    with pytest.raises(errors.InvalidArgument, match="the request of Shop.Order is no Order: item is refused: Field required"):
        await fleet.client.call("shop", "Shop.Order", {"count": 1})


async def test_grpcio_calls_a_service_and_reflection_describes_it(pb: Any) -> None:
    grpc = pytest.importorskip("grpc")
    import greeter_pb2_grpc

    service = greeter(pb, registry="memory://grpcio", address="127.0.0.1:0", propagation=0)
    await service.start()
    try:
        async with grpc.aio.insecure_channel(service.address) as channel:
            stub = greeter_pb2_grpc.GreeterStub(channel)
            ask = pb.HelloRequest
            assert (await stub.Hello(ask(name="Ada"))).message == "Hello, Ada!"
            assert [one.total_count async for one in stub.Lots(ask(times_greeted=3))] == [0, 1, 2]
            assert (await stub.Collect(iter([ask(name="a"), ask(name="b")]))).message == "a b"
            assert [one.message async for one in stub.Chat(iter([ask(name="a")]))] == ["Hello, a!"]
            reflect = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
            # file_containing_symbol = 4: "hello.v1.Greeter" is not a file's, its messages are.
            answers = [one async for one in reflect(iter([b"\x22\x15hello.v1.HelloRequest"]))]
            assert b"greeter.proto" in answers[0]
    finally:
        await service.stop()


async def test_a_client_calls_a_grpcio_server(pb: Any) -> None:
    grpc = pytest.importorskip("grpc")
    import greeter_pb2_grpc

    class Servicer(greeter_pb2_grpc.GreeterServicer):  # type: ignore[misc]
        async def Hello(self, request: Any, context: Any) -> Any:
            if not request.name:
                await context.abort(grpc.StatusCode.NOT_FOUND, "nobody")
            return pb.HelloReply(message=f"Hello, {request.name}!")

        async def Chat(self, requests: Any, context: Any) -> Any:
            async for request in requests:
                yield pb.HelloReply(message=f"Hello, {request.name}!")

    server = grpc.aio.server()
    greeter_pb2_grpc.add_GreeterServicer_to_server(Servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with micro.Client(addresses=[f"127.0.0.1:{port}"]) as client:
            stub = micro.Stub(client, "", pb.DESCRIPTOR.services_by_name["Greeter"])
            assert (await stub.Hello(pb.HelloRequest(name="Ada"))).message == "Hello, Ada!"
            assert [one.message async for one in stub.Chat([pb.HelloRequest(name="a")])] == ["Hello, a!"]
            with pytest.raises(errors.NotFound, match="nobody"):
                await stub.Hello(pb.HelloRequest())
    finally:
        await server.stop(None)
        await asyncio.sleep(0)
