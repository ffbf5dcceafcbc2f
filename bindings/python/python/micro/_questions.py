"""What is asked of the core, beside calls."""

from __future__ import annotations

import json
from typing import Any

from ._context import current
from ._options import nanoseconds

Question = tuple[str, str, int, int]


def question(operation: str, timeout: float | None, **args: Any) -> Question:
    """A question as the native client takes it. Arguments that are ``None`` are left out.

    It is part of the call that is being served, if one is, and ends with it.
    """
    if isinstance(timeout, str):
        raise TypeError(f"timeout={timeout!r} is text: give seconds, such as 1.5")
    given = {name: value for name, value in args.items() if value is not None}
    inbound = current.get(None)
    parent = 0 if inbound is None else inbound._id
    return operation, json.dumps(given, ensure_ascii=False), nanoseconds(timeout), parent
