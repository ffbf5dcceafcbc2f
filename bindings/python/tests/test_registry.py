"""What is asked of a registry, and a registry of the program's own."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import greeter

import micro
from micro import Change, Node, Record, errors, sync
from micro.testing import Fleet

sys.path.insert(0, str(Path(__file__).parents[3] / "examples" / "registry"))
from registry import InMemory

PATIENCE = 10.0


def record(name: str, version: str = "1", *ids: str) -> Record:
    return Record(name, version, tuple(Node(id, "127.0.0.1:4100", {"protocol": "grpc"}) for id in ids))


class Silent(InMemory):
    """Never answers, and counts those that wait and those that no longer do."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = self.left = 0

    async def get(self, name: str) -> list[Record]:  # type: ignore[override]
        self.asked += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.left += 1
        raise AssertionError

    async def watch(self, name: str | None) -> AsyncIterator[Change]:  # type: ignore[override]
        await self.get("")
        raise AssertionError


async def test_records_are_registered_looked_up_and_removed(fleet: Fleet) -> None:
    client = fleet.client
    watch = await client.watch("moon")
    await client.register(record("moon", "1", "a", "b"))
    changes = [await asyncio.wait_for(anext(watch), PATIENCE) for _ in range(1)]
    assert {node.id for change in changes for node in change.service.nodes} <= {"a", "b"}
    (found,) = await client.lookup("moon")
    assert (found.version, [node.id for node in found.nodes]) == ("1", ["a", "b"])
    assert "moon" in [one.name for one in await client.services()]
    await client.deregister(record("moon", "1", "a"))
    (found,) = await client.lookup("moon")
    assert [node.id for node in found.nodes] == ["b"]
    await client.deregister(record("moon", "1", "b", "unknown"))
    with pytest.raises(errors.NotFound):
        await client.lookup("moon")
    watch.cancel()


async def test_a_record_lives_as_long_as_it_was_registered_for(fleet: Fleet) -> None:
    watch = await fleet.client.watch("brief")
    await fleet.client.register(record("brief", "1", "a"), ttl=0.2)
    assert (await asyncio.wait_for(anext(watch), PATIENCE)).action == "create"
    assert (await asyncio.wait_for(anext(watch), PATIENCE)).action == "delete"


async def test_wrong_questions_say_what_is_wrong(fleet: Fleet) -> None:
    with pytest.raises(errors.InvalidArgument, match="at least one node"):
        await fleet.client.register(record("moon"))
    with pytest.raises(TypeError, match="seconds"):
        await fleet.client.lookup("moon", timeout="soon")  # type: ignore[arg-type]
    with pytest.raises(
        errors.InvalidArgument, match=r"registry\.get: service: a number|registry\.get: service: 7 is not a text"
    ):
        await fleet.client.lookup(7)  # type: ignore[arg-type]
    with pytest.raises(errors.InvalidArgument, match="ttl"):
        await fleet.client.register(record("moon", "1", "a"), ttl=0)


async def test_a_whole_fleet_meets_in_a_registry_written_in_python() -> None:
    async with micro.provide("fleet", InMemory()) as mine, micro.Client(registry=mine.url) as client:
        watch = await client.watch("greeter")
        service = greeter(registry=mine.url, address="127.0.0.1:0", propagation=0)
        await service.start()
        change = await asyncio.wait_for(anext(watch), PATIENCE)
        assert (change.action, change.service.name) == ("create", "greeter")
        assert await client.call("greeter", "Greeter.Hello", {"name": "Ada"}) == "Hello, Ada!"
        (health,) = await client.health("greeter")
        assert health.serving
        await service.stop()
        assert (await asyncio.wait_for(anext(watch), PATIENCE)).action == "delete"
        with pytest.raises(errors.Unavailable, match="no node"):
            await client.call("greeter", "Greeter.Hello", {"name": "Ada"}, retries=0)


async def test_a_new_description_is_an_update_of_every_node_of_the_version() -> None:
    async with micro.provide("described", InMemory()) as mine, micro.Client(registry=mine.url) as client:
        await client.register(record("moon", "1", "a", "b"))
        watch = await client.watch("moon")
        await client.register(record("moon", "1", "a")._replace(metadata={"team": "blue"}))
        change = await asyncio.wait_for(anext(watch), PATIENCE)
        assert (change.action, {node.id for node in change.service.nodes}) == ("update", {"a", "b"})


async def test_a_watcher_that_leaves_is_forgotten() -> None:
    registry = InMemory()
    async with micro.provide("left", registry) as mine, micro.Client(registry=mine.url) as client:
        watch = await client.watch()
        assert len(registry.watchers) == 1
        watch.cancel()
        with pytest.raises(errors.Cancelled):
            await anext(watch)
        async with asyncio.timeout(PATIENCE):
            while registry.watchers:
                await asyncio.sleep(0)


async def test_a_registry_that_is_silent_costs_a_question_its_deadline() -> None:
    registry = Silent()
    async with micro.provide("silent", registry) as mine, micro.Client(registry=mine.url) as client:
        with pytest.raises(errors.DeadlineExceeded, match=r"registry\.get"):
            await client.lookup("moon", timeout=0.05)
        with pytest.raises(errors.DeadlineExceeded, match=r"registry\.watch"):
            await anext(await client.watch("moon", timeout=0.05))
        async with asyncio.timeout(PATIENCE):
            while registry.left < 2:
                await asyncio.sleep(0)
        waiting = asyncio.ensure_future(client.lookup("moon", timeout=60))
        async with asyncio.timeout(PATIENCE):
            while registry.asked < 3:
                await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        async with asyncio.timeout(PATIENCE):
            while registry.left < 3:
                await asyncio.sleep(0)


async def test_a_question_within_a_handler_ends_with_the_call(fleet: Fleet) -> None:
    registry = Silent()
    ended = asyncio.Event()
    service = micro.Service("asker")

    async with micro.provide("within", registry) as mine, micro.Client(registry=mine.url) as asks:

        @service.endpoint("Asker.Ask")
        async def ask() -> str:
            try:
                await asks.lookup("moon", timeout=60)
            finally:
                ended.set()
            raise AssertionError

        await fleet.start(service)
        with pytest.raises(errors.DeadlineExceeded):
            await fleet.client.call("asker", "Asker.Ask", timeout=0.1)
        async with asyncio.timeout(PATIENCE):
            await ended.wait()
            while not registry.left:
                await asyncio.sleep(0)


async def test_what_a_registry_raises_or_returns_wrongly_reaches_the_caller() -> None:
    class Wrong(InMemory):
        answer: Any = None

        def get(self, name: str) -> Any:
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer

        def watch(self, name: str | None) -> Any:
            return self.answer

    registry = Wrong()
    async with micro.provide("wrong", registry) as mine, micro.Client(registry=mine.url) as client:
        for answer, kind, text in [
            (errors.PermissionDenied("no entry"), errors.PermissionDenied, "no entry"),
            (ValueError("a secret"), errors.Internal, None),
            ("text", errors.Internal, None),
            ([1], errors.Internal, None),
            ([], errors.NotFound, "moon"),
        ]:
            registry.answer = answer
            with pytest.raises(kind, match=text):
                await client.lookup("moon")
        registry.answer = [1]
        with pytest.raises(errors.Internal):
            await client.watch("moon")


async def test_services_have_their_nodes_where_the_registry_lists_names_alone() -> None:
    class Names(InMemory):
        def list(self) -> list[Record]:
            return [Record(name, "") for name in sorted({name for name, _ in self.records} | {"gone"}) for _ in range(2)]

        def get(self, name: str) -> list[Record]:
            return [record for record in super().list() if record.name == name]

    registry = Names()
    async with micro.provide("names", registry) as mine, micro.Client(registry=mine.url) as client:
        for one in (record("sun", "2", "c"), record("moon", "1", "a"), record("moon", "2", "b")):
            await client.register(one)
        found = [(one.name, one.version, [node.id for node in one.nodes]) for one in await client.services()]
    gone = ("gone", "", [])
    assert found == [gone, gone, ("moon", "1", ["a"]), ("moon", "2", ["b"]), ("sun", "2", ["c"])]


async def test_a_name_is_one_registrys_until_it_is_closed() -> None:
    with pytest.raises(TypeError, match="no method `deregister`"):
        micro.provide("poor", type("Poor", (), {"register": print})())
    with pytest.raises(errors.WrongArgument, match="letters"):
        micro.provide("a/b", InMemory())
    first = micro.provide("once", InMemory())
    with pytest.raises(errors.AlreadyExists, match="host://once"):
        micro.provide("once", InMemory())
    client = micro.Client(registry=first.url)
    assert await client.services() == []
    await first.close()
    await first.close()
    with pytest.raises(errors.Unavailable, match="host://once is not provided"):
        await client.services()
    # A name is free as soon as it is closed.
    for _ in range(50):
        async with micro.provide("once", InMemory()):
            pass
    async with micro.provide("once", InMemory()):
        assert await client.services() == []
    with pytest.raises(errors.InvalidArgument, match="provided: nothing|provided:"):
        await micro.Client(registry="host://nowhere").services()
    await client.close()


def test_a_loop_that_ends_takes_what_it_provides_along() -> None:
    async def provide() -> None:
        micro.provide("ended", InMemory())

    for _ in range(2):
        asyncio.run(provide())
    loop = asyncio.new_event_loop()
    loop.run_until_complete(provide())
    loop.close()
    gc.collect()
    asyncio.run(provide())


@contextmanager
def threads() -> Iterator[sync.Client]:
    with sync.Client(registry="memory://threads", network="memory://threads") as client:
        yield client


def test_threads_ask_the_same() -> None:
    with threads() as client, client.watch("moon") as watch:
        client.register(record("moon", "1", "a"), ttl=60)
        assert next(watch).action == "create"
        assert client.lookup("moon", timeout=5)[0].nodes[0].id == "a"
        assert [one.name for one in client.services()] == ["moon"]
        assert client.stats() == []
        client.deregister(record("moon", "1", "a"))
        assert next(watch).action == "delete"
        with pytest.raises(errors.NotFound):
            client.lookup("moon")


def test_a_child_of_the_process_provides_its_own(program: Callable[..., str]) -> None:
    said = program(
        """
        import asyncio, os, sys
        sys.path.insert(0, "%s")
        import micro
        from registry import InMemory

        async def provide():
            async with micro.provide("mine", InMemory()) as mine, micro.Client(registry=mine.url) as client:
                assert await client.services() == []

        async def main():
            mine = micro.provide("mine", InMemory())
            async with micro.Client(registry=mine.url) as client:
                assert await client.services() == []
                child = os.fork()
                if child == 0:
                    import threading
                    def again():
                        asyncio.run(provide())
                        os._exit(0)
                    thread = threading.Thread(target=again)
                    thread.start()
                    thread.join()
                    os._exit(1)
                assert os.waitpid(child, 0)[1] == 0
                assert await client.services() == []
        asyncio.run(main())
        print("fine")
        """
        % (Path(__file__).parents[3] / "examples" / "registry")
    )
    assert said == "fine\n"


class Refusing(InMemory):
    """Lets no one watch."""

    async def watch(self, name: str | None) -> AsyncIterator[Change]:  # type: ignore[override]
        raise errors.PermissionDenied("no watching here")


def test_threads_provide_a_registry() -> None:
    for _ in range(20):
        with sync.provide("of-threads", InMemory()) as mine, sync.Client(registry=mine.url) as client:
            with pytest.raises(errors.AlreadyExists):
                sync.provide("of-threads", InMemory())
            with client.watch("moon") as watch:
                client.register(record("moon", "1", "a"))
                assert next(watch).service.name == "moon"
            assert [one.name for one in client.lookup("moon")] == ["moon"]
        mine.close()
    with pytest.raises(errors.Error, match="is not provided"), sync.Client(registry="host://of-threads"):
        pass
    with pytest.raises(TypeError, match="is no registry"):
        sync.provide("of-threads", object())  # type: ignore[arg-type]


def test_threads_may_close_what_a_closed_runtime_provided() -> None:
    runtime = micro.Runtime(workers=1)
    mine = sync.provide("of-a-runtime", InMemory(), runtime=runtime)
    runtime.close()
    mine.close()
    assert not mine._thread.is_alive()


async def test_a_watch_that_cannot_begin_raises_at_once() -> None:
    async with micro.provide("refusing", Refusing()) as mine, micro.Client(registry=mine.url) as client:
        with pytest.raises(errors.PermissionDenied, match="no watching here"):
            await client.watch()
        with sync.Client(registry=mine.url) as blocking, pytest.raises(errors.PermissionDenied, match="no watching here"):
            await asyncio.to_thread(blocking.watch)
