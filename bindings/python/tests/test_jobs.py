"""Work that is no call: jobs by the clock, tasks whose answers are asked for, functions, and events of CloudEvents."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import micro
from micro import errors, sync

PATIENCE = 20.0


@dataclass
class Image:
    name: str


@pytest.fixture
def durable(tmp_path: Path) -> str:
    return f"durable://{tmp_path / 'data'}"


def shop(broker: str, **options: Any) -> micro.Service:
    return micro.Service("shop", registry="memory://jobs", address="127.0.0.1:0", propagation=0, broker=broker, **options)


class Seen:
    """What handlers were given."""

    def __init__(self) -> None:
        self.loop, self.queue = asyncio.get_running_loop(), asyncio.Queue[Any]()

    def tell(self, what: Any) -> None:
        self.loop.call_soon_threadsafe(self.queue.put_nowait, what)

    async def next(self) -> Any:
        return await asyncio.wait_for(self.queue.get(), PATIENCE)


async def test_a_job_runs_is_tried_again_and_its_runs_are_told(durable: str) -> None:
    service, seen = shop(durable), Seen()

    @service.every(1, name="clean", max_attempts=2, backoff="none")
    async def clean(context: micro.Context) -> None:
        assert context.job is not None and context.delivery is None
        seen.tell(context.job)
        if context.job.attempt == 1:
            raise errors.FailedPrecondition("the disk is full")
        await asyncio.Event().wait()

    async with service:
        first, second = await seen.next(), await seen.next()
        assert (first.job, first.attempt, second.attempt) == ("clean", 1, 2)
        assert first.time == second.time and first.time.microsecond == 0
        assert abs((first.time - datetime.now(UTC)).total_seconds()) < PATIENCE
        (job,) = await service.jobs()
        assert (job.name, job.schedule, job.scope) == ("clean", "every 1s", "fleet")
        assert job.next is not None and job.next > first.time
        failed, running = job.runs
        assert (failed.attempt, failed.outcome, failed.node) == (1, "failed", service.record.nodes[0].id)
        assert failed.error is not None and "the disk is full" in failed.error and isinstance(failed.took, timedelta)
        assert (running.time, running.attempt, running.outcome, running.took) == (first.time, 2, "running", None)
        service._running.abort()  # type: ignore[union-attr]


async def test_handlers_of_jobs_are_functions_of_any_kind(durable: str) -> None:
    service, seen = shop(durable), Seen()

    @service.every("1s", name="plain")
    def plain() -> None:
        seen.tell(("plain", threading.current_thread() is threading.main_thread()))

    @service.every("1s", name="inline", inline=True, scope="node")
    def inline(context: micro.Context) -> None:
        assert context.job is not None
        seen.tell((context.job.job, threading.current_thread() is threading.main_thread()))

    @service.cron("* * * * * *", zone="Europe/Berlin")
    async def nightly() -> None:
        seen.tell(("cron", micro.context().job is not None))

    async with service:
        found = set()
        while len(found) < 3:
            found.add(await seen.next())
        assert found == {("plain", False), ("inline", True), ("cron", True)}
        assert [job.name for job in await service.jobs()] == ["plain", "inline", "cron-x-x-x-x-x-x"]


async def test_middleware_around_messages_stands_around_runs(durable: str) -> None:
    service, seen = shop(durable), Seen()

    @service.use_for_messages
    async def around(message: Any, context: micro.Context, call_next: Any) -> Any:
        seen.tell("before")
        return await call_next()

    @service.use
    async def other(request: Any, context: micro.Context, call_next: Any) -> Any:
        raise AssertionError("no call was made")

    @service.every(1)
    async def refresh() -> None:
        seen.tell("run")

    async with service:
        assert [await seen.next(), await seen.next()] == ["before", "run"]


async def test_what_is_wrong_with_a_job_is_said_where_it_is_written_or_at_the_start(durable: str) -> None:
    service = shop("memory://nothing-kept")

    @service.every("5m", name="clean")
    async def clean() -> None: ...

    with pytest.raises(errors.InvalidArgument, match=r'the job "clean" is to run once in a fleet.*durable://'):
        await service.start()
    for options, hint in [({"missed": "twice"}, "skip"), ({"scop": "node"}, "did you mean `scope`")]:
        service = shop(durable)
        service.every("5m", **options)(clean)  # type: ignore[arg-type]
        with pytest.raises(errors.InvalidArgument, match=hint):
            await service.start()
    service = shop(durable)
    service.cron("99 3 * * *")(clean)
    with pytest.raises(errors.InvalidArgument, match="99"):
        await service.start()
    with pytest.raises(TypeError, match="a run has no request"):

        @shop(durable).every(1)
        async def two(request: Any, context: micro.Context) -> None: ...


NODE = """
import sys, time
import micro

service = micro.Service("shop", registry="memory://jobs", address="127.0.0.1:0", broker=sys.argv[1])

@service.every(1, name="tick", missed=100)
def tick(context):
    print(round(context.job.time.timestamp()), context.job.attempt, flush=True)
    if sys.argv[2] == "hangs":
        time.sleep(600)

service.run()
"""


def node(broker: str, how: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", NODE, broker, how], stdout=subprocess.PIPE, text=True)


async def next_run(process: subprocess.Popen[str]) -> tuple[int, int]:
    assert process.stdout is not None
    line = await asyncio.wait_for(asyncio.to_thread(process.stdout.readline), PATIENCE)
    time, attempt = line.split()
    return int(time), int(attempt)


async def test_a_run_is_one_nodes_and_anothers_when_that_is_killed(durable: str) -> None:
    async with micro.Client(broker=durable, registry="memory://jobs") as client:
        # Owned by this process, so that the one that is killed is a node.
        await client.publish("others", 0)
        hanging = node(durable, "hangs")
        try:
            time, attempt = await next_run(hanging)
            assert attempt == 1
            other = node(durable, "goes on")
            try:
                hanging.kill()
                # It was at work on that run, and on no other.
                assert await next_run(other) == (time, 2)
                runs = [await next_run(other) for _ in range(3)]
                assert runs == [(time + number, 1) for number in (1, 2, 3)]
            finally:
                other.kill()
                other.communicate()
        finally:
            hanging.kill()
            hanging.communicate()


async def test_two_nodes_share_the_runs_of_a_job_and_leave_none_out(durable: str) -> None:
    nodes = [node(durable, "goes on") for _ in range(2)]
    runs: asyncio.Queue[tuple[int, int]] = asyncio.Queue()

    async def read(process: subprocess.Popen[str]) -> None:
        while True:
            runs.put_nowait(await next_run(process))

    readers = [asyncio.ensure_future(read(process)) for process in nodes]
    try:
        found = [await asyncio.wait_for(runs.get(), PATIENCE) for _ in range(5)]
        times = sorted(time for time, _ in found)
        assert times == list(range(times[0], times[0] + 5))
        assert {attempt for _, attempt in found} == {1}
    finally:
        for process in nodes:
            process.kill()
            process.communicate()
        for reader in readers:
            reader.cancel()


WORKER = """
import sys
import micro

service = micro.Service("images", registry="memory://jobs", address="127.0.0.1:0", broker=sys.argv[1])

@service.task("resize")
async def resize(name: str) -> str:
    return f"small {name}"

service.run()
"""


async def test_the_answer_of_a_task_is_asked_for_in_another_process(durable: str) -> None:
    async with micro.Client(broker=durable, registry="memory://jobs") as client:
        id = await client.task("resize", "cat.png", metadata={"tenant": "blue"}, key="cat")
        assert (await client.task_state(id)).state == "queued"
        with pytest.raises(errors.DeadlineExceeded):
            await client.task_result(id, timeout=0.1)
        worker = subprocess.Popen([sys.executable, "-c", WORKER, durable])
        try:
            assert await client.task_result(id, returns=str, timeout=PATIENCE) == "small cat.png"
        finally:
            worker.kill()
            worker.communicate()
        # It is there although its worker is gone.
        assert await client.task_result(id) == "small cat.png"
        assert (await client.task_state(id)).state == "done"


async def test_a_task_that_fails_is_tried_again_and_given_up_with_its_reason(durable: str) -> None:
    service, seen, go_on = shop(durable), Seen(), asyncio.Event()

    @service.task("resize", max_attempts=2, backoff="none")
    async def resize(image: Image, context: micro.Context) -> Image:
        assert context.delivery is not None
        seen.tell(context.delivery.delivered.attempt)
        if image.name == "dog.png":
            return Image("small dog.png")
        await go_on.wait()
        raise errors.FailedPrecondition("this is no cat")

    async with service:
        client = service.client
        id = await client.task("resize", Image("cat.png"))
        assert await seen.next() == 1
        running = await client.task_state(id)
        assert (running.state, running.attempt, running.node) == ("running", 1, service.record.nodes[0].id)
        go_on.set()
        assert await seen.next() == 2
        with pytest.raises(errors.Aborted, match="this is no cat"):
            await client.task_result(id)
        dead = await client.task_state(id)
        assert dead.state == "dead" and isinstance(dead.error, errors.Aborted)
        id = await client.task("resize", Image("dog.png"))
        assert await client.task_result(id, returns=Image) == Image("small dog.png")
        with pytest.raises(errors.InvalidArgument, match="no id of a task"):
            await client.task_result("7")
    async with micro.Client(broker="memory://nothing-kept", registry="memory://jobs") as forgetful:
        with pytest.raises(errors.InvalidArgument, match="durable://"):
            await forgetful.task("resize", Image("cat.png"))


def test_threads_send_tasks_and_run_jobs(durable: str) -> None:
    ran = threading.Event()
    service = sync.Service("shop", registry="memory://jobs", address="127.0.0.1:0", propagation=0, broker=durable)

    @service.task("double")
    def double(number: int) -> int:
        return 2 * number

    @service.every(1, name="tick")
    def tick() -> None:
        ran.set()

    with service:
        id = service.client.task("double", 21)
        assert service.client.task_result(id, returns=int) == 42
        assert service.client.task_state(id).state == "done"
        assert ran.wait(PATIENCE)
        assert [job.name for job in service.jobs()] == ["tick"]


FUNCTION = """
import sys
import micro

function = micro.Service("images", registry="memory://jobs", address="127.0.0.1:0", broker=sys.argv[1])

@function.subscribe("images", queue="q", start="first")
async def resize(name: str) -> None:
    print(name, flush=True)
    raise ValueError("no image")

function.run_once()
print("over", flush=True)
"""


async def test_a_function_serves_one_message_and_ends(durable: str) -> None:
    async with micro.Client(broker=durable, registry="memory://jobs") as client:
        await client.publish("images", "cat.png")
        function = await asyncio.create_subprocess_exec(
            sys.executable, "-c", FUNCTION, durable, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        said, _ = await asyncio.wait_for(function.communicate(), PATIENCE)
        assert said.decode().split() == ["cat.png", "over"]
        assert function.returncode == 0


async def test_an_event_of_cloudevents_is_read_as_it_was_published(durable: str) -> None:
    moment = datetime(2024, 2, 29, 12, 34, 56, 7000, tzinfo=UTC)
    event = micro.CloudEvent("/shop/Köln", "placed", "7", "a b", moment, {"dataschema": "https://example.com/order"})
    async with micro.Client(broker=durable, registry="memory://jobs") as client:
        async with await client.subscribe("orders") as orders:
            await client.publish("orders", 7, cloud_event=event)
            with await anext(orders) as delivery:
                assert delivery.metadata["ce-source"] == "/shop/K%C3%B6ln"
                assert delivery.cloud_event == event
            await client.publish("orders", 7, id="order-7", cloud_event=micro.CloudEvent("/shop", "placed"))
            with await anext(orders) as delivery:
                told = delivery.cloud_event
                assert told is not None and told.id == "order-7" and told.time is not None
            await client.publish("orders", 7)
            with await anext(orders) as delivery:
                assert delivery.cloud_event is None
            await client.publish("orders", 7, metadata={"ce-specversion": "1.0", "ce-id": "7"})
            with await anext(orders) as delivery, pytest.raises(errors.InvalidArgument, match="no header ce-source"):
                _ = delivery.cloud_event
        with pytest.raises(errors.InvalidArgument, match="is empty"):
            await client.publish("orders", 7, cloud_event=micro.CloudEvent("", "placed"))
        with pytest.raises(TypeError, match="micro.CloudEvent"):
            await client.publish("orders", 7, cloud_event={"source": "/shop"})  # type: ignore[arg-type]
