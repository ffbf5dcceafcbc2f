"""Calls and what they carry."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import time
from datetime import timedelta
from functools import partial

import pytest
from conftest import greeter

import micro
from micro import errors
from micro.testing import Fleet


@dataclasses.dataclass
class Item:
    text: str
    count: int = 1


@dataclasses.dataclass
class Order:
    items: list[Item]
    note: str | None = None


async def test_a_service_greets(fleet: Fleet) -> None:
    await fleet.start(greeter())
    assert await fleet.client.call("greeter", "Greeter.Hello", {"name": "Ada"}, timeout=2) == "Hello, Ada!"


async def test_the_context_says_who_calls_and_how_long_they_wait(fleet: Fleet) -> None:
    service = micro.Service("greeter")

    @service.endpoint("Greeter.Hello")
    async def hello(request: None, context: micro.Context) -> dict:
        assert micro.context() is context
        return {
            "service": context.service,
            "endpoint": context.endpoint,
            "caller": context.caller,
            "remaining": context.remaining,
            "trace": bool(context.trace_id) and bool(context.span_id),
            "tenant": context.metadata["Tenant"],
            "all": context.metadata.get_all("tenant"),
            "key": list(context.metadata.get_binary("key-bin") or b""),
        }

    await fleet.start(service)
    client = fleet.new_client(name="shop")
    pairs = [("tenant", "blue"), ("tenant", "green"), ("key-bin", b"\x00\xff")]
    seen = await client.call("greeter", "Greeter.Hello", timeout=timedelta(seconds=7), metadata=pairs)
    assert 5 < seen.pop("remaining") <= 7
    assert seen == {
        "service": "greeter",
        "endpoint": "Greeter.Hello",
        "caller": "shop",
        "trace": True,
        "tenant": "blue",
        "all": ["blue", "green"],
        "key": [0, 255],
    }


async def test_headers_and_trailers_come_with_the_reply(fleet: Fleet) -> None:
    service = micro.Service("greeter")

    @service.endpoint("Greeter.Hello")
    async def hello(request: bytes, context: micro.Context) -> bytes:
        context.set_header("cache", "warm")
        context.set_trailer("took-bin", b"\x01\x00")
        context.set_trailer("hint", "again")
        if request == b"fail":
            raise errors.NotFound("nobody")
        return request

    await fleet.start(service)
    reply = await fleet.client.request("greeter", "Greeter.Hello", b"x")
    assert (reply.message, reply.headers["cache"], reply.trailers.get_binary("took-bin")) == (b"x", "warm", b"\x01\x00")
    with pytest.raises(errors.NotFound) as failed:
        await fleet.client.call("greeter", "Greeter.Hello", b"fail")
    assert failed.value.trailers["hint"] == "again"


def test_metadata_is_text_but_for_names_that_say_otherwise() -> None:
    found = micro.Metadata([("tenant", "blue"), ("tenant", "green"), ("key-bin", b"\xff"), ("name", b"gr\xfcn")])
    assert dict(found) == {"tenant": "blue", "name": "gr\xfcn"} and len(found) == 2
    assert (found.get("Tenant"), found.get("nothing"), found.get_all("tenant")) == ("blue", None, ["blue", "green"])
    assert (found.get_binary("Key-Bin"), found.get_binary("nothing"), found.get_all_binary("tenant")) == (
        b"\xff",
        None,
        [b"blue", b"green"],
    )
    assert "key-bin" in found and "Tenant" in found and "nothing" not in found
    for read in (found.get, found.get_all, found.__getitem__):
        with pytest.raises(TypeError, match=r"read it with get_binary\('key-bin'\)"):
            read("key-bin")
    assert found == micro.Metadata(found.pairs) and found != micro.Metadata(found.pairs[:2])


async def test_calls_inside_of_a_handler_are_part_of_its_call(fleet: Fleet) -> None:
    service = micro.Service("front")

    @service.endpoint("Front.Ask")
    async def ask(request: None) -> dict:
        return await service.client.call("back", "Back.Answer", timeout=100)

    @service.endpoint("Front.Alone")
    async def alone(request: None) -> dict:
        return await service.client.call("back", "Back.Answer", timeout=100, detached=True)

    back = micro.Service("back")

    @back.endpoint("Back.Answer")
    async def answer(request: None, context: micro.Context) -> dict:
        return {
            "left": context.remaining,
            "tenant": context.metadata.get("tenant"),
            "caller": context.caller,
            "trace": context.trace_id,
        }

    await fleet.start(back)
    await fleet.start(service)
    seen = await fleet.client.call("front", "Front.Ask", timeout=3, metadata={"tenant": "blue"})
    assert (seen["tenant"], seen["caller"]) == ("blue", "front")
    assert seen["left"] < 3
    alone_seen = await fleet.client.call("front", "Front.Alone", timeout=3, metadata={"tenant": "blue"})
    assert (alone_seen["tenant"], alone_seen["left"] > 50) == (None, True)


async def test_a_deadline_ends_both_sides(fleet: Fleet) -> None:
    service = micro.Service("slow")
    ended = asyncio.get_running_loop().create_future()

    @service.endpoint("Slow.Wait")
    async def wait(request: None, context: micro.Context) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.set_result(context.cancelled)
            raise

    await fleet.start(service)
    begun = time.monotonic()
    with pytest.raises(TimeoutError) as late:
        await fleet.client.call("slow", "Slow.Wait", timeout=0.1)
    assert time.monotonic() - begun < 5
    assert isinstance(late.value, errors.DeadlineExceeded)
    assert (late.value.endpoint, late.value.attempts) == ("Slow.Wait", 1)
    assert await asyncio.wait_for(ended, 5) is True


async def test_no_time_left_is_a_deadline_that_has_passed(fleet: Fleet) -> None:
    await fleet.start(greeter())
    with pytest.raises(errors.DeadlineExceeded):
        await fleet.client.call("greeter", "Greeter.Hello", {"name": "Ada"}, timeout=0)
    assert await fleet.client.call("greeter", "Greeter.Hello", {"name": "Ada"}, timeout=math.inf)
    with pytest.raises(ValueError, match="timeout is no number"):
        await fleet.client.call("greeter", "Greeter.Hello", {"name": "Ada"}, timeout=math.nan)


async def test_dataclasses_go_both_ways(fleet: Fleet) -> None:
    service = micro.Service("shop")

    @service.endpoint("Shop.Order")
    async def order(request: Order) -> Order:
        assert isinstance(request.items[0], Item)
        return Order([*request.items, Item("gift")], "thanks")

    await fleet.start(service)
    reply = await fleet.client.call("shop", "Shop.Order", Order([Item("book", 2)]), returns=Order)
    assert reply == Order([Item("book", 2), Item("gift")], "thanks")


async def test_large_payloads_come_whole(fleet: Fleet) -> None:
    service = micro.Service("echo")

    @service.endpoint("Echo.Bytes")
    async def echo(request: memoryview) -> memoryview:
        return request

    await fleet.start(service)
    for size in (0, 1, 16 * 1024, 16 * 1024 + 1, 4 * 1024 * 1024 - 64):
        sent = bytes(size)
        assert await fleet.client.call("echo", "Echo.Bytes", sent) == sent
        view = await fleet.client.call("echo", "Echo.Bytes", memoryview(sent), returns=memoryview)
        assert view.readonly and view == sent


async def test_plain_functions_run_on_threads(fleet: Fleet) -> None:
    import threading

    service = micro.Service("threads", threads=2)
    both = threading.Barrier(2)

    @service.endpoint("Threads.Meet")
    def meet(request: None, context: micro.Context) -> str:
        both.wait(10)
        assert micro.context() is context
        return threading.current_thread().name

    @service.endpoint("Threads.Inline", inline=True)
    def inline(request: None) -> str:
        return threading.current_thread().name

    await fleet.start(service)
    names = await asyncio.gather(*(fleet.client.call("threads", "Threads.Meet") for _ in range(2)))
    assert len(set(names)) == 2 and all(name.startswith("micro handler") for name in names)
    assert await fleet.client.call("threads", "Threads.Inline") == threading.current_thread().name


async def test_a_handler_has_one_task_from_beginning_to_end(fleet: Fleet) -> None:
    service = micro.Service("tasks")

    @service.endpoint("Tasks.Use")
    async def use(request: None) -> list[str]:
        task = asyncio.current_task()
        assert task is not None
        async with asyncio.TaskGroup() as group:
            child = group.create_task(asyncio.sleep(0, "child"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.sleep(60)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await asyncio.sleep(60)
        assert asyncio.current_task() is task and not task.cancelling()
        return [child.result(), micro.context().endpoint or ""]

    await fleet.start(service)
    calls = (fleet.client.call("tasks", "Tasks.Use") for _ in range(100))
    assert await asyncio.gather(*calls) == [["child", "Tasks.Use"]] * 100


async def test_context_variables_do_not_leak_from_call_to_call(fleet: Fleet) -> None:
    import contextvars

    seen: contextvars.ContextVar[str] = contextvars.ContextVar("seen", default="nothing")
    service = micro.Service("vars")

    @service.endpoint("Vars.Swap")
    async def swap(request: str, context: micro.Context) -> str:
        before = seen.get()
        seen.set(request)
        if request == "wait":
            await asyncio.sleep(0)
        assert seen.get() == request
        return before

    seen.set("outside")
    await fleet.start(service)
    for request in ("a", "wait", "b", "wait", "c"):
        assert await fleet.client.call("vars", "Vars.Swap", request) == "outside"
    with pytest.raises(LookupError, match="inside of a handler"):
        micro.context()


async def test_the_registry_tells_who_is_there_and_what_changes(fleet: Fleet) -> None:
    watch = await fleet.client.watch("greeter")
    service = await fleet.start(greeter(version="1.2", metadata={"zone": "a"}))
    change = await asyncio.wait_for(anext(watch), 5)
    assert (change.action, change.service.name) == ("create", "greeter")
    (record,) = await fleet.client.lookup("greeter")
    assert (record.version, record.endpoints[0].name) == ("1.2", "Greeter.Hello")
    assert record.nodes[0].metadata["zone"] == "a"
    assert record.nodes[0].address == service.address
    assert [one.name for one in await fleet.client.services()] == ["greeter"]
    (health,) = await fleet.client.health("greeter")
    assert health.serving
    service.set_health(False)
    (health,) = await fleet.client.health("greeter")
    assert not health.serving
    await service.stop()
    change = await asyncio.wait_for(anext(watch), 5)
    assert change.action == "delete"
    watch.cancel()
    with pytest.raises(errors.Cancelled):
        await anext(watch)
    with pytest.raises(errors.NotFound, match="nobody"):
        await fleet.client.lookup("nobody")


async def test_options_reach_the_core_and_mistakes_name_their_field(fleet: Fleet) -> None:
    await fleet.start(greeter(grace=1.5, register_ttl=timedelta(minutes=1), limiter="off", keepalive=None))
    await fleet.client.call("greeter", "Greeter.Hello", {"name": "Ada"}, retries=2, retry="safe", key="ada")
    with pytest.raises(errors.InvalidArgument, match="retriez.*did you mean `retries`"):
        await fleet.client.call("greeter", "Greeter.Hello", {}, retriez=2)  # type: ignore[call-overload]
    with pytest.raises(errors.InvalidArgument, match="adress.*did you mean `address`"):
        await micro.Service("x", adress=":0").start()  # type: ignore[call-arg]


async def test_stats_count_calls(fleet: Fleet) -> None:
    service = await fleet.start(greeter())
    await fleet.client.call("greeter", "Greeter.Hello", {"name": "Ada"})
    assert "Greeter.Hello" in str(await fleet.client.stats())
    assert "Greeter.Hello" in str(await service.stats())


async def test_an_equal_call_is_answered_by_what_is_kept() -> None:
    calls = 0
    service = micro.Service("shop")

    @service.endpoint("Shop.Price")
    async def price(title: str) -> int:
        nonlocal calls
        calls += 1
        return calls

    async with Fleet() as fleet:
        await fleet.start(service)
        ask = partial(fleet.client.call, "shop", "Shop.Price")
        assert [await ask("Emma", cached=60), await ask("Emma", cached=timedelta(minutes=1))] == [1, 1]
        assert await ask("Emma") == 2
        assert await ask("Emma", cached=60, metadata={"authorization": "bob"}) == 3
        with pytest.raises(errors.InvalidArgument, match="cached"):
            await ask("Emma", cached=-1)
