"""The inside of a stream: what the queue tells, and what its reader and writer wait for.

A queue holds on to its pipes until they end, and nothing else does but the stream in the hands of the user. So a stream that
is let go of can be cancelled.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from . import _micro
from ._errors import Cancelled
from ._metadata import Metadata, of_blocks

WINDOW = 64
"""Messages a stream may be ahead of its reader."""

WINDOW_BYTES = 1024 * 1024
"""Bytes of messages a stream may be ahead of its reader, unless one alone is larger."""

TOLD = 64 * 1024
"""Bytes that are read before the stream is told; the bridge counts on it."""

Decode = Callable[[Any, int], Any]


class Pipe:
    """Messages on their way in, and room for messages on their way out."""

    def __init__(self, runtime: _micro.Runtime, decode: Decode) -> None:
        self.runtime = runtime
        self.decode = decode
        self.id = 0
        self.messages: deque[tuple[Any, int]] = deque()
        self.headers: Metadata | None = None
        self.trailers = Metadata()
        self.ended = False
        self.error: BaseException | None = None
        self.failed: BaseException | None = None
        """Why this side gave up, which says more than that the stream was cancelled."""
        self.feeding: asyncio.Future[None] | None = None
        self.on_end: Callable[[int], object] | None = None
        self.is_mine = False
        """Opened by this side, and not a call that came in."""
        self._owed = 0
        self._owed_bytes = 0

    def start(self, id: int) -> None:
        """Names the stream and lets messages come."""
        self.id = id
        self.runtime.bound(id, WINDOW_BYTES)
        self.runtime.grant(id, WINDOW)

    def notify(self) -> None:
        """Something changed that a reader or writer may wait for."""

    def writable(self) -> None:
        """There is room again."""

    # What the queue tells.

    def _opened(self, headers: bytes | None) -> None:
        self.headers = of_blocks(headers)[0]
        self.notify()

    def _message(self, payload: Any, flags: int) -> None:
        self.messages.append((payload, flags))
        self.notify()

    def _writable(self) -> None:
        self.writable()

    def _end(self, error: BaseException | None, meta: bytes) -> None:
        if self.ended:
            return
        headers, self.trailers = of_blocks(meta)
        if self.headers is None:
            self.headers = headers
        self.ended, self.error = True, self.failed or error
        if self.feeding is not None:
            self.feeding.cancel()
        if self.on_end is not None:
            self.on_end(self.id)
        self.notify()
        self.writable()

    def _over(self) -> None:
        self._end(Cancelled("the caller no longer waits for this call", id="micro"), b"")

    # What both kinds of reader do.

    def take(self) -> Any:
        """The next message, which is there."""
        payload, flags = self.messages.popleft()
        self._owed += 1
        self._owed_bytes += len(payload)
        if (self._owed >= WINDOW // 2 or self._owed_bytes >= TOLD) and not self.ended:
            self.runtime.grant(self.id, self._owed)
            self._owed = self._owed_bytes = 0
        return self.decode(payload, flags)

    def check(self) -> bool:
        """True when there are no more messages. Raises what the stream ended with."""
        if self.ended and self.error is not None:
            raise self.error
        return self.ended

    def cancel(self) -> None:
        """Ends it at once. Harmless when late."""
        if not self.ended and self.id:
            self.runtime.cancel(self.id)


class LoopPipe(Pipe):
    """A pipe whose ends are in tasks of one event loop."""

    def __init__(self, runtime: _micro.Runtime, decode: Decode, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(runtime, decode)
        self._loop = loop
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._heads: asyncio.Future[None] | None = None
        self._reader: asyncio.Task[Any] | None = None

    def notify(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def writable(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    async def opening(self) -> Metadata:
        """Headers of the answer, once they have come. A task may wait for them while another one reads."""
        while self.headers is None:
            if self._heads is None:
                self._heads = self._loop.create_future()
            try:
                await asyncio.shield(self._heads)
            except BaseException:
                self.left()
                raise
        return self.headers

    def _opened(self, headers: bytes | None) -> None:
        super()._opened(headers)
        self._heads_there()

    def _heads_there(self) -> None:
        heads, self._heads = self._heads, None
        if heads is not None and not heads.done():
            heads.set_result(None)

    async def wait(self) -> None:
        """Waits until something changes."""
        if self._waiter is not None:
            raise RuntimeError("another task reads this stream: one at a time")
        waiter = self._waiter = self._loop.create_future()
        if self.is_mine:
            self._follow()
        try:
            await waiter
        except BaseException:
            self.left()
            raise
        finally:
            if self._waiter is waiter:
                self._waiter = None

    def left(self) -> None:
        """The task that waited does so no more, and will not be back: what this side opened is over. Not left to the collector,
        because the program may keep the exception, and with it the stream."""
        if self.is_mine:
            self.cancel()

    def _follow(self) -> None:
        """A task that reads may be cancelled anywhere, also between two messages."""
        task = asyncio.current_task()
        if task is not None and task is not self._reader:
            self._unfollow()
            self._reader = task
            task.add_done_callback(self._read)

    def _unfollow(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.remove_done_callback(self._read)

    def _read(self, reader: asyncio.Task[Any]) -> None:
        if reader.cancelled() and reader is self._reader:
            self.left()

    def _end(self, error: BaseException | None, meta: bytes) -> None:
        super()._end(error, meta)
        self._unfollow()
        self._heads_there()

    async def next(self) -> Any:
        """The next message. Raises ``StopAsyncIteration`` after the last."""
        while not self.messages:
            if self.check():
                raise StopAsyncIteration
            await self.wait()
        return self.take()

    async def finish(self) -> None:
        """Waits for the end, whatever messages come before it. Raises what it ended with."""
        while not self.check():
            await self.wait()

    async def send(self, payload: Any) -> None:
        """Sends a message once there is room."""
        while not self.runtime.send(self.id, payload):
            if self._room is None:
                self._room = self._loop.create_future()
            try:
                await asyncio.shield(self._room)
            except BaseException:
                self.left()
                raise


class ThreadPipe(Pipe):
    """A pipe whose ends are in threads, and which another thread, or a loop, tells what happens."""

    def __init__(self, runtime: _micro.Runtime, decode: Decode) -> None:
        super().__init__(runtime, decode)
        self._changed = threading.Condition()
        self._version = 0

    def notify(self) -> None:
        with self._changed:
            self._version += 1
            self._changed.notify_all()

    def writable(self) -> None:
        self.notify()

    def wait(self, seen: int) -> None:
        """Waits until something changes after the version that was ``seen``."""
        with self._changed:
            self._changed.wait_for(lambda: self._version != seen)

    def next(self) -> Any:
        """The next message. Raises ``StopIteration`` after the last."""
        while True:
            seen = self._version
            if self.messages:
                return self.take()
            if self.check():
                raise StopIteration
            self.wait(seen)

    def send(self, payload: Any) -> None:
        """Sends a message once there is room."""
        while True:
            seen = self._version
            if self.runtime.send(self.id, payload):
                return
            self.wait(seen)


class QueuePipe(ThreadPipe):
    """A pipe with a queue of its own, told by the thread that waits for it."""

    def __init__(self, runtime: _micro.Runtime, decode: Decode, queue: _micro.Queue) -> None:
        super().__init__(runtime, decode)
        self.queue = queue

    def notify(self) -> None:
        self._version += 1

    def wait(self, seen: int) -> None:
        # A second of Python's own, because signals are only seen in between.
        while self._version == seen:
            try:
                self.queue.wait(0.5)
            except BaseException:
                # Interrupted: no thread goes on reading.
                self.cancel()
                raise
            if not self.queue.is_open and not self.ended and self._version == seen:
                self.queue.drain()
                self._over()
