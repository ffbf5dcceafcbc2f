"""Services and their callers in one process, without sockets, for the tests of programs that use ``micro``."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Any

from ._client import Client
from ._runtime import Runtime
from ._service import Service

if TYPE_CHECKING:
    from . import sync

_numbers = itertools.count()


class Fleet:
    """Services that see each other and no others.

    ::

        async with micro.testing.Fleet() as fleet:
            await fleet.start(service)
            assert await fleet.client.call("greeter", "Greeter.Hello", {"name": "Ada"}) == "Hello, Ada!"
    """

    def __init__(self, *, runtime: Runtime | None = None) -> None:
        self.url = f"memory://test-{os.getpid()}-{next(_numbers)}"
        """Registry and network of everything in it, and its broker where no other is given."""
        self._runtime = runtime
        self._services: list[Service] = []
        self._clients: list[Client] = []
        self.client = self.new_client()
        """A client of its services."""

    @property
    def options(self) -> dict[str, Any]:
        """Options that make a service or a client part of it."""
        return {"registry": self.url, "network": self.url, "environment": False}

    def new_client(self, **options: Any) -> Client:
        """Another client."""
        client = Client(runtime=self._runtime, **self._with(options))
        self._clients.append(client)
        return client

    def sync_client(self, **options: Any) -> sync.Client:
        """A client for threads."""
        from . import sync

        return sync.Client(runtime=self._runtime, **self._with(options))

    def _with(self, options: dict[str, Any]) -> dict[str, Any]:
        return {"broker": self.url, **options, **self.options}

    async def start(self, service: Service) -> Service:
        """Starts a service in here, whatever registry it was made for."""
        client = {**service._options.get("client", {}), "network": self.url}
        within = {**self.options, "address": "127.0.0.1:0", "propagation": 0, "quiet": True, "client": client}
        service._options.setdefault("broker", self.url)
        service._options.update(within)
        await service.start()
        self._services.append(service)
        return service

    async def __aenter__(self) -> Fleet:
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients:
            await client.close()
        for service in reversed(self._services):
            await service.stop()


__all__ = ["Fleet"]
