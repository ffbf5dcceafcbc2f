"""The stubs and servicers that ``grpcio-tools`` generates, over services of ``micro``.

::

    stub = GreeterStub(micro.grpc.channel("greeter"))
    add_GreeterServicer_to_server(Greeter(), micro.grpc.server(service))

Needs grpcio (the extra ``grpc`` of this package), of which it has the types. :mod:`micro.grpc.sync` has channels for threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

try:
    import grpc as _grpc
    from grpc import aio as _aio
except ImportError as _error:
    raise ImportError("micro.grpc needs grpcio: pip install grpcio") from _error

from .. import sync as _threads
from .._client import Client
from .._options import ClientOptions
from .._service import Service
from . import sync as sync
from ._channel import Channel as _Channel
from ._method import options_of as _options_of
from ._server import AioServer as _AioServer
from ._server import ThreadServer as _ThreadServer

if TYPE_CHECKING:
    from typing import Unpack

__all__ = ["channel", "server", "sync"]


def channel(
    service: str,
    *,
    client: Client | None = None,
    detached: bool = False,
    interceptors: Sequence[_aio.ClientInterceptor] | None = None,
    **options: Unpack[ClientOptions],
) -> _aio.Channel:
    """A channel to all nodes of a service, for stubs in asyncio: what ``grpc.aio.insecure_channel`` is to an address.

    ``options`` are those of :class:`micro.Client`, ``interceptors`` those of ``grpc.aio``; the first is the outermost.
    ``client`` is one that exists already, such as that of a service; it is not closed with the channel.

    A call that is made within a handler is part of the call it serves, and ends with it, unless ``detached``.

    A call without ``timeout`` has no deadline, unless the channel is given one; with ``client`` it has that client's. Raises
    ``TypeError`` and ``ValueError`` for options that cannot be.
    """
    return _Channel(service, client, detached, interceptors or (), _options_of(client, options))


@overload
def server(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
    service: _threads.Service, interceptors: Sequence[_grpc.ServerInterceptor] | None = None
) -> _grpc.Server: ...


@overload
def server(service: Service, interceptors: Sequence[_aio.ServerInterceptor] | None = None) -> _aio.Server: ...


def server(service: Service, interceptors: Any = None) -> Any:
    """What ``add_…Servicer_to_server`` is given, so that ``service`` serves a servicer.

    Of a :class:`micro.Service` it is a ``grpc.aio.Server``, of a :class:`micro.sync.Service` a ``grpc.Server``, and takes
    interceptors of the same kind; the first is the outermost. Methods that are plain functions run on threads, those that are
    ``async def`` on the event loop. Raises ``RuntimeError`` when a method is added to a service that runs.
    """
    if isinstance(service, _threads.Service):
        return _ThreadServer(service, interceptors)
    if not isinstance(service, Service):
        raise TypeError(f"the service is {type(service).__name__}: give a micro.Service, or a micro.sync.Service")
    return _AioServer(service, interceptors)
