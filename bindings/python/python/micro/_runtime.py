"""The threads of the core, and who hears of what happens on them."""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import threading
import time
import weakref
from collections.abc import AsyncGenerator, Callable
from typing import Any, Protocol

from . import _micro
from ._context import current
from ._logging import Pump, level
from ._options import seconds
from ._tasks import Spare

_lock = threading.Lock()
_default: Runtime | None = None
_all: weakref.WeakSet[Runtime] = weakref.WeakSet()
_left_behind: list[Any] = []


class _Leaves(Protocol):
    """A service, or what is provided: it leaves when its event loop ends."""

    def leave(self) -> None: ...


class Hub:
    """The queue of one event loop."""

    def __init__(self, runtime: _micro.Runtime, loop: asyncio.AbstractEventLoop) -> None:
        self.is_open = True
        self.loop = loop
        self.queue = _micro.Queue(runtime)
        enter, leave = asyncio.tasks._enter_task, asyncio.tasks._leave_task
        self.queue.serve_on((loop, self._spare, current, enter, leave, _micro.step, self._closed))
        self._descriptor = self.queue.fileno()
        self._bell: _Bell | None = None
        try:
            loop.add_reader(self._descriptor, self.queue.drain)
        except NotImplementedError:
            self._bell = _Bell(loop, self.queue, self._descriptor)

        self.servers: set[_Leaves] = set()
        # The runner of the loop closes its asynchronous generators before the loop itself, as `asyncio.run` does. That is how
        # a service that was not stopped learns that its handlers cannot run any more.
        self._guard = self._until_the_end()
        try:
            self._guard.asend(None).send(None)
        except StopIteration:
            pass

    async def _until_the_end(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self.close()

    def close(self) -> None:
        """Ends what runs for the loop: services, which the registry is told of, calls, streams. Only on the loop's thread."""
        for server in list(self.servers):
            server.leave()
        if self._bell is not None:
            self._bell.close()
        elif not self.loop.is_closed():
            self.loop.remove_reader(self._descriptor)
        self.queue.close()
        self.is_open = False

    def _spare(self) -> Spare:
        return Spare(self.loop, self.queue)

    def abandon(self) -> None:
        """The loop was closed: no task can be told anything any more."""
        for server in list(self.servers):
            server.leave()
        self.queue.close(tell=False)
        self.is_open = False
        if self._bell is not None:
            self._bell.close()

    def _closed(self) -> None:
        # The runtime is over, and all that waited have been told.
        if self._bell is not None:
            self._bell.close()
        elif not self.loop.is_closed():
            self.loop.remove_reader(self._descriptor)


class _Bell:
    """Watches a queue's descriptor for a loop that cannot, on a thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, queue: _micro.Queue, descriptor: int) -> None:
        self._loop, self._queue = loop, queue
        self._drained = threading.Event()
        self._read, self._write = os.pipe()
        self._thread = threading.Thread(target=self._run, args=(descriptor,), name="micro bell", daemon=True)
        self._thread.start()

    def _run(self, descriptor: int) -> None:
        import select

        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.register(self._read, select.POLLIN)
        while not any(found == self._read for found, _ in poll.poll()):
            self._drained.clear()
            try:
                self._loop.call_soon_threadsafe(self._drain)
            except RuntimeError:
                return
            self._drained.wait()

    def _drain(self) -> None:
        try:
            self._queue.drain()
        finally:
            self._drained.set()

    def close(self) -> None:
        os.write(self._write, b"x")
        self._drained.set()
        if self._thread is not threading.current_thread():
            self._thread.join(1.0)
            os.close(self._read)
            os.close(self._write)


class Runtime:
    """Threads of the core. Services and clients share one by default; a program seldom makes its own.

    ``workers`` is how many threads; ``log`` the least grave record that reaches ``logging`` (``off``, ``error``, ``warn``,
    ``info``, ``debug``, ``trace``), as the logger ``micro`` is set up unless given. It holds for the whole process.
    """

    def __init__(self, *, workers: int | None = None, log: str | None = None) -> None:
        options: dict[str, Any] = {"log": log or level()}
        options["workers"] = workers or max(1, min(4, (os.cpu_count() or 2) // 2))
        self._native = _micro.Runtime(json.dumps(options))
        self._pump = Pump(self._native)
        self._hubs: dict[int, Hub] = {}
        self._threads: weakref.WeakSet[_micro.Queue] = weakref.WeakSet()
        self._local = threading.local()
        self._lock = threading.Lock()
        self._open = True
        with _lock:
            _all.add(self)

    def hub(self) -> Hub:
        """The queue of the running event loop."""
        loop = asyncio.get_running_loop()
        hub = self._hubs.get(id(loop))
        if hub is not None and hub.loop is loop and hub.is_open:
            return hub
        with self._lock:
            for key, old in list(self._hubs.items()):
                if old.loop.is_closed():
                    del self._hubs[key]
                    if old.is_open:
                        old.abandon()
            hub = self._hubs[id(loop)] = Hub(self._native, loop)
        return hub

    def queue(self) -> _micro.Queue:
        """The queue of this thread, which waits for it."""
        queue: _micro.Queue | None = getattr(self._local, "queue", None)
        if queue is None:
            queue = self._local.queue = self.new_queue()
        return queue

    def new_queue(self) -> _micro.Queue:
        """A queue for threads that wait."""
        queue = _micro.Queue(self._native)
        with self._lock:
            self._threads.add(queue)
        return queue

    def close(self, grace: float = 0.0) -> None:
        """Ends whatever is under way: services get ``grace`` seconds to finish their calls. Waits for the threads."""
        global _default
        with _lock:
            if not self._open:
                return
            self._open = False
            _all.discard(self)
            if _default is self:
                _default = None
        self._native.shutdown(seconds(grace, "grace"))
        self._native.free()
        with self._lock:
            hubs, threads = list(self._hubs.values()), list(self._threads)
            self._hubs.clear()
        for hub in hubs:
            if hub.is_open and hub.loop.is_closed():
                _try(hub.abandon)
        for queue in threads:
            _try(queue.close)
        _try(self._pump.close)
        with _lock:
            others = list(_all)
        for other in others:
            # It took the records from them when it was made.
            _try(other._pump.receive)

    def __repr__(self) -> str:
        return f"<micro.Runtime, {'open' if self._open else 'closed'}>"


def _try(close: Callable[[], object]) -> None:
    try:
        close()
    except Exception as error:
        from ._logging import logger

        logger().debug("while closing: %s", error)


def default() -> Runtime:
    """The runtime of this process, made when it is first asked for."""
    global _default
    found = _default
    if found is None:
        made = Runtime()
        with _lock:
            if _default is None:
                _default = made
            found = _default
        if found is not made:
            made.close()
    return found


def _at_exit() -> None:
    with _lock:
        runtimes = list(_all)
    for runtime in runtimes:
        for hub in list(runtime._hubs.values()):
            for server in list(hub.servers):
                # Its loop may not be there any more to stop it.
                _try(server.leave)
        runtime.close()
    # No thread of Python's may be in the native part when the interpreter ends.
    _micro.end()
    until = time.monotonic() + 1.0
    while _micro.inside() and time.monotonic() < until:
        time.sleep(0.001)


def _in_child() -> None:
    """Nothing that was made before a fork is used, or let go, in the child: its threads are not there."""
    global _default, _lock, _all
    _left_behind.extend([_default, *_all])
    _default, _lock, _all = None, threading.Lock(), weakref.WeakSet()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
