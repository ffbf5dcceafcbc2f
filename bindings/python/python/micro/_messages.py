"""Messages of topics: what is delivered, and what its handler says became of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar
from urllib.parse import unquote

from . import _codec
from ._context import current
from ._errors import InvalidArgument, Unimplemented
from ._metadata import Metadata, of_blocks, pairs
from ._options import PublishOptions, document, name_of, nanoseconds, seconds
from ._pipe import LoopPipe, QueuePipe
from ._text import text_of

if TYPE_CHECKING:
    from types import TracebackType

    from . import _micro

T = TypeVar("T", covariant=True)

_ACK, _RETRY, _REJECT, _EXTEND = 0, 1, 2, 3
_WAIT = 0x100

Publication = tuple[str, Any, Any, int, int, str, int]


class Delivered(NamedTuple):
    """What is known of a message, beside its metadata and its body."""

    topic: str
    attempt: int = 1
    """How often it was delivered to its queue, this time included."""
    sequence: int | None = None
    """Its number, which grows through the topic, where the broker keeps messages."""
    published: datetime | None = None
    """When it was published, in UTC."""
    key: str | None = None
    id: str | None = None
    priority: int = 0
    content_type: str | None = None


class CloudEvent(NamedTuple):
    """What a message says of itself as an event of CloudEvents 1.0, in headers such as ``ce-id`` and ``ce-type``."""

    source: str
    """Where it happened, as a reference to it, such as ``/shop`` or ``https://example.com/shop``."""
    type: str
    """What happened, such as ``com.example.order.placed``."""
    id: str | None = None
    """Tells it from the others of its source: the id of the message unless set, and a random one where that has none."""
    subject: str | None = None
    """What it happened to, within its source."""
    time: datetime | None = None
    """When it happened: now, unless set."""
    attributes: Mapping[str, str] = {}
    """All other attributes, such as ``dataschema``, by their names of 1 to 20 lower-case letters and digits."""


class Delivery(Generic[T]):
    """A message that is being handled, and the way to say what became of it.

    ``with delivery:`` acknowledges it when the block ends, and has it delivered again when it raises; a message that cannot be
    read becomes a dead letter. Within it may be settled otherwise. Each of the functions returns ``False`` where that was said
    before, or the subscription has ended and the message is another's.
    """

    __slots__ = ("_decode", "_flags", "_message", "_payload", "_settle", "delivered", "metadata")

    def __init__(
        self,
        settle: Callable[[int, int, str], bool],
        payload: Any,
        flags: int,
        meta: bytes,
        decode: _codec.Decode,
    ) -> None:
        self._settle, self._payload, self._flags, self._decode = settle, payload, flags, decode
        self._message: Any = _UNREAD
        self.metadata, known = of_blocks(meta)
        """What was sent along: a :class:`micro.Metadata`."""
        self.delivered = _delivered(known)
        """What is known of it."""

    @property
    def message(self) -> T:
        """The message, as the type that was asked for. Raises ``InvalidArgument`` for one that is none."""
        if self._message is _UNREAD:
            self._message = self._decode(self._payload, self._flags)
        message: T = self._message
        return message

    @property
    def cloud_event(self) -> CloudEvent | None:
        """What it says of itself as an event of CloudEvents 1.0; ``None`` where it is none. Raises ``InvalidArgument`` for one
        that is not as it should be."""
        said = {name[3:]: unquote(str(value)) for name, value in self.metadata.pairs if name.startswith("ce-")}
        if "specversion" not in said:
            return None
        version, time = said.pop("specversion"), said.pop("time", None)
        if not version.startswith("1."):
            raise InvalidArgument(f"the event is of version {version}, and not of 1.0 of CloudEvents")
        if missing := [f"ce-{name}" for name in ("id", "source", "type") if name not in said]:
            raise InvalidArgument(f"the event has no header {missing[0]}")
        try:
            happened = None if time is None else datetime.fromisoformat(time)
        except ValueError:
            raise InvalidArgument(f"the time of the event, {text_of(time)}, is none of RFC 3339") from None
        own = [said.pop(name, None) for name in ("source", "type", "id", "subject")]
        return CloudEvent(str(own[0]), str(own[1]), own[2], own[3], happened, said)

    def ack(self) -> bool:
        """It was handled."""
        return self._settle(_ACK, 0, "")

    def retry(self, delay: float | timedelta = 0.0, reason: str = "") -> bool:
        """It is to be delivered again after ``delay`` seconds, unless that was tried too often: then it is a dead letter, which
        says the ``reason``."""
        wait = seconds(delay, "delay")
        if not 0 <= wait < math.inf:
            raise ValueError(f"delay is {delay}: give seconds from 0 on")
        return self._settle(_RETRY, min(round(wait * 1e9), (1 << 63) - 1), text_of(reason))

    def reject(self, reason: str) -> bool:
        """It is a dead letter, which says the ``reason``."""
        return self._settle(_REJECT, 0, text_of(reason))

    def extend(self) -> bool:
        """It is still being handled: its lease begins anew. Handlers of services need not say so."""
        return self._settle(_EXTEND, 0, "")

    def __enter__(self) -> Delivery[T]:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is None:
            self.ack()
        elif isinstance(error, Exception) and self._message is _UNREAD and _is_unreadable(error):
            self.reject(text_of(error))
        else:
            self.retry(reason=text_of(error) or type(error).__name__)

    def __repr__(self) -> str:
        known = self.delivered
        return f"<micro.Delivery of {known.topic!r}, attempt {known.attempt}>"


_UNREAD = object()


def _is_unreadable(error: Exception) -> bool:
    return isinstance(error, (InvalidArgument, Unimplemented))


def _delivered(known: Metadata) -> Delivered:
    said = dict(known.pairs)

    def text(name: str) -> str | None:
        value = said.get(name)
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else value

    sequence, published = text("sequence"), text("published")
    return Delivered(
        topic=text("topic") or "",
        attempt=int(text("attempt") or 1),
        sequence=None if sequence is None else int(sequence),
        published=None if published is None else _EPOCH + timedelta(milliseconds=int(published)),
        key=text("key"),
        id=text("id"),
        priority=int(text("priority") or 0),
        content_type=text("type"),
    )


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def of_context(context: _micro.Context, meta: bytes) -> Delivery[Any] | None:
    """The message that a subscriber of a service handles; nothing where a job runs."""

    def unread(payload: Any, flags: int) -> Any:
        raise RuntimeError("the message is what the handler was given")

    if "job" in of_blocks(meta)[1]:
        return None
    return Delivery(context._settle, None, context._flags, meta, unread)


def reject(context: _micro.Context, error: Exception) -> None:
    """Makes a message that cannot be read a dead letter at once."""
    context._settle(_REJECT, 0, text_of(error))


def publication(topic: str, message: Any, options: PublishOptions) -> Publication:
    """A message as the native client takes it."""
    topic = name_of("topic", topic)
    rest: dict[str, Any] = dict(options)
    codec = _codec.codec_of(rest.pop("codec", None), message)
    payload = _codec.encode(message, codec, "the message")
    inbound = current.get(None)
    parent = 0 if inbound is None else inbound._id
    if rest.pop("detached", False):
        parent = 0
    timeout, metadata = rest.pop("timeout", None), rest.pop("metadata", None)
    if isinstance(timeout, str):
        raise TypeError(f"timeout={timeout!r} is text: give seconds, such as 1.5")
    if rest.get("cloud_event") is not None:
        rest["cloud_event"] = _event(rest["cloud_event"])
    meta = None if metadata is None else pairs(metadata)
    return topic, payload, meta, nanoseconds(timeout), parent, document(rest), codec | _WAIT


def _event(event: Any) -> dict[str, Any]:
    """An event as the core takes it."""
    if not isinstance(event, CloudEvent):
        raise TypeError(f'cloud_event is {type(event).__name__}: give micro.CloudEvent("/shop", "com.example.order.placed")')
    told = {name: value for name, value in event._asdict().items() if value is not None}
    if "time" in told:
        if told["time"].tzinfo is None:
            raise ValueError("the time of the event has no time zone: give datetime.now(timezone.utc), or another with a zone")
        told["time"] = max(0, round(told["time"].timestamp() * 1000))
    return told


def start_of(start: Any) -> Any:
    """Where a subscription starts, as the core takes it."""
    if start is None or isinstance(start, (str, dict)):
        return start
    if isinstance(start, datetime):
        if start.tzinfo is None:
            raise ValueError("start has no time zone: give datetime.now(timezone.utc), or another one with a zone")
        return {"time": max(0, round(start.timestamp() * 1000))}
    if isinstance(start, int) and not isinstance(start, bool):
        return {"sequence": start}
    raise TypeError(f'start is {type(start).__name__}: give "new", "first", a number or a datetime')


def lease_of(lease: float | timedelta | None) -> int | None:
    """A lease in milliseconds."""
    return None if lease is None else min(round(min(seconds(lease, "lease"), 1e12) * 1000), 1 << 53)


class LoopDeliveries(LoopPipe):
    """Messages on their way to a task."""

    def _delivery(self, payload: Any, flags: int, id: int, meta: bytes) -> None:
        self._message(payload, (flags, id, meta))  # type: ignore[arg-type]


class QueueDeliveries(QueuePipe):
    """Messages on their way to a thread."""

    def _delivery(self, payload: Any, flags: int, id: int, meta: bytes) -> None:
        self._message(payload, (flags, id, meta))  # type: ignore[arg-type]


def taking(runtime: _micro.Runtime, returns: Any) -> Callable[[Any, Any], Delivery[Any]]:
    """Makes deliveries of what a pipe has."""
    read = _codec.decoder(returns, "the message", None, InvalidArgument)

    def delivery(payload: Any, told: tuple[int, int, bytes]) -> Delivery[Any]:
        flags, id, meta = told

        def settle(verdict: int, delay: int, reason: str) -> bool:
            return runtime.settle(id, verdict, delay, reason)

        return Delivery(settle, payload, flags, meta, read)

    return delivery
