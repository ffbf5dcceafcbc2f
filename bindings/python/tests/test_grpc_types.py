"""Generated stubs over our channels have the types that mypy-protobuf writes for them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy_protobuf")
HERE = Path(__file__).parent

PROGRAM = """
from collections.abc import AsyncIterator, Iterator

import grpc
import micro
import micro.grpc
import micro.sync
from greeter_pb2 import HelloReply, HelloRequest
from greeter_pb2_grpc import GreeterServicer, GreeterStub, add_GreeterServicer_to_server


class Later(GreeterServicer):
    async def Hello(self, request: HelloRequest, context: grpc.aio.ServicerContext[HelloRequest, HelloReply]) -> HelloReply:
        return HelloReply(message=request.name)

    async def Lots(
        self, request: HelloRequest, context: grpc.aio.ServicerContext[HelloRequest, HelloReply]
    ) -> AsyncIterator[HelloReply]:
        yield HelloReply()

    async def Collect(
        self, request_iterator: AsyncIterator[HelloRequest], context: grpc.aio.ServicerContext[HelloRequest, HelloReply]
    ) -> HelloReply:
        return HelloReply(message=" ".join([request.name async for request in request_iterator]))

    async def Chat(
        self, request_iterator: AsyncIterator[HelloRequest], context: grpc.aio.ServicerContext[HelloRequest, HelloReply]
    ) -> AsyncIterator[HelloReply]:
        async for request in request_iterator:
            yield HelloReply(message=request.name)


class Outer(grpc.UnaryUnaryClientInterceptor):
    def intercept_unary_unary(self, continuation, details, request):  # type: ignore[no-untyped-def]
        return continuation(details, request)


add_GreeterServicer_to_server(Later(), micro.grpc.server(micro.Service("greeter")))
server = micro.grpc.server(micro.sync.Service("greeter"))
add_GreeterServicer_to_server(Later(), server)
stopped: bool = server.stop(None).wait(1.0)


async def ask() -> None:
    async with micro.grpc.channel("greeter", strategy="p2c") as channel:
        stub = GreeterStub(channel)
        call = stub.Hello(HelloRequest(name="Ada"), timeout=2.0, metadata=(("a", "b"),))
        reply = await call
        print(reply.message.upper(), await call.code())
        async for reply in stub.Lots(HelloRequest()):
            print(reply.total_count + 1)
        chat = stub.Chat()
        await chat.write(HelloRequest())


def read(context: micro.Context) -> str:
    key: bytes | None = context.metadata.get_binary("key-bin")
    names = [value.upper() for value in context.metadata.get_all("tenant")]
    return context.metadata.get("tenant", "none").upper() + context.metadata["tenant"].upper() + (key or b"").hex() + names[0]


def block(names: Iterator[HelloRequest]) -> None:
    with micro.grpc.sync.channel("greeter") as channel:
        stub = GreeterStub(grpc.intercept_channel(channel, Outer()))
        print(stub.Hello(HelloRequest(), timeout=2).message.upper(), stub.Collect(names).total_count + 1)
        print(stub.Hello.future(HelloRequest()).result().message.upper())
"""

WRONG = """

async def wrong() -> None:
    reply = await GreeterStub(micro.grpc.channel("greeter")).Hello(HelloRequest())
    reply.missing_field
    GreeterStub(micro.grpc.sync.channel("greeter")).Hello(HelloRequest()).missing_field
    micro.grpc.channel("greeter", missing_option=1)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("typed")
    outputs = [f"--{kind}={out}" for kind in ("python_out", "grpc_python_out", "mypy_out", "mypy_grpc_out")]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{HERE}", *outputs]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = {**os.environ, "PATH": path}
    subprocess.run([*command, str(HERE / "greeter.proto")], check=True, env=environment, capture_output=True)
    (out / "right.py").write_text(PROGRAM)
    (out / "wrong.py").write_text(PROGRAM + WRONG)
    return out


def test_mypy_knows_what_stubs_take_and_give(folder: Path) -> None:
    def check(file: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(folder / "cache"), file]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)

    right, wrong = check("right.py"), check("wrong.py")
    assert right.returncode == 0, right.stdout + right.stderr
    found = re.findall(r"^wrong.py:\d+: error: (.*)$", wrong.stdout, re.MULTILINE)
    assert [bool(re.search("missing_", one)) for one in found] == [True] * 3, wrong.stdout


def test_pyright_knows_what_stubs_take_and_give(folder: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("no node")

    def check(file: str) -> list[str]:
        command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, file]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        said = json.loads(done.stdout)["generalDiagnostics"]
        return [one["message"] for one in said if one["severity"] == "error"]

    assert check("right.py") == []
    assert ["missing_" in one for one in check("wrong.py")] == [True] * 3
