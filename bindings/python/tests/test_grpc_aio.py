"""Generated stubs and servicers in asyncio: our channel and our server, with each other and with grpcio's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

grpc = pytest.importorskip("grpc")
pytest.importorskip("grpc_status")


@pytest.fixture(params=["ours", "grpcio's channel", "grpcio's server"])
def pair(request: Any) -> str:
    return str(request.param)


@pytest.fixture
async def greeter(world: Any) -> Any:
    return world.AioGreeter()


@pytest.fixture
async def stub(world: Any, pb: Any, pair: str, greeter: Any, tmp_path: Any) -> AsyncIterator[Any]:
    async with world.aio_pair(pair, f"memory://{tmp_path.name}-{pair[:12].replace(' ', '')}", greeter) as channel:
        yield world.stubs.GreeterStub(channel)


async def failed(call: Any) -> Any:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


def request(name: str, times: int = 0) -> Any:
    import greeter_pb2

    return greeter_pb2.HelloRequest(name=name, times_greeted=times)


async def names(*given: str) -> AsyncIterator[Any]:
    for name in given:
        yield request(name)


async def test_a_unary_call_is_answered(stub: Any) -> None:
    call = stub.Hello(request("Ada"))
    assert (await call).message == "Hello, Ada!"
    assert (await call.code(), await call.details()) == (grpc.StatusCode.OK, "")
    assert (await call).message == "Hello, Ada!", "a second time, as of a future"
    assert call.done() and not call.cancelled() and not call.cancel()


async def test_a_stream_of_responses_is_read_by_iteration(stub: Any) -> None:
    call = stub.Lots(request("Ada", 200))
    assert [reply.total_count async for reply in call] == list(range(200))
    assert await call.code() is grpc.StatusCode.OK


async def test_a_stream_of_responses_is_read_one_by_one(stub: Any) -> None:
    call = stub.Lots(request("Ada", 2))
    assert [(await call.read()).total_count for _ in range(2)] == [0, 1]
    assert await call.read() is grpc.aio.EOF


async def test_a_stream_of_requests_is_given_as_an_iterator(stub: Any) -> None:
    assert (await stub.Collect(names("Ada", "Bob"))).message == "Ada Bob"
    assert (await stub.Collect(iter([request("Ada")]))).total_count == 1


async def test_a_stream_of_requests_is_written_one_by_one(stub: Any) -> None:
    call = stub.Collect()
    await call.write(request("Ada"))
    await call.write(request("Bob"))
    await call.done_writing()
    await call.done_writing()
    assert (await call).message == "Ada Bob"
    with pytest.raises(asyncio.InvalidStateError):
        await call.write(request("late"))


async def test_messages_go_both_ways_in_turn(stub: Any) -> None:
    call = stub.Chat()
    for name in ("Ada", "Bob"):
        await call.write(request(name))
        assert (await call.read()).message == f"Hello, {name}!"
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_messages_go_both_ways_by_iteration(stub: Any) -> None:
    assert [reply.message async for reply in stub.Chat(names("Ada", "Bob"))] == ["Hello, Ada!", "Hello, Bob!"]


async def test_nothing_is_written_after_the_last(stub: Any) -> None:
    call = stub.Chat()
    await call.done_writing()
    with pytest.raises((asyncio.InvalidStateError, grpc.aio.AioRpcError)):
        await call.write(request("late"))
    with pytest.raises(grpc.aio.UsageError):
        await stub.Chat(names("Ada")).write(request("another"))


async def test_a_failure_has_code_details_and_trailers(stub: Any) -> None:
    call = stub.Hello(request("abort"))
    error = await failed(call)
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "no such name")
    assert error.trailing_metadata()["test-trailer"] == "t"
    assert (await call.code(), await call.details()) == (grpc.StatusCode.NOT_FOUND, "no such name")
    assert (await call.trailing_metadata())["test-trailer"] == "t"
    assert call.done() and not call.cancelled()


async def test_a_code_that_is_set_fails_the_call(stub: Any) -> None:
    error = await failed(stub.Hello(request("code")))
    assert (error.code(), error.details()) == (grpc.StatusCode.ALREADY_EXISTS, "said before")


async def test_an_exception_is_unknown_to_the_caller(stub: Any, pair: str) -> None:
    error = await failed(stub.Hello(request("boom")))
    assert error.code() is grpc.StatusCode.UNKNOWN
    if pair != "grpcio's server":
        assert "secret" not in error.details() and "/hello.v1.Greeter/Hello" in error.details()


async def test_a_rich_status_arrives_whole(stub: Any, world: Any) -> None:
    from grpc_status import rpc_status

    error = await failed(stub.Hello(request("rich")))
    assert (error.code(), error.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "not now")
    assert rpc_status.from_call(error) == world.rich()


async def test_a_stream_fails_after_what_it_sent(stub: Any) -> None:
    call, seen = stub.Lots(request("abort", 3)), []
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for reply in call:
            seen.append(reply.total_count)
    assert (seen, caught.value.code(), caught.value.details()) == ([0, 1, 2], grpc.StatusCode.OUT_OF_RANGE, "no more")
    assert caught.value.trailing_metadata()["test-trailer"] == "t"


async def test_a_call_that_reads_all_its_requests_may_fail_early(stub: Any) -> None:
    call = stub.Collect()
    await call.write(request("stop"))
    error = await failed(call)
    assert (error.code(), error.details()) == (grpc.StatusCode.ABORTED, "enough")


async def test_both_ways_fail_as_the_handler_says(stub: Any) -> None:
    call = stub.Chat()
    await call.write(request("abort"))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.DATA_LOSS, "gone")


async def test_metadata_goes_both_ways(stub: Any) -> None:
    call = stub.Hello(request("metadata"), metadata=(("test-a", "1"), ("test-a", "2"), ("test-bin", b"\x00\x01")))
    assert (await call).message == "test-a='1' test-a='2' test-bin=b'\\x00\\x01'"
    headers, trailers = await call.initial_metadata(), await call.trailing_metadata()
    assert (headers["test-header"], headers["test-header-bin"]) == ("h", b"\x00\xff")
    assert (trailers["test-trailer"], trailers["test-trailer-bin"]) == ("t", b"\x01\xfe")
    assert (await stub.Hello(request("metadata"), metadata=grpc.aio.Metadata(("test-a", "3")))).message == "test-a='3'"


async def test_headers_of_a_stream_come_before_its_first_response(stub: Any, greeter: Any) -> None:
    call = stub.Lots(request("early", 1))
    headers = await asyncio.wait_for(call.initial_metadata(), 20)
    assert headers["test-header"] == "h" and not greeter.goes_on.is_set()
    greeter.goes_on.set()
    assert [reply.message async for reply in call] == ["early"]


async def test_without_a_timeout_there_is_no_deadline(stub: Any) -> None:
    call = stub.Hello(request("time"))
    assert ((await call).message, call.time_remaining()) == ("none", None)


async def test_the_deadline_arrives(stub: Any) -> None:
    call = stub.Hello(request("time"), timeout=50)
    assert 0 < call.time_remaining() <= 51
    assert 30_000 < (await call).total_count <= 51_000


async def test_the_deadline_ends_a_call_and_its_handler(stub: Any, greeter: Any) -> None:
    error = await failed(stub.Hello(request("wait"), timeout=0.2))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(greeter.cancelled.wait(), 20)


async def test_the_deadline_ends_a_stream(stub: Any, greeter: Any) -> None:
    call = stub.Lots(request("wait", 1), timeout=0.2)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        [reply async for reply in call]
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(greeter.cancelled.wait(), 20)


async def test_cancelling_a_call_cancels_its_handler(stub: Any, greeter: Any) -> None:
    call, told = stub.Hello(request("wait")), []
    call.add_done_callback(told.append)
    await asyncio.wait_for(greeter.waits.wait(), 20)
    assert call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert call.cancelled() and call.done() and await call.code() is grpc.StatusCode.CANCELLED
    await asyncio.wait_for(greeter.cancelled.wait(), 20)
    await asyncio.wait_for(greeter.over.wait(), 20)
    assert told == [call]


async def test_cancelling_the_task_that_waits_cancels_the_call(stub: Any, greeter: Any) -> None:
    async def ask() -> Any:
        return await stub.Hello(request("wait"))

    task = asyncio.ensure_future(ask())
    await asyncio.wait_for(greeter.waits.wait(), 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(greeter.cancelled.wait(), 20)


async def test_cancelling_a_stream_cancels_its_handler(stub: Any, greeter: Any) -> None:
    call = stub.Lots(request("wait", 1))
    assert (await call.read()).total_count == 0
    await asyncio.wait_for(greeter.waits.wait(), 20)
    assert call.cancel() and not call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.read()
    await asyncio.wait_for(greeter.cancelled.wait(), 20)


async def test_letting_go_of_a_stream_cancels_its_handler(stub: Any, greeter: Any, pair: str) -> None:
    call = stub.Lots(request("wait", 1))
    await call.read()
    await asyncio.wait_for(greeter.waits.wait(), 20)
    if pair == "grpcio's channel":
        # It holds on to its calls.
        call.cancel()
    del call
    await asyncio.wait_for(greeter.cancelled.wait(), 20)


async def test_what_its_requests_raise_ends_a_call(stub: Any) -> None:
    async def broken() -> AsyncIterator[Any]:
        yield request("Ada")
        raise RuntimeError("no more names")

    call = stub.Collect(broken())
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await call.code() is grpc.StatusCode.CANCELLED


async def test_large_messages_pass(stub: Any) -> None:
    reply = await stub.Hello(request("n" * 300_000, 3_000_000))
    assert (len(reply.data), len(reply.message)) == (3_000_000, 300_008)


async def test_a_hundred_calls_run_at_once(stub: Any) -> None:
    replies = await asyncio.gather(*(stub.Hello(request(str(number))) for number in range(100)))
    assert [reply.message for reply in replies] == [f"Hello, {number}!" for number in range(100)]


async def test_compression_is_understood(stub: Any) -> None:
    reply = await stub.Hello(request("n" * 10_000), compression=grpc.Compression.Gzip)
    assert len(reply.message) == 10_008


async def test_a_method_that_is_not_there_is_unimplemented(stub: Any, world: Any, pair: str, tmp_path: Any) -> None:
    async with world.aio_pair(pair, f"memory://{tmp_path.name}-none", world.stubs.GreeterServicer()) as channel:
        error = await failed(world.stubs.GreeterStub(channel).Hello(request("Ada")))
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED and error.details().endswith("Method not implemented!")
        error = await failed(channel.unary_unary("/hello.v1.Greeter/Missing")(b""))
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED
