"""Jobs: functions that a service runs by the clock, and what is known of their runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from ._handler import UNARY, Handler
from ._metadata import of_blocks
from ._middleware import is_later
from ._signature import Signature

if TYPE_CHECKING:
    from . import _micro


class Running(NamedTuple):
    """The run of a job that a handler carries out."""

    job: str
    """Name of the job."""
    time: datetime
    """When it was to run, in UTC."""
    attempt: int
    """Which attempt at this run it is, from 1. One whose node died is attempted again, whatever its handler had done."""


class Run(NamedTuple):
    """What is remembered of a run."""

    time: datetime
    """When it was to run, in UTC."""
    attempt: int
    """Which attempt at it this was, from 1."""
    node: str
    """Id of the node that ran it."""
    began: datetime
    """When it began, by the clock of that node, in UTC."""
    took: timedelta | None
    """How long it took, once it has ended."""
    outcome: str
    """``running``, ``done``, ``failed``, ``skipped`` (its time had passed) or ``lost`` (its node died)."""
    error: str | None
    """Why it failed."""


class JobStatus(NamedTuple):
    """A job of a service, and its last runs."""

    name: str
    schedule: str
    """When it runs, for people."""
    scope: str
    """``fleet`` or ``node``."""
    next: datetime | None
    """When it runs next, in UTC."""
    runs: tuple[Run, ...]
    """100 at most, the oldest first: those of the fleet, or those of this node since it started."""


class Job(Handler):
    """A function of the user's that takes the context, or nothing, and when it runs."""

    def __init__(
        self, function: Callable[..., Any], *, settings: dict[str, Any], inline: bool, names: dict[str, Any] | None
    ) -> None:
        name = settings.get("name") or f"the job {settings.get('every', settings.get('cron'))}"
        said = Signature(name, function, names, is_told=True)
        if said.takes_context:
            raise TypeError(f"the handler of {name} should take a context, or nothing: a run has no request")
        handle: Callable[..., Any] = function.__func__ if isinstance(function, staticmethod) else function
        takes = said.takes_request

        def begin(context: _micro.Context) -> Any:
            return handle(context) if takes else handle()

        async def run(request: Any, context: _micro.Context) -> bytes:
            done = begin(context)
            if is_later(done):
                await done
            return b""

        def run_somewhere(request: Any, context: _micro.Context) -> Any:
            done = begin(context)
            return _nothing(done) if is_later(done) else b""

        # The names of this module are not the user's.
        run.__annotations__ = run_somewhere.__annotations__ = {}
        super().__init__(name, run if said.is_async else run_somewhere, UNARY, settings=settings, inline=inline)

    of_messages = True

    def options(self) -> dict[str, Any]:
        """The job's settings document."""
        return self.settings


async def _nothing(done: Any) -> bytes:
    await done
    return b""


def of_context(meta: bytes) -> Running | None:
    """The run that is carried out; nothing where a message is handled."""
    said = dict(of_blocks(meta)[1].pairs)
    if "job" not in said:
        return None
    return Running(str(said["job"]), _moment(int(said["time"])), int(said["attempt"]))


def statuses(payload: Any) -> list[JobStatus]:
    """Jobs as the core tells them."""
    return [_status(one) for one in json.loads(bytes(payload))]


def _status(told: dict[str, Any]) -> JobStatus:
    runs = tuple(
        Run(
            time=_moment(one["time_ms"]),
            attempt=one["attempt"],
            node=one["node"],
            began=_moment(one["began_ms"]),
            took=None if one["took_ms"] is None else timedelta(milliseconds=one["took_ms"]),
            outcome=one["outcome"],
            error=one["error"],
        )
        for one in told["runs"]
    )
    following = None if told["next_ms"] is None else _moment(told["next_ms"])
    return JobStatus(told["name"], told["schedule"], told["scope"], following, runs)


def _moment(millis: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=millis)
