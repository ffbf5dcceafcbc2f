"""Calls of a channel for threads, as the stubs give them to their callers."""

from __future__ import annotations

import functools
import threading
import time
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import grpc

from .._errors import Closed, Error, Forked, Internal, Stale, Unknown, WrongArgument
from .._logging import logger
from .._metadata import of_blocks
from .._pipe import ThreadPipe
from .._terms import Answer
from ._bases import Future
from ._method import Method, seconds_of
from ._state import run
from ._status import LOCALLY_CANCELLED, Metadatum, Status, cancelled, metadata_of, status_of, succeeded

if TYPE_CHECKING:
    from ._thread_channel import Channel

_CLIENT, _SERVER = 1, 2


class Progress:
    """How far a call is, and the threads that wait for its end."""

    def __init__(self, timeout: float | None) -> None:
        limit = seconds_of(timeout)
        self.until = None if limit is None else time.monotonic() + limit
        self.status: Status | None = None
        self.is_cancelled = False
        """By this side."""
        self.changed = threading.Condition()
        self._callbacks: list[Callable[[], object]] = []

    def settle(self, status: Status, is_cancelled: bool = False) -> bool:
        """The call is over. False when it was before."""
        with self.changed:
            if self.status is not None:
                return False
            self.status, self.is_cancelled = status, is_cancelled
            callbacks, self._callbacks = self._callbacks, []
            self.changed.notify_all()
        for callback in callbacks:
            run(callback)
        return True

    def when_done(self, callback: Callable[[], object]) -> bool:
        """False when it is over."""
        with self.changed:
            if self.status is None:
                self._callbacks.append(callback)
                return True
        return False

    def ended(self, timeout: float | None = None) -> Status:
        """How the call ended, once it has. Raises ``grpc.FutureTimeoutError`` when that takes too long."""
        with self.changed:
            if not self.changed.wait_for(lambda: self.status is not None, timeout):
                raise grpc.FutureTimeoutError
        assert self.status is not None
        return self.status


class Call(grpc.Call, Future):
    """A call that is under way, or over."""

    _progress: Progress
    _response: Any = None

    # As a call.

    def code(self) -> grpc.StatusCode:
        """How it ended, once it has."""
        return self._progress.ended().code

    def details(self) -> str:
        """What was said of how it ended, once it has; empty when it did not fail."""
        return self._progress.ended().details

    def debug_error_string(self) -> str:
        """What failed, on which node, and how often it was tried."""
        return self._progress.ended().debug

    def initial_metadata(self) -> tuple[Metadatum, ...]:
        """Headers of the answer, once they have come. Those of a unary call come with its reply."""
        return metadata_of(self._progress.ended().headers)

    def trailing_metadata(self) -> tuple[Metadatum, ...]:
        """Trailers of the answer, once it is over."""
        return metadata_of(self._progress.ended().trailers)

    def is_active(self) -> bool:
        """True until it is over."""
        return self._progress.status is None

    def time_remaining(self) -> Any:
        """Seconds until its deadline; ``None`` when it has none."""
        until = self._progress.until
        return None if until is None else max(0.0, until - time.monotonic())

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Calls ``callback`` when it is over. False when it is."""
        return self._progress.when_done(callback)

    # As a future.

    def cancel(self) -> bool:
        """Ends it at once. False when it was over."""
        return self._give_up(LOCALLY_CANCELLED)

    def _give_up(self, why: str) -> bool:
        return False

    def cancelled(self) -> bool:
        """True for a call that this side has cancelled."""
        return self._progress.is_cancelled

    def running(self) -> bool:
        """True until it is over."""
        return self._progress.status is None

    def done(self) -> bool:
        """True once it is over."""
        return self._progress.status is not None

    def result(self, timeout: float | None = None) -> Any:
        """The response. Raises what the call failed with, or that ``timeout`` seconds were not enough."""
        status = self._progress.ended(timeout)
        if self._progress.is_cancelled:
            raise grpc.FutureCancelledError
        if status.code is not grpc.StatusCode.OK:
            raise Failed(status) from status.cause
        return self._received()

    def exception(self, timeout: float | None = None) -> Exception | None:
        """What the call failed with."""
        status = self._progress.ended(timeout)
        if self._progress.is_cancelled:
            raise grpc.FutureCancelledError
        if status.code is grpc.StatusCode.OK:
            return None
        error = Failed(status)
        error.__cause__ = status.cause
        return error

    def traceback(self, timeout: float | None = None) -> types.TracebackType | None:
        """Where it failed."""
        error = self.exception(timeout)
        if error is None:
            return None
        try:
            raise error
        except Failed as raised:
            return raised.__traceback__

    def add_done_callback(self, fn: Callable[[Any], None]) -> None:
        """Calls ``fn`` with this call when it is over."""
        callback = functools.partial(fn, self)
        if not self._progress.when_done(callback):
            run(callback)

    def _received(self) -> Any:
        return self._response

    def __repr__(self) -> str:
        status = self._progress.status
        return f"<{type(self).__name__}, {'under way' if status is None else status.code}>"


class Ended(Call):
    """A call that is over, for ``with_call``."""

    def __init__(self, response: Any, status: Status) -> None:
        self._progress, self._response = Progress(None), response
        self._progress.settle(status)


class Failed(grpc.RpcError, Ended):  # type: ignore[misc]
    """What a call raises that has failed, which is also that call."""

    def __init__(self, status: Status) -> None:
        Exception.__init__(self)
        Ended.__init__(self, None, status)

    def __str__(self) -> str:
        status = self._progress.status
        assert status is not None
        return f"{status.code}: {status.details}" if status.details == status.debug else f"{status.code}: {status.debug}"

    __repr__ = __str__

    def __reduce__(self) -> Any:
        status = self._progress.status
        assert status is not None
        return Failed, (status._replace(cause=None),)


class UnaryFuture(Call):
    """A call of one request and one response that runs while its caller does something else."""

    def __init__(self, channel: Channel, method: Method, request: Any, timeout: float | None, rest: tuple[Any, ...]) -> None:
        pump, client = channel._running()
        self._progress, self._channel, self._method = Progress(timeout), channel, method
        self._native, self._id = pump.native, 0
        try:
            self._id = client.call(pump.queue, self, method.terms(method.write(request), timeout, *rest))
        except (WrongArgument, Forked):
            raise
        except Error as error:
            self.set_exception(error)
            return
        channel._begun(self._id, self._give_up)
        if self.done():
            channel._ended(self._id)

    # What the queue tells.

    def set_result(self, answer: Answer) -> None:
        payload, _, meta = answer
        headers, trailers = of_blocks(meta)
        try:
            self._response = self._method.read(payload)
        except Error as error:
            status = status_of(error)
        else:
            status = succeeded(headers.pairs, trailers.pairs)
        self._settle(status)

    def set_exception(self, error: Error) -> None:
        self._settle(status_of(error))

    def _settle(self, status: Status, is_cancelled: bool = False) -> bool:
        self._channel._ended(self._id)
        return self._progress.settle(status, is_cancelled)

    def _give_up(self, why: str) -> bool:
        won = not self.done() and self._settle(status_of(cancelled(why)), True)
        if won:
            self._native.cancel(self._id)
        return won


class CallPipe(ThreadPipe):
    """The inside of a call with streams. The queue has it until it ends, and the call may be let go of before."""

    def __init__(self, native: Any, method: Method, shape: int, timeout: float | None) -> None:
        super().__init__(native, method.read)
        self.progress = Progress(timeout)
        self.response: Any = None
        self._shape = shape
        self._ending = threading.Lock()

    def _end(self, error: BaseException | None, meta: bytes) -> None:
        self._finish(error, meta)

    def _finish(self, error: BaseException | None, meta: bytes, is_cancelled: bool = False) -> bool:
        with self._ending:
            if self.ended:
                return False
            if error is None and not self._shape & _SERVER:
                error = self._receive()
            super()._end(error, meta)
        if isinstance(error, Error):
            status = status_of(error)
        else:
            status = succeeded(self.headers.pairs if self.headers is not None else (), self.trailers.pairs)
        return self.progress.settle(status, is_cancelled)

    def _receive(self) -> Error | None:
        """Reads the one response of a call that has only one."""
        if not self.messages:
            return Internal("the stream ended without a reply", id="micro")
        try:
            self.response = self.decode(*self.messages[0])
        except Error as error:
            return error
        return None

    def give_up(self, why: str) -> bool:
        return self._stop(cancelled(why), True)

    def fail(self, error: Error) -> None:
        """Ends it with what went wrong on this side."""
        self._stop(error, False)

    def _stop(self, error: Error, is_cancelled: bool) -> bool:
        won = self._finish(error, b"", is_cancelled)
        if won and self.id:
            self.runtime.cancel(self.id)
        return won


class StreamingCall(Call):
    """A call with streams: the responses are read by iteration, by one thread at a time."""

    def __init__(
        self, channel: Channel, method: Method, shape: int, request: Any, timeout: float | None, rest: tuple[Any, ...]
    ) -> None:
        pump, client = channel._running()
        pipe = self._pipe = CallPipe(pump.native, method, shape, timeout)
        self._progress = pipe.progress
        try:
            payload = b"" if shape & _CLIENT else method.write(request)
            id = client.open(pump.queue, pipe, shape, method.terms(payload, timeout, *rest))
        except (WrongArgument, Forked):
            raise
        except Error as error:
            pipe._end(error, b"")
            return
        pipe.is_mine, pipe.on_end = True, channel._ended
        channel._begun(id, pipe.give_up)
        if pipe.ended:
            channel._ended(id)
        pipe.start(id)
        if shape & _CLIENT:
            threading.Thread(target=_feed, args=(pipe, method, request), name="micro requests", daemon=True).start()

    def _give_up(self, why: str) -> bool:
        return self._pipe.give_up(why)

    def _received(self) -> Any:
        return self._pipe.response

    def initial_metadata(self) -> tuple[Metadatum, ...]:
        """Headers of the answer, once they have come: before or with the first response, or at the end."""
        pipe = self._pipe
        while True:
            seen = pipe._version
            if pipe.headers is not None:
                return metadata_of(pipe.headers.pairs)
            if pipe.ended:
                return metadata_of(self._progress.ended().headers)
            pipe.wait(seen)

    def __iter__(self) -> StreamingCall:
        return self

    def __next__(self) -> Any:
        pipe = self._pipe
        try:
            return pipe.next()
        except StopIteration:
            raise
        except Error as error:
            # A response that cannot be read ends the call, also one that the far side has ended well.
            pipe.fail(error)
            raise Failed(status_of(error)) from error

    next = __next__

    def __del__(self) -> None:
        pipe = getattr(self, "_pipe", None)
        if pipe is not None:
            pipe.cancel()


def _feed(pipe: CallPipe, method: Method, requests: Any) -> None:
    """Sends all requests. What goes wrong with them is what the call ends with."""
    try:
        for request in requests:
            pipe.send(method.write(request))
        pipe.runtime.close(pipe.id)
    except (Stale, Closed):
        # The far side has ended it, and the reader hears how.
        return
    except Error as error:
        pipe.fail(error)
    except Exception as error:
        logger().error("the requests of %s raised %s", method.path, type(error).__name__, exc_info=error)
        pipe.fail(Unknown(f"Exception iterating requests: {type(error).__name__}", id="micro"))
