"""Servicers of generated code as endpoints of a service: other callers, where they run, when they start."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from grpc_lab import Counted, Noted, failed, grpc, request, service_of

import micro
from micro import sync


async def test_both_kinds_of_methods_stand_side_by_side(world: Any, tmp_path: Any) -> None:
    class Mixed(world.stubs.GreeterServicer):  # type: ignore[misc, name-defined]
        def Hello(self, request: Any, context: Any) -> Any:
            return world.pb.HelloReply(message=threading.current_thread().name)

        async def Collect(self, requests: Any, context: Any) -> Any:
            return world.pb.HelloReply(message=" ".join([one.name async for one in requests]))

        def Chat(self, requests: Any, context: Any) -> Iterator[Any]:
            for one in requests:
                yield world.pb.HelloReply(message=one.name)

    url = f"memory://{tmp_path.name}"
    async with service_of(world, url, Mixed()), micro.grpc.channel("greeter", registry=url) as channel:
        stub = world.stubs.GreeterStub(channel)
        assert (await stub.Hello(request("Ada"))).message.startswith("micro handler")
        assert (await stub.Collect(iter([request("Ada")]))).message == "Ada"
        assert [reply.message async for reply in stub.Chat(iter([request("Ada")]))] == ["Ada"]
        error = await failed(stub.Lots(request("Ada")).read())
        assert (error.code(), error.details()) == (grpc.StatusCode.UNIMPLEMENTED, "Method not implemented!")


async def test_callers_without_stubs_reach_a_servicer_too(world: Any, tmp_path: Any) -> None:
    url = f"memory://{tmp_path.name}"
    async with service_of(world, url, world.AioGreeter()) as service, micro.Client(registry=url) as client:
        reply = await client.call("greeter", "Greeter.Hello", {"name": "Ada"})
        assert reply["message"] == "Hello, Ada!"
        with pytest.raises(micro.errors.InvalidArgument):
            await client.call("greeter", "Greeter.Hello", {"name": 7})
        replies = client.server_stream("greeter", "Greeter.Lots", {"name": "Ada", "timesGreeted": 2})
        assert [int(reply["total_count"]) async for reply in replies] == [0, 1]
        descriptor = world.pb.DESCRIPTOR.services_by_name["Greeter"]
        assert (await micro.Stub(client, "greeter", descriptor).Hello(request("Ada"))).message == "Hello, Ada!"
        with pytest.raises(micro.errors.NotFound, match="no such name"):
            await client.call("greeter", "Greeter.Hello", {"name": "abort"})
        endpoint = next(one for one in service.record.endpoints if one.name == "Greeter.Hello")
        assert endpoint.request["name"] == "HelloRequest" and endpoint.metadata.get("idempotent") == "true"


async def test_reflection_and_health_are_the_services_own(world: Any, tmp_path: Any, caplog: Any) -> None:
    caplog.set_level("INFO", "micro")
    service = micro.Service("greeter", registry=f"memory://{tmp_path.name}", address="127.0.0.1:0", propagation=0)
    server = micro.grpc.server(service)
    world.stubs.add_GreeterServicer_to_server(world.AioGreeter(), server)

    async def never(_: Any, context: Any) -> bytes:
        raise AssertionError("the service answers this itself")

    handlers = {"Check": grpc.unary_unary_rpc_method_handler(never)}
    server.add_registered_method_handlers("grpc.health.v1.Health", handlers)
    assert "`set_health` of the service says what it answers" in caplog.text
    async with service, grpc.aio.insecure_channel(service.address) as channel:
        assert "Health.Check" not in [one.name for one in service.record.endpoints]
        assert await channel.unary_unary("/grpc.health.v1.Health/Check")(b"") == b"\x08\x01"
        service.set_health(False, "")
        assert await channel.unary_unary("/grpc.health.v1.Health/Check")(b"") == b"\x08\x02"
        call = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")()
        await call.write(b"\x22\x10hello.v1.Greeter")
        assert b"greeter.proto" in await call.read()
        await call.done_writing()


async def test_a_server_starts_and_stops_its_service(world: Any, tmp_path: Any) -> None:
    url = f"memory://{tmp_path.name}"
    service = micro.Service("greeter", registry=url, address="127.0.0.1:0", propagation=0)
    server = micro.grpc.server(service)
    world.stubs.add_GreeterServicer_to_server(world.AioGreeter(), server)
    await server.start()
    async with micro.grpc.channel("greeter", registry=url) as channel:
        assert (await world.stubs.GreeterStub(channel).Hello(request("Ada"))).message == "Hello, Ada!"
    assert await server.wait_for_termination(timeout=0.01) is True
    waiting = asyncio.ensure_future(server.wait_for_termination())
    await server.stop(None)
    assert await asyncio.wait_for(waiting, 20) is False


def test_a_server_for_threads_starts_and_stops_its_service(world: Any, tmp_path: Any) -> None:
    url = f"memory://{tmp_path.name}"
    service = sync.Service("greeter", registry=url, address="127.0.0.1:0", propagation=0)
    server = micro.grpc.server(service)
    world.stubs.add_GreeterServicer_to_server(world.Greeter(), server)
    server.start()
    with micro.grpc.sync.channel("greeter", registry=url) as channel:
        assert world.stubs.GreeterStub(channel).Hello(request("Ada")).message == "Hello, Ada!"
    assert server.wait_for_termination(timeout=0.01) is True
    assert server.stop(None).wait(20)
    assert server.wait_for_termination() is False


async def test_a_port_is_the_address_of_the_service(tmp_path: Any, unused_port: int) -> None:
    service = micro.Service("greeter", registry=f"memory://{tmp_path.name}", propagation=0)
    server = micro.grpc.server(service)
    assert server.add_insecure_port(f"127.0.0.1:{unused_port}") == unused_port
    await server.start()
    assert service.address == f"127.0.0.1:{unused_port}"
    await server.stop(0)
    with pytest.raises(ValueError, match="a service has one address"):
        server.add_insecure_port("127.0.0.1:1")
    with pytest.raises(ValueError, match="chosen when the service starts"):
        micro.grpc.server(micro.Service("greeter")).add_insecure_port("localhost:0")
    with pytest.raises(ValueError, match="give host:port"):
        micro.grpc.server(micro.Service("greeter")).add_insecure_port("unix:///tmp/socket")


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def test_what_a_server_cannot_do_is_refused_with_what_to_do_instead() -> None:
    server = micro.grpc.server(micro.Service("greeter"))
    with pytest.raises(ValueError, match="give the service tls="):
        server.add_secure_port("127.0.0.1:1", grpc.ssl_server_credentials([(b"", b"")]))

    with pytest.raises(TypeError, match=r"int is no grpc\.GenericRpcHandler"):
        server.add_generic_rpc_handlers((7,))
    with pytest.raises(ValueError, match=r"Counted is no grpc\.aio\.ServerInterceptor"):
        micro.grpc.server(micro.Service("greeter"), [Counted([])])  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"Noted is no grpc\.ServerInterceptor"):
        micro.grpc.server(sync.Service("greeter"), [Noted("", [])])
    with pytest.raises(TypeError, match=r"give a micro\.Service"):
        micro.grpc.server("greeter")  # type: ignore[call-overload]


def broken(_: Any) -> Any:
    raise RuntimeError("secret")


@pytest.mark.parametrize("on_threads", [False, True])
@pytest.mark.parametrize(
    ("deserializer", "serializer", "details"),
    [
        (broken, None, "Exception deserializing request!"),
        (None, broken, "Exception serializing response!"),
        (None, str, "Exception serializing response!"),
    ],
)
async def test_what_serializers_raise_is_internal(
    tmp_path: Any, caplog: Any, on_threads: bool, deserializer: Any, serializer: Any, details: str
) -> None:
    async def later(message: bytes, context: Any) -> bytes:
        return message

    async def each(messages: Any, context: Any) -> AsyncIterator[bytes]:
        async for message in messages:
            yield message

    behaviors: tuple[Any, Any] = (later, each)
    if on_threads:
        behaviors = (lambda message, context: message), (lambda messages, context: iter(messages))
    service = micro.Service("raw", registry=f"memory://{tmp_path.name}", address="127.0.0.1:0", propagation=0)
    handlers = {
        "One": grpc.unary_unary_rpc_method_handler(behaviors[0], deserializer, serializer),
        "Each": grpc.stream_stream_rpc_method_handler(behaviors[1], deserializer, serializer),
    }
    server = micro.grpc.server(service)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Raw", handlers),))
    async with service, micro.grpc.channel("raw", addresses=[service.address]) as channel:
        error = await failed(channel.unary_unary("/test.Raw/One")(b"1"))
        assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, details)
        call = channel.stream_stream("/test.Raw/Each")(iter([b"1"]))
        error = await failed(call.read())
        assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, details)
    logged = [record.getMessage() for record in caplog.records if record.name == "micro"]
    whats = [f"what /test.Raw/{name} returned cannot be serialized" for name in ("One", "Each")]
    assert logged == (whats if details.startswith("Exception serializing") else [])


async def test_bytes_need_no_serializer(tmp_path: Any) -> None:
    async def twice(message: bytes, context: Any) -> bytes:
        assert type(message) is bytes
        return message * 2

    service = micro.Service("raw", registry=f"memory://{tmp_path.name}", address="127.0.0.1:0", propagation=0)
    handlers = {"Twice": grpc.unary_unary_rpc_method_handler(twice)}
    micro.grpc.server(service).add_registered_method_handlers("test.Raw", handlers)
    async with service, micro.grpc.channel("raw", addresses=[service.address]) as channel:
        for size in (1, 100_000):
            assert await channel.unary_unary("/test.Raw/Twice")(b"x" * size) == b"x" * size * 2
        async with micro.Client() as client:
            with pytest.raises(micro.errors.Unimplemented, match="reads protobuf"):
                await client.call("raw", "/test.Raw/Twice", {"no": "bytes"}, addresses=[service.address])


async def test_a_handler_on_a_thread_may_cancel_its_call(tmp_path: Any) -> None:
    over = threading.Event()

    def cancel(message: bytes, context: Any) -> bytes:
        context.add_callback(over.set)
        context.cancel()
        assert not context.is_active()
        return message

    service = micro.Service("raw", registry=f"memory://{tmp_path.name}", address="127.0.0.1:0", propagation=0)
    handlers = {"Cancel": grpc.unary_unary_rpc_method_handler(cancel)}
    micro.grpc.server(service).add_registered_method_handlers("test.Raw", handlers)
    async with service, micro.grpc.channel("raw", addresses=[service.address]) as channel:
        error = await failed(channel.unary_unary("/test.Raw/Cancel")(b"1"))
        assert error.code() is grpc.StatusCode.CANCELLED
        assert await asyncio.to_thread(over.wait, 20)


async def test_a_context_says_who_calls_and_what_was_set(tmp_path: Any) -> None:
    said: dict[str, Any] = {}

    async def look(message: bytes, context: Any) -> bytes:
        said.update(peer=context.peer(), identities=context.peer_identities(), key=context.peer_identity_key())
        said.update(auth=context.auth_context(), cancelled=context.cancelled(), done=context.done())
        said.update(before=(context.code(), context.details(), context.trailing_metadata()))
        context.set_trailing_metadata((("a", "b"),))
        await context.send_initial_metadata((("c", "d"),))
        with pytest.raises(grpc.aio.UsageError):
            await context.send_initial_metadata((("c", "d"),))
        with pytest.raises(grpc.aio.UsageError, match="one request"):
            await context.read()
        with pytest.raises(grpc.aio.UsageError, match="one response"):
            await context.write(b"")
        said.update(after=context.trailing_metadata(), endpoint=micro.context().endpoint)
        return message

    service = micro.Service("raw", registry=f"memory://{tmp_path.name}", address="127.0.0.1:0", propagation=0)
    handlers = {"Look": grpc.unary_unary_rpc_method_handler(look)}
    micro.grpc.server(service).add_registered_method_handlers("test.Raw", handlers)
    async with service, micro.grpc.channel("raw", addresses=[service.address]) as channel:
        await channel.unary_unary("/test.Raw/Look")(b"1")
    assert said.pop("peer").startswith("ipv4:127.0.0.1:")
    assert said == {
        "identities": None,
        "key": None,
        "auth": {},
        "cancelled": False,
        "done": False,
        "before": (None, "", ()),
        "after": (("a", "b"),),
        "endpoint": "Raw.Look",
    }


async def test_a_service_that_runs_takes_no_more_methods(world: Any, tmp_path: Any) -> None:
    service = micro.Service("greeter", registry=f"memory://{tmp_path.name}", address="127.0.0.1:0", propagation=0)
    server = micro.grpc.server(service)
    async with service:
        with pytest.raises(RuntimeError, match="before it is started"):
            world.stubs.add_GreeterServicer_to_server(world.AioGreeter(), server)
