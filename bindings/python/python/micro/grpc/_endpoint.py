"""Endpoints whose handlers are grpcio's: what runs them, on the event loop or on threads."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc

from .._context import current
from .._errors import Cancelled, Internal, Unimplemented
from .._handler import BIDI_STREAM, CLIENT_STREAM, DIRECT, EAGER, SERVER_STREAM, STREAMING, UNARY
from .._pipe import LoopPipe, ThreadPipe
from ._context import AioContext, ThreadContext
from ._schema import Messages, known, name_of, settings
from ._status import Metadatum, metadata_of

if TYPE_CHECKING:
    from .. import _micro
    from .._runtime import Hub
    from .._threads import Lane, Threads

Intercept = Callable[..., Any]
Deliver = Callable[[Any, "BaseException | None"], object]


class HandlerCallDetails(NamedTuple):
    """What interceptors know of a call."""

    method: str
    invocation_metadata: tuple[Metadatum, ...]


class Work(NamedTuple):
    """A call on its way to a thread."""

    payload: Any
    handler: Any
    """Its handler, if interceptors have said already which."""
    deliver: Deliver


class Endpoint:
    """A method of a servicer, as a service runs it."""

    of_messages = False

    def __init__(self, path: str, handler: Any, interceptors: list[Intercept], *, is_later: bool) -> None:
        self.path, self.name, self.handler, self._interceptors = path, name_of(path), handler, interceptors
        self._is_later = is_later and bool(interceptors)
        """Interceptors are asynchronous."""
        self.shape = shape_of(handler)
        self._method = known(path)

    def options(self) -> dict[str, Any]:
        """The endpoint's settings document."""
        return settings(self._method)

    def served(self, hub: Hub, runtime: _micro.Runtime, threads: Threads) -> tuple[str, Any, int]:
        """What the native part calls for each call, and how."""
        serving = Serving(self, hub, runtime, threads)
        if not self._is_later and not is_async(behavior_of(self.handler)):
            return self.name, serving.put, DIRECT
        return self.name, serving.run, EAGER if self.shape == UNARY else STREAMING

    def path_of(self, call: _micro.Context) -> str:
        """The path that was called."""
        return self.path

    def found(self, details: Any) -> Any:
        """The handler of a call; ``None`` where there is none."""
        return self.handler if details.method == self.path else None

    def messages(self, handler: Any, path: str) -> Messages:
        return Messages(path, self._method, handler.request_deserializer, handler.response_serializer)

    def chosen(self, call: _micro.Context) -> Any:
        """The handler of a call; something to await where interceptors are asynchronous."""
        if not self._interceptors:
            return self.handler
        return self._through(call)

    def _through(self, call: _micro.Context) -> Any:
        details = HandlerCallDetails(self.path_of(call), metadata_of(call.metadata.pairs))
        return self._next_later(0, details) if self._is_later else self._next(0, details)

    def _next(self, at: int, details: Any) -> Any:
        if at == len(self._interceptors):
            return self.found(details)
        return self._interceptors[at](functools.partial(self._next, at + 1), details)

    async def _next_later(self, at: int, details: Any) -> Any:
        if at == len(self._interceptors):
            return self.found(details)
        return await self._interceptors[at](functools.partial(self._next_later, at + 1), details)

    async def only(self, pipe: LoopPipe) -> Any:
        """The one request of a handler that takes no stream, where the wire has one."""
        try:
            return await pipe.next()
        except StopAsyncIteration:
            raise Internal("the call has no request", id="micro") from None

    def only_on_thread(self, pipe: ThreadPipe) -> Any:
        """The same for a handler on a thread."""
        try:
            return pipe.next()
        except StopIteration:
            raise Internal("the call has no request", id="micro") from None

    def checked(self, handler: Any) -> Any:
        """A handler that interceptors have given. Raises what the caller is told when it cannot serve the call."""
        if handler is None:
            raise Unimplemented("Method not found!", id="micro")
        if shape_of(handler) != self.shape:
            raise Internal(f"an interceptor gave {self.path} a handler with other streams than its own", id="micro")
        return handler


class Serving:
    """An endpoint from the start of its service to its end."""

    def __init__(self, endpoint: Endpoint, hub: Hub, runtime: _micro.Runtime, threads: Threads) -> None:
        self._endpoint, self._hub, self._runtime = endpoint, hub, runtime
        self._name, self._shape = endpoint.name, endpoint.shape
        # Of an endpoint that is asked for its handler by each call, these are known then.
        is_known = endpoint.handler is not None
        self._messages = endpoint.messages(endpoint.handler, endpoint.path) if is_known else None
        self._behavior: Any = behavior_of(endpoint.handler) if is_known else None
        self._base = contextvars.copy_context()
        self._elsewhere: dict[int, Deliver] = {}
        """Calls of the loop that a thread serves, by their ids."""
        self._lane: Lane = threads.lane(endpoint.name, self._work, self._refuse, streams=self._shape != UNARY)

    # On the event loop.

    async def run(self, payload: Any, call: _micro.Context) -> Any:
        """Serves a call. What it raises is what the caller is told."""
        handler, chosen = self._endpoint.handler, self._endpoint.chosen(call)
        if chosen is not handler:
            handler = self._endpoint.checked(await chosen if inspect.isawaitable(chosen) else chosen)
        is_own = handler is self._endpoint.handler
        if not is_async(self._behavior if is_own else behavior_of(handler)):
            return await self._on_thread(payload, handler, call)
        path = self._endpoint.path_of(call)
        messages = (self._messages if is_own else None) or self._endpoint.messages(handler, path)
        behavior = self._behavior if is_own else behavior_of(handler)
        context, answer = AioContext(call, path, streams=bool(self._shape & SERVER_STREAM)), b""
        try:
            if self._shape == UNARY:
                flags = call._flags
                answer = messages.write(await behavior(messages.read(payload, flags), context), flags)
            else:
                answer = await self._stream(messages, handler, payload, call, context)
        except BaseException as error:
            failure = context._failure(error)
        else:
            failure = context._failure(None)
        context._end()
        if failure is None:
            return answer
        try:
            raise failure
        finally:
            # Else it and this frame would hold each other.
            del failure

    async def _stream(self, messages: Messages, handler: Any, payload: Any, call: _micro.Context, context: AioContext) -> Any:
        flags, shape, behavior = call._flags, shape_of(handler), behavior_of(handler)
        pipe = HandlerPipe(self._runtime, messages.read, self._hub.loop)
        begin(pipe, call, self._shape)
        context._pipe = pipe
        request: Any = pipe
        if not shape & CLIENT_STREAM:
            request = await self._endpoint.only(pipe) if pipe.reads else messages.read(payload, flags)
            pipe.reads = False
        if not shape & SERVER_STREAM:
            response = messages.write(await behavior(request, context), flags)
            if not self._shape & SERVER_STREAM:
                return response
            await pipe.send(response)
            return b""
        context._write = functools.partial(self._written, messages, flags)
        responses = behavior(request, context)
        if not hasattr(responses, "__aiter__"):
            await responses
            return b""
        try:
            async for response in responses:
                await pipe.send(messages.write(response, flags))
        finally:
            if hasattr(responses, "aclose"):
                await responses.aclose()
        return b""

    def _written(self, messages: Messages, flags: int, response: Any) -> Any:
        return messages.write(response, flags)

    async def _on_thread(self, payload: Any, handler: Any, call: _micro.Context) -> Any:
        """Has a thread serve a call that came to the loop, because interceptors are asynchronous."""
        loop = self._hub.loop
        answered: asyncio.Future[Any] = loop.create_future()

        def tell(message: Any, error: BaseException | None) -> None:
            if answered.done():
                return
            if error is None:
                answered.set_result(message)
            else:
                answered.set_exception(error)

        def deliver(message: Any, error: BaseException | None) -> None:
            loop.call_soon_threadsafe(tell, message, error)

        self._elsewhere[call._id] = deliver
        try:
            self._put(Work(payload, handler, deliver), call)
            return await answered
        finally:
            del self._elsewhere[call._id]

    # On threads.

    def put(self, payload: Any, call: _micro.Context) -> None:
        """Has a thread serve a call. Only on the loop's thread."""
        self._put(Work(payload, None, functools.partial(self._answer, call)), call)

    def _put(self, work: Work, call: _micro.Context) -> None:
        if self._shape == UNARY:
            self._lane.put(work, call)
            return
        pipe = ThreadPipe(self._runtime, self._messages.read if self._messages is not None else _unread)
        begin(pipe, call, self._shape)
        self._lane.put(work, call, pipe)

    def _answer(self, call: _micro.Context, message: Any, error: BaseException | None) -> None:
        self._hub.queue.answer(call, self._name, message, error)

    def _refuse(self, call: _micro.Context, error: BaseException) -> None:
        deliver = self._elsewhere.get(call._id)
        if deliver is None:
            self._answer(call, None, error)
        else:
            deliver(None, error)

    def _work(self, work: Work, call: _micro.Context, pipe: ThreadPipe | None) -> None:
        try:
            message = self._base.copy().run(self._serve, work, call, pipe)
        except BaseException as error:
            work.deliver(None, error)
        else:
            work.deliver(message, None)

    def _serve(self, work: Work, call: _micro.Context, pipe: ThreadPipe | None) -> Any:
        current.set(call)
        handler = work.handler
        if handler is None:
            handler = self._endpoint.checked(self._endpoint.chosen(call))
            if is_async(behavior_of(handler)):
                path = self._endpoint.path_of(call)
                raise Internal(f"{path} was given a handler that is `async def`, on a thread", id="micro")
        is_own, path = handler is self._endpoint.handler, self._endpoint.path_of(call)
        messages = (self._messages if is_own else None) or self._endpoint.messages(handler, path)
        context = ThreadContext(call, path, streams=bool(self._shape & SERVER_STREAM))
        context._stop = functools.partial(work.deliver, None)
        call._task = Told(context)
        answer = b""
        try:
            answer = self._respond(messages, handler, work.payload, call, pipe, context)
        except BaseException as error:
            failure = context._failure(error)
        else:
            failure = context._failure(None)
        context._end()
        if failure is None:
            return answer
        try:
            raise failure
        finally:
            del failure

    def _respond(
        self, messages: Messages, handler: Any, payload: Any, call: _micro.Context, pipe: ThreadPipe | None, context: Any
    ) -> Any:
        flags, shape = call._flags, shape_of(handler)
        if pipe is not None:
            # What an interceptor gave may read other messages.
            pipe.decode = messages.read
        request: Any = None
        if pipe is None or not self._shape & CLIENT_STREAM:
            request = messages.read(payload, flags)
        else:
            request = Requests(pipe) if shape & CLIENT_STREAM else self._endpoint.only_on_thread(pipe)
        responses = behavior_of(handler)(request, context)
        if not shape & SERVER_STREAM:
            response = messages.write(responses, flags)
            if pipe is None or not self._shape & SERVER_STREAM:
                return response
            pipe.send(response)
            return b""
        assert pipe is not None
        try:
            for response in responses or ():
                pipe.send(messages.write(response, flags))
        finally:
            if hasattr(responses, "close"):
                responses.close()
        return b""


def _unread(payload: Any, _: int) -> Any:
    return payload


class HandlerPipe(LoopPipe):
    """The stream of a call that came in, which is also the iterator of its requests."""

    reads = False

    def __aiter__(self) -> HandlerPipe:
        return self

    async def __anext__(self) -> Any:
        return await self.next()


class Requests(Iterator[Any]):
    """The requests of a call that came in, as a handler on a thread reads them."""

    def __init__(self, pipe: ThreadPipe) -> None:
        self._pipe = pipe

    def __next__(self) -> Any:
        try:
            return self._pipe.next()
        except Cancelled:
            raise grpc.RpcError() from None


class Told:
    """What hears that the caller no longer waits, in the place of a task."""

    def __init__(self, context: ThreadContext) -> None:
        self._context = context

    def cancel(self) -> None:
        self._context._end()


def begin(pipe: Any, call: _micro.Context, shape: int) -> None:
    """Lets the messages of a stream come."""
    pipe.id = call._id
    call._stream = pipe
    if shape & CLIENT_STREAM:
        pipe.reads = True
        pipe.start(pipe.id)


def shape_of(handler: Any) -> int:
    """Which streams a handler has."""
    if handler.request_streaming:
        return BIDI_STREAM if handler.response_streaming else CLIENT_STREAM
    return SERVER_STREAM if handler.response_streaming else UNARY


def behavior_of(handler: Any) -> Any:
    """The function of a handler."""
    if handler.request_streaming:
        return handler.stream_stream if handler.response_streaming else handler.stream_unary
    return handler.unary_stream if handler.response_streaming else handler.unary_unary


def is_async(behavior: Any) -> bool:
    """True for what runs on an event loop."""
    while isinstance(behavior, functools.partial):
        behavior = behavior.func
    if not inspect.isroutine(behavior) and not isinstance(behavior, type):
        behavior = getattr(type(behavior), "__call__", behavior)  # noqa: B004
    return inspect.iscoroutinefunction(behavior) or inspect.isasyncgenfunction(behavior)
