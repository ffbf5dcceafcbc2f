"""A million calls, and no more memory than after the first of them."""

from __future__ import annotations

import os
from collections.abc import Callable

CALLS = int(os.environ.get("MICRO_PYTHON_CALLS", "1000000"))


def test_memory_is_flat_over_a_million_calls_with_cancels(program: Callable[..., str]) -> None:
    printed = program(
        f"""
        import asyncio, gc, os
        import micro
        from micro import _micro
        from micro.testing import Fleet

        def resident():
            gc.collect()
            with open("/proc/self/statm") as pages:
                return int(pages.read().split()[1]) * os.sysconf("SC_PAGESIZE") // 1024

        service = micro.Service("greeter", limiter="off")

        @service.endpoint("Greeter.Hello")
        async def hello(request: bytes, context: micro.Context) -> bytes:
            if request == b"wait":
                await asyncio.sleep(60)
            if request == b"turn":
                await asyncio.sleep(0)
            if request == b"fail":
                raise micro.errors.NotFound("nobody")
            return request

        async def some(client, count):
            for number in range(count):
                kind = number % 20
                if kind == 0:
                    call = asyncio.ensure_future(client.call("greeter", "Greeter.Hello", b"wait"))
                    await asyncio.sleep(0)
                    call.cancel()
                    await asyncio.wait([call])
                elif kind == 1:
                    try:
                        await client.call("greeter", "Greeter.Hello", b"fail")
                    except micro.errors.NotFound:
                        pass
                else:
                    await client.call("greeter", "Greeter.Hello", b"turn" if kind < 5 else b"x")

        async def main():
            async with Fleet() as fleet:
                await fleet.start(service)
                client = fleet.client
                calls = {CALLS}
                async def round(share):
                    await asyncio.gather(*(some(client, int(calls * share) // 50) for _ in range(50)))
                await round(0.1)
                first = resident()
                objects = len(gc.get_objects())
                await round(0.9)
                print(resident() - first, len(gc.get_objects()) - objects)
                while _micro.live(5) > 1 or _micro.live(6):
                    await asyncio.sleep(0.01)

        asyncio.run(main())
        """,
        seconds=1200,
    )
    grown, objects = map(int, printed.split())
    assert grown < 8 * 1024, f"{grown} KiB more"
    assert objects < 500, f"{objects} objects more"


def test_streams_that_are_not_read_hold_bytes_and_not_messages(program: Callable[..., str]) -> None:
    printed = program(
        """
        import asyncio, logging, re
        import micro
        from micro.testing import Fleet

        # That the streams are read slowly is what is meant.
        logging.disable(logging.WARNING)
        MESSAGE, MANY = bytes(2 << 20), 64

        def peak():
            with open("/proc/self/status") as status:
                return int(re.search(r"VmHWM:\\s+(\\d+)", status.read()).group(1)) // 1024

        service = micro.Service("store", compression="gzip")

        @service.endpoint("Store.Get")
        async def get(request: bytes):
            for _ in range(MANY):
                yield MESSAGE

        @service.endpoint("Store.Put")
        async def put(parts) -> int:
            async for part in parts:
                await asyncio.sleep(60)
            return 0

        @service.endpoint("Store.Ping")
        async def ping(request: bytes) -> bytes:
            return request

        async def upload():
            for _ in range(MANY):
                yield MESSAGE

        async def main():
            async with Fleet() as fleet:
                await fleet.start(service)
                client = fleet.client
                await client.call("store", "Store.Ping", b"")
                before = peak()
                unread = [client.server_stream("store", "Store.Get", b"") for _ in range(4)]
                for stream in unread:
                    await anext(aiter(stream))
                uploads = [
                    asyncio.ensure_future(client.client_stream("store", "Store.Put", upload(), compression="gzip"))
                    for _ in range(4)
                ]
                for _ in range(20):
                    await asyncio.sleep(0.1)
                    await client.call("store", "Store.Ping", bytes(100_000))
                print(peak() - before)
                for sending in uploads:
                    sending.cancel()
                for stream in unread:
                    stream.cancel()

        asyncio.run(main())
        """
    )
    print(f"{printed.strip()} MiB more for eight streams of 128 MiB each")
    assert int(printed) < 160
