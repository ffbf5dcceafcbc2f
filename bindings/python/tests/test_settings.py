"""Who decides a setting: the command line, the environment, a document, the program; and what a start says and asks."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import micro
from micro import errors
from micro.testing import Fleet

PROGRAM = """
import json, logging, sys
import micro

service = micro.Service("greeter", argv=True, version="1.2", address="127.0.0.1:0", registry="memory://settings")

@service.endpoint("Greeter.Hello")
async def hello(name: str) -> str:
    return name

if "--" in sys.argv:
    logging.basicConfig(level=sys.argv[-1], stream=sys.stdout)
service.run()
"""


def program(*arguments: str, **variables: str) -> subprocess.Popen[str]:
    """A process that serves until it is told to end."""
    environment = {**os.environ, **variables}
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], stdout=pipe, stderr=pipe, env=environment, text=True)


def ended(*arguments: str, **variables: str) -> tuple[int, str, str]:
    process = program(*arguments, **variables)
    said, complained = process.communicate(timeout=60)
    return process.returncode, said, complained


def test_help_prints_the_table_and_ends_the_program_well() -> None:
    status, said, complained = ended("--help")
    assert (status, complained) == (0, "")
    assert said.startswith("Usage: greeter [FLAGS]\n") and "  --address HOST:PORT\n" in said
    assert "[MICRO_SERVER_ADDRESS, unless set: :0]" in said
    assert ended("--version") == (0, "greeter 1.2\n", "")


@pytest.mark.parametrize(
    ("arguments", "variables", "says"),
    [
        (["--adress=:80"], {}, 'greeter: unknown flag "--adress": did you mean --address?'),
        (["--grace=soon"], {}, 'greeter: --grace: "soon" is no duration'),
        (["--broker_address=a:1"], {}, "greeter: --broker_address: the address of a broker is part of its URL"),
        ([], {"MICRO_SERVER_GRACE": "soon"}, 'greeter: MICRO_SERVER_GRACE: "soon" is no duration'),
        (["--settings=/nowhere.json"], {}, "greeter: /nowhere.json: the settings cannot be read"),
    ],
)
def test_what_is_wrong_ends_the_program_with_what_was_meant(arguments: list[str], variables: dict[str, str], says: str) -> None:
    status, said, complained = ended(*arguments, **variables)
    assert (status, said) == (2, "")
    assert complained.startswith(says), complained


def stopped(process: subprocess.Popen[str]) -> tuple[str, str]:
    process.send_signal(signal.SIGTERM)
    said, complained = process.communicate(timeout=60)
    assert process.returncode == 0, complained
    return said, complained


def test_a_start_says_one_line() -> None:
    process = program("--server-version=7")
    assert process.stderr is not None
    line = process.stderr.readline()
    assert line.startswith("greeter 7 serves at 127.0.0.1:") and line.endswith(" and registers with memory\n"), line
    assert stopped(process) == ("", "")


def test_a_start_says_it_to_the_log_where_there_is_one() -> None:
    process = program("--", "INFO")
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("INFO:micro.started:greeter 1.2 serves at 127.0.0.1:"), line
    assert stopped(process) == ("", "")


@pytest.mark.parametrize("arguments", [["--quiet"], ["--", "ERROR"], ["--", "WARNING"]])
def test_a_start_says_nothing_where_it_is_told_not_to(tmp_path: Path, arguments: list[str]) -> None:
    # It has started once the registry knows it.
    process = program(f"--registry=local://{tmp_path}", *arguments)
    until_there(tmp_path)
    assert stopped(process) == ("", "")


def until_there(folder: Path) -> None:
    async def look() -> None:
        async with micro.Client(registry=f"local://{folder}", wait_for_ready=True, timeout=60) as client:
            assert await client.call("greeter", "Greeter.Hello", "Ada") == "Ada"

    asyncio.run(look())


def test_a_flag_comes_before_a_variable_before_a_document_before_the_program_before_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = tmp_path / "service.json"
    document.write_text('{"version": "d", "id": "d", "grace": "3s"}')
    monkeypatch.setenv("MICRO_SERVER_VERSION", "v")
    monkeypatch.setenv("MICRO_SERVER_ID", "v")
    service = micro.Service(
        "greeter", argv=["--server-version=f"], settings=str(document), version="p", id="p", grace=1, propagation=0.5
    )
    settings = {setting.key: setting for setting in service.explain()}
    assert settings["version"] == micro.Setting("version", "f", "flag", "--server-version")
    assert settings["id"] == micro.Setting("id", "v", "variable", "MICRO_SERVER_ID")
    assert settings["grace"] == micro.Setting("grace", "3s", "document", str(document))
    assert settings["propagation"] == micro.Setting("propagation", "500ms", "code", "code")
    assert settings["register_ttl"] == micro.Setting("register_ttl", "60s", "default", "default")


async def test_a_service_is_what_its_command_line_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MICRO_SERVER_VERSION", "v")
    service = micro.Service("greeter", argv=["--server-version=f"], version="p", registry="memory://f", address="127.0.0.1:0")
    async with service:
        assert service.record.version == "f"
    # Without `argv`, the command line is the program's own.
    monkeypatch.setattr(sys, "argv", ["program", "--what-the-program-reads"])
    async with micro.Service("greeter", version="p", registry="memory://f", address="127.0.0.1:0") as plain:
        assert plain.record.version == "v"
    async with micro.Service("greeter", argv=[], version="p", registry="memory://f", environment=False) as bare:
        assert bare.record.version == "p"


@pytest.mark.parametrize("argv", ["--quiet", [1], b"--quiet"])
def test_arguments_that_are_no_texts_are_refused(argv: object) -> None:
    with pytest.raises(TypeError, match="argv is .*a list of texts"):
        micro.Service("greeter", argv=argv)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["coroutine", "thread"])
async def test_a_node_is_registered_while_its_check_says_that_it_is_fit(fleet: Fleet, kind: str) -> None:
    service = micro.Service("greeter", register_interval=0.02)
    answers: list[object] = [OSError("no database"), False]
    asked: list[threading.Thread] = []
    loop, fit, is_asked = asyncio.get_running_loop(), threading.Event(), asyncio.Event()

    def is_fit() -> object:
        asked.append(threading.current_thread())
        if len(asked) > 2:
            loop.call_soon_threadsafe(is_asked.set)
        if not fit.is_set():
            answer = answers[len(asked) % 2]
            if isinstance(answer, BaseException):
                raise answer
            return answer
        return None

    async def is_fit_on_the_loop() -> object:
        return is_fit()

    service.register_check(is_fit if kind == "thread" else is_fit_on_the_loop)
    await fleet.start(service)
    await asyncio.wait_for(is_asked.wait(), 30)
    with pytest.raises(errors.NotFound):
        await fleet.client.lookup("greeter")
    fit.set()
    async with asyncio.timeout(30):
        async for change in await fleet.client.watch("greeter"):
            assert [node.address for node in change.service.nodes] == [service.address]
            break
    assert (threading.main_thread() in asked) == (kind == "coroutine")


def test_a_register_check_is_a_function() -> None:
    with pytest.raises(TypeError, match="the register check is int: give a function"):
        micro.Service("greeter").register_check(1)  # type: ignore[type-var]


async def test_a_node_is_registered_while_an_address_answers(fleet: Fleet) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    service = micro.Service("greeter", register_interval=0.02, register_check=f"tcp://{host}:{port}")
    await fleet.start(service)
    assert [record.version for record in await fleet.client.lookup("greeter")] == ["latest"]
    changes = await fleet.client.watch("greeter")
    server.close()
    async with asyncio.timeout(30):
        async for change in changes:
            if change.action == "delete":
                break
    with pytest.raises(errors.NotFound):
        await fleet.client.lookup("greeter")
