"""Handlers: what their signatures say, and the functions that serve them."""

from __future__ import annotations

import base64
import collections.abc as abc
import contextvars
import inspect
import sys
import typing
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import _codec
from ._context import current
from ._errors import Internal
from ._pipe import LoopPipe, Pipe, ThreadPipe
from ._streams import Requests
from ._threads import IncomingRequests, Threads

if TYPE_CHECKING:
    from . import _micro
    from ._runtime import Hub

UNARY, CLIENT_STREAM, SERVER_STREAM, BIDI_STREAM = 0, 1, 2, 3
EAGER, STREAMING, DIRECT = 0, 1, 2

_STREAMS = (
    abc.AsyncIterator,
    abc.AsyncIterable,
    abc.AsyncGenerator,
    abc.Iterator,
    abc.Iterable,
    abc.Generator,
    Requests,
    IncomingRequests,
)


class Handler:
    """A function of the user's, and the endpoint it serves."""

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        shape: int | None,
        *,
        settings: dict[str, Any],
        request: Any = None,
        response: Any = None,
        inline: bool = False,
        names: dict[str, Any] | None = None,
    ) -> None:
        self.name, self.function, self.inline = name, function, inline
        self.settings = settings
        self.is_async = _is(function, inspect.iscoroutinefunction) or _is(function, inspect.isasyncgenfunction)
        self.yields = _is(function, inspect.isasyncgenfunction) or _is(function, inspect.isgeneratorfunction)
        parameters = _parameters(name, function)
        hints = _hints(name, function, names)
        self.takes_context = len(parameters) == 2
        first = hints.get(parameters[0].name) if parameters else None
        streamed = typing.get_origin(first) in _STREAMS or first in _STREAMS
        self.shape = self._shape(shape, streamed)
        item = (typing.get_args(first) or (None,))[0] if streamed else first
        returned = hints.get("return")
        many = typing.get_origin(returned) in _STREAMS
        sent = (typing.get_args(returned) or (None,))[0] if many else returned
        # Names of messages say what callers may know; what the handler takes is said by its annotations.
        self.request = item if request is None or isinstance(request, str) else request
        self.response = sent if response is None or isinstance(response, str) else response
        named = (request or self.request, response or self.response)
        self.schemas = _schemas(*named)
        self.takes_request = bool(parameters)

    def _shape(self, shape: int | None, streamed: bool) -> int:
        found = (CLIENT_STREAM if streamed else UNARY) | (SERVER_STREAM if self.yields else UNARY)
        if shape is None:
            return found
        if shape & SERVER_STREAM and not self.yields:
            raise TypeError(f"{self.name} sends a stream of replies: its handler should `yield` them")
        if self.yields and not shape & SERVER_STREAM:
            raise TypeError(f"{self.name} has one reply, but its handler yields: `return` it")
        return shape

    def options(self) -> dict[str, Any]:
        """The endpoint's settings document."""
        return {**self.schemas, **self.settings}

    def served(self, hub: Hub, runtime: _micro.Runtime, threads: Threads) -> tuple[str, Any, int]:
        """What the native part calls for each call, and how."""
        decode = _codec.decoder(self.request, f"the request of {self.name}")
        if self.is_async or self.inline:
            if self.shape == UNARY:
                return self.name, self._unary(decode), EAGER
            return self.name, self._streaming(decode, hub, runtime), STREAMING
        return self.name, self._threaded(decode, hub, runtime, threads), DIRECT

    def _call(self, request: Any, context: _micro.Context) -> Any:
        if self.takes_context:
            return self.function(request, context)
        return self.function(request) if self.takes_request else self.function()

    def _unary(self, decode: _codec.Decode) -> Any:
        function, what, is_async = self.function, f"what {self.name} returned", self.is_async
        if self.takes_context and is_async:

            async def serve(payload: Any, context: _micro.Context) -> Any:
                flags = context._flags
                return _codec.encode(await function(decode(payload, flags), context), flags, what, reply=True)

            return serve

        async def serve_any(payload: Any, context: _micro.Context) -> Any:
            flags = context._flags
            reply = self._call(decode(payload, flags), context)
            return _codec.encode(await reply if is_async else reply, flags, what, reply=True)

        return serve_any

    def _request(self, decode: _codec.Decode, payload: Any, context: _micro.Context, pipe: Pipe) -> Any:
        if not self.shape & CLIENT_STREAM:
            return decode(payload, context._flags)
        if isinstance(pipe, LoopPipe):
            return Requests(pipe)
        assert isinstance(pipe, ThreadPipe)
        return IncomingRequests(pipe)

    def _begin(self, context: _micro.Context, pipe: Pipe) -> None:
        pipe.id = context._id
        context._stream = pipe
        if self.shape & CLIENT_STREAM:
            pipe.start(pipe.id)

    def _streaming(self, decode: _codec.Decode, hub: Hub, runtime: _micro.Runtime) -> Any:
        what = f"what {self.name} {'yielded' if self.yields else 'returned'}"

        async def serve(payload: Any, context: _micro.Context) -> Any:
            pipe = LoopPipe(runtime, decode, hub.loop)
            self._begin(context, pipe)
            flags = context._flags
            replies = self._call(self._request(decode, payload, context, pipe), context)
            if not self.yields:
                reply = await replies if self.is_async else replies
                return _codec.encode(reply, flags, what, reply=True)
            if not self.is_async:
                raise Internal(f"{self.name} is served inline, but streams: make it `async def`")
            try:
                async for reply in replies:
                    await pipe.send(_codec.encode(reply, flags, what, reply=True))
            finally:
                await replies.aclose()
            return b""

        return serve

    def _threaded(self, decode: _codec.Decode, hub: Hub, runtime: _micro.Runtime, threads: Threads) -> Any:
        what = f"what {self.name} {'yielded' if self.yields else 'returned'}"
        queue, name, base = hub.queue, self.name, contextvars.copy_context()

        def work(payload: Any, context: _micro.Context, pipe: ThreadPipe | None) -> Any:
            current.set(context)
            flags = context._flags
            if pipe is None:
                reply = self._call(decode(payload, flags), context)
                return _codec.encode(reply, flags, what, reply=True)
            replies = self._call(self._request(decode, payload, context, pipe), context)
            if not self.yields:
                return _codec.encode(replies, flags, what, reply=True)
            for reply in replies:
                pipe.send(_codec.encode(reply, flags, what, reply=True))
            return b""

        def job(payload: Any, context: _micro.Context, pipe: ThreadPipe | None) -> None:
            try:
                message = base.copy().run(work, payload, context, pipe)
            except BaseException as error:
                queue.answer(context, name, None, error)
            else:
                queue.answer(context, name, message, None)

        def serve(payload: Any, context: _micro.Context) -> None:
            pipe = None
            if self.shape != UNARY:
                pipe = ThreadPipe(runtime, decode)
                self._begin(context, pipe)
            threads.put(job, payload, context, pipe)

        return serve


def _is(function: Any, test: Callable[[Any], bool]) -> bool:
    return test(function) or test(getattr(function, "__call__", None))  # noqa: B004


def _parameters(name: str, function: Callable[..., Any]) -> list[inspect.Parameter]:
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    every = inspect.signature(function).parameters.values()
    found = [one for one in every if one.kind in positional]
    needed = [one for one in found if one.default is inspect.Parameter.empty]
    keyword = any(one.kind is inspect.Parameter.KEYWORD_ONLY and one.default is inspect.Parameter.empty for one in every)
    if len(needed) > 2 or keyword:
        raise TypeError(f"the handler of {name} should take a request, or a request and a context")
    return found[:2] if len(needed) <= 1 and len(found) >= 2 and _is_context(found[1]) else found[: max(1, len(needed))]


def _is_context(parameter: inspect.Parameter) -> bool:
    return "Context" in str(parameter.annotation) or parameter.name in ("context", "ctx", "cx")


def _hints(name: str, function: Any, names: dict[str, Any] | None) -> dict[str, Any]:
    plain = function if inspect.isroutine(function) else getattr(function, "__call__", function)  # noqa: B004
    try:
        return typing.get_type_hints(plain, localns=names)
    except NameError as error:
        raise TypeError(f"the types of the handler of {name} cannot be read: {error}") from None


def _schemas(request: Any, response: Any) -> dict[str, Any]:
    """What callers may know of the messages."""
    out: dict[str, Any] = {}
    files: dict[str, bytes] = {}
    kinds = (("request", request), ("response", response))
    proto = [kind for _, kind in kinds if _codec.is_protobuf(kind)]
    for name, kind in kinds:
        if isinstance(kind, str):
            out[name] = kind
        elif _codec.is_protobuf(kind):
            _add_file(kind.DESCRIPTOR.file, files)
            out[name] = kind.DESCRIPTOR.full_name
        elif not proto and isinstance(kind, type) and kind not in (type(None), object):
            out[name] = kind.__name__
    if files:
        # A FileDescriptorSet is its files as field 1, one after another.
        parts = b"".join(b"\x0a" + _varint(len(one)) + one for one in files.values())
        out["descriptors"] = base64.b64encode(parts).decode()
    return out


def _add_file(file: Any, files: dict[str, bytes]) -> None:
    if file.name not in files:
        for needed in file.dependencies:
            _add_file(needed, files)
        files[file.name] = file.serialized_pb


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def caller_names(depth: int = 2) -> dict[str, Any] | None:
    """Local names of whoever decorates a handler inside of a function, for annotations that are text."""
    frame = sys._getframe(depth)
    return None if frame.f_locals is frame.f_globals else dict(frame.f_locals)
