"""The client's part: one client at a time, and any number of calls and streams at once."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from typing import Any

import micro
import questions
from adapter import Fields, Line, failure, metadata, shown, tell, value_of
from micro import errors


class Client:
    """Calls by their ids."""

    def __init__(self) -> None:
        self.client: micro.Client | None = None
        self.calls: dict[str, Any] = {}
        self.provided: list[micro.Provided] = []

    def at_once(self, line: Line) -> bool:
        return False

    def do(self, line: Line) -> None:
        id = line.get("id")
        work = {
            "start": self.start,
            "call": self.call,
            "publish": self.publish,
            "open": self.open,
            "many": self.many,
            "ask": self.ask,
            "follow": self.follow,
            "provide": self.provide,
            "stop": self.stop,
        }.get(line.verb)
        if work is not None:
            self.spawn(id if line.verb not in ("start", "stop", "provide") else f"{line.verb} {id}", work(line))
        elif line.verb == "ping":
            tell("ok", [("id", id)])
        elif id in self.calls:
            self.calls[id].told(line)
        elif line.verb == "send":
            tell("unsent", [("id", id)])

    def spawn(self, id: str, work: Any) -> None:
        call = Call(id)
        self.calls[id] = call
        call.task = asyncio.ensure_future(work)
        call.task.add_done_callback(lambda task: self.ended(id, task))

    def ended(self, id: str, task: asyncio.Task[None]) -> None:
        self.calls.pop(id, None)
        if task.cancelled():
            # It had not begun, so nothing else has told the result.
            result(id, [("code", 1)], time.monotonic())

    async def start(self, line: Line) -> None:
        id: Fields = [("id", line.get("id"))]
        try:
            client = micro.Client(**line.settings())
            for name in line.all("layer"):
                client.use(layer(name))
            await client.__aenter__()
        except errors.Error as error:
            tell("failed", id + failure(error))
            return
        self.client = client
        tell("ok", id)

    async def provide(self, line: Line) -> None:
        id: Fields = [("id", line.get("id"))]
        try:
            self.provided.append(micro.provide(line.get("name"), questions.registry()))
        except errors.Error as error:
            tell("failed", id + failure(error))
        else:
            tell("ok", id)

    async def stop(self, line: Line) -> None:
        mine = asyncio.current_task()
        running = [call.task for call in self.calls.values() if call.task is not mine]
        if self.client is not None:
            await self.client.close()
        for call in list(self.calls.values()):
            if call.task is not mine:
                call.cancel()
        if running:
            await asyncio.wait(running)
        tell("ok", [("id", line.get("id"))])

    def terms(self, line: Line) -> tuple[str, str, dict[str, Any]]:
        settings = line.settings()
        if settings.get("timeout", "") is None:
            settings["timeout"] = math.inf
        if isinstance(known := settings.get("metadata"), dict):
            settings["metadata"] = [
                (name, value_of(name, value))
                for name, values in known.items()
                for value in ([values] if isinstance(values, str) else values)
            ]
        return line.get("service"), line.get("endpoint"), settings

    def up(self) -> micro.Client:
        if self.client is None:
            raise errors.FailedPrecondition("no client was started")
        return self.client

    async def call(self, line: Line) -> None:
        begun = time.monotonic()
        service, endpoint, settings = self.terms(line)
        fields: Fields
        try:
            request = self.up().request(service, endpoint, line.payload(), returns=bytes, **settings)
            reply = await request
        except asyncio.CancelledError:
            fields = [("code", 1)]
        except errors.Error as error:
            fields = failed(error)
        else:
            fields = [
                ("code", 0),
                *shown(reply.message),
                *metadata("h.", reply.headers),
                *metadata("t.", reply.trailers),
            ]
        result(line.get("id"), fields, begun)

    async def publish(self, line: Line) -> None:
        begun = time.monotonic()
        fields: Fields = [("code", 0)]
        try:
            given: dict[str, Any] = {"codec": "bytes", "metadata": {"do": line.get("do")}, **line.settings()}
            if line.get("task"):
                id = await self.up().task(line.get("topic"), line.payload(), **given)
                fields += shown(await self.up().task_result(id, returns=bytes))
            else:
                await self.up().publish(line.get("topic"), line.payload(), **given)
        except asyncio.CancelledError:
            fields = [("code", 1)]
        except errors.Error as error:
            fields = failure(error)
        result(line.get("id"), fields, begun)

    async def open(self, line: Line) -> None:
        begun, id = time.monotonic(), line.get("id")
        service, endpoint, settings = self.terms(line)
        settings.setdefault("codec", "proto") if "content_type" not in settings else None
        kind, call = line.get("kind"), self.calls[id]
        try:
            client = self.up()
            if kind == "server":
                stream: Any = client.server_stream(service, endpoint, line.payload(), returns=bytes, **settings)
            elif kind == "client":
                stream = client.client_stream(service, endpoint, returns=bytes, **settings)
            else:
                stream = client.bidi_stream(service, endpoint, returns=bytes, **settings)
        except errors.Error as error:
            result(id, failed(error), begun)
            return
        tell("opened", [("id", id)])
        try:
            fields = await call.run(stream, kind)
        finally:
            call.over()
        result(id, fields, begun)

    async def many(self, line: Line) -> None:
        begun, payload = time.monotonic(), line.payload()
        service, endpoint, settings = self.terms(line)
        left, found = iter(range(line.number("count"))), Counter[str]()

        async def work() -> None:
            for _ in left:
                try:
                    reply = await self.up().request(service, endpoint, payload, returns=bytes, **settings)
                except errors.Error as error:
                    found[f"failed.{int(error.code)}"] += 1
                    continue
                found["ok" if reply.message == payload else "wrong"] += 1
                if tag := reply.headers.get("tag"):
                    found[f"tag.{tag!s}"] += 1

        try:
            await asyncio.gather(*(work() for _ in range(line.number("concurrency", 1))))
            fields: Fields = [("code", 0), ("ok", found.pop("ok", 0)), ("wrong", found.pop("wrong", 0)), *found.items()]
        except asyncio.CancelledError:
            fields = [("code", 1)]
        result(line.get("id"), fields, begun)

    async def ask(self, line: Line) -> None:
        begun = time.monotonic()
        args, timeout = questions.arguments(line)
        fields: Fields
        try:
            answer = await questions.ask(self.up(), line.get("operation"), args, timeout)
        except asyncio.CancelledError:
            fields = [("code", 1)]
        except errors.Error as error:
            fields = failure(error)
        else:
            fields = [("code", 0), *questions.told(answer)]
        result(line.get("id"), fields, begun)

    async def follow(self, line: Line) -> None:
        begun, id = time.monotonic(), line.get("id")
        args, timeout = questions.arguments(line)
        call = self.calls[id]
        try:
            call.stream = await questions.watch(self.up(), args, timeout)
        except asyncio.CancelledError:
            result(id, [("code", 1)], begun)
            return
        except errors.Error as error:
            result(id, failure(error), begun)
            return
        tell("opened", [("id", id)])
        fields: Fields = [("code", 0)]
        try:
            async for change in call.stream:
                if not await call.wanted.get():
                    raise errors.Cancelled("cancelled")
                tell("change", [("id", id), *questions.told(questions.change(change))])
        except errors.Error as error:
            fields = failure(error)
        result(id, fields, begun)


def layer(name: str) -> Any:
    """Middleware, as the README says."""

    async def around(call: micro.Call, call_next: Any) -> Any:
        given = list(call.options.get("metadata") or ())
        if ("refuse", name) in given:
            raise errors.PermissionDenied(f"refused by {name}")
        if ("answer", name) in given:
            return micro.Reply(name.encode())
        call.options["metadata"] = [*given, ("test-layer", name)]
        return await call_next()

    return around


class Call:
    """A call or a stream that is under way, and what it is told meanwhile."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.task: Any = None
        self.stream: Any = None
        self.sends: asyncio.Queue[Line | None] = asyncio.Queue()
        self.wanted: asyncio.Queue[bool] = asyncio.Queue()
        self.sending: asyncio.Task[None] | None = None
        self.telling: asyncio.Task[None] | None = None
        self.cancelled = False

    def told(self, line: Line) -> None:
        if line.verb in ("send", "close"):
            self.sends.put_nowait(line)
        elif line.verb == "headers":
            self.telling = asyncio.ensure_future(self.tell_headers())
        elif line.verb == "recv":
            self.wanted.put_nowait(True)
        elif line.verb == "cancel":
            self.cancel()

    def cancel(self) -> None:
        self.cancelled = True
        if self.stream is not None:
            self.stream.cancel()
            self.wanted.put_nowait(False)
        else:
            self.task.cancel()

    async def run(self, stream: Any, kind: str) -> Fields:
        """Reads as it is asked to. Ends when the stream does and every message has been told."""
        self.stream = stream
        self.sending = asyncio.ensure_future(self.send_all(stream))
        fields: Fields = [("code", 0)]
        try:
            if kind == "client":
                fields += shown(await stream)
            else:
                await self.read_all(stream)
        except errors.Error as error:
            fields = failure(error)
        return fields + self.heads(stream)

    async def tell_headers(self) -> None:
        tell("headers", [("id", self.id), *metadata("h.", await self.stream.headers())])

    async def read_all(self, stream: Any) -> None:
        # The next message is taken when it is there, and told when it is asked for, so that the end is seen without asking.
        async for message in stream:
            if not await self.wanted.get():
                raise errors.Cancelled("cancelled")
            tell("message", [("id", self.id), *shown(message)])

    def heads(self, stream: Any) -> Fields:
        opening = getattr(stream, "_opening", None)
        opened = stream if opening is None else opening.now()
        if opened is None:
            # Middleware kept it from being opened.
            return []
        pipe = opened._pipe
        return [*metadata("h.", pipe.headers or micro.Metadata()), *metadata("t.", pipe.trailers)]

    async def send_all(self, stream: Any) -> None:
        while (line := await self.sends.get()) is not None:
            if line.verb == "close":
                stream.done_sending()
                continue
            try:
                for _ in range(line.number("count", 1)):
                    await stream.send(line.payload())
            except errors.Error:
                tell("unsent", [("id", self.id)])
            except asyncio.CancelledError:
                tell("unsent", [("id", self.id)])
                raise
            else:
                tell("sent", [("id", self.id)])

    def over(self) -> None:
        if self.sending is not None:
            self.sending.cancel()
        while not self.sends.empty():
            line = self.sends.get_nowait()
            if line is not None and line.verb == "send":
                tell("unsent", [("id", self.id)])


def failed(error: errors.Error) -> Fields:
    return [*failure(error), *metadata("h.", error.headers), *metadata("t.", error.trailers)]


def result(id: str, fields: Fields, begun: float) -> None:
    elapsed = int((time.monotonic() - begun) * 1000)
    tell("result", [("id", id), *fields, ("elapsed_ms", elapsed)])
