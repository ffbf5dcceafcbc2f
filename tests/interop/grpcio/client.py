"""A gRPC client of Python's grpcio: any kind of call, health, reflection; driven by `lines.py`.

A path is `/package.Service/Method`. Every operation takes `address` and `timeoutMs` (of the call), `metadata` as pairs with
base64 for `-bin` keys, and `compression: "gzip"`.
"""

import queue
import threading

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_health.v1 import health_pb2  # noqa: F401  known to the descriptor pool by being imported
from grpc_reflection.v1alpha import proto_reflection_descriptor_database, reflection_pb2

import messages
from lines import Lines, timeout

HALF_CLOSE = object()


class Client:
    def __init__(self):
        self._channels = {}
        self._calls = {}
        self._known = threading.Condition()
        self._lock = threading.Lock()

    def add_to(self, lines):
        lines.on("call", self.call)
        lines.on("cancel", lambda request: {"cancelled": self.find(request).cancel()})
        lines.on("streamOpen", self.stream_open)
        lines.on("streamSend", self.stream_send)
        lines.on("streamReceive", self.stream_receive)
        lines.on("streamHalfClose", self.stream_half_close)
        lines.on("services", self.services)
        lines.on("describe", self.describe)
        lines.on("callReflected", self.call_reflected)

    def keep(self, request, call):
        with self._known:
            self._calls[request["key"]] = call
            self._known.notify_all()

    def find(self, request):
        """The call of a key. Its handler may know of it before this side has kept it, so this waits."""
        with self._known:
            if not self._known.wait_for(lambda: request["key"] in self._calls, timeout(request)):
                raise KeyError(f"no call {request['key']!r}")
            return self._calls[request["key"]]

    def channel(self, address):
        with self._lock:
            if address not in self._channels:
                self._channels[address] = grpc.insecure_channel(address)
            return self._channels[address]

    def call(self, request):
        """Unary. With a `key`, `{"op":"cancel","key":…}` ends it early."""
        request_type, response_type = messages.types_of(request["path"])
        method = self.channel(request["address"]).unary_unary(
            request["path"], request_type.SerializeToString, response_type.FromString
        )
        body = messages.decode(request_type, request.get("request"))
        call = method.future(body, **call_options(request), timeout=timeout(request))
        if "key" in request:
            self.keep(request, call)
        # The future itself ends at the deadline.
        try:
            outcome = {"response": messages.encode(call.result())}
        except (grpc.RpcError, grpc.FutureCancelledError):
            outcome = {"error": error(call)}
        outcome["header"] = messages.metadata_to_json(call.initial_metadata())
        outcome["trailer"] = messages.metadata_to_json(call.trailing_metadata())
        return outcome

    def stream_open(self, request):
        """Any streaming method, opened as bidirectional; it has no deadline unless `deadlineMs` says so."""
        request_type, response_type = messages.types_of(request["path"])
        method = self.channel(request["address"]).stream_stream(
            request["path"], request_type.SerializeToString, response_type.FromString
        )
        outgoing = queue.Queue(maxsize=1024)
        deadline = request.get("deadlineMs")
        call = method(
            iter(outgoing.get, HALF_CLOSE),
            **call_options(request),
            timeout=deadline / 1000 if deadline else None,
        )
        incoming = queue.Queue(maxsize=1024)
        threading.Thread(target=receive, args=(call, incoming), daemon=True).start()
        call.micro_stream = (request_type, outgoing, incoming)
        self.keep(request, call)
        return {}

    def stream_send(self, request):
        request_type, outgoing, _ = self.find(request).micro_stream
        outgoing.put(messages.decode(request_type, request.get("request")))
        return {}

    def stream_half_close(self, request):
        self.find(request).micro_stream[1].put(HALF_CLOSE)
        return {}

    def stream_receive(self, request):
        """The next message, or how the stream ended: `end` for OK, else `error`."""
        incoming = self.find(request).micro_stream[2]
        try:
            return incoming.get(timeout=timeout(request))
        except queue.Empty:
            raise TimeoutError("nothing arrived on the stream") from None

    def services(self, request):
        """The names that reflection lists; `version` is v1 or v1alpha."""
        [answer] = self.reflect(request, [reflection_pb2.ServerReflectionRequest(list_services="*")])
        return {"names": [service.name for service in answer.list_services_response.service]}

    def describe(self, request):
        """The methods of the service `symbol`, built from nothing but what reflection says."""
        service = self.pool(request).FindServiceByName(request["symbol"])
        methods = {}
        for method in service.methods:
            methods[method.name] = {
                "input": method.input_type.full_name,
                "output": method.output_type.full_name,
                "clientStreaming": method.client_streaming,
                "serverStreaming": method.server_streaming,
                "fields": [field.name for field in method.input_type.fields],
            }
        return {"file": service.file.name, "methods": methods}

    def call_reflected(self, request):
        """A unary call of `method` of the service `symbol`, with nothing but what reflection says."""
        method = self.pool(request).FindServiceByName(request["symbol"]).methods_by_name[request["method"]]
        request_type, response_type = map(message_factory.GetMessageClass, (method.input_type, method.output_type))
        call = self.channel(request["address"]).unary_unary(
            f"/{request['symbol']}/{method.name}", request_type.SerializeToString, response_type.FromString
        )
        body = messages.decode(request_type, request.get("request"))
        return {"response": messages.encode(call(body, timeout=timeout(request)))}

    def pool(self, request):
        if request.get("version", "v1alpha") == "v1":
            return self.pool_by_hand(request)
        channel = self.channel(request["address"])
        return descriptor_pool.DescriptorPool(
            proto_reflection_descriptor_database.ProtoReflectionDescriptorDatabase(channel)
        )

    def pool_by_hand(self, request):
        ask = reflection_pb2.ServerReflectionRequest
        pool, wanted, known = descriptor_pool.DescriptorPool(), [ask(file_containing_symbol=request["symbol"])], {}
        while wanted:
            for answer in self.reflect(request, wanted):
                for text in answer.file_descriptor_response.file_descriptor_proto:
                    file = descriptor_pb2.FileDescriptorProto.FromString(text)
                    known[file.name] = file
            needed = {name for file in known.values() for name in file.dependency} - known.keys()
            wanted = [ask(file_by_filename=name) for name in needed]
        for file in known.values():
            pool.Add(file)
        return pool

    def reflect(self, request, asks):
        version = request.get("version", "v1alpha")
        method = self.channel(request["address"]).stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            reflection_pb2.ServerReflectionRequest.SerializeToString,
            reflection_pb2.ServerReflectionResponse.FromString,
        )
        answers = list(method(iter(asks), timeout=timeout(request)))
        for answer in answers:
            if answer.HasField("error_response"):
                raise ValueError(f"reflection refused: {answer.error_response.error_message}")
        return answers


def receive(call, incoming):
    try:
        for message in call:
            incoming.put({"message": messages.encode(message)})
        incoming.put({"end": True, "trailer": messages.metadata_to_json(call.trailing_metadata())})
    except grpc.RpcError:
        incoming.put({"error": error(call), "trailer": messages.metadata_to_json(call.trailing_metadata())})


def call_options(request):
    return {
        "metadata": messages.metadata_from_json(request.get("metadata")),
        "compression": grpc.Compression.Gzip if request.get("compression") == "gzip" else None,
    }


def error(call):
    details = dict(call.trailing_metadata() or ()).get("grpc-status-details-bin")
    described = {"code": call.code().value[0], "name": call.code().name, "message": call.details()}
    if details is not None:
        described["details"] = messages.metadata_to_json([("details", details)])[0][1]
    return described


def main():
    lines = Lines()
    Client().add_to(lines)
    lines.ready()
    lines.run()


if __name__ == "__main__":
    main()
