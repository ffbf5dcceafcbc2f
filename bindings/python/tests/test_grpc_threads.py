"""Generated stubs and servicers on threads: our channel and our server, with each other and with grpcio's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

grpc = pytest.importorskip("grpc")
pytest.importorskip("grpc_status")


@pytest.fixture(params=["ours", "grpcio's channel", "grpcio's server"])
def pair(request: Any) -> str:
    return str(request.param)


@pytest.fixture
def greeter(world: Any) -> Any:
    return world.Greeter()


@pytest.fixture
def channel(world: Any, pb: Any, pair: str, greeter: Any, tmp_path: Any) -> Iterator[Any]:
    with world.pair_of(pair, f"memory://{tmp_path.name}-{pair[:12].replace(' ', '')}", greeter) as channel:
        yield channel


@pytest.fixture
def stub(world: Any, channel: Any) -> Any:
    return world.stubs.GreeterStub(channel)


def failed(call: Any, *args: Any, **options: Any) -> Any:
    with pytest.raises(grpc.RpcError) as caught:
        call(*args, **options)
    return caught.value


def request(name: str, times: int = 0) -> Any:
    import greeter_pb2

    return greeter_pb2.HelloRequest(name=name, times_greeted=times)


def names(*given: str) -> Iterator[Any]:
    for name in given:
        yield request(name)


def test_a_unary_call_is_answered(stub: Any) -> None:
    assert stub.Hello(request("Ada")).message == "Hello, Ada!"


def test_a_unary_call_is_answered_with_the_call(stub: Any) -> None:
    reply, call = stub.Hello.with_call(request("Ada"))
    assert (reply.message, call.code(), call.details()) == ("Hello, Ada!", grpc.StatusCode.OK, "")


def test_a_future_is_answered(stub: Any) -> None:
    future, told, is_told = stub.Hello.future(request("Ada")), [], threading.Event()
    future.add_done_callback(lambda done: (told.append(done), is_told.set()))
    assert future.result(20).message == "Hello, Ada!"
    assert is_told.wait(20) and told == [future]
    assert future.done() and not future.running() and not future.cancelled() and not future.cancel()
    assert (future.exception(), future.traceback(), future.code()) == (None, None, grpc.StatusCode.OK)
    assert not future.is_active() and not future.add_callback(lambda: None)


def test_a_stream_of_responses_is_read(stub: Any) -> None:
    call = stub.Lots(request("Ada", 200))
    assert [reply.total_count for reply in call] == list(range(200))
    assert (call.code(), call.details()) == (grpc.StatusCode.OK, "")


def test_a_stream_of_requests_is_sent(stub: Any) -> None:
    assert stub.Collect(names("Ada", "Bob")).message == "Ada Bob"
    reply, call = stub.Collect.with_call(names("Ada"))
    assert (reply.total_count, call.code()) == (1, grpc.StatusCode.OK)
    assert stub.Collect.future(names("Ada", "Bob")).result(20).message == "Ada Bob"


def test_messages_go_both_ways(stub: Any) -> None:
    assert [reply.message for reply in stub.Chat(names("Ada", "Bob"))] == ["Hello, Ada!", "Hello, Bob!"]


def test_messages_go_both_ways_in_turn(stub: Any) -> None:
    answered = threading.Semaphore(0)

    def in_turn() -> Iterator[Any]:
        for name in ("Ada", "Bob", "Cid"):
            yield request(name)
            assert answered.acquire(timeout=20)

    said = []
    for reply in stub.Chat(in_turn()):
        said.append(reply.message)
        answered.release()
    assert said == ["Hello, Ada!", "Hello, Bob!", "Hello, Cid!"]


def test_a_failure_has_code_details_and_trailers(stub: Any) -> None:
    error = failed(stub.Hello, request("abort"))
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "no such name")
    assert dict(error.trailing_metadata())["test-trailer"] == "t"
    assert isinstance(error, grpc.Call)


def test_a_future_fails_with_the_same(stub: Any) -> None:
    future = stub.Hello.future(request("abort"))
    error = failed(future.result, 20)
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "no such name")
    assert future.exception().code() is grpc.StatusCode.NOT_FOUND and future.traceback() is not None
    assert (future.code(), future.details()) == (grpc.StatusCode.NOT_FOUND, "no such name")


def test_a_code_that_is_set_fails_the_call(stub: Any) -> None:
    error = failed(stub.Hello, request("code"))
    assert (error.code(), error.details()) == (grpc.StatusCode.ALREADY_EXISTS, "said before")


def test_an_exception_is_unknown_to_the_caller(stub: Any, pair: str) -> None:
    error = failed(stub.Hello, request("boom"))
    assert error.code() is grpc.StatusCode.UNKNOWN
    if pair != "grpcio's server":
        assert "secret" not in error.details() and "/hello.v1.Greeter/Hello" in error.details()


def test_a_rich_status_arrives_whole(stub: Any, world: Any) -> None:
    from grpc_status import rpc_status

    error = failed(stub.Hello, request("rich"))
    assert (error.code(), error.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "not now")
    assert rpc_status.from_call(error) == world.rich()


def test_a_stream_fails_after_what_it_sent(stub: Any) -> None:
    call, seen = stub.Lots(request("abort", 3)), []
    with pytest.raises(grpc.RpcError) as caught:
        for reply in call:
            seen.append(reply.total_count)
    assert (seen, caught.value.code(), caught.value.details()) == ([0, 1, 2], grpc.StatusCode.OUT_OF_RANGE, "no more")
    assert dict(caught.value.trailing_metadata())["test-trailer"] == "t"
    assert call.code() is grpc.StatusCode.OUT_OF_RANGE


def test_a_call_that_reads_all_its_requests_may_fail_early(stub: Any) -> None:
    asked = threading.Event()

    def endless() -> Iterator[Any]:
        yield request("stop")
        asked.wait(20)

    error = failed(stub.Collect, endless())
    asked.set()
    assert (error.code(), error.details()) == (grpc.StatusCode.ABORTED, "enough")


def test_both_ways_fail_as_the_handler_says(stub: Any) -> None:
    error = failed(list, stub.Chat(names("Ada", "abort")))
    assert (error.code(), error.details()) == (grpc.StatusCode.DATA_LOSS, "gone")


def test_metadata_goes_both_ways(stub: Any) -> None:
    sent = (("test-a", "1"), ("test-a", "2"), ("test-bin", b"\x00\x01"))
    reply, call = stub.Hello.with_call(request("metadata"), metadata=sent)
    assert reply.message == "test-a='1' test-a='2' test-bin=b'\\x00\\x01'"
    headers, trailers = dict(call.initial_metadata()), dict(call.trailing_metadata())
    assert (headers["test-header"], headers["test-header-bin"]) == ("h", b"\x00\xff")
    assert (trailers["test-trailer"], trailers["test-trailer-bin"]) == ("t", b"\x01\xfe")
    assert call.trailing_metadata()[0].key


def test_headers_of_a_stream_come_before_its_first_response(stub: Any, greeter: Any) -> None:
    call = stub.Lots(request("early", 1), timeout=15)
    assert dict(call.initial_metadata())["test-header"] == "h"
    greeter.goes_on.set()
    assert [reply.message for reply in call] == ["early"]


def test_without_a_timeout_there_is_no_deadline(stub: Any) -> None:
    assert stub.Hello(request("time")).message == "none"


def test_the_deadline_arrives(stub: Any) -> None:
    assert 30_000 < stub.Hello(request("time"), timeout=50).total_count <= 51_000
    future = stub.Hello.future(request("time"), timeout=50)
    left = future.time_remaining()
    assert left is None or 0 < left <= 51
    assert future.result(20).message == "some"


def test_the_deadline_ends_a_call_and_its_handler(stub: Any, greeter: Any) -> None:
    error = failed(stub.Hello, request("wait"), timeout=0.2)
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert greeter.over.wait(20) and greeter.was_active == [True, False]


def test_the_deadline_ends_a_stream(stub: Any, greeter: Any) -> None:
    error = failed(list, stub.Lots(request("wait", 1), timeout=0.2))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert greeter.over.wait(20)


def test_cancelling_a_future_cancels_its_handler(stub: Any, greeter: Any) -> None:
    future = stub.Hello.future(request("wait"))
    assert greeter.waits.wait(20)
    assert future.running() and future.cancel()
    with pytest.raises(grpc.FutureCancelledError):
        future.result(20)
    assert future.cancelled() and future.done() and future.code() is grpc.StatusCode.CANCELLED
    assert greeter.over.wait(20) and greeter.was_active == [True, False]


def test_cancelling_a_stream_cancels_its_handler(stub: Any, greeter: Any) -> None:
    call = stub.Lots(request("wait", 1))
    assert next(call).total_count == 0
    assert greeter.waits.wait(20)
    assert call.cancel()
    error = failed(next, call)
    assert error.code() is grpc.StatusCode.CANCELLED and call.cancelled()
    assert greeter.over.wait(20) and greeter.was_active == [True, False]


def test_a_handler_that_reads_hears_of_a_cancel(stub: Any, greeter: Any, pair: str) -> None:
    asked = threading.Event()

    def endless() -> Iterator[Any]:
        yield request("wait")
        asked.wait(20)

    call = stub.Chat(endless())
    assert greeter.waits.wait(20)
    call.cancel()
    assert greeter.over.wait(20)
    # Theirs may take it for the last request.
    assert greeter.failed.is_set() or pair == "grpcio's server"
    asked.set()


def test_a_future_that_takes_too_long_can_be_waited_for_again(stub: Any, greeter: Any) -> None:
    future = stub.Hello.future(request("wait"))
    assert greeter.waits.wait(20)
    with pytest.raises(grpc.FutureTimeoutError):
        future.result(timeout=0.01)
    future.cancel()


def test_what_its_requests_raise_ends_a_call(stub: Any) -> None:
    def broken() -> Iterator[Any]:
        yield request("Ada")
        raise RuntimeError("no more names")

    error = failed(stub.Collect, broken())
    assert error.code() is grpc.StatusCode.UNKNOWN and error.details().startswith("Exception iterating requests")


def test_large_messages_pass(stub: Any) -> None:
    reply = stub.Hello(request("n" * 300_000, 3_000_000))
    assert (len(reply.data), len(reply.message)) == (3_000_000, 300_008)


def test_a_hundred_calls_run_at_once(stub: Any) -> None:
    futures = [stub.Hello.future(request(str(number))) for number in range(50)]
    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda number: stub.Hello(request(str(number))).message, range(50)))
    assert replies == [future.result(20).message for future in futures] == [f"Hello, {number}!" for number in range(50)]


def test_a_method_that_is_not_there_is_unimplemented(world: Any, pb: Any, pair: str, tmp_path: Any) -> None:
    with world.pair_of(pair, f"memory://{tmp_path.name}-none", world.stubs.GreeterServicer()) as channel:
        error = failed(world.stubs.GreeterStub(channel).Hello, request("Ada"))
        assert (error.code(), error.details()) == (grpc.StatusCode.UNIMPLEMENTED, "Method not implemented!")
        error = failed(channel.unary_unary("/hello.v1.Greeter/Missing"), b"")
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED


def test_readiness_is_told(channel: Any) -> None:
    grpc.channel_ready_future(channel).result(20)
