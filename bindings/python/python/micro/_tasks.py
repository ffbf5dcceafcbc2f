"""Tasks that run handlers, made before they are needed and used again.

A handler's first step runs at once, without a task of its own (see ``eager.rs``). While it runs, the *current* task is that of
a ``Spare``; if the handler has to wait, the spare goes on with it, and so it is the same task from beginning to end. It is a
coroutine written by hand because ``throw`` must work before the first ``send``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contextvars import Context as Variables

    from . import _micro


class Spare(Coroutine[Any, Any, None]):
    """What a spare task runs: nothing, until it adopts a handler that waits."""

    __slots__ = (
        "_call",
        "_coroutine",
        "_endpoint",
        "_first",
        "_loop",
        "_over",
        "_queue",
        "_wake",
        "_within",
        "_yielded",
        "task",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, queue: _micro.Queue) -> None:
        self._loop = loop
        self._queue = queue
        self._over = False
        self._first = False
        self._coroutine: Coroutine[Any, Any, Any] | None = None
        self._within: Variables | None = None
        self._yielded: Any = None
        self._call: _micro.Context | None = None
        self._endpoint = ""
        self._wake = loop.create_future()
        self.task: asyncio.Task[None] = asyncio.Task(self, loop=loop, name="micro handler")
        # A spare that waits when its loop is closed has nothing to lose.
        self.task._log_destroy_pending = False  # type: ignore[attr-defined]

    def is_idle(self) -> bool:
        """True while it can lend its task to a handler."""
        return not self._over and self._coroutine is None and not self.task.cancelling()

    def adopt(
        self,
        call: _micro.Context,
        coroutine: Coroutine[Any, Any, Any],
        within: Variables,
        yielded: Any,
        endpoint: str,
    ) -> None:
        """Goes on with a handler that waits for what it has yielded."""
        self._call, self._coroutine, self._within = call, coroutine, within
        self._yielded, self._endpoint, self._first = yielded, endpoint, True
        call._task = self.task
        if not self._wake.done():
            self._wake.set_result(None)

    def send(self, _: Any) -> Any:
        coroutine = self._coroutine
        if coroutine is None:
            return self._idle()
        if self._first:
            self._first = False
            yielded, self._yielded = self._yielded, None
            # A bare yield asks for one turn of the loop, which has passed.
            if yielded is not None:
                return yielded
        return self._step(coroutine.send, None)

    def throw(self, error: Any, *_: Any) -> Any:
        coroutine = self._coroutine
        if coroutine is None:
            self._over = True
            raise error
        if self._first:
            self._first = False
            yielded, self._yielded = self._yielded, None
            if yielded is not None:
                # As a task does it: what the handler waits for is cancelled, and that is what the handler hears of.
                if isinstance(error, asyncio.CancelledError) and yielded.cancel():
                    return yielded
                yielded._asyncio_future_blocking = False
        return self._step(coroutine.throw, error)

    def close(self) -> None:
        self._over = True
        coroutine, self._coroutine = self._coroutine, None
        if coroutine is not None:
            coroutine.close()

    def __await__(self) -> Any:
        raise TypeError("a spare is run by its own task alone")

    def _idle(self) -> Any:
        wake = self._wake = self._loop.create_future()
        wake._asyncio_future_blocking = True
        return wake

    def _step(self, method: Any, argument: Any) -> Any:
        assert self._within is not None
        try:
            return self._within.run(method, argument)
        except StopIteration as stop:
            message, error = stop.value, None
        except BaseException as raised:
            message, error = None, raised
        call, endpoint = self._call, self._endpoint
        self._coroutine = self._within = self._call = None
        assert call is not None
        try:
            self._queue.answer(call, endpoint, message, error)
        finally:
            del call, error, message
        if self.task.cancelling() or not self._queue.keep(self):
            self._over = True
            raise StopIteration
        return self._idle()
