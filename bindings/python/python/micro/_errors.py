"""What goes wrong: one tree of exceptions, and how they cross the border."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Any, NamedTuple

from ._metadata import Metadata, of_blocks
from ._text import text_of


class Code(enum.IntEnum):
    """How a call ended, in gRPC's numbers."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


_HTTP = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 408,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 412,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.UNAUTHENTICATED: 401,
}
"""go-micro's numbers of codes, where they are not 500."""


class Detail(NamedTuple):
    """A protobuf message attached to an error, for programs to read."""

    type_url: str
    value: bytes

    @property
    def name(self) -> str:
        """Full name of the message's type."""
        return self.type_url.rpartition("/")[2]


class Error(Exception):
    """A failure. Raise one of the subclasses in a handler, and its caller catches the same, wherever it runs.

    ``detail`` is text for people, and ``details`` are protobuf messages for programs, or :class:`Detail`. ``http`` is
    go-micro's HTTP-like number, where it should be another than the one that follows from the code.

    The error arrives whatever it is made of: an exception, a number or a UUID as ``detail`` or ``id`` becomes text, and so
    does a detail that is no message.
    """

    code: Code = Code.UNKNOWN
    """gRPC's code."""
    _http: Any = 0
    """go-micro's number, where one was given."""

    def __init__(
        self,
        detail: Any = "",
        *,
        id: Any = "",
        code: Code | int | None = None,
        http: int = 0,
        details: Iterable[Any] = (),
    ) -> None:
        self.detail = text_of(detail)
        """What is wrong, for people."""
        super().__init__(self.detail)
        self.id = text_of(id)
        """The component that failed."""
        if code is not None:
            self.code = Code(code)
        self._http: Any = http
        self.details = details_of(details)
        """Protobuf messages that say more; in Rust they are the error's ``attached``."""
        self.service = ""
        """The service that was called; of a call that failed."""
        self.endpoint = ""
        """The endpoint that was called; of a call that failed."""
        self.node = ""
        """Id and address of the node that was tried last; empty when none was."""
        self.attempts = 0
        """How often it was tried; 0 when it failed before the first time."""
        self.reason = ""
        """What kept the call from every handler, where the code alone does not tell: ``no_nodes``, ``no_match``,
        ``other_service``. Empty for all that the far side said."""
        self.is_remote = False
        """True when the far side said so."""
        self._retry_after = 0.0
        self.headers = Metadata()
        """Headers that came with the failure."""
        self.trailers = Metadata()
        """Trailers that came with the failure."""

    @property
    def name(self) -> str:
        """Spelling of the code, for example ``NOT_FOUND``."""
        return Code(self.code).name

    @property
    def http(self) -> int:
        """go-micro's HTTP-like number, for example 404: the one that was given, or that follows from the code."""
        return self._http or _HTTP.get(self.code, 500)

    @http.setter
    def http(self, number: int) -> None:
        self._http = number

    def __str__(self) -> str:
        said = f"{self.name} {self.id}: {self.detail}" if self.id else f"{self.name}: {self.detail}"
        if not self.endpoint:
            return said
        where = f"{self.service} {self.endpoint}" if self.service else self.endpoint
        node = f" on {self.node}" if self.node else ""
        times = "1 attempt" if self.attempts == 1 else f"{self.attempts} attempts"
        return f"{said} [{where}{node}, {times}]"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[Error], args: tuple[Any, ...], state: dict[str, Any]) -> Error:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


def details_of(given: Any) -> tuple[Detail, ...]:
    """Details of whatever is given as such: many, or one."""
    if isinstance(given, (Detail, str, bytes, dict)) or _is_message(given) or not isinstance(given, Iterable):
        return () if given is None else (_detail(given),)
    return tuple(_detail(one) for one in given)


def _is_message(given: Any) -> bool:
    return hasattr(given, "SerializeToString") and hasattr(given, "DESCRIPTOR")


def _detail(given: Any) -> Detail:
    try:
        if _is_message(given):
            return Detail(f"type.googleapis.com/{given.DESCRIPTOR.full_name}", given.SerializeToString())
        if isinstance(given, tuple) and len(given) == 2:
            return Detail(text_of(given[0]), bytes(memoryview(given[1])))
    except Exception:
        # It says what it can, below.
        pass
    # A message with one text, as field 1.
    text = text_of(given).encode()
    length, size = bytearray(), len(text)
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    length.append(size)
    return Detail("type.googleapis.com/google.protobuf.StringValue", b"\x0a" + bytes(length) + text)


class Cancelled(Error):
    """The call was cancelled, by its caller or by what it was part of."""

    code = Code.CANCELLED


class Unknown(Error):
    """Something failed, and no cause was given."""

    code = Code.UNKNOWN


class InvalidArgument(Error):
    """The request is wrong, whatever the state of the service."""

    code = Code.INVALID_ARGUMENT


class DeadlineExceeded(Error, TimeoutError):
    """The deadline passed. Also a ``TimeoutError``."""

    code = Code.DEADLINE_EXCEEDED


class NotFound(Error):
    """There is no such thing."""

    code = Code.NOT_FOUND


class AlreadyExists(Error):
    """There is such a thing already."""

    code = Code.ALREADY_EXISTS


class PermissionDenied(Error):
    """The caller is known, and may not."""

    code = Code.PERMISSION_DENIED


class ResourceExhausted(Error):
    """A limit is reached: try again later."""

    code = Code.RESOURCE_EXHAUSTED


class FailedPrecondition(Error):
    """The state of the service does not allow it."""

    code = Code.FAILED_PRECONDITION


class Aborted(Error):
    """Something else came in between: begin anew."""

    code = Code.ABORTED


class OutOfRange(Error):
    """Past the end."""

    code = Code.OUT_OF_RANGE


class Unimplemented(Error):
    """The service has no such endpoint."""

    code = Code.UNIMPLEMENTED


class Internal(Error):
    """The service is broken."""

    code = Code.INTERNAL


class Unavailable(Error):
    """The service cannot be reached now."""

    code = Code.UNAVAILABLE


class DataLoss(Error):
    """Something is lost for good."""

    code = Code.DATA_LOSS


class Unauthenticated(Error):
    """The caller is not known."""

    code = Code.UNAUTHENTICATED


class LocalError(Error):
    """What this library says of itself, before anything is sent or after everything is over."""

    status = 0
    """The bridge's number."""

    @property
    def name(self) -> str:
        return type(self).__name__.upper()


class Stale(LocalError):
    """The call, stream or watch is over."""

    status, code = 1000, Code.CANCELLED


class Forked(LocalError):
    """A client or a service was used in a forked child, and made in its parent: make a new one in the child."""

    status, code = 1001, Code.FAILED_PRECONDITION


class Panic(LocalError):
    """A bug in this library."""

    status, code = 1002, Code.INTERNAL


class Closed(LocalError):
    """The client, the stream or the runtime is closed."""

    status, code = 1003, Code.CANCELLED


class Full(LocalError):
    """A limit of this process is reached."""

    status, code = 1004, Code.RESOURCE_EXHAUSTED


class WrongArgument(LocalError, ValueError):
    """An argument is wrong; the message says what would be right. Also a ``ValueError``."""

    status, code = 1006, Code.INVALID_ARGUMENT


def _tree(root: type[Error]) -> Iterable[type[Error]]:
    for kind in root.__subclasses__():
        yield kind
        yield from _tree(kind)


_LOCAL: dict[int, type[Error]] = {kind.status: kind for kind in _tree(Error) if issubclass(kind, LocalError) and kind.status}
_REMOTE: dict[int, type[Error]] = {int(kind.code): kind for kind in _tree(Error) if not issubclass(kind, LocalError)}


def class_of(code: Code | int) -> type[Error]:
    """The exception of a code."""
    return _REMOTE.get(int(code), Unknown)


def from_native(
    status: tuple[int, str, int],
    said: tuple[str, str, int],
    rest: tuple[tuple[str, str, str, int] | None, tuple[bool, str], list[tuple[str, bytes]], bytes],
) -> Error:
    """The exception of a failure of the bridge."""
    number, _, code = status
    id, detail, http = said
    origin, found, details, meta = rest
    kind = _LOCAL.get(number) or class_of(code)
    error = kind(detail, id=id, http=http, details=details)
    if origin is not None:
        error.service, error.endpoint, error.node, error.attempts = origin
    error.is_remote, error.reason = found
    if meta:
        error.headers, error.trailers = of_blocks(meta)
    return error
