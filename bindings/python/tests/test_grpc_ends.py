"""How channels end, and that they leave nothing behind."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest
from grpc_lab import Marks, grpc, request, service_of

import micro


async def test_a_channel_that_is_closed_ends_its_calls_and_takes_no_more(world: Any, tmp_path: Any) -> None:
    url = f"memory://{tmp_path.name}"
    greeter = world.AioGreeter()
    async with service_of(world, url, greeter):
        channel = micro.grpc.channel("greeter", registry=url)
        stub = world.stubs.GreeterStub(channel)
        unary, stream = stub.Hello(request("wait")), stub.Lots(request("wait", 1))
        await stream.read()
        await asyncio.wait_for(greeter.waits.wait(), 20)
        await channel.close()
        for call in (unary, stream):
            assert call.cancelled() and await call.details() == "Channel is closed."
        with pytest.raises(grpc.aio.UsageError, match="closed"):
            stub.Hello(request("Ada"))
        channel = micro.grpc.channel("greeter", registry=url)
        call = world.stubs.GreeterStub(channel).Hello(request("Ada"))
        await channel.close(grace=20)
        assert (await call).message == "Hello, Ada!"


async def test_waiting_for_a_service_ends_with_the_channel(tmp_path: Any) -> None:
    channel = micro.grpc.channel("greeter", registry=f"memory://{tmp_path.name}")
    ready = asyncio.ensure_future(channel.channel_ready())
    assert channel.get_state(try_to_connect=True) is grpc.ChannelConnectivity.CONNECTING
    changed = asyncio.ensure_future(channel.wait_for_state_change(grpc.ChannelConnectivity.CONNECTING))
    await asyncio.sleep(0)
    await channel.close()
    with pytest.raises(grpc.aio.UsageError, match="closed"):
        await asyncio.wait_for(ready, 20)
    await asyncio.wait_for(changed, 20)
    assert channel.get_state() is grpc.ChannelConnectivity.SHUTDOWN
    with pytest.raises(grpc.aio.UsageError, match="closed"):
        await channel.channel_ready()


def test_a_channel_for_threads_that_is_closed_ends_its_calls_and_its_thread(world: Any, tmp_path: Any) -> None:
    greeter = world.Greeter()
    with world.pair_of(world.OURS, f"memory://{tmp_path.name}", greeter) as channel:
        stub = world.stubs.GreeterStub(channel)
        future, stream = stub.Hello.future(request("wait")), stub.Lots(request("wait", 1))
        next(stream)
        assert greeter.waits.wait(20)
        pump = next(one for one in threading.enumerate() if one.name == "micro channel")
        channel.close()
        assert future.cancelled() and stream.code() is grpc.StatusCode.CANCELLED and stream.details() == "Channel closed!"
        with pytest.raises(ValueError, match="closed channel"):
            stub.Hello(request("Ada"))
        pump.join(20)
        assert not pump.is_alive()


def test_a_channel_for_threads_that_is_let_go_of_ends_its_thread(world: Any, tmp_path: Any) -> None:
    with world.pair_of(world.OURS, f"memory://{tmp_path.name}"):
        other = micro.grpc.sync.channel("greeter", registry=f"memory://{tmp_path.name}")
        future = world.stubs.GreeterStub(other).Hello.future(request("Ada"))
        assert future.result(20).message == "Hello, Ada!"
        pump = next(one for one in threading.enumerate() if one.name == "micro channel")
        del other, future
        pump.join(20)
        assert not pump.is_alive()


def test_nothing_of_grpcio_is_loaded_before_it_is_asked_for(program: Callable[..., str]) -> None:
    printed = program(
        """
        import sys
        import micro, micro.sync
        micro.Client, micro.Service, micro.testing
        print([name for name in sys.modules if name.split(".")[0] == "grpc"])
        sys.modules["grpc"] = None
        try:
            micro.grpc
        except ImportError as error:
            print(error)
        """
    )
    assert printed.splitlines() == ["[]", "micro.grpc needs grpcio: pip install grpcio"]


def test_a_program_ends_with_calls_under_way(program: Callable[..., str], pb: Any) -> None:
    printed = program(
        """
        import micro, micro.grpc
        from micro import sync
        import grpc

        service = sync.Service("raw", registry="memory://end", propagation=0)

        def wait(message, context):
            print("waits", flush=True)
            import threading
            ended = threading.Event()
            context.add_callback(ended.set)
            ended.wait(20)
            return b""

        handlers = {"Wait": grpc.unary_unary_rpc_method_handler(wait)}
        micro.grpc.server(service).add_registered_method_handlers("test.Raw", handlers)
        service.start()
        channel = micro.grpc.sync.channel("raw", registry="memory://end")
        future = channel.unary_unary("/test.Raw/Wait")\\
            .future(b"")
        stream = channel.stream_stream("/test.Raw/Wait")(iter([]))
        """
    )
    assert printed in ("waits\n", "")


def left(*kinds: type) -> list[object]:
    gc.collect()
    return [one for one in gc.get_objects() if isinstance(one, kinds)]


async def test_calls_leave_nothing_behind(world: Any, tmp_path: Any) -> None:
    from micro.grpc import _calls, _context, _endpoint, _intercepted

    url, greeter = f"memory://{tmp_path.name}", world.AioGreeter()
    kinds = (_calls.Call, _calls.CallPipe, _context.Said, _endpoint.HandlerPipe, _intercepted.Intercepted)
    async with (
        service_of(world, url, greeter),
        micro.grpc.channel("greeter", registry=url) as plain,
        micro.grpc.channel("greeter", registry=url, interceptors=[Marks("one", [])]) as marked,
    ):
        for channel in (plain, marked):
            stub = world.stubs.GreeterStub(channel)
            for name in ("Ada", "abort", "wait"):
                greeter.waits.clear()
                unary, lots = stub.Hello(request(name)), stub.Lots(request(name, 3))
                collect, chat = stub.Collect(iter([request(name)])), stub.Chat()
                if name == "wait":
                    await asyncio.wait_for(greeter.waits.wait(), 20)
                    unary.cancel()
                    lots.cancel()
                await chat.write(request("Ada"))
                await chat.read()
                await chat.done_writing()
                await asyncio.wait([asyncio.ensure_future(one.code()) for one in (unary, lots, collect, chat)])
                del unary, lots, collect, chat
        await asyncio.gather(plain.close(grace=20), marked.close(grace=20))
        del stub, channel
    assert left(*kinds) == [] and plain._calls == marked._calls == {}


def test_calls_on_threads_leave_nothing_behind(world: Any, tmp_path: Any) -> None:
    from micro.grpc import _context, _endpoint, _thread_calls

    kinds = (_thread_calls.Call, _thread_calls.CallPipe, _context.Said, _endpoint.Requests)
    greeter = world.Greeter()
    with world.pair_of(world.OURS, f"memory://{tmp_path.name}", greeter) as channel:
        stub = world.stubs.GreeterStub(channel)
        for name in ("Ada", "abort", "wait"):
            unary, lots = stub.Hello.future(request(name)), stub.Lots(request(name, 3))
            collect, chat = stub.Collect.future(iter([request(name)])), stub.Chat(iter([request("Ada")]))
            if name == "wait":
                assert greeter.waits.wait(20)
                unary.cancel()
                lots.cancel()
            assert [one.code() is not None for one in (unary, lots, collect, chat)] == [True] * 4
            del unary, lots, collect, chat
        assert channel._calls == {}
    assert left(*kinds) == []


def test_a_channel_that_was_not_used_before_a_fork_works_after_it(program: Callable[..., str]) -> None:
    printed = program(
        """
        import os
        import grpc
        import micro, micro.grpc
        from micro import sync

        service = sync.Service("raw", registry="memory://fork", propagation=0)
        handlers = {"Twice": grpc.unary_unary_rpc_method_handler(lambda message, context: message * 2)}
        micro.grpc.server(service).add_registered_method_handlers("test.Raw", handlers)
        service.start()
        used, unused = (micro.grpc.sync.channel("raw", addresses=[service.address]) for _ in range(2))
        twice = used.unary_unary("/test.Raw/Twice")
        assert twice(b"a") == twice.future(b"a").result(20) == b"aa"
        child = os.fork()
        if not child:
            for ask in (twice, lambda message: twice.future(message).result(20)):
                try:
                    ask(b"a")
                except micro.errors.Forked:
                    pass
                else:
                    os._exit(1)
            twice = unused.unary_unary("/test.Raw/Twice")
            os._exit(0 if twice(b"b") == twice.future(b"b").result(20) == b"bb" else 2)
        print(os.waitpid(child, 0)[1])
        used.close()
        service.stop()
        """
    )
    assert printed == "0\n"
