"""The same for threads: calls that block, streams as plain iterators, services that run beside the program.

Any thread may use a client. While one waits, the others run.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from . import _codec
from ._client import BaseClient
from ._errors import Closed, Internal, Stale
from ._jobs import JobStatus, statuses
from ._messages import Delivery, QueueDeliveries, lease_of, publication, start_of, taking
from ._middleware import Call, Layer, around_on_thread, checked, is_async
from ._options import CallOptions, PublishOptions, ServiceOptions, name_of
from ._pipe import QueuePipe
from ._provide_on_thread import Provided, provide
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
from ._runtime import Runtime
from ._service import Service as _Service
from ._stream_on_thread import LayeredStream, Stream
from ._streams import peek
from ._stub import Stub
from ._terms import Answer, Reply, Terms, options_of, replied, reply, sends_nothing, terms, unary
from ._threads import IncomingRequests as Requests
from ._threads import Slot
from ._work import TaskState, state, task

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from typing import Unpack

L = TypeVar("L", bound=Layer)
T = TypeVar("T")

__all__ = ["Client", "Provided", "Requests", "Service", "Stream", "Stub", "provide"]


class Client(BaseClient):
    """Calls services by name, and waits for the answer. See :class:`micro.Client`, whose twin this is.

    ::

        with micro.sync.Client() as client:
            reply = client.call("greeter", "Greeter.Hello", {"name": "Ada"}, timeout=2)
    """

    def __enter__(self) -> Client:
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cancels what is under way. Harmless when repeated."""
        self._close()

    @overload
    def call(
        self,
        service: str,
        endpoint: str,
        request: Any = None,
        *,
        returns: type[T],
        **options: Unpack[CallOptions],
    ) -> T: ...

    @overload
    def call(
        self,
        service: str,
        endpoint: str,
        request: Any = None,
        *,
        returns: None = None,
        **options: Unpack[CallOptions],
    ) -> Any: ...

    def call(
        self,
        service: str,
        endpoint: str,
        request: Any = None,
        *,
        returns: Any = None,
        **options: Unpack[CallOptions],
    ) -> Any:
        """Makes a call and returns the reply."""
        if self._layers:
            return self._through(Call(service, endpoint, request, dict(options), "unary"), returns).message
        read = _codec.answering(returns, request, endpoint, options)
        payload, flags, _ = self._ask("call", unary(service, endpoint, request, options))
        return read(payload, flags)

    def request(
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
            return self._through(Call(service, endpoint, request, dict(options), "unary"), returns)
        read = _codec.answering(returns, request, endpoint, options)
        return reply(self._ask("call", unary(service, endpoint, request, options)), read)

    def use(self, middleware: L) -> L:
        """Puts a function around every call from here on: ``def middleware(call, call_next)``, also as a decorator.

        ``call`` is a :class:`micro.Call`, which it may change. ``call_next()`` goes on and gives the :class:`micro.Reply`; for
        streams, an iterator of replies, and for ``client_stream`` the one reply. It returns that, or something else like it.
        What it raises is what the call ends with. The first one given is the outermost.
        """
        if is_async(checked(middleware, "the middleware of a client")):
            raise TypeError("the middleware of a client that blocks is `async def`: give a plain function")
        self._layers.append(middleware)
        return middleware

    def _through(self, call: Call, returns: Any) -> Reply[Any]:
        def make(call: Call) -> Any:
            options = options_of(call)
            read = _codec.answering(returns, call.request, call.endpoint, options)
            return reply(self._ask("call", unary(call.service, call.endpoint, call.request, options)), read)

        return replied(around_on_thread(self._layers, make)(call))

    def _layered(self, call: Call, returns: Any) -> Stream[Any, Any]:
        opened: list[Stream[Any, Any]] = []

        def make(call: Call) -> Any:
            opened.append(self._opened(call, returns))
            return opened[-1]

        return LayeredStream(around_on_thread(self._layers, make)(call), opened)

    def _opened(self, call: Call, returns: Any) -> Stream[Any, Any]:
        options = options_of(call)
        if call.shape == "server_stream":
            if returns is None:
                returns = _codec.answer_of(call.request, call.endpoint, options)
            return Stream(self._pipe(returns, 2, unary(call.service, call.endpoint, call.request, options)), sends_nothing)
        codec = _codec.stream_codec(options.get("codec"), returns, None)
        pipe = self._pipe(returns, 3, terms(call.service, call.endpoint, b"", codec, options))
        return Stream(pipe, _codec.outgoing(codec, returns))

    def _ask(self, what: str, argument: Any) -> Answer:
        runtime, client = self._open()
        queue, slot = runtime.queue(), Slot()
        id: int = getattr(client, what)(queue, slot, argument)
        self._under_way.add(id)
        try:
            # Half a second of Python's own, because signals are only seen in between.
            while not slot.done():
                queue.wait(0.5)
                if not queue.is_open and not slot.done():
                    queue.drain()
                    slot.error = slot.error or (None if slot.done() else Closed("the runtime is closed"))
        except BaseException:
            runtime._native.cancel(id)
            raise
        finally:
            self._under_way.discard(id)
        if slot.error is not None:
            raise slot.error
        assert slot.answer is not None
        return slot.answer

    def _pipe(self, returns: Any, shape: int, request: Terms) -> QueuePipe:
        runtime, client = self._open()
        queue = runtime.new_queue()
        pipe = QueuePipe(runtime._native, _codec.of_replies(returns, "a reply"), queue)
        self._start(pipe, client.open(queue, pipe, shape, request))
        return pipe

    def server_stream(
        self,
        service: str,
        endpoint: str,
        request: Any = None,
        *,
        returns: type[T] | None = None,
        **options: Unpack[CallOptions],
    ) -> Stream[Any, T]:
        """One request, many replies. There is no timeout unless one is given."""
        call = Call(service, endpoint, request, dict(options), "server_stream")
        return self._layered(call, returns) if self._layers else self._opened(call, returns)

    def client_stream(
        self,
        service: str,
        endpoint: str,
        requests: Iterable[Any],
        *,
        returns: type[T] | None = None,
        **options: Unpack[CallOptions],
    ) -> T:
        """Many requests, one reply, which this returns. There is no timeout unless one is given."""
        call = Call(service, endpoint, requests, dict(options), "client_stream")
        make: Callable[[Call], T] = lambda call: self._joined(call, returns)  # noqa: E731
        return around_on_thread(self._layers, make)(call)  # type: ignore[no-any-return]

    def _joined(self, call: Call, returns: type[T] | None) -> T:
        service, endpoint, requests, options = call.service, call.endpoint, call.request, options_of(call)
        first, outgoing = peek(requests)
        if returns is None and first is not None:
            returns = _codec.answer_of(first, endpoint, options)
        codec = _codec.codec_of(options.get("codec"), first)
        pipe = self._pipe(returns, 1, terms(service, endpoint, b"", codec, options))
        stream: Stream[Any, T] = Stream(pipe, _codec.outgoing(codec, returns if first is None else bytes))
        # What is wrong with the requests ends it, even while the program keeps the exception.
        with stream:
            try:
                for request in outgoing:
                    stream.send(request)
            except (Stale, Closed):
                # The far side has ended it, and what comes next says how.
                pass
            stream.done_sending()
            for message in stream:
                return message
        raise Internal("the stream ended without a reply", id="micro")

    def bidi_stream(
        self,
        service: str,
        endpoint: str,
        *,
        returns: type[T] | None = None,
        **options: Unpack[CallOptions],
    ) -> Stream[Any, T]:
        """Many messages each way: use ``send``, ``done_sending`` and iteration, from one thread."""
        call = Call(service, endpoint, None, dict(options), "bidi_stream")
        return self._layered(call, returns) if self._layers else self._opened(call, returns)

    def lookup(self, service: str, *, timeout: float | None = None) -> list[Record]:
        """Versions and nodes of a service, as the registry knows them. Raises ``NotFound`` when there is none."""
        return records(self._asked(question("registry.get", timeout, service=service)))

    def services(self, *, timeout: float | None = None) -> list[Record]:
        """Every service the registry knows."""
        return records(self._asked(question("registry.list", timeout)))

    def register(self, service: Record, *, ttl: float | None = None, timeout: float | None = None) -> None:
        """Adds the nodes of a record to the registry, or refreshes those it knows, for ``ttl`` seconds."""
        self._asked(question("registry.register", timeout, service=document_of(service), ttl=milliseconds(ttl)))

    def deregister(self, service: Record, *, timeout: float | None = None) -> None:
        """Removes the nodes of a record from the registry; those it does not know are no error."""
        self._asked(question("registry.deregister", timeout, service=document_of(service)))

    def health(self, service: str, *, timeout: float | None = None) -> list[Health]:
        """Asks each node of a service whether it wants calls."""
        return healths(self._asked(question("client.health", timeout, service=service)))

    def nodes(self, service: str, *, timeout: float | None = None) -> list[KnownNode]:
        """The nodes of a service that this client chooses from, with what it has seen of each."""
        return known_nodes(self._asked(question("client.nodes", timeout, service=service)))

    def stats(self, *, timeout: float | None = None) -> Any:
        """What this client has seen so far: calls, failures and latencies by endpoint."""
        return json.loads(bytes(self._asked(question("client.stats", timeout))))

    def watch(self, service: str = "", *, timeout: float | None = None) -> Stream[Any, Change]:
        """What changes of a service, or of all, from now on: an iterator. ``timeout`` is for its beginning."""
        asked = question("registry.watch", timeout, service=service or None)
        runtime, client = self._open()
        queue = runtime.new_queue()
        pipe = QueuePipe(runtime._native, lambda payload, _: change(payload), queue)
        self._start(pipe, client.follow(queue, pipe, asked))
        stream: Stream[Any, Change] = Stream(pipe, sends_nothing)
        # Its end comes with headers too.
        while not pipe.check() and pipe.headers is None:
            pipe.wait(pipe._version)
        return stream

    def publish(self, topic: str, message: Any, **options: Unpack[PublishOptions]) -> None:
        """Publishes a message to ``topic``, with the broker of this client; returns once it is as safe as that makes messages.

        A message is what a request can be. Inside of a handler, trace and metadata of what is handled go along.
        """
        self._ask("publish", publication(topic, message, options))

    def task(self, topic: str, message: Any, **options: Unpack[PublishOptions]) -> str:
        """Sends a message whose answer can be asked for, and returns its id. :meth:`Service.task` works it off.

        As :meth:`publish`, with a broker that keeps messages, such as ``durable://``.
        """
        return bytes((self._ask("publish", task(topic, message, options)))[0]).decode()

    def task_result(self, id: str, *, returns: type[T] | None = None, timeout: float | None = None) -> T:
        """Waits for the answer of a task, whichever process sent it, for 10 s unless ``timeout`` says otherwise.

        Raises ``DeadlineExceeded`` where there is none by then: it may come later. The error of its last attempt, where it was
        given up. It is kept for a day.
        """
        read = _codec.of_replies(returns, "the answer")
        payload, flags, _ = self._ask("ask", question("task.result", timeout, id=id))
        answer: T = read(payload, flags)
        return answer

    def task_state(self, id: str, *, timeout: float | None = None) -> TaskState:
        """How far a task has come. One whose results are kept no longer is told as queued."""
        return state(self._asked(question("task.state", timeout, id=id)))

    def subscribe(
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
        """Takes the messages of ``topic``: an iterator of :class:`micro.Delivery`, each of which says what became of it.
        Services rather use :meth:`Service.subscribe`.

        ::

            with client.subscribe("orders", queue="billing", returns=Order) as orders:
                for delivery in orders:
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
        queue_of_its_own = runtime.new_queue()
        pipe = QueueDeliveries(runtime._native, taking(runtime._native, returns), queue_of_its_own)
        self._start(pipe, client.follow(queue_of_its_own, pipe, asked))
        stream: Stream[Any, Delivery[T]] = Stream(pipe, sends_nothing)
        # Its end comes with headers too.
        while not pipe.check() and pipe.headers is None:
            pipe.wait(pipe._version)
        return stream

    def _asked(self, asked: Question) -> Any:
        return self._ask("ask", asked)[0]


class Service(_Service):
    """A service that runs beside the program, on an event loop of its own thread: ``start`` and ``stop`` block.

    Handlers may be of either kind, as with :class:`micro.Service`.
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
        super().__init__(name, threads=threads, stream_threads=stream_threads, runtime=runtime, argv=argv, **options)
        self._thread: threading.Thread | None = None
        self._shared: tuple[Any, Client] | None = None

    @property
    def client(self) -> Client:  # type: ignore[override]
        """A client that shares the service's registry and calls in its name, while it runs."""
        running = self._up()
        if self._shared is None or self._shared[0] is not running:
            client = Client(runtime=running.runtime)
            client._runtime, client._client = running.runtime, running.server.client()
            self._shared = running, client
        return self._shared[1]

    def start(self) -> None:  # type: ignore[override]
        """Listens and registers; returns when callers may come."""
        ready = threading.Event()
        failed: list[BaseException] = []

        async def serve() -> None:
            try:
                await _Service.start(self)
            except BaseException as error:
                failed.append(error)
                return
            finally:
                ready.set()
            await _Service.wait(self)

        thread = threading.Thread(target=lambda: asyncio.run(serve()), name=f"micro {self.name}", daemon=True)
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                raise RuntimeError(f"{self.name} runs already: stop it first")
            self._thread = thread
            thread.start()
        ready.wait()
        if failed:
            thread.join()
            raise failed[0]

    def stop(self) -> None:  # type: ignore[override]
        """Deregisters, finishes running calls within ``grace``, and returns when that is done. Harmless when repeated."""
        running = self._running
        if running is not None:
            running.stopping = True
            running.stop()
        self.wait()

    def wait(self) -> None:  # type: ignore[override]
        """Returns when the service is over."""
        thread = self._thread
        # A handler that stops its own service does not wait for itself.
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def stats(self, *, timeout: float | None = None) -> Any:
        """What the service has seen so far: calls by caller and endpoint, running calls, calls it refused."""
        return json.loads(bytes(self.client._asked(question("service.stats", timeout))))

    def jobs(self, *, timeout: float | None = None) -> list[JobStatus]:  # type: ignore[override]
        """The jobs of the service: when each runs next, and what became of its last runs."""
        return statuses(self.client._asked(question("service.jobs", timeout)))

    def __enter__(self) -> Service:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
