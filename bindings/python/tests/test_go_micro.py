"""A go-micro v2 service and its callers, with the defaults of both: gRPC and mDNS."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# mDNS reaches every process on a network, so this one has no other.
ALONE = 'ip link set lo up multicast on && ip route add 224.0.0.0/4 dev lo && exec "$@"'


def test_go_micro_calls_python_and_python_calls_go_micro(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools")
    for program in ("go", "unshare", "ip"):
        if shutil.which(program) is None:
            pytest.skip(f"no {program}")
    peer = tmp_path / "peer"
    subprocess.run(["go", "build", "-o", str(peer), "."], cwd=ROOT / "tests/interop/go-micro", check=True)
    protos = ROOT / "tests/proto"
    generate = [sys.executable, "-m", "grpc_tools.protoc", f"-I{protos}", f"--python_out={tmp_path}"]
    subprocess.run([*generate, "greeter.proto"], check=True)
    driver = [sys.executable, str(Path(__file__).parent / "interop/go_micro.py"), str(peer), str(tmp_path)]
    namespace = ["unshare", "-n" if os.geteuid() == 0 else "-Urn", "sh", "-c", ALONE, "sh"]
    done = subprocess.run([*namespace, *driver], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["python calls go", "go calls python"]
