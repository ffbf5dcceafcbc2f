"""A method of a stub: what its requests are on the wire, and on which terms they are sent."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import grpc

from .._client import BaseClient
from .._codec import PROTO
from .._context import current
from .._errors import WrongArgument
from .._metadata import pairs
from .._options import NO_TIMEOUT, document, nanoseconds
from .._plain import is_protobuf
from .._terms import Terms
from ._schema import known
from ._status import unserializable

_WAIT, _IDEMPOTENT = 0x100, 0x200
_COMPRESSIONS = {grpc.Compression.NoCompression: "none", grpc.Compression.Gzip: "gzip"}
_documents: dict[tuple[bool | None, Any], str] = {(None, None): ""}

Serializer = Callable[[Any], bytes]
Deserializer = Callable[[bytes], Any]


class Target:
    """Where the calls of a channel go: a service, by a client."""

    def __init__(self, client: BaseClient, service: str, *, waits: bool, detached: bool) -> None:
        self.client, self.service, self.detached = client, service, detached
        self.default = NO_TIMEOUT if waits else 0
        """Nanoseconds of a call without a timeout; 0 is what the client was told."""


class Method:
    """A method that is called."""

    __slots__ = ("_deserializer", "_flags", "_serializer", "_takes_views", "path", "target")

    def __init__(self, target: Target, path: Any, serializer: Serializer | None, deserializer: Deserializer | None) -> None:
        self.target = target
        self.path = path_of(path)
        self._serializer, self._deserializer = serializer, deserializer
        # What protobuf generates reads a long message where it is; other functions are promised bytes.
        self._takes_views = is_protobuf(getattr(deserializer, "__self__", None))
        described = known(self.path)
        self._flags = PROTO | _WAIT | (_IDEMPOTENT if described is not None and described.idempotent else 0)

    def at(self, path: Any) -> Method:
        """The same at another path, which an interceptor may want."""
        path = path_of(path)
        return self if path == self.path else Method(self.target, path, self._serializer, self._deserializer)

    def terms(self, payload: Any, timeout: float | None, metadata: Any, wait: bool | None, compression: Any) -> Terms:
        """A request as the native client takes it."""
        target = self.target
        inbound = None if target.detached else current.get(None)
        return (
            target.service,
            self.path,
            payload,
            pairs(metadata) if metadata else None,
            target.default if timeout is None else nanoseconds(timeout),
            0 if inbound is None else inbound._id,
            "" if wait is None and compression is None else _document(wait, compression),
            self._flags,
        )

    def write(self, request: Any) -> Any:
        """The bytes of a request. Raises ``Internal`` with what its serializer raised."""
        if self._serializer is None:
            return request
        try:
            return self._serializer(request)
        except Exception as error:
            raise unserializable("serializing request", error) from error

    def read(self, payload: Any, _flags: int = 0) -> Any:
        """The response of its bytes. Raises ``Internal`` with what its deserializer raised."""
        if type(payload) is not bytes:
            payload = memoryview(payload) if self._takes_views else bytes(payload)
        if self._deserializer is None:
            return payload
        try:
            return self._deserializer(payload)
        except Exception as error:
            raise unserializable("deserializing response", error) from error


def path_of(path: Any) -> str:
    """``/package.Service/Method``, of text or bytes."""
    found = path.decode() if isinstance(path, bytes) else path
    if not isinstance(found, str) or found.count("/") != 2 or not found.startswith("/"):
        raise ValueError(f"method {found!r} is no path: give /package.Service/Method")
    return found


def _document(wait: bool | None, compression: Any) -> str:
    found = _documents.get((wait, compression))
    if found is None:
        options: dict[str, Any] = {}
        if wait is not None:
            options["wait_for_ready"] = bool(wait)
        if compression is not None:
            options["compression"] = compression_of(compression)
        found = _documents[wait, compression] = document(options)
    return found


def compression_of(compression: Any) -> str:
    """The name of a compression. Raises ``ValueError`` for one that is not spoken."""
    try:
        return _COMPRESSIONS[compression]
    except (KeyError, TypeError):
        raise WrongArgument(
            f"compression {compression!r} is not spoken: give grpc.Compression.Gzip or NoCompression", id="micro"
        ) from None


def refuse(credentials: Any) -> None:
    """Raises ``ValueError`` when there are credentials of a call."""
    if credentials is not None:
        raise WrongArgument(
            "credentials of a call are not taken: give metadata=(('authorization', 'Bearer ...'),) and the channel tls=...",
            id="micro",
        )


def seconds_of(timeout: Any) -> float | None:
    """Seconds of a timeout that ends."""
    return None if timeout is None or timeout == math.inf else float(timeout)


def options_of(client: Any, options: Any) -> dict[str, Any]:
    """Options of the client of a channel."""
    if client is not None and options:
        raise TypeError(f"{', '.join(options)}: give options to the client, or no client")
    found = dict(options)
    if isinstance(found.get("compression"), grpc.Compression):
        found["compression"] = compression_of(found["compression"])
    return found
