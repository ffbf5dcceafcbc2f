"""How values with parts are read: objects, arrays, choices, and models that read themselves."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any

from ._plain import plain
from ._scalars import Wrong, described, member, whole
from ._text import text_of

Shape = Callable[[Any], Any]

MISSING = object()


def made(kind: Any, fields: dict[str, Any]) -> Any:
    """An object of its fields. What it refuses by itself is the caller's fault."""
    try:
        return kind(**fields)
    except (TypeError, ValueError) as error:
        raise Wrong.saying(f"is refused: {text_of(error)}") from error


def camels(names: Iterable[str]) -> dict[str, str]:
    """What protobuf calls fields in JSON, where that is another name and no field has it."""
    known = set(names)
    made = {name: _AFTER.sub(lambda found: found[1].upper(), name) for name in known if "_" in name}
    return {name: camel for name, camel in made.items() if camel and camel not in known}


_AFTER = re.compile(r"_+(.?)", re.DOTALL)


def fields_of(value: Any, shapes: dict[str, Shape | None], needed: list[str], others: dict[str, str]) -> dict[str, Any]:
    """The fields that an object has. ``others`` are further names of some."""
    if type(value) is not dict:
        raise Wrong("an object", value)
    out = {}
    for name, shape in shapes.items():
        one = value.get(name, MISSING)
        if name in others:
            other = value.get(others[name], MISSING)
            if one is MISSING:
                one = other
            elif other is not MISSING:
                raise Wrong.saying(f"is there twice, once as {others[name]}").at(name)
        if one is MISSING:
            continue
        if shape is None:
            out[name] = one
            continue
        try:
            out[name] = shape(one)
        except Wrong as wrong:
            raise wrong.at(name) from None
    if len(out) < len(shapes):
        for name in needed:
            if name not in out:
                raise Wrong.saying("is missing").at(name)
    return out


def items_of(value: Any, shapes: list[Shape | None], least: int) -> list[Any]:
    if type(value) is not list:
        raise Wrong("an array", value)
    if not least <= len(value) <= len(shapes):
        raise Wrong.saying(f"has {len(value)} items, and should have {len(shapes)}")
    out = []
    for place, one in enumerate(value):
        shape = shapes[place]
        try:
            out.append(one if shape is None else shape(one))
        except Wrong as wrong:
            raise wrong.at(place) from None
    return out


def many(make: Any, inner: Shape | None) -> Shape:
    def read(value: Any) -> Any:
        if type(value) is not list:
            raise Wrong("an array", value)
        if inner is not None:
            value = _each(value, inner)
        try:
            return value if make is list else make(value)
        except TypeError:
            raise Wrong.saying("has items that cannot be those of a set") from None

    return read


def _each(value: list[Any], inner: Shape) -> list[Any]:
    place = 0
    out = []
    try:
        for one in value:
            out.append(inner(one))
            place += 1
    except Wrong as wrong:
        raise wrong.at(place) from None
    return out


def either(shapes: list[Shape], nullable: bool, wanted: str) -> Shape:
    # Text is a number only if it may be nothing else.
    of_text = sorted(shapes, key=lambda shape: shape is whole)

    def read(value: Any) -> Any:
        if value is None and nullable:
            return None
        best, score, deepest = MISSING, -1, None
        for shape in of_text if type(value) is str else shapes:
            try:
                found = shape(value)
            except Wrong as wrong:
                if wrong.path and (deepest is None or len(wrong.path) > len(deepest.path)):
                    deepest = wrong
                continue
            # Of objects, the one that has most of the fields is meant.
            names = getattr(shape, "names", None)
            fits = 0 if names is None or type(value) is not dict else len(names & value.keys())
            if type(value) is not dict:
                return found
            if fits > score:
                best, score = found, fits
        if best is not MISSING:
            return best
        raise deepest or Wrong(wanted, value)

    return read


def null(value: Any) -> None:
    if value is not None:
        raise Wrong("null", value)


def literal_of(args: tuple[Any, ...]) -> Shape:
    values: dict[tuple[type, Any], Any] = {}
    for arg in args:
        value = arg.value if isinstance(arg, Enum) else arg
        if type(value) not in (str, int, bool, type(None)):
            raise TypeError(f"Literal[{arg!r}] cannot be read from JSON")
        values[type(value), value] = arg
    return member(values, None)


def enum_of(kind: Any) -> Shape:
    values: dict[tuple[type, Any], Any] = {}
    for one in kind.__members__.values():
        try:
            value = plain(one.value)
        except (TypeError, ValueError):
            value = object()
        if type(value) not in (str, int, float, bool, type(None)):
            raise TypeError(f"{described(kind)}.{one.name} has a value that is no text and no number, so JSON cannot say it")
        values[type(value), value] = one
    return member(values, kind)


def validated(validate: Callable[[bytes], Any]) -> Shape:
    def read(value: Any) -> Any:
        try:
            return validate(json.dumps(value).encode())
        except ValueError as error:
            raise Wrong.of_pydantic(error) from error

    return read


def message(kind: Any) -> Shape:
    def read(value: Any) -> Any:
        from google.protobuf import json_format

        if type(value) is not dict:
            raise Wrong("an object", value)
        try:
            return json_format.ParseDict(value, kind(), ignore_unknown_fields=True)
        except json_format.ParseError as error:
            raise Wrong.saying(f"is refused: {error}") from error

    return read
