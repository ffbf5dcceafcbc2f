"""What can be a message, and what it is on the wire."""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ._errors import Error, Internal, Unimplemented, WrongArgument
from ._formats import formats
from ._micro import Payload
from ._plain import is_protobuf, is_pydantic, written
from ._scalars import Digits, Wrong, described

if TYPE_CHECKING:
    from ._shapes import Shapes

PROTO, JSON, BYTES, TEXT = 0, 1, 2, 3
"""Codecs: the lowest bits of the flags of a message."""
_CODEC = 0xF
_PROTO_NAMES = (None, "proto", "protobuf")
_NAMES = {PROTO: "protobuf", JSON: "JSON", BYTES: "bytes", TEXT: "text"}

Raw = bytes | bytearray | memoryview | Payload
Decode = Callable[[Any, int], Any]


def natural(message: Any) -> int:
    """The codec of a message for which no other was asked."""
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
    for codec, added in formats.items():
        if name == added.name:
            return codec
    raise ValueError(f'codec {name!r} is unknown: write "json", "proto", "bytes" or "text", or add it with micro.codec')


def stream_codec(name: str | None, returns: Any, first: Any) -> int:
    """The codec of a stream, of which the first request may be known."""
    if name is not None or first is not None:
        return codec_of(name, first)
    raw = returns in (bytes, bytearray, memoryview, Payload)
    return PROTO if raw or is_protobuf(returns) else JSON


def outgoing(codec: int, returns: Any) -> Callable[[Any], Raw]:
    """Writes the requests of a stream."""

    def write(message: Any) -> Raw:
        return encode(message, codec, "a request")

    def write_raw(message: Any) -> Raw:
        if is_protobuf(message):
            raise TypeError("what answers these messages is not known when they are sent one by one: give returns= its class")
        return write(message)

    return write_raw if returns is None and codec == PROTO else write


def encode(message: Any, flags: int, what: str, *, reply: bool = False) -> Raw:
    """The bytes of a message in a codec. ``what`` is named by the error when that cannot be."""
    if isinstance(message, (bytes, bytearray, memoryview, Payload)):
        return message
    codec = flags & _CODEC
    why = ""
    try:
        if codec == PROTO and is_protobuf(message):
            return message.SerializeToString()  # type: ignore[no-any-return]
        if codec == JSON:
            return _json(message, reply)
        if codec == TEXT and isinstance(message, str):
            return message.encode()
        if codec in formats:
            return formats[codec].write(message, reply=reply)
    except ValueError as error:
        why = str(error)
    raise _unsendable(message, codec, what, why, Internal if reply else WrongArgument)


def _json(message: Any, reply: bool) -> bytes:
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
    if is_pydantic(message) and message.model_config.get("ser_json_inf_nan") != "constants":
        # By the names it is read by.
        return message.model_dump_json(by_alias=True).encode()  # type: ignore[no-any-return]
    return written(message)


def _named(codec: int) -> str:
    added = formats.get(codec)
    return added.name if added else _NAMES.get(codec, "a codec that only its caller knows")


def _unsendable(message: Any, codec: int, what: str, why: str, kind: type[Error]) -> Exception:
    name = type(message).__name__
    if isinstance(message, types.CoroutineType):
        message.close()
        return kind(f"{what} is a coroutine: `await` is missing", id="micro")
    if message is None:
        return kind(f"{what} is None: is a `return` missing?", id="micro")
    if codec == JSON:
        hint = "a dict, list, str, number, dataclass, pydantic model or protobuf message"
        return kind(f"{what} is {name}, which is no JSON ({why}): give {hint}", id="micro")
    if codec in formats:
        return kind(f"{what} is {name}, which cannot be written as {_named(codec)}: {why}", id="micro")
    hint = "a str" if codec == TEXT else "a protobuf message or bytes"
    if codec == BYTES:
        hint = "bytes"
    reason = f" ({why})" if why else ""
    return kind(f"{what} is {name}, but the call speaks {_named(codec)}{reason}: give {hint}", id="micro")


def decoder(kind: Any, what: str, names: Mapping[str, Any] | None = None, refusal: type[Error] = Internal) -> Decode:
    """Reads messages of a type; ``None`` and ``Any`` are whatever the codec makes of them.

    What is not of the type is refused with ``refusal``, whose text names the field and what it should be. Raises
    ``TypeError`` for a type that cannot be promised. ``names`` are local names that annotations may use.
    """
    while typing.get_origin(kind) is typing.Annotated and _is_free(kind):
        kind = typing.get_args(kind)[0]
    if kind in (None, Any, object, type(None)):
        return _natural_decode(what, refusal)
    kind = _present(kind)
    if kind in (bytes, bytearray):
        return lambda payload, flags: payload if type(payload) is kind else kind(payload)
    if kind in (memoryview, Payload):
        return lambda payload, flags: memoryview(payload)
    if is_protobuf(kind):
        return _protobuf_decode(kind, what, refusal)
    if is_pydantic(kind):
        return _model_decode(kind, what, refusal)
    from ._shapes import Shapes

    return _json_decode(kind, Shapes(names), what, refusal)


def _present(kind: Any) -> Any:
    """What a message of ``X | None`` is, where it is no JSON and so cannot be null."""
    if typing.get_origin(kind) not in (typing.Union, types.UnionType):
        return kind
    rest = [one for one in typing.get_args(kind) if one is not type(None)]
    raw = len(rest) == 1 and (rest[0] in (bytes, bytearray, memoryview, Payload) or is_protobuf(rest[0]))
    return rest[0] if raw else kind


def _is_free(kind: Any) -> bool:
    """True when what an annotation adds is a remark, and no rule."""
    added = typing.get_args(kind)[1:]
    return not any(type(one).__module__.partition(".")[0] in ("pydantic", "annotated_types") for one in added)


def _natural_decode(what: str, refusal: type[Error]) -> Decode:
    def decode(payload: Any, flags: int) -> Any:
        codec = flags & _CODEC
        if codec != JSON and codec != TEXT and codec not in formats:
            return bytes(payload)
        try:
            return loads(payload) if codec == JSON else _text(payload) if codec == TEXT else formats[codec].read(payload)
        except Wrong as wrong:
            raise refusal(f"{what} is no {_named(codec)}: {wrong.text}", id="micro") from None

    return decode


def _protobuf_decode(kind: Any, what: str, refusal: type[Error]) -> Decode:
    parse, name = kind.FromString, kind.DESCRIPTOR.full_name

    def decode(payload: Any, flags: int) -> Any:
        codec = flags & _CODEC
        try:
            if codec == JSON:
                from google.protobuf import json_format

                return json_format.Parse(bytes(payload), kind(), ignore_unknown_fields=True)
            if codec in formats:
                from google.protobuf import json_format

                return json_format.ParseDict(formats[codec].read(payload), kind(), ignore_unknown_fields=True)
            return parse(payload if type(payload) is bytes else memoryview(payload))
        except Exception as error:
            raise refusal(f"{what} is no {name}: {error}", id="micro") from error

    return decode


def _model_decode(kind: Any, what: str, refusal: type[Error]) -> Decode:
    validate, name = kind.model_validate_json, described(kind)

    def decode(payload: Any, flags: int) -> Any:
        codec = flags & _CODEC
        if codec != JSON and codec not in formats:
            raise _foreign(what, flags, name)
        try:
            if codec != JSON:
                return kind.model_validate(formats[codec].read(payload))
            payload = bytes(payload)
            if b"NaN" in payload or b"Infinity" in payload:
                # pydantic takes what JSON has not.
                loads(payload)
            return validate(payload)
        except Wrong as wrong:
            raise refusal(f"{what} is no {_named(codec)}: {wrong.text}", id="micro") from None
        except (ValueError, RecursionError) as error:
            raise refusal(f"{what} is no {name}: {Wrong.of_pydantic(error)}", id="micro") from error

    return decode


def _json_decode(kind: Any, shapes: Shapes, what: str, refusal: type[Error]) -> Decode:
    shape = shapes.of(kind)
    name, read = described(kind), loads_exactly if shapes.is_exact else loads

    def decode(payload: Any, flags: int) -> Any:
        codec = flags & _CODEC
        try:
            if codec == TEXT and kind is str:
                return _text(payload)
            if codec != JSON and codec not in formats:
                raise _foreign(what, flags, name)
            value = read(payload) if codec == JSON else formats[codec].read(payload)
        except Wrong as wrong:
            raise refusal(f"{what} is no {_named(codec)}: {wrong.text}", id="micro") from None
        try:
            return value if shape is None else shape(value)
        except Wrong as wrong:
            raise refusal(f"{what} is no {name}: {wrong}", id="micro") from wrong.__cause__
        except RecursionError:
            raise refusal(f"{what} is no {name}: it is nested too deep", id="micro") from None

    return decode


def _foreign(what: str, flags: int, name: str) -> Error:
    return Unimplemented(f"{what} came as {_named(flags & _CODEC)}, and {name} is read from JSON: send JSON", id="micro")


def _finite(text: str) -> float:
    found = float(text)
    if found - found != 0:
        raise ValueError(f"{text[:40]} is larger than a number can be")
    return found


def _digits(text: str) -> Digits:
    _finite(text)
    return Digits(text)


def _constant(text: str) -> Any:
    raise ValueError(f"it has {text}, which JSON has not")


_read_json = json.JSONDecoder(parse_float=_finite, parse_constant=_constant).decode
_read_exactly = json.JSONDecoder(parse_float=_digits, parse_constant=_constant).decode
_HALF = re.compile(r"\\u[dD][89a-fA-F]")


def loads(payload: Any) -> Any:
    """What JSON says. Raises ``Wrong`` for what is not JSON: RFC 8259, and no number or text that others cannot read."""
    return _loaded(payload, _read_json)


def loads_exactly(payload: Any) -> Any:
    """The same; numbers keep the digits they were written with."""
    return _loaded(payload, _read_exactly)


def _loaded(payload: Any, read: Callable[[str], Any]) -> Any:
    text = _text(payload)
    try:
        value = read(text)
        if "\\u" in text and _HALF.search(text):
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except UnicodeEncodeError:
        raise Wrong.saying("it has half a surrogate pair") from None
    except RecursionError:
        raise Wrong.saying("it is nested too deep") from None
    except ValueError as error:
        raise Wrong.saying(str(error) if text else "it is empty") from None


def _text(payload: Any) -> str:
    try:
        return str(payload, "utf-8")
    except ValueError as error:
        raise Wrong.saying(f"it is no UTF-8: {error}") from None


_decoders: dict[Any, Decode] = {}


def answering(returns: Any, request: Any, endpoint: str, options: Mapping[str, Any]) -> Decode:
    """Reads the reply of a request: of the type that is told, or that answers a protobuf message."""
    return reader(answer_of(request, endpoint, options) if returns is None else returns)


def answer_of(request: Any, endpoint: str, options: Mapping[str, Any]) -> Any:
    """The type of what answers a request where none is told: its service says so of a protobuf message."""
    if not is_protobuf(request) or options.get("codec") not in _PROTO_NAMES:
        return None
    from ._stub import reply_type

    return reply_type(request, endpoint)


def reader(kind: Any) -> Decode:
    """Reads replies of a type. Asked for before a call is made, so that no call is made if its reply cannot be read."""
    try:
        found = _decoders.get(kind)
    except TypeError:
        # Of a type with remarks that cannot be looked up by.
        return of_replies(kind, "the reply")
    if found is None:
        found = of_replies(kind, "the reply")
        if len(_decoders) < 1024:
            _decoders[kind] = found
    return found


def of_replies(kind: Any, what: str) -> Decode:
    """Reads what comes back. Raises ``TypeError`` for a type that cannot be promised, or is not there."""
    try:
        return decoder(kind, what)
    except NameError as error:
        raise TypeError(f"the types of {described(kind)} cannot be read: {error}") from None
