"""What callers may know of a type: its fields and theirs, as trees with the names that Go has for types."""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Mapping
from typing import Any

from ._hints import arguments, hints_of, is_class_var, is_other_typeddict, present, substituted
from ._plain import is_protobuf, is_pydantic
from ._scalars import scalar

Tree = dict[str, Any]
"""``name``, ``type`` and ``values``, as the registry has them."""

_DEPTH = 3
"""Levels that go-micro tells: the type, its fields, theirs."""
_MANY = 64
"""Fields of a type that are told."""
_NAMES = {
    int: "int64",
    float: "float64",
    str: "string",
    bool: "bool",
    bytes: "[]uint8",
    bytearray: "[]uint8",
    memoryview: "[]uint8",
}
_LISTS = ("list", "set", "frozenset", "deque", "Sequence", "MutableSequence", "Set", "MutableSet", "Collection", "Iterable")


def tree(kind: Any, names: Mapping[str, Any] | None = None) -> Tree:
    """The tree of a type. What is not known of it, or not there yet, is left out. ``names`` are those of the handler's own."""
    told = _typed(kind, names, 1)
    name = getattr(kind, "__name__", None) or told["type"]
    return {"name": name, "type": told["type"] or name, "values": told["values"]}


def _typed(kind: Any, names: Mapping[str, Any] | None, level: int) -> Tree:
    kind, inner = _inner(kind)
    if inner is not None:
        item = _typed(inner, names, _DEPTH)["type"] if inner is not Any else ""
        return {"type": f"[]{item}", "values": []}
    origin = typing.get_origin(kind) or kind
    if not isinstance(origin, type):
        return {"type": "", "values": []}
    if origin in _NAMES:
        return {"type": _NAMES[origin], "values": []}
    if issubclass(origin, enum.Enum):
        return {"type": origin.__name__, "values": []}
    if scalar(origin) is not None:
        return {"type": "string", "values": []}
    fields = _fields(kind, origin, names)
    if fields is None:
        return {"type": "", "values": []}
    values = []
    if level < _DEPTH:
        for name, hint in list(fields.items())[:_MANY]:
            values.append({"name": name, **_typed(hint, names, level + 1)})
    return {"type": origin.__name__, "values": values}


def _inner(kind: Any) -> tuple[Any, Any]:
    """A type without what says more of it than what it is; and the type of its items, where it is a list."""
    while True:
        kind = present(kind)
        origin, args = typing.get_origin(kind), typing.get_args(kind)
        if origin in (typing.Annotated, typing.Final):
            kind = args[0]
        elif origin in (typing.Union, types.UnionType):
            rest = [arg for arg in args if arg is not type(None)]
            if len(rest) > 1:
                return Any, None
            kind = rest[0]
        elif isinstance(kind, typing.NewType):
            kind = kind.__supertype__
        elif isinstance(kind, dataclasses.InitVar):
            kind = kind.type
        elif origin is typing.Literal:
            kind = type(args[0])
        elif origin is tuple:
            return kind, args[0] if args[1:] == (...,) else Any
        elif getattr(origin or kind, "__name__", "") in _LISTS and not hasattr(origin or kind, "__dataclass_fields__"):
            return kind, args[0] if args else Any
        else:
            return kind, None


def _fields(kind: Any, origin: Any, names: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The types of the fields of a type that has some."""
    if is_protobuf(origin):
        return {}
    if is_pydantic(origin):
        return {one.alias or name: one.annotation for name, one in origin.model_fields.items()}
    is_dataclass = dataclasses.is_dataclass(origin)
    if not (is_dataclass or typing.is_typeddict(origin) or is_other_typeddict(origin) or hasattr(origin, "_fields")):
        return None
    try:
        hints = hints_of(origin, names)
    except (NameError, TypeError):
        hints = {}
    given = arguments(origin, typing.get_args(kind))
    if is_dataclass:
        own = [one.name for one in origin.__dataclass_fields__.values() if one.init and not is_class_var(one)]
    else:
        own = list(getattr(origin, "_fields", hints))
    return {name: substituted(hints.get(name, Any), given) for name in own}
