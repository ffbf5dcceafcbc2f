"""Handlers however they are made: what they take and give is kept, or they are refused when they are declared."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import micro
from micro import errors
from micro.testing import Fleet


@dataclass
class Item:
    name: str


async def greet(greeting: str, item: Item) -> str:
    return greeting + item.name


async def plain(item: Item) -> str:
    await asyncio.sleep(0)
    return item.name


async def both(item: Item, context: micro.Context) -> str:
    return f"{item.name} {context.endpoint}"


def blocking(item: Item) -> str:
    return item.name


async def count(item: Item) -> AsyncIterator[str]:
    for letter in item.name:
        yield letter


def count_on_a_thread(item: Item) -> Iterator[str]:
    yield from item.name


async def twice(_: str, numbers: AsyncIterator[int]) -> AsyncIterator[int]:
    async for number in numbers:
        yield number * 2


def wrapping(function: Any) -> Any:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    return wrapper


def thin(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def bare(function: Any) -> Any:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    return wrapper


def with_greeting(function: Any) -> Any:
    @functools.wraps(function)
    async def wrapper(item: Item) -> Any:
        return await function("hi ", item)

    return wrapper


def passes_on(item: Item) -> Any:
    return plain(item)


def promises(item: Item) -> Awaitable[str]:
    return asyncio.ensure_future(plain(item))


def streams_on(item: Item) -> AsyncIterator[str]:
    return count(item)


class Object:
    async def method(self, item: Item) -> str:
        return item.name

    @thin
    async def decorated(self, item: Item) -> str:
        return item.name

    @staticmethod
    async def static(item: Item) -> str:
        return item.name

    @classmethod
    async def of_class(cls, item: Item) -> str:
        return cls.__name__ + item.name

    async def __call__(self, item: Item) -> str:
        return item.name


class Blocks:
    def __call__(self, item: Item, context: micro.Context) -> str:
        return f"{item.name} {context.endpoint}"


ONE = {
    "partial": (functools.partial(greet, "hi "), "hi ab"),
    "partial of a partial": (functools.partial(functools.partial(greet), "hi "), "hi ab"),
    "partial of a wrapper": (functools.partial(wrapping(greet), "hi "), "hi ab"),
    "wrapped": (wrapping(plain), "ab"),
    "wrapped twice": (thin(wrapping(plain)), "ab"),
    "wrapped with its context": (wrapping(both), "ab Lab.Do"),
    "thin": (thin(plain), "ab"),
    "thin with its context": (thin(both), "ab Lab.Do"),
    "thin and plain": (thin(blocking), "ab"),
    "wrapper that adds an argument": (with_greeting(greet), "hi ab"),
    "passes on": (passes_on, "ab"),
    "promises": (promises, "ab"),
    "method": (Object().method, "ab"),
    "decorated method": (Object().decorated, "ab"),
    "static method": (Object.static, "ab"),
    "static method of the class body": (Object.__dict__["static"], "ab"),
    "class method": (Object.of_class, "Objectab"),
    "callable": (Object(), "ab"),
    "callable that blocks": (Blocks(), "ab Lab.Do"),
    "wrapped callable": (thin(Object()), "ab"),
    "lambda": (lambda item: item["name"], "ab"),
}


@pytest.mark.parametrize("made", ONE)
async def test_a_handler_works_however_it_is_made(fleet: Fleet, made: str) -> None:
    function, wanted = ONE[made]
    service = micro.Service("lab")
    service.endpoint("Lab.Do")(function)
    await fleet.start(service)
    for _ in range(2):
        assert await fleet.client.call("lab", "Lab.Do", {"name": "ab"}, timeout=5) == wanted
    if made != "lambda":
        with pytest.raises(errors.InvalidArgument, match="the request of Lab.Do is no Item: name is missing"):
            await fleet.client.call("lab", "Lab.Do", {}, timeout=5)


MANY = {
    "asynchronous": count,
    "on a thread": count_on_a_thread,
    "thin": thin(count),
    "thin, on a thread": thin(count_on_a_thread),
    "passes on": streams_on,
}


@pytest.mark.parametrize("made", MANY)
async def test_a_stream_works_however_it_is_made(fleet: Fleet, made: str) -> None:
    service = micro.Service("lab")
    service.endpoint("Lab.Do")(MANY[made])
    await fleet.start(service)
    assert [one async for one in fleet.client.server_stream("lab", "Lab.Do", {"name": "ab"})] == ["a", "b"]


async def test_a_stream_of_a_partial_reads_its_requests(fleet: Fleet) -> None:
    service = micro.Service("lab")
    service.endpoint("Lab.Do")(functools.partial(twice, "x"))
    await fleet.start(service)
    assert [one async for one in fleet.client.bidi_stream("lab", "Lab.Do", [1, 2])] == [2, 4]


async def test_a_wrapper_that_hides_everything_is_served_when_the_request_is_told(fleet: Fleet) -> None:
    service = micro.Service("lab")
    service.endpoint("Lab.Do", request=Item)(bare(plain))
    await fleet.start(service)
    assert await fleet.client.call("lab", "Lab.Do", {"name": "ab"}) == "ab"


async def test_what_a_thread_passes_on_is_cancelled_with_its_call(fleet: Fleet) -> None:
    began, ended = asyncio.Event(), asyncio.Event()
    service = micro.Service("lab")

    async def wait(item: Item) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    def passes(item: Item) -> Any:
        return wait(item)

    service.endpoint("Lab.Do")(passes)
    await fleet.start(service)
    call = asyncio.ensure_future(fleet.client.call("lab", "Lab.Do", {"name": "ab"}))
    await began.wait()
    call.cancel()
    await asyncio.wait_for(ended.wait(), 5)


def in_class(decorate: Callable[[Any], Any]) -> None:
    class Handlers:
        @decorate
        async def call(self, item: Item) -> str:
            return item.name


def wrapped_in_class(decorate: Callable[[Any], Any]) -> None:
    class Handlers:
        @decorate
        @thin
        async def call(self, item: Item) -> str:
            return item.name


def class_method_in_class(decorate: Callable[[Any], Any]) -> None:
    class Handlers:
        @decorate
        @classmethod
        def call(cls, item: Item) -> str:
            return item.name


async def two(a: Item, b: Item) -> str:
    return a.name + b.name


async def keyword(a: Item, *, b: int) -> str:
    return a.name


REFUSED = {
    "a bare wrapper": (lambda decorate: decorate(bare(plain)), "takes .args, which does not say what it takes"),
    "a method in its class": (in_class, "is a method that has no object yet"),
    "a wrapped method in its class": (wrapped_in_class, "is a method that has no object yet"),
    "a class method in its class": (class_method_in_class, "is a classmethod"),
    "a method without an object": (lambda decorate: decorate(Object.method), "is a method that has no object yet"),
    "two requests": (lambda decorate: decorate(two), "`b` is annotated as neither"),
    "a keyword": (lambda decorate: decorate(keyword), "should take a request"),
    "a partial with a keyword": (lambda decorate: decorate(functools.partial(greet, greeting="x")), "should take a request"),
    "a class": (lambda decorate: decorate(Item), "is the class Item"),
    "a number": (lambda decorate: decorate(7), "is a int"),
}


@pytest.mark.parametrize("made", REFUSED)
def test_what_cannot_be_served_as_it_looks_is_refused_when_it_is_declared(made: str) -> None:
    declare, says = REFUSED[made]
    with pytest.raises(TypeError, match=says):
        declare(micro.Service("lab").endpoint("Lab.Do"))  # type: ignore[no-untyped-call]


def test_the_name_of_an_endpoint_is_text() -> None:
    with pytest.raises(TypeError, match="the name of an endpoint is int"):
        micro.Service("lab").endpoint(7)(plain)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="the name of a service is bytes"):
        micro.Service(b"lab")  # type: ignore[arg-type]
