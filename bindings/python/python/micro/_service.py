"""Services: what is served, and from when to when."""

from __future__ import annotations

import asyncio
import contextvars
import json
import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from . import _micro
from ._client import Client
from ._errors import Cancelled
from ._handler import BIDI_STREAM, CLIENT_STREAM, SERVER_STREAM, UNARY, Handler, caller_names
from ._options import EndpointOptions, ServiceOptions, document
from ._registry import Record, record
from ._runtime import Runtime, default
from ._threads import Threads

if TYPE_CHECKING:
    from typing import Unpack

    from ._runtime import Hub

F = TypeVar("F", bound=Callable[..., Any])


class Service:
    """A service: a name, endpoints, and the time it is served.

    ::

        service = micro.Service("greeter")

        @service.endpoint("Greeter.Hello")
        async def hello(request: HelloRequest, context: micro.Context) -> HelloReply:
            return HelloReply(message=f"Hello, {request.name}!")

        service.run()

    Handlers that are plain functions run on ``threads`` threads.
    """

    def __init__(
        self,
        name: str,
        *,
        threads: int | None = None,
        runtime: Runtime | None = None,
        **options: Unpack[ServiceOptions],
    ) -> None:
        self.name = name
        self._options: dict[str, Any] = dict(options)
        self._given = runtime
        self._threads = threads
        self._handlers: list[Handler] = []
        self._running: _Running | None = None

    def endpoint(
        self,
        name: str,
        *,
        request: Any = None,
        response: Any = None,
        inline: bool = False,
        **settings: Unpack[EndpointOptions],
    ) -> Callable[[F], F]:
        """Serves ``name``, such as ``Greeter.Hello``, with the decorated function.

        Its signature says what it is: ``async def`` runs on the event loop, ``def`` on a thread; one that yields sends a
        stream of replies; one whose request is an ``AsyncIterator`` (``Iterator`` on a thread) reads a stream of requests.
        The types of request and reply are those of its annotations, or ``request`` and ``response``.

        ``inline``: a plain function that never waits runs on the event loop, which costs no thread.
        """
        return self._decorator(name, None, settings, (request, response), inline, caller_names())

    def server_stream(
        self, name: str, *, request: Any = None, response: Any = None, **settings: Unpack[EndpointOptions]
    ) -> Callable[[F], F]:
        """As :meth:`endpoint`, for one request and many replies."""
        return self._decorator(name, SERVER_STREAM, settings, (request, response), False, caller_names())

    def client_stream(
        self, name: str, *, request: Any = None, response: Any = None, **settings: Unpack[EndpointOptions]
    ) -> Callable[[F], F]:
        """As :meth:`endpoint`, for many requests and one reply."""
        return self._decorator(name, CLIENT_STREAM, settings, (request, response), False, caller_names())

    def bidi_stream(
        self, name: str, *, request: Any = None, response: Any = None, **settings: Unpack[EndpointOptions]
    ) -> Callable[[F], F]:
        """As :meth:`endpoint`, for many messages each way."""
        return self._decorator(name, BIDI_STREAM, settings, (request, response), False, caller_names())

    def _decorator(
        self,
        name: str,
        shape: int | None,
        settings: EndpointOptions,
        types: tuple[Any, Any],
        inline: bool,
        names: dict[str, Any] | None,
    ) -> Callable[[F], F]:
        def decorate(function: F) -> F:
            handler = Handler(
                name,
                function,
                shape,
                settings=dict(settings),
                request=types[0],
                response=types[1],
                inline=inline,
                names=names,
            )
            self._add(handler)
            return function

        return decorate

    def implement(self, descriptor: Any, implementation: Any) -> None:
        """Serves a protobuf service with the methods of an object, which have the names of its methods.

        ``descriptor`` is what protoc generated: ``greeter_pb2.DESCRIPTOR.services_by_name["Greeter"]``.
        """
        from ._stub import methods

        for method in methods(descriptor):
            function = getattr(implementation, method.name, None)
            if function is None:
                kind = type(implementation).__name__
                raise TypeError(f"{descriptor.full_name} has a method {method.name}, and {kind} has none")
            shape = UNARY
            shape |= CLIENT_STREAM if method.client_streams else UNARY
            shape |= SERVER_STREAM if method.server_streams else UNARY
            name = f"{descriptor.full_name}.{method.name}"
            settings = {"idempotent": method.idempotent, "read_only": method.read_only}
            handler = Handler(name, function, shape, settings=settings, request=method.request, response=method.response)
            self._add(handler)

    def _add(self, handler: Handler) -> None:
        if self._running is not None:
            raise RuntimeError(f"{self.name} runs already: add {handler.name} before it is started")
        self._handlers.append(handler)

    async def start(self) -> None:
        """Listens and registers; returns when callers may come."""
        if self._running is not None:
            raise RuntimeError(f"{self.name} runs already: stop it first")
        runtime = self._given or default()
        running = self._running = _Running(self, runtime)
        try:
            await running.start(self._handlers, Threads(self._threads))
        except BaseException:
            self._running = None
            running.abort()
            raise

    async def stop(self) -> None:
        """Deregisters, finishes running calls within ``grace``, and returns when that is done. Harmless when repeated."""
        running = self._running
        if running is not None:
            running.server.stop()
            await Service.wait(self)

    async def wait(self) -> None:
        """Returns when the service is over."""
        running = self._running
        if running is None:
            return
        try:
            await asyncio.shield(running.ended)
        finally:
            if running.ended.done():
                self._running = None

    async def __aenter__(self) -> Service:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def run(self, *, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None) -> None:
        """Serves until the program is told to end: SIGTERM and SIGINT stop it in order, a second one at once.

        ``loop_factory`` makes the event loop, for example ``uvloop.new_event_loop``.
        """
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(self._serve_until_told())

    async def _serve_until_told(self) -> None:
        loop = asyncio.get_running_loop()
        mine = [signal.SIGTERM, signal.SIGINT]
        if threading.current_thread() is not threading.main_thread():
            mine = []
        before = [(one, signal.getsignal(one)) for one in mine]
        started = asyncio.ensure_future(Service.start(self))
        for one in mine:
            loop.add_signal_handler(one, self._signalled, started)
        try:
            await asyncio.wait([started])
            started.result()
            await Service.wait(self)
        except asyncio.CancelledError:
            if not started.cancelled():
                raise
        finally:
            for one, handler in before:
                loop.remove_signal_handler(one)
                signal.signal(one, handler)

    def _signalled(self, started: asyncio.Future[None]) -> None:
        running = self._running
        if running is None or not started.done():
            started.cancel()
        elif running.stopping:
            running.abort()
        else:
            running.stopping = True
            running.server.stop()

    @property
    def record(self) -> Record:
        """The service as it is registered, while it runs."""
        running = self._up()
        if running.record is None:
            raise RuntimeError(f"{self.name} does not run yet: await start()")
        return running.record

    @property
    def address(self) -> str:
        """``host:port`` it is reached at, while it runs."""
        return self.record.nodes[0].address

    @property
    def client(self) -> Client:
        """A client that shares the service's registry and calls in its name, while it runs."""
        return self._up().client()

    def set_health(self, serving: bool, service: str | None = None) -> None:
        """Says whether it is ready, as health checks ask; ``service`` is another name, or empty for the server as a whole."""
        self._up().server.set_health(self.name if service is None else service, serving)

    def stats(self) -> Any:
        """What the service has seen so far: calls by caller and endpoint, running calls, load."""
        return json.loads(self._up().server.stats())

    def _up(self) -> _Running:
        if self._running is None:
            raise RuntimeError(f"{self.name} does not run: await start()")
        return self._running

    def __repr__(self) -> str:
        return f"<micro.Service {self.name!r}, {len(self._handlers)} endpoints>"


class _Running:
    """A service from its start to its end."""

    def __init__(self, service: Service, runtime: Runtime) -> None:
        self.runtime = runtime
        self.hub: Hub = runtime.hub()
        self.server = _micro.Server(runtime._native, service.name, document(service._options))
        self.opened: asyncio.Future[None] = self.hub.loop.create_future()
        self.ended: asyncio.Future[None] = self.hub.loop.create_future()
        self.record: Record | None = None
        self.stopping = False
        self.id = 0
        self.threads: Threads | None = None
        self._client: Client | None = None

    async def start(self, handlers: list[Handler], threads: Threads) -> None:
        self.threads = threads
        served = [handler.served(self.hub, self.runtime._native, threads) for handler in handlers]
        for handler in handlers:
            self.server.method(handler.name, handler.shape, document(handler.options()))
        self.id = self.server.start(self.hub.queue, self, served, contextvars.copy_context())
        self.hub.servers.add(self.id)
        await self.opened

    def abort(self) -> None:
        if self.id:
            self.runtime._native.cancel(self.id)

    def client(self) -> Client:
        if self._client is None:
            self._client = Client(runtime=self.runtime)
            self._client._runtime, self._client._client = self.runtime, self.server.client()
        return self._client

    def _opened(self, registered: bytes) -> None:
        self.record = record(json.loads(registered))
        if not self.opened.done():
            self.opened.set_result(None)

    def _ended(self, error: BaseException | None) -> None:
        self.hub.servers.discard(self.id)
        if self.threads is not None:
            self.threads.close()
        if not self.opened.done():
            self.opened.set_exception(error or RuntimeError("the service ended before it had started"))
            error = None
        if self.ended.done():
            return
        # Cancelled is what somebody here has asked for.
        if error is None or isinstance(error, Cancelled):
            self.ended.set_result(None)
        else:
            self.ended.set_exception(error)
            # Nobody may be waiting for the end.
            self.ended.exception()
