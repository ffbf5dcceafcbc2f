"""Beside FastAPI, Celery, gunicorn and Jupyter, as the documents show: real servers and workers, in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

import micro
from micro import errors, sync

EXAMPLES = Path(__file__).parents[3] / "examples" / "frameworks"
PATIENCE = 60.0


class Greeter:
    """The service that the examples call. ``both`` is answered once two processes ask at the same time."""

    def __init__(self, folder: Path) -> None:
        self.peers: set[str | None] = set()
        self.url = f"local://{folder}/registry"
        self.environment = {**os.environ, "MICRO_REGISTRY": self.url, "PYTHONPATH": str(EXAMPLES)}
        meet = threading.Barrier(2)
        self.service = sync.Service("greeter", registry=self.url, address="127.0.0.1:0", propagation=0, grace=0)

        @self.service.endpoint("Greeter.Hello")
        def hello(request: dict[str, str], context: micro.Context) -> str:
            if request["name"] == "nobody":
                raise errors.NotFound("nobody is not here")
            if request["name"] == "both":
                self.peers.add(context.peer)
                meet.wait(PATIENCE)
            return f"Hello, {request['name']}!"


@pytest.fixture
def greeter(tmp_path: Path) -> Iterator[Greeter]:
    made = Greeter(tmp_path)
    with made.service:
        yield made


@contextmanager
def serving(command: list[str], greeter: Greeter, folder: Path) -> Iterator[str]:
    """Runs a server of HTTP at a socket that listens already, `{fd}` in its command, and stops it as it is told to."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fd = listener.fileno()
        server = subprocess.Popen(
            [sys.executable, "-m", *(part.format(fd=fd) for part in command)],
            env=greeter.environment,
            cwd=folder,
            pass_fds=[fd],
        )
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            server.send_signal(signal.SIGTERM)
            assert server.wait(PATIENCE) in (0, -signal.SIGTERM)
        finally:
            server.kill()
            server.wait()


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        text: str = answer.read().decode()
    return text


def test_an_api_of_fastapi_calls_a_service(greeter: Greeter, tmp_path: Path) -> None:
    with serving(["uvicorn", "web:app", "--fd", "{fd}"], greeter, tmp_path) as url:
        assert json.loads(get(f"{url}/hello/Ada")) == "Hello, Ada!"
        with pytest.raises(urllib.error.HTTPError) as failed:
            get(f"{url}/hello/nobody")
        with failed.value as answer:
            assert (answer.code, json.load(answer)) == (404, {"detail": "nobody is not here"})


def test_workers_of_gunicorn_share_a_client_that_was_made_before_they_were_forked(greeter: Greeter, tmp_path: Path) -> None:
    command = ["gunicorn", "--preload", "--workers", "2", "--bind", "fd://{fd}", "wsgi:app"]
    with serving(command, greeter, tmp_path) as url, ThreadPoolExecutor(2) as threads:
        assert get(f"{url}/Ada") == "Hello, Ada!"
        # A worker has one request at a time.
        assert list(threads.map(get, [f"{url}/both"] * 2)) == ["Hello, both!"] * 2
    assert len(greeter.peers) == 2


def test_workers_of_celery_share_a_client_that_was_made_before_they_were_forked(greeter: Greeter, tmp_path: Path) -> None:
    (tmp_path / "here.py").write_text(
        "from tasks import app, greet\n"
        'folders = {"data_folder_in": "queue", "data_folder_out": "queue", "control_folder": "control"}\n'
        'app.conf.broker_transport_options = {**folders, "polling_interval": 0.05}\n'
    )
    for folder in ("queue", "control", "results"):
        (tmp_path / folder).mkdir()
    environment = {
        **greeter.environment,
        "BROKER": "filesystem://",
        "RESULTS": f"file://{tmp_path}/results",
        "PYTHONPATH": f"{EXAMPLES}{os.pathsep}{tmp_path}",
    }
    command = ["celery", "--app", "here", "worker", "--pool", "prefork", "--concurrency", "2", "--loglevel", "ERROR"]
    worker = subprocess.Popen([sys.executable, "-m", *command], env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        ask = f"""
from here import greet
print(greet.delay("Ada").get(timeout={PATIENCE}))
# A worker has one task at a time.
print([one.get(timeout={PATIENCE}) for one in [greet.delay("both"), greet.delay("both")]])
"""
        command = [sys.executable, "-c", ask]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=2 * PATIENCE, check=False
        )
        assert done.stdout == "Hello, Ada!\n['Hello, both!', 'Hello, both!']\n", done.stderr
        assert len(greeter.peers) == 2
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(PATIENCE) == 0
    finally:
        worker.kill()
        worker.wait()


def test_a_notebook_awaits_in_its_cells(tmp_path: Path) -> None:
    cells = (EXAMPLES / "notebook.py").read_text().split("# %%\n")[1:]
    run = """
import json, sys
import nbclient, nbformat.v4 as v4

notebook = v4.new_notebook(cells=[v4.new_code_cell(cell) for cell in json.load(sys.stdin)])
nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
print(json.dumps([[output["data"]["text/plain"] for output in cell.outputs] for cell in notebook.cells]))
"""
    environment = {**os.environ, "MICRO_REGISTRY": f"local://{tmp_path}", "MICRO_SERVER_ADDRESS": "127.0.0.1:0"}
    done = subprocess.run(
        [sys.executable, "-c", run],
        input=json.dumps(cells),
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[], ["'Hello, Ada!'"], []]
