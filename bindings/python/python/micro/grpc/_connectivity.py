"""Whether the service behind a channel can be reached."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from .._codec import PROTO
from .._errors import Cancelled, Closed, Error, Unavailable
from .._options import NO_TIMEOUT, document
from .._terms import Terms

_WAIT = 0x100
_CHECK = "/grpc.health.v1.Health/Check"

IDLE, CONNECTING = grpc.ChannelConnectivity.IDLE, grpc.ChannelConnectivity.CONNECTING
READY, SHUTDOWN = grpc.ChannelConnectivity.READY, grpc.ChannelConnectivity.SHUTDOWN


def probe(service: str) -> Terms:
    """A call that ends when the service has a node that takes connections, whatever that answers."""
    options: dict[str, Any] = {"wait_for_ready": True, "retry": "safe"}
    return service, _CHECK, b"", None, NO_TIMEOUT, 0, document(options), PROTO | _WAIT


def is_answer(error: Error) -> bool:
    """True for what only a node can have said."""
    return not isinstance(error, (Unavailable, Cancelled, Closed))


class Connectivity:
    """What is known of it, and who is told. It is ready from the first answer of a node on."""

    def __init__(self) -> None:
        self.now = IDLE
        self.listeners: list[Callable[[grpc.ChannelConnectivity], object]] = []

    def become(self, state: grpc.ChannelConnectivity) -> None:
        if self.now in (state, SHUTDOWN):
            return
        self.now = state
        for listener in list(self.listeners):
            listener(state)
