"""Services: what is served, and from when to when."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ._errors import Closed
from ._handler import BIDI_STREAM, CLIENT_STREAM, SERVER_STREAM, UNARY, Handler, caller_names
from ._hooks import Hook, Hooks
from ._jobs import Job, JobStatus, statuses
from ._logging import is_program
from ._middleware import Layer, checked, chosen
from ._operator import Setting, arguments, explained
from ._options import CronOptions, EndpointOptions, JobOptions, Seconds, ServiceOptions, SubscriberOptions, count
from ._questions import question
from ._running import Running
from ._runtime import Runtime, default
from ._subscriber import Subscriber
from ._threads import Threads

if TYPE_CHECKING:
    from typing import Unpack

    from ._client import Client
    from ._registry import Record

F = TypeVar("F", bound=Callable[..., Any])
H = TypeVar("H", bound=Hook)


class Service:
    """A service: a name, endpoints, and the time it is served.

    ::

        service = micro.Service("greeter")

        @service.endpoint("Greeter.Hello")
        async def hello(request: HelloRequest, context: micro.Context) -> HelloReply:
            return HelloReply(message=f"Hello, {request.name}!")

        service.run()

    Handlers that are plain functions run on ``threads`` threads, by default 4 more than there are processors and at most 32;
    those that stream on ``stream_threads`` others, by default 64. A call whose turn would come too late is refused at once.

    With ``argv=True`` the flags that the program was started with, such as ``--address=:8080``, come before variables,
    documents and options; a list of texts does as well. What follows ``--`` is left to the program. ``--help`` and
    ``--version`` print and end the program with 0, what is wrong ends it with 2.
    """

    def __init__(
        self,
        name: str,
        *,
        threads: int | None = None,
        stream_threads: int | None = None,
        runtime: Runtime | None = None,
        argv: bool | Sequence[str] = False,
        **options: Unpack[ServiceOptions],
    ) -> None:
        if not isinstance(name, str):
            raise TypeError(f"the name of a service is {type(name).__name__}: give text")
        self.name = name
        self._options: dict[str, Any] = {**options, **arguments(name, options, argv)}
        self._given = runtime
        self._threads = count("threads", threads), count("stream_threads", stream_threads)
        self._handlers: list[Handler] = []
        self._layers: list[tuple[Layer, frozenset[str]]] = []
        self._message_layers: list[tuple[Layer, frozenset[str]]] = []
        self._hooks = Hooks()
        self._check: Hook | None = None
        self._running: Running | None = None
        self._lock = threading.Lock()

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

    def subscribe(
        self, topic: str, *, request: Any = None, inline: bool = False, **options: Unpack[SubscriberOptions]
    ) -> Callable[[F], F]:
        """Handles the messages of ``topic`` with the decorated function, which takes the message and perhaps the context.

        ::

            @service.subscribe("orders", queue="billing")
            async def bill(order: Order, context: micro.Context) -> None: ...

        It runs where a handler of calls would. What it raises is a failure: the message is delivered again, where the broker
        can, and is a dead letter in the end; one that cannot be read is one at once. ``context.delivery`` is the
        :class:`micro.Delivery`: what is known of the message, and the way to say more than that.
        """

        def decorate(function: F) -> F:
            self._add(Subscriber(topic, function, settings=dict(options), request=request, inline=inline, names=names))
            return function

        names = caller_names()
        return decorate

    def task(
        self, topic: str, *, request: Any = None, inline: bool = False, **options: Unpack[SubscriberOptions]
    ) -> Callable[[F], F]:
        """Works off the tasks of ``topic`` with the decorated function: what it returns can be asked for with
        :meth:`Client.task_result`.

        ::

            @service.task("resize", max_attempts=3)
            async def resize(image: Image) -> Image: ...

        It is a subscriber like any other, of the queue ``tasks`` unless another is named, and begins with the first task there
        is. That needs a broker that keeps messages, such as ``durable://``.
        """

        def decorate(function: F) -> F:
            settings = {**options, "task": True}
            self._add(Subscriber(topic, function, settings=settings, request=request, inline=inline, names=names))
            return function

        names = caller_names()
        return decorate

    def every(self, interval: Seconds, *, inline: bool = False, **options: Unpack[JobOptions]) -> Callable[[F], F]:
        """Runs the decorated function once in each ``interval``, such as ``"5m"`` or a number of seconds, 1 s to 366 days.

        ::

            @service.every("30s", name="refresh", scope="node")
            async def refresh(context: micro.Context) -> None: ...

        It takes the context, of which ``job`` is the :class:`micro.Running`, or nothing. Once in the whole fleet, unless its
        scope is ``node``: that needs a broker that keeps messages, such as ``durable://``. What it raises has that run fail.
        """
        return self._job({"every": interval, **options}, inline, caller_names())

    def cron(self, expression: str, *, inline: bool = False, **options: Unpack[CronOptions]) -> Callable[[F], F]:
        """As :meth:`every`, at the moments that a cron expression names, such as ``"0 3 * * *"``: minute, hour, day of month,
        month and day of week, with seconds before them where there are six fields. They are read in UTC, or in ``zone``."""
        return self._job({"cron": expression, **options}, inline, caller_names())

    def _job(self, settings: dict[str, Any], inline: bool, names: dict[str, Any] | None) -> Callable[[F], F]:
        def decorate(function: F) -> F:
            self._add(Job(function, settings=settings, inline=inline, names=names))
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

    def use(self, middleware: Layer | None = None, *, endpoints: Iterable[str] = ()) -> Any:
        """Puts a function around the handlers: ``async def middleware(request, context, call_next)``, also as a decorator.

        ``await call_next()``, or ``await call_next(request)`` with another one, runs the handler and gives its reply; the
        middleware returns that, or another. For a stream, ``request`` and the reply are iterators as the handler reads and
        gives them. What it raises is what the call ends with. The first one given is the outermost. With ``endpoints``,
        such as ``["Greeter.Hello"]``, it is around those alone.

        A plain function does as well: beside handlers on threads it runs on their thread, and before others it may only
        return what ``call_next`` gives, unawaited. Health checks, reflection and ``Debug`` do not pass it, and servicers
        of grpcio have grpcio's interceptors.
        """
        only = frozenset((endpoints,) if isinstance(endpoints, str) else endpoints)

        def use(middleware: Layer) -> Layer:
            if self._running is not None and not self._running.is_over:
                raise RuntimeError(f"{self.name} runs already: use middleware before it is started")
            self._layers.append((checked(middleware, "the middleware of a service"), only))
            return middleware

        return use if middleware is None else use(middleware)

    def use_for_messages(self, middleware: Layer | None = None, *, topics: Iterable[str] = ()) -> Any:
        """As :meth:`use`, around subscribers and the runs of jobs: ``async def middleware(message, context, call_next)``. With
        ``topics``, or names of jobs, around those alone."""
        only = frozenset((topics,) if isinstance(topics, str) else topics)

        def use(middleware: Layer) -> Layer:
            if self._running is not None and not self._running.is_over:
                raise RuntimeError(f"{self.name} runs already: use middleware before it is started")
            self._message_layers.append((checked(middleware, "the middleware of a service"), only))
            return middleware

        return use if middleware is None else use(middleware)

    def explain(self) -> list[Setting]:
        """Every setting with its value and what set it, as a start would find them now. Raises ``InvalidArgument`` for a
        document or a variable that is wrong."""
        return explained(self.name, self._options)

    def register_check(self, check: H) -> H:
        """Asked before each registration, also as a decorator: while it raises, returns ``False`` or takes longer than
        ``register_timeout``, the node is not registered and health checks fail. A coroutine function, which runs on the event
        loop, or a plain one, which runs on a thread. The last one given counts."""
        if not callable(check):
            raise TypeError(f"the register check is {type(check).__name__}: give a function without arguments")
        self._check = check
        return check

    def before_start(self, hook: H) -> H:
        """Runs before the service listens, also as a decorator; what it raises ends the start. Hooks are coroutine functions,
        which run on the event loop, or plain functions, which run on a thread; those of one moment in the order in which
        they were added, each for 60 s at most."""
        return self._hooks.add("before_start", hook)

    def after_start(self, hook: H) -> H:
        """Runs once the service is registered; what it raises stops it again, and is what the start raises."""
        return self._hooks.add("after_start", hook)

    def before_stop(self, hook: H) -> H:
        """Runs before a service that is stopped deregisters. What it raises is logged, and the stop goes on."""
        return self._hooks.add("before_stop", hook)

    def after_stop(self, hook: H) -> H:
        """Runs when nothing is served any more. What it raises is logged. It does not run where the event loop, or the
        program, ends without stopping the service."""
        return self._hooks.add("after_stop", hook)

    def _add(self, handler: Handler) -> None:
        if self._running is not None and not self._running.is_over:
            raise RuntimeError(f"{self.name} runs already: add {handler.name} before it is started")
        self._handlers.append(handler)

    async def start(self) -> None:
        """Listens and registers; returns when callers may come. It ends with its event loop, at the latest."""
        with self._lock:
            if self._running is not None and not self._running.is_over:
                raise RuntimeError(f"{self.name} runs already: stop it first")
            running = self._running = Running(self, self._given or default())
        try:
            self._put_layers()
            await self._hooks.run("before_start")
            await running.start(self._handlers, Threads(*self._threads))
        except BaseException:
            self._forget(running)
            running.abort()
            raise
        try:
            await self._hooks.run("after_start")
        except BaseException:
            # Its own error matters more than what goes wrong on the way down.
            with contextlib.suppress(Exception):
                await Service.stop(self)
            raise

    def _put_layers(self) -> None:
        for what, layers, of_messages in (("endpoints", self._layers, False), ("topics", self._message_layers, True)):
            handlers = [one for one in self._handlers if one.of_messages is of_messages]
            known = {handler.name for handler in handlers}
            for _, only in layers:
                if missing := only - known:
                    raise ValueError(
                        f"middleware is for {', '.join(sorted(missing))}, and the {what} are {', '.join(sorted(known))}"
                    )
            for handler in handlers:
                handler.layers = chosen(layers, handler.name)

    async def stop(self) -> None:
        """Deregisters, finishes running calls within ``grace``, and returns when that is done. From any event loop; harmless
        when repeated, or when its own loop is over."""
        running = self._running
        if running is None:
            return
        running.stop()
        try:
            await running.wait()
        except Closed:
            # Its loop or its runtime was over before, and it with them.
            pass
        finally:
            if running.is_over:
                self._forget(running)

    async def wait(self) -> None:
        """Returns when the service is over."""
        running = self._running
        if running is None:
            return
        try:
            await running.wait()
        finally:
            if running.is_over:
                self._forget(running)

    def _forget(self, running: Running) -> None:
        with self._lock:
            if self._running is running:
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
        is_program()
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(self._serve_until_told())

    def run_once(self, *, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None) -> None:
        """Serves one call or one message, and ends once that is answered or settled, whatever became of it; others that come
        meanwhile are refused. Before that it ends as :meth:`run` does."""
        self._options["once"] = True
        try:
            self.run(loop_factory=loop_factory)
        finally:
            del self._options["once"]

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
                # One that Python did not set cannot be put back.
                signal.signal(one, signal.SIG_DFL if handler is None else handler)

    def _signalled(self, started: asyncio.Future[None]) -> None:
        running = self._running
        if running is None or not started.done():
            started.cancel()
        elif running.stopping:
            running.abort()
        else:
            running.stopping = True
            running.stop()

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
        # Its operator may have given it another name.
        self._up().server.set_health(self.record.name if service is None else service, serving)

    async def stats(self, *, timeout: float | None = None) -> Any:
        """What the service has seen so far: calls by caller and endpoint, running calls, calls it refused."""
        asked = question("service.stats", timeout)
        return json.loads(bytes(await self._up().client()._asked(asked)))

    async def jobs(self, *, timeout: float | None = None) -> list[JobStatus]:
        """The jobs of the service: when each runs next, and what became of its last runs."""
        return statuses(await self._up().client()._asked(question("service.jobs", timeout)))

    def _up(self) -> Running:
        running = self._running
        if running is None or running.is_over:
            raise RuntimeError(f"{self.name} does not run: await start()")
        return running

    def __repr__(self) -> str:
        return f"<micro.Service {self.name!r}, {len(self._handlers)} endpoints>"
