"""Text of whatever is given as text: an error has to arrive, whatever was put into it."""

from __future__ import annotations

from typing import Any


def text_of(value: Any) -> str:
    """``value`` as text that UTF-8 can say: what it says of itself, or its ``repr``, or the name of its type.

    ``None`` is no text. Bytes are read as UTF-8, and what has no meaning is replaced.
    """
    if value is None:
        return ""
    try:
        said = _said(value)
    except Exception:
        said = type(value).__name__
    return said.encode("utf-8", "replace").decode()


def _said(value: Any) -> str:
    if isinstance(value, str):
        # Not `str(value)`: of an enum that is its name.
        return str.__str__(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("utf-8", "replace")
    try:
        said = str(value)
    except Exception:
        said = ""
    return said or repr(value)
