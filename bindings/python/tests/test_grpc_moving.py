"""The page on moving from grpcio shows what has to change, and both the program before and the one after run."""

from __future__ import annotations

import difflib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from micro import sync

grpc = pytest.importorskip("grpc")
pytest.importorskip("grpc_tools")

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "grpcio"
PAGE = ROOT / "docs" / "moving-from-grpcio.md"
PRINTED = "Hello, Ada!\nHello for the 1. time, Ada!\nHello for the 2. time, Ada!\nINVALID_ARGUMENT a name is missing\n"
PORT = "localhost:50051"


def changes(name: str) -> list[str]:
    before, after = EXAMPLE / "before" / name, EXAMPLE / name
    labels = [str(path.relative_to(ROOT)) for path in (before, after)]
    texts = [path.read_text().splitlines() for path in (before, after)]
    return [line.rstrip() for line in difflib.unified_diff(*texts, *labels, lineterm="")]


def test_the_page_shows_what_changes_and_that_is_at_most_ten_lines() -> None:
    shown = re.findall(r"```diff\n(.*?)```", PAGE.read_text(), re.DOTALL)
    found = [changes("service.py"), changes("client.py")]
    assert [block.splitlines() for block in shown] == found
    changed = [line for lines in found for line in lines if re.match(r"[+-](?![+-]{2})", line)]
    assert 0 < len(changed) <= 10


@pytest.fixture
def generated(tmp_path: Path) -> Path:
    out = tmp_path / "generated"
    out.mkdir()
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{EXAMPLE}", f"--python_out={out}", f"--grpc_python_out={out}"]
    subprocess.run([*command, str(EXAMPLE / "greeter.proto")], check=True)
    return out


@contextmanager
def running(program: Path, environment: dict[str, str]) -> Iterator[None]:
    service = subprocess.Popen([sys.executable, str(program)], env=environment)
    try:
        yield
    finally:
        service.terminate()
        service.wait(30)


def ask(program: Path, environment: dict[str, str]) -> str:
    command = [sys.executable, str(program)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_programs_before_run(generated: Path, tmp_path: Path) -> None:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        address = f"localhost:{found.getsockname()[1]}"
    for name in ("service.py", "client.py"):
        # On a port that is free here.
        (tmp_path / name).write_text((EXAMPLE / "before" / name).read_text().replace(PORT, address))
    environment = {**os.environ, "PYTHONPATH": str(generated)}
    with running(tmp_path / "service.py", environment), grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result(30)
        assert ask(tmp_path / "client.py", environment) == PRINTED


def test_the_programs_after_run(generated: Path, tmp_path: Path) -> None:
    registry = f"local://{tmp_path / 'registry'}"
    environment = {
        **os.environ,
        "PYTHONPATH": str(generated),
        "MICRO_REGISTRY": registry,
        "MICRO_SERVER_ADDRESS": "127.0.0.1:0",
    }
    with sync.Client(registry=registry) as client, client.watch("greeter") as watch:
        with running(EXAMPLE / "service.py", environment):
            assert next(watch).action == "create"
            assert ask(EXAMPLE / "client.py", environment) == PRINTED
