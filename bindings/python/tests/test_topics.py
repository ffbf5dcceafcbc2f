"""Messages of topics: published, handled, taken, settled; among tasks, threads and processes."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import micro
from micro import errors, sync

PATIENCE = 20.0


@dataclass
class Order:
    number: int


@pytest.fixture
def durable(tmp_path: Path) -> str:
    return f"durable://{tmp_path / 'data'}"


def billing(broker: str, **options: Any) -> micro.Service:
    return micro.Service("billing", registry="memory://topics", address="127.0.0.1:0", propagation=0, broker=broker, **options)


class Seen:
    """What handlers were given."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue()

    async def next(self) -> Any:
        return await asyncio.wait_for(self.queue.get(), PATIENCE)


async def test_a_service_handles_what_is_published_with_what_came_along(durable: str) -> None:
    service, seen = billing(durable), Seen()

    @service.subscribe("orders", queue="billing")
    async def bill(order: Order, context: micro.Context) -> None:
        seen.queue.put_nowait((order, context.metadata["tenant"], context.delivery))

    @service.subscribe("audit")
    def audit(raw: bytes) -> None:
        service_loop.call_soon_threadsafe(seen.queue.put_nowait, raw)

    service_loop = asyncio.get_running_loop()
    before = datetime.now(UTC)
    async with service:
        await service.client.publish("orders", Order(7), key="k", id="a", priority=3, metadata={"tenant": "blue"})
        order, tenant, delivery = await seen.next()
        assert (order, tenant) == (Order(7), "blue")
        known = delivery.delivered
        assert (known.topic, known.attempt, known.key, known.id, known.priority) == ("orders", 1, "k", "a", 3)
        assert known.content_type == "application/json"
        assert known.published is not None and abs((known.published - before).total_seconds()) < PATIENCE
        await service.client.publish("audit", b"\x00\xff")
        assert await seen.next() == b"\x00\xff"


async def test_the_registry_is_told_of_subscribers_and_of_their_messages(durable: str) -> None:
    service = billing(durable)

    @service.subscribe("orders")
    async def bill(order: Order) -> None: ...

    @service.subscribe("secrets", internal=True)
    async def hide(order: Order) -> None: ...

    async with service:
        told = [one for one in service.record.endpoints if one.metadata.get("subscriber") == "true"]
        assert [one.metadata["topic"] for one in told] == ["orders"]
        assert told[0].request["name"] == "Order"


async def test_what_fails_is_delivered_again_and_what_cannot_be_read_never(durable: str) -> None:
    service, seen = billing(durable), Seen()

    @service.subscribe("orders", queue="billing", backoff="none", max_attempts=2)
    async def bill(order: Order, context: micro.Context) -> None:
        assert context.delivery is not None
        seen.queue.put_nowait(context.delivery.delivered.attempt)
        raise errors.FailedPrecondition("the card was refused")

    @service.subscribe("orders.dead", queue="people", start="first")
    async def look(raw: bytes, context: micro.Context) -> None:
        seen.queue.put_nowait((raw, context.metadata["micro-dead-reason"], context.metadata["micro-dead-attempts"]))

    async with service:
        await service.client.publish("orders", Order(7))
        assert [await seen.next(), await seen.next()] == [1, 2]
        raw, reason, attempts = await seen.next()
        assert (raw, attempts) == (b'{"number":7}', "2")
        assert "the card was refused" in reason
        await service.client.publish("orders", {"number": "many"})
        raw, reason, attempts = await seen.next()
        assert attempts == "1"
        assert "number" in reason


async def test_a_handler_says_when_it_is_delivered_again_and_that_it_never_is(durable: str) -> None:
    service, seen = billing(durable), Seen()

    @service.subscribe("orders", queue="billing")
    def bill(order: Order, context: micro.Context) -> str:
        delivery = context.delivery
        assert delivery is not None
        if delivery.delivered.attempt == 1:
            assert delivery.retry(0.01, "not yet")
            assert not delivery.ack()
        else:
            assert delivery.extend()
            delivery.reject("no such customer")
        return "is for no caller"

    @service.subscribe("orders.dead", queue="people")
    async def look(raw: bytes, context: micro.Context) -> None:
        seen.queue.put_nowait((context.metadata["micro-dead-reason"], context.metadata["micro-dead-attempts"]))

    async with service:
        await service.client.publish("orders", Order(7))
        reason, attempts = await seen.next()
        assert "no such customer" in reason and attempts == "2"


async def test_middleware_stands_around_messages_the_first_outermost() -> None:
    service, seen = billing("memory://middleware"), Seen()

    @service.use
    async def around_calls(request: Any, context: micro.Context, call_next: Any) -> Any:
        raise AssertionError("this is no call")

    @service.use_for_messages
    async def outer(message: Any, context: micro.Context, call_next: Any) -> Any:
        seen.queue.put_nowait(("outer", message))
        return await call_next(Order(message.number + 1))

    @service.use_for_messages(topics=["orders"])
    async def inner(message: Any, context: micro.Context, call_next: Any) -> Any:
        seen.queue.put_nowait(("inner", message))
        return await call_next()

    @service.subscribe("orders")
    async def bill(order: Order) -> None:
        seen.queue.put_nowait(order)

    async with service:
        await service.client.publish("orders", Order(1))
        assert [await seen.next() for _ in range(3)] == [("outer", Order(1)), ("inner", Order(2)), Order(2)]
    service.use_for_messages(lambda message, context, call_next: call_next(), topics=["nothing"])
    with pytest.raises(ValueError, match="middleware is for nothing, and the topics are orders"):
        await service.start()


async def test_a_handler_publishes_as_part_of_what_it_handles() -> None:
    service, seen = billing("memory://part"), Seen()

    @service.endpoint("Shop.Order")
    async def order(request: Order, context: micro.Context) -> Order:
        await service.client.publish("orders", request)
        await service.client.publish("orders", request, detached=True)
        return request

    @service.subscribe("orders")
    async def bill(order: Order, context: micro.Context) -> None:
        seen.queue.put_nowait((context.trace_id, context.metadata.get("tenant")))

    async with service:
        calls = service.client.call("billing", "Shop.Order", Order(1), metadata={"tenant": "blue"}, returns=Order)
        assert await calls == Order(1)
        part, detached = await seen.next(), await seen.next()
        assert part[1] == "blue" and detached[1] is None
        assert part[0] != detached[0]


async def test_messages_are_taken_one_by_one_and_settled_by_the_program(durable: str) -> None:
    async with micro.Client(broker=durable, registry="memory://topics") as client:
        async with await client.subscribe("orders", queue="q", returns=Order, max_in_flight=2) as orders:
            for number in range(3):
                await client.publish("orders", Order(number))
            first, second = await anext(orders), await anext(orders)
            assert (first.message, second.message) == (Order(0), Order(1))
            assert first.delivered.sequence is not None and second.delivered.sequence is not None
            assert first.delivered.sequence < second.delivered.sequence
            assert first.extend() and first.ack() and not first.ack()
            third = await anext(orders)
            assert third.message == Order(2)
            second.retry(0.0, "again")
            again = await anext(orders)
            assert (again.message, again.delivered.attempt) == (Order(1), 2)
            with again:
                pass
            assert not again.ack()
            third.reject("for nobody")
        async with await client.subscribe("orders.dead", start="first") as dead:
            letter = await anext(dead)
            assert letter.metadata["micro-dead-reason"] == "for nobody"
            assert letter.message == {"number": 2}
            letter.ack()


async def test_a_block_acknowledges_or_has_it_delivered_again(durable: str) -> None:
    async with micro.Client(broker=durable, registry="memory://topics") as client:
        async with await client.subscribe("orders", queue="q", returns=Order) as orders:
            await client.publish("orders", Order(7))
            with pytest.raises(KeyError):
                with await anext(orders):
                    raise KeyError("nothing")
            delivery = await anext(orders)
            assert delivery.delivered.attempt == 2
            with delivery:
                assert delivery.message == Order(7)
            await client.publish("orders", {"number": "many"})
            with pytest.raises(errors.InvalidArgument):
                with await anext(orders) as delivery:
                    _ = delivery.message
        async with await client.subscribe("orders.dead", start="first") as dead:
            assert "number" in (await anext(dead)).metadata["micro-dead-reason"]


async def test_what_is_not_settled_is_anothers_once_a_subscription_ends(durable: str) -> None:
    async with micro.Client(broker=durable, registry="memory://topics") as client:
        async with await client.subscribe("orders", queue="q") as first:
            await client.publish("orders", 7)
            kept = await anext(first)
        async with await client.subscribe("orders", queue="q") as second:
            assert (await anext(second)).message == 7
        assert not kept.ack()


async def test_older_messages_are_replayed_by_number_and_by_time(durable: str) -> None:
    async with micro.Client(broker=durable, registry="memory://topics") as client:
        for number in range(3):
            await client.publish("orders", number)

        async def first_of(start: Any) -> Any:
            async with await client.subscribe("orders", start=start) as orders:
                with await anext(orders) as delivery:
                    return delivery.message, delivery.delivered

        message, known = await first_of("first")
        assert message == 0
        assert (await first_of(known.sequence + 1))[0] == 1
        assert (await first_of(known.published))[0] == 0
        with pytest.raises(ValueError, match="no time zone"):
            await client.subscribe("orders", start=datetime(2020, 1, 1))
        with pytest.raises(errors.InvalidArgument, match='did you mean "first"'):
            await client.subscribe("orders", start="frist")  # type: ignore[arg-type]


async def test_what_the_broker_cannot_do_is_refused_and_says_which_can() -> None:
    async with micro.Client(broker="memory://refused", registry="memory://topics") as client:
        with pytest.raises(errors.InvalidArgument, match="durable://"):
            await client.publish("orders", 7, delay=1)
        with pytest.raises(errors.InvalidArgument, match="leave out `start`"):
            await client.subscribe("orders", start="first")
        with pytest.raises(errors.InvalidArgument, match="did you mean `delay`"):
            await client.publish("orders", 7, delays=1)  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="the name of the topic"):
            await client.publish(7, 7)  # type: ignore[arg-type]
    service = billing("memory://refused")

    @service.subscribe("orders", start="first")
    async def bill(order: Order) -> None: ...

    with pytest.raises(errors.InvalidArgument, match="leave out `start`"):
        await service.start()


async def test_a_delayed_message_waits_and_an_expired_one_never_comes(durable: str) -> None:
    async with micro.Client(broker=durable, registry="memory://topics") as client:
        async with await client.subscribe("orders") as orders:
            begun = asyncio.get_running_loop().time()
            await client.publish("orders", "late", delay=0.3)
            await client.publish("orders", "gone", delay=0.2, expires_in=0.1)
            with await anext(orders) as delivery:
                assert delivery.message == "late"
            assert asyncio.get_running_loop().time() - begun >= 0.3


async def test_a_task_that_is_cancelled_takes_no_message_along(durable: str) -> None:
    async with micro.Client(broker=durable, registry="memory://topics") as client:
        async with await client.subscribe("orders", queue="q") as orders:
            taking = asyncio.ensure_future(anext(orders))
            await asyncio.sleep(0)
            taking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await taking
        await client.publish("orders", 7)
        async with await client.subscribe("orders", queue="q") as orders:
            assert (await anext(orders)).message == 7


def test_threads_publish_take_and_handle(durable: str) -> None:
    handled: list[Order] = []
    done = threading.Event()
    service = sync.Service("billing", registry="memory://threads", address="127.0.0.1:0", propagation=0, broker=durable)

    @service.subscribe("orders", queue="billing")
    def bill(order: Order) -> None:
        handled.append(order)
        done.set()

    service.start()
    try:
        service.client.publish("orders", Order(7))
        assert done.wait(PATIENCE) and handled == [Order(7)]
        with sync.Client(broker=durable, registry="memory://threads") as client:
            with client.subscribe("orders", queue="other", start="first", returns=Order) as orders:
                with next(orders) as delivery:
                    assert delivery.message == Order(7)
    finally:
        service.stop()


CONSUMER = """
import asyncio, sys
import micro

async def main():
    async with micro.Client(broker=sys.argv[1], registry="memory://processes") as client:
        async with await client.subscribe("orders", queue="q") as orders:
            print("ready", flush=True)
            async for delivery in orders:
                print(delivery.message, delivery.delivered.attempt, flush=True)

asyncio.run(main())
"""


async def test_a_consumer_that_is_killed_loses_its_message_to_another(durable: str) -> None:
    async with micro.Client(broker=durable, registry="memory://topics") as client:
        # Owned by this process, so that the one that is killed is a consumer.
        await client.publish("others", 0)
        consumer = subprocess.Popen([sys.executable, "-c", CONSUMER, durable], stdout=subprocess.PIPE, text=True)
        try:
            assert consumer.stdout is not None
            assert await asyncio.to_thread(consumer.stdout.readline) == "ready\n"
            await client.publish("orders", 7)
            assert await asyncio.to_thread(consumer.stdout.readline) == "7 1\n"
            consumer.send_signal(signal.SIGKILL)
        finally:
            consumer.kill()
            consumer.communicate()
        async with await client.subscribe("orders", queue="q") as orders:
            async with asyncio.timeout(PATIENCE):
                with await anext(orders) as delivery:
                    assert (delivery.message, delivery.delivered.attempt) == (7, 2)


async def test_an_owner_that_is_killed_is_followed_by_another_which_has_its_messages(durable: str) -> None:
    owner = subprocess.Popen([sys.executable, "-c", CONSUMER, durable], stdout=subprocess.PIPE, text=True)
    try:
        assert owner.stdout is not None
        assert await asyncio.to_thread(owner.stdout.readline) == "ready\n"
        async with micro.Client(broker=durable, registry="memory://topics") as client:
            async with await client.subscribe("orders", queue="other") as orders:
                await client.publish("orders", 7)
                owner.send_signal(signal.SIGKILL)
                async with asyncio.timeout(PATIENCE):
                    while True:
                        with await anext(orders) as delivery:
                            if delivery.message == 7:
                                break
    finally:
        owner.kill()
        owner.communicate()


async def test_nothing_is_left_of_deliveries(durable: str) -> None:
    from micro import _micro

    async def some() -> None:
        async with micro.Client(broker=durable, registry="memory://topics") as client:
            async with await client.subscribe("orders") as orders:
                for number in range(50):
                    await client.publish("orders", number)
                for _ in range(10):
                    (await anext(orders)).ack()

    await some()
    for _ in range(200):
        if _micro.live(5) == 0:
            break
        await asyncio.sleep(0.01)
    assert _micro.live(5) == 0


async def test_a_message_is_what_a_request_can_be(durable: str) -> None:
    pytest.importorskip("google.protobuf")
    from google.protobuf.wrappers_pb2 import StringValue

    async with micro.Client(broker=durable, registry="memory://topics") as client:
        async with await client.subscribe("words", returns=StringValue) as words:
            await client.publish("words", StringValue(value="a"))
            await client.publish("words", StringValue(value="b"), codec="json")
            with await anext(words) as first, await anext(words) as second:
                assert (first.message.value, second.message.value) == ("a", "b")
                assert first.delivered.content_type == "application/protobuf"
