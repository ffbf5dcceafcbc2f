"""Messages that are measured: `python messages.py KIND --at WHERE call|stream --concurrency N --size BYTES`.

KIND is `micro`, WHERE the URL of a broker; or `nats`, nats-py with JetStream at `host:port`. For as many milliseconds as each
line of standard input says, it publishes with N messages in flight, each acknowledged; `stream` also takes each of them and
acknowledges it. `cargo xtask bench --rows python.messages` takes both by turns.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

TOPIC = "bench"
IN_FLIGHT = 256
"""Messages that are taken and not acknowledged yet."""

Publish = Callable[[bytes], Awaitable[Any]]
Take = Callable[[Callable[[bytes], None]], Coroutine[Any, Any, None]]


async def micro_client(url: str) -> tuple[Publish, Take]:
    import micro

    client = micro.Client(broker=url)

    async def take(taken: Callable[[bytes], None]) -> None:
        options: dict[str, Any] = {"queue": "bench", "start": "first", "max_in_flight": IN_FLIGHT}
        async with await client.subscribe(TOPIC, returns=bytes, **options) as messages:
            async for delivery in messages:
                with delivery:
                    taken(delivery.message)

    return lambda body: client.publish(TOPIC, body), take


async def nats_client(address: str) -> tuple[Publish, Take]:
    import nats
    from nats.js.api import ConsumerConfig

    connected = await nats.connect(f"nats://{address}")
    jetstream = connected.jetstream()
    await jetstream.add_stream(name=TOPIC, subjects=[TOPIC], max_bytes=1 << 30)

    async def take(taken: Callable[[bytes], None]) -> None:
        config = ConsumerConfig(max_ack_pending=IN_FLIGHT)
        messages = await jetstream.subscribe(TOPIC, durable="bench", config=config, manual_ack=True)
        async for message in messages.messages:
            taken(message.data)
            await message.ack()

    return lambda body: jetstream.publish(TOPIC, body), take


KINDS = {"micro": micro_client, "nats": nats_client}


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--at", required=True)
    parser.add_argument("shape", choices=("call", "stream"))
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--size", type=int, default=64)
    options = parser.parse_args()
    publish, take = await KINDS[options.kind](options.at)
    body = b"x" * options.size
    published = taken = 0
    all_taken = asyncio.Event()

    def took(message: bytes) -> None:
        nonlocal taken
        assert message == body
        taken += 1
        if taken >= published:
            all_taken.set()

    taking = asyncio.create_task(take(took)) if options.shape == "stream" else None

    async def work(until: float) -> None:
        nonlocal published
        while time.perf_counter() < until:
            all_taken.clear()
            published += 1
            await publish(body)

    lines = asyncio.get_running_loop()
    while line := await lines.run_in_executor(None, sys.stdin.readline):
        begun, before = time.perf_counter(), published
        until = begun + float(line) / 1000
        await asyncio.gather(*(work(until) for _ in range(options.concurrency)))
        while taking is not None and taken < published:
            assert not taking.done(), taking.exception()
            await all_taken.wait()
            if taken < published:
                all_taken.clear()
        took_seconds, completed = time.perf_counter() - begun, published - before
        print(json.dumps({"completed": completed, "rate": completed / took_seconds, "p50_us": 0.0}), flush=True)
    if taking is not None:
        taking.cancel()


if __name__ == "__main__":
    asyncio.run(main())
