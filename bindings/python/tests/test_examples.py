"""Every example as a user runs it, and everything the documents show."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import complaints

from micro import sync

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
NAMES = {"greeter": "greeter", "streaming": "numbers", "errors": "accounts"}


@contextmanager
def scenario(folder: Path, example: str) -> Iterator[dict[str, str]]:
    """Starts a service, and waits until it is registered; at the end it stops as it is told, and ends well."""
    registry = f"local://{folder}"
    environment = {**os.environ, "MICRO_REGISTRY": registry, "MICRO_SERVER_ADDRESS": "127.0.0.1:0"}
    with sync.Client(registry=registry) as client, client.watch(NAMES[example]) as watch:
        service = subprocess.Popen([sys.executable, "service.py"], cwd=EXAMPLES / example, env=environment)
        try:
            assert next(watch).action == "create"
            yield environment
            service.send_signal(signal.SIGTERM)
            assert service.wait(30) == 0
        finally:
            service.kill()
            service.wait()


def run(example: str, environment: dict[str, str], program: str = "client.py") -> str:
    command = [sys.executable, program]
    done = subprocess.run(
        command, cwd=EXAMPLES / example, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout


def test_the_greeter_greets(tmp_path: Path) -> None:
    with scenario(tmp_path, "greeter") as environment:
        assert re.fullmatch(r"Hello, Ada! I am process \d+\.\n", run("greeter", environment))


def test_streams_go_every_way(tmp_path: Path) -> None:
    with scenario(tmp_path, "streaming") as environment:
        assert run("streaming", environment) == (
            "counted 1\ncounted 2\ncounted 3\nthe sum is 6\ntwice 1 is 2\ntwice 2 is 4\ntwice 4 is 8\ntwice 8 is 16\n"
        )


def test_errors_say_what_happened(tmp_path: Path) -> None:
    with scenario(tmp_path, "errors") as environment:
        lines = run("errors", environment).splitlines()
    assert lines[:2] == [
        "ada has 1815",
        "NOT_FOUND accounts: bob has no account (1 attempts; look for something else)",
    ]
    assert lines[2].startswith("DEADLINE_EXCEEDED ") and lines[2].endswith("(1 attempts; give it more time)")
    assert lines[3] == (
        "UNAVAILABLE go.micro.client: service payments: not found: it has no node now, is it running, and in this registry?"
        " (0 attempts; start it, or wait_for_ready)"
    )


def test_a_second_signal_cuts_a_service_off(tmp_path: Path) -> None:
    text = """
import asyncio, micro, signal, os
service = micro.Service("stuck", grace=60, propagation=0)

@service.endpoint("Stuck.Wait")
async def wait(request: None) -> None:
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.2)
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        print("cut off", flush=True)
        raise

service.run()
"""
    registry = f"local://{tmp_path}"
    environment = {**os.environ, "MICRO_REGISTRY": registry, "MICRO_SERVER_ADDRESS": "127.0.0.1:0"}
    with sync.Client(registry=registry) as client, client.watch("stuck") as watch:
        service = subprocess.Popen([sys.executable, "-c", text], env=environment, stdout=subprocess.PIPE, text=True)
        try:
            next(watch)
            with pytest.raises(Exception, match="Stuck.Wait"):
                client.call("stuck", "Stuck.Wait", timeout=30, retry="never")
            printed, _ = service.communicate(timeout=30)
            assert (printed, service.returncode) == ("cut off\n", 0)
        finally:
            service.kill()
            service.wait()


def test_a_registry_in_python_is_found_by_its_url() -> None:
    assert run("registry", dict(os.environ), "registry.py") == "Hello, Ada!\n"


def test_middleware_sees_every_call() -> None:
    assert run("middleware", dict(os.environ), "middleware.py").splitlines() == [
        "connects to the database",
        "Shop.Buy: fine",
        "2 pieces, to blue",
        "Shop.Buy: pieces: order at least one",
        "pieces: order at least one",
        "Shop.Prices: fine",
        "[6, 12, 18]",
        "and lets it go",
    ]


def test_orders_are_billed_once_and_looked_at_when_they_cannot_be(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "MICRO_REGISTRY": f"local://{tmp_path}",
        "MICRO_BROKER": f"durable://{tmp_path}/data",
        "MICRO_SERVER_ADDRESS": "127.0.0.1:0",
        "MICRO_QUIET": "true",
    }
    publish = [sys.executable, "messages.py"]
    where = EXAMPLES / "messages"
    # Published while no service runs.
    subprocess.run([*publish, "7"], cwd=where, env=environment, check=True, timeout=60)
    with sync.Client(registry=environment["MICRO_REGISTRY"]) as client, client.watch("billing") as watch:
        service = subprocess.Popen(publish, cwd=where, env=environment, stdout=subprocess.PIPE, text=True)
        assert next(watch).action == "create"
    audit = subprocess.Popen([*publish, "audit"], cwd=where, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert audit.stdout is not None and service.stdout is not None
        assert audit.stdout.readline() == "seen 7\n"
        subprocess.run([*publish, "13"], cwd=where, env=environment, check=True, timeout=60)
        # Its queue is new, and begins with what is new.
        line = service.stdout.readline()
        assert line.startswith("order 13 was given up: FAILED_PRECONDITION: the card was refused")
        assert audit.stdout.readline() == "seen 13\n"
    finally:
        for program in (service, audit):
            program.kill()
            program.communicate()


def test_jobs_run_by_the_clock_and_the_answer_of_a_task_is_asked_for_by_its_id(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "MICRO_REGISTRY": f"local://{tmp_path}",
        "MICRO_BROKER": f"durable://{tmp_path}/data",
        "MICRO_SERVER_ADDRESS": "127.0.0.1:0",
        "CLEAN_UP": "* * * * * *",
    }

    def run(example: str, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, f"{example}.py", *arguments]
        return subprocess.Popen(command, cwd=EXAMPLES / example, env=environment, stdout=subprocess.PIPE, text=True)

    shop = run("jobs")
    try:
        assert shop.stdout is not None
        wanted = {"cleaned, attempt 1\n", "refreshed\n"}
        while wanted:
            wanted.discard(shop.stdout.readline())
            assert shop.poll() is None
    finally:
        shop.kill()
        shop.communicate()
    id = run("tasks", "send", "21").communicate(timeout=60)[0].strip()
    worker = run("tasks")
    try:
        assert run("tasks", "ask", id).communicate(timeout=60)[0].splitlines()[1] == "42"
    finally:
        worker.kill()
        worker.communicate()


def blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


def test_python_in_documents_is_an_example() -> None:
    examples = [path.read_text() for path in EXAMPLES.glob("*/*.py")]
    pages = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md"]
    shown = [(page, block) for page in pages for block in blocks(page) if page.name != "python.md"]
    for page, block in shown:
        assert any(block in example for example in examples), f"{page} shows code that is in no example:\n{block}"


def test_the_readme_shows_the_greeter_whole() -> None:
    readme = blocks(ROOT / "README.md")
    assert readme[:2] == [(EXAMPLES / "greeter" / name).read_text() for name in ("service.py", "client.py")]


def commands(page: Path, begin: str) -> str:
    """The command of a page that begins so, with the lines it goes on in."""
    found = re.search(rf"^{re.escape(begin)}(?:.*\\\n)*.*$", page.read_text(), re.MULTILINE)
    assert found, f"{page} shows no {begin}"
    return found[0]


def test_the_first_service_of_the_page_answers_curl(tmp_path: Path) -> None:
    page = ROOT / "docs" / "python.md"
    registry = f"local://{tmp_path}"
    environment = {**os.environ, "MICRO_REGISTRY": registry, "MICRO_SERVER_ADDRESS": "127.0.0.1:0"}
    with sync.Client(registry=registry) as client, client.watch("greeter") as watch:
        service = subprocess.Popen([sys.executable, "-c", blocks(page)[0]], env=environment)
        try:
            address = next(watch).service.nodes[0].address
            line = commands(page, "curl ").replace("localhost:8080", address)
            told = subprocess.run(f"{line} --silent --fail", shell=True, capture_output=True, text=True, timeout=30, check=True)
            assert told.stdout == '"Hello, Ada of no tenant!"'
        finally:
            service.kill()
            service.wait()


def test_the_quickstart_runs_as_printed(tmp_path: Path) -> None:
    page = blocks(ROOT / "docs" / "python.md")
    assert len(page) > 5
    certificate = commands(ROOT / "docs" / "python.md", "openssl ")
    subprocess.run(certificate, shell=True, cwd=tmp_path, capture_output=True, timeout=60, check=True)
    environment = {
        **os.environ,
        "MICRO_REGISTRY": f"memory://{tmp_path.name}",
        "MICRO_SERVER_ADDRESS": "127.0.0.1:0",
    }
    for block in page:
        runs = "service.run()" not in block and "test_" not in block
        if not runs:
            compile(block, "docs/python.md", "exec")
            continue
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-c", block],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0 and not complaints(done.stderr), f"{block}\n{done.stderr}"
        for line in re.findall(r"#> (.*)", block):
            assert line in done.stdout, f"{block}\nprinted {done.stdout}"
