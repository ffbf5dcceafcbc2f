"""What a program does around the start and the stop of a service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from ._errors import Unavailable
from ._handler import UNARY, Handler
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
        await _called(hook)


async def _called(hook: Hook) -> Any:
    done = hook() if is_async(hook) else await asyncio.to_thread(hook)
    return await done if is_later(done) else done


class Check(Handler):
    """The register check: asked by the service itself, and answered as a call is."""

    def __init__(self, check: Hook) -> None:
        async def is_fit() -> Any:
            if await _called(check) is False:
                raise Unavailable("the register check returned False")
            return b""

        super().__init__("register_check", is_fit, UNARY, settings={})

    def options(self) -> dict[str, Any]:
        return {"register_check": True}
