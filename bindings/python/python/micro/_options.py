"""Options as Python writes them, as the documents the core reads."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Union

from ._metadata import MetadataLike
from ._text import text_of

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from ._messages import CloudEvent

Seconds = Union[float, int, "timedelta", str]
"""A duration: seconds, a ``timedelta``, or text such as ``"250ms"``."""

NO_TIMEOUT = (1 << 64) - 1


class _Routing(TypedDict, total=False):
    addresses: Sequence[str]
    """``host:port`` of nodes to call instead of asking the registry."""
    filters: Sequence[Mapping[str, Any]]
    """``{"version": "2"}``, ``{"label": ["zone", "a"]}`` or ``{"endpoint": "A.B"}``, each."""
    strategy: Literal["p2c", "random", "round_robin", "hash"]
    """How a node is chosen."""
    key: str
    """Calls with equal keys go to the same node."""
    wait_for_ready: bool
    """Wait, within the timeout, until the service has a node that takes connections, instead of failing at once."""
    retries: int
    """Attempts after the first."""
    retry: Literal["safe", "go_micro", "on_error", "always", "never"]
    """What may be tried again; ``on_error`` is another name of ``go_micro``."""
    backoff: Literal["jittered", "go_micro", "none"]
    """How long to wait in between."""
    cached: Seconds
    """How long equal calls are answered with the reply, without a node; for calls with one reply."""
    compression: Literal["gzip", "zstd", "none"]
    """How the request is sent."""
    forward: Literal["default", "none"] | Mapping[str, Any]
    """Which headers of the call being served go on: ``only``, ``except``, ``credentials`` and ``credentials_to``."""


class CallOptions(_Routing, total=False):
    """The terms of one call."""

    timeout: Seconds | None
    """For the whole call, all attempts; ``math.inf`` waits for ever, ``None`` is the client's own."""
    metadata: MetadataLike | None
    """Sent along as headers."""
    idempotent: bool | None
    """Whether repeating it is harmless, whatever the endpoint says."""
    codec: str | None
    """What the messages are on the wire: ``json``, ``proto``, ``bytes``, ``text``, or one that ``micro.codec`` has added; as
    the request suggests unless set."""
    detached: bool
    """Part of no call that is served, even inside of a handler."""


class ClientOptions(_Routing, total=False):
    """What a client is told."""

    registry: str
    """URL of a registry."""
    name: str
    """Sent as the service that calls."""
    namespace: str
    """Sent as go-micro's namespace; empty sends none."""
    broker: str
    """URL of a broker."""
    network: str
    """URL of a network, such as ``memory://name``."""
    environment: bool
    """False: variables such as ``MICRO_REGISTRY`` are not read; they come before options unless told so."""
    dial_timeout: Seconds
    """How long making a connection may take."""
    keepalive: Seconds
    """How often connections with calls are probed."""
    keepalive_timeout: Seconds
    """How long a probed connection may be silent."""
    idle_timeout: Seconds | None
    """How long a connection may be without calls before it is closed; ``None`` keeps it."""
    max_connections: int
    """Connections to all nodes together."""
    calls_per_connection: int
    """Calls on each connection to a node before another one is made."""
    max_connections_per_node: int
    max_connection_age: Seconds
    """When a connection takes no more calls; it is closed once it has none."""
    max_message_size: int
    """Bytes."""
    max_cached: int
    """Bytes of replies kept for ``cached``."""
    max_buffered: int
    """Bytes of replies held at once, inflated; more wait, and fail after 5 s."""
    max_in_flight: int
    """Operations under way at once; more wait."""
    tls: Any
    """``"system"``, or ``authority`` and perhaps ``certificate`` and ``private_key``: PEM, or ``{"file": path}``, which is
    read again when it changes. ``server_name`` is verified instead of the address; ``policy`` is ``"required"``, or
    ``"prefer"`` while a fleet moves to TLS."""
    idempotent: bool
    """Whether repeating calls is harmless, whatever endpoints say."""
    timeout: Seconds | None
    """For the whole of a call; ``None`` for ever."""
    metadata: Mapping[str, str | Sequence[str]]
    """Sent with every call."""


class PublishOptions(TypedDict, total=False):
    """The terms of one message."""

    key: str
    """Messages of one key are delivered one after the other."""
    delay: Seconds
    """Not delivered before."""
    expires_in: Seconds
    """Delivered within it, or not at all."""
    id: str
    """Published again with the same one, it is delivered once."""
    priority: int
    """0 to 9, the highest first."""
    exchange: str
    """A topic of the broker to publish to, while the message says its own."""
    cloud_event: CloudEvent
    """What it says of itself as an event of CloudEvents 1.0."""
    detached: bool
    """Takes nothing along from the call or message that is being handled."""
    metadata: MetadataLike | None
    """Sent along as headers."""
    codec: str | None
    """As of calls."""
    timeout: Seconds | None
    """Until the broker has it: 10 s unless set, and no more than the call being served has left."""


class SubscriberOptions(TypedDict, total=False):
    """What a subscriber of a service asks of its broker."""

    queue: str
    """Subscribers of one queue share its messages; without one, each instance gets every message."""
    start: Literal["new", "first"] | int | datetime | Mapping[str, Any]
    """Where a queue that is new begins: with new messages unless set, a number is that of a message."""
    max_in_flight: int
    """Messages that are handled at a time: 16 unless set."""
    max_attempts: int
    """How often a message is delivered before it is a dead letter: 5 unless set."""
    lease: Seconds
    """How long a message may be with a process that gives no sign of life: 30 s unless set."""
    dead_letters: str
    """Topic of messages that failed too often; that of the subscriber and ``.dead`` unless set."""
    backoff: Literal["jittered", "go_micro", "none"]
    """How long a message waits after a failure."""
    timeout: Seconds
    """The most time for one message."""
    internal: bool
    """Subscribes without telling the registry."""


class JobOptions(TypedDict, total=False):
    """What becomes of the runs of a job."""

    name: str
    """By which nodes agree: 1 to 100 letters, digits, ``-`` and ``_``; made of the schedule unless set."""
    scope: Literal["fleet", "node"]
    """Once in the fleet, which is the default, or once on each node."""
    missed: Literal["skip", "once"] | int
    """What becomes of runs that no node could begin: left out unless set, made up for once, or so many of them."""
    timeout: Seconds
    """The most time for one run."""
    max_attempts: int
    """How often a run that fails is attempted: once unless set."""
    backoff: Literal["jittered", "go_micro", "none"]
    """How long a run waits after a failure."""


class CronOptions(JobOptions, total=False):
    """The same of one by a cron expression."""

    zone: str
    """Time zone of the expression, such as ``Europe/Berlin``; UTC unless set."""


class EndpointOptions(TypedDict, total=False):
    """What callers may know of an endpoint."""

    idempotent: bool
    """Repeating a call is harmless, so clients may."""
    read_only: bool
    """A call changes nothing; web pages may call it with a GET."""
    internal: bool
    """Served, but not advertised."""
    metadata: Mapping[str, str]
    """Labels."""
    descriptors: str
    """A serialized ``FileDescriptorSet`` in base64; ``request`` and ``response`` are then names of messages in it."""


class ServiceOptions(TypedDict, total=False):
    """What a service is told."""

    version: str
    """Its version; ``latest`` unless set."""
    id: str
    """The node is ``<name>-<id>``; random unless set."""
    metadata: Mapping[str, str]
    """Labels of the node."""
    address: str
    """Where it listens, such as ``":8080"``."""
    advertise: str
    """What it registers instead."""
    registry: str
    """URL of a registry."""
    broker: str
    """URL of a broker."""
    network: str
    """URL of a network, such as ``memory://name``."""
    settings: str
    """A JSON file of settings, which come before these options."""
    environment: bool
    """False: variables such as ``MICRO_SERVER_ADDRESS`` are not read. Otherwise they come before options and ``settings``."""
    quiet: bool
    """True: nothing is said at the start."""
    register_ttl: Seconds
    """How long the registry keeps the node without news of it; longer than the interval. 0 is for ever."""
    register_interval: Seconds
    """How often the node is registered anew; 0 is never."""
    register_timeout: Seconds
    """How long a request to the registry may take; ``math.inf`` for ever."""
    register_check: str
    """What must answer before each registration: ``tcp://host:port``, or ``http://host:port/path`` with 200 to 299. A function
    is given to :meth:`Service.register_check`."""
    propagation: Seconds
    """How long it serves on after deregistering."""
    grace: Seconds
    """How long running calls have after that."""
    tls: Mapping[str, Any]
    """``certificate``, ``private_key`` and perhaps ``authority``: PEM, or ``{"file": path}``, which is read again when it
    changes."""
    client: ClientOptions
    """Options of the client inside."""
    max_concurrent_calls: int
    max_connections: int
    max_concurrent_streams: int
    max_message_size: int
    max_header_size: int
    max_unsent_replies: int
    max_buffered: int
    """Bytes of requests held at once, inflated; more wait, and are refused after 5 s."""
    max_buffered_per_connection: int
    """Those of one connection."""
    compression: Literal["gzip", "zstd", "none"]
    """How answers are sent."""
    allow_origins: Sequence[str]
    """Origins whose web pages may call."""
    keepalive: Seconds | None
    max_connection_age: Seconds
    handshake_timeout: Seconds
    """For a TLS handshake, the first bytes, and each head that has begun."""
    body_timeout: Seconds
    """For the message of a request, with a millisecond more for each of its bytes."""
    idle_timeout: Seconds
    """How long an HTTP/1.1 connection may be idle."""
    limiter: Any
    """``"adaptive"``, ``"off"``, or ``patience`` and ``at_least``."""


_DURATIONS = frozenset(
    (
        "timeout",
        "cached",
        "dial_timeout",
        "keepalive",
        "keepalive_timeout",
        "idle_timeout",
        "register_ttl",
        "register_interval",
        "register_timeout",
        "propagation",
        "grace",
        "max_connection_age",
        "handshake_timeout",
        "body_timeout",
        "idle_timeout",
        "patience",
        "delay",
        "expires_in",
        "lease",
        "every",
    )
)


def count(option: str, value: Any) -> int | None:
    """A number of things, at least one; ``None`` is the default."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise (ValueError if isinstance(value, int) else TypeError)(f"{option} is {value!r}: give a number from 1 on")
    return value


def name_of(what: str, value: Any) -> str:
    """The name of a service or an endpoint, which is text."""
    if not isinstance(value, str):
        raise TypeError(f"the name of the {what} is {_shown(value)}: give text")
    return str.__str__(value)


def seconds(value: Any, option: str = "the time") -> float:
    """A duration in seconds: a number of any kind, or a ``timedelta``. Endless ones are ``math.inf``."""
    if isinstance(value, bool) or isinstance(value, (str, bytes)):
        raise TypeError(f"{option} is {value!r}: give seconds, or a timedelta")
    try:
        found = float(value.total_seconds()) if hasattr(value, "total_seconds") else float(value)
    except OverflowError:
        # Longer than a float can say.
        found = _BEYOND if value > 0 else -_BEYOND
    except (TypeError, ValueError, ArithmeticError):
        raise TypeError(f"{option} is {_shown(value)}: give seconds, or a timedelta") from None
    if math.isnan(found):
        raise ValueError(f"{option} is no number: give seconds, or math.inf to wait for ever")
    if found == -math.inf:
        raise ValueError(f"{option} is {found}: give seconds, or math.inf to wait for ever")
    return found


def nanoseconds(timeout: Any) -> int:
    """The timeout of a call as the bridge takes it; 0 is the client's own."""
    if timeout is None or isinstance(timeout, str):
        # Text is for the core to read.
        return 0
    given = seconds(timeout, "timeout")
    if given == math.inf:
        return NO_TIMEOUT
    # No time left is a deadline that has passed, not none.
    return max(1, round(given * 1e9)) if given < NO_TIMEOUT / 1e9 else NO_TIMEOUT - 1


def document(options: Mapping[str, Any]) -> str:
    """Options as a JSON document. Raises ``TypeError`` and ``ValueError`` that name the option which cannot be one."""
    return json.dumps(_plain(options, ""), ensure_ascii=False) if options else ""


def _plain(options: Mapping[Any, Any], within: str) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in options.items():
        if not isinstance(name, str):
            raise TypeError(f"an option {within or 'here'} is named by {_shown(name)}: names are text")
        where = f"{within}.{name}" if within else name
        if hasattr(value, "total_seconds") or (name in _DURATIONS and not (value is None or isinstance(value, str))):
            length = seconds(value, where)
            if length == math.inf:
                out[name] = "none" if name in _ENDLESS else f"{_LONGEST}s"
            else:
                out[name] = f"{min(length, _BEYOND):.9f}s"
        else:
            out[name] = _value(value, where)
    return out


def _value(value: Any, where: str) -> Any:
    if isinstance(value, Mapping):
        return _plain(value, where)
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{where} has half a surrogate pair: give text that UTF-8 can say") from None
        return str.__str__(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} is {value}: give a number that is finite")
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_value(one, f"{where}[{place}]") for place, one in enumerate(value)]
    if hasattr(value, "__fspath__"):
        return str(value)
    raise TypeError(f"{where} is {_shown(value)}: give text, a number, a list or a mapping")


def _shown(value: Any) -> str:
    return f"{text_of(repr(value))[:60]} ({type(value).__name__})" if not isinstance(value, Mapping) else "a mapping"


_ENDLESS = ("timeout", "keepalive")
"""Durations that have a word for no end."""
_LONGEST = 366 * 24 * 3600
"""Seconds that stand for no end where there is no word for it: the most the core takes."""
_BEYOND = 1e12
"""Seconds that are more than any option takes."""
