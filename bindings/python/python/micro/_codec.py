"""What can be a message, and what it is on the wire."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Callable
from typing import Any, Union

from ._errors import Internal, Unimplemented
from ._micro import Payload

PROTO, JSON, BYTES, TEXT = 0, 1, 2, 3
"""Codecs: the lowest bits of the flags of a message."""
_CODEC = 0xF
_NAMES = {PROTO: "protobuf", JSON: "JSON", BYTES: "bytes", TEXT: "text"}

Raw = bytes | bytearray | memoryview | Payload
Decode = Callable[[Any, int], Any]

_dump_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, default=lambda o: _plain(o)).encode


def is_protobuf(kind: Any) -> bool:
    """True for classes that protoc has generated, and their objects."""
    return hasattr(kind, "DESCRIPTOR") and hasattr(kind, "SerializeToString")


def _is_pydantic(kind: Any) -> bool:
    return hasattr(kind, "model_validate_json") and hasattr(kind, "model_dump_json")


def _plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__") and not isinstance(value, type):
        import dataclasses

        return dataclasses.asdict(value)
    if _is_pydantic(value) and not isinstance(value, type):
        return value.model_dump(mode="json")
    if is_protobuf(value) and not isinstance(value, type):
        from google.protobuf import json_format

        return json_format.MessageToDict(value)
    raise TypeError(type(value).__name__)


def natural(message: Any) -> int:
    """The codec of a message nobody asked another of."""
    if isinstance(message, (bytes, bytearray, memoryview, Payload)) or is_protobuf(message):
        return PROTO
    return JSON


def codec_of(name: str | None, message: Any) -> int:
    """The codec of a request: the one asked for, or what its type suggests."""
    if name is None:
        return natural(message)
    for codec, known in _NAMES.items():
        if name == known.lower() or (codec == PROTO and name == "proto"):
            return codec
    raise ValueError(f'codec {name!r} is unknown: write "json", "proto", "bytes" or "text"')


def stream_codec(name: str | None, returns: Any, first: Any) -> int:
    """The codec of a stream, of which the first request may be known."""
    if name is not None or first is not None:
        return codec_of(name, first)
    raw = returns in (bytes, bytearray, memoryview, Payload)
    return PROTO if raw or is_protobuf(returns) else JSON


def encode(message: Any, flags: int, what: str, *, reply: bool = False) -> Raw:
    """The bytes of a message in a codec. ``what`` is named by the error when that cannot be."""
    if isinstance(message, (bytes, bytearray, memoryview, Payload)):
        return message
    codec = flags & _CODEC
    if codec == PROTO and is_protobuf(message):
        return message.SerializeToString()  # type: ignore[no-any-return]
    if codec == JSON:
        return _json(message, what, reply)
    if codec == TEXT and isinstance(message, str):
        return message.encode()
    raise _unsendable(message, codec, what)


def _json(message: Any, what: str, reply: bool) -> bytes:
    if is_protobuf(message):
        from google.protobuf import json_format

        # go-micro's two sides write different JSON, and read either: see `Side` of the core.
        text = json_format.MessageToJson(
            message,
            indent=None,
            preserving_proto_field_name=reply,
            always_print_fields_with_no_presence=reply,
        )
        return text.encode()
    if _is_pydantic(message):
        return message.model_dump_json().encode()  # type: ignore[no-any-return]
    try:
        return _dump_json(message).encode()
    except (TypeError, ValueError) as error:
        raise _unsendable(message, JSON, what, error) from None


def _unsendable(message: Any, codec: int, what: str, why: Exception | None = None) -> Exception:
    kind = type(message).__name__
    if isinstance(message, types.CoroutineType):
        message.close()
        return Internal(f"{what} is a coroutine: `await` is missing", id="micro")
    if message is None:
        return Internal(f"{what} is None: is a `return` missing?", id="micro")
    if codec == JSON:
        reason = f" ({why})" if why and str(why) != kind else ""
        hint = "a dict, list, str, number, dataclass, pydantic model or protobuf message"
        return Internal(f"{what} is {kind}, which is no JSON{reason}: give {hint}", id="micro")
    hint = "a str" if codec == TEXT else "a protobuf message or bytes"
    if codec == BYTES:
        hint = "bytes"
    return Internal(f"{what} is {kind}, but the call speaks {_NAMES.get(codec, '?')}: give {hint}", id="micro")


def decoder(kind: Any, what: str) -> Decode:
    """Reads messages of a type; ``None`` and ``Any`` are whatever the codec makes of them."""
    kind = _strip(kind)
    if kind in (None, Any, object, type(None)):
        return _natural_decode(what)
    if kind in (bytes, bytearray):
        return lambda payload, flags: payload if type(payload) is kind else kind(payload)
    if kind in (memoryview, Payload):
        return lambda payload, flags: memoryview(payload)
    if is_protobuf(kind):
        return _protobuf_decode(kind, what)
    return _json_decode(kind, what)


def _natural_decode(what: str) -> Decode:
    def decode(payload: Any, flags: int) -> Any:
        codec = flags & _CODEC
        if codec == JSON:
            return _loads(payload, what)
        return _text(payload, what) if codec == TEXT else bytes(payload)

    return decode


def _protobuf_decode(kind: Any, what: str) -> Decode:
    parse, name = kind.FromString, kind.DESCRIPTOR.full_name

    def decode(payload: Any, flags: int) -> Any:
        codec = flags & _CODEC
        try:
            if codec == JSON:
                from google.protobuf import json_format

                return json_format.Parse(bytes(payload), kind(), ignore_unknown_fields=True)
            return parse(payload if type(payload) is bytes else memoryview(payload))
        except Exception as error:
            raise Internal(f"{what} is no {name}: {error}", id="micro") from error

    return decode


def _json_decode(kind: Any, what: str) -> Decode:
    validate = getattr(kind, "model_validate_json", None)
    shape = None if validate else _shape(kind)

    def decode(payload: Any, flags: int) -> Any:
        codec = flags & _CODEC
        if codec == TEXT and kind is str:
            return _text(payload, what)
        if codec != JSON:
            name = getattr(kind, "__name__", str(kind))
            raise Unimplemented(f"{what} came as {_NAMES.get(codec, '?')}, and {name} is read from JSON: send JSON", id="micro")
        try:
            if validate:
                return validate(bytes(payload))
            value = _loads(payload, what)
            return shape(value) if shape else value
        except Internal:
            raise
        except Exception as error:
            name = getattr(kind, "__name__", str(kind))
            raise Internal(f"{what} is no {name}: {error}", id="micro") from error

    return decode


def _loads(payload: Any, what: str) -> Any:
    try:
        return json.loads(payload if type(payload) is bytes else bytes(payload))
    except ValueError as error:
        raise Internal(f"{what} is no JSON: {error}", id="micro") from error


def _text(payload: Any, what: str) -> str:
    try:
        return str(payload, "utf-8")
    except ValueError as error:
        raise Internal(f"{what} is no UTF-8: {error}", id="micro") from error


def _strip(kind: Any) -> Any:
    if typing.get_origin(kind) is typing.Annotated:
        return typing.get_args(kind)[0]
    return kind


def _shape(kind: Any) -> Callable[[Any], Any] | None:
    """Makes an object of ``kind`` out of JSON; ``None`` where JSON's own is what is wanted."""
    kind = _strip(kind)
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    validate: Callable[[Any], Any] | None = getattr(kind, "model_validate", None)
    if validate is not None:
        return validate
    if hasattr(kind, "__dataclass_fields__") and isinstance(kind, type):
        return _dataclass(kind)
    if origin in (Union, types.UnionType):
        some = [arg for arg in args if arg is not type(None)]
        inner = _shape(some[0]) if len(some) == 1 else None
        return _optional(inner) if inner else None
    if origin in (list, tuple, set, frozenset) and args:
        inner, make = _shape(args[0]), typing.cast(Any, origin)
        if inner is None:
            return None if origin is list else make
        return _many(make, inner)
    if origin is dict and len(args) == 2:
        inner = _shape(args[1])
        return _mapping(inner) if inner else None
    if kind in (int, str, bool, list, dict):
        return _exactly(kind)
    if kind is float:
        return lambda value: float(_exactly((int, float))(value))
    return None


def _optional(inner: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else inner(value)


def _many(make: Any, inner: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: make(inner(one) for one in value)


def _mapping(inner: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: {key: inner(one) for key, one in value.items()}


def _exactly(kind: Any) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        wrong = not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)
        if wrong:
            raise TypeError(f"it is {type(value).__name__}")
        return value

    return check


def _dataclass(kind: Any) -> Callable[[Any], Any]:
    made: list[dict[str, Any]] = []

    def make(value: Any) -> Any:
        if not made:
            # Not before the first message: types may name each other.
            import dataclasses

            hints = typing.get_type_hints(kind)
            made.append({field.name: _shape(hints[field.name]) for field in dataclasses.fields(kind)})
        if not isinstance(value, dict):
            raise TypeError(f"it is {type(value).__name__}, not an object")
        shapes = made[0]
        known = {name: one for name, one in value.items() if name in shapes}
        return kind(**{name: shape(known[name]) if shape else known[name] for name, shape in shapes.items() if name in known})

    return make


_decoders: dict[Any, Decode] = {}


def decode(kind: Any, payload: Any, flags: int) -> Any:
    """Reads a reply of a type."""
    found = _decoders.get(kind)
    if found is None:
        found = decoder(kind, "the reply")
        if len(_decoders) < 1024:
            _decoders[kind] = found
    return found(payload, flags)
