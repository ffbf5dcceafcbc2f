"""The server's part: one service at a time, and one interpreter of plans behind its endpoints."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

import micro
import questions
from adapter import Fields, Key, Line, failure, pattern, shown, tell, value_of
from micro import errors


class Server:
    """Keys outlive services."""

    def __init__(self) -> None:
        self.keys: dict[str, Key] = {}
        self.lock = threading.Lock()
        self.loop = asyncio.get_running_loop()
        self.service: micro.Service | None = None
        self.tasks: set[asyncio.Task[None]] = set()

    def key(self, name: str) -> Key:
        with self.lock:
            return self.keys.setdefault(name, Key())

    def at_once(self, line: Line) -> bool:
        """What must not wait for a loop that a handler blocks."""
        if line.verb != "release":
            return False
        key = self.key(line.get("key"))
        key.released.set()
        self.loop.call_soon_threadsafe(key.event.set)
        tell("ok", [("id", line.get("id"))])
        return True

    def do(self, line: Line) -> None:
        id: Fields = [("id", line.get("id"))]
        if line.verb == "counts":
            tell("counts", id + list(self.key(line.get("key")).counts.items()))
        elif line.verb == "health":
            if self.service is not None:
                self.service.set_health(line.get("serving") == "true")
            tell("ok", id)
        elif line.verb == "ping":
            tell("ok", id)
        else:
            work = {"start": self.start, "stop": self.stop, "ask": self.ask}[line.verb]
            task = asyncio.ensure_future(work(line, id))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def start(self, line: Line, id: Fields) -> None:
        service = micro.Service(line.get("service"), **line.settings())
        handlers = Handlers(self, service, line.get("tag"))
        try:
            handlers.add(line)
            await service.start()
        except errors.Error as error:
            tell("failed", id + failure(error))
            return
        self.service = service
        tell("started", [*id, ("address", service.address)])

    async def ask(self, line: Line, id: Fields) -> None:
        try:
            if self.service is None:
                raise errors.FailedPrecondition("no service runs")
            answer = await self.service.stats()
        except errors.Error as error:
            tell("result", id + failure(error))
        else:
            tell("result", [*id, ("code", 0), *questions.told(answer)])

    async def stop(self, line: Line, id: Fields) -> None:
        service, self.service = self.service, None
        try:
            if service is not None:
                await service.stop()
        except errors.Error as error:
            tell("failed", id + failure(error))
        else:
            tell("ok", id)


@dataclass
class Part:
    part_no: int


@dataclass
class Order:
    """A type as a program in Python has it."""

    order_id: int
    buyer: str = ""
    order_parts: list[Part] = field(default_factory=list)


async def order(request: Order) -> str:
    return f"{request.order_id} {request.buyer} {','.join(str(part.part_no) for part in request.order_parts)}"


class Handlers:
    """The endpoints of one service."""

    def __init__(self, server: Server, service: micro.Service, tag: str) -> None:
        self.server, self.service, self.tag = server, service, tag

    def add(self, line: Line) -> None:
        for name in line.all("layer"):
            self.service.use(layer(name))
        for name in ("Echo", "Do", "Count", "Sum", "Chat"):
            handler = getattr(self, "do" if name in ("Echo", "Do") else name.lower())
            settings = line.settings(f"endpoint.{name}")
            self.service.endpoint(f"Conformance.{name}", **settings)(handler)
        self.service.endpoint("Conformance.Order", internal=True)(order)
        for name, settings in line.fields:
            if name.startswith("subscriber."):
                self.service.subscribe(name.removeprefix("subscriber."), **json.loads(settings))(self.message)
            elif name.startswith("task."):
                self.service.task(name.removeprefix("task."), **json.loads(settings))(self.do)
            elif name.startswith("job."):
                options = json.loads(settings)
                self.service.every(options.pop("every"), **options)(ran)

    async def message(self, body: bytes, context: micro.Context) -> None:
        await self.do(body, context)

    async def do(self, request: bytes, context: micro.Context) -> bytes | None:
        turn = Turn(self, context, request)
        async for _ in turn.run():
            raise errors.InvalidArgument("no stream of replies")
        return None if turn.forgets else turn.payload

    async def count(self, request: bytes, context: micro.Context) -> AsyncIterator[bytes]:
        async for message in Turn(self, context, request).run():
            yield message

    async def sum(self, requests: AsyncIterator[bytes], context: micro.Context) -> bytes | None:
        turn = Turn(self, context, b"", requests)
        async for _ in turn.run():
            raise errors.InvalidArgument("no stream of replies")
        context.set_trailer("received", str(turn.received))
        return None if turn.forgets else turn.payload

    async def chat(self, requests: AsyncIterator[bytes], context: micro.Context) -> AsyncIterator[bytes]:
        async for message in Turn(self, context, b"", requests).run(echo=True):
            yield message


async def ran(context: micro.Context) -> None:
    """Tells of each run."""
    assert context.job is not None
    tell("event", [("name", "said"), ("key", context.job.job), *shown(str(context.job.attempt).encode())])


def layer(name: str) -> Any:
    """Middleware, as the README says."""

    async def around(request: Any, context: micro.Context, call_next: Any) -> Any:
        context.set_header("layer", name)
        if context.metadata.get("refuse") == name:
            raise errors.PermissionDenied(f"refused by {name}")
        if context.metadata.get("answer") == name:
            return name.encode()
        try:
            return await call_next()
        finally:
            context.set_trailer("layer-end", name)

    return around


class Turn:
    """One call being handled."""

    def __init__(
        self, handlers: Handlers, context: micro.Context, payload: bytes, requests: AsyncIterator[bytes] | None = None
    ) -> None:
        self.handlers, self.context, self.payload, self.requests = handlers, context, payload, requests
        self.key: Key | None = None
        self.key_name = ""
        self.received = 0
        self.forgets = False
        self.plan: list[tuple[str, str]] = []
        for action in str(context.metadata.get("do", "")).split(";"):
            name, _, value = action.partition("=")
            if name:
                self.plan.append((name, unquote_to_bytes(value).decode()))

    def event(self, name: str) -> None:
        tell("event", [("name", name), ("key", self.key_name)])

    async def run(self, echo: bool = False) -> AsyncIterator[bytes]:
        """Runs the plan, then takes the messages that are left; gives the replies of a stream."""
        over = False
        try:
            self.first()
            async for message in self.act():
                yield message
                self.counted("sent")
            async for message in self.receive(None):
                if echo:
                    yield message
                    self.counted("sent")
            over = True
        except errors.Cancelled:
            raise
        except errors.Error:
            over = True
            raise
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException:
            over = True
            raise
        finally:
            if not over and self.key is not None:
                self.counted("cancelled")
                self.event("cancelled")

    def counted(self, what: str) -> int:
        if self.key is None:
            return 0
        self.key.counts[what] += 1
        return self.key.counts[what]

    def first(self) -> None:
        for action, value in self.plan:
            if action.startswith("header."):
                name = action.removeprefix("header.")
                self.context.set_header(name, value_of(name, value))
            elif action == "tag":
                self.context.set_header("tag", self.handlers.tag)
            elif action == "key":
                self.key, self.key_name = self.handlers.server.key(value), value

    def held(self) -> Key:
        if self.key is None:
            raise errors.InvalidArgument("the plan needs a key for this")
        return self.key

    async def act(self) -> AsyncIterator[bytes]:
        number = self.counted("calls")
        fail: dict[str, Any] = {"details": []}
        size, fill, following, times = None, 0, "", math_inf
        args: dict[str, Any] = {}
        for action, value in self.plan:
            if action in ("key", "tag") or action.startswith("header."):
                continue
            if action == "tell":
                if int(value) == number:
                    self.event("reached")
            elif action == "begin":
                self.context.send_headers()
            elif action == "report":
                self.payload = self.report(value).encode()
            elif action == "size":
                size = int(value)
            elif action == "fill":
                fill = int(value)
            elif action == "sleep":
                await asyncio.sleep(int(value) / 1000)
            elif action == "hold":
                key = self.held()
                self.event("held")
                await key.event.wait()
            elif action == "block":
                key = self.held()
                self.event("held")
                key.released.wait()
            elif action == "next":
                following = value
            elif action == "publish":
                client = self.handlers.service.client
                await client.publish(value, bytes(self.payload), codec="bytes", metadata={"do": following})
            elif action == "say":
                tell("event", [("name", "said"), ("key", self.key_name), *shown(self.payload)])
            elif action == "call":
                client = self.handlers.service.client
                self.payload = await client.call(
                    value, "Conformance.Do", self.payload, codec="bytes", metadata={"do": following}, returns=bytes
                )
            elif action == "args":
                args = json.loads(value)
            elif action == "ask":
                answer = await questions.ask(self.handlers.service.client, value, args, math_inf)
                self.payload = json.dumps(answer).encode()
            elif action == "messages":
                message = self.payload if size is None else pattern(size, fill)
                for _ in range(int(value)):
                    yield message
            elif action == "receive":
                async for _ in self.receive(int(value)):
                    pass
            elif action == "times":
                times = int(value)
            elif action in ("detail", "error_id", "http"):
                fail[action] = value
            elif action.startswith("attach."):
                url = f"type.googleapis.com/{action.removeprefix('attach.')}"
                fail["details"].append(micro.Detail(url, value.encode()))
            elif action == "fail":
                if number <= times:
                    raise failing(value, fail)
            elif action == "panic":
                raise RuntimeError(value)
            elif action == "forget":
                self.forgets = True
                return
            elif action.startswith("trailer."):
                name = action.removeprefix("trailer.")
                self.context.set_trailer(name, value_of(name, value))
            else:
                raise errors.InvalidArgument(f"no action `{action}`")
        if size is not None:
            self.payload = pattern(size, fill)

    async def receive(self, most: int | None) -> AsyncIterator[bytes]:
        while self.requests is not None and (most is None or most > 0):
            try:
                message = await anext(self.requests)
            except StopAsyncIteration:
                return
            self.received += 1
            self.counted("received")
            self.payload = message
            most = None if most is None else most - 1
            yield message

    def report(self, what: str) -> str:
        if what == "metadata":
            own = [(name, value) for name, value in self.context.metadata.pairs if name.startswith("test-")]
            return "".join(f"{name}: {encoded(value)}\n" for name, value in own)
        if what == "deadline":
            left = self.context.remaining
            return "none" if left is None else str(int(left * 1000))
        if what == "delivery":
            if self.context.delivery is None:
                raise errors.InvalidArgument("this is no message")
            known = self.context.delivery.delivered
            return f"{known.topic} {known.attempt} {known.key or '-'} {known.id or '-'} {known.priority}"
        if what == "caller":
            return self.context.caller or ""
        if what == "endpoint":
            return self.context.endpoint or ""
        raise errors.InvalidArgument(f"nothing known of `{what}`")


def encoded(value: str | bytes) -> str:
    import base64

    return base64.b64encode(value).decode().rstrip("=") if isinstance(value, bytes) else value


def failing(code: str, fail: dict[str, Any]) -> errors.Error:
    detail, id, http = fail.get("detail", ""), fail.get("error_id", ""), int(fail.get("http", 0))
    if http:
        return errors.Error(detail, id=id, http=http, details=fail["details"])
    kind = errors.class_of(int(code))
    return kind(detail, id=id, details=fail["details"])


math_inf = float("inf")

__all__ = ["Server", "os"]
