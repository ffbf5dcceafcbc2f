"""A function of the program's decides whether a call that failed is made again, and when."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from ._errors import Error
from ._middleware import Call, is_later
from ._options import count, seconds

_PUSHBACK = "grpc-retry-pushback-ms"


class FailedAttempt(NamedTuple):
    """An attempt at a call that failed."""

    call: Call
    """The call, with its request, its options and the call that is being served, if there is one."""
    error: Error
    """How it failed."""
    attempt: int
    """Which one it was, from 0."""


class Retry:
    """Middleware of a client that makes calls with one reply again where ``decide`` says so. Streams pass it.

    ::

        client.use(micro.Retry(lambda failed: failed.error.code == micro.Code.ABORTED, attempts=5))

    ``decide`` is asked after each attempt that failed but the last; a coroutine function may wait. What it raises is what the
    caller gets. ``attempts`` is how many there are at most, ``backoff`` says how many seconds to wait before one, by its number
    from 1: go-micro's formula, spread from half to the whole of it, unless given. A node that says when to come again, or
    never, is heeded. ``timeout`` is for the whole of a call that has none of its own, in seconds. The client itself repeats
    only what no node has looked at, and its budget of repeats does not bound this.
    """

    def __init__(
        self,
        decide: Callable[[FailedAttempt], bool | Awaitable[bool]],
        *,
        attempts: int = 3,
        backoff: Callable[[int], float] | None = None,
        timeout: float = 5.0,
    ) -> None:
        for what, function in (("what decides", decide), ("the backoff", backoff or _wait)):
            if not callable(function):
                raise TypeError(f"{what} is {type(function).__name__}: give a function")
        self._decide, self._backoff = decide, backoff or _wait
        self._attempts, self._timeout = count("attempts", attempts) or 3, seconds(timeout, "timeout")

    def __call__(self, call: Call, call_next: Callable[..., Any]) -> Any:
        if call.shape != "unary":
            return call_next()
        tries = _Tries(self, call)
        try:
            reply = call_next(tries.next())
        except Error as error:
            return self._blocking(tries, error, call_next)
        return self._awaited(tries, reply, call_next) if is_later(reply) else reply

    async def _awaited(self, tries: _Tries, reply: Any, call_next: Callable[..., Any]) -> Any:
        while True:
            try:
                return await reply
            except Error as error:
                if tries.are_over(error):
                    raise
                again = self._decide(tries.failed(error))
                if is_later(again):
                    again = await again  # type: ignore[misc]
                wait = tries.wait(error) if again else None
                if wait is None:
                    raise
            await asyncio.sleep(wait)
            reply = call_next(tries.next())

    def _blocking(self, tries: _Tries, error: Error, call_next: Callable[..., Any]) -> Any:
        while True:
            if tries.are_over(error):
                raise error
            again = self._decide(tries.failed(error))
            if is_later(again):
                again.close()  # type: ignore[union-attr]
                raise TypeError("what decides is `async def`: give a plain function to a client that blocks")
            wait = tries.wait(error) if again else None
            if wait is None:
                raise error
            time.sleep(wait)
            try:
                return call_next(tries.next())
            except Error as failed:
                error = failed

    def __repr__(self) -> str:
        return f"<micro.Retry, {self._attempts} attempts>"


class _Tries:
    """The attempts at one call."""

    def __init__(self, rule: Retry, call: Call) -> None:
        self._rule, self._call, self._made = rule, call, 0
        timeout = call.options.get("timeout")
        # What is text is for the core to read: it holds for each attempt.
        limit = rule._timeout if timeout is None or isinstance(timeout, str) else seconds(timeout, "timeout")
        self._until = time.monotonic() + limit

    def next(self) -> Call:
        """The call as it is made this time."""
        self._made += 1
        call = self._call
        options = {**call.options, "retry": "never"}
        if not isinstance(options.get("timeout"), str):
            options["timeout"] = max(0.0, self._until - time.monotonic())
        return Call(call.service, call.endpoint, call.request, options, "unary")

    def are_over(self, error: Error) -> bool:
        """True where there may be no other, whatever the program says."""
        return self._made >= self._rule._attempts or _pushback(error) == math.inf or time.monotonic() >= self._until

    def failed(self, error: Error) -> FailedAttempt:
        return FailedAttempt(self._call, error, self._made - 1)

    def wait(self, error: Error) -> float | None:
        """Seconds before the next; ``None`` where there is less time than that."""
        told = _pushback(error)
        wait = seconds(self._rule._backoff(self._made), "what the backoff says") if told is None else told
        return max(0.0, wait) if time.monotonic() + wait < self._until else None


def _pushback(error: Error) -> float | None:
    """Seconds after which the node wants another attempt; without end where it wants none."""
    told = error.trailers.get(_PUSHBACK)
    if told is None:
        return None
    try:
        wait = int(str(told))
    except ValueError:
        return math.inf
    return math.inf if wait < 0 else wait / 1000


def _wait(attempt: int) -> float:
    """go-micro's formula, spread so that callers that failed together do not come back together."""
    whole = 120.0 if attempt > 13 else math.trunc(attempt**math.e) * 0.1
    return whole * random.uniform(0.5, 1.0)


__all__ = ["FailedAttempt", "Retry"]
