"""From start to end of services and streams, on one event loop or over several."""

from __future__ import annotations

import asyncio
import gc
import math
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import micro
from micro import sync
from micro.testing import Fleet

kept: list[Any] = []


@pytest.fixture(autouse=True)
def without_the_collector() -> Iterator[None]:
    """Nothing in here may need it."""
    gc.disable()
    yield
    kept.clear()
    gc.enable()


def endless() -> tuple[micro.Service, asyncio.Event]:
    """A service of streams, and what tells that one has ended."""
    service, ended = micro.Service("endless"), asyncio.Event()

    @service.endpoint("Endless.Count")
    async def count(start: int) -> AsyncIterator[int]:
        try:
            yield start
            await asyncio.Event().wait()
        finally:
            ended.set()

    @service.endpoint("Endless.Sum")
    async def total(numbers: AsyncIterator[int]) -> int:
        try:
            return sum([number async for number in numbers])
        finally:
            ended.set()

    @service.endpoint("Endless.Chat")
    async def chat(numbers: AsyncIterator[int]) -> AsyncIterator[int]:
        try:
            async for number in numbers:
                yield number
        finally:
            ended.set()

    return service, ended


async def reads(stream: Any) -> None:
    kept.append(stream)
    async for _ in stream:
        pass


async def keeps_the_exception(stream: Any) -> None:
    try:
        async for _ in stream:
            pass
    except BaseException as error:
        kept.append(error)
        raise


async def waits_between(stream: Any) -> None:
    kept.append(stream)
    async for _ in stream:
        await asyncio.Event().wait()


async def through_a_generator(stream: Any) -> None:
    async def inner() -> AsyncIterator[Any]:
        async for one in stream:
            yield one

    kept.append(outer := inner())
    async for _ in outer:
        pass


async def replies(stream: Any) -> None:
    kept.append(stream)
    await stream


async def headers(stream: Any) -> None:
    kept.append(stream)
    await stream.headers()
    await anext(stream)
    await anext(stream)


async def numbers() -> AsyncIterator[int]:
    yield 1
    await asyncio.Event().wait()


READERS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "reads": (reads, lambda client: client.server_stream("endless", "Endless.Count", 1)),
    "keeps the exception": (keeps_the_exception, lambda client: client.server_stream("endless", "Endless.Count", 1)),
    "waits between": (waits_between, lambda client: client.server_stream("endless", "Endless.Count", 1)),
    "through a generator": (through_a_generator, lambda client: client.server_stream("endless", "Endless.Count", 1)),
    "headers first": (headers, lambda client: client.server_stream("endless", "Endless.Count", 1)),
    "both ways": (reads, lambda client: client.bidi_stream("endless", "Endless.Chat", numbers())),
    "awaits the reply": (replies, lambda client: client.client_stream("endless", "Endless.Sum", numbers())),
}


@pytest.mark.parametrize("how", READERS)
async def test_a_cancelled_reader_ends_its_handler_whatever_is_kept(fleet: Fleet, how: str) -> None:
    service, ended = endless()
    await fleet.start(service)
    read, make = READERS[how]
    task = asyncio.ensure_future(read(make(fleet.client)))
    await asyncio.sleep(0.05)
    assert not ended.is_set()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(ended.wait(), 5)


async def test_a_timeout_ends_the_stream_it_is_around(fleet: Fleet) -> None:
    service, ended = endless()
    await fleet.start(service)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await reads(fleet.client.server_stream("endless", "Endless.Count", 1))
    await asyncio.wait_for(ended.wait(), 5)


async def test_aclose_ends_the_handler(fleet: Fleet) -> None:
    service, ended = endless()
    await fleet.start(service)
    stream = fleet.client.server_stream("endless", "Endless.Count", 1)
    kept.append(stream)
    assert await anext(stream) == 1
    await stream.aclose()
    await asyncio.wait_for(ended.wait(), 5)


async def test_a_stream_goes_on_when_the_task_that_read_of_it_ends_well(fleet: Fleet) -> None:
    service, ended = endless()
    await fleet.start(service)
    async with fleet.client.bidi_stream("endless", "Endless.Chat") as stream:
        for number in range(3):
            await stream.send(number)
            assert await asyncio.create_task(anext(stream)) == number  # type: ignore[arg-type]
        assert not ended.is_set()
    await asyncio.wait_for(ended.wait(), 5)


async def test_the_requests_of_a_stream_that_is_over_are_closed(fleet: Fleet) -> None:
    service, _ = endless()
    closed = asyncio.Event()

    async def requests() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            closed.set()

    await fleet.start(service)
    given = requests()
    kept.append(given)
    async with fleet.client.bidi_stream("endless", "Endless.Chat", given) as stream:
        assert await anext(stream) == 1
    await asyncio.wait_for(closed.wait(), 5)


def test_a_synchronous_stream_ends_with_what_went_wrong_in_its_requests() -> None:
    fleet, began, ended = Fleet(), threading.Event(), threading.Event()
    service = sync.Service("sums", **fleet.options, address="127.0.0.1:0", propagation=0)

    @service.endpoint("Sums.Sum")
    def total(numbers: Iterator[int]) -> int:
        began.set()
        try:
            return sum(numbers)
        finally:
            ended.set()

    def requests() -> Iterator[int]:
        yield 1
        assert began.wait(5)
        raise ValueError("no more")

    with service, fleet.sync_client() as client:
        with pytest.raises(ValueError, match="no more") as failed:
            client.client_stream("sums", "Sums.Sum", requests())
        kept.append(failed.value)
        assert ended.wait(5)


def in_memory(name: str, kind: Any = micro.Service) -> Any:
    where = f"memory://{name}"
    service = kind(name, registry=where, network=where, propagation=0)

    @service.endpoint("A.B")
    async def answer(request: str) -> str:
        return request

    return service


def nodes(name: str) -> list[Any]:
    with sync.Client(registry=f"memory://{name}") as client:
        return client.services()


def test_a_service_left_running_is_deregistered_with_its_loop_and_can_be_stopped_in_the_next() -> None:
    service = in_memory("left")
    asyncio.run(service.start())
    assert nodes("left") == []
    asyncio.run(service.stop())
    with pytest.raises(RuntimeError, match="left does not run"):
        _ = service.address

    async def again() -> str:
        async with service:
            return str(await service.client.call("left", "A.B", "x", timeout=5))

    assert asyncio.run(again()) == "x"


def test_a_service_is_stopped_from_another_loop() -> None:
    service, started, over = in_memory("elsewhere"), threading.Event(), threading.Event()

    async def serve() -> None:
        await service.start()
        started.set()
        await service.wait()
        over.set()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert started.wait(10)
    asyncio.run(service.stop())
    thread.join(10)
    assert over.is_set() and nodes("elsewhere") == []


def test_a_service_whose_loop_stands_still_is_stopped_from_another() -> None:
    service = in_memory("still")
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(service.start())
        asyncio.run(asyncio.wait_for(service.stop(), 10))
        assert nodes("still") == []
        loop.run_until_complete(service.stop())
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def test_a_service_is_not_started_twice_and_the_first_goes_on() -> None:
    service = in_memory("twice", sync.Service)
    service.start()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="twice runs already: stop it first"):
            service.start()
    with sync.Client(registry="memory://twice", network="memory://twice") as client:
        assert client.call("twice", "A.B", "x", timeout=5) == "x"
    service.stop()
    assert not [one for one in threading.enumerate() if one.name == "micro twice"]
    service.stop()
    with service:
        assert len(nodes("twice")) == 1


async def test_of_two_starts_at_once_one_is_refused() -> None:
    service = in_memory("race")
    started = await asyncio.gather(service.start(), service.start(), return_exceptions=True)
    assert sorted(type(one).__name__ for one in started) == ["NoneType", "RuntimeError"]
    await service.stop()


async def test_a_service_that_could_not_start_can_be_started() -> None:
    service = in_memory("later")
    service._options["version"] = object()
    with pytest.raises(TypeError, match="version is .* give text"):
        await service.start()
    del service._options["version"]
    async with service:
        assert service.address


def test_a_program_that_ends_tells_the_registry(program: Callable[..., str], tmp_path: Any) -> None:
    folder = f"local://{tmp_path}"
    for end in ("asyncio.run(service.start())", "loop = asyncio.new_event_loop(); loop.run_until_complete(service.start())"):
        program(f"""
            import asyncio, warnings
            warnings.simplefilter("ignore")
            import micro
            service = micro.Service("gone", registry={folder!r}, address="127.0.0.1:0")

            @service.endpoint("A.B")
            async def answer(request: str) -> str:
                return request

            {end}
        """)
        with sync.Client(registry=folder) as client:
            assert client.services() == []


async def test_a_service_waits_for_ever_where_that_is_its_grace() -> None:
    service = in_memory("endless")
    service._options["grace"] = math.inf
    async with service:
        call = asyncio.ensure_future(service.client.call("endless", "A.B", "x", timeout=math.inf))
        assert await call == "x"


def test_a_service_that_stops_itself_from_a_handler_ends() -> None:
    service = in_memory("itself", sync.Service)

    @service.endpoint("A.Stop")
    def stop(request: str) -> str:
        threading.Thread(target=service.stop).start()
        return "stopping"

    service.start()
    with sync.Client(registry="memory://itself", network="memory://itself") as client:
        assert client.call("itself", "A.Stop", "x", timeout=5) == "stopping"
    service.wait()
    assert nodes("itself") == []
