"""What handlers are given: the call that is served, as grpcio shows it."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
from grpc import aio

from .._errors import Cancelled, Code, Error, LocalError, Unknown
from .._logging import logger
from .._metadata import pairs
from . import _bases
from ._state import run
from ._status import DETAILS, error_of, metadata_of, number_of, trailing

if TYPE_CHECKING:
    from .. import _micro


class Aborted(Exception):
    """Ends a handler on a thread that has called ``abort``."""


class Said:
    """What the handler has said of how its call ends, and what both kinds of context have."""

    def __init__(self, call: _micro.Context, path: str, *, streams: bool) -> None:
        self._call, self._path, self._streams = call, path, streams
        self._code: Any = None
        self._details: str | None = None
        self._trailing: Any = None
        self._is_aborted = self._has_headers = self._is_over = False
        self._callbacks: list[Callable[[], object]] = []
        self._lock = threading.Lock()

    def invocation_metadata(self) -> Any:
        """Metadata that the caller sent: pairs with ``key`` and ``value``."""
        return metadata_of(self._call.metadata.pairs)

    def peer(self) -> str:
        """Address of the caller, such as ``ipv4:127.0.0.1:40000``; ``inproc:`` in memory."""
        found = self._call.peer
        if found is None:
            return "inproc:"
        # Brackets are escaped, as in a URI.
        return f"ipv6:{found.replace('[', '%5B').replace(']', '%5D')}" if found.startswith("[") else f"ipv4:{found}"

    def peer_identities(self) -> Iterable[bytes] | None:
        """``None``: who calls is not taken from certificates here."""
        return None

    def peer_identity_key(self) -> str | None:
        """``None``, see :meth:`peer_identities`."""
        return None

    def auth_context(self) -> dict[str, Any]:
        """Empty, see :meth:`peer_identities`."""
        return {}

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:
        """Metadata that is sent at the end, instead of what was set before."""
        self._trailing = trailing_metadata

    def trailing_metadata(self) -> Any:
        """What was set."""
        return self._trailing

    def set_code(self, code: Any) -> None:
        """How the call ends: a ``grpc.StatusCode``."""
        self._code = code

    def code(self) -> Any:
        """What was set."""
        return self._code

    def set_details(self, details: str) -> None:
        """What the caller is told of it."""
        self._details = details

    def set_compression(self, compression: Any) -> None:
        """Without effect: ``compression`` of the service says how answers are sent."""

    def disable_next_message_compression(self) -> None:
        """Without effect, see :meth:`set_compression`."""

    # What the endpoint does.

    def _send_headers(self, metadata: Any) -> None:
        self._has_headers = True
        for name, value in pairs(metadata or ()) or ():
            self._call.set_header(name, value)
        if self._streams:
            self._call.send_headers()

    def _abort(self, code: Any, details: str) -> None:
        if not number_of(code):
            logger().error("%s aborts with OK, which is no failure: its caller is told UNKNOWN", self._path)
            code, details = grpc.StatusCode.UNKNOWN, ""
        self._code, self._details, self._is_aborted = code, details, True

    def _when_over(self, callback: Callable[[], object]) -> bool:
        with self._lock:
            if not self._is_over:
                self._callbacks.append(callback)
                return True
        return False

    def _end(self) -> None:
        """The call is over, for this side or for its caller."""
        with self._lock:
            self._is_over = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            run(callback)

    def _failure(self, raised: BaseException | None) -> BaseException | None:
        """What the call fails with, of what its handler has set and raised."""
        trailers = trailing(self._trailing)
        for name, value in trailers:
            if name != DETAILS:
                self._call.set_trailer(name, value)
        is_set = self._code is not None and number_of(self._code) != Code.OK
        if self._is_aborted or (raised is None and is_set):
            return error_of(self._code, self._details or "", trailers)
        if raised is None or not isinstance(raised, Exception):
            return raised
        if isinstance(raised, Error) and not is_set and not isinstance(raised, LocalError):
            return raised
        if isinstance(raised, (grpc.RpcError, LocalError)) and not self._left():
            return Cancelled("the caller no longer waits", id="micro")
        # Its text was not meant for the caller, and it may be secret.
        logger().error("%s raised %s", self._path, type(raised).__name__, exc_info=raised)
        hidden = f"{self._path} failed: the log of its service says why"
        said = hidden if self._details is None else self._details
        return error_of(self._code, said, trailers) if is_set else Unknown(said)

    def _left(self) -> float:
        return self._call._left


class AioContext(Said, _bases.AioContext):
    """The context of a handler that is ``async def``."""

    _pipe: Any = None
    _write: Any = None

    async def abort(self, code: Any, details: str = "", trailing_metadata: Any = ()) -> NoReturn:
        """Ends the call with a failure: raises what ends the handler."""
        if trailing_metadata:
            self._trailing = trailing_metadata
        self._abort(code, details)
        raise aio.AbortError("Locally aborted.")

    async def abort_with_status(self, status: grpc.Status) -> NoReturn:
        """The same, with a status such as ``grpc_status.rpc_status.to_status`` gives."""
        await self.abort(status.code, status.details, status.trailing_metadata)

    async def read(self) -> Any:
        """The next request, or ``grpc.aio.EOF`` after the last."""
        if self._pipe is None or not self._pipe.reads:
            raise aio.UsageError(f"{self._path} has one request, which its handler was given")
        try:
            return await self._pipe.next()
        except StopAsyncIteration:
            return aio.EOF

    async def write(self, message: Any) -> None:
        """Sends a response. Waits while the caller is slow."""
        if self._write is None:
            raise aio.UsageError(f"{self._path} has one response: return it")
        await self._pipe.send(self._write(message))

    async def send_initial_metadata(self, initial_metadata: Any) -> None:
        """Headers of the answer, once. Those of a stream are sent now, all others with the response."""
        if self._has_headers:
            raise aio.UsageError("Send initial metadata failed: already sent")
        self._send_headers(initial_metadata)

    def trailing_metadata(self) -> Any:
        """What was set."""
        return () if self._trailing is None else self._trailing

    def details(self) -> str:
        """What was set."""
        return self._details or ""

    def time_remaining(self) -> float:
        """Seconds until the caller stops waiting; ``None`` when it waits for ever."""
        left: Any = self._call.remaining
        return left  # type: ignore[no-any-return]

    def add_done_callback(self, callback: Any) -> None:
        """Calls ``callback`` with this context when the call is over."""
        if not self._when_over(lambda: callback(self)):
            callback(self)

    def cancelled(self) -> bool:
        """True once the caller no longer waits."""
        return self._call.cancelled

    def done(self) -> bool:
        """True once the call is over."""
        return self._is_over or self._call.cancelled


class ThreadContext(Said, grpc.ServicerContext):
    """The context of a handler on a thread."""

    _stop: Callable[[Error], object] | None = None

    def is_active(self) -> bool:
        """True while the caller waits."""
        return not self._is_over and self._left() > 0

    def time_remaining(self) -> float:
        """Seconds until the caller stops waiting, infinite when it waits for ever."""
        left = self._call.remaining
        return math.inf if left is None else left

    def cancel(self) -> bool:
        """Ends the call at once; the handler goes on."""
        if self._is_over or self._stop is None:
            return False
        self._stop(Cancelled("the handler cancelled the call", id="micro"))
        self._end()
        return True

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Calls ``callback`` when the call is over. False when it is."""
        return self._when_over(callback)

    def abort(self, code: Any, details: str) -> NoReturn:
        """Ends the call with a failure: raises what ends the handler."""
        self._abort(code, details)
        raise Aborted(details)

    def abort_with_status(self, status: grpc.Status) -> NoReturn:
        """The same, with a status such as ``grpc_status.rpc_status.to_status`` gives."""
        self._trailing = status.trailing_metadata
        self.abort(status.code, status.details)

    def send_initial_metadata(self, initial_metadata: Any) -> None:
        """Headers of the answer, once. Those of a stream are sent now, all others with the response."""
        if self._has_headers:
            raise ValueError("Initial metadata no longer allowed!")
        self._send_headers(initial_metadata)

    def details(self) -> Any:
        """What was set, in UTF-8."""
        return None if self._details is None else self._details.encode()
