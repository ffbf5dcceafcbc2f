"""A gRPC server of Python's grpcio with the Greeter service, health and reflection, driven by `lines.py`.

    server.py [--address 127.0.0.1:0] [--gzip] [--reflection v1,v1alpha]
"""

import argparse
import concurrent.futures
import threading
import time

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

import messages
from lines import Events, Lines
from messages import greeter, greeter_grpc

SERVICES = ("greeter.Greeter", "grpc.health.v1.Health")


class Greeter(greeter_grpc.GreeterServicer):
    def __init__(self, events):
        self._events = events
        self._attempts = {}
        self._counting = threading.Lock()

    def Hello(self, request, context):
        self._called("Hello", context)
        return greeter.HelloReply(greeting=f"Hello {request.name}", request=request, served_by="grpcio")

    def Fail(self, request, context):
        """The code of the request is a gRPC status here; its id travels as trailing metadata."""
        self._called("Fail", context)
        with self._counting:
            attempt = self._attempts[request.key] = self._attempts.get(request.key, 0) + 1
        if not request.times or attempt <= request.times:
            fail(request, context)
        return greeter.FailReply(attempt=attempt)

    def Headers(self, request, context):
        self._called("Headers", context)
        context.send_initial_metadata((("answered-by", "grpcio"), ("answered-bin", b"\x00\xff")))
        context.set_trailing_metadata((("trailer", "last"), ("trailer-bin", b"\x01\xfe")))
        return greeter.HeadersReply(headers=headers(context))

    def Wait(self, request, context):
        self._called("Wait", context)
        remaining = context.time_remaining()
        if request.milliseconds:
            began, ended = time.monotonic(), threading.Event()
            if not context.add_callback(ended.set):
                ended.set()
            outcome = "ended" if ended.wait(request.milliseconds / 1000) else "elapsed"
            self._events.add("wait", outcome=outcome, elapsedMs=int((time.monotonic() - began) * 1000))
        reply = greeter.WaitReply(has_deadline=remaining is not None)
        if remaining is not None:
            reply.remaining_milliseconds = int(remaining * 1000)
        return reply

    def Relay(self, request, context):
        self._called("Relay", context)
        passed_on = [(key, value) for key, value in context.invocation_metadata() if key != "user-agent"]
        with grpc.insecure_channel(request.address) as channel:
            there = channel.unary_unary(
                f"/{request.service}.Greeter/Headers",
                request_serializer=greeter.HeadersRequest.SerializeToString,
                response_deserializer=greeter.HeadersReply.FromString,
            )(greeter.HeadersRequest(), metadata=passed_on, timeout=context.time_remaining())
        return greeter.RelayReply(here=headers(context), there=there.headers)

    def Count(self, request, context):
        self._called("Count", context)
        context.add_callback(lambda: self._events.add("streamEnd", method="Count"))
        for value in range(1, request.to + 1):
            yield greeter.CountReply(value=value)
        if request.HasField("failure"):
            fail(request.failure, context)

    def Sum(self, requests, context):
        self._called("Sum", context)
        sum = greeter.SumReply()
        for request in requests:
            sum.total += request.value
            sum.count += 1
            if request.last:
                break
        return sum

    def Chat(self, requests, context):
        self._called("Chat", context)
        context.add_callback(lambda: self._events.add("streamEnd", method="Chat"))
        for said in requests:
            if said.HasField("failure"):
                fail(said.failure, context)
            if said.text == "bye":
                return
            yield greeter.ChatMessage(text=f"echo: {said.text}")

    def _called(self, method, context):
        remaining = context.time_remaining()
        self._events.add(
            "call",
            method=method,
            metadata=messages.metadata_to_json(context.invocation_metadata()),
            remainingMs=None if remaining is None else int(remaining * 1000),
        )


def headers(context):
    return dict(messages.metadata_to_json(context.invocation_metadata()))


def fail(request, context):
    context.set_trailing_metadata((("error-id", request.id),))
    code = next(code for code in grpc.StatusCode if code.value[0] == request.code)
    context.abort(code, request.detail)


def add_reflection(server, versions):
    """grpcio ships v1alpha only; v1 has the same messages under another name."""
    servicer = reflection.ReflectionServicer(SERVICES)
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for version in versions:
        name = f"grpc.reflection.{version}.ServerReflection"
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": handler}),)
        )


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--address", default="127.0.0.1:0")
    arguments.add_argument("--gzip", action="store_true")
    arguments.add_argument("--reflection", default="v1,v1alpha")
    options = arguments.parse_args()

    lines, events = Lines(), Events()
    server = grpc.server(
        concurrent.futures.ThreadPoolExecutor(max_workers=32),
        compression=grpc.Compression.Gzip if options.gzip else None,
    )
    greeter_grpc.add_GreeterServicer_to_server(Greeter(events), server)
    health_servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    for service in ("", *SERVICES):
        health_servicer.set(service, health_pb2.HealthCheckResponse.SERVING)
    add_reflection(server, [version for version in options.reflection.split(",") if version])
    port = server.add_insecure_port(options.address)
    server.start()

    def set_health(request):
        status = health_pb2.HealthCheckResponse.ServingStatus.Value(request["status"])
        health_servicer.set(request.get("service", ""), status)
        return {}

    def stop(request):
        server.stop(grace=(request.get("graceMs") or 0) / 1000).wait()
        return {}

    lines.on("next", events.next)
    lines.on("setHealth", set_health)
    lines.on("stop", stop)
    lines.ready(address=f"{options.address.rsplit(':', 1)[0]}:{port}")
    lines.run()
    server.stop(grace=0).wait()


if __name__ == "__main__":
    main()
