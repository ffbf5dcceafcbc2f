"""Values as what JSON has: its own types stay, the standard ones become them."""

from __future__ import annotations

import base64
import collections.abc as abc
import enum
import json
from collections.abc import Iterator
from typing import Any

from ._micro import Payload

_DEEPEST = 200
"""Parts within parts that a fault is looked for in."""
_AS_TEXT = ("uuid", "ipaddress", "pathlib")


def is_protobuf(kind: Any) -> bool:
    """True for classes that protoc has generated, and their objects."""
    return hasattr(kind, "DESCRIPTOR") and hasattr(kind, "SerializeToString")


def is_pydantic(kind: Any) -> bool:
    """True for pydantic's models, and their objects."""
    return hasattr(kind, "model_validate_json") and hasattr(kind, "model_dump_json")


def plain(value: Any) -> Any:
    """``value`` as something JSON has, or whose parts may have to be made so in turn. Raises ``TypeError`` for all else."""
    kind = type(value)
    if isinstance(value, (str, int, float, dict, list, tuple, type(None), type)):
        if isinstance(value, enum.Enum):
            return value.value
        if isinstance(value, type):
            raise TypeError(kind.__name__)
        return value
    if hasattr(kind, "__dataclass_fields__"):
        import dataclasses

        # A field that was not set is left out.
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if hasattr(value, field.name)}
    if is_pydantic(kind):
        return value.model_dump(mode="json", by_alias=True)
    if is_protobuf(kind):
        from google.protobuf import json_format

        return json_format.MessageToDict(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (bytes, bytearray, memoryview, Payload)):
        return base64.b64encode(bytes(value)).decode()
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "total_seconds"):
        return duration(value)
    home = kind.__module__.partition(".")[0]
    if home == "decimal" or any(base.__module__ in ("decimal", "_decimal") for base in kind.__mro__[:-1]):
        if not value.is_finite():
            raise ValueError(f"{value}, which JSON cannot say")
        return str(value)
    if home in _AS_TEXT:
        return str(value)
    if isinstance(value, abc.Mapping):
        return dict(value)
    if isinstance(value, (abc.Set, abc.Sequence, abc.ValuesView)) or _is_deque(kind):
        return list(value)
    raise TypeError(kind.__name__)


def _is_deque(kind: Any) -> bool:
    return (kind.__module__, kind.__name__) == ("collections", "deque")


def duration(length: Any) -> str:
    """A ``timedelta`` in the form of ISO 8601."""
    sign, length = ("-", -length) if length.days < 0 else ("", length)
    days = f"{length.days}D" if length.days else ""
    rest = f"{length.seconds}.{length.microseconds:06}".rstrip("0").rstrip(".") if length.microseconds else str(length.seconds)
    return f"{sign}P{days}T{rest}S" if rest != "0" or not days else f"{sign}P{days}"


def _encoder() -> Any:
    return json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=plain).encode


_encode = _encoder()


def written(value: Any) -> bytes:
    """The JSON of a value. Raises ``ValueError`` or ``TypeError`` that says where there is something JSON has not."""
    try:
        try:
            return _encode(value).encode()  # type: ignore[no-any-return]
        except TypeError:
            # Names of fields that are no text, perhaps: only the slow way looks at those.
            return _encode(_named(value, 0)).encode()  # type: ignore[no-any-return]
    except (TypeError, ValueError, RecursionError) as error:
        where, why = next(_faults(value, "", 0), ("", str(error)))
        raise ValueError(f"`{where}` is {why}" if where else why) from None


def _named(value: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        raise ValueError("nested too deep")
    value = value if type(value) in (str, int, float, bool, type(None)) else plain(value)
    if isinstance(value, dict):
        return {_name(name): _named(one, depth + 1) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_named(one, depth + 1) for one in value]
    return value if type(value) in (str, int, float, bool, type(None)) else _named_scalar(value, depth)


def _named_scalar(value: Any, depth: int) -> Any:
    # Of a subclass of text or of a number, or of something that needs another look.
    return value if isinstance(value, (str, int, float)) else _named(value, depth + 1)


def _name(name: Any) -> Any:
    if name is None or type(name) in (str, int, float, bool):
        return name
    name = plain(name)
    if not isinstance(name, (str, int, float)):
        raise TypeError(f"a field named by {type(name).__name__}")
    return name


def _faults(value: Any, where: str, depth: int) -> Iterator[tuple[str, str]]:
    """What JSON has not, and where it is."""
    if depth > _DEEPEST:
        yield where[:80] + "…", "nested too deep, or part of itself"
        return
    try:
        if isinstance(value, float) and value - value != 0:
            yield where, f"{value!r}, which JSON cannot say: give None, a number or text"
        elif isinstance(value, str):
            value.encode()
        elif type(value) is int:
            str(value)
        value = plain(value)
    except UnicodeEncodeError:
        yield where, "text with half a surrogate pair, which UTF-8 cannot say"
        return
    except TypeError as error:
        yield where, f"{error}, which is no JSON"
        return
    except ValueError as error:
        yield where, str(error)
        return
    if isinstance(value, dict):
        for name, one in value.items():
            try:
                text = str(_name(name))
                text.encode()
            except (TypeError, ValueError) as error:
                yield where, f"an object with {error}"
                return
            yield from _faults(one, f"{where}.{text}" if where else text, depth + 1)
    elif isinstance(value, (list, tuple)):
        for place, one in enumerate(value):
            yield from _faults(one, f"{where}[{place}]", depth + 1)
    elif not isinstance(value, (str, int, float, type(None))):
        yield from _faults(value, where, depth + 1)
