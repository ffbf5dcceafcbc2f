"""A service while it runs: what the native part tells of it, and how it ends."""

from __future__ import annotations

import asyncio
import contextvars
import json
import threading
import time
from typing import TYPE_CHECKING

from . import _micro
from ._client import Client
from ._errors import Cancelled, Error
from ._handler import Handler
from ._hooks import Check
from ._jobs import Job
from ._options import document
from ._registry import Record, record
from ._runtime import Runtime
from ._subscriber import Subscriber
from ._threads import Threads

if TYPE_CHECKING:
    from ._runtime import Hub
    from ._service import Service

LEAVING = 0.25
"""Seconds that telling the registry may take for a service whose loop, or program, ends without stopping it."""


class Running:
    """A service from its start to its end."""

    def __init__(self, service: Service, runtime: Runtime) -> None:
        self.runtime = runtime
        self.hub: Hub = runtime.hub()
        self.hooks, self.check = service._hooks, service._check
        self._is_stopping = False
        self.server = _micro.Server(runtime._native, service.name, document(service._options))
        self.opened: asyncio.Future[None] = self.hub.loop.create_future()
        self.record: Record | None = None
        self.stopping = False
        self.is_over = False
        self.id = 0
        self.threads: Threads | None = None
        self._client: Client | None = None
        self._error: BaseException | None = None
        self._waiting: set[asyncio.Future[None]] = set()
        self._lock = threading.Lock()

    async def start(self, handlers: list[Handler], threads: Threads) -> None:
        self.threads = threads
        if self.check is not None:
            handlers = [*handlers, Check(self.check)]
        served = [handler.served(self.hub, self.runtime._native, threads) for handler in handlers]
        for handler in handlers:
            if isinstance(handler, Job):
                self.server.job(document(handler.options()))
            elif isinstance(handler, Subscriber):
                self.server.subscribe(handler.name, document(handler.options()))
            else:
                self.server.method(handler.name, handler.shape, document(handler.options()))
        self.id = self.server.start(self.hub.queue, self, served, contextvars.copy_context())
        self.hub.servers.add(self)
        await self.opened

    async def wait(self) -> None:
        """Returns when it is over, on whichever loop. Raises what it ended with."""
        loop = asyncio.get_running_loop()
        if loop is not self.hub.loop and not self.hub.loop.is_running():
            # No task would hear of the end there.
            await asyncio.to_thread(self.leave)
        future: asyncio.Future[None] = loop.create_future()
        with self._lock:
            if not self.is_over:
                self._waiting.add(future)
        try:
            if not self.is_over or future in self._waiting:
                await future
        finally:
            with self._lock:
                self._waiting.discard(future)
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Begins the stop, from any thread: hooks, and then the service. Harmless when repeated."""
        with self._lock:
            is_first, self._is_stopping = not self._is_stopping, True
        if not self.hooks.have("before_stop") or not self.opened.done() or not self.hub.loop.is_running():
            self.server.stop()
        elif is_first:
            self.hub.loop.call_soon_threadsafe(self._begin_stop)

    def _begin_stop(self) -> None:
        self._stopping_task = asyncio.ensure_future(self._stop())

    async def _stop(self) -> None:
        try:
            await self.hooks.run_all("before_stop")
        finally:
            self.server.stop()

    def abort(self) -> None:
        """Cuts everything off."""
        if self.id:
            self.runtime._native.cancel(self.id)

    def leave(self, patience: float = LEAVING) -> None:
        """Ends it because no handler can run any more. The registry hears of it first, within ``patience`` seconds."""
        if self.is_over:
            return
        self.server.stop()
        until = time.monotonic() + patience
        while time.monotonic() < until and self._is_up():
            time.sleep(0.002)
        self.abort()
        self._ended(None)

    def _is_up(self) -> bool:
        try:
            self.server.client()
        except Error:
            return False
        return True

    def client(self) -> Client:
        if self._client is None:
            self._client = Client(runtime=self.runtime)
            self._client._runtime, self._client._client = self.runtime, self.server.client()
        return self._client

    def _opened(self, registered: bytes) -> None:
        self.record = record(json.loads(registered))
        if not self.opened.done():
            self.opened.set_result(None)

    def _ended(self, error: BaseException | None) -> None:
        loop = self.hub.loop
        if self.hooks.have("after_stop") and self.record is not None and asyncio._get_running_loop() is loop:
            self._ending_task = loop.create_task(self._end(error))
            return
        self._over(error)

    async def _end(self, error: BaseException | None) -> None:
        try:
            await self.hooks.run_all("after_stop")
        finally:
            self._over(error)

    def _over(self, error: BaseException | None) -> None:
        self.hub.servers.discard(self)
        if self.threads is not None:
            self.threads.close()
        if not self.opened.done() and not self.hub.loop.is_closed():
            self.opened.set_exception(error or RuntimeError("the service ended before it had started"))
            error = None
        with self._lock:
            if self.is_over:
                return
            # Cancelled is what this program has asked for.
            self._error = None if isinstance(error, Cancelled) else error
            self.is_over = True
            waiting = list(self._waiting)
        for future in waiting:
            _tell(future)


def _tell(future: asyncio.Future[None]) -> None:
    """Ends a wait, on whichever thread its loop runs."""
    loop = future.get_loop()

    def told() -> None:
        if not future.done():
            future.set_result(None)

    if asyncio._get_running_loop() is loop:
        told()
        return
    try:
        loop.call_soon_threadsafe(told)
    except RuntimeError:
        # That loop is closed, and no task waits on it.
        pass
