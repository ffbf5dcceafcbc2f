"""Interpreters that end at every stage: no crash, no hang, no complaint."""

from __future__ import annotations

from collections.abc import Callable

import pytest

START = """
import asyncio, sys, os, threading, time
import micro
from micro.testing import Fleet
from collections.abc import AsyncIterator

fleet = Fleet()
service = micro.Service("slow")

@service.endpoint("Slow.Wait")
async def wait(request: None) -> None:
    await asyncio.sleep(600)

@service.endpoint("Slow.Exit")
async def leave(request: None) -> None:
    sys.exit(7)

@service.endpoint("Slow.Block")
def block(request: None) -> None:
    time.sleep(600)

@service.endpoint("Slow.Stream")
async def stream(request: None) -> AsyncIterator[int]:
    while True:
        yield 1
        await asyncio.sleep(0.001)
"""

ENDS = {
    "after import alone": "pass",
    "with a client that was never used": "micro.Client()",
    "with a runtime that was never used": "micro.Runtime()",
    "with a service that runs": "asyncio.run(fleet.start(service))",
    "with calls in flight": """
        async def main():
            await fleet.start(service)
            calls = [asyncio.ensure_future(fleet.client.call("slow", "Slow.Wait")) for _ in range(100)]
            await asyncio.wait(calls, timeout=0.05)
        asyncio.run(main())
    """,
    "with a stream open": """
        async def main():
            await fleet.start(service)
            stream = fleet.client.server_stream("slow", "Slow.Stream")
            async for _ in stream:
                return
        asyncio.run(main())
    """,
    "with a watch open": """
        async def main():
            watch = await fleet.client.watch()
            await fleet.start(service)
            await anext(watch)
        asyncio.run(main())
    """,
    "with a handler on a thread that never ends": """
        async def main():
            await fleet.start(service)
            call = asyncio.ensure_future(fleet.client.call("slow", "Slow.Block"))
            await asyncio.wait([call], timeout=0.05)
            service._options["grace"] = 0
        asyncio.run(main())
    """,
    "with a thread that waits for a call": """
        async def main():
            await fleet.start(service)
            client = fleet.sync_client()
            threading.Thread(target=client.call, args=("slow", "Slow.Wait"), daemon=True).start()
            while not client._under_way:
                await asyncio.sleep(0.001)
            threading.excepthook = lambda _: None
        asyncio.run(main())
    """,
    "with a loop that is never closed": """
        import warnings
        warnings.simplefilter("ignore")
        loop = asyncio.new_event_loop()
        loop.run_until_complete(fleet.start(service))
    """,
    "with a loop that runs on a daemon thread": """
        ready = threading.Event()
        async def main():
            await fleet.start(service)
            ready.set()
            await asyncio.sleep(600)
        threading.Thread(target=lambda: asyncio.run(main()), daemon=True).start()
        ready.wait()
    """,
    "from os._exit in the middle": """
        async def main():
            await fleet.start(service)
            os._exit(0)
        asyncio.run(main())
    """,
    "after closing twice": """
        async def main():
            await fleet.start(service)
        asyncio.run(main())
        from micro import _runtime
        runtime = _runtime.default()
        runtime.close()
        runtime.close()
    """,
    "after closing without a limit": """
        async def main():
            await fleet.start(service)
        asyncio.run(main())
        from micro import _runtime
        _runtime.default().close(float("inf"))
    """,
}


@pytest.mark.parametrize("stage", ENDS)
def test_interpreter_exits(program: Callable[..., str], stage: str) -> None:
    import textwrap

    program(START + textwrap.dedent(ENDS[stage]), options=("-X", "dev"))


def test_interpreter_exits_out_of_a_handler(program: Callable[..., str]) -> None:
    text = """
async def main():
    await fleet.start(service)
    await fleet.client.call("slow", "Slow.Exit")
asyncio.run(main())
"""
    program(START + text, status=7, options=("-X", "dev"))


def test_import_does_nothing(program: Callable[..., str]) -> None:
    printed = program("""
        import sys, threading
        before = set(sys.modules)
        import micro
        new = {name for name in set(sys.modules) - before if not name.startswith("micro")}
        print(threading.active_count(), "asyncio" in new, "micro._micro" in sys.modules)
    """)
    assert printed.split() == ["1", "False", "False"]
