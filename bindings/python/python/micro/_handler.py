"""Handlers: what their signatures say, and the functions that serve them."""

from __future__ import annotations

import base64
import contextvars
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

# Loaded before anything can go wrong: a child that is forked while a module is loaded could wait for that for ever.
from . import _codec
from . import _told as _told
from ._context import current
from ._errors import Internal, InvalidArgument
from ._middleware import Layer, on_loop, on_thread
from ._pipe import LoopPipe, Pipe, ThreadPipe
from ._plain import is_protobuf
from ._signature import Signature, caller_names
from ._streams import Requests
from ._threads import IncomingRequests, Threads

if TYPE_CHECKING:
    from . import _micro
    from ._runtime import Hub

UNARY, CLIENT_STREAM, SERVER_STREAM, BIDI_STREAM = 0, 1, 2, 3
EAGER, STREAMING, DIRECT = 0, 1, 2


class Handler:
    """A function of the user's, and the endpoint it serves."""

    of_messages = False
    """Middleware around messages stands around it, and not that around calls."""

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
        if not isinstance(name, str):
            raise TypeError(f'the name of an endpoint is {type(name).__name__}: give text such as "Greeter.Hello"')
        self.name, self.inline, self.settings, self._names = name, inline, settings, names
        self.layers: tuple[Layer, ...] = ()
        """Middleware around it, the outermost first; set when the service starts."""
        self.function = function.__func__ if isinstance(function, staticmethod) else function
        said = Signature(name, function, names, is_told=request is not None and not isinstance(request, str))
        self.is_async, self.is_certain, self.yields = said.is_async, said.is_certain, said.yields
        self.takes_context, self.takes_request = said.takes_context, said.takes_request
        self.shape = self._shape(shape, said.streamed)
        # Names of messages say what callers may know; what the handler takes is said by its annotations.
        self.request = said.request if request is None or isinstance(request, str) else request
        self.response = said.response if response is None or isinstance(response, str) else response
        self._told = request or self.request, response or self.response
        try:
            self._decoder()
        except NameError:
            # Types may be written below their first use: they are looked for again when the service starts.
            pass

    def _decoder(self) -> _codec.Decode:
        """Reads requests. Raises ``TypeError`` for annotations that cannot be promised."""
        what = f"what {self.name} {'yields' if self.yields else 'returns'}"
        try:
            _codec.decoder(self.response, what, self._names)
            what = f"the request of {self.name}"
            return _codec.decoder(self.request, what, self._names, InvalidArgument)
        except TypeError as error:
            raise TypeError(f"{what} cannot be promised: {error}") from None

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
        return {**_schemas(*self._told, self._names), **self.settings}

    def served(self, hub: Hub, runtime: _micro.Runtime, threads: Threads) -> tuple[str, Any, int]:
        """What the native part calls for each call, and how."""
        try:
            decode = self._decoder()
        except NameError as error:
            raise TypeError(f"the types of the handler of {self.name} cannot be read: {error}") from None
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
        function, what = self.function, f"what {self.name} returned"
        if self.takes_context and self.is_certain and not self.layers:

            async def serve(payload: Any, context: _micro.Context) -> Any:
                flags = context._flags
                return _codec.encode(await function(decode(payload, flags), context), flags, what, reply=True)

            return serve
        is_certain = self.is_certain and not self.layers
        call = on_loop(self.layers, self._call)

        async def serve_any(payload: Any, context: _micro.Context) -> Any:
            flags = context._flags
            reply = call(decode(payload, flags), context)
            if is_certain or _is_later(reply):
                reply = await reply
            return _codec.encode(reply, flags, what, reply=True)

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
        call = on_loop(self.layers, self._call)

        async def serve(payload: Any, context: _micro.Context) -> Any:
            pipe = LoopPipe(runtime, decode, hub.loop)
            self._begin(context, pipe)
            flags = context._flags
            replies = call(self._request(decode, payload, context, pipe), context)
            if _is_later(replies):
                replies = await replies
            if not self.yields:
                return _codec.encode(replies, flags, what, reply=True)
            if not hasattr(replies, "__aiter__"):
                raise Internal(f"{self.name} streams, and gave no asynchronous iterator: make it `async def`", id="micro")
            try:
                async for reply in replies:
                    await pipe.send(_codec.encode(reply, flags, what, reply=True))
            finally:
                if hasattr(replies, "aclose"):
                    await replies.aclose()
            return b""

        return serve

    def _threaded(self, decode: _codec.Decode, hub: Hub, runtime: _micro.Runtime, threads: Threads) -> Any:
        what = f"what {self.name} {'yielded' if self.yields else 'returned'}"
        queue, name, base = hub.queue, self.name, contextvars.copy_context()
        call = self.function if self.takes_context else self._call
        call = on_thread(self.layers, call, hub.loop)

        def work(payload: Any, context: _micro.Context, pipe: ThreadPipe | None) -> Any:
            current.set(context)
            flags = context._flags
            if pipe is None:
                reply = call(decode(payload, flags), context)
                return reply if _is_later(reply) else _codec.encode(reply, flags, what, reply=True)
            replies = call(self._request(decode, payload, context, pipe), context)
            if not self.yields:
                return replies if _is_later(replies) else _codec.encode(replies, flags, what, reply=True)
            try:
                for reply in replies:
                    pipe.send(_codec.encode(reply, flags, what, reply=True))
            finally:
                # A reference to the generator, or to an exception of its, would keep open what it holds.
                if hasattr(replies, "close"):
                    replies.close()
            return b""

        def later(reply: Any, context: _micro.Context, variables: contextvars.Context) -> None:
            # A function that only passes on what another gives: that is the loop's to run.
            async def finish() -> None:
                try:
                    message = _codec.encode(await reply, context._flags, what, reply=True)
                except BaseException as error:
                    queue.answer(context, name, None, error)
                else:
                    queue.answer(context, name, message, None)

            context._task = hub.loop.create_task(finish(), context=variables)

        def job(payload: Any, context: _micro.Context, pipe: ThreadPipe | None) -> None:
            variables = base.copy()
            try:
                message = variables.run(work, payload, context, pipe)
                if _is_later(message):
                    hub.loop.call_soon_threadsafe(later, message, context, variables)
                    return
            except BaseException as error:
                queue.answer(context, name, None, error)
            else:
                queue.answer(context, name, message, None)

        def refuse(context: _micro.Context, error: BaseException) -> None:
            queue.answer(context, name, None, error)

        lane = threads.lane(name, job, refuse, streams=self.shape != UNARY)

        if self.shape == UNARY:
            return lane.put

        def serve(payload: Any, context: _micro.Context) -> None:
            pipe = ThreadPipe(runtime, decode)
            self._begin(context, pipe)
            lane.put(payload, context, pipe)

        return serve


_NEVER_LATER = frozenset((bytes, str, dict, list, tuple, int, float, bool, type(None)))


def _is_later(reply: Any) -> bool:
    """True for what has to be awaited."""
    kind = type(reply)
    # A type that lacks an attribute is slow to say so.
    return kind not in _NEVER_LATER and hasattr(kind, "__await__")


def _schemas(request: Any, response: Any, names: dict[str, Any] | None = None) -> dict[str, Any]:
    """What callers may know of the messages."""
    out: dict[str, Any] = {}
    files: dict[str, bytes] = {}
    kinds = (("request", request), ("response", response))
    proto = [kind for _, kind in kinds if is_protobuf(kind)]
    for name, kind in kinds:
        if isinstance(kind, str):
            out[name] = kind
        elif is_protobuf(kind):
            _add_file(kind.DESCRIPTOR.file, files)
            out[name] = kind.DESCRIPTOR.full_name
        elif not proto and kind not in (None, Any, type(None), object):
            from ._fields import tree

            out[name] = tree(kind, names)
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


__all__ = ["BIDI_STREAM", "CLIENT_STREAM", "SERVER_STREAM", "UNARY", "Handler", "caller_names"]
