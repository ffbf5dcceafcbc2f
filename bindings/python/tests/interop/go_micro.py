"""Talks to the go-micro peer, both ways, on a network where nothing else is: `python go_micro.py PEER FOLDER`.

FOLDER has the messages that protoc generated.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import micro
from micro import errors

sys.path.insert(0, sys.argv[2])
import greeter_pb2 as pb  # type: ignore[import-not-found]


class Peer:
    """The Go program, asked in lines of JSON."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, *arguments: str) -> Peer:
        process = await asyncio.create_subprocess_exec(
            sys.argv[1], *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        peer = cls(process)
        assert (await peer.line())["ready"]
        return peer

    async def line(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(await asyncio.wait_for(self.process.stdout.readline(), 30))

    async def ask(self, op: str, **fields: Any) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"id": 1, "op": op, **fields}).encode() + b"\n")
        while True:
            answer = await self.line()
            if answer.get("id") == 1:
                return answer["result"]

    async def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        await self.process.wait()


async def python_calls_go() -> None:
    peer = await Peer.start("serve", "--name", "go.greeter")
    async with micro.Client(registry="mdns://lo") as client:
        watch = await client.watch("go.greeter")
        try:
            await client.lookup("go.greeter")
        except errors.NotFound:
            await asyncio.wait_for(anext(watch), 10)
        request = pb.HelloRequest(name="Ada", big=-(2**63), tags=["a", ""])
        for codec in ("proto", "json"):
            reply = await client.call("go.greeter", "Greeter.Hello", request, codec=codec, returns=pb.HelloReply)
            assert "Ada" in reply.greeting, reply
            assert reply.request == request, reply
        counted = client.server_stream("go.greeter", "Greeter.Count", pb.CountRequest(to=3), returns=pb.CountReply)
        assert len([one async for one in counted]) == 3
        try:
            await client.call("go.greeter", "Greeter.Nothing", request, returns=bytes)
        except errors.Error as error:
            assert error.endpoint == "Greeter.Nothing" and error.attempts >= 1, error
        else:
            raise AssertionError("an endpoint that is none answered")
    await peer.end()
    print("python calls go")


async def go_calls_python() -> None:
    service = micro.Service("python.greeter", registry="mdns://lo", address="127.0.0.1:0")

    @service.endpoint("Greeter.Hello")
    async def hello(request: pb.HelloRequest, context: micro.Context) -> pb.HelloReply:
        if request.name == "nobody":
            raise errors.NotFound("nobody is not here", id="people")
        return pb.HelloReply(greeting=f"Hello {request.name} from {context.caller}", request=request)

    async with service:
        peer = await Peer.start("client", "--name", "go.caller")
        fields = {"service": "python.greeter", "endpoint": "Greeter.Hello"}
        for _ in range(50):
            outcome = await peer.ask("call", **fields, request={"name": "Ann"})
            # go-micro looks for 100 ms and no longer.
            if "not found" not in str(outcome.get("error", "")):
                break
        assert outcome["response"]["greeting"] == "Hello Ann from go.caller", outcome
        failed = await peer.ask("call", **fields, request={"name": "nobody"})
        said = (failed["error"]["id"], failed["error"]["code"], failed["error"]["detail"])
        assert said == ("people", 404, "nobody is not here"), failed
        await peer.end()
    print("go calls python")


async def main() -> None:
    await python_calls_go()
    await go_calls_python()


asyncio.run(main())
