"""Subscribers of a service: functions that handle the messages of a topic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import _codec
from ._context import current
from ._errors import Error
from ._handler import UNARY, Handler
from ._messages import reject, start_of
from ._middleware import is_later
from ._plain import is_protobuf


class Subscriber(Handler):
    """A function of the user's, and the topic whose messages it handles."""

    of_messages = True

    def __init__(
        self,
        topic: str,
        function: Callable[..., Any],
        *,
        settings: dict[str, Any],
        request: Any = None,
        inline: bool = False,
        names: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(topic, function, UNARY, settings=settings, request=request, inline=inline, names=names)
        if self.settings.get("task"):
            # It is the answer.
            return
        # What it returns is for no caller.
        self.response, handle = None, self.function

        async def handled(*given: Any) -> bytes:
            await handle(*given)
            return b""

        def handled_somewhere(*given: Any) -> Any:
            returned = handle(*given)
            return _nothing(returned) if is_later(returned) else b""

        self.function = handled if self.is_certain else handled_somewhere

    def options(self) -> dict[str, Any]:
        """The subscriber's settings document."""
        told = dict(self.settings)
        if "start" in told:
            told["start"] = start_of(told["start"])
        kind: Any = self._told[0]
        if isinstance(kind, str):
            told["request"] = kind
        elif is_protobuf(kind):
            told["request"] = kind.DESCRIPTOR.full_name
        elif kind not in (None, Any, type(None), object, bytes, bytearray, memoryview):
            from ._fields import tree

            told["request"] = tree(kind, self._names)
        return told

    def _decoder(self) -> _codec.Decode:
        read = super()._decoder()

        def decode(payload: Any, flags: int) -> Any:
            try:
                return read(payload, flags)
            except Error as error:
                # It will never be read: to try again is of no use.
                if (context := current.get(None)) is not None:
                    reject(context, error)
                raise

        return decode


async def _nothing(returned: Any) -> bytes:
    await returned
    return b""
