"""Channels for threads: what grpcio's stubs are given."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

import grpc

from .. import _micro, sync
from .._errors import Error, Forked, WrongArgument
from .._metadata import of_blocks
from .._runtime import Runtime
from .._terms import Answer
from . import _bases
from ._connectivity import CONNECTING, IDLE, READY, SHUTDOWN, Connectivity, is_answer, probe
from ._method import Method, Target, refuse
from ._status import status_of, succeeded
from ._thread_calls import Ended, Failed, StreamingCall, UnaryFuture

if TYPE_CHECKING:
    from typing import Self

CLOSED = "Channel closed!"


class Pump:
    """Tells calls what happens to them, on a thread of its own, for threads that do not wait all the time."""

    def __init__(self, runtime: Runtime) -> None:
        self.native = runtime._native
        self.queue = runtime.new_queue()
        # It knows the queue alone, so that a channel can be let go of.
        threading.Thread(target=_pump, args=(self.queue,), name="micro channel", daemon=True).start()


def _pump(queue: _micro.Queue) -> None:
    while queue.is_open:
        queue.wait(3600.0)
    queue.drain()


class Channel(grpc.Channel):
    """A channel to all nodes of a service, as ``grpc.Channel`` is one to an address."""

    def __init__(self, service: str, client: sync.Client | None, detached: bool, options: Any) -> None:
        self._owned = client is None
        self._client = sync.Client(**options) if client is None else client
        self._target = Target(self._client, service, waits=client is None and "timeout" not in options, detached=detached)
        self._connectivity = Connectivity()
        self._calls: dict[int, Callable[[str], bool]] = {}
        self._pump: Pump | None = None
        self._lock = threading.Lock()

    # What calls need.

    def _open(self) -> tuple[Runtime, _micro.Client]:
        if self._connectivity.now is SHUTDOWN:
            raise ValueError("Cannot invoke RPC on closed channel!")
        return self._client._open()

    def _running(self) -> tuple[Pump, _micro.Client]:
        """The thread that tells calls what happens."""
        runtime, client = self._open()
        with self._lock:
            if self._pump is None or not self._pump.queue.is_open:
                self._pump = Pump(runtime)
            return self._pump, client

    def _begun(self, id: int, give_up: Callable[[str], bool]) -> None:
        self._calls[id] = give_up

    def _ended(self, id: int) -> None:
        self._calls.pop(id, None)

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

    def subscribe(self, callback: Callable[[grpc.ChannelConnectivity], None], try_to_connect: bool | None = False) -> None:
        """Calls ``callback`` with what is known of the service now, and with what becomes of it.

        It is ``READY`` once a node has answered, which is asked for with ``try_to_connect``.
        """
        self._connectivity.listeners.append(callback)
        callback(self._connectivity.now)
        if try_to_connect and self._connectivity.now is IDLE:
            self._connectivity.become(CONNECTING)
            pump, client = self._running()
            probing = Probe(self)
            self._begun(client.call(pump.queue, probing, probe(self._target.service)), probing.give_up)

    def unsubscribe(self, callback: Callable[[grpc.ChannelConnectivity], None]) -> None:
        """Calls it no more."""
        if callback in self._connectivity.listeners:
            self._connectivity.listeners.remove(callback)

    def close(self) -> None:
        """Takes no more calls, and cancels those that are under way. Harmless when repeated."""
        self._connectivity.become(SHUTDOWN)
        for give_up in list(self._calls.values()):
            give_up(CLOSED)
        if self._owned:
            self._client.close()
        self._let_go()

    def _let_go(self) -> None:
        with self._lock:
            pump, self._pump = self._pump, None
        if pump is not None:
            pump.queue.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_pump", None) is not None:
            self._let_go()


class Probe:
    """Hears the answer to the question whether a service can be reached."""

    def __init__(self, channel: Channel) -> None:
        self._channel, self._is_done = channel, False

    def done(self) -> bool:
        return self._is_done

    def set_result(self, _: Answer) -> None:
        self._is_done = True
        self._channel._connectivity.become(READY)

    def set_exception(self, error: Error) -> None:
        self._is_done = True
        self._channel._connectivity.become(READY if is_answer(error) else IDLE)

    def give_up(self, _: str) -> bool:
        self._is_done = True
        return True


class _Callable:
    def __init__(self, channel: Channel, method: Method) -> None:
        self._channel, self._method = channel, method


class UnaryUnaryCallable(_Callable, _bases.UnaryUnary):
    """What a stub has for a method of one request and one response."""

    def __call__(
        self,
        request: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any:
        refuse(credentials)
        payload, _, _ = self._ask(request, timeout, metadata, wait_for_ready, compression)
        return self._read(payload)

    def with_call(
        self,
        request: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> tuple[Any, grpc.Call]:
        refuse(credentials)
        payload, _, meta = self._ask(request, timeout, metadata, wait_for_ready, compression)
        headers, trailers = of_blocks(meta)
        response = self._read(payload)
        return response, Ended(response, succeeded(headers.pairs, trailers.pairs))

    def future(
        self,
        request: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any:
        refuse(credentials)
        return UnaryFuture(self._channel, self._method, request, timeout, (metadata, wait_for_ready, compression))

    def _ask(self, request: Any, timeout: float | None, metadata: Any, wait: bool | None, compression: Any) -> Answer:
        self._channel._open()
        method = self._method
        try:
            terms = method.terms(method.write(request), timeout, metadata, wait, compression)
            return self._channel._client._ask("call", terms)
        except (WrongArgument, Forked):
            raise
        except Error as error:
            raise Failed(status_of(error)) from error

    def _read(self, payload: Any) -> Any:
        try:
            return self._method.read(payload)
        except Error as error:
            raise Failed(status_of(error)) from error


class UnaryStreamCallable(_Callable, _bases.UnaryStream):
    """What a stub has for a method of one request and many responses."""

    def __call__(
        self,
        request: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any:
        refuse(credentials)
        return StreamingCall(self._channel, self._method, 2, request, timeout, (metadata, wait_for_ready, compression))


class StreamUnaryCallable(_Callable, _bases.StreamUnary):
    """What a stub has for a method of many requests and one response."""

    def __call__(
        self,
        request_iterator: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any:
        return self.future(request_iterator, timeout, metadata, credentials, wait_for_ready, compression).result()

    def with_call(
        self,
        request_iterator: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> tuple[Any, grpc.Call]:
        call = self.future(request_iterator, timeout, metadata, credentials, wait_for_ready, compression)
        return call.result(), call

    def future(
        self,
        request_iterator: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any:
        refuse(credentials)
        rest = metadata, wait_for_ready, compression
        return StreamingCall(self._channel, self._method, 1, iter(request_iterator), timeout, rest)


class StreamStreamCallable(_Callable, _bases.StreamStream):
    """What a stub has for a method of many requests and many responses."""

    def __call__(
        self,
        request_iterator: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any:
        refuse(credentials)
        rest = metadata, wait_for_ready, compression
        return StreamingCall(self._channel, self._method, 3, iter(request_iterator), timeout, rest)
