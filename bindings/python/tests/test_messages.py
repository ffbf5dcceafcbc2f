"""What can be a message: protobuf with its two styles of JSON, pydantic, bytes, and grpcio as a peer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

import micro
from micro import errors, sync
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


async def test_a_stub_shows_headers_and_trailers(fleet: Fleet, pb: Any) -> None:
    class Marked(Greeter):
        async def Hello(self, request: Any, context: micro.Context) -> Any:
            context.set_header("shelf", "7")
            context.set_trailer("cost", "3")
            return await super().Hello(request, context)

    service = micro.Service("greeter")
    descriptor = pb.DESCRIPTOR.services_by_name["Greeter"]
    service.implement(descriptor, Marked(pb))
    await fleet.start(service)
    stub = micro.Stub(fleet.client, "greeter", descriptor, timeout=5)
    reply = await stub.Hello.request(pb.HelloRequest(name="Ada"))
    assert (reply.message.message, reply.headers["shelf"], reply.trailers["cost"]) == ("Hello, Ada!", "7", "3")
    with pytest.raises(TypeError, match="takes a hello.v1.HelloRequest"):
        await stub.Hello.request({})
    assert not hasattr(stub.Lots, "request")


async def test_what_answers_a_protobuf_message_is_one_of_its_type(fleet: Fleet, pb: Any) -> None:
    await fleet.start(greeter(pb))
    client, ask = fleet.client, pb.HelloRequest
    for name in ("Greeter.Hello", "hello.v1.Greeter.Hello", "/hello.v1.Greeter/Hello"):
        assert (await client.call("greeter", name, ask(name="Ada"))).message == "Hello, Ada!"
    assert (await client.request("greeter", "Greeter.Hello", ask(name="Ada"))).message.message == "Hello, Ada!"
    lots = client.server_stream("greeter", "Greeter.Lots", ask(times_greeted=2))
    assert [one.total_count async for one in lots] == [0, 1]
    assert (await client.client_stream("greeter", "Greeter.Collect", [ask(name="a"), ask(name="b")])).message == "a b"
    chat = client.bidi_stream("greeter", "Greeter.Chat", [ask(name="a")])
    assert [one.message async for one in chat] == ["Hello, a!"]
    assert await client.call("greeter", "Greeter.Hello", ask(name="Ada"), returns=bytes)
    assert (await client.call("greeter", "Greeter.Hello", ask(name="Ada"), codec="json"))["message"] == "Hello, Ada!"


async def test_an_answer_of_a_type_that_nothing_tells_is_refused_before_the_call(fleet: Fleet, pb: Any) -> None:
    seen = []
    service = micro.Service("greeter")

    @service.endpoint("Shop.Buy")
    async def buy(request: bytes) -> bytes:
        seen.append(request)
        return b""

    await fleet.start(service)
    with pytest.raises(TypeError, match=r"what Shop\.Buy answers a hello\.v1\.HelloRequest with is not known.*give returns="):
        await fleet.client.call("greeter", "Shop.Buy", pb.HelloRequest())
    # A method of that name takes other messages.
    with pytest.raises(TypeError, match="is not known"):
        await fleet.client.call("greeter", "Greeter.Hello", pb.HelloReply())
    async with fleet.client.bidi_stream("greeter", "Greeter.Chat", codec="proto") as stream:
        with pytest.raises(TypeError, match="give returns="):
            await stream.send(pb.HelloRequest())
    assert seen == []


def test_clients_that_block_know_what_answers_a_protobuf_message(pb: Any) -> None:
    ask, url = pb.HelloRequest, "memory://answers"
    descriptor = pb.DESCRIPTOR.services_by_name["Greeter"]
    service = sync.Service("greeter", registry=url, address="127.0.0.1:0", propagation=0)
    service.implement(descriptor, Greeter(pb))
    with service, sync.Client(registry=url) as client:
        assert client.call("greeter", "Greeter.Hello", ask(name="Ada")).message == "Hello, Ada!"
        assert client.request("greeter", "Greeter.Hello", ask(name="Ada")).message.message == "Hello, Ada!"
        lots = client.server_stream("greeter", "Greeter.Lots", ask(times_greeted=2))
        assert [one.total_count for one in lots] == [0, 1]
        assert client.client_stream("greeter", "Greeter.Collect", [ask(name="a")]).message == "a"
        stub: Any = micro.Stub(client, "greeter", descriptor)  # type: ignore[arg-type]
        assert stub.Hello.request(ask(name="Ada")).message.message == "Hello, Ada!"


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
