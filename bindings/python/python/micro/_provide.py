"""What a program provides by itself: a registry or a broker of its own, opened by URL as any other."""

from __future__ import annotations

import asyncio
import contextvars
import json
from collections.abc import AsyncIterator, Awaitable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from . import _micro
from ._handler import EAGER, STREAMING
from ._pipe import LoopPipe
from ._provide_broker import Broker, BrokerServing, done
from ._registry import Change, Record, document_of, record
from ._runtime import default

if TYPE_CHECKING:
    from ._runtime import Hub, Runtime

_REGISTRY = 0x02
_ARGS = "micro-args-bin"


class Registry(Protocol):
    """A registry written in Python: what :func:`micro.provide` takes.

    Methods may be coroutines or plain functions; plain ones run on the event loop, so they must not block. What they raise
    reaches the caller: one of :mod:`micro.errors` with its code, anything else as ``Internal``. Whether one keeps the rules
    can be checked against those of the built-in ones, see ``docs/python.md``.
    """

    def register(self, service: Record, ttl: float | None) -> Awaitable[None] | None:
        """Adds the nodes of a record, or refreshes those that are known, for ``ttl`` seconds; ``None`` is for ever.

        Changed addresses, metadata or endpoints replace what was there.
        """

    def deregister(self, service: Record) -> Awaitable[None] | None:
        """Removes the nodes of a record, and nothing else. An unknown node is no error."""

    def get(self, name: str) -> Awaitable[Iterable[Record]] | Iterable[Record]:
        """Every version of a service with its live nodes; none, or ``NotFound``, where there is no node."""
        ...

    def list(self) -> Awaitable[Iterable[Record]] | Iterable[Record]:
        """Every service, by name, then version. Nodes and endpoints may be left out."""
        ...

    def watch(self, name: str | None) -> Awaitable[AsyncIterator[Change]] | AsyncIterator[Change]:
        """Changes of one service, or of all, each with only the nodes it affects.

        Every change after this has returned is told. So it is no generator, which begins with the first ``anext``: it
        subscribes, then returns an iterator. The iterator is closed (``aclose``) when its reader has left.
        """
        ...


class Provided:
    """A registry or a broker that is provided under a name. Closing it, or leaving ``async with``, withdraws the name."""

    def __init__(self, name: str, provided: Registry | Broker, runtime: Runtime) -> None:
        self.name, self._native = name, runtime._native
        self._hub = runtime.hub()
        self._over: asyncio.Future[None] = self._hub.loop.create_future()
        serving: Any
        if callable(getattr(provided, "publish", None)) and callable(getattr(provided, "subscribe", None)):
            serving = BrokerServing(self.url, provided, self._native, self._hub)  # type: ignore[arg-type]
        else:
            serving = RegistryServing(self.url, provided, self._native, self._hub)  # type: ignore[arg-type]
        told = (self, serving.served(), contextvars.copy_context())
        self._id = _micro.provide(runtime._native, self._hub.queue, (serving.area, name), told)
        self._hub.servers.add(self)

    @property
    def url(self) -> str:
        """The URL that opens it in this process, for example ``host://mine``."""
        return f"host://{self.name}"

    async def close(self) -> None:
        """Withdraws the name, and returns when it is free. What was opened by it fails with ``Unavailable``.

        Harmless when repeated.
        """
        self.leave()
        await asyncio.shield(self._over)

    def leave(self) -> None:
        """The same without waiting, also when the event loop is about to end."""
        self._hub.servers.discard(self)
        self._native.cancel(self._id)

    async def __aenter__(self) -> Provided:
        return self

    async def __aexit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<micro.Provided {self.url}>"

    def _ended(self, _: BaseException | None) -> None:
        self._hub.servers.discard(self)
        if not self._over.done() and not self._hub.loop.is_closed():
            self._over.set_result(None)


class RegistryServing:
    """Answers what is asked of a registry."""

    area = _REGISTRY

    def __init__(self, url: str, registry: Registry, native: _micro.Runtime, hub: Hub) -> None:
        for method in ("register", "deregister", "get", "list", "watch"):
            if not callable(getattr(registry, method, None)):
                raise TypeError(f"{type(registry).__name__} is no registry: it has no method `{method}`")
        self._url, self._registry, self._native, self._hub = url, registry, native, hub

    def served(self) -> list[tuple[str, Any, int]]:
        """In the order of their numbers, from 0x0201."""
        return [
            (f"{self._url} get", self._get, EAGER),
            (f"{self._url} list", self._list, EAGER),
            (f"{self._url} watch", self._watch, STREAMING),
            (f"{self._url} register", self._register, EAGER),
            (f"{self._url} deregister", self._deregister, EAGER),
        ]

    async def _get(self, _: Any, context: _micro.Context) -> bytes:
        return self._records("get", await done(self._registry.get(_args(context)["service"])))

    async def _list(self, _: Any, __: _micro.Context) -> bytes:
        return self._records("list", await done(self._registry.list()))

    async def _register(self, _: Any, context: _micro.Context) -> bytes:
        args = _args(context)
        ttl = args.get("ttl")
        await done(self._registry.register(record(args["service"]), None if ttl is None else ttl / 1000))
        return b""

    async def _deregister(self, _: Any, context: _micro.Context) -> bytes:
        await done(self._registry.deregister(record(_args(context)["service"])))
        return b""

    async def _watch(self, _: Any, context: _micro.Context) -> bytes:
        pipe = LoopPipe(self._native, lambda payload, _: payload, self._hub.loop)
        pipe.id = context._id
        context._stream = pipe
        changes = await done(self._registry.watch(_args(context).get("service")))
        if not hasattr(changes, "__aiter__"):
            raise TypeError(f"watch returned {type(changes).__name__}: return an asynchronous iterator of Change")
        try:
            # Says that every change from now on will be told.
            await pipe.send(b"")
            async for change in changes:
                if not isinstance(change, Change):
                    raise TypeError(f"watch gave {type(change).__name__}: give Change(action, record)")
                told = {"action": change.action, "service": document_of(change.service)}
                await pipe.send(json.dumps(told).encode())
        finally:
            if hasattr(changes, "aclose"):
                await changes.aclose()
        return b""

    def _records(self, method: str, found: Any) -> bytes:
        if isinstance(found, (str, bytes, Record)) or not isinstance(found, Iterable):
            raise TypeError(f"{method} returned {type(found).__name__}: return a list of Record")
        records = list(found)
        for one in records:
            if not isinstance(one, Record):
                raise TypeError(f"{method} returned a list with {type(one).__name__} in it: return a list of Record")
        return json.dumps([document_of(one) for one in records]).encode()


def provide(name: str, provided: Registry | Broker, *, runtime: Runtime | None = None) -> Provided:
    """Makes ``host://name`` the URL of a registry or a broker of the program's own, for services and clients of this process.

    ::

        async with micro.provide("mine", MyRegistry()) as mine:
            async with micro.Client(registry=mine.url) as client:
                ...

    It is served on the running event loop, until it is closed or the loop ends. A name has letters, digits, ``-``, ``_`` and
    ``.``. Raises ``AlreadyExists`` for a name that is taken, ``RuntimeError`` where no event loop runs.
    """
    return Provided(name, provided, runtime or default())


def _args(context: _micro.Context) -> dict[str, Any]:
    args: dict[str, Any] = json.loads(context.metadata.get_binary(_ARGS) or b"{}")
    return args


__all__ = ["Provided", "Registry", "provide"]
