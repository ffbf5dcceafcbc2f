"""Functions of the program's decide whether a call is made again, and when."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

import micro
from micro import errors
from micro._retry import _wait
from micro.testing import Fleet


def shop(failures: int, error: type[errors.Error] = errors.Aborted) -> tuple[micro.Service, list[dict[str, Any]]]:
    """A service that fails so often, and what it was asked."""
    service, asked = micro.Service("shop"), list[dict[str, Any]]()

    @service.endpoint("Shop.Buy")
    async def buy(request: dict, context: micro.Context) -> str:
        asked.append({"request": request, "left": context.remaining})
        if len(asked) <= failures:
            context.set_trailer("why", "sold out")
            raise error(f"failure {len(asked)}")
        return "bought"

    @service.endpoint("Shop.Each")
    async def each(request: int) -> AsyncIterator[int]:
        asked.append({"request": request})
        raise errors.Aborted("no stream")
        yield 1

    return service, asked


async def test_a_function_sees_the_call_and_decides(fleet: Fleet) -> None:
    service, asked = shop(2)
    await fleet.start(service)
    seen: list[micro.FailedAttempt] = []

    async def decide(failed: micro.FailedAttempt) -> bool:
        await asyncio.sleep(0)
        seen.append(failed)
        return failed.error.code == micro.Code.ABORTED

    waits: list[int] = []

    def backoff(attempt: int) -> float:
        waits.append(attempt)
        return 0.001

    fleet.client.use(micro.Retry(decide, attempts=5, backoff=backoff))
    assert await fleet.client.call("shop", "Shop.Buy", {"pieces": 2}, timeout=20) == "bought"
    assert [one["request"] for one in asked] == [{"pieces": 2}] * 3
    assert [failed.attempt for failed in seen] == [0, 1] and waits == [1, 2]
    assert (seen[0].call.endpoint, seen[0].call.request) == ("Shop.Buy", {"pieces": 2})
    assert (seen[1].error.detail, seen[1].error.trailers["why"]) == ("failure 2", "sold out")
    # The time is that of the whole call.
    assert asked[0]["left"] > asked[1]["left"] > asked[2]["left"] > 15


async def test_attempts_have_an_end_and_the_last_error_is_the_callers(fleet: Fleet) -> None:
    service, asked = shop(10)
    await fleet.start(service)
    fleet.client.use(micro.Retry(lambda failed: True, attempts=3, backoff=lambda attempt: 0.0))
    with pytest.raises(errors.Aborted, match="failure 3"):
        await fleet.client.call("shop", "Shop.Buy", {})
    assert len(asked) == 3


async def test_a_function_that_says_no_or_raises_ends_the_call(fleet: Fleet) -> None:
    service, asked = shop(10)
    await fleet.start(service)

    def decide(failed: micro.FailedAttempt) -> bool:
        if failed.error.detail == "failure 2":
            raise errors.FailedPrecondition("ask the shop whether it was bought")
        return failed.error.detail != "failure 1"

    fleet.client.use(micro.Retry(decide, backoff=lambda attempt: 0.0))
    with pytest.raises(errors.Aborted, match="failure 1"):
        await fleet.client.call("shop", "Shop.Buy", {})
    with pytest.raises(errors.FailedPrecondition, match="ask the shop"):
        await fleet.client.call("shop", "Shop.Buy", {})
    assert len(asked) == 2


async def test_a_wait_that_is_longer_than_the_time_left_fails_at_once(fleet: Fleet) -> None:
    service, asked = shop(10)
    await fleet.start(service)
    fleet.client.use(micro.Retry(lambda failed: True, backoff=lambda attempt: 3600.0))
    begun = time.monotonic()
    with pytest.raises(errors.Aborted, match="failure 1"):
        await fleet.client.call("shop", "Shop.Buy", {}, timeout=30)
    assert time.monotonic() - begun < 15 and len(asked) == 1


async def test_the_core_repeats_nothing_beside_it(fleet: Fleet) -> None:
    service, asked = shop(1, errors.Unavailable)
    await fleet.start(service)
    fleet.client.use(micro.Retry(lambda failed: False))
    with pytest.raises(errors.Unavailable):
        await fleet.client.call("shop", "Shop.Buy", {}, idempotent=True)
    assert len(asked) == 1
    # Without it, the client would have.
    assert await fleet.new_client().call("shop", "Shop.Buy", {}, idempotent=True) == "bought"


async def test_streams_pass_it(fleet: Fleet) -> None:
    service, asked = shop(0)
    await fleet.start(service)
    fleet.client.use(micro.Retry(lambda failed: True))
    with pytest.raises(errors.Aborted, match="no stream"):
        [number async for number in fleet.client.server_stream("shop", "Shop.Each", 1)]
    assert len(asked) == 1


async def test_a_client_that_blocks_waits_on_its_thread(fleet: Fleet) -> None:
    service, asked = shop(2)
    await fleet.start(service)
    client = fleet.sync_client()
    client.use(micro.Retry(lambda failed: failed.attempt < 2, backoff=lambda attempt: 0.001))
    assert await asyncio.to_thread(client.call, "shop", "Shop.Buy", {}) == "bought"
    assert len(asked) == 3

    async def later(failed: micro.FailedAttempt) -> bool:
        return True

    service_of_failures, _ = shop(10)
    service_of_failures.name = "failing"
    await fleet.start(service_of_failures)
    other = fleet.sync_client()
    other.use(micro.Retry(later))
    with pytest.raises(TypeError, match="give a plain function"):
        await asyncio.to_thread(other.call, "failing", "Shop.Buy", {})


@pytest.mark.parametrize("wrong", [{"decide": 1}, {"attempts": 0}, {"backoff": 1}, {"timeout": "5s"}])
def test_a_rule_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError), match="give"):
        micro.Retry(**{"decide": lambda failed: True, **wrong})


@pytest.mark.parametrize(("told", "attempts"), [("-1", 1), ("soon", 1), ("1", 4), (None, 4), ("3600000", 1)])
def test_a_node_that_says_when_to_come_again_is_heeded(told: str | None, attempts: int) -> None:
    made: list[micro.Call] = []

    def call_next(call: micro.Call) -> None:
        made.append(call)
        error = errors.Aborted("busy")
        error.trailers = micro.Metadata([("grpc-retry-pushback-ms", told)] if told else [])
        raise error

    rule = micro.Retry(lambda failed: True, attempts=4, backoff=lambda attempt: 0.0)
    with pytest.raises(errors.Aborted):
        rule(micro.Call("a", "A.B", None, {}, "unary"), call_next)
    assert len(made) == attempts


def test_the_usual_wait_is_from_half_to_the_whole_of_go_micros() -> None:
    for attempt, whole in ((1, 0.1), (2, 0.6), (3, 1.9), (13, 106.6), (14, 120.0)):
        waits = [_wait(attempt) for _ in range(100)]
        assert whole / 2 <= min(waits) < max(waits) <= whole
