"""A broker that a program provides by itself."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ._handler import EAGER, STREAMING
from ._logging import logger
from ._metadata import Metadata
from ._pipe import LoopPipe
from ._text import text_of

if TYPE_CHECKING:
    from . import _micro
    from ._runtime import Hub

BROKER = 0x04
_ABILITIES = {
    "redelivers": 0x100,
    "persists": 0x200,
    "replays": 0x400,
    "delays": 0x800,
    "orders_by_key": 0x1000,
    "expires": 0x2000,
    "deduplicates": 0x4000,
    "prioritizes": 0x8000,
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Message(NamedTuple):
    """A message, as a broker keeps it."""

    topic: str
    body: bytes
    metadata: Metadata = Metadata()
    content_type: str | None = None
    key: str | None = None
    id: str | None = None
    priority: int = 0
    due: datetime | None = None
    """Not to be delivered before."""
    expires: datetime | None = None
    """Not to be delivered after."""


class Subscription(NamedTuple):
    """What a subscriber asks of a broker."""

    topic: str
    queue: str | None
    start: str | int | datetime
    """``"new"``, ``"first"``, the number of a message, or a time."""
    max_in_flight: int
    max_attempts: int
    lease: float
    """Seconds."""
    dead_letters: str
    """Topic of messages that were delivered too often or rejected."""


class Lent(NamedTuple):
    """A message that a broker delivers, and what is called with what became of it.

    ``settle(verdict, delay, reason)`` is told ``"ack"``; ``"retry"`` after ``delay`` seconds; ``"reject"``; or ``"extend"``,
    when its lease begins anew. It may be a coroutine function.
    """

    message: Message
    settle: Callable[[str, float, str], Awaitable[None] | None]
    attempt: int = 1
    sequence: int | None = None
    published: datetime | None = None


class Broker(Protocol):
    """A broker written in Python: what :func:`micro.provide` takes.

    Methods may be coroutines or plain functions; plain ones run on the event loop, so they must not block. What a message or a
    subscription asks for beyond its ``abilities`` is refused before they are called.
    """

    abilities: Collection[str]
    """What it can do, of ``redelivers``, ``persists``, ``replays``, ``delays``, ``orders_by_key``, ``expires``,
    ``deduplicates`` and ``prioritizes``."""

    def publish(self, message: Message) -> Awaitable[None] | None:
        """Takes a message. Returns once it is as safe as the broker makes messages."""

    def subscribe(self, subscription: Subscription) -> Awaitable[AsyncIterator[Lent]] | AsyncIterator[Lent]:
        """Messages of a topic, never more than ``max_in_flight`` of them unsettled.

        The subscription stands when this has returned, so it is no generator, which begins with the first ``anext``. The
        iterator is closed (``aclose``) when its reader has left; what is not settled by then is another's.
        """
        ...


class BrokerServing:
    """Answers what is asked of a broker."""

    def __init__(self, url: str, broker: Broker, native: _micro.Runtime, hub: Hub) -> None:
        self._url, self._broker, self._native, self._hub = url, broker, native, hub
        unknown = set(broker.abilities) - _ABILITIES.keys()
        if unknown:
            raise ValueError(f"{', '.join(sorted(unknown))}: abilities are {', '.join(_ABILITIES)}")
        self.area = BROKER + sum(_ABILITIES[one] for one in set(broker.abilities))

    def served(self) -> list[tuple[str, Any, int]]:
        """In the order of their numbers, from 0x0401."""
        return [
            (f"{self._url} subscribe", self._subscribe, STREAMING),
            (f"{self._url} publish", self._publish, EAGER),
        ]

    async def _publish(self, body: Any, context: _micro.Context) -> bytes:
        args, headers = _parts(context.metadata)
        message = Message(
            topic=args["topic"],
            body=bytes(body),
            metadata=headers,
            content_type=args.get("type"),
            key=args.get("key"),
            id=args.get("id"),
            priority=args.get("priority", 0),
            due=_time(args.get("due")),
            expires=_time(args.get("expires")),
        )
        await done(self._broker.publish(message))
        return b""

    async def _subscribe(self, _: Any, context: _micro.Context) -> bytes:
        pipe = LoopPipe(self._native, lambda payload, _: payload, self._hub.loop)
        pipe.id = context._id
        context._stream = pipe
        pipe.start(pipe.id)
        args, _headers = _parts(context.metadata)
        messages = await done(self._broker.subscribe(_subscription(args)))
        if not hasattr(messages, "__aiter__"):
            raise TypeError(f"subscribe returned {type(messages).__name__}: return an asynchronous iterator of Lent")
        lent: dict[int, Lent] = {}
        listening = asyncio.ensure_future(self._listen(pipe, lent))
        try:
            await pipe.send(b"")
            number = 0
            async for one in messages:
                if not isinstance(one, Lent):
                    raise TypeError(f"subscribe gave {type(one).__name__}: give Lent(message, settle)")
                number += 1
                lent[number] = one
                await pipe.send(_headed(_head(number, one), one.message.body))
        finally:
            listening.cancel()
            if hasattr(messages, "aclose"):
                await messages.aclose()
        return b""

    async def _listen(self, pipe: LoopPipe, lent: dict[int, Lent]) -> None:
        while True:
            said = json.loads(bytes(await pipe.next()))
            number, verdict = said["delivery"], said["verdict"]
            one = lent.get(number) if verdict == "extend" else lent.pop(number, None)
            if one is None:
                continue
            answer: dict[str, Any] = {"settled": number}
            try:
                await done(one.settle(verdict, said.get("delay", 0) / 1000, said.get("reason", "")))
            except Exception as error:
                logger().warning("%s could not settle a message", self._url, exc_info=error)
                answer["error"] = text_of(error) or type(error).__name__
            if verdict != "extend":
                await pipe.send(_headed(answer, b""))


def _parts(metadata: Metadata) -> tuple[dict[str, Any], Metadata]:
    args: dict[str, Any] = json.loads(metadata.get_binary("micro-args-bin") or b"{}")
    return args, Metadata(pair for pair in metadata.pairs if pair[0] != "micro-args-bin")


def _subscription(args: dict[str, Any]) -> Subscription:
    start: Any = args["start"]
    if isinstance(start, dict):
        start = start["sequence"] if "sequence" in start else _EPOCH + timedelta(milliseconds=start["time"])
    topic = args["topic"]
    return Subscription(
        topic=topic,
        queue=args.get("queue"),
        start=start,
        max_in_flight=args["max_in_flight"],
        max_attempts=args["max_attempts"],
        lease=args["lease"] / 1000,
        dead_letters=args.get("dead_letters") or f"{topic}.dead",
    )


def _head(number: int, one: Lent) -> dict[str, Any]:
    message, headers = one.message, dict[str, list[str]]()
    for name, value in message.metadata.pairs:
        text = base64.b64encode(value).decode() if isinstance(value, bytes) else value
        headers.setdefault(name, []).append(text)
    head = {
        "delivery": number,
        "attempt": one.attempt,
        "sequence": one.sequence,
        "published": None if one.published is None else round((one.published - _EPOCH).total_seconds() * 1000),
        "type": message.content_type,
        "key": message.key,
        "id": message.id,
        "priority": message.priority,
        "headers": headers,
    }
    return {name: value for name, value in head.items() if value is not None}


def _headed(head: dict[str, Any], body: bytes) -> bytes:
    text = json.dumps(head, ensure_ascii=False).encode()
    return len(text).to_bytes(4, "little") + text + body


def _time(millis: int | None) -> datetime | None:
    return None if millis is None else _EPOCH + timedelta(milliseconds=millis)


async def done(result: Any) -> Any:
    """What a method gave, at once or later."""
    return await result if hasattr(type(result), "__await__") else result


__all__ = ["Broker", "Lent", "Message", "Subscription"]
