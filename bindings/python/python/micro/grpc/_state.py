"""What is known of a call, and the tasks that wait to know more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from grpc import aio

from .._logging import logger
from ._method import seconds_of
from ._status import Status


class State:
    """How far a call is."""

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout: float | None) -> None:
        self.loop = loop
        limit = seconds_of(timeout)
        self.until = None if limit is None else loop.time() + limit
        self.status: Status | None = None
        self.is_cancelled = False
        """By this side."""
        self._waiting: list[asyncio.Future[None]] = []
        self._callbacks: list[Callable[[], object]] = []

    def settle(self, status: Status) -> None:
        """The call is over."""
        self.status = status
        self.wake()
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            run(callback)

    def wake(self) -> None:
        """Has the tasks that wait look again."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def changed(self) -> asyncio.Future[None]:
        """Done when there is something new."""
        future = self.loop.create_future()
        self._waiting.append(future)
        return future

    async def ended(self) -> Status:
        """How the call ended, once it has."""
        while self.status is None:
            await self.changed()
        return self.status

    def when_done(self, callback: Callable[[], object]) -> None:
        if self.status is None:
            self._callbacks.append(callback)
        else:
            run(callback)

    def raised(self) -> BaseException:
        """What the caller of a call that failed gets."""
        status = self.status
        assert status is not None
        if self.is_cancelled:
            return asyncio.CancelledError()
        return failed(status)


def failed(status: Status) -> aio.AioRpcError:
    """What is raised of a status."""
    headers, trailers = aio.Metadata(*status.headers), aio.Metadata(*status.trailers)
    error = aio.AioRpcError(status.code, headers, trailers, status.details, status.debug)
    error.__cause__ = status.cause
    return error


def run(callback: Callable[[], object]) -> None:
    """Calls it. What it raises is logged."""
    try:
        callback()
    except Exception as error:
        logger().error("a callback of a call raised %s", type(error).__name__, exc_info=error)
