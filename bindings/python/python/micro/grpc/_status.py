"""How calls end: this package's errors as grpcio's statuses, and the other way round."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import grpc

from .._errors import Cancelled, Code, Detail, Error, Internal, Unknown, class_of
from .._metadata import Value, pairs

DETAILS = "grpc-status-details-bin"
"""The trailer with a ``google.rpc.Status``."""
LOCALLY_CANCELLED = "Locally cancelled by application!"

Pairs = tuple[tuple[str, Value], ...]

_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


class Metadatum(NamedTuple):
    """A name and a value of metadata."""

    key: str
    value: Value


class Status(NamedTuple):
    """How a call ended."""

    code: grpc.StatusCode
    details: str
    headers: Pairs
    trailers: Pairs
    debug: str
    cause: Error | None


def status_of(error: Error) -> Status:
    """The status of a call that failed."""
    trailers = tuple(error.trailers.pairs)
    if error.details:
        trailers += ((DETAILS, _written(int(error.code), error.detail, error.details)),)
    return Status(_CODES[int(error.code)], error.detail, tuple(error.headers.pairs), trailers, str(error), error)


def succeeded(headers: Pairs, trailers: Pairs) -> Status:
    """The status of a call that did not fail."""
    return Status(grpc.StatusCode.OK, "", headers, trailers, "", None)


def cancelled(why: str) -> Cancelled:
    """What a call ends with that this side gives up."""
    return Cancelled(why, id="micro")


def unserializable(what: str, error: BaseException) -> Internal:
    """What a call ends with when a message cannot be written or read. ``what`` is the words of grpcio."""
    found = Internal(f"Exception {what}!", id="micro")
    found.__cause__ = error
    return found


def number_of(code: Any) -> int:
    """gRPC's number of a code, which is an enum's or a number."""
    if isinstance(code, grpc.StatusCode):
        number: int = code.value[0]
        return number
    return int(code) if isinstance(code, int) and int(code) in _CODES else int(Code.UNKNOWN)


def error_of(code: Any, details: str, trailers: Iterable[tuple[str, Value]]) -> Error:
    """What a handler raises that has set a status."""
    number = number_of(code)
    kind: type[Error] = class_of(number) if number else Unknown
    return kind(details, details=[one for name, value in trailers if name == DETAILS for one in _read(value)])


def trailing(metadata: Any) -> Pairs:
    """Pairs of what a handler gives as metadata."""
    return tuple(pairs(metadata or ()) or ())


def metadata_of(found: Iterable[tuple[str, Value]]) -> tuple[Metadatum, ...]:
    """Metadata as grpcio shows it."""
    return tuple(Metadatum(name, value) for name, value in found)


def _written(code: int, message: str, details: Iterable[Detail]) -> bytes:
    """A ``google.rpc.Status``: its code, its message, and each detail as an ``Any``."""
    out = b"\x08" + _varint(code) + _field(2, message.encode())
    for detail in details:
        out += _field(3, _field(1, detail.type_url.encode()) + _field(2, detail.value))
    return out


def _read(value: Value) -> Iterator[Detail]:
    """The details of a ``google.rpc.Status``; none of what is no such message."""
    try:
        data = value.encode() if isinstance(value, str) else value
        for number, inner in _fields(data):
            if number == 3:
                parts = dict(_fields(inner))
                yield Detail(parts.get(1, b"").decode(), parts.get(2, b""))
    except (IndexError, ValueError):
        return


def _field(number: int, value: bytes) -> bytes:
    return bytes((number << 3 | 2,)) + _varint(len(value)) + value if value else b""


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Fields with a length. Raises ``IndexError`` or ``ValueError`` for what is no message."""
    at = 0
    while at < len(data):
        tag, at = _number(data, at)
        if tag & 7 == 2:
            length, at = _number(data, at)
            if at + length > len(data):
                raise ValueError("cut off")
            yield tag >> 3, data[at : at + length]
            at += length
        elif tag & 7 == 0:
            _, at = _number(data, at)
        else:
            at += {1: 8, 5: 4}[tag & 7] if tag & 7 in (1, 5) else len(data)


def _number(data: bytes, at: int) -> tuple[int, int]:
    found = shift = 0
    while True:
        byte = data[at]
        at += 1
        found |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return found, at
        if shift > 63:
            raise ValueError("too long")
