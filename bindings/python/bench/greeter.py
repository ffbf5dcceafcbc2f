"""Servers that are measured: `python greeter.py KIND [uvloop]` prints its address, and serves until its standard input ends.

KIND is `micro`, `micro-wait` (a handler that suspends), `micro-thread`, or grpcio's `aio`, `aio-wait`, `thread`.
All answer `/bench.Echo/Call` with the bytes they were sent.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any


async def until_told(address: str) -> None:
    print(f"listening {address}", flush=True)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(ended.set)), daemon=True).start()
    await ended.wait()


async def micro_server(kind: str) -> None:
    from collections.abc import AsyncIterator

    import micro

    service = micro.Service("echo", registry="memory://bench", address="127.0.0.1:0", propagation=0)

    if kind == "micro":

        @service.endpoint("Echo.Call")
        async def echo(request: bytes, context: micro.Context) -> bytes:
            return request

    elif kind == "micro-wait":

        @service.endpoint("Echo.Call")
        async def echo_later(request: bytes, context: micro.Context) -> bytes:
            await asyncio.sleep(0)
            return request

    else:

        @service.endpoint("Echo.Call")
        def echo_on_a_thread(request: bytes, context: micro.Context) -> bytes:
            return request

    @service.endpoint("Echo.Stream")
    async def stream(request: bytes) -> AsyncIterator[bytes]:
        message = bytes(1024)
        for _ in range(int(request)):
            yield message

    await service.start()
    await until_told(service.address)
    await service.stop()


def handlers(kind: str) -> Any:
    import grpc

    async def echo(request: bytes, context: Any) -> bytes:
        if kind == "aio-wait":
            await asyncio.sleep(0)
        return request

    async def stream(request: bytes, context: Any) -> Any:
        message = bytes(1024)
        for _ in range(int(request)):
            yield message

    def echo_on_a_thread(request: bytes, context: Any) -> bytes:
        return request

    unary = grpc.unary_unary_rpc_method_handler(echo_on_a_thread if kind == "thread" else echo)
    methods = {"Call": unary, "Stream": grpc.unary_stream_rpc_method_handler(stream)}
    return grpc.method_handlers_generic_handler("bench.Echo", methods)


async def grpcio_server(kind: str) -> None:
    import grpc

    if kind == "thread":
        from concurrent.futures import ThreadPoolExecutor

        plain = grpc.server(ThreadPoolExecutor(8))
        plain.add_generic_rpc_handlers((handlers(kind),))
        port = plain.add_insecure_port("127.0.0.1:0")
        plain.start()
        await until_told(f"127.0.0.1:{port}")
        plain.stop(None)
        return
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handlers(kind),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await until_told(f"127.0.0.1:{port}")
    await server.stop(None)


def main() -> None:
    kind, factory = sys.argv[1], None
    if "uvloop" in sys.argv[2:]:
        import uvloop

        factory = uvloop.new_event_loop
    serve = micro_server if kind.startswith("micro") else grpcio_server
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve(kind))


if __name__ == "__main__":
    main()
