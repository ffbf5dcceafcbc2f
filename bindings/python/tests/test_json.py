"""What is JSON, what is not, and how values are written as JSON."""

from __future__ import annotations

import collections
import datetime
import decimal
import ipaddress
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from annotated import ID, WHEN, Color, Item, Level, Pair, Point, Rights

import micro
from micro import _codec, errors
from micro.testing import Fleet

NOT_JSON = [
    (b"", "it is empty"),
    (b"{bad", "Expecting property name"),
    (b'{"a":NaN}', "it has NaN"),
    (b'{"a":-Infinity}', "it has -Infinity"),
    (b'{"a":1e999}', "larger than a number can be"),
    (b'{"a":"\xff"}', "no UTF-8"),
    (b'{"a":"\\ud800"}', "half a surrogate pair"),
    (b"[" * 100_000, "nested too deep"),
    (b'{"a":' * 100_000, "nested too deep"),
    (b"9" * 5_000, "4300 digits"),
]


@pytest.mark.parametrize(("payload", "says"), NOT_JSON, ids=[says for _, says in NOT_JSON])
@pytest.mark.parametrize("kind", [None, dict, Item, float], ids=str)
def test_what_is_no_json_is_an_invalid_argument(kind: Any, payload: bytes, says: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="it is no JSON: .*") as refused:
        _codec.decoder(kind, "it", refusal=errors.InvalidArgument)(payload, _codec.JSON)
    assert says in refused.value.detail


def test_a_decimal_keeps_every_digit_and_a_float_beside_it_is_one() -> None:
    @dataclass
    class Price:
        price: decimal.Decimal
        weight: float
        other: Any

    read = _codec.decoder(Price, "it", {"decimal": decimal, "Any": Any})
    found = read(b'{"price":12345678901234567890.10,"weight":1.5,"other":2.5}', _codec.JSON)
    assert found == Price(decimal.Decimal("12345678901234567890.10"), 1.5, 2.5) and type(found.weight) is float


NO_JSON = [
    (float("nan"), "nan, which JSON cannot say"),
    ({"a": [1, float("inf")]}, "`a[1]` is inf"),
    (Point(x=float("-inf")), "`x` is -inf"),
    ({"a": decimal.Decimal("NaN")}, "`a` is NaN"),
    ({"a": {"b": object()}}, "`a.b` is object"),
    ({"a": "\ud800"}, "`a` is text with half a surrogate pair"),
    ({(1, 2): 3}, "an object with a field named by tuple"),
    ({"a": int}, "`a` is type"),
]


@pytest.mark.parametrize(("message", "says"), NO_JSON, ids=[says for _, says in NO_JSON])
async def test_what_json_cannot_say_is_refused_with_the_field_on_both_sides(fleet: Fleet, message: Any, says: str) -> None:
    service = micro.Service("lab")

    @service.endpoint("Lab.Give")
    async def give(request: None) -> Any:
        return message

    @service.endpoint("Lab.Stream")
    async def stream(request: None) -> AsyncIterator[Any]:
        yield message

    await fleet.start(service)
    with pytest.raises(ValueError, match="the request is") as refused:
        await fleet.client.call("lab", "Lab.Give", message)
    assert isinstance(refused.value, errors.WrongArgument) and says in str(refused.value)
    with pytest.raises(errors.Internal) as broken:
        await fleet.client.call("lab", "Lab.Give")
    assert says in broken.value.detail
    with pytest.raises(errors.Internal, match="what Lab.Stream yielded"):
        [one async for one in fleet.client.server_stream("lab", "Lab.Stream")]
    with pytest.raises(ValueError):
        await fleet.client.client_stream("lab", "Lab.Give", [message])


def test_what_is_within_itself_is_refused() -> None:
    inside: list[Any] = []
    inside.append(inside)
    with pytest.raises(ValueError, match="part of itself"):
        _codec.encode(inside, _codec.JSON, "it")


def test_standard_types_are_written_as_others_write_them() -> None:
    message = {
        ID: {WHEN, WHEN},
        Color.RED: [Rights.READ, Level.LOW, Color.BLUE],
        7: decimal.Decimal("1.10"),
        "bytes": b"\x00\xff",
        "length": datetime.timedelta(days=1, seconds=5),
        "pair": Pair(1, Item("a")),
        "range": range(2),
        "more": collections.ChainMap({"a": collections.deque([datetime.date(2026, 1, 31)])}),
        "address": ipaddress.ip_address("::1"),
    }
    assert json.loads(bytes(_codec.encode(message, _codec.JSON, "it"))) == {
        str(ID): ["2026-01-31T12:30:05.250000+00:00"],
        "red": [1, 1, "blue"],
        "7": "1.10",
        "bytes": "AP8=",
        "length": "P1DT5S",
        "pair": [1, {"name": "a", "count": 1}],
        "range": [0, 1],
        "more": {"a": ["2026-01-31"]},
        "address": "::1",
    }
