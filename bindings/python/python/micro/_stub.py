"""Protobuf services as Python objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ._client import Client


class Method(NamedTuple):
    """A method of a protobuf service."""

    name: str
    path: str
    request: Any
    response: Any
    client_streams: bool
    server_streams: bool
    idempotent: bool
    read_only: bool


def methods(descriptor: Any) -> list[Method]:
    """Methods of a service descriptor, with the classes of their messages."""
    from google.protobuf import message_factory

    found = []
    for method in descriptor.methods:
        level = method.GetOptions().idempotency_level
        found.append(
            Method(
                method.name,
                f"/{descriptor.full_name}/{method.name}",
                message_factory.GetMessageClass(method.input_type),
                message_factory.GetMessageClass(method.output_type),
                bool(method.client_streaming),
                bool(method.server_streaming),
                level != 0,
                level == 1,
            )
        )
    return found


_replies: dict[tuple[Any, str], Any] = {}


def reply_type(request: Any, endpoint: str) -> Any:
    """The class of what answers a protobuf message at an endpoint, such as ``Greeter.Hello``. Raises ``TypeError`` where the
    program has loaded no service that says so."""
    kind = type(request)
    found = _replies.get((kind, endpoint))
    if found is None:
        found = _reply_type(kind, endpoint)
        if len(_replies) < 1024:
            _replies[kind, endpoint] = found
    return found


def _reply_type(kind: Any, endpoint: str) -> Any:
    from google.protobuf import message_factory

    described = kind.DESCRIPTOR
    service, _, name = str(endpoint).lstrip("/").replace("/", ".").rpartition(".")
    for full in (service, f"{described.file.package}.{service}"):
        try:
            method = described.file.pool.FindServiceByName(full).methods_by_name[name]
        except KeyError:
            continue
        if method.input_type.full_name == described.full_name:
            return message_factory.GetMessageClass(method.output_type)
    raise TypeError(
        f"what {endpoint} answers a {described.full_name} with is not known, because no service that this program has loaded "
        "says so: give returns= the class of its reply, or bytes"
    )


class Stub:
    """A protobuf service somewhere else: each of its methods is a method here, with the types it has.

    ::

        greeter = micro.Stub(client, "greeter", greeter_pb2.DESCRIPTOR.services_by_name["Greeter"])
        reply = await greeter.Hello(HelloRequest(name="Ada"), timeout=2)
        whole = await greeter.Hello.request(HelloRequest(name="Ada"))  # a micro.Reply, with headers and trailers

    A method with one request and one reply has ``request`` beside it, for the whole :class:`micro.Reply`; a stream knows its
    headers and trailers itself. ``defaults`` are terms of its calls, such as ``timeout``. Works with clients of both kinds.
    """

    def __init__(self, client: Client, service: str, descriptor: Any, **defaults: Any) -> None:
        for method in methods(descriptor):
            setattr(self, method.name, _method(client, service, method, defaults))
        self._name = descriptor.full_name

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def __repr__(self) -> str:
        return f"<micro.Stub of {self._name}>"


def _method(client: Any, service: str, method: Method, defaults: dict[str, Any]) -> Any:
    def way(make: Any) -> Any:
        def call(request: Any = None, **options: Any) -> Any:
            if not method.client_streams and not isinstance(request, method.request):
                wanted, given = method.request.DESCRIPTOR.full_name, type(request).__name__
                raise TypeError(f"{method.path} takes a {wanted}, not {given}")
            options = {"codec": "proto", **defaults, **options}
            return make(service, method.path, request, returns=method.response, **options)

        call.__name__ = method.name
        return call

    shapes = (client.call, client.client_stream, client.server_stream, client.bidi_stream)
    found = way(shapes[method.client_streams + 2 * method.server_streams])
    if not method.client_streams and not method.server_streams:
        found.request = way(client.request)
    return found
