"""What annotations promise: makes values of a type out of JSON, or says where and why that cannot be.

A shape is a function of what JSON gave. It returns a value of its type, and raises ``Wrong`` for everything else: JSON's own
types are never made into each other. A type that cannot be promised is refused when its shape is asked for.
"""

from __future__ import annotations

import collections
import collections.abc as abc
import dataclasses
import enum
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from ._hints import arguments, hints_of, is_class_var, is_other_typeddict, presence, present, substituted
from ._parts import Shape, camels, either, enum_of, fields_of, items_of, literal_of, made, many, message, null, validated
from ._plain import is_protobuf, is_pydantic
from ._scalars import Wrong, described, number, scalar

_REPEATED: dict[Any, Any] = {
    list: list,
    abc.Sequence: list,
    abc.MutableSequence: list,
    abc.Collection: list,
    abc.Iterable: list,
    abc.Container: list,
    abc.Reversible: list,
    set: set,
    abc.Set: set,
    abc.MutableSet: set,
    frozenset: frozenset,
    collections.deque: collections.deque,
}
_MAPPINGS: dict[Any, Any] = {
    dict: dict,
    abc.Mapping: dict,
    abc.MutableMapping: dict,
    collections.OrderedDict: collections.OrderedDict,
    collections.Counter: collections.Counter,
}
_ANYTHING = (Any, object)


class Shapes:
    """The shapes of a message's types. ``names`` are local names that annotations which are text may use."""

    def __init__(self, names: Mapping[str, Any] | None = None) -> None:
        self._names = names
        self._known: dict[Any, Shape] = {}
        self.is_exact = False
        """True when numbers have to be read with every digit."""

    def of(self, kind: Any) -> Shape | None:
        """The shape of ``kind``; ``None`` where whatever JSON gives is what is wanted.

        Raises ``TypeError`` for a type that cannot be made out of JSON, ``NameError`` for one that is not there yet.
        """
        if any(kind is one for one in _ANYTHING):
            return None
        if kind is None or kind is type(None):
            return null
        if isinstance(kind, (str, typing.ForwardRef)):
            return self.of(self._resolved(kind))
        known = scalar(kind)
        if known is not None:
            self.is_exact |= known.is_exact
            return known.read
        value = getattr(kind, "__value__", None) if type(kind).__name__ == "TypeAliasType" else None
        if value is not None:
            return self._once(kind, lambda: self.of(value))
        if isinstance(kind, typing.NewType):
            return self.of(kind.__supertype__)
        if isinstance(kind, typing.TypeVar):
            if kind.__constraints__:
                return self._union(kind.__constraints__)
            return None if kind.__bound__ is None else self.of(kind.__bound__)
        if isinstance(kind, dataclasses.InitVar):
            return self.of(kind.type)
        origin, args = typing.get_origin(kind), typing.get_args(kind)
        if origin is typing.Annotated:
            return self._annotated(kind, args)
        if origin in (typing.Final, typing.ClassVar, typing.Required, typing.NotRequired):
            return self.of(args[0])
        if origin is typing.Literal:
            return literal_of(args)
        if origin in (typing.Union, types.UnionType):
            return self._union(args)
        return self._composed(kind, origin or kind, args)

    def _composed(self, kind: Any, origin: Any, args: tuple[Any, ...]) -> Shape | None:
        """Of what has parts."""
        if origin is tuple:
            return self._tuple(args, is_bare=kind in (tuple, typing.Tuple))  # noqa: UP006
        if origin in _REPEATED:
            return many(_REPEATED[origin], self.of(args[0]) if args else None)
        if origin in _MAPPINGS:
            if origin is collections.Counter:
                args = (*args, int)[:2] if args else ()
            return self._mapping(_MAPPINGS[origin], args)
        if origin is collections.defaultdict or not isinstance(origin, type):
            raise TypeError(f"{described(kind)} cannot be read from JSON")
        if is_pydantic(origin):
            return validated(kind.model_validate_json)
        if is_protobuf(origin):
            return message(origin)
        if issubclass(origin, enum.Enum):
            return enum_of(origin)
        if dataclasses.is_dataclass(origin):
            return self._once(kind, lambda: self._dataclass(origin, arguments(origin, args)))
        if typing.is_typeddict(origin) or is_other_typeddict(origin):
            return self._once(kind, lambda: self._typeddict(origin, arguments(origin, args)))
        if issubclass(origin, tuple) and hasattr(origin, "_fields"):
            return self._once(kind, lambda: self._namedtuple(origin, arguments(origin, args)))
        raise TypeError(
            f"{described(kind)} cannot be read from JSON: annotate with a dataclass, TypedDict, NamedTuple, pydantic model, "
            "or what is made of standard types"
        )

    def _once(self, kind: Any, make: Callable[[], Shape | None]) -> Shape | None:
        """Of a type that may have itself as a part."""
        found = self._known.get(kind)
        if found is not None:
            return found
        made: list[Shape | None] = []

        def later(value: Any) -> Any:
            shape = made[0]
            return value if shape is None else shape(value)

        self._known[kind] = later
        try:
            made.append(make())
        except BaseException:
            del self._known[kind]
            raise
        if made[0] is None:
            return None
        self._known[kind] = made[0]
        return made[0]

    def _resolved(self, text: str | typing.ForwardRef) -> Any:
        said = text if isinstance(text, str) else text.__forward_arg__
        holder = types.SimpleNamespace(__annotations__={"it": said})
        return typing.get_type_hints(holder, globalns=dict(vars(typing)), localns=dict(self._names or {}))["it"]

    def _annotated(self, kind: Any, args: tuple[Any, ...]) -> Shape | None:
        rules = [one for one in args[1:] if type(one).__module__.partition(".")[0] in ("pydantic", "annotated_types")]
        if not rules:
            return self.of(args[0])
        try:
            from pydantic import TypeAdapter
        except ImportError:
            raise TypeError(f"{rules[0]!r} of {described(args[0])} is a rule for pydantic, which is not installed") from None
        return validated(TypeAdapter(kind).validate_json)

    def _union(self, args: tuple[Any, ...]) -> Shape | None:
        if any(arg is one for arg in args for one in _ANYTHING):
            return None
        rest = [arg for arg in args if arg is not type(None)]
        # An integer is a float, too, and meant as what it is.
        rest.sort(key=lambda arg: arg is float)
        shapes = [self.of(arg) for arg in rest]
        if any(shape is None for shape in shapes):
            return None
        known = typing.cast(list[Shape], shapes)
        wanted = " or ".join(described(arg) for arg in args)
        nullable = len(rest) < len(args)
        if len(known) == 1:
            only = known[0]
            return (lambda value: None if value is None else only(value)) if nullable else only
        return either(known, nullable, wanted)

    def _tuple(self, args: tuple[Any, ...], *, is_bare: bool) -> Shape | None:
        if is_bare:
            return many(tuple, None)
        if len(args) == 2 and args[1] is Ellipsis:
            return many(tuple, self.of(args[0]))
        if any(typing.get_origin(arg) is typing.Unpack for arg in args):
            raise TypeError("a tuple of any number of parts between others cannot be read from JSON")
        shapes = [self.of(arg) for arg in args if arg != ()]
        return lambda value: tuple(items_of(value, shapes, len(shapes)))

    def _mapping(self, make: Any, args: tuple[Any, ...]) -> Shape:
        key, inner = (self._key(args[0]), self.of(args[1])) if args else (None, None)

        def read(value: Any) -> Any:
            if type(value) is not dict:
                raise Wrong("an object", value)
            if key is None and inner is None:
                return value if make is dict else make(value)
            out = {}
            for name, one in value.items():
                try:
                    out[name if key is None else key(name)] = one if inner is None else inner(one)
                except Wrong as wrong:
                    raise wrong.at(name) from None
            return out if make is dict else make(out)

        return read

    def _key(self, kind: Any) -> Shape | None:
        """Of the names of an object, which are text."""
        if kind in (str, Any, object):
            return None
        if typing.get_origin(kind) in (typing.Union, types.UnionType):
            shapes = [self._key(arg) or (lambda name: name) for arg in typing.get_args(kind)]
            return either(shapes, False, described(kind))
        if isinstance(kind, typing.NewType):
            return self._key(kind.__supertype__)
        shape = self.of(kind)
        is_enum = isinstance(kind, type) and issubclass(kind, enum.Enum)
        values = [one.value for one in kind.__members__.values()] if is_enum else typing.get_args(kind)
        if kind in (int, float, bool) or any(type(one) in (int, float, bool) for one in values):
            return lambda name: shape(number(name)) if shape else number(name)
        if shape is None or typing.get_origin(kind) is tuple or not (is_enum or values or scalar(kind)):
            raise TypeError(f"{described(kind)} cannot be the name of a field in JSON")
        return shape

    def _dataclass(self, kind: Any, given: dict[Any, Any]) -> Shape:
        hints = hints_of(kind, self._names)
        fields = [field for field in kind.__dataclass_fields__.values() if field.init and not is_class_var(field)]
        shapes = {one.name: self.of(substituted(hints[one.name], given)) for one in fields}
        needed = [
            one.name for one in fields if one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING
        ]
        others = camels(shapes)

        def read(value: Any) -> Any:
            return made(kind, fields_of(value, shapes, needed, others))

        read.names = frozenset(shapes).union(others.values())  # type: ignore[attr-defined]
        return read

    def _typeddict(self, kind: Any, given: dict[Any, Any]) -> Shape:
        hints = hints_of(kind, self._names)
        needed = []
        for name, hint in hints.items():
            origin = presence(hint)
            if origin == "Required" or (origin is None and name in kind.__required_keys__):
                needed.append(name)
        shapes = {name: self.of(substituted(present(hint), given)) for name, hint in hints.items()}
        others = camels(shapes)

        def read(value: Any) -> Any:
            return fields_of(value, shapes, needed, others)

        read.names = frozenset(shapes).union(others.values())  # type: ignore[attr-defined]
        return read

    def _namedtuple(self, kind: Any, given: dict[Any, Any]) -> Shape:
        hints = hints_of(kind, self._names)
        shapes = {name: self.of(substituted(hints[name], given)) if name in hints else None for name in kind._fields}
        needed = [name for name in kind._fields if name not in kind._field_defaults]
        order, others = list(shapes.values()), camels(shapes)

        def read(value: Any) -> Any:
            if type(value) is dict:
                return made(kind, fields_of(value, shapes, needed, others))
            return kind(*items_of(value, order, len(needed)))

        return read
