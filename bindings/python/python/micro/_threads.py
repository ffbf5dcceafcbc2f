"""Threads for handlers that are plain functions."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any, TypeVar

from ._logging import logger
from ._pipe import ThreadPipe

In = TypeVar("In", covariant=True)


class IncomingRequests(Iterator[In]):
    """The requests of a call that came in, as a handler on a thread reads them."""

    def __init__(self, pipe: ThreadPipe) -> None:
        self._pipe = pipe

    def __next__(self) -> In:
        message: In = self._pipe.next()
        return message


class Threads:
    """A bounded number of threads, started as they are needed. How much waits for them is bounded by the server."""

    def __init__(self, most: int | None) -> None:
        self._most = most or min(32, (os.cpu_count() or 1) + 4)
        self._work: SimpleQueue[tuple[Any, ...] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._idle = threading.Semaphore(0)

    def put(self, job: Callable[..., None], *arguments: Any) -> None:
        """Runs a job on one of the threads."""
        self._work.put((job, arguments))
        if len(self._threads) < self._most and not self._idle.acquire(blocking=False):
            # Daemons, so that a handler that never ends does not keep the program from ending.
            name = f"micro handler {len(self._threads) + 1}"
            thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self) -> None:
        get, idle = self._work.get, self._idle
        while (work := get()) is not None:
            job, arguments = work
            try:
                job(*arguments)
            except BaseException as error:
                logger().error("a handler's thread could not answer", exc_info=error)
            del work, job, arguments
            if len(self._threads) < self._most:
                idle.release()

    def close(self) -> None:
        """Ends the threads once they have done what waits."""
        threads, self._threads = self._threads, []
        for _ in threads:
            self._work.put(None)
