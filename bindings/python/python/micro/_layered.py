"""Streams whose opening goes through the middleware of a client."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from ._errors import Closed
from ._metadata import Metadata
from ._streams import ClientStream, Stream


class Opening:
    """A stream on its way through middleware: what was opened in the end, and what came of it."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[Any] = self.loop.create_future()
        self.task: asyncio.Future[Any] | None = None
        self.is_sent = False

    def begin(self, way: Awaitable[Any]) -> None:
        self.task = asyncio.ensure_future(way)
        self.task.add_done_callback(self._over)

    def _over(self, task: asyncio.Future[Any]) -> None:
        if not self.opened.done():
            self.opened.set_result(None)
        if not task.cancelled():
            # Its reader hears of it. Where there is none, it is not worth a line in the log.
            task.exception()

    def open(self, stream: Any) -> Any:
        """The call is made."""
        if not self.opened.done():
            self.opened.set_result(stream)
            if self.is_sent:
                stream.done_sending()
        return stream

    async def result(self) -> Any:
        assert self.task is not None
        try:
            return await asyncio.shield(self.task)
        except asyncio.CancelledError:
            self.cancel()
            raise

    async def stream(self) -> Any:
        """The stream that was opened. Raises what kept it from being opened."""
        stream = await asyncio.shield(self.opened)
        if stream is None:
            await self.result()
            raise Closed("a middleware has answered this call: it takes no messages")
        return stream

    def now(self) -> Any:
        """The stream, if it is open."""
        return self.opened.result() if self.opened.done() and not self.opened.cancelled() else None

    def cancel(self) -> None:
        if (stream := self.now()) is not None:
            stream.cancel()
        if self.task is not None and not self.task.done():
            with contextlib.suppress(RuntimeError):
                self.loop.call_soon_threadsafe(self.task.cancel)


class _Layered:
    _opening: Opening

    async def send(self, message: Any) -> None:
        await (await self._opening.stream()).send(message)

    def done_sending(self) -> None:
        self._opening.is_sent = True
        if (stream := self._opening.now()) is not None:
            stream.done_sending()

    async def headers(self) -> Metadata:
        headers: Metadata = await (await self._opening.stream()).headers()
        return headers

    @property
    def trailers(self) -> Metadata:
        stream = self._opening.now()
        return Metadata() if stream is None else stream.trailers

    def cancel(self) -> None:
        self._opening.cancel()

    async def aclose(self) -> None:
        self.cancel()

    async def __aexit__(self, *_: object) -> None:
        self.cancel()

    def __del__(self) -> None:
        self._opening.cancel()


class LayeredStream(_Layered, Stream[Any, Any]):
    """A stream of replies that went through middleware."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._replies: AsyncIterator[Any] | None = None

    async def __anext__(self) -> Any:
        if self._replies is None:
            replies = await self._opening.result()
            if not hasattr(replies, "__aiter__"):
                raise TypeError(f"a middleware returned {type(replies).__name__} for a stream: return an asynchronous iterator")
            self._replies = aiter(replies)
        return await anext(self._replies)


class LayeredClientStream(_Layered, ClientStream[Any, Any]):
    """A stream of requests that goes through middleware."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening

    async def _reply(self) -> Any:
        return await self._opening.result()


def layered(kind: Any, way: Callable[[Opening], Awaitable[Any]]) -> Any:
    """A stream that is opened by ``way``."""
    opening = Opening()
    opening.begin(way(opening))
    return kind(opening)


__all__ = ["LayeredClientStream", "LayeredStream", "Opening", "layered"]
