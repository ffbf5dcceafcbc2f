"""Clients that are measured: `python caller.py KIND --address ADDRESS call|stream --concurrency N --size BYTES`.

KIND is `micro`, grpcio's `aio`, or `stub`: what grpcio's stubs call, over our channel. For as many milliseconds as each line of
standard input says, it keeps calls in flight, or reads streams, compares every reply with what it asked for, and prints a line
of figures. `cargo xtask bench --rows python` takes two kinds by turns.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

STREAM = 2_000
"""Messages of one stream."""

Call = Callable[[], Coroutine[Any, Any, None]]
Open = Callable[[], AsyncIterator[bytes]]


def payload(size: int) -> bytes:
    """A `bench.Payload` of `size` bytes."""
    length, left = bytearray(), size
    while left >= 0x80:
        length.append(left & 0x7F | 0x80)
        left >>= 7
    return b"\x0a" + bytes(length) + bytes([left]) + b"x" * size


def micro_client(address: str, size: int) -> tuple[Call, Open]:
    import micro

    client, message = micro.Client(addresses=[address]), payload(size)

    async def call() -> None:
        assert await client.call("bench", "Echo.Call", message) == message

    def stream() -> AsyncIterator[bytes]:
        return client.server_stream("bench", "Echo.Stream", str(STREAM).encode(), returns=bytes)

    return call, stream


def stub_client(address: str, size: int) -> tuple[Call, Open]:
    import micro

    return of_channel(micro.grpc.channel("bench", addresses=[address]), size)


def aio_client(address: str, size: int) -> tuple[Call, Open]:
    import grpc

    return of_channel(grpc.aio.insecure_channel(address), size)


def of_channel(channel: Any, size: int) -> tuple[Call, Open]:
    message = payload(size)
    echo, numbers = channel.unary_unary("/bench.Echo/Call"), channel.unary_stream("/bench.Echo/Stream")

    async def call() -> None:
        assert await echo(message) == message

    def stream() -> AsyncIterator[bytes]:
        return numbers(str(STREAM).encode())  # type: ignore[no-any-return]

    return call, stream


KINDS = {"micro": micro_client, "stub": stub_client, "aio": aio_client}


async def calls(call: Call, in_flight: int, seconds: float) -> list[float]:
    """Durations of the calls that were made, in seconds."""
    times: list[float] = []
    until = time.perf_counter() + seconds

    async def work() -> None:
        while (begun := time.perf_counter()) < until:
            await call()
            times.append(time.perf_counter() - begun)

    await asyncio.gather(*(work() for _ in range(in_flight)))
    return times


async def streams(stream: Open, in_flight: int, seconds: float) -> int:
    """Messages that were read."""
    until, read = time.perf_counter() + seconds, 0

    async def work() -> None:
        nonlocal read
        while time.perf_counter() < until:
            got = 0
            async for _ in stream():
                got += 1
            assert got == STREAM, got
            read += got

    await asyncio.gather(*(work() for _ in range(in_flight)))
    return read


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--address", required=True)
    parser.add_argument("shape", choices=("call", "stream"))
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--size", type=int, default=64)
    options = parser.parse_args()
    call, stream = KINDS[options.kind](options.address, options.size)
    # Blocks the loop, which has nothing to do between two measurements.
    for line in sys.stdin:
        seconds, begun, median = float(line) / 1000, time.perf_counter(), 0.0
        if options.shape == "call":
            times = sorted(await calls(call, options.concurrency, seconds))
            completed, median = len(times), times[len(times) // 2]
        else:
            completed = await streams(stream, options.concurrency, seconds)
        took = time.perf_counter() - begun
        print(json.dumps({"completed": completed, "rate": completed / took, "p50_us": median * 1e6}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
