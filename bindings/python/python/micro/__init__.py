"""Services that find each other by name and call each other.

``Service`` serves, ``Client`` calls, ``errors`` is what goes wrong; ``micro.sync`` is the same for threads, and
``micro.testing`` has both in one process, for your tests. Nothing is done at import: what is here is loaded when it is used.
"""

from __future__ import annotations

import _thread
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import errors as errors
    from . import grpc as grpc
    from . import sync as sync
    from . import testing as testing
    from ._client import Client as Client
    from ._context import Context as Context
    from ._context import context as context
    from ._errors import Code as Code
    from ._errors import Detail as Detail
    from ._errors import Error as Error
    from ._formats import codec as codec
    from ._jobs import JobStatus as JobStatus
    from ._jobs import Run as Run
    from ._jobs import Running as Running
    from ._messages import CloudEvent as CloudEvent
    from ._messages import Delivered as Delivered
    from ._messages import Delivery as Delivery
    from ._metadata import Metadata as Metadata
    from ._micro import __version__ as __version__
    from ._middleware import Call as Call
    from ._operator import Setting as Setting
    from ._provide import Provided as Provided
    from ._provide import Registry as Registry
    from ._provide import provide as provide
    from ._provide_broker import Broker as Broker
    from ._provide_broker import Lent as Lent
    from ._provide_broker import Message as Message
    from ._provide_broker import Subscription as Subscription
    from ._registry import Change as Change
    from ._registry import Endpoint as Endpoint
    from ._registry import Health as Health
    from ._registry import KnownNode as KnownNode
    from ._registry import Node as Node
    from ._registry import Record as Record
    from ._retry import FailedAttempt as FailedAttempt
    from ._retry import Retry as Retry
    from ._runtime import Runtime as Runtime
    from ._service import Service as Service
    from ._streams import ClientStream as ClientStream
    from ._streams import Requests as Requests
    from ._streams import Stream as Stream
    from ._stub import Stub as Stub
    from ._terms import Reply as Reply
    from ._work import TaskState as TaskState

_WHERE = {
    "Broker": "_provide_broker",
    "Call": "_middleware",
    "Change": "_registry",
    "Client": "_client",
    "ClientStream": "_streams",
    "CloudEvent": "_messages",
    "Code": "_errors",
    "Context": "_context",
    "Delivered": "_messages",
    "Delivery": "_messages",
    "Detail": "_errors",
    "Endpoint": "_registry",
    "Error": "_errors",
    "FailedAttempt": "_retry",
    "Health": "_registry",
    "JobStatus": "_jobs",
    "KnownNode": "_registry",
    "Lent": "_provide_broker",
    "Message": "_provide_broker",
    "Metadata": "_metadata",
    "Node": "_registry",
    "Provided": "_provide",
    "Record": "_registry",
    "Registry": "_provide",
    "Reply": "_terms",
    "Requests": "_streams",
    "Retry": "_retry",
    "Run": "_jobs",
    "Running": "_jobs",
    "Runtime": "_runtime",
    "Service": "_service",
    "Setting": "_operator",
    "Stream": "_streams",
    "Stub": "_stub",
    "Subscription": "_provide_broker",
    "TaskState": "_work",
    "__version__": "_micro",
    "codec": "_formats",
    "context": "_context",
    "provide": "_provide",
}

__all__ = [
    "Broker",
    "Call",
    "Change",
    "Client",
    "ClientStream",
    "CloudEvent",
    "Code",
    "Context",
    "Delivered",
    "Delivery",
    "Detail",
    "Endpoint",
    "Error",
    "FailedAttempt",
    "Health",
    "JobStatus",
    "KnownNode",
    "Lent",
    "Message",
    "Metadata",
    "Node",
    "Provided",
    "Record",
    "Registry",
    "Reply",
    "Requests",
    "Retry",
    "Run",
    "Running",
    "Runtime",
    "Service",
    "Setting",
    "Stream",
    "Stub",
    "Subscription",
    "TaskState",
    "codec",
    "context",
    "errors",
    "provide",
    "sync",
    "testing",
]


def __getattr__(name: str) -> object:
    is_module = name in ("errors", "grpc", "sync", "testing")
    if not is_module and name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if not _order:
        with _early:
            # What it does at a fork comes after what is done here, because threads that load need its lock.
            import logging as logging

            if not _order:
                _order.append(True)
                os.register_at_fork(before=_wait_for_loading)
    with _loading:
        import importlib

        if is_module:
            return importlib.import_module(f"{__name__}.{name}")
        found = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
    return found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


# A module that a thread was loading when another one forked can never be loaded in the child. So a fork waits for that.
_early, _loading = _thread.RLock(), _thread.RLock()
_order: list[bool] = []
_held: list[_thread.RLock] = []
_PATIENCE = 10.0
"""Seconds a fork waits at most for each lock."""


def _wait_for_loading() -> None:
    known = _logging_forks()
    # Where this comes second, the thread that is waited for may need the lock that `logging` has taken for the fork.
    lent = known and not _order and _logs("_releaseLock")
    for lock in (_early, _loading):
        # Done already, unless this was loaded for the first time a moment ago.
        if lock not in _held and lock.acquire(timeout=_PATIENCE):
            _held.append(lock)
    if lent or (not known and _logging_forks()):
        # It lets its lock go after the fork, also when it was loaded meanwhile.
        _logs("_acquireLock") or _logs("_prepareFork")


def _logs(what: str) -> bool:
    """Has ``logging`` do something with its lock, where it has that."""
    act = getattr(sys.modules["logging"], what, None)
    try:
        if act is not None:
            act()
    except RuntimeError:
        return False
    return act is not None


def _logging_forks() -> bool:
    """True once ``logging`` does something at a fork."""
    return hasattr(sys.modules.get("logging"), "_after_at_fork_child_reinit_locks")


def _after_fork() -> None:
    while _held:
        _held.pop().release()


def _in_child() -> None:
    global _early, _loading
    _held.clear()
    _early, _loading = _thread.RLock(), _thread.RLock()


os.register_at_fork(before=_wait_for_loading, after_in_parent=_after_fork, after_in_child=_in_child)
