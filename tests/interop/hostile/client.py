"""A hostile client: runs the attacks of `attacks.py` on a server, and says how it was stopped."""

import socket
import threading
from concurrent import futures

import wire
from attacks import ATTACKS
from lines import Lines
from wire import PREFACE, Closed, Wire

BATCH = 32 * 1024


def run(name, address, outcome):
    attack, terms = ATTACKS[name]
    connection = Wire(address, terms["settings"], terms["deaf"])
    stopped = False
    try:
        batch = b""
        for chunk in attack(connection):
            batch += chunk or b""
            # `None` waits for an answer to what was sent.
            if chunk is None or len(batch) >= BATCH:
                connection.send(batch)
                batch = b""
        connection.send(batch)
    except Closed:
        stopped = True
    if terms["deaf"] and not stopped:
        stopped = was_closed(connection.socket, terms["hold"])
    elif not terms["deaf"]:
        stopped = connection.wait_closed(terms["hold"]) or stopped
    connection.abandon()
    if connection.trouble:
        raise connection.trouble
    with outcome["lock"]:
        outcome["stopped"] += stopped
        outcome["goaways"].update(connection.goaways)
        outcome["resets"].update(connection.resets)
        outcome["sent"] += connection.sent


def was_closed(connection, seconds):
    """Whether the other side closes a connection that never read."""
    if not seconds:
        return False
    until = wire.now() + seconds
    try:
        while (left := until - wire.now()) > 0:
            connection.settimeout(left)
            if not connection.recv(65536):
                return True
    except TimeoutError:
        return False
    except OSError:
        return True
    return False


def silent(prefix):
    """Connections that say a little, or nothing, and wait."""

    def run_silent(address, outcome):
        host, port = address.rsplit(":", 1)
        connection = socket.create_connection((host, int(port)), timeout=3)
        stopped = False
        try:
            for byte in prefix:
                connection.sendall(bytes([byte]))
            stopped = was_closed(connection, 30)
        except OSError:
            stopped = True
        connection.close()
        with outcome["lock"]:
            outcome["stopped"] += stopped

    return run_silent


def unfinished_bodies(address, outcome):
    """Calls over HTTP/1.1 whose bodies never come to their ends."""
    host, port = address.rsplit(":", 1)
    head = b"POST /echo.Echo/Call HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    connection = socket.create_connection((host, int(port)), timeout=3)
    connection.sendall(head + b'content-length: 1000\r\n\r\n"half')
    stopped = was_closed(connection, 30)
    connection.close()
    with outcome["lock"]:
        outcome["stopped"] += stopped


SILENT = {
    "silent": silent(b""),
    "slow_preface": silent(PREFACE[:-1]),
    "no_settings": silent(PREFACE),
    "unfinished_bodies": unfinished_bodies,
}


def attack(request):
    name, address = request["name"], request["address"]
    outcome = dict(stopped=0, goaways=set(), resets=set(), sent=0, lock=threading.Lock())
    if name in SILENT:
        count, together = 100, True
        one = lambda: SILENT[name](address, outcome)
    else:
        terms = ATTACKS[name][1]
        count, together = terms["connections"], terms["together"]
        one = lambda: run(name, address, outcome)
    if together:
        with futures.ThreadPoolExecutor(count) as pool:
            for done in [pool.submit(one) for _ in range(count)]:
                done.result()
    else:
        for _ in range(count):
            one()
    return {
        "connections": count,
        "stopped": outcome["stopped"],
        "goaways": sorted(int(code) for code in outcome["goaways"]),
        "resets": sorted(int(code) for code in outcome["resets"]),
        "sent": outcome["sent"],
    }


lines = Lines()
lines.on("attack", attack)
lines.ready()
lines.run()
