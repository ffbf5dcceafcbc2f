"""Threads for handlers that are plain functions, and the lines before them.

A call that waits for a thread is not begun, and is only let into the line if its turn comes while its caller still waits.
So what a service does under too much load is what it can do, and not answers that are never read.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from ._errors import DeadlineExceeded, ResourceExhausted
from ._logging import logger
from ._pipe import ThreadPipe

if TYPE_CHECKING:
    from . import _micro

In = TypeVar("In", covariant=True)

STREAMS = 64
"""Threads for handlers that stream, unless said otherwise."""
LINE = 1024
"""Fewest calls that may wait for a thread, where their callers give them the time; else 32 a thread."""
PATIENCE = 0.5
"""The part of the time a caller can spare that its call may wait in line. More would help no caller when all threads are busy
anyway, and a little trouble would make every call late."""
STUCK = 1.0
"""Seconds without any progress after which it is worth a warning."""
PUSHBACK = (0.025, 2.0)
"""Seconds a refused caller is asked to stay away, at least and at most."""


class IncomingRequests(Iterator[In]):
    """The requests of a call that came in, as a handler on a thread reads them."""

    def __init__(self, pipe: ThreadPipe) -> None:
        self._pipe = pipe

    def __next__(self) -> In:
        message: In = self._pipe.next()
        return message


class Threads:
    """The threads of a service: some for calls, and others for streams, which may last."""

    def __init__(self, most: int | None, streams: int | None) -> None:
        calls = most or min(32, (os.cpu_count() or 1) + 4)
        self._calls = Pool(calls, max(LINE, 32 * calls), "threads")
        most = streams or STREAMS
        self._streams = Pool(most, most, "stream_threads")

    def line(self, endpoint: str, job: Job, refuse: Refuse, *, streams: bool) -> Line:
        """The line before the threads for the calls of an endpoint."""
        return Line(self._streams if streams else self._calls, endpoint, job, refuse, streams)

    def close(self) -> None:
        """Ends the threads once they have done what waits."""
        self._calls.close()
        self._streams.close()


Job = Callable[[Any, "_micro.Context", "ThreadPipe | None"], None]
Refuse = Callable[["_micro.Context", BaseException], None]


class Line:
    """Calls of one endpoint on their way to a thread."""

    def __init__(self, pool: Pool, endpoint: str, job: Job, refuse: Refuse, streams: bool) -> None:
        self._pool, self._endpoint, self._job, self._refuse, self._streams = pool, endpoint, job, refuse, streams
        self._usual = 0.0
        """Seconds a call takes on average."""
        self._least = 0.0
        """Seconds the quickest of late take."""

    def put(self, payload: Any, context: _micro.Context, pipe: ThreadPipe | None) -> None:
        """Runs a call on a thread when its turn comes, or refuses it at once. Only on the loop's thread."""
        pool = self._pool
        waiting = pool.waiting()
        if waiting:
            remaining = None if self._streams else context.remaining
            wait = pool.wait(waiting)
            if waiting >= pool.longest or (remaining is not None and wait > (remaining - self._usual) * PATIENCE):
                self._refuse(context, self._full(waiting, wait))
                return
        pool.put(self, payload, context, pipe)

    def run(self, payload: Any, context: _micro.Context, pipe: ThreadPipe | None) -> float:
        """What a thread does for the call. Returns the seconds it took; 0 for one that was not begun."""
        if context._over:
            self._refuse(context, DeadlineExceeded(f"nobody waited for {self._endpoint} when its turn came", id="micro"))
            return 0.0
        remaining = context.remaining
        if remaining is not None and remaining < self._least and not self._streams:
            self._refuse(context, self._full(self._pool.waiting(), self._usual))
            # The next may try: else what was slow once would be refused for ever.
            self._least *= 0.9
            return 0.0
        begun = time.monotonic()
        self._job(payload, context, pipe)
        took = time.monotonic() - begun
        self._usual += (took - self._usual) * (0.1 if self._usual else 1.0)
        self._least = took if took < self._least or not self._least else self._least + (took - self._least) * 0.02
        return took

    def _full(self, waiting: int, wait: float) -> ResourceExhausted:
        pool = self._pool
        pool.warn()
        error = ResourceExhausted(
            f"{self._endpoint} is overloaded: {pool.most} threads are busy and {waiting} calls wait for one: "
            "try another node or later",
            id="micro",
        )
        error._retry_after = min(max(wait * (1.0 + random.random()), PUSHBACK[0]), PUSHBACK[1])
        return error


class Pool:
    """A bounded number of threads, started as they are needed, and a bounded line before them."""

    def __init__(self, most: int, longest: int, option: str) -> None:
        self.most, self.longest, self._option = most, longest, option
        self._work: SimpleQueue[tuple[Line, tuple[Any, ...]] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._idle = threading.Semaphore(0)
        self._mean = 0.0
        self._moved = 0.0
        self._is_warned = False

    def waiting(self) -> int:
        """Calls that no thread has taken."""
        return self._work.qsize()

    def wait(self, waiting: int) -> float:
        """Seconds until as many more have been begun."""
        idle = time.monotonic() - self._moved
        if idle > STUCK and len(self._threads) == self.most:
            self.warn()
        return (waiting + 1) * max(self._mean, idle) / self.most

    def warn(self) -> None:
        """Says once that there are too few threads."""
        if not self._is_warned:
            self._is_warned = True
            logger().warning(
                "all %d threads are busy with handlers, and calls wait or are refused: make handlers `async def`, or give "
                "the service more `%s`",
                self.most,
                self._option,
            )

    def put(self, line: Line, *arguments: Any) -> None:
        """Adds a call to the line."""
        self._work.put((line, arguments))
        if len(self._threads) < self.most and not self._idle.acquire(blocking=False):
            # Daemons, so that a handler that never ends does not keep the program from ending.
            name = f"micro handler {len(self._threads) + 1}"
            thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._threads.append(thread)
            self._moved = time.monotonic()
            thread.start()

    def _run(self) -> None:
        get, idle = self._work.get, self._idle
        while (work := get()) is not None:
            line, arguments = work
            self._moved = time.monotonic()
            try:
                took = line.run(*arguments)
                if took:
                    self._mean += (took - self._mean) * (0.1 if self._mean else 1.0)
            except BaseException as error:
                logger().error("a handler's thread could not answer", exc_info=error)
            del work, line, arguments
            if len(self._threads) < self.most:
                idle.release()

    def close(self) -> None:
        """Ends the threads once they have done what waits."""
        threads, self._threads = self._threads, []
        for _ in threads:
            self._work.put(None)
