"""The messages of the test protos, compiled when a peer starts, and their JSON."""

import base64
import importlib
import pathlib
import sys
import tempfile

from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_tools import protoc

PROTOS = pathlib.Path(__file__).resolve().parents[2] / "proto"


def _compile(name):
    # Gone before the first call: the process may be killed at any time, and then cleans up nothing.
    with tempfile.TemporaryDirectory(prefix="micro-grpcio-") as folder:
        arguments = ["protoc", f"-I{PROTOS}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
        if protoc.main([*arguments, f"{name}.proto"]) != 0:
            raise SystemExit(f"{name}.proto does not compile")
        sys.path.insert(0, folder)
        try:
            return importlib.import_module(f"{name}_pb2"), importlib.import_module(f"{name}_pb2_grpc")
        finally:
            sys.path.remove(folder)


greeter, greeter_grpc = _compile("greeter")


def types_of(path):
    """Request and response class of `/package.Service/Method`; any prefix of Greeter will do, as in go-micro."""
    service, method = path.strip("/").split("/")
    if service.rsplit(".", 1)[-1] == "Greeter":
        service = "greeter.Greeter"
    descriptor = descriptor_pool.Default().FindServiceByName(service).methods_by_name[method]
    make = message_factory.GetMessageClass
    return make(descriptor.input_type), make(descriptor.output_type)


def decode(message_type, text):
    return json_format.ParseDict(text or {}, message_type())


def encode(message):
    """Every field under its proto name, so that a test can compare whole messages."""
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def metadata_to_json(metadata):
    """Pairs, because keys repeat; binary values as base64."""
    return [
        [key, base64.b64encode(value).decode() if isinstance(value, bytes) else value]
        for key, value in metadata or ()
    ]


def metadata_from_json(pairs):
    return [(key, base64.b64decode(value) if key.endswith("-bin") else value) for key, value in pairs or ()]
