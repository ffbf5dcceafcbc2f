"""Tasks: messages whose answers are asked for later, by their ids."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from ._errors import Error, class_of
from ._messages import Publication, publication
from ._options import PublishOptions


class TaskState(NamedTuple):
    """How far a task has come."""

    state: str
    """``queued``, ``running``, ``failed`` (an attempt failed, and another follows), ``done``, or ``dead``: given up."""
    attempt: int | None = None
    """Of one that runs or has failed: which attempt, from 1."""
    node: str | None = None
    """Of one that runs: id of the worker's node."""
    error: Error | None = None
    """Of one that has failed or is dead: why."""


def task(topic: str, message: Any, options: PublishOptions) -> Publication:
    """A message with an answer, as the native client takes it."""
    rest: Any = {**options, "task": True}
    return publication(topic, message, rest)


def state(payload: Any) -> TaskState:
    """A state as the core tells it."""
    told = json.loads(bytes(payload))
    error = None if told["error"] is None else class_of(told["code"])(told["error"])
    return TaskState(told["state"], told["attempt"], told["node"], error)
