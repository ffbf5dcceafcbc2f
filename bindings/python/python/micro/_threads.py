"""Threads for handlers that are plain functions, and the lines before them.

A call that waits for a thread is not begun, and is only let into the line if its turn comes while its caller still waits.
So what a service does under too much load is what it can do, and not answers that are never read.
"""

from __future__ import annotations

import os
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
    from ._terms import Answer

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

    def lane(self, endpoint: str, job: Job, refuse: Refuse, *, streams: bool) -> Lane:
        """The line before the threads for the calls of an endpoint."""
        return Lane(self._streams if streams else self._calls, endpoint, job, refuse, streams)

    def close(self) -> None:
        """Ends the threads once they have done what waits."""
        self._calls.close()
        self._streams.close()


Job = Callable[[Any, "_micro.Context", "ThreadPipe | None"], None]
Refuse = Callable[["_micro.Context", BaseException], None]


class Lane:
    """Calls of one endpoint on their way to a thread."""

    def __init__(self, pool: Pool, endpoint: str, job: Job, refuse: Refuse, streams: bool) -> None:
        self._pool, self._endpoint, self._job, self._refuse, self._streams = pool, endpoint, job, refuse, streams
        self._usual = 0.0
        """Seconds a call takes on average."""
        self._least = 0.0
        """Seconds the quickest of late take."""

    def put(self, payload: Any, context: _micro.Context, pipe: ThreadPipe | None = None) -> None:
        """Runs a call on a thread when its turn comes, or refuses it at once. Only on the loop's thread."""
        pool = self._pool
        waiting = pool.work.qsize()
        if waiting:
            wait = pool.wait(waiting)
            remaining = None if self._streams else context.remaining
            if waiting >= pool.longest or (remaining is not None and wait > (remaining - self._usual) * PATIENCE):
                self._refuse(context, self._full(waiting, wait))
                return
        pool.work.put((self, payload, context, pipe))
        if len(pool.threads) < pool.most:
            pool.grow()

    def run(self, payload: Any, context: _micro.Context, pipe: ThreadPipe | None) -> None:
        """What a thread does for the call."""
        pool, left = self._pool, context._left
        # Before the handler: the line moves, whatever it does.
        pool.moved = begun = time.monotonic()
        if left < self._least and not self._streams and left:
            self._refuse(context, self._full(pool.work.qsize(), self._usual))
            # The next may try: else what was slow once would be refused for ever.
            self._least *= 0.9
            return
        if not left:
            late = f"the caller had stopped waiting for {self._endpoint} when its turn came"
            self._refuse(context, DeadlineExceeded(late, id="micro"))
            return
        self._job(payload, context, pipe)
        took = time.monotonic() - begun
        # Each is the first value until there is one.
        usual, least, mean = self._usual, self._least, pool.mean
        self._usual = usual + (took - usual) * 0.1 if usual else took
        self._least = least + (took - least) * 0.02 if took > least > 0.0 else took
        pool.mean = mean + (took - mean) * 0.1 if mean else took

    def _full(self, waiting: int, wait: float) -> ResourceExhausted:
        pool = self._pool
        pool.warn()
        error = ResourceExhausted(
            f"{self._endpoint} is overloaded: {pool.most} threads are busy and {waiting} calls wait for one: "
            "try another node or later",
            id="micro",
        )
        error._retry_after = min(max(wait * (1.0 + os.urandom(1)[0] / 256), PUSHBACK[0]), PUSHBACK[1])
        return error


class Pool:
    """A bounded number of threads, started as they are needed, and a bounded line before them."""

    def __init__(self, most: int, longest: int, option: str) -> None:
        self.most, self.longest, self._option = most, longest, option
        self.work: SimpleQueue[tuple[Lane, Any, _micro.Context, ThreadPipe | None] | None] = SimpleQueue()
        """Calls that no thread has taken."""
        self.threads: list[threading.Thread] = []
        self._idle = threading.Semaphore(0)
        self.mean = 0.0
        """Seconds a call takes on average."""
        self.moved = 0.0
        """When a thread last took one."""
        self._is_warned = False

    def wait(self, waiting: int) -> float:
        """Seconds until as many more have been begun."""
        mean, idle = self.mean, time.monotonic() - self.moved
        if idle > STUCK and len(self.threads) == self.most:
            self.warn()
        return (waiting + 1) * (mean if mean > idle else idle) / self.most

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

    def grow(self) -> None:
        """Starts a thread for the call that was added, unless one has nothing to do."""
        if self._idle.acquire(blocking=False):
            return
        # Daemons, so that a handler that never ends does not keep the program from ending.
        thread = threading.Thread(target=self._run, name=f"micro handler {len(self.threads) + 1}", daemon=True)
        self.threads.append(thread)
        self.moved = time.monotonic()
        thread.start()

    def _run(self) -> None:
        get, idle = self.work.get, self._idle
        while (work := get()) is not None:
            line, payload, context, pipe = work
            try:
                line.run(payload, context, pipe)
            except BaseException as error:
                logger().error("a handler's thread could not answer", exc_info=error)
            del work, line, payload, context, pipe
            if len(self.threads) < self.most:
                idle.release()

    def close(self) -> None:
        """Ends the threads once they have done what waits."""
        threads, self.threads = self.threads, []
        for _ in threads:
            self.work.put(None)


class Slot:
    """A future that no task awaits: its thread looks at it."""

    __slots__ = ("answer", "error")

    def __init__(self) -> None:
        self.answer: Answer | None = None
        self.error: BaseException | None = None

    def done(self) -> bool:
        return self.answer is not None or self.error is not None

    def set_result(self, answer: Answer) -> None:
        self.answer = answer

    def set_exception(self, error: BaseException) -> None:
        self.error = error
