"""What tests of ``micro.grpc`` share."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import micro

grpc = pytest.importorskip("grpc")
pytest.importorskip("grpc_status")


def request(name: str, times: int = 0) -> Any:
    import greeter_pb2

    return greeter_pb2.HelloRequest(name=name, times_greeted=times)


async def failed(call: Any) -> Any:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


def service_of(world: Any, url: str, servicer: Any, interceptors: Any = None, **options: Any) -> micro.Service:
    service = micro.Service("greeter", registry=url, address="127.0.0.1:0", propagation=0, **options)
    world.stubs.add_GreeterServicer_to_server(servicer, micro.grpc.server(service, interceptors))
    return service


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


class Noted(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Notes each call, refuses some, and says of others that they are not there."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self.name, self.notes = name, notes

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        metadata = dict(details.invocation_metadata)
        self.notes.append(f"{self.name} {details.method}")
        await asyncio.sleep(0)
        if "test-hide" in metadata:
            return None
        handler = await continuation(details)
        if "test-refuse" in metadata:

            async def refuse(_: Any, context: Any) -> None:
                await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")

            return grpc.unary_unary_rpc_method_handler(refuse, handler.request_deserializer, handler.response_serializer)
        self.notes.append(f"{self.name} goes on")
        return handler


class Counted(grpc.ServerInterceptor):  # type: ignore[misc]
    def __init__(self, threads: list[str]) -> None:
        self.threads = threads

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        self.threads.append(threading.current_thread().name)
        if "test-hide" in dict(details.invocation_metadata):
            return None
        return continuation(details)
