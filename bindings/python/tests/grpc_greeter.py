"""A greeter as generated code has it, for asyncio and for threads, and every pair of a client and a server of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent import futures
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import greeter_pb2 as pb
import greeter_pb2_grpc as stubs
import grpc
from google.protobuf import wrappers_pb2
from google.rpc import status_pb2
from grpc_status import rpc_status

import micro
from micro import sync

OURS, THEIR_CLIENT, THEIR_SERVER = "ours", "grpcio's channel", "grpcio's server"
PAIRS = (OURS, THEIR_CLIENT, THEIR_SERVER)
PATIENCE = 20.0


def rich() -> Any:
    """A status with a message in it."""
    status = status_pb2.Status(code=grpc.StatusCode.FAILED_PRECONDITION.value[0], message="not now")
    status.details.add().Pack(wrappers_pb2.StringValue(value="after six"))
    return status


def said(context: Any) -> str:
    """What came along with a call."""
    return " ".join(f"{name}={value!r}" for name, value in context.invocation_metadata() if name.startswith("test-"))


class AioGreeter(stubs.GreeterServicer):  # type: ignore[misc]
    def __init__(self) -> None:
        self.waits, self.cancelled, self.over = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.goes_on = asyncio.Event()

    async def Hello(self, request: Any, context: Any) -> Any:
        match request.name:
            case "abort":
                await context.abort(grpc.StatusCode.NOT_FOUND, "no such name", (("test-trailer", "t"),))
            case "code":
                context.set_code(grpc.StatusCode.ALREADY_EXISTS)
                context.set_details("said before")
            case "boom":
                raise ValueError("secret")
            case "rich":
                await context.abort_with_status(rpc_status.to_status(rich()))
            case "metadata":
                await context.send_initial_metadata((("test-header", "h"), ("test-header-bin", b"\x00\xff")))
                context.set_trailing_metadata((("test-trailer", "t"), ("test-trailer-bin", b"\x01\xfe")))
                return pb.HelloReply(message=said(context))
            case "time":
                left = context.time_remaining()
                return pb.HelloReply(message="none" if left is None else "some", total_count=int((left or 0) * 1000))
            case "wait":
                await self._wait(context)
        return pb.HelloReply(message=f"Hello, {request.name}!", data=b"x" * request.times_greeted)

    async def _wait(self, context: Any) -> None:
        context.add_done_callback(lambda _: self.over.set())
        self.waits.set()
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def Lots(self, request: Any, context: Any) -> AsyncIterator[Any]:
        if request.name == "early":
            await context.send_initial_metadata((("test-header", "h"),))
            await self.goes_on.wait()
        for number in range(request.times_greeted):
            yield pb.HelloReply(message=request.name, total_count=number)
        if request.name == "abort":
            context.set_trailing_metadata((("test-trailer", "t"),))
            await context.abort(grpc.StatusCode.OUT_OF_RANGE, "no more")
        if request.name == "wait":
            await self._wait(context)

    async def Collect(self, requests: Any, context: Any) -> Any:
        names = []
        async for request in requests:
            names.append(request.name)
            if request.name == "stop":
                await context.abort(grpc.StatusCode.ABORTED, "enough")
        return pb.HelloReply(message=" ".join(names), total_count=len(names))

    async def Chat(self, requests: Any, context: Any) -> None:
        """With ``read`` and ``write``, where the others have iterators."""
        while (request := await context.read()) is not grpc.aio.EOF:
            if request.name == "abort":
                await context.abort(grpc.StatusCode.DATA_LOSS, "gone")
            if request.name == "wait":
                await self._wait(context)
            await context.write(pb.HelloReply(message=f"Hello, {request.name}!"))


class Greeter(stubs.GreeterServicer):  # type: ignore[misc]
    def __init__(self) -> None:
        self.waits, self.over, self.failed = threading.Event(), threading.Event(), threading.Event()
        self.goes_on = threading.Event()
        self.was_active: list[bool] = []

    def Hello(self, request: Any, context: Any) -> Any:
        match request.name:
            case "abort":
                context.set_trailing_metadata((("test-trailer", "t"),))
                context.abort(grpc.StatusCode.NOT_FOUND, "no such name")
            case "code":
                context.set_code(grpc.StatusCode.ALREADY_EXISTS)
                context.set_details("said before")
            case "boom":
                raise ValueError("secret")
            case "rich":
                context.abort_with_status(rpc_status.to_status(rich()))
            case "metadata":
                context.send_initial_metadata((("test-header", "h"), ("test-header-bin", b"\x00\xff")))
                context.set_trailing_metadata((("test-trailer", "t"), ("test-trailer-bin", b"\x01\xfe")))
                return pb.HelloReply(message=said(context))
            case "time":
                left = context.time_remaining()
                far = left > 1e9
                return pb.HelloReply(message="none" if far else "some", total_count=0 if far else int(left * 1000))
            case "wait":
                self._wait(context)
        return pb.HelloReply(message=f"Hello, {request.name}!", data=b"x" * request.times_greeted)

    def _wait(self, context: Any) -> None:
        ended = threading.Event()
        self.was_active.append(context.is_active())
        context.add_callback(ended.set)
        self.waits.set()
        ended.wait(PATIENCE)
        self.was_active.append(context.is_active())
        self.over.set()

    def Lots(self, request: Any, context: Any) -> Iterator[Any]:
        if request.name == "early":
            context.send_initial_metadata((("test-header", "h"),))
            self.goes_on.wait(PATIENCE)
        for number in range(request.times_greeted):
            yield pb.HelloReply(message=request.name, total_count=number)
        if request.name == "abort":
            context.set_trailing_metadata((("test-trailer", "t"),))
            context.abort(grpc.StatusCode.OUT_OF_RANGE, "no more")
        if request.name == "wait":
            self._wait(context)

    def Collect(self, requests: Any, context: Any) -> Any:
        names = []
        for request in requests:
            names.append(request.name)
            if request.name == "stop":
                context.abort(grpc.StatusCode.ABORTED, "enough")
        return pb.HelloReply(message=" ".join(names), total_count=len(names))

    def Chat(self, requests: Any, context: Any) -> Iterator[Any]:
        try:
            for request in requests:
                if request.name == "abort":
                    context.abort(grpc.StatusCode.DATA_LOSS, "gone")
                if request.name == "wait":
                    self.waits.set()
                    continue
                yield pb.HelloReply(message=f"Hello, {request.name}!")
        except grpc.RpcError:
            self.failed.set()
            raise
        finally:
            self.over.set()


@asynccontextmanager
async def aio_pair(pair: str, url: str, servicer: Any = None, **options: Any) -> AsyncIterator[Any]:
    """A channel and a server; at least one of them is ours."""
    servicer = servicer or AioGreeter()
    if pair == THEIR_SERVER:
        server = grpc.aio.server()
        stubs.add_GreeterServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with micro.grpc.channel("greeter", addresses=[f"127.0.0.1:{port}"], **options) as channel:
                yield channel
        finally:
            await server.stop(None)
        return
    service = micro.Service("greeter", registry=url, address="127.0.0.1:0", propagation=0)
    stubs.add_GreeterServicer_to_server(servicer, micro.grpc.server(service))
    async with service:
        if pair == OURS:
            async with micro.grpc.channel("greeter", registry=url, **options) as channel:
                yield channel
        else:
            async with grpc.aio.insecure_channel(service.address, **options) as channel:
                yield channel


@contextmanager
def pair_of(pair: str, url: str, servicer: Any = None, **options: Any) -> Iterator[Any]:
    """The same for threads."""
    servicer = servicer or Greeter()
    if pair == THEIR_SERVER:
        server = grpc.server(futures.ThreadPoolExecutor(8))
        stubs.add_GreeterServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            with micro.grpc.sync.channel("greeter", addresses=[f"127.0.0.1:{port}"], **options) as channel:
                yield channel
        finally:
            server.stop(None).wait(PATIENCE)
        return
    service = sync.Service("greeter", registry=url, address="127.0.0.1:0", propagation=0)
    stubs.add_GreeterServicer_to_server(servicer, micro.grpc.server(service))
    with service:
        if pair == OURS:
            with micro.grpc.sync.channel("greeter", registry=url, **options) as channel:
                yield channel
        else:
            with grpc.insecure_channel(service.address, **options) as channel:
                yield channel
