"""The twin for threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import micro
from micro import errors, sync
from micro.testing import Fleet


@pytest.fixture
def both() -> Iterator[tuple[sync.Service, sync.Client]]:
    fleet = Fleet()
    service = sync.Service("numbers", address="127.0.0.1:0", propagation=0, **fleet.options)

    @service.endpoint("Numbers.Twice")
    def twice(number: int, context: micro.Context) -> int:
        context.set_header("from", threading.current_thread().name)
        return number * 2

    @service.endpoint("Numbers.Count")
    def count(to: int) -> Iterator[int]:
        yield from range(to)

    @service.endpoint("Numbers.Sum")
    def total(numbers: Iterator[int]) -> int:
        return sum(numbers)

    @service.endpoint("Numbers.Double")
    def double(numbers: sync.Requests[int]) -> Iterator[int]:
        for number in numbers:
            yield number * 2

    @service.endpoint("Numbers.Wait")
    def wait(request: None, context: micro.Context) -> None:
        while not context.cancelled:
            time.sleep(0.001)

    with service, fleet.sync_client() as client:
        yield service, client


Both = tuple[sync.Service, sync.Client]


def test_stats_of_a_service_block(both: Both) -> None:
    service, client = both
    client.call("numbers", "Numbers.Twice", 21, timeout=5)
    assert "Numbers.Twice" in str(service.stats(timeout=5))


def test_the_client_of_a_service_blocks_and_calls_in_its_name(both: Both) -> None:
    service, _ = both
    assert service.client is service.client
    assert service.client.call("numbers", "Numbers.Twice", 21, timeout=5) == 42
    (edge,) = service.stats(timeout=5)["edges"]
    assert edge["caller"] == "numbers"


def test_calls_block(both: Both) -> None:
    _, client = both
    assert client.call("numbers", "Numbers.Twice", 21, timeout=5) == 42
    reply = client.request("numbers", "Numbers.Twice", 4)
    assert (reply.message, str(reply.headers["from"]).startswith("micro handler")) == (8, True)
    with pytest.raises(errors.InvalidArgument, match="no int"):
        client.call("numbers", "Numbers.Twice", "x")


def test_streams_are_iterators(both: Both) -> None:
    _, client = both
    assert list(client.server_stream("numbers", "Numbers.Count", 500)) == list(range(500))
    assert client.client_stream("numbers", "Numbers.Sum", range(500)) == 124750
    with client.bidi_stream("numbers", "Numbers.Double") as stream:
        for number in range(100):
            stream.send(number)
            assert next(stream) == number * 2
        stream.done_sending()
        assert list(stream) == []


def test_many_threads_share_a_client(both: Both) -> None:
    _, client = both
    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(lambda n: client.call("numbers", "Numbers.Twice", n), range(500)))
    assert found == [n * 2 for n in range(500)]


def test_a_deadline_ends_the_call_and_the_handler_sees_it(both: Both) -> None:
    _, client = both
    with pytest.raises(TimeoutError):
        client.call("numbers", "Numbers.Wait", timeout=0.05)


def test_lookups_and_watches(both: Both) -> None:
    service, client = both
    assert client.lookup("numbers")[0].nodes[0].address == service.address
    assert [one.name for one in client.services()] == ["numbers"]
    assert client.health("numbers")[0].serving
    with client.watch("numbers") as watch:
        service.stop()
        assert next(watch).action == "delete"


def test_closing_a_client_ends_what_waits(both: Both) -> None:
    _, client = both
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            client.call("numbers", "Numbers.Wait", timeout=60)
        except errors.Error as error:
            raised.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    while not client._under_way:
        time.sleep(0.001)
    client.close()
    thread.join(10)
    assert [type(one) for one in raised] == [errors.Cancelled]
    with pytest.raises(errors.Closed):
        client.call("numbers", "Numbers.Twice", 1)


def test_a_service_that_cannot_start_says_so() -> None:
    with pytest.raises(errors.Error, match=r"256\.0\.0\.1"):
        sync.Service("x", registry="memory://x", address="256.0.0.1:1").start()
