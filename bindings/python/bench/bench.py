"""Measures the package, or grpcio in its place: `python bench.py ROW SIDE [SECONDS]` prints one figure.

SIDE is `ours` or `peer`; without arguments it prints the names of the rows. `cargo xtask bench --rows python` takes the two
sides by turns and compares them. Servers are driven by h2load, so that their client costs the same for both.
"""

from __future__ import annotations

import asyncio
import json
import re
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
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


def served(kind: str, loop: str, size: int) -> Callable[[float], float]:
    def run(seconds: float) -> float:
        with server(kind, loop) as (address, _):
            return h2load(address, size, seconds)

    return run


def called(client: Any, in_flight: int, figure: int) -> Callable[[float], float]:
    def run(seconds: float) -> float:
        with server("micro", "asyncio") as (address, _):
            return asyncio.run(client(address, in_flight, seconds))[figure]

    return run


def streamed(client: Any, kind: str, rate: int) -> Callable[[float], float]:
    def run(seconds: float) -> float:
        with server(kind, "asyncio") as (address, _):
            return asyncio.run(client(address, int(rate * seconds)))

    return run


def idle(kind: str) -> Callable[[float], float]:
    def run(_: float) -> float:
        with server(kind, "asyncio") as (_, pid):
            return resident(pid) / 1024

    return run


Sides = tuple[Callable[[float], float], Callable[[float], float]]
ROWS: dict[str, Sides] = {
    f"python.server.{loop}.{size}": (served("micro", loop, size), served("aio", loop, size))
    for loop in ("asyncio", "uvloop")
    for size in (64, 1024)
}
ROWS |= {
    "python.server.suspends": (served("micro-wait", "asyncio", 64), served("aio-wait", "asyncio", 64)),
    "python.server.threads": (served("micro-thread", "asyncio", 64), served("thread", "asyncio", 64)),
    "python.client.64": (called(micro_client, 64, 0), called(aio_client, 64, 0)),
    "python.client.latency": (called(micro_client, 1, 1), called(aio_client, 1, 1)),
    "python.stream": (streamed(micro_stream, "micro", 20_000), streamed(aio_stream, "aio", 4_000)),
    "python.memory": (idle("micro"), idle("aio")),
    "python.import": (lambda _: import_time(), lambda _: 0.0),
}


def main() -> None:
    if len(sys.argv) < 3:
        print("\n".join(ROWS))
        return
    ours, peer = ROWS[sys.argv[1]]
    seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 4.0
    value = (ours if sys.argv[2] == "ours" else peer)(seconds)
    print(json.dumps({"value": value}))


if __name__ == "__main__":
    main()
