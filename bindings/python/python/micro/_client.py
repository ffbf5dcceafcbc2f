"""Calling services by name."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from . import _codec, _micro
from ._errors import Closed
from ._layered import LayeredClientStream, LayeredStream, Opening, layered
from ._messages import Delivery, LoopDeliveries, lease_of, publication, start_of, taking
from ._middleware import Call, Layer, around, checked
from ._options import CallOptions, ClientOptions, PublishOptions, document, name_of
from ._pipe import LoopPipe, Pipe
from ._questions import Question, question
from ._registry import (
    Change,
    Health,
    KnownNode,
    Record,
    change,
    document_of,
    healths,
    known_nodes,
    milliseconds,
    records,
)
from ._runtime import Runtime, default
from ._streams import ClientStream, Stream, feed, peek
from ._terms import Answer, Reply, Terms, options_of, replied, reply, sends_nothing, terms, unary
from ._work import TaskState, state, task

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from typing import Unpack

L = TypeVar("L", bound=Layer)
T = TypeVar("T")
Out = TypeVar("Out")
In = TypeVar("In")


class BaseClient:
    """What clients of both kinds share: settings, and the native client behind them."""

    def __init__(self, *, runtime: Runtime | None = None, **options: Unpack[ClientOptions]) -> None:
        self._document = document(options)
        self._given = runtime
        self._runtime: Runtime | None = None
        self._client: _micro.Client | None = None
        self._under_way: set[int] = set()
        self._layers: list[Layer] = []
        self._is_closed = False

    def _open(self) -> tuple[Runtime, _micro.Client]:
        # Made by the first call, so that a client may be made before a fork.
        if self._is_closed:
            raise Closed("this client is closed: make a new one")
        if self._client is None or self._runtime is None:
            self._runtime = self._given or default()
            self._client = _micro.Client(self._runtime._native, self._document)
        return self._runtime, self._client

    def _start(self, pipe: Pipe, id: int) -> None:
        self._under_way.add(id)
        pipe.is_mine, pipe.on_end = True, self._under_way.discard
        pipe.start(id)

    def _close(self) -> None:
        self._is_closed = True
        if self._runtime is not None:
            for id in list(self._under_way):
                self._runtime._native.cancel(id)

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__}{' closed' if self._is_closed else ''}>"


class Client(BaseClient):
    """Calls services by name, wherever they run.

    ::

        async with micro.Client() as client:
            reply = await client.call("greeter", "Greeter.Hello", {"name": "Ada"}, timeout=2)

    A request is a protobuf message, ``bytes``, or whatever can be JSON: a dict, a dataclass, a pydantic model. ``returns`` is
    the type of the reply. Without it, a JSON reply is what ``json`` makes of it, and any other is ``bytes``; but what answers a
    protobuf message is of the type that its service says, and where no service says so, a ``TypeError`` asks for ``returns``.

    Inside of a handler, calls are part of the call that is served: deadline, trace and metadata go on, and they end when it
    ends. ``detached=True`` makes one that is not.
    """

    async def __aenter__(self) -> Client:
        self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Cancels what is under way. Harmless when repeated."""
        self._close()

    @overload
    async def call(
        self,
        service: str,
        endpoint: str,
        request: Any = None,
        *,
        returns: type[T],
        **options: Unpack[CallOptions],
    ) -> T: ...

    @overload
    async def call(
        self,
        service: str,
        endpoint: str,
        request: Any = None,
        *,
        returns: None = None,
        **options: Unpack[CallOptions],
    ) -> Any: ...

    async def call(
        self,
        service: str,
        endpoint: str,
        request: Any = None,
        *,
        returns: Any = None,
        **options: Unpack[CallOptions],
    ) -> Any:
        """Makes a call and returns the reply.

        Raises what the far side said or what kept the call from it, one of :mod:`micro.errors`; each knows endpoint, node and
        attempts. Cancelling the task cancels the call, on both sides.
        """
        if self._layers:
            return (await self._through(Call(service, endpoint, request, dict(options), "unary"), returns)).message
        read = _codec.answering(returns, request, endpoint, options)
        payload, flags, _ = await self._ask("call", unary(service, endpoint, request, options))
        return read(payload, flags)

    async def request(
        self,
        service: str,
        endpoint: str,
        request: Any = None,
        *,
        returns: type[T] | None = None,
        **options: Unpack[CallOptions],
    ) -> Reply[T]:
        """As :meth:`call`, and returns the reply with its headers and trailers."""
        if self._layers:
            return await self._through(Call(service, endpoint, request, dict(options), "unary"), returns)
        read = _codec.answering(returns, request, endpoint, options)
        return reply(await self._ask("call", unary(service, endpoint, request, options)), read)

    def use(self, middleware: L) -> L:
        """Puts a function around every call from here on: ``async def middleware(call, call_next)``, also as a decorator.

        ``call`` is a :class:`micro.Call`, which it may change. ``await call_next()`` goes on and gives a :class:`micro.Reply`;
        for streams, an asynchronous iterator of replies, and for ``client_stream`` the one reply. It returns that, or
        something else like it. What it raises is what the call ends with. The first one given is the outermost.

        Calls under the stubs of grpcio pass grpcio's interceptors instead.
        """
        self._layers.append(checked(middleware, "the middleware of a client"))
        return middleware

    async def _through(self, call: Call, returns: Any) -> Reply[Any]:
        async def make(call: Call) -> Any:
            options = options_of(call)
            read = _codec.answering(returns, call.request, call.endpoint, options)
            return reply(await self._ask("call", unary(call.service, call.endpoint, call.request, options)), read)

        return replied(await around(self._layers, make)(call))

    def _stream(self, call: Call, returns: Any) -> Any:
        async def way(opening: Opening) -> Any:
            async def make(call: Call) -> Any:
                stream = opening.open(self._opened(call, returns))
                return await stream if call.shape == "client_stream" else stream

            return await around(self._layers, make)(call)

        return layered(LayeredClientStream if call.shape == "client_stream" else LayeredStream, way)

    def _opened(self, call: Call, returns: Any) -> Any:
        if call.shape == "server_stream":
            return self._receiving(call.service, call.endpoint, call.request, returns, options_of(call))
        shape, kind = (1, ClientStream) if call.shape == "client_stream" else (3, Stream)
        pipe, encode = self._sending(shape, call.service, call.endpoint, call.request, returns, options_of(call))
        return kind(pipe, encode)

    async def _ask(self, what: str, argument: Any) -> Answer:
        runtime, client = self._open()
        hub = runtime.hub()
        future: asyncio.Future[Answer] = hub.loop.create_future()
        id: int = getattr(client, what)(hub.queue, future, argument)
        self._under_way.add(id)
        try:
            return await future
        except (asyncio.CancelledError, GeneratorExit):
            runtime._native.cancel(id)
            raise
        finally:
            self._under_way.discard(id)

    def _pipe(self, returns: Any, shape: int, request: Terms) -> LoopPipe:
        runtime, client = self._open()
        hub = runtime.hub()
        pipe = LoopPipe(runtime._native, _codec.of_replies(returns, "a reply"), hub.loop)
        self._start(pipe, client.open(hub.queue, pipe, shape, request))
        return pipe

    def server_stream(
        self,
        service: str,
        endpoint: str,
        request: Any = None,
        *,
        returns: type[In] | None = None,
        **options: Unpack[CallOptions],
    ) -> Stream[Any, In]:
        """One request, many replies. There is no timeout unless one is given."""
        if self._layers:
            layered: Stream[Any, In] = self._stream(Call(service, endpoint, request, dict(options), "server_stream"), returns)
            return layered
        return self._receiving(service, endpoint, request, returns, options)

    def client_stream(
        self,
        service: str,
        endpoint: str,
        requests: Iterable[Out] | AsyncIterable[Out] | None = None,
        *,
        returns: type[In] | None = None,
        **options: Unpack[CallOptions],
    ) -> ClientStream[Out, In]:
        """Many requests, one reply: await what this returns. There is no timeout unless one is given.

        Given ``requests``, it sends them by itself. Without, use ``send`` and ``done_sending``. Unless ``codec`` is given,
        messages are what the first request suggests, if it is there already, or else what ``returns`` does; JSON by default.
        """
        if self._layers:
            layered: ClientStream[Out, In] = self._stream(
                Call(service, endpoint, requests, dict(options), "client_stream"), returns
            )
            return layered
        pipe, encode = self._sending(1, service, endpoint, requests, returns, options)
        return ClientStream(pipe, encode)

    def bidi_stream(
        self,
        service: str,
        endpoint: str,
        requests: Iterable[Out] | AsyncIterable[Out] | None = None,
        *,
        returns: type[In] | None = None,
        **options: Unpack[CallOptions],
    ) -> Stream[Out, In]:
        """Many messages each way, at once: read what this returns. The rest is as with :meth:`client_stream`."""
        if self._layers:
            layered: Stream[Out, In] = self._stream(Call(service, endpoint, requests, dict(options), "bidi_stream"), returns)
            return layered
        pipe, encode = self._sending(3, service, endpoint, requests, returns, options)
        return Stream(pipe, encode)

    def _receiving(
        self, service: str, endpoint: str, request: Any, returns: type[In] | None, options: CallOptions
    ) -> Stream[Any, In]:
        if returns is None:
            returns = _codec.answer_of(request, endpoint, options)
        return Stream(self._pipe(returns, 2, unary(service, endpoint, request, options)), sends_nothing)

    def _sending(
        self, shape: int, service: str, endpoint: str, requests: Any, returns: Any, options: CallOptions
    ) -> tuple[LoopPipe, Any]:
        first, requests = peek(requests)
        if returns is None and first is not None:
            returns = _codec.answer_of(first, endpoint, options)
        codec = _codec.stream_codec(options.get("codec"), returns, first)
        encode = _codec.outgoing(codec, returns if first is None else bytes)
        pipe = self._pipe(returns, shape, terms(service, endpoint, b"", codec, options))
        if requests is not None:
            pipe.feeding = asyncio.ensure_future(feed(pipe, encode, requests))
        return pipe, encode

    async def lookup(self, service: str, *, timeout: float | None = None) -> list[Record]:
        """Versions and nodes of a service, as the registry knows them. Raises ``NotFound`` when there is none.

        ``timeout`` is in seconds, here and below: 10 unless given, and no more than the call being served has left.
        """
        return records(await self._asked(question("registry.get", timeout, service=service)))

    async def services(self, *, timeout: float | None = None) -> list[Record]:
        """Every service the registry knows."""
        return records(await self._asked(question("registry.list", timeout)))

    async def register(self, service: Record, *, ttl: float | None = None, timeout: float | None = None) -> None:
        """Adds the nodes of a record to the registry, or refreshes those it knows.

        They live ``ttl`` seconds without another registration; for ever unless it is given. Services do this by themselves.
        """
        await self._asked(question("registry.register", timeout, service=document_of(service), ttl=milliseconds(ttl)))

    async def deregister(self, service: Record, *, timeout: float | None = None) -> None:
        """Removes the nodes of a record from the registry; those it does not know are no error."""
        await self._asked(question("registry.deregister", timeout, service=document_of(service)))

    async def health(self, service: str, *, timeout: float | None = None) -> list[Health]:
        """Asks each node of a service whether it wants calls."""
        return healths(await self._asked(question("client.health", timeout, service=service)))

    async def nodes(self, service: str, *, timeout: float | None = None) -> list[KnownNode]:
        """The nodes of a service that this client chooses from, with what it has seen of each."""
        return known_nodes(await self._asked(question("client.nodes", timeout, service=service)))

    async def stats(self, *, timeout: float | None = None) -> Any:
        """What this client has seen so far: calls, failures and latencies by endpoint."""
        return json.loads(bytes(await self._asked(question("client.stats", timeout))))

    async def watch(self, service: str = "", *, timeout: float | None = None) -> Stream[Any, Change]:
        """What changes of a service, or of all, from now on: an async iterator. ``timeout`` is for its beginning."""
        asked = question("registry.watch", timeout, service=service or None)
        runtime, client = self._open()
        hub = runtime.hub()
        pipe = LoopPipe(runtime._native, lambda payload, _: change(payload), hub.loop)
        self._start(pipe, client.follow(hub.queue, pipe, asked))
        watch: Stream[Any, Change] = Stream(pipe, sends_nothing)
        # Its end comes with headers too.
        while not pipe.check() and pipe.headers is None:
            await pipe.wait()
        return watch

    async def publish(self, topic: str, message: Any, **options: Unpack[PublishOptions]) -> None:
        """Publishes a message to ``topic``, with the broker of this client; returns once it is as safe as that makes messages.

        A message is what a request can be. Inside of a handler, trace and metadata of what is handled go along.
        """
        await self._ask("publish", publication(topic, message, options))

    async def task(self, topic: str, message: Any, **options: Unpack[PublishOptions]) -> str:
        """Sends a message whose answer can be asked for, and returns its id. :meth:`Service.task` works it off.

        As :meth:`publish`, with a broker that keeps messages, such as ``durable://``.
        """
        return bytes((await self._ask("publish", task(topic, message, options)))[0]).decode()

    async def task_result(self, id: str, *, returns: type[T] | None = None, timeout: float | None = None) -> T:
        """Waits for the answer of a task, whichever process sent it, for 10 s unless ``timeout`` says otherwise.

        Raises ``DeadlineExceeded`` where there is none by then: it may come later. The error of its last attempt, where it was
        given up. It is kept for a day.
        """
        read = _codec.of_replies(returns, "the answer")
        payload, flags, _ = await self._ask("ask", question("task.result", timeout, id=id))
        answer: T = read(payload, flags)
        return answer

    async def task_state(self, id: str, *, timeout: float | None = None) -> TaskState:
        """How far a task has come. One whose results are kept no longer is told as queued."""
        return state(await self._asked(question("task.state", timeout, id=id)))

    async def subscribe(
        self,
        topic: str,
        *,
        returns: type[T] | None = None,
        queue: str | None = None,
        start: Literal["new", "first"] | int | datetime | Mapping[str, Any] | None = None,
        max_in_flight: int | None = None,
        max_attempts: int | None = None,
        lease: float | timedelta | None = None,
        dead_letters: str | None = None,
        timeout: float | None = None,
    ) -> Stream[Any, Delivery[T]]:
        """Takes the messages of ``topic``: an async iterator of :class:`micro.Delivery`, each of which says what became of it.
        Services rather use :meth:`Service.subscribe`.

        ::

            async with await client.subscribe("orders", queue="billing", returns=Order) as orders:
                async for delivery in orders:
                    with delivery:
                        bill(delivery.message)

        The options are those of a subscriber. ``max_in_flight`` messages are here and not settled; each is to be settled
        within its ``lease``, or extended. Those that are not settled when this ends are another's. ``timeout`` is for its
        beginning.
        """
        asked = question(
            "broker.subscribe",
            timeout,
            topic=name_of("topic", topic),
            queue=queue,
            start=start_of(start),
            max_in_flight=max_in_flight,
            max_attempts=max_attempts,
            lease=lease_of(lease),
            dead_letters=dead_letters,
        )
        runtime, client = self._open()
        hub = runtime.hub()
        pipe = LoopDeliveries(runtime._native, taking(runtime._native, returns), hub.loop)
        self._start(pipe, client.follow(hub.queue, pipe, asked))
        stream: Stream[Any, Delivery[T]] = Stream(pipe, sends_nothing)
        # Its end comes with headers too.
        while not pipe.check() and pipe.headers is None:
            await pipe.wait()
        return stream

    async def _asked(self, asked: Question) -> Any:
        return (await self._ask("ask", asked))[0]
