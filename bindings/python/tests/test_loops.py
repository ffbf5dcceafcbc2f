"""Event loops of every kind, several of them, and their ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from conftest import greeter

import micro
from micro import _micro
from micro.testing import Fleet


async def greet(count: int = 50) -> list[Any]:
    async with Fleet() as fleet:
        service = greeter()

        @service.endpoint("Greeter.Wait")
        async def wait(request: str) -> str:
            async with asyncio.timeout(5):
                await asyncio.sleep(0.001)
            return request

        await fleet.start(service)
        call = fleet.client.call
        quick = (call("greeter", "Greeter.Hello", {"name": str(n)}) for n in range(count))
        slow = (call("greeter", "Greeter.Wait", str(n)) for n in range(count))
        return await asyncio.gather(*quick, *slow)


def expected(count: int = 50) -> list[str]:
    return [f"Hello, {n}!" for n in range(count)] + [str(n) for n in range(count)]


class Blind(asyncio.SelectorEventLoop):
    """A loop that cannot watch descriptors, as Windows' own cannot."""

    def add_reader(self, fd: Any, callback: Callable[..., Any], *args: Any) -> None:
        raise NotImplementedError

    def remove_reader(self, fd: Any) -> bool:
        raise NotImplementedError


def test_loop_without_add_reader() -> None:
    with asyncio.Runner(loop_factory=Blind) as runner:
        assert runner.run(greet()) == expected()
    assert not [one for one in threading.enumerate() if one.name == "micro bell"]


def test_uvloop() -> None:
    uvloop = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(greet()) == expected()


def test_loop_is_replaced_again_and_again() -> None:
    client: micro.Client | None = None
    for _ in range(20):
        assert asyncio.run(greet(5)) == expected(5)
    assert client is None


def test_one_client_serves_many_loops_one_after_another() -> None:
    fleet = Fleet()
    client = fleet.client

    async def once() -> Any:
        service = greeter()
        await fleet.start(service)
        try:
            return await client.call("greeter", "Greeter.Hello", {"name": "Ada"}, timeout=5)
        finally:
            await service.stop()

    assert [asyncio.run(once()) for _ in range(10)] == ["Hello, Ada!"] * 10


def test_several_loops_in_several_threads() -> None:
    found: list[list[Any]] = []
    threads = [threading.Thread(target=lambda: found.append(asyncio.run(greet(100)))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [expected(100)] * 6


def test_loop_is_closed_with_work_in_flight() -> None:
    fleet = Fleet()
    loop = asyncio.new_event_loop()

    async def begin() -> None:
        service = micro.Service("slow")

        @service.endpoint("Slow.Wait")
        async def wait(request: None) -> None:
            await asyncio.sleep(600)

        await fleet.start(service)
        calls = [fleet.client.call("slow", "Slow.Wait") for _ in range(50)]
        await asyncio.wait([asyncio.ensure_future(call) for call in calls], timeout=0.2)

    # Not as asyncio.run does it: nothing is cancelled, nothing is told.
    loop.run_until_complete(begin())
    pending = asyncio.all_tasks(loop)
    for task in pending:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.close()
    # What the next loop does is not bothered by it, and tidies up.
    assert asyncio.run(greet(5)) == expected(5)
    for task in pending:
        # Their coroutines end with them, as those of any closed loop.
        coroutine = task.get_coro()
        assert coroutine is not None
        coroutine.close()


def test_service_that_is_not_stopped_ends_with_its_loop() -> None:
    fleet = Fleet()

    async def forget() -> None:
        await fleet.start(greeter())

    asyncio.run(forget())

    async def ask() -> None:
        with pytest.raises(micro.errors.Error):
            await fleet.client.call("greeter", "Greeter.Hello", {"name": "Ada"}, timeout=5)

    asyncio.run(ask())
    assert _micro.live(6) == 0
