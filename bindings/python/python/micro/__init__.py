"""Services that find each other by name and call each other.

``Service`` serves, ``Client`` calls, ``errors`` is what goes wrong; ``micro.sync`` is the same for threads, and
``micro.testing`` has both in one process, for your tests. Nothing is done at import: what is here is loaded when it is used.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import errors as errors
    from . import sync as sync
    from . import testing as testing
    from ._client import Client as Client
    from ._client import Reply as Reply
    from ._context import Context as Context
    from ._context import context as context
    from ._errors import Code as Code
    from ._errors import Detail as Detail
    from ._errors import Error as Error
    from ._metadata import Metadata as Metadata
    from ._micro import __version__ as __version__
    from ._registry import Change as Change
    from ._registry import Endpoint as Endpoint
    from ._registry import Health as Health
    from ._registry import Node as Node
    from ._registry import Record as Record
    from ._runtime import Runtime as Runtime
    from ._service import Service as Service
    from ._streams import ClientStream as ClientStream
    from ._streams import Requests as Requests
    from ._streams import Stream as Stream
    from ._stub import Stub as Stub

_WHERE = {
    "Change": "_registry",
    "Client": "_client",
    "ClientStream": "_streams",
    "Code": "_errors",
    "Context": "_context",
    "Detail": "_errors",
    "Endpoint": "_registry",
    "Error": "_errors",
    "Health": "_registry",
    "Metadata": "_metadata",
    "Node": "_registry",
    "Record": "_registry",
    "Reply": "_client",
    "Requests": "_streams",
    "Runtime": "_runtime",
    "Service": "_service",
    "Stream": "_streams",
    "Stub": "_stub",
    "__version__": "_micro",
    "context": "_context",
}

__all__ = [
    "Change",
    "Client",
    "ClientStream",
    "Code",
    "Context",
    "Detail",
    "Endpoint",
    "Error",
    "Health",
    "Metadata",
    "Node",
    "Record",
    "Reply",
    "Requests",
    "Runtime",
    "Service",
    "Stream",
    "Stub",
    "context",
    "errors",
    "sync",
    "testing",
]


def __getattr__(name: str) -> object:
    import importlib

    if name in ("errors", "sync", "testing"):
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
    return found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
