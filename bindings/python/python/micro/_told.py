"""What the caller of a handler that raised is told."""

from __future__ import annotations

import asyncio
from typing import Any

from ._errors import Code, Error, Forked, LocalError, Panic, WrongArgument, details_of
from ._logging import logger
from ._text import text_of

Told = tuple[int, int, str, str, list[tuple[str, bytes]], float]


def describe(error: BaseException, endpoint: str) -> Told:
    """Code, go-micro's number, id, text and details of an error, and for how many seconds to stay away; 0 where it does
    not say."""
    meant = _meant(error)
    if meant is not None:
        code = _code(meant)
        said = text_of(getattr(meant, "detail", None) or (meant.args[0] if meant.args else "")) or code.name
        details = [(detail.type_url, detail.value) for detail in details_of(getattr(meant, "details", ()))]
        http = 0 if isinstance(meant, LocalError) else _number(_given_http(meant))
        return int(code), http, text_of(getattr(meant, "id", None)), said, details, _pushback(meant)
    if isinstance(error, asyncio.CancelledError):
        return int(Code.CANCELLED), 0, "micro", f"{endpoint} was cancelled", [], 0.0
    if not isinstance(error, (KeyboardInterrupt, SystemExit)):
        # What ends the program is told elsewhere.
        logger().error("%s raised %s", endpoint, type(error).__name__, exc_info=error)
    # Its text was not meant for the caller, and it may be secret.
    return int(Code.INTERNAL), 0, "micro", f"{endpoint} failed: the log of its service says why", [], 0.0


def _meant(error: BaseException) -> Error | None:
    """The error that the caller should see, if one was meant for it."""
    if isinstance(error, Error):
        # These are mistakes of the handler's own, not of its caller.
        return None if isinstance(error, (WrongArgument, Forked, Panic)) else error
    if isinstance(error, BaseExceptionGroup):
        # A task group raises what its tasks raised as a group, even when it is one.
        inside = [_meant(one) for one in error.exceptions]
        first = inside[0]
        if first is not None and all(one is not None and _code(one) == _code(first) for one in inside):
            return first
    return None


def _code(error: Error) -> Code:
    try:
        code = Code(int(error.code))
    except (TypeError, ValueError):
        return Code.UNKNOWN
    return code if code is not Code.OK else Code.UNKNOWN


def _given_http(error: Error) -> Any:
    # A class may say it for all of its errors.
    return error._http if isinstance(getattr(type(error), "http", None), property) else getattr(error, "http", 0)


def _number(http: Any) -> int:
    """go-micro's number, where it is one."""
    try:
        number = int(http)
    except (TypeError, ValueError, OverflowError):
        return 0
    return number if 0 <= number < 1 << 31 else 0


def _pushback(error: Error) -> float:
    return float(getattr(error, "_retry_after", 0.0))
