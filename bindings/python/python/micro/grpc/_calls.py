"""Calls of a channel for asyncio, as the stubs give them to their callers."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterable, Callable, Generator
from typing import TYPE_CHECKING, Any

import grpc
from grpc import aio

from .._errors import Closed, Error, Forked, Internal, Stale, WrongArgument
from .._logging import logger
from .._metadata import of_blocks
from .._pipe import LoopPipe
from .._terms import Answer
from . import _bases
from ._method import Method
from ._state import State, failed
from ._status import LOCALLY_CANCELLED, Status, cancelled, status_of, succeeded

if TYPE_CHECKING:
    from ._channel import Channel

OVER = "RPC already finished."
HALF_CLOSED = 'RPC is half closed after calling "done_writing".'
TWO_WRITERS = "The iterator and read/write APIs may not be mixed on a single RPC."

_CLIENT, _SERVER = 1, 2


class Call(aio.Call):
    """What all calls have."""

    _channel: Channel
    _state: State

    def cancel(self) -> bool:
        """Ends it at once. False when it was over."""
        return self._give_up(LOCALLY_CANCELLED)

    def _give_up(self, why: str) -> bool:
        raise NotImplementedError

    def cancelled(self) -> bool:
        """True for a call that was cancelled, by either side."""
        status = self._state.status
        return status is not None and status.code is grpc.StatusCode.CANCELLED

    def done(self) -> bool:
        """True once it is over."""
        return self._state.status is not None

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Calls ``callback`` with this call when it is over."""
        self._state.when_done(functools.partial(callback, self))

    def time_remaining(self) -> float | None:
        """Seconds until its deadline; ``None`` when it has none."""
        until = self._state.until
        return None if until is None else max(0.0, until - self._state.loop.time())

    async def initial_metadata(self) -> aio.Metadata:
        """Headers of the answer, once they have come. Those of a unary call come with its reply."""
        return aio.Metadata(*(await self._state.ended()).headers)

    async def trailing_metadata(self) -> aio.Metadata:
        """Trailers of the answer, once it is over."""
        return aio.Metadata(*(await self._state.ended()).trailers)

    async def code(self) -> grpc.StatusCode:
        """How it ended, once it has."""
        return (await self._state.ended()).code

    async def details(self) -> str:
        """What was said of how it ended; empty when it did not fail."""
        return (await self._state.ended()).details

    async def debug_error_string(self) -> str:
        """What failed, on which node, and how often it was tried."""
        return (await self._state.ended()).debug

    async def wait_for_connection(self) -> None:
        """Returns when the service has a node that takes connections, or the call is over. Raises what it failed with."""
        waits = [asyncio.ensure_future(one) for one in (self._channel.channel_ready(), self._state.ended())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()
        self._check()

    def _check(self) -> None:
        status = self._state.status
        if status is not None and status.code is not grpc.StatusCode.OK:
            raise self._state.raised()

    def __repr__(self) -> str:
        status = self._state.status
        return f"<{type(self).__name__}, {'under way' if status is None else status.code}>"


class UnaryUnaryCall(Call, _bases.UnaryUnaryCall):
    """A call of one request and one response."""

    def __init__(
        self, channel: Channel, method: Method, request: Any, timeout: float | None, rest: tuple[Any, Any, Any]
    ) -> None:
        runtime, client = channel._open()
        hub = runtime.hub()
        self._state = State(hub.loop, timeout)
        self._channel, self._method, self._native, self._id = channel, method, runtime._native, 0
        self._response: Any = None
        try:
            terms = method.terms(method.write(request), timeout, *rest)
            self._id = client.call(hub.queue, self, terms)
        except (WrongArgument, Forked):
            raise
        except Error as error:
            self.set_exception(error)
        else:
            channel._begun(self._id, self)

    # What the queue tells.

    def set_result(self, answer: Answer) -> None:
        payload, _, meta = answer
        headers, trailers = of_blocks(meta)
        try:
            self._response = self._method.read(payload)
        except Error as error:
            status = status_of(error)
        else:
            status = succeeded(headers.pairs, trailers.pairs)
        self._settle(status)

    def set_exception(self, error: Error) -> None:
        self._settle(status_of(error))

    def _settle(self, status: Status) -> None:
        if self._state.status is None:
            self._channel._ended(self._id)
            self._state.settle(status)

    def _give_up(self, why: str) -> bool:
        if self._state.status is not None:
            return False
        self._state.is_cancelled = True
        self._native.cancel(self._id)
        self._settle(status_of(cancelled(why)))
        return True

    def __await__(self) -> Generator[Any, None, Any]:
        try:
            while self._state.status is None:
                yield from self._state.changed()
        except (asyncio.CancelledError, GeneratorExit):
            self.cancel()
            raise
        self._check()
        return self._response


class CallPipe(LoopPipe):
    """The inside of a call with streams. The queue has it until it ends, and the call may be let go of before."""

    def __init__(self, channel: Channel, method: Method, shape: int, timeout: float | None) -> None:
        runtime, self.client = channel._open()
        self.hub = runtime.hub()
        super().__init__(runtime._native, method.read, self.hub.loop)
        self.state = State(self.hub.loop, timeout)
        self.response: Any = None
        self.has_closed = False
        """This side sends no more."""
        self._shape = shape

    def _opened(self, headers: bytes | None) -> None:
        super()._opened(headers)
        self.state.wake()

    def _end(self, error: BaseException | None, meta: bytes) -> None:
        if self.ended:
            return
        if error is None and self.failed is None and not self._shape & _SERVER:
            error = self._receive()
        super()._end(error, meta)
        found = self.error
        if isinstance(found, Error):
            self.state.settle(status_of(found))
            return
        headers = self.headers.pairs if self.headers is not None else ()
        self.state.settle(succeeded(headers, self.trailers.pairs))

    def _receive(self) -> Error | None:
        """Reads the one response of a call that has only one."""
        if not self.messages:
            return Internal("the stream ended without a reply", id="micro")
        try:
            self.response = self.decode(*self.messages[0])
        except Error as error:
            return error
        return None

    def give_up(self, why: str) -> bool:
        if self.ended:
            return False
        self.state.is_cancelled = True
        self.cancel()
        self._end(cancelled(why), b"")
        return True

    def fail(self, error: Error) -> None:
        """Ends it with what went wrong on this side."""
        if not self.ended:
            self.cancel()
            self._end(error, b"")

    def left(self) -> None:
        self.give_up(LOCALLY_CANCELLED)

    async def put(self, payload: Any) -> None:
        """Sends a request. Raises what the call has failed with meanwhile."""
        try:
            await self.send(payload)
        except (Stale, Closed):
            await self.state.ended()
            raise self.state.raised() from None

    async def get(self) -> Any:
        """The next response. Raises ``StopAsyncIteration`` after the last."""
        while not self.messages:
            if self.ended:
                if self.error is not None:
                    raise self.state.raised()
                raise StopAsyncIteration
            await self.wait()
        try:
            return self.take()
        except Error as error:
            # Also of a call that the far side has ended well.
            self.fail(error)
            raise failed(status_of(error)) from error


class StreamingCall(Call):
    """What calls with streams have."""

    _shape = 0

    def __init__(
        self, channel: Channel, method: Method, request: Any, timeout: float | None, rest: tuple[Any, Any, Any]
    ) -> None:
        self._channel, self._method = channel, method
        pipe = self._pipe = CallPipe(channel, method, self._shape, timeout)
        self._state = pipe.state
        self._feeds = bool(self._shape & _CLIENT) and request is not None
        try:
            payload = b"" if self._shape & _CLIENT else method.write(request)
            id = pipe.client.open(pipe.hub.queue, pipe, self._shape, method.terms(payload, timeout, *rest))
        except (WrongArgument, Forked):
            raise
        except Error as error:
            pipe._end(error, b"")
            return
        pipe.is_mine, pipe.on_end = True, channel._ended
        pipe.start(id)
        channel._begun(id, pipe)
        if self._feeds:
            pipe.feeding = asyncio.ensure_future(_feed(pipe, method, request))

    def __del__(self) -> None:
        pipe = getattr(self, "_pipe", None)
        if pipe is not None:
            pipe.cancel()

    def _give_up(self, why: str) -> bool:
        return self._pipe.give_up(why)

    async def initial_metadata(self) -> aio.Metadata:
        """Headers of the answer, once they have come: before or with the first response, or at the end."""
        pipe = self._pipe
        while pipe.headers is None:
            if self._state.status is not None:
                return aio.Metadata(*self._state.status.headers)
            await self._state.changed()
        return aio.Metadata(*pipe.headers.pairs)


async def _feed(pipe: CallPipe, method: Method, requests: Any) -> None:
    """Sends all requests. What goes wrong with them is what the call ends with."""
    try:
        if isinstance(requests, AsyncIterable):
            async for request in requests:
                await pipe.put(method.write(request))
        else:
            for request in requests:
                await pipe.put(method.write(request))
        pipe.has_closed = True
        pipe.runtime.close(pipe.id)
    except (aio.AioRpcError, Stale, Closed):
        # The far side has ended it, and the reader hears how.
        return
    except Error as error:
        pipe.feeding = None
        pipe.fail(error)
    except Exception as error:
        pipe.feeding = None
        logger().error("the requests of %s raised %s", method.path, type(error).__name__, exc_info=error)
        pipe.give_up(f"the iterator of its requests raised {type(error).__name__}")
    finally:
        close = getattr(requests, "aclose", None)
        if close is not None:
            await close()


class _Reads(StreamingCall):
    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> Any:
        return await self._pipe.get()

    async def read(self) -> Any:
        """The next response, or ``grpc.aio.EOF`` after the last."""
        try:
            return await self._pipe.get()
        except StopAsyncIteration:
            return aio.EOF


class _Writes(StreamingCall):
    async def write(self, request: Any) -> None:
        """Sends a request. Waits while the far side is slow."""
        if self._feeds:
            raise aio.UsageError(TWO_WRITERS)
        pipe = self._pipe
        if pipe.ended:
            raise asyncio.InvalidStateError(OVER)
        if pipe.has_closed:
            raise asyncio.InvalidStateError(HALF_CLOSED)
        try:
            payload = self._method.write(request)
        except Error as error:
            pipe.fail(error)
            raise self._state.raised() from None
        await pipe.put(payload)

    async def done_writing(self) -> None:
        """This side sends no more. Harmless when repeated."""
        if self._feeds:
            raise aio.UsageError(TWO_WRITERS)
        pipe = self._pipe
        if not pipe.ended and not pipe.has_closed:
            pipe.has_closed = True
            pipe.runtime.close(pipe.id)


class UnaryStreamCall(_Reads, _bases.UnaryStreamCall):
    """A call of one request and many responses."""

    _shape = _SERVER


class StreamUnaryCall(_Writes, _bases.StreamUnaryCall):
    """A call of many requests and one response."""

    _shape = _CLIENT

    def __await__(self) -> Generator[Any, None, Any]:
        try:
            while self._state.status is None:
                yield from self._state.changed()
        except (asyncio.CancelledError, GeneratorExit):
            self.cancel()
            raise
        self._check()
        return self._pipe.response


class StreamStreamCall(_Reads, _Writes, _bases.StreamStreamCall):
    """A call of many requests and many responses."""

    _shape = _CLIENT | _SERVER
