"""`grpc.testing.TestService`, as gRPC's own interop clients expect it, on this package.

Prints its address, and serves until its standard input ends.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import orca_pb2
from grpc.testing import empty_pb2, messages_pb2, test_pb2  # type: ignore[attr-defined]

import micro
from micro import errors

INITIAL = "x-grpc-test-echo-initial"
TRAILING = "x-grpc-test-echo-trailing-bin"
LARGEST = 16 * 1024 * 1024


class TestService:
    """The methods by their names."""

    def __init__(self) -> None:
        self.load = orca_pb2.LoadReport()

    async def EmptyCall(self, request: Any) -> Any:
        return empty_pb2.Empty()

    async def UnaryCall(self, request: Any, context: micro.Context) -> Any:
        echo_metadata(context)
        fail_with(request.response_status)
        if request.HasField("orca_per_query_report"):
            report = load(request.orca_per_query_report)
            context.set_trailer("endpoint-load-metrics-bin", report.SerializeToString())
        reply = messages_pb2.SimpleResponse(payload=payload(request.response_size))
        if request.fill_server_id:
            reply.server_id = context.service or ""
        return reply

    async def CacheableUnaryCall(self, request: Any, context: micro.Context) -> Any:
        raise errors.Unimplemented("tests a caching proxy")

    async def StreamingOutputCall(self, request: Any) -> AsyncIterator[Any]:
        async for reply in self.replies(request):
            yield reply

    async def StreamingInputCall(self, requests: AsyncIterator[Any]) -> Any:
        size = sum([len(request.payload.body) async for request in requests])
        return messages_pb2.StreamingInputCallResponse(aggregated_payload_size=size)

    async def FullDuplexCall(self, requests: AsyncIterator[Any], context: micro.Context) -> AsyncIterator[Any]:
        echo_metadata(context)
        async for request in requests:
            fail_with(request.response_status)
            if request.HasField("orca_oob_report"):
                self.load = load(request.orca_oob_report)
            async for reply in self.replies(request):
                yield reply

    async def HalfDuplexCall(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        for request in [request async for request in requests]:
            async for reply in self.replies(request):
                yield reply

    async def UnimplementedCall(self, request: Any) -> Any:
        raise errors.Unimplemented("by design")

    async def replies(self, request: Any) -> AsyncIterator[Any]:
        for wanted in request.response_parameters:
            if wanted.interval_us > 0:
                await asyncio.sleep(wanted.interval_us / 1e6)
            yield messages_pb2.StreamingOutputCallResponse(payload=payload(wanted.size))


def load(report: Any) -> Any:
    return orca_pb2.LoadReport(
        cpu_utilization=report.cpu_utilization,
        mem_utilization=report.memory_utilization,
        request_cost=report.request_cost,
        utilization=report.utilization,
    )


def payload(size: int) -> Any:
    if not 0 <= size <= LARGEST:
        raise errors.InvalidArgument("no payload is of that size")
    return messages_pb2.Payload(body=bytes(size))


def fail_with(status: Any) -> None:
    if status.code:
        raise errors.class_of(status.code)(status.message)


def echo_metadata(context: micro.Context) -> None:
    known = context.metadata
    if INITIAL in known:
        context.set_header(INITIAL, known[INITIAL])
    if TRAILING in known:
        context.set_trailer(TRAILING, known.get_binary(TRAILING) or b"")


async def main() -> None:
    service = micro.Service(
        "grpc.testing", registry="memory://interop", address="127.0.0.1:0", max_message_size=LARGEST, propagation=0
    )
    tested = TestService()
    service.implement(test_pb2.DESCRIPTOR.services_by_name["TestService"], tested)

    @service.endpoint("OpenRcaService.StreamCoreMetrics", request=orca_pb2.LoadReportRequest)
    async def stream(request: Any) -> AsyncIterator[Any]:
        interval = request.report_interval.ToTimedelta().total_seconds() or 30
        while True:
            yield tested.load
            await asyncio.sleep(max(interval, 0.01))

    async with service:
        print(service.address, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
