"""Measures the package against grpcio, and prints a table: `python bench.py [SECONDS]`.

Servers are driven by h2load, so that the client costs the same for both. Ratios compare what ran on one machine, one after
another, twice; the better of two rounds counts.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


@contextmanager
def server(kind: str, loop: str) -> Iterator[tuple[str, int]]:
    """A server as a process: its address, and its number."""
    command = [sys.executable, str(HERE / "greeter.py"), kind, loop]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    try:
        yield process.stdout.readline().strip(), process.pid
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


def h2load(address: str, size: int, seconds: float) -> float:
    """Requests a second."""
    with tempfile.NamedTemporaryFile() as body:
        body.write(b"\0" + struct.pack(">I", size) + bytes(size))
        body.flush()
        command = ["h2load", f"-D{round(seconds)}", "--warm-up-time=1", "-c4", "-m16", "-d", body.name]
        headers = ["-Hcontent-type: application/grpc", "-Hte: trailers"]
        done = subprocess.run(
            [*command, *headers, f"http://{address}/bench.Echo/Echo"], capture_output=True, text=True, check=True
        )
    succeeded = re.search(r"(\d+) succeeded, (\d+) failed", done.stdout)
    assert succeeded and succeeded[2] == "0", done.stdout
    rate = re.search(r"finished in .*?, ([\d.]+) req/s", done.stdout)
    assert rate, done.stdout
    return float(rate[1])


async def micro_client(address: str, in_flight: int, seconds: float) -> tuple[float, float]:
    import micro

    async with micro.Client(addresses=[address]) as client:

        async def call() -> None:
            await client.call("", "/bench.Echo/Echo", b"x" * 64)

        return await measure(call, in_flight, seconds)


async def aio_client(address: str, in_flight: int, seconds: float) -> tuple[float, float]:
    import grpc

    async with grpc.aio.insecure_channel(address) as channel:
        echo = channel.unary_unary("/bench.Echo/Echo")

        async def call() -> None:
            await echo(b"x" * 64)

        return await measure(call, in_flight, seconds)


async def measure(call: Any, in_flight: int, seconds: float) -> tuple[float, float]:
    """Calls a second, and the median of their times in microseconds."""
    for _ in range(200):
        await call()
    times: list[float] = []
    until = time.perf_counter() + seconds

    async def work() -> None:
        while (begun := time.perf_counter()) < until:
            await call()
            times.append(time.perf_counter() - begun)

    begun = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(in_flight)))
    took = time.perf_counter() - begun
    return len(times) / took, sorted(times)[len(times) // 2] * 1e6


async def micro_stream(address: str, count: int) -> float:
    import micro

    async with micro.Client(addresses=[address]) as client:
        begun = time.perf_counter()
        stream = client.server_stream("", "/bench.Echo/Stream", str(count).encode(), returns=bytes)
        got = 0
        async for _ in stream:
            got += 1
        assert got == count
        return count / (time.perf_counter() - begun)


async def aio_stream(address: str, count: int) -> float:
    import grpc

    async with grpc.aio.insecure_channel(address) as channel:
        begun, got = time.perf_counter(), 0
        async for _ in channel.unary_stream("/bench.Echo/Stream")(str(count).encode()):
            got += 1
        assert got == count
        return count / (time.perf_counter() - begun)


def resident(pid: int) -> int:
    """KiB of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+)", status)
    assert found
    return int(found[1])


def import_time() -> float:
    """Milliseconds that importing costs over a bare interpreter: the best of many."""

    def best(text: str) -> float:
        times = []
        for _ in range(15):
            begun = time.perf_counter()
            subprocess.run([sys.executable, "-c", text], check=True)
            times.append(time.perf_counter() - begun)
        return min(times) * 1000

    return best("import micro") - best("pass")


def best(run: Any) -> float:
    return max(run() for _ in range(2))


def row(name: str, ours: float, theirs: float, target: str) -> dict[str, Any]:
    print(f"{name:58} {ours:12.1f} {theirs:12.1f} {ours / theirs:8.2f}  {target}", flush=True)
    return {"name": name, "ours": ours, "peer": theirs, "ratio": ours / theirs, "target": target}


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 4.0
    rows = []
    print(f"{'':58} {'micro':>12} {'grpcio':>12} {'ratio':>8}  target")
    for loop in ("asyncio", "uvloop"):
        for size in (64, 1024):
            pair = [serve(kind, loop, size, seconds) for kind in ("micro", "aio")]
            rows.append(row(f"async server, {size} B, {loop}, req/s", pair[0], pair[1], ">= 8"))
        pair = [serve(kind, loop, 64, seconds) for kind in ("micro-wait", "aio-wait")]
        rows.append(row(f"async server that suspends, 64 B, {loop}, req/s", pair[0], pair[1], ">= 5"))
    pair = [serve(kind, "asyncio", 64, seconds) for kind in ("micro-thread", "thread")]
    rows.append(row("server on threads, 64 B, req/s", pair[0], pair[1], ">= 3"))
    with server("micro", "asyncio") as (address, pid):
        for flight, target in ((64, ">= 3"), (1, "")):
            ours = asyncio.run(micro_client(address, flight, seconds))
            theirs = asyncio.run(aio_client(address, flight, seconds))
            if flight == 1:
                rows.append(row("client, 1 in flight, p50 us", ours[1], theirs[1], "<= 0.7"))
            else:
                rows.append(row(f"client, {flight} in flight, calls/s", ours[0], theirs[0], target))
        ours_stream = best(lambda: asyncio.run(micro_stream(address, 50_000)))
        memory = resident(pid)
    with server("aio", "asyncio") as (address, _):
        rows.append(
            row("server streaming of 1 KiB, msg/s", ours_stream, best(lambda: asyncio.run(aio_stream(address, 20_000))), ">= 5")
        )
    with server("micro", "asyncio") as (_, pid):
        memory = resident(pid)
    with server("aio", "asyncio") as (_, pid):
        rows.append(row("resident when idle, KiB", memory, resident(pid), "<= 0.8"))
    print(f"import micro over bare Python: {import_time():.1f} ms (<= 30)")
    if out := os.environ.get("MICRO_BENCH_JSON"):
        Path(out).write_text(json.dumps(rows, indent=1))


def serve(kind: str, loop: str, size: int, seconds: float) -> float:
    with server(kind, loop) as (address, _):
        return best(lambda: h2load(address, size, seconds))


if __name__ == "__main__":
    main()
