"""Streams of messages: read by ``async for``, written by ``send``."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Generator, Iterable
from typing import Any, Generic, TypeVar

from ._errors import Closed, Internal, Stale
from ._metadata import Metadata
from ._pipe import LoopPipe

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

    Leaving ``async with`` before the end cancels it, and so do :meth:`aclose`, letting go of it, and cancelling a task that
    reads or writes it.
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
        """Headers of the answer, once they have come: before its first message, or with it. Another task may read meanwhile."""
        return await self._pipe.opening()

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


class ClientStream(Generic[Out, In]):
    """A stream of requests that this side opened. Awaiting it gives the one reply.

    Leaving ``async with`` before the end cancels it, and so does letting go of it.
    """

    def __init__(self, pipe: LoopPipe, encode: Callable[[Any], Any]) -> None:
        self._pipe = pipe
        self._encode = encode

    def __await__(self) -> Generator[Any, None, In]:
        return self._reply().__await__()

    async def _reply(self) -> In:
        try:
            reply: In = await self._pipe.next()
            await self._pipe.finish()
        except StopAsyncIteration:
            raise Internal("the stream ended without a reply", id="micro") from None
        except (asyncio.CancelledError, GeneratorExit):
            self._pipe.cancel()
            raise
        return reply

    send = Stream.send
    done_sending = Stream.done_sending
    headers = Stream.headers
    trailers = Stream.trailers
    cancel = Stream.cancel

    async def __aenter__(self) -> ClientStream[Out, In]:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._pipe.cancel()

    def __del__(self) -> None:
        self._pipe.cancel()


def peek(requests: Any) -> tuple[Any, Any]:
    """The first of requests that are there already, and all of them; nothing of those that come one by one."""
    if requests is None or isinstance(requests, AsyncIterable):
        return None, requests
    if not isinstance(requests, Iterable):
        raise TypeError(f"requests are {type(requests).__name__}: give an iterable of either kind")
    rest = iter(requests)
    for first in rest:
        return first, itertools.chain((first,), rest)
    return None, ()


async def feed(pipe: LoopPipe, encode: Callable[[Any], Any], requests: Any) -> None:
    """Sends all requests. What goes wrong with them is what the stream ends with."""
    try:
        if isinstance(requests, AsyncIterable):
            async for request in requests:
                await pipe.send(encode(request))
        else:
            for request in requests:
                await pipe.send(encode(request))
        pipe.runtime.close(pipe.id)
    except (Stale, Closed):
        # The far side has ended it, and the reader hears how.
        return
    except Exception as error:
        pipe.failed = error
        pipe.cancel()
    finally:
        # A generator that is not read to its end is told so now, and not when it is collected.
        if isinstance(requests, AsyncGenerator):
            await requests.aclose()
