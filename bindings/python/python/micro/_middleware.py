"""Middleware: functions around the handlers of a service, and around the calls of a client."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from typing import Any, Literal

from . import _micro
from ._context import current

Layer = Callable[..., Any]
Way = Callable[[Any, "_micro.Context"], Any]


class Call:
    """A call that is about to be made, as the middleware of a client sees it, and may change it."""

    __slots__ = ("endpoint", "options", "request", "service", "shape")

    def __init__(self, service: str, endpoint: str, request: Any, options: dict[str, Any], shape: Shape) -> None:
        self.service, self.endpoint = service, endpoint
        self.request = request
        """The request; of a stream of requests the iterable that was given, or ``None`` where they are sent one by one."""
        self.options = options
        """What the call was given: ``timeout``, ``metadata`` and the rest, by their names."""
        self.shape = shape
        """``unary``, ``client_stream``, ``server_stream`` or ``bidi_stream``."""

    @property
    def context(self) -> _micro.Context | None:
        """The call that is being served while this one is made, if there is one."""
        return current.get(None)

    def __repr__(self) -> str:
        return f"<micro.Call {self.shape} {self.service} {self.endpoint}>"


Shape = Literal["unary", "client_stream", "server_stream", "bidi_stream"]


def is_later(reply: Any) -> bool:
    """True for what has to be awaited."""
    return hasattr(type(reply), "__await__")


def is_async(layer: Layer) -> bool:
    """True for coroutine functions, and for objects that are called as such."""
    return inspect.iscoroutinefunction(layer) or inspect.iscoroutinefunction(getattr(layer, "__call__", None))  # noqa: B004


def checked(layer: Layer, what: str) -> Layer:
    """The middleware, if it can be called."""
    if not callable(layer):
        raise TypeError(f"{what} is {type(layer).__name__}: give a function")
    return layer


def chosen(layers: Iterable[tuple[Layer, frozenset[str]]], endpoint: str) -> tuple[Layer, ...]:
    """The middleware for an endpoint, the outermost first."""
    return tuple(layer for layer, endpoints in layers if not endpoints or endpoint in endpoints)


def on_loop(layers: tuple[Layer, ...], call: Way) -> Way:
    """The way to a handler that runs on the event loop."""
    for layer in reversed(layers):
        call = _loop_layer(layer, call)
    return call


def _loop_layer(layer: Layer, inner: Way) -> Way:
    def way(request: Any, context: _micro.Context) -> Any:
        async def call_next(request: Any = request) -> Any:
            reply = inner(request, context)
            return await reply if is_later(reply) else reply

        return layer(request, context, call_next)

    return way


def on_thread(layers: tuple[Layer, ...], call: Way, loop: asyncio.AbstractEventLoop) -> Way:
    """The way to a handler that runs on a thread. Coroutine functions run on the loop, while the thread waits."""
    for layer in reversed(layers):
        call = _driven_layer(layer, call, loop) if is_async(layer) else _thread_layer(layer, call)
    return call


def _thread_layer(layer: Layer, inner: Way) -> Way:
    def way(request: Any, context: _micro.Context) -> Any:
        return layer(request, context, lambda request=request: inner(request, context))

    return way


def _driven_layer(layer: Layer, inner: Way, loop: asyncio.AbstractEventLoop) -> Way:
    def way(request: Any, context: _micro.Context) -> Any:
        asked: SimpleQueue[Callable[[], tuple[bool, Any]]] = SimpleQueue()
        variables = contextvars.copy_context()

        async def call_next(request: Any = request) -> Any:
            answer: asyncio.Future[Any] = loop.create_future()

            def perform() -> tuple[bool, Any]:
                try:
                    reply, error = inner(request, context), None
                except BaseException as raised:
                    reply, error = None, raised
                loop.call_soon_threadsafe(_settle, answer, reply, error)
                return False, None

            asked.put(perform)
            reply = await answer
            return await reply if is_later(reply) else reply

        async def run() -> None:
            try:
                reply = await layer(request, context, call_next)
            except BaseException as raised:
                error = raised
                asked.put(lambda: _raise(error))
            else:
                asked.put(lambda: (True, reply))

        def begin() -> None:
            context._task = loop.create_task(run(), context=variables)

        loop.call_soon_threadsafe(begin)
        while True:
            is_over, reply = asked.get()()
            if is_over:
                return reply

    return way


def _raise(error: BaseException) -> tuple[bool, Any]:
    raise error


def _settle(answer: asyncio.Future[Any], reply: Any, error: BaseException | None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(reply)
    else:
        # A future cannot hold it.
        answer.set_exception(RuntimeError("a handler raised StopIteration") if isinstance(error, StopIteration) else error)


CallWay = Callable[[Call], Any]


def around(layers: Iterable[Layer], innermost: CallWay) -> CallWay:
    """The way of a call, for clients that are awaited."""
    for layer in reversed(tuple(layers)):
        innermost = _call_layer(layer, innermost)
    return innermost


def _call_layer(layer: Layer, inner: CallWay) -> CallWay:
    async def way(call: Call) -> Any:
        reply = layer(call, lambda call=call: inner(call))
        return await reply if is_later(reply) else reply

    return way


def around_on_thread(layers: Iterable[Layer], innermost: CallWay) -> CallWay:
    """The same for clients that block."""
    for layer in reversed(tuple(layers)):
        innermost = _blocking_layer(layer, innermost)
    return innermost


def _blocking_layer(layer: Layer, inner: CallWay) -> CallWay:
    return lambda call: layer(call, lambda call=call: inner(call))


__all__ = [
    "Call",
    "Layer",
    "Shape",
    "around",
    "around_on_thread",
    "checked",
    "chosen",
    "is_async",
    "is_later",
    "on_loop",
    "on_thread",
]
