"""Servers that take the servicers of generated code, and serve them by a service."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import grpc
from grpc import aio

from .. import sync
from .._logging import logger
from .._service import Service
from ._asked import Asked
from ._endpoint import Endpoint, shape_of

OURS = {
    "grpc.health.v1.Health": "`set_health` of the service says what it answers",
    "grpc.reflection.v1.ServerReflection": "it knows all that the service serves",
    "grpc.reflection.v1alpha.ServerReflection": "it knows all that the service serves",
}
"""Services that every service has, and what to know of them."""


class Endpoints:
    """The methods that a server was given."""

    def __init__(self, service: Service, interceptors: list[Callable[..., Any]], *, is_later: bool) -> None:
        self._service, self._interceptors, self._is_later = service, interceptors, is_later
        self._known: dict[str, Endpoint] = {}
        self._asked: Asked | None = None

    def add(self, path: str, handler: Any) -> None:
        """Serves a method. Of a method that is added twice, as generated code does, the last handler counts."""
        name = path.split("/")[1]
        if name in OURS:
            logger().info("%s is served by every service: %s", name, OURS[name])
            return
        found = self._known.get(path)
        if found is not None and found.shape == shape_of(handler):
            found.handler = handler
            return
        endpoint: Any = Endpoint(path, handler, self._interceptors, is_later=self._is_later)
        self._service._add(endpoint)
        self._known[path] = endpoint

    def add_generic(self, handlers: Iterable[Any]) -> None:
        for handler in handlers:
            methods = getattr(handler, "_method_handlers", None)
            if isinstance(methods, Mapping):
                for path, method in methods.items():
                    self.add(path, method)
            elif callable(getattr(handler, "service", None)):
                self._ask(handler)
            else:
                raise TypeError(f"{type(handler).__name__} is no grpc.GenericRpcHandler: it has no method `service`")

    def _ask(self, handler: Any) -> None:
        asked = self._asked
        if asked is None:
            on_threads = isinstance(self._service, sync.Service)
            asked = Asked(self._interceptors, is_later=self._is_later, on_threads=on_threads)
            endpoint: Any = asked
            self._service._add(endpoint)
            self._asked = asked
        asked.add(handler)

    def add_registered(self, service: str, handlers: Mapping[str, Any]) -> None:
        for name, handler in handlers.items():
            self.add(f"/{service}/{name}", handler)

    def listen(self, address: str) -> int:
        """Has the service listen at an address of grpcio's, and returns its port."""
        host, _, port = address.rpartition(":")
        if not port.isdecimal() or host.partition(":")[0] in ("unix", "unix-abstract", "vsock"):
            raise ValueError(f"{address!r} is no address of a service: give host:port")
        if not int(port):
            raise ValueError(
                f"{address!r} leaves the port open, which is chosen when the service starts: leave this out, "
                "find it by its name, or read `address` of the service once it runs"
            )
        before = self._service._options.get("address")
        here = f":{port}" if host in ("", "[::]", "0.0.0.0", "*") else f"{host}:{port}"
        if before not in (None, here):
            raise ValueError(f"{self._service.name} listens at {before} already, and a service has one address")
        self._service._options["address"] = here
        return int(port)


def _secure() -> ValueError:
    return ValueError('credentials are not taken: give the service tls={"certificate": ..., "private_key": ...}')


def chain(interceptors: Sequence[Any] | None, kind: type[Any], wanted: str) -> list[Callable[..., Any]]:
    """What interceptors are called by. Raises ``ValueError`` for those of another kind."""
    for one in interceptors or ():
        if not isinstance(one, kind):
            raise ValueError(f"{type(one).__name__} is no {wanted}.ServerInterceptor, which this service takes")
    return [one.intercept_service for one in interceptors or ()]


class AioServer(aio.Server):
    """What ``add_…_to_server`` is given for a :class:`micro.Service`."""

    def __init__(self, service: Service, interceptors: Sequence[aio.ServerInterceptor] | None) -> None:
        self._service = service
        self._endpoints = Endpoints(service, chain(interceptors, aio.ServerInterceptor, "grpc.aio"), is_later=True)

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Serves what ``grpc.method_handlers_generic_handler`` has made; others are asked by calls that no method serves."""
        self._endpoints.add_generic(generic_rpc_handlers)

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, Any]) -> None:
        """Serves methods by their names."""
        self._endpoints.add_registered(service_name, method_handlers)

    def add_insecure_port(self, address: str) -> int:
        """Has the service listen there. A service needs no such line: it is found by its name."""
        return self._endpoints.listen(address)

    def add_secure_port(self, address: str, server_credentials: grpc.ServerCredentials) -> int:
        """Raises ``ValueError``: ``tls`` is an option of the service."""
        raise _secure()

    async def start(self) -> None:
        """Starts the service."""
        await self._service.start()

    async def stop(self, grace: float | None) -> None:
        """Stops the service. Its option ``grace`` says how long calls have, and not this one."""
        await self._service.stop()

    async def wait_for_termination(self, timeout: float | None = None) -> bool:
        """Waits for the end of the service, for ``timeout`` seconds at most. True when they were not enough."""
        waiting = asyncio.ensure_future(self._service.wait())
        try:
            done, _ = await asyncio.wait([waiting], timeout=timeout)
            if done:
                waiting.result()
            return not done
        finally:
            waiting.cancel()


class ThreadServer(grpc.Server):
    """What ``add_…_to_server`` is given for a :class:`micro.sync.Service`."""

    def __init__(self, service: sync.Service, interceptors: Sequence[grpc.ServerInterceptor] | None) -> None:
        self._service = service
        self._endpoints = Endpoints(service, chain(interceptors, grpc.ServerInterceptor, "grpc"), is_later=False)

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Serves what ``grpc.method_handlers_generic_handler`` has made; others are asked by calls that no method serves."""
        self._endpoints.add_generic(generic_rpc_handlers)

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, Any]) -> None:
        """Serves methods by their names."""
        self._endpoints.add_registered(service_name, method_handlers)

    def add_insecure_port(self, address: str) -> int:
        """Has the service listen there. A service needs no such line: it is found by its name."""
        return self._endpoints.listen(address)

    def add_secure_port(self, address: str, server_credentials: grpc.ServerCredentials) -> int:
        """Raises ``ValueError``: ``tls`` is an option of the service."""
        raise _secure()

    def start(self) -> None:
        """Starts the service."""
        self._service.start()

    def stop(self, grace: float | None) -> threading.Event:
        """Stops the service; what is returned is set when that is done. Its option ``grace`` says how long calls have."""
        stopped = threading.Event()

        def stop() -> None:
            try:
                self._service.stop()
            finally:
                stopped.set()

        threading.Thread(target=stop, name=f"micro stop {self._service.name}", daemon=True).start()
        return stopped

    def wait_for_termination(self, timeout: float | None = None) -> bool:
        """Waits for the end of the service, for ``timeout`` seconds at most. True when they were not enough."""
        thread = self._service._thread
        if thread is None:
            return False
        thread.join(timeout)
        return thread.is_alive()
