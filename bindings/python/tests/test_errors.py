"""Whatever a handler raises arrives, with its code; and what was not meant for the caller is not told."""

from __future__ import annotations

import asyncio
import decimal
import logging
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import micro
from micro import errors
from micro.testing import Fleet


class Mute(Exception):
    """What cannot even say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


class Plain(errors.Error):
    """A class of a user's who does not read documents."""

    code = 5  # type: ignore[assignment]

    def __init__(self, what: str) -> None:
        Exception.__init__(self, what)


ID = uuid.UUID(int=7)


async def told(fleet: Fleet, error: BaseException) -> errors.Error:
    """What the caller of a handler that raises this sees, however the handler is made."""

    async def unary(request: None) -> None:
        raise error

    async def later(request: None) -> None:
        await asyncio.sleep(0)
        raise error

    def on_a_thread(request: None) -> None:
        raise error

    async def stream(request: None) -> AsyncIterator[int]:
        yield 1
        raise error

    def stream_on_a_thread(request: None) -> Iterator[int]:
        yield 1
        raise error

    async def requests(request: AsyncIterator[int]) -> int:
        raise error

    service = micro.Service("lab")
    handlers = (unary, later, on_a_thread, stream, stream_on_a_thread, requests)
    for handler in handlers:
        service.endpoint(f"Lab.{handler.__name__}")(handler)
    await fleet.start(service)
    client, seen = fleet.client, []
    for handler in handlers:
        name = f"Lab.{handler.__name__}"
        with pytest.raises(errors.Error) as failed:
            if "stream" in name:
                async for _ in client.server_stream("lab", name):
                    pass
            elif handler is requests:
                await client.client_stream("lab", name, [1])
            else:
                await client.call("lab", name, timeout=5)
        seen.append(failed.value)
    first = seen[0]
    for one in seen:
        assert (type(one), one.id, one.details, one.is_remote) == (type(first), first.id, first.details, True)
        if first.code is not errors.Code.INTERNAL:
            assert one.detail == first.detail
    return first


@pytest.mark.parametrize(
    ("error", "kind", "detail", "id"),
    [
        (errors.InvalidArgument(ValueError("no such colour")), errors.InvalidArgument, "no such colour", ""),
        (errors.NotFound(42), errors.NotFound, "42", ""),
        (errors.NotFound(ID, id=ID), errors.NotFound, str(ID), str(ID)),
        (errors.Aborted("half \ud83d here"), errors.Aborted, "half ? here", ""),
        (errors.Aborted("x", id="\udcff"), errors.Aborted, "x", "?"),
        (errors.DataLoss(b"gr\xc3\xbc\xff"), errors.DataLoss, "grü\ufffd", ""),
        (errors.DataLoss(None, id=None), errors.DataLoss, "DATA_LOSS", ""),
        (errors.OutOfRange(Mute()), errors.OutOfRange, "Mute", ""),
        (errors.OutOfRange(KeyError()), errors.OutOfRange, "KeyError()", ""),
        (errors.Unavailable({"a": 1}), errors.Unavailable, "{'a': 1}", ""),
        (errors.Unavailable(errors.NotFound("x")), errors.Unavailable, "NOT_FOUND: x", ""),
        (Plain("gone"), errors.NotFound, "gone", ""),
        (ExceptionGroup("tasks", [errors.NotFound("one")]), errors.NotFound, "one", ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
async def test_whatever_is_raised_arrives(fleet: Fleet, error: Any, kind: Any, detail: str, id: str) -> None:
    seen = await told(fleet, error)
    assert (type(seen), seen.detail, seen.id) == (kind, detail, id)


async def test_what_is_written_into_an_error_later_arrives_too(fleet: Fleet) -> None:
    error = errors.NotFound("x")
    error.detail, error.id, error.http, error.code = 42, ID, "many", "none"  # type: ignore[assignment]
    error.details = (7, micro.Detail("type.googleapis.com/a.B", b"\x08\x01"))  # type: ignore[assignment]
    seen = await told(fleet, error)
    assert (seen.code, seen.detail, seen.id) == (errors.Code.UNKNOWN, "42", str(ID))
    assert seen.details == (
        micro.Detail("type.googleapis.com/google.protobuf.StringValue", b"\x0a\x017"),
        micro.Detail("type.googleapis.com/a.B", b"\x08\x01"),
    )


@pytest.mark.parametrize("given", ["one", 7, ["one", ID, None, {"a": decimal.Decimal(1)}], Mute(), ("a", 1), iter([b"x"])])
async def test_details_that_are_no_messages_are_told_as_text(fleet: Fleet, given: Any) -> None:
    seen = await told(fleet, errors.FailedPrecondition("x", details=given))
    assert seen.detail == "x" and seen.details
    assert {detail.name for detail in seen.details} == {"google.protobuf.StringValue"}


async def test_a_cause_changes_nothing(fleet: Fleet) -> None:
    error = errors.NotFound("x")
    error.__cause__ = Mute()
    assert type(await told(fleet, error)) is errors.NotFound


@pytest.mark.parametrize(
    "error",
    [
        ValueError("password=hunter2"),
        Mute(),
        RuntimeError("hunter2"),
        errors.WrongArgument("hunter2"),
        ExceptionGroup("tasks", [errors.NotFound("hunter2"), ValueError("hunter2")]),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_was_not_meant_for_the_caller_is_in_the_log_alone(
    fleet: Fleet, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "micro"):
        seen = await told(fleet, error)
    assert type(seen) is errors.Internal and "hunter2" not in str(seen) and type(error).__name__ not in str(seen)
    logged = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert len(logged) == 6 and all(one is error for one in logged)


async def test_the_number_of_go_micro_follows_from_the_code_as_in_the_core(fleet: Fleet) -> None:
    assert errors.NotFound("x", http=418).http == 418
    service = micro.Service("lab")

    @service.endpoint("Lab.Fail")
    async def fail(code: int) -> None:
        raise errors.class_of(code)("x")

    await fleet.start(service)
    for code in list(errors.Code)[1:]:
        with pytest.raises(errors.class_of(code)) as failed:
            await fleet.client.call("lab", "Lab.Fail", int(code), retry="never")
        assert failed.value._http == errors.class_of(code)("x").http, code


async def test_a_class_may_say_the_number_of_its_errors(fleet: Fleet) -> None:
    class Teapot(errors.Unknown):
        http = 418  # type: ignore[assignment]

    assert (await told(fleet, Teapot("short"))).http == 418


async def test_a_number_that_follows_from_the_code_changes_no_code(fleet: Fleet) -> None:
    unknown = await told(fleet, errors.Unknown("x"))
    assert (unknown.code, unknown.http) == (errors.Code.UNKNOWN, 500)


@pytest.mark.parametrize("kind", ["at once", "later", "on a thread", "streaming"])
async def test_the_log_has_the_line_that_raised(fleet: Fleet, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    service = micro.Service("lab")

    async def at_once(request: None) -> None:
        raise ValueError("here")

    async def later(request: None) -> None:
        await asyncio.sleep(0)
        raise ValueError("here")

    def on_a_thread(request: None) -> None:
        raise ValueError("here")

    async def streaming(request: None) -> AsyncIterator[int]:
        yield 1
        raise ValueError("here")

    handlers = {"at once": at_once, "later": later, "on a thread": on_a_thread, "streaming": streaming}
    service.endpoint("Lab.Fail")(handlers[kind])
    await fleet.start(service)
    with caplog.at_level(logging.ERROR, "micro"), pytest.raises(errors.Internal):
        if kind == "streaming":
            [one async for one in fleet.client.server_stream("lab", "Lab.Fail")]
        await fleet.client.call("lab", "Lab.Fail")
    assert f"in {handlers[kind].__name__}" in caplog.text


def test_a_wrong_argument_is_a_value_error() -> None:
    assert issubclass(errors.WrongArgument, ValueError)
