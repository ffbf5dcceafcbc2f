"""What calls are made of: terms that go to the native client, and replies that come back."""

from __future__ import annotations

from typing import Any, Generic, NamedTuple, TypeVar

from . import _codec
from ._context import current
from ._metadata import Metadata, of_blocks, pairs
from ._middleware import Call
from ._options import CallOptions, document, name_of, nanoseconds

T = TypeVar("T")

_WAIT, _IDEMPOTENT, _NOT_IDEMPOTENT = 0x100, 0x200, 0x400
_COMPRESSED = 0x10

Terms = tuple[str, str, Any, Any, int, int, str, int]
Answer = tuple[Any, int, "bytes | None"]


class Reply(NamedTuple, Generic[T]):
    """A reply with what came along."""

    message: T
    headers: Metadata = Metadata()
    trailers: Metadata = Metadata()
    compressed: bool = False
    """True when it came compressed."""


def terms(service: str, endpoint: str, payload: Any, codec: int, options: CallOptions) -> Terms:
    """A request as the native client takes it."""
    if type(service) is not str or type(endpoint) is not str:
        service, endpoint = name_of("service", service), name_of("endpoint", endpoint)
    flags, inbound = codec | _WAIT, current.get(None)
    parent = 0 if inbound is None else inbound._id
    if not options:
        return service, endpoint, payload, None, 0, parent, "", flags
    rest: dict[str, Any] = dict(options)
    rest.pop("codec", None)
    # What is text is for the core to read, or to refuse.
    timeout = None if isinstance(rest.get("timeout"), str) else rest.pop("timeout", None)
    metadata = None if isinstance(rest.get("metadata"), str) else rest.pop("metadata", None)
    idempotent = rest.pop("idempotent", None)
    if idempotent is not None:
        flags |= _IDEMPOTENT if idempotent else _NOT_IDEMPOTENT
    if rest.pop("detached", False):
        parent = 0
    meta = None if metadata is None else pairs(metadata)
    return service, endpoint, payload, meta, nanoseconds(timeout), parent, document(rest), flags


def unary(service: str, endpoint: str, request: Any, options: CallOptions) -> Terms:
    """The same, with the payload and the codec of a request."""
    codec = _codec.codec_of(options.get("codec"), request) if options else _codec.natural(request)
    payload = _codec.encode(request, codec, "the request")
    return terms(service, endpoint, payload, codec, options)


def reply(answer: Answer, read: _codec.Decode) -> Reply[Any]:
    """An answer with what came along."""
    payload, flags, meta = answer
    headers, trailers = of_blocks(meta)
    return Reply(read(payload, flags), headers, trailers, bool(flags & _COMPRESSED))


def options_of(call: Call) -> CallOptions:
    """What a call was given, as middleware has left it."""
    return call.options  # type: ignore[return-value]


def replied(answer: Any) -> Reply[Any]:
    """What middleware gave for a call with one reply."""
    if not isinstance(answer, Reply):
        kind = type(answer).__name__
        raise TypeError(f"a middleware returned {kind}: return what `call_next` gave, or `micro.Reply(message)`")
    return answer


def sends_nothing(_: Any) -> Any:
    raise TypeError("this stream sends no messages: its one request was sent when it was opened")
