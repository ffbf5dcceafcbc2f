"""What annotations say: type variables that stand for something, keys that may be missing, names of a function's own."""

from __future__ import annotations

import dataclasses
import sys
import typing
from collections.abc import Mapping
from typing import Any


def arguments(origin: Any, args: tuple[Any, ...]) -> dict[Any, Any]:
    """What the type variables of a class and of its bases stand for."""
    given = dict(zip(getattr(origin, "__parameters__", ()), args, strict=False))
    for base in getattr(origin, "__orig_bases__", ()):
        above = typing.get_origin(base)
        if above in (None, typing.Generic, typing.Protocol):
            continue
        inner = tuple(substituted(arg, given) for arg in typing.get_args(base))
        given.update({name: value for name, value in arguments(above, inner).items() if name not in given})
    return given


def substituted(hint: Any, given: dict[Any, Any]) -> Any:
    """A hint with its type variables replaced."""
    if not given:
        return hint
    if isinstance(hint, typing.TypeVar):
        return given.get(hint, hint)
    if isinstance(hint, dataclasses.InitVar):
        return substituted(hint.type, given)
    parameters = getattr(hint, "__parameters__", ())
    if not parameters or isinstance(hint, type):
        return hint
    return hint[tuple(given.get(one, one) for one in parameters)]


def presence(hint: Any) -> str | None:
    """``Required`` or ``NotRequired``, where a key says so."""
    while (origin := typing.get_origin(hint)) is not None:
        name = getattr(origin, "__name__", None) or getattr(origin, "_name", None)
        if name in ("Required", "NotRequired"):
            return str(name)
        if origin is not typing.Annotated and name != "ReadOnly":
            return None
        hint = typing.get_args(hint)[0]
    return None


def present(hint: Any) -> Any:
    """A key's type without what says whether it is there."""
    while (origin := typing.get_origin(hint)) is not None:
        name = getattr(origin, "__name__", None) or getattr(origin, "_name", None)
        if name not in ("Required", "NotRequired", "ReadOnly"):
            return hint
        hint = typing.get_args(hint)[0]
    return hint


def around() -> dict[str, Any]:
    """Local names of the functions that are running, the nearest first."""
    out: dict[str, Any] = {}
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_locals is not frame.f_globals and not frame.f_globals.get("__name__", "").startswith("micro."):
            for name, value in frame.f_locals.items():
                out.setdefault(name, value)
        frame = frame.f_back  # type: ignore[assignment]
    return out


def hints_of(kind: Any, names: Mapping[str, Any] | None) -> dict[str, Any]:
    """The annotations of a class. Raises ``NameError`` for what is not there yet."""
    local = {**(names or {}), kind.__name__: kind}
    try:
        return typing.get_type_hints(kind, localns=local, include_extras=True)
    except NameError:
        # A class made inside of a function: the caller is usually still in there.
        return typing.get_type_hints(kind, localns={**around(), **local}, include_extras=True)


def is_class_var(field: Any) -> bool:
    return getattr(field, "_field_type", None) is dataclasses._FIELD_CLASSVAR  # type: ignore[attr-defined]


def is_other_typeddict(kind: Any) -> bool:
    # Those of `typing_extensions` are of another class.
    return issubclass(kind, dict) and hasattr(kind, "__required_keys__")
