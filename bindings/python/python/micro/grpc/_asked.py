"""Generic handlers that are asked for a method by each call, because they do not list what they serve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._errors import Unimplemented
from .._handler import BIDI_STREAM, DIRECT, STREAMING
from ._endpoint import Endpoint, Intercept, Serving
from ._schema import Messages, known

if TYPE_CHECKING:
    from .. import _micro
    from .._runtime import Hub
    from .._threads import Threads


class Asked(Endpoint):
    """What answers the calls that no listed method does. On the wire all of them are streams both ways."""

    def __init__(self, interceptors: list[Intercept], *, is_later: bool, on_threads: bool) -> None:
        self.path = self.name = "*"
        self.handler, self.shape = None, BIDI_STREAM
        self._interceptors, self._on_threads = interceptors, on_threads
        self._is_later = is_later and bool(interceptors)
        self._handlers: list[Any] = []

    def add(self, handler: Any) -> None:
        """Asks this one too, after those that are there."""
        self._handlers.append(handler)

    def options(self) -> dict[str, Any]:
        """The endpoint's settings document."""
        return {}

    def served(self, hub: Hub, runtime: _micro.Runtime, threads: Threads) -> tuple[str, Any, int]:
        """What the native part calls for each call, and how."""
        serving = Serving(self, hub, runtime, threads)
        return (self.name, serving.put, DIRECT) if self._on_threads else (self.name, serving.run, STREAMING)

    def path_of(self, call: _micro.Context) -> str:
        """The path that was called."""
        return call.path or "/"

    def found(self, details: Any) -> Any:
        """What the first generic handler says that knows the method; ``None`` where none does."""
        found = (handler.service(details) for handler in self._handlers)
        return next((one for one in found if one is not None), None)

    def messages(self, handler: Any, path: str) -> Messages:
        return Messages(path, known(path), handler.request_deserializer, handler.response_serializer)

    def chosen(self, call: _micro.Context) -> Any:
        """The handler of a call; something to await where interceptors are asynchronous."""
        chosen = self._through(call)
        # Of an endpoint that has no handler of its own, no handler is a refusal.
        return Missing if chosen is None else chosen

    def checked(self, handler: Any) -> Any:
        """A handler that was found. Raises what the caller is told where none was."""
        if handler is None or handler is Missing:
            raise Unimplemented("Method not found!", id="micro")
        return handler


class Missing:
    """No handler."""
