"""What a program does around the start and the stop of a service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from ._logging import logger
from ._middleware import is_async, is_later

Hook = Callable[[], Any]
H = TypeVar("H", bound=Hook)

LIMIT = 60.0
"""Seconds each may take."""


class Hooks:
    """The hooks of a service, by their moments."""

    def __init__(self) -> None:
        self._hooks: dict[str, list[Hook]] = {}

    def add(self, moment: str, hook: H) -> H:
        if not callable(hook):
            raise TypeError(f"the hook `{moment}` is {type(hook).__name__}: give a function without arguments")
        self._hooks.setdefault(moment, []).append(hook)
        return hook

    def have(self, moment: str) -> bool:
        """True when there are any."""
        return bool(self._hooks.get(moment))

    async def run(self, moment: str) -> None:
        """Runs those of a moment until one fails."""
        for hook in self._hooks.get(moment, ()):
            await _run(hook)

    async def run_all(self, moment: str) -> None:
        """Runs all of a moment, and logs the failures."""
        for hook in self._hooks.get(moment, ()):
            try:
                await _run(hook)
            except Exception as error:
                logger().warning("a hook `%s` failed", moment, exc_info=error)


async def _run(hook: Hook) -> None:
    async with asyncio.timeout(LIMIT):
        done = hook() if is_async(hook) else await asyncio.to_thread(hook)
        if is_later(done):
            await done
