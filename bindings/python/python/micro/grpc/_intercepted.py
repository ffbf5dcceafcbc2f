"""Calls that interceptors for asyncio may change, refuse or answer."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

import grpc
from grpc import aio

from . import _bases
from ._calls import HALF_CLOSED, OVER, TWO_WRITERS
from ._method import Method, refuse
from ._status import LOCALLY_CANCELLED

if TYPE_CHECKING:
    from ._channel import Channel

Intercept = Callable[..., Awaitable[Any]]
_END = object()


class Chains:
    """Interceptors by the kind of calls they see; the first is the outermost."""

    def __init__(self, interceptors: Sequence[aio.ClientInterceptor]) -> None:
        self.unary_unary: list[Intercept] = []
        self.unary_stream: list[Intercept] = []
        self.stream_unary: list[Intercept] = []
        self.stream_stream: list[Intercept] = []
        for one in interceptors:
            if not isinstance(one, aio.ClientInterceptor):
                raise ValueError(f"{type(one).__name__} is no interceptor of grpc.aio: derive it from one of its classes")
            if isinstance(one, aio.UnaryUnaryClientInterceptor):
                self.unary_unary.append(one.intercept_unary_unary)
            if isinstance(one, aio.UnaryStreamClientInterceptor):
                self.unary_stream.append(one.intercept_unary_stream)
            if isinstance(one, aio.StreamUnaryClientInterceptor):
                self.stream_unary.append(one.intercept_stream_unary)
            if isinstance(one, aio.StreamStreamClientInterceptor):
                self.stream_stream.append(one.intercept_stream_stream)


class Intercepted(aio.Call):
    """A call that interceptors begin, sooner or later. What is asked of it is what the call says that they give."""

    _kind: type[Any]

    def __init__(
        self, channel: Channel, method: Method, make: Any, request: Any, timeout: float | None, rest: tuple[Any, Any, Any]
    ) -> None:
        metadata, wait, self._compression = rest
        self._channel, self._method, self._make = channel, method, make
        self._last: Any = None
        """The call that was made last."""
        path: Any = method.path.encode()
        given = metadata if isinstance(metadata, aio.Metadata) else aio.Metadata(*(metadata or ()))
        details = aio.ClientCallDetails(path, timeout, given, None, wait)
        chain: list[Intercept] = getattr(channel._chains, self._name())
        self._callbacks: list[Callable[[Any], None]] = []
        self._task = asyncio.ensure_future(self._proceed(chain, details, request))
        self._task.add_done_callback(self._known)

    @classmethod
    def _name(cls) -> str:
        raise NotImplementedError

    async def _proceed(self, chain: list[Intercept], details: aio.ClientCallDetails, request: Any) -> Any:
        if chain:
            found = await chain[0](functools.partial(self._proceed, chain[1:]), details, request)
            return found if isinstance(found, self._kind) else self._answered(found)
        refuse(details.credentials)
        method = self._method.at(details.method)
        rest = details.metadata, details.wait_for_ready, self._compression
        self._last = self._make(self._channel, method, request, details.timeout, rest)
        return self._last

    def _answered(self, answer: Any) -> Any:
        """A call of what an interceptor gave instead of one."""
        raise NotImplementedError

    def _known(self, task: asyncio.Task[Any]) -> None:
        # Looked at, so that a call that is not awaited is not complained of.
        failed = task.cancelled() or task.exception() is not None
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            if failed:
                callback(self)
            else:
                task.result().add_done_callback(functools.partial(self._tell, callback))

    def _tell(self, callback: Callable[[Any], None], _: Any) -> None:
        callback(self)

    def _call(self) -> Any:
        """The call, once there is one."""
        task = self._task
        return task.result() if task.done() and not task.cancelled() and task.exception() is None else None

    def cancel(self) -> bool:
        """Ends it at once, and the interceptors that are at work. False when it was over."""
        if not self._task.done():
            return self._task.cancel()
        call = self._call()
        return bool(call is not None and call.cancel())

    def cancelled(self) -> bool:
        """True for a call that was cancelled, by either side."""
        if self._task.cancelled():
            return True
        call = self._call()
        if call is not None:
            return bool(call.cancelled())
        error = self._task.exception() if self._task.done() else None
        return isinstance(error, aio.AioRpcError) and error.code() is grpc.StatusCode.CANCELLED

    def done(self) -> bool:
        """True once it is over."""
        call = self._call()
        return self._task.done() if call is None else bool(call.done())

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Calls ``callback`` with this call when it is over."""
        call = self._call()
        if call is not None:
            call.add_done_callback(functools.partial(self._tell, callback))
        elif self._task.done():
            callback(self)
        else:
            self._callbacks.append(callback)

    def time_remaining(self) -> float | None:
        """Seconds until its deadline; ``None`` when it has none, or while interceptors are at work."""
        call = self._call()
        return None if call is None else call.time_remaining()

    async def _asked(self, what: str, otherwise: Any) -> Any:
        try:
            call = await asyncio.shield(self._task)
        except aio.AioRpcError as error:
            return getattr(error, what)()
        except asyncio.CancelledError:
            if not self._task.cancelled():
                raise
            return otherwise
        return await getattr(call, what)()

    async def initial_metadata(self) -> Any:
        """Headers of the answer, once they have come."""
        return await self._asked("initial_metadata", None)

    async def trailing_metadata(self) -> Any:
        """Trailers of the answer, once it is over."""
        return await self._asked("trailing_metadata", None)

    async def code(self) -> grpc.StatusCode:
        """How it ended, once it has."""
        found: grpc.StatusCode = await self._asked("code", grpc.StatusCode.CANCELLED)
        return found

    async def details(self) -> str:
        """What was said of how it ended; empty when it did not fail."""
        found: str = await self._asked("details", LOCALLY_CANCELLED)
        return found

    async def debug_error_string(self) -> Any:
        """What failed, on which node, and how often it was tried."""
        return await self._asked("debug_error_string", "")

    async def wait_for_connection(self) -> None:
        """Returns when the service has a node that takes connections, or the call is over. Raises what it failed with."""
        await (await asyncio.shield(self._task)).wait_for_connection()

    def __del__(self) -> None:
        task = getattr(self, "_task", None)
        if task is not None and not task.get_loop().is_closed():
            self.cancel()


class _Awaited(Intercepted):
    def __await__(self) -> Generator[Any, None, Any]:
        try:
            call = yield from self._task.__await__()
            return (yield from call.__await__())
        except (asyncio.CancelledError, GeneratorExit):
            self.cancel()
            raise


class _Iterated(Intercepted):
    _responses: AsyncIterator[Any] | None = None

    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> Any:
        responses = self._responses
        if responses is None:
            responses = self._responses = (await self._task).__aiter__()
        return await anext(responses)

    async def read(self) -> Any:
        """The next response, or ``grpc.aio.EOF`` after the last."""
        try:
            return await self.__anext__()
        except StopAsyncIteration:
            return aio.EOF


class _Written(Intercepted):
    def __init__(
        self, channel: Channel, method: Method, make: Any, request: Any, timeout: float | None, rest: tuple[Any, Any, Any]
    ) -> None:
        self._written = None if request is not None else Written()
        super().__init__(channel, method, make, self._written or request, timeout, rest)

    async def _writer(self) -> tuple[Written, Any]:
        if self._written is None:
            raise aio.UsageError(TWO_WRITERS)
        try:
            call = await asyncio.shield(self._task)
        except (asyncio.CancelledError, aio.AioRpcError):
            if not self._task.done():
                raise
            raise asyncio.InvalidStateError(OVER) from None
        return self._written, call

    async def write(self, request: Any) -> None:
        """Sends a request. Waits while the one before it has not been taken."""
        written, call = await self._writer()
        if call.done():
            raise asyncio.InvalidStateError(OVER)
        if written.is_closed:
            raise asyncio.InvalidStateError(HALF_CLOSED)
        await written.put(request, call)
        if call.done():
            raise asyncio.InvalidStateError(OVER)

    async def done_writing(self) -> None:
        """This side sends no more. Harmless when repeated."""
        written, call = await self._writer()
        if not written.is_closed and not call.done():
            written.is_closed = True
            await written.put(_END, call)


class Written:
    """Requests that are written one by one, as interceptors see them: an asynchronous iterator."""

    def __init__(self) -> None:
        self.is_closed = False
        self._over: asyncio.Future[None] | None = None
        self._queue: asyncio.Queue[Any] = asyncio.Queue(1)

    async def put(self, request: Any, call: Any) -> None:
        """Waits until there is room for it, or the call is over."""
        if self._over is None:
            over = self._over = asyncio.get_running_loop().create_future()
            call.add_done_callback(lambda _: over.set_result(None))
        putting = asyncio.ensure_future(self._queue.put(request))
        try:
            await asyncio.wait([putting, self._over], return_when=asyncio.FIRST_COMPLETED)
        finally:
            putting.cancel()

    def __aiter__(self) -> Written:
        return self

    async def __anext__(self) -> Any:
        request = await self._queue.get()
        if request is _END:
            raise StopAsyncIteration
        return request


class UnaryUnary(_Awaited, _bases.UnaryUnaryCall):
    """A call of one request and one response."""

    _kind = aio.UnaryUnaryCall

    @classmethod
    def _name(cls) -> str:
        return "unary_unary"

    def _answered(self, answer: Any) -> Any:
        return Answered(answer)


class UnaryStream(_Iterated, _bases.UnaryStreamCall):
    """A call of one request and many responses."""

    _kind = aio.UnaryStreamCall

    @classmethod
    def _name(cls) -> str:
        return "unary_stream"

    def _answered(self, answer: Any) -> Any:
        return Replaced(self._last, answer)


class StreamUnary(_Written, _Awaited, _bases.StreamUnaryCall):
    """A call of many requests and one response."""

    _kind = aio.StreamUnaryCall

    @classmethod
    def _name(cls) -> str:
        return "stream_unary"

    def _answered(self, answer: Any) -> Any:
        return Answered(answer)


class StreamStream(_Written, _Iterated, _bases.StreamStreamCall):
    """A call of many requests and many responses."""

    _kind = aio.StreamStreamCall

    @classmethod
    def _name(cls) -> str:
        return "stream_stream"

    def _answered(self, answer: Any) -> Any:
        return Replaced(self._last, answer)


class Answered(_bases.UnaryUnaryCall, _bases.StreamUnaryCall):
    """A call that an interceptor has answered itself."""

    def __init__(self, response: Any) -> None:
        self._response = response

    def cancel(self) -> bool:
        return False

    def cancelled(self) -> bool:
        return False

    def done(self) -> bool:
        return True

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        callback(self)

    def time_remaining(self) -> float | None:
        return None

    async def initial_metadata(self) -> aio.Metadata:
        return aio.Metadata()

    async def trailing_metadata(self) -> aio.Metadata:
        return aio.Metadata()

    async def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.OK

    async def details(self) -> str:
        return ""

    async def debug_error_string(self) -> str:
        return ""

    async def wait_for_connection(self) -> None:
        pass

    async def write(self, request: Any) -> None:
        raise asyncio.InvalidStateError(OVER)

    async def done_writing(self) -> None:
        pass

    def __await__(self) -> Generator[Any, None, Any]:
        return self._response
        yield


class Replaced:
    """A call whose responses an interceptor gives: the rest is that of the call it has made, if any."""

    def __init__(self, call: Any, responses: Any) -> None:
        self._call = Answered(None) if call is None else call
        self._responses = responses

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    def __aiter__(self) -> Any:
        return self._responses.__aiter__()
