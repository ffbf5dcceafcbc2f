"""Forks, with everything alive on both sides."""

from __future__ import annotations

from collections.abc import Callable

import pytest

START = """
import asyncio, os, signal, sys, threading, time
import micro
from micro import errors, sync
from micro.testing import Fleet

service = sync.Service("greeter", registry="memory://fork", address="127.0.0.1:0", propagation=0)

@service.endpoint("Greeter.Hello")
async def hello(request: dict) -> str:
    return f"Hello, {request['name']}!"

def ended(pid, seconds=30):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    raise SystemExit("a child hangs")
"""


@pytest.mark.parametrize("rounds", [1000])
def test_a_thousand_forks_with_live_clients_and_servers_on_both_sides(program: Callable[..., str], rounds: int) -> None:
    printed = program(
        START
        + f"""
service.start()
client = sync.Client(registry="memory://fork")
address = service.address
client.call("greeter", "Greeter.Hello", {{"name": "Ada"}})
stop = threading.Event()

def busy():
    while not stop.is_set():
        client.call("greeter", "Greeter.Hello", {{"name": "Ada"}})

threads = [threading.Thread(target=busy) for _ in range(2)]
for thread in threads:
    thread.start()

def child(number):
    try:
        client.call("greeter", "Greeter.Hello", {{"name": "Ada"}})
        return 1
    except errors.Forked as error:
        assert "make a new one in the child" in str(error), error
    if number % 10 == 0:
        # A service and a client of its own, which also reaches the parent's.
        mine = sync.Client(addresses=[address])
        assert mine.call("greeter", "Greeter.Hello", {{"name": "Bob"}}, timeout=20) == "Hello, Bob!"
        with sync.Service("child", registry="memory://child", address="127.0.0.1:0", propagation=0) as own:
            pass
    return 0

for number in range({rounds}):
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            status = child(number)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
        finally:
            os._exit(status)
    assert ended(pid) == 0, number
stop.set()
for thread in threads:
    thread.join()
print(client.call("greeter", "Greeter.Hello", {{"name": "Ada"}}))
service.stop()
""",
        seconds=300,
    )
    assert printed == "Hello, Ada!\n"


def test_prefork_with_preload(program: Callable[..., str]) -> None:
    """As gunicorn does: the application is loaded once, its workers are forked, and each opens what it needs."""
    printed = program(
        START
        + """
service.start()
address = service.address
# Preloaded: made, never used, before the fork.
client = sync.Client(addresses=[address])
loop_client = micro.Client(addresses=[address])

def work():
    assert client.call("greeter", "Greeter.Hello", {"name": "sync"}, timeout=20) == "Hello, sync!"
    async def main():
        calls = (loop_client.call("greeter", "Greeter.Hello", {"name": str(n)}, timeout=20) for n in range(50))
        return await asyncio.gather(*calls)
    assert asyncio.run(main()) == [f"Hello, {n}!" for n in range(50)]

pids = []
for _ in range(4):
    pid = os.fork()
    if pid == 0:
        # As a worker ends: through the interpreter's own exit.
        work()
        sys.exit(0)
    pids.append(pid)
print([ended(pid) for pid in pids])
service.stop()
"""
    )
    assert printed == "[0, 0, 0, 0]\n"


def test_multiprocessing_by_fork(program: Callable[..., str]) -> None:
    printed = program(
        START
        + """
import multiprocessing
service.start()
address = service.address

def ask(name):
    with sync.Client(addresses=[address]) as client:
        return client.call("greeter", "Greeter.Hello", {"name": name}, timeout=20)

with multiprocessing.get_context("fork").Pool(3) as pool:
    print(pool.map(ask, ["a", "b", "c", "d"]))
    pool.close()
    pool.join()
service.stop()
"""
    )
    assert printed == "['Hello, a!', 'Hello, b!', 'Hello, c!', 'Hello, d!']\n"


def test_errors_cross_processes(program: Callable[..., str]) -> None:
    printed = program("""
        import multiprocessing
        from micro import errors

        def fail(_):
            raise errors.NotFound("nobody", id="people")

        with multiprocessing.get_context("fork").Pool(1) as pool:
            try:
                pool.map(fail, [1])
            except errors.NotFound as error:
                print(error)
    """)
    assert printed == "NOT_FOUND people: nobody\n"


LOADS = {
    "lazily": "micro.sync.Client; micro.Runtime",
    "from the package": "from micro import sync, Client, errors",
    "with its first use": "micro.sync.Client(registry='memory://first').services()",
}


@pytest.mark.parametrize("how", LOADS)
def test_a_child_that_is_forked_while_a_thread_loads_the_package_can_load_it_too(program: Callable[..., str], how: str) -> None:
    """A module that is half loaded by a thread of the parent is never loaded in the child."""
    for delay in (0.0, 0.002, 0.005, 0.02):
        printed = program(f"""
            import os, signal, threading, time
            import micro

            begun = threading.Event()

            def load():
                begun.set()
                {LOADS[how]}

            thread = threading.Thread(target=load)
            thread.start()
            begun.wait()
            time.sleep({delay})
            pid = os.fork()
            if pid == 0:
                # Ended by the system, should it hang.
                signal.alarm(20)
                import micro.sync, micro.testing
                from micro.errors import NotFound
                with micro.sync.Client(registry="memory://child") as client:
                    assert client.services() == []
                os._exit(0)
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            thread.join()
        """)
        assert printed == "0\n", delay
