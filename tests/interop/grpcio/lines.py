"""Answers JSON requests, one a line, on stdin and stdout: how a test drives a peer."""

import json
import sys
import threading
import time
import traceback

KEPT_EVENTS = 4096


class Lines:
    """Requests run at the same time and carry an id, so one may wait on what another causes."""

    def __init__(self):
        self._operations = {}
        self._writing = threading.Lock()

    def on(self, op, run):
        self._operations[op] = run

    def ready(self, **facts):
        self._write({"ready": True, **facts})

    def run(self):
        for line in sys.stdin:
            request = json.loads(line)
            threading.Thread(target=self._answer, args=(request,), daemon=True).start()

    def _answer(self, request):
        run = self._operations.get(request.get("op"))
        answer = {"id": request.get("id", 0)}
        try:
            if run is None:
                raise ValueError(f"unknown op {request.get('op')!r}")
            answer["result"] = run(request)
        except Exception as problem:
            traceback.print_exc()
            answer["failure"] = f"{type(problem).__name__}: {problem}"
        self._write(answer)

    def _write(self, answer):
        text = json.dumps(answer)
        with self._writing:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()


class Events:
    """What handlers saw, kept for the test to ask about: a caller that gave up cannot be told any more."""

    def __init__(self):
        self._kept = []
        self._changed = threading.Condition()

    def add(self, kind, **facts):
        with self._changed:
            if len(self._kept) < KEPT_EVENTS:
                self._kept.append({"kind": kind, **facts})
            self._changed.notify_all()

    def next(self, request):
        """Takes the oldest event of a kind, waiting for one to happen."""
        kind, seconds = request["kind"], timeout(request)
        until = time.monotonic() + seconds
        with self._changed:
            while True:
                for seen in self._kept:
                    if seen["kind"] == kind:
                        self._kept.remove(seen)
                        return seen
                if not self._changed.wait(until - time.monotonic()):
                    raise TimeoutError(f"no {kind!r} event within {seconds} s")


def timeout(request):
    """How long an operation may take, in seconds."""
    return (request.get("timeoutMs") or 5000) / 1000
