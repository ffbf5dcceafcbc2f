"""A broker written in Python, which services and clients use by its URL as any other."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

import micro
from micro import errors, sync

PATIENCE = 20.0


class Member:
    """A subscription: an iterator of what it is lent."""

    def __init__(self, broker: Queues, subscription: micro.Subscription) -> None:
        self.broker, self.subscription = broker, subscription
        self.messages: asyncio.Queue[tuple[micro.Message, int]] = asyncio.Queue()
        self.is_closed = False

    def __aiter__(self) -> AsyncIterator[micro.Lent]:
        return self

    async def __anext__(self) -> micro.Lent:
        message, attempt = await self.messages.get()

        def settle(verdict: str, delay: float, reason: str) -> None:
            self.broker.verdicts.append((verdict, delay, reason))
            if verdict == "retry" and attempt < self.subscription.max_attempts:
                asyncio.get_running_loop().call_later(delay, self.messages.put_nowait, (message, attempt + 1))
            elif verdict in ("retry", "reject"):
                dead = message._replace(topic=self.subscription.dead_letters)
                self.broker.publish(dead._replace(metadata=micro.Metadata([("why", reason)])))
            elif verdict == "ack" and message.body == b'"unsettled"':
                raise RuntimeError("the disk is full")

        return micro.Lent(message, settle, attempt, published=datetime.now(UTC))

    async def aclose(self) -> None:
        self.is_closed = True
        self.broker.members.remove(self)


class Queues:
    """A broker in memory, which delivers again."""

    abilities = ("redelivers", "expires")

    def __init__(self) -> None:
        self.members: deque[Member] = deque()
        self.verdicts: list[tuple[str, float, str]] = []
        self.published: list[micro.Message] = []

    def publish(self, message: micro.Message) -> None:
        if message.body == b'"full"':
            raise errors.ResourceExhausted("no room for it")
        self.published.append(message)
        served: set[str] = set()
        for member in [one for one in self.members if one.subscription.topic == message.topic]:
            queue = member.subscription.queue
            if queue in served:
                continue
            if queue is not None:
                served.add(queue)
            member.messages.put_nowait((message, 1))
        self.members.rotate()

    async def subscribe(self, subscription: micro.Subscription) -> AsyncIterator[micro.Lent]:
        member = Member(self, subscription)
        self.members.append(member)
        return member


@dataclass
class Order:
    number: int


async def next_of(queue: asyncio.Queue[Any]) -> Any:
    return await asyncio.wait_for(queue.get(), PATIENCE)


async def test_services_and_clients_use_it_by_its_url() -> None:
    broker, seen = Queues(), asyncio.Queue[Any]()
    async with micro.provide("queues", broker) as queues:
        service = micro.Service("billing", registry="memory://hosted", address="127.0.0.1:0", propagation=0, broker=queues.url)

        @service.subscribe("orders", queue="billing", backoff="none", max_attempts=2)
        async def bill(order: Order, context: micro.Context) -> None:
            assert context.delivery is not None
            seen.put_nowait((order, context.delivery.delivered.attempt, context.metadata["tenant"]))
            if order.number == 13:
                raise errors.FailedPrecondition("the card was refused")

        @service.subscribe("orders.dead")
        async def look(order: Order, context: micro.Context) -> None:
            seen.put_nowait(context.metadata["why"])

        async with service:
            client = service.client
            await client.publish("orders", Order(7), expires_in=60, metadata={"tenant": "blue", "key-bin": b"\x00\xff"})
            assert await next_of(seen) == (Order(7), 1, "blue")
            kept = broker.published[0]
            assert (kept.topic, kept.body, kept.content_type) == ("orders", b'{"number":7}', "application/json")
            assert kept.metadata.get_binary("key-bin") == b"\x00\xff"
            assert kept.expires is not None and kept.expires > datetime.now(UTC)
            await client.publish("orders", Order(13), metadata={"tenant": "red"})
            assert [await next_of(seen), await next_of(seen)] == [(Order(13), 1, "red"), (Order(13), 2, "red")]
            assert "the card was refused" in await next_of(seen)
        async with asyncio.timeout(PATIENCE):
            while broker.members:
                await asyncio.sleep(0.01)


async def test_what_it_raises_reaches_the_publisher_and_what_it_cannot_do_is_refused() -> None:
    async with micro.provide("refusing", Queues()) as queues:
        async with micro.Client(broker=queues.url, registry="memory://hosted") as client:
            with pytest.raises(errors.ResourceExhausted, match="no room for it"):
                await client.publish("orders", "full")
            with pytest.raises(errors.InvalidArgument, match="does not know a delay"):
                await client.publish("orders", 7, delay=1)
            with pytest.raises(errors.InvalidArgument, match="leave out `start`"):
                await client.subscribe("orders", start="first")
    with pytest.raises(errors.InvalidArgument, match="provide it first"):
        async with micro.Client(broker=queues.url, registry="memory://hosted"):
            pass


async def test_a_failure_to_settle_is_told_and_the_subscription_goes_on() -> None:
    broker = Queues()
    async with micro.provide("failing", broker) as queues:
        async with micro.Client(broker=queues.url, registry="memory://hosted") as client:
            async with await client.subscribe("orders") as orders:
                await client.publish("orders", "unsettled")
                (await anext(orders)).ack()
                await client.publish("orders", "next")
                delivery = await anext(orders)
                assert delivery.message == "next"
                assert delivery.extend() and delivery.retry(0.01, "later")
                again = await anext(orders)
                assert again.delivered.attempt == 2
                again.ack()
    assert ("extend", 0, "") in broker.verdicts and ("retry", 0.01, "later") in broker.verdicts


async def test_what_is_no_broker_is_refused() -> None:
    class Odd(Queues):
        abilities = ("redelivers", "flies")  # type: ignore[assignment]

    with pytest.raises(ValueError, match="flies: abilities are redelivers"):
        micro.provide("odd", Odd())
    with pytest.raises(TypeError, match="is no registry: it has no method `register`"):
        micro.provide("nothing", object())  # type: ignore[arg-type]


def test_a_program_without_a_loop_provides_one_too() -> None:
    with sync.provide("threads", Queues()) as queues:
        with sync.Client(broker=queues.url, registry="memory://hosted") as client:
            with client.subscribe("orders", returns=Order) as orders:
                client.publish("orders", Order(7))
                with next(orders) as delivery:
                    assert delivery.message == Order(7)


def test_types_fit() -> None:
    make: Callable[[], micro.Broker] = Queues
    assert make().abilities
