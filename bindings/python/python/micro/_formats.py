"""Content types of the program's own, beside JSON and protobuf."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from . import _micro
from ._micro import Payload
from ._plain import is_protobuf, plain
from ._scalars import Wrong
from ._text import text_of

_DEEPEST = 200
"""Parts within parts."""


class Format(NamedTuple):
    """How messages of a content type are written and read."""

    name: str
    dumps: Callable[[Any], bytes]
    loads: Callable[[bytes], Any]

    def write(self, message: Any, *, reply: bool) -> bytes:
        """The bytes of a message. Raises ``ValueError`` that says why there are none."""
        try:
            if is_protobuf(message):
                from google.protobuf import json_format

                value = json_format.MessageToDict(
                    message, preserving_proto_field_name=reply, always_print_fields_with_no_presence=reply
                )
            else:
                value = _plainly(message, 0)
            return bytes(self.dumps(value))
        except Exception as error:
            raise ValueError(text_of(error)) from error

    def read(self, payload: Any) -> Any:
        """What the bytes of a message say. Raises ``Wrong`` for those that say nothing."""
        try:
            return self.loads(bytes(payload))
        except Exception as error:
            raise Wrong.saying(text_of(error)) from error


formats: dict[int, Format] = {}
"""By what they are in the flags of a message."""


def codec(name: str, *, dumps: Callable[[Any], bytes], loads: Callable[[bytes], Any]) -> None:
    """Adds a content type to those of the process: ``application/grpc+<name>``, and Connect's ``application/<name>``.

    Services take it from then on, and calls speak it with ``codec="<name>"``. ``dumps`` is given what JSON has, and ``bytes``:
    dataclasses, pydantic models and protobuf messages are made of these first. ``loads`` gives the same back, which is read as
    the annotations of the handler say. Each may raise what it likes for what it cannot write or read. A name that is there
    is replaced.

    Raises ``errors.InvalidArgument`` for what cannot be a name, and ``errors.ResourceExhausted`` for the thirteenth.
    """
    formats[_micro.codec(name)] = Format(name, dumps, loads)


def _plainly(value: Any, depth: int) -> Any:
    kind = type(value)
    if kind in (str, int, float, bool, bytes, type(None)):
        return value
    if depth > _DEEPEST:
        raise ValueError("it is nested too deep, or part of itself")
    if isinstance(value, (bytes, bytearray, memoryview, Payload)):
        return bytes(value)
    value = plain(value)
    if isinstance(value, dict):
        return {_plainly(name, depth + 1): _plainly(one, depth + 1) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plainly(one, depth + 1) for one in value]
    return value if isinstance(value, (str, int, float)) else _plainly(value, depth + 1)
