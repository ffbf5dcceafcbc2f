"""gRPC's own interop client, written in Go, runs its cases against a service in Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent / "interop"
ORCA = '{"loadBalancingConfig":[{"test_backend_metrics_load_balancer":{}}]}'

# The cases that grpc-go's client has: the same that the service in Rust passes (`tests/tests/grpc_interop`).
CASES = [
    "empty_unary",
    "large_unary",
    "client_streaming",
    "server_streaming",
    "ping_pong",
    "empty_stream",
    "cancel_after_begin",
    "cancel_after_first_response",
    "timeout_on_sleeping_server",
    "custom_metadata",
    "status_code_and_message",
    "special_status_message",
    "unimplemented_method",
    "unimplemented_service",
    "pick_first_unary",
    "rpc_soak",
    "channel_soak",
    "orca_per_rpc",
    "orca_oob",
]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """grpc-go's client; Go's own cache makes it quick after the first time."""
    if shutil.which("go") is None:
        pytest.skip("no go toolchain")
    folder = tmp_path_factory.mktemp("go")
    subprocess.run(["go", "build", "-o", str(folder) + "/", "tool"], cwd=ROOT / "tests/interop/grpc-go", check=True)
    return folder / "client"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("grpc_tools")
    out, protos = tmp_path_factory.mktemp("interop"), ROOT / "tests/proto"
    sources = [f"grpc/testing/{name}.proto" for name in ("empty", "messages", "test")]
    from importlib.resources import files

    known = str(files("grpc_tools").joinpath("_proto"))
    paths = [f"-I{protos}", f"-I{HERE}", f"-I{known}"]
    command = [sys.executable, "-m", "grpc_tools.protoc", *paths, f"--python_out={out}", *sources, "orca.proto"]
    subprocess.run(command, check=True)
    # The messages' package has the name of grpcio's, which this program does not need; so it goes before that.
    for folder in ("grpc", "grpc/testing"):
        (out / folder / "__init__.py").touch()
    environment = {**os.environ, "PYTHONPATH": str(out)}
    service = subprocess.Popen(
        [sys.executable, str(HERE / "service.py")],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert service.stdin is not None and service.stdout is not None
    try:
        yield service.stdout.readline().strip()
        service.stdin.close()
        assert service.wait(30) == 0
    finally:
        service.kill()
        service.wait()
        service.stdout.close()


@pytest.mark.parametrize("case", CASES)
def test_the_client_of_grpc_go_passes(client: Path, address: str, case: str) -> None:
    host, port = address.rsplit(":", 1)
    flags = [f"--server_host={host}", f"--server_port={port}", f"--test_case={case}", "--use_tls=false"]
    if case.endswith("_soak"):
        flags += ["--soak_iterations=100", "--soak_overall_timeout_seconds=50"]
        flags += ["--soak_per_iteration_max_acceptable_latency_ms=20000"]
    if case.startswith("orca_"):
        flags.append(f"--service_config_json={ORCA}")
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run([str(client), *flags], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
