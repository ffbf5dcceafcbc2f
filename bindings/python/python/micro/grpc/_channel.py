"""Channels for asyncio: what grpcio's stubs are given."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import grpc
from grpc import aio

from .. import _micro
from .._client import Client
from .._errors import Error
from .._runtime import Runtime
from . import _bases
from ._calls import CallPipe, StreamStreamCall, StreamUnaryCall, UnaryStreamCall, UnaryUnaryCall
from ._connectivity import CONNECTING, IDLE, READY, SHUTDOWN, Connectivity, is_answer, probe
from ._intercepted import Chains, StreamStream, StreamUnary, UnaryStream, UnaryUnary
from ._method import Method, Target, refuse

if TYPE_CHECKING:
    from typing import Self

CLOSED = "Channel is closed."


class Channel(aio.Channel):
    """A channel to all nodes of a service, as ``grpc.aio.Channel`` is one to an address."""

    def __init__(
        self,
        service: str,
        client: Client | None,
        detached: bool,
        interceptors: Sequence[aio.ClientInterceptor],
        options: Any,
    ) -> None:
        self._owned = client is None
        self._client = Client(**options) if client is None else client
        self._target = Target(self._client, service, waits=client is None and "timeout" not in options, detached=detached)
        self._chains = Chains(interceptors)
        self._state = Connectivity()
        self._calls: dict[int, UnaryUnaryCall | CallPipe] = {}
        self._idle: asyncio.Future[None] | None = None
        self._probing: asyncio.Task[None] | None = None

    # What calls need.

    def _open(self) -> tuple[Runtime, _micro.Client]:
        if self._state.now is SHUTDOWN:
            raise aio.UsageError(CLOSED)
        return self._client._open()

    def _begun(self, id: int, call: UnaryUnaryCall | CallPipe) -> None:
        self._calls[id] = call
        self._client._under_way.add(id)

    def _ended(self, id: int) -> None:
        self._calls.pop(id, None)
        self._client._under_way.discard(id)
        if self._idle is not None and not self._calls and not self._idle.done():
            self._idle.set_result(None)

    # What stubs ask for.

    def _method(self, method: str, serializer: Any, deserializer: Any) -> Method:
        return Method(self._target, method, serializer, deserializer)

    def unary_unary(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, _registered_method: Any = False
    ) -> UnaryUnaryCallable:
        """Calls of a method with one request and one response."""
        return UnaryUnaryCallable(self, self._method(method, request_serializer, response_deserializer))

    def unary_stream(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, _registered_method: Any = False
    ) -> UnaryStreamCallable:
        """Calls of a method with one request and many responses."""
        return UnaryStreamCallable(self, self._method(method, request_serializer, response_deserializer))

    def stream_unary(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, _registered_method: Any = False
    ) -> StreamUnaryCallable:
        """Calls of a method with many requests and one response."""
        return StreamUnaryCallable(self, self._method(method, request_serializer, response_deserializer))

    def stream_stream(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, _registered_method: Any = False
    ) -> StreamStreamCallable:
        """Calls of a method with many requests and many responses."""
        return StreamStreamCallable(self, self._method(method, request_serializer, response_deserializer))

    # What programs ask for.

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """Takes no more calls, and cancels those that are under way after ``grace`` seconds. Harmless when repeated."""
        self._state.become(SHUTDOWN)
        if self._calls and grace:
            self._idle = self._idle or asyncio.get_running_loop().create_future()
            await asyncio.wait([self._idle], timeout=grace)
        for call in list(self._calls.values()):
            call._give_up(CLOSED) if isinstance(call, UnaryUnaryCall) else call.give_up(CLOSED)
        if self._probing is not None:
            self._probing.cancel()
        if self._owned:
            await self._client.close()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """``READY`` once a node has answered :meth:`channel_ready`, or what ``try_to_connect`` begins."""
        if try_to_connect and self._state.now is IDLE:
            self._state.become(CONNECTING)
            self._probing = asyncio.ensure_future(self._connect())
        return self._state.now

    async def _connect(self) -> None:
        try:
            await self._probe()
        except (Error, aio.UsageError):
            self._state.become(IDLE)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Returns when :meth:`get_state` is another."""
        loop, listeners = asyncio.get_running_loop(), self._state.listeners
        while self._state.now is last_observed_state:
            changed = loop.create_future()

            def tell(_: Any, changed: asyncio.Future[None] = changed) -> None:
                if not changed.done():
                    changed.set_result(None)

            listeners.append(tell)
            try:
                await changed
            finally:
                listeners.remove(tell)

    async def channel_ready(self) -> None:
        """Returns when the service has a node that takes connections."""
        if self._state.now is not READY:
            self._open()
            await self._probe()

    async def _probe(self) -> None:
        try:
            await self._client._ask("call", probe(self._target.service))
        except Error as error:
            if self._state.now is SHUTDOWN:
                raise aio.UsageError(CLOSED) from None
            if not is_answer(error):
                raise
        self._state.become(READY)


class _Callable:
    """A method that is called, and the interceptors of its calls."""

    def __init__(self, channel: Channel, method: Method) -> None:
        self._channel, self._method = channel, method


class UnaryUnaryCallable(_Callable, _bases.AioUnaryUnary):
    """What a stub has for a method of one request and one response."""

    def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> aio.UnaryUnaryCall[Any, Any]:
        refuse(credentials)
        rest = metadata, wait_for_ready, compression
        if self._channel._chains.unary_unary:
            return UnaryUnary(self._channel, self._method, UnaryUnaryCall, request, timeout, rest)
        return UnaryUnaryCall(self._channel, self._method, request, timeout, rest)


class UnaryStreamCallable(_Callable, _bases.AioUnaryStream):
    """What a stub has for a method of one request and many responses."""

    def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> aio.UnaryStreamCall[Any, Any]:
        refuse(credentials)
        rest = metadata, wait_for_ready, compression
        if self._channel._chains.unary_stream:
            return UnaryStream(self._channel, self._method, UnaryStreamCall, request, timeout, rest)
        return UnaryStreamCall(self._channel, self._method, request, timeout, rest)


class StreamUnaryCallable(_Callable, _bases.AioStreamUnary):
    """What a stub has for a method of many requests and one response."""

    def __call__(
        self,
        request_iterator: Any = None,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> aio.StreamUnaryCall[Any, Any]:
        refuse(credentials)
        rest = metadata, wait_for_ready, compression
        if self._channel._chains.stream_unary:
            return StreamUnary(self._channel, self._method, StreamUnaryCall, request_iterator, timeout, rest)
        return StreamUnaryCall(self._channel, self._method, request_iterator, timeout, rest)


class StreamStreamCallable(_Callable, _bases.AioStreamStream):
    """What a stub has for a method of many requests and many responses."""

    def __call__(
        self,
        request_iterator: Any = None,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> aio.StreamStreamCall[Any, Any]:
        refuse(credentials)
        rest = metadata, wait_for_ready, compression
        if self._channel._chains.stream_stream:
            return StreamStream(self._channel, self._method, StreamStreamCall, request_iterator, timeout, rest)
        return StreamStreamCall(self._channel, self._method, request_iterator, timeout, rest)
