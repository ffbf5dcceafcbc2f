"""The call that is being served, found from anywhere below its handler."""

from __future__ import annotations

from contextvars import ContextVar

from ._micro import Context

current: ContextVar[Context] = ContextVar("micro.context")
"""The call whose handler runs."""


def context() -> Context:
    """The call whose handler runs.

    Raises ``LookupError`` outside of a handler.
    """
    try:
        return current.get()
    except LookupError:
        raise LookupError("no call is being served here: this works inside of a handler") from None


__all__ = ["Context", "context", "current"]
