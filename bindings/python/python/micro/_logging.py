"""The core's log records, in the ``logging`` of the program, under ``micro``."""

from __future__ import annotations

import json
import logging
import sys
import threading

from . import _micro

_LEVELS = {
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": logging.DEBUG,
}
_STARTED = "micro::started"
"""The one record that each start makes, unless it is quiet."""
_programs: list[bool] = []
"""Not empty once a service is the whole of this program."""


def is_program() -> None:
    """From now on a start is told on stderr where `logging` was not set up: it is what a person at a terminal looks for."""
    _programs.append(True)


def logger() -> logging.Logger:
    """The logger everything here logs to."""
    return logging.getLogger("micro")


def level() -> str:
    """What is worth recording, as ``logging`` is set up for ``micro``."""
    wanted = logger().getEffectiveLevel()
    for name, number in _LEVELS.items():
        if wanted >= number:
            return name
    return "debug"


def _record(records: bytes) -> None:
    for record in json.loads(records):
        name = record["target"].replace("::", ".")
        where = logging.getLogger(name if name.split(".")[0] == "micro" else f"micro.{name}")
        if record["target"] == _STARTED and _programs and not where.hasHandlers() and sys.stderr is not None:
            # As warnings are where `logging` was not set up.
            print(record["message"], file=sys.stderr, flush=True)
        where.log(_LEVELS.get(record["level"], logging.WARNING), "%s", record["message"])


class Pump:
    """Fetches log records, on a thread of its own: they are worth most when an event loop is stuck."""

    def __init__(self, runtime: _micro.Runtime) -> None:
        self._queue = _micro.Queue(runtime)
        self.receive()
        self._thread = threading.Thread(target=self._run, name="micro logs", daemon=True)
        self._thread.start()

    def receive(self) -> None:
        """Takes the records from now on, instead of whichever pump did."""
        self._queue.receive_logs(_record)

    def _run(self) -> None:
        queue = self._queue
        while queue.is_open:
            queue.wait(3600.0)
        queue.drain()

    def close(self) -> None:
        """Ends the thread; what is recorded from now on goes to stderr."""
        self._queue.close()
        if self._thread is not threading.current_thread():
            self._thread.join(1.0)
