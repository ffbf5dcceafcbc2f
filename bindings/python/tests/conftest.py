"""What every test may use: a fleet in memory, and a program of its own."""

from __future__ import annotations

import asyncio
import importlib
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import ModuleType

import pytest

import micro
from micro import _micro
from micro.testing import Fleet

PATIENCE = 30.0
OPERATION, CALL = 5, 6


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    async with Fleet() as fleet:
        yield fleet


@pytest.fixture(scope="session")
def pb(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """What grpcio-tools generates of the proto file."""
    pytest.importorskip("grpc_tools")
    here, out = Path(__file__).parent, tmp_path_factory.mktemp("generated")
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{here}", f"--python_out={out}"]
    subprocess.run([*command, f"--grpc_python_out={out}", str(here / "greeter.proto")], check=True)
    sys.path.insert(0, str(out))
    importlib.import_module("greeter_pb2_grpc")
    return importlib.import_module("greeter_pb2")


@pytest.fixture(scope="session")
def world(pb: ModuleType) -> ModuleType:
    """A greeter as generated code has it, in all its kinds."""
    return importlib.import_module("grpc_greeter")


def complaints(said: str) -> list[str]:
    """What a program complained of. That something took long, as asyncio says when it debugs, is said of the machine."""
    return [line for line in said.splitlines() if line and not line.startswith("Executing <")]


@pytest.fixture
def program() -> Callable[..., str]:
    """Runs Python text as a program of its own, and returns what it printed. It must end well, and in time."""

    def run(text: str, *, status: int = 0, options: tuple[str, ...] = (), seconds: float = 60.0) -> str:
        environment = {**os.environ, "MICRO_SERVER_ADDRESS": "127.0.0.1:0"}
        done = subprocess.run(
            [sys.executable, *options, "-c", textwrap.dedent(text)],
            capture_output=True,
            text=True,
            timeout=seconds,
            env=environment,
            check=False,
        )
        assert done.returncode == status, f"status {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert not complaints(done.stderr), done.stderr
        return done.stdout

    return run


def greeter(**options: object) -> micro.Service:
    """The service most tests call."""
    service = micro.Service("greeter", **options)  # type: ignore[arg-type]

    @service.endpoint("Greeter.Hello")
    async def hello(request: dict) -> str:  # type: ignore[type-arg]
        return f"Hello, {request['name']}!"

    return service


async def settled(kind: int, left: int = 0) -> None:
    """Waits until no more than ``left`` of a kind are alive in the native part. A service that runs is an operation."""
    until = time.monotonic() + 20
    while _micro.live(kind) > left:
        assert time.monotonic() < until, f"{_micro.live(kind)} are still alive"
        await asyncio.sleep(0.005)
