"""Streams of messages: read by ``async for``, written by ``send``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from typing import Any, Generic, TypeVar

from ._errors import Closed, Stale
from ._metadata import Metadata
from ._pipe import LoopPipe

T = TypeVar("T")
In = TypeVar("In", covariant=True)
Out = TypeVar("Out", contravariant=True)


class Requests(AsyncIterator[In]):
    """The requests of a call that came in, as its handler reads them."""

    def __init__(self, pipe: LoopPipe) -> None:
        self._pipe = pipe

    async def __anext__(self) -> In:
        message: In = await self._pipe.next()
        return message


class Stream(AsyncIterator[In], Generic[Out, In]):
    """A stream that this side opened. Replies are read with ``async for``.

    Leaving ``async with`` before the end cancels it, and so does letting go of it.
    """

    def __init__(self, pipe: LoopPipe, encode: Callable[[Any], Any]) -> None:
        self._pipe = pipe
        self._encode = encode

    async def __anext__(self) -> In:
        message: In = await self._pipe.next()
        return message

    async def send(self, message: Out) -> None:
        """Sends a request. Waits while the far side is slow.

        Raises what the stream ended with, if it has; :class:`~micro.errors.Closed` after :meth:`done_sending`.
        """
        payload = self._encode(message)
        try:
            await self._pipe.send(payload)
        except (Stale, Closed) as error:
            raise self._pipe.error or error from None

    def done_sending(self) -> None:
        """This side sends no more; the far side may still answer. Harmless when repeated."""
        self._pipe.runtime.close(self._pipe.id)

    async def headers(self) -> Metadata:
        """Headers of the answer, once they have come."""
        while self._pipe.headers is None:
            await self._pipe.wait()
        return self._pipe.headers

    @property
    def trailers(self) -> Metadata:
        """Trailers of the answer; empty before the end."""
        return self._pipe.trailers

    def cancel(self) -> None:
        """Ends it at once: reading goes on to raise ``Cancelled``. Harmless when late."""
        self._pipe.cancel()

    async def aclose(self) -> None:
        """Cancels it, unless it is over."""
        self._pipe.cancel()

    async def __aenter__(self) -> Stream[Out, In]:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._pipe.cancel()

    def __del__(self) -> None:
        self._pipe.cancel()


class Outgoing(Generic[T]):
    """Messages of an iterator of either kind, of which the first can be looked at."""

    def __init__(self, messages: Iterable[T] | AsyncIterable[T]) -> None:
        if isinstance(messages, AsyncIterable):
            self._next = messages.__aiter__().__anext__
        elif isinstance(messages, Iterable):
            self._next = _stepping(messages)
        else:
            raise TypeError(f"requests are {type(messages).__name__}: give an iterable of either kind")
        self._seen: list[T] = []

    async def first(self) -> T | None:
        """The first message, which is still the next; ``None`` when there is none."""
        try:
            self._seen.append(await self._next())
        except StopAsyncIteration:
            return None
        return self._seen[0]

    async def feed(self, pipe: LoopPipe, encode: Callable[[Any], Any]) -> None:
        """Sends all of them. What goes wrong with them is what the stream ends with."""
        try:
            while True:
                try:
                    message = self._seen.pop() if self._seen else await self._next()
                except StopAsyncIteration:
                    break
                await pipe.send(encode(message))
            pipe.runtime.close(pipe.id)
        except (Stale, Closed):
            # The far side has ended it, and whoever reads hears how.
            return
        except Exception as error:
            pipe.failed = error
            pipe.cancel()


def _stepping(messages: Iterable[T]) -> Callable[[], Any]:
    step = iter(messages).__next__

    async def next_one() -> T:
        try:
            return step()
        except StopIteration:
            raise StopAsyncIteration from None

    return next_one


async def over(feeding: asyncio.Future[None]) -> None:
    """Waits for the end of what sends, which is not needed any more."""
    if not feeding.done():
        feeding.cancel()
        await asyncio.wait([feeding])
