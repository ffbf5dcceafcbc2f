"""Calls and tasks that are cancelled: before, while and after they are served."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conftest import CALL, OPERATION, greeter, settled

import micro
from micro.testing import Fleet


async def test_call_is_cancelled_before_it_has_begun(fleet: Fleet) -> None:
    await fleet.start(greeter())
    for _ in range(50):
        call = asyncio.ensure_future(fleet.client.call("greeter", "Greeter.Hello", {"name": "Ada"}))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    await settled(OPERATION, 1)


async def test_call_is_cancelled_while_it_is_served(fleet: Fleet) -> None:
    service = micro.Service("slow")
    served, over = asyncio.Event(), asyncio.get_running_loop().create_future()

    @service.endpoint("Slow.Wait")
    async def wait(request: None, context: micro.Context) -> None:
        served.set()
        try:
            await asyncio.Event().wait()
        except BaseException as error:
            over.set_result((type(error), context.cancelled))
            raise

    await fleet.start(service)
    call = asyncio.ensure_future(fleet.client.call("slow", "Slow.Wait"))
    await served.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await asyncio.wait_for(over, 5) == (asyncio.CancelledError, True)
    await settled(CALL)


async def test_call_is_cancelled_after_it_is_over(fleet: Fleet) -> None:
    await fleet.start(greeter())
    call = asyncio.ensure_future(fleet.client.call("greeter", "Greeter.Hello", {"name": "Ada"}))
    assert await call == "Hello, Ada!"
    assert not call.cancel()
    await settled(OPERATION, 1)


async def test_a_cancelled_handler_may_still_tidy_up(fleet: Fleet) -> None:
    service = micro.Service("tidy")
    served, tidied = asyncio.Event(), asyncio.Event()

    @service.endpoint("Tidy.Up")
    async def tidy(request: None) -> str:
        served.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)
            tidied.set()
        return "no caller hears this"

    await fleet.start(service)
    call = asyncio.ensure_future(fleet.client.call("tidy", "Tidy.Up"))
    await served.wait()
    call.cancel()
    await asyncio.wait_for(tidied.wait(), 5)
    # Its task is not used again: it was cancelled.
    assert await asyncio.wait_for(_again(fleet), 5) == "Hello, Ada!"


async def _again(fleet: Fleet) -> Any:
    await fleet.start(greeter())
    return await fleet.client.call("greeter", "Greeter.Hello", {"name": "Ada"})


async def test_all_tasks_are_cancelled_and_the_service_goes_on(fleet: Fleet) -> None:
    await fleet.start(greeter())
    for _ in range(3):
        assert await fleet.client.call("greeter", "Greeter.Hello", {"name": "Ada"}) == "Hello, Ada!"
        mine = asyncio.current_task()
        spares = [task for task in asyncio.all_tasks() if task is not mine]
        for task in spares:
            task.cancel()
        await asyncio.gather(*spares, return_exceptions=True)
