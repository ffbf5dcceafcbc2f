"""What reaches a handler, or comes back to a caller, is what its annotation says, or it is refused by name."""

from __future__ import annotations

import collections
import collections.abc as abc
import datetime
import decimal
import enum
import ipaddress
import json
import pathlib
import sys
import types
import typing
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from annotated import (
    ID,
    WHEN,
    Bill,
    Cat,
    Color,
    Dog,
    Item,
    Level,
    Movie,
    Node,
    Page,
    Pair,
    Partial,
    Point,
    Rights,
    Strings,
    UserId,
    Wide,
)

import micro
from micro import _codec, errors
from micro._scalars import Wrong
from micro._shapes import Shapes
from micro.testing import Fleet


@dataclass
class Snake:
    order_id: int
    from_: str = ""
    html_body_2: int | None = None


class SnakeDict(typing.TypedDict):
    order_id: int


class SnakeTuple(typing.NamedTuple):
    order_id: int


@dataclass
class Both:
    """One of its names is what protobuf would call the other."""

    a_b: int
    aB: int = 0


GOOD = [
    (tuple[int, str], [1, "a"], (1, "a")),
    (tuple[int, ...], [1, 2], (1, 2)),
    (tuple[()], [], ()),
    (tuple, [1, "a"], (1, "a")),
    (list[str], ["a"], ["a"]),
    (list[Item], [{"name": "a"}], [Item("a")]),
    (abc.Sequence[Item], [{"name": "a"}], [Item("a")]),
    (abc.Collection[int], [1], [1]),
    (set[int], [1, 1], {1}),
    (frozenset[str], ["a"], frozenset("a")),
    (collections.deque[int], [1], collections.deque([1])),
    (dict[str, Item], {"a": {"name": "b"}}, {"a": Item("b")}),
    (abc.Mapping[int, str], {"7": "a"}, {7: "a"}),
    (dict[uuid.UUID, int], {str(ID): 1}, {ID: 1}),
    (dict[Color, int], {"red": 1}, {Color.RED: 1}),
    (dict[Level, int], {"1": 1}, {Level.LOW: 1}),
    (collections.Counter[str], {"a": 2}, collections.Counter(a=2)),
    (Literal["a", 1, None], 1, 1),
    (Color, "blue", Color.BLUE),
    (Level, 1, Level.LOW),
    (Rights, 3, Rights.READ | Rights.WRITE),
    (datetime.datetime, "2026-01-31T12:30:05.250000+00:00", WHEN),
    (datetime.datetime, "2026-01-31T12:30:05.250z", WHEN),
    (datetime.date, "2026-01-31", datetime.date(2026, 1, 31)),
    (datetime.time, "12:30", datetime.time(12, 30)),
    (datetime.timedelta, "P1DT2H3M4.5S", datetime.timedelta(1, 7384, 500000)),
    (datetime.timedelta, "-PT1S", datetime.timedelta(seconds=-1)),
    (uuid.UUID, str(ID), ID),
    (decimal.Decimal, "1.10", decimal.Decimal("1.10")),
    (ipaddress.IPv4Address, "127.0.0.1", ipaddress.IPv4Address("127.0.0.1")),
    (pathlib.PurePosixPath, "/a/b", pathlib.PurePosixPath("/a/b")),
    (list[bytes], ["AP8="], [b"\x00\xff"]),
    (float, 3, 3.0),
    (int | str, "1", "1"),
    (float | int, 1, 1),
    (typing.Optional[Item], None, None),  # noqa: UP045
    (Cat | Dog, {"kind": "dog", "name": "a"}, Dog("dog", "a")),
    (Item | Wide, {"name": "a", "count": 1, "extra": "b"}, Wide("a", 1, "b")),
    (Node, {"value": 1, "below": [{"value": 2}]}, Node(1, [Node(2)])),
    (Page[Item], {"items": [{"name": "a"}], "next": {"name": "b"}}, Page([Item("a")], Item("b"))),
    (Strings, {"items": ["a"]}, Strings(["a"])),
    (Bill, {"net": 3, "gross": 9, "rate": 5}, None),
    (Point, {"x": 1}, Point(x=1.0)),
    (Movie, {"name": "a", "unknown": 1}, {"name": "a"}),
    (Partial, {"name": "a", "must": True, "stars": 5}, {"name": "a", "must": True, "stars": 5}),
    (Pair, [1, {"name": "a"}], Pair(1, Item("a"))),
    (Pair, [1], Pair(1)),
    (Pair, {"left": 1}, Pair(1)),
    (UserId, 7, 7),
    (typing.Annotated[list[int], "a remark"], [1], [1]),
    (dict[str, Any], {"a": [1]}, {"a": [1]}),
    (list, [1, "a"], [1, "a"]),
    (None | int, None, None),
    # As protobuf writes them.
    (int, "-9007199254740993", -9007199254740993),
    (dict[str, int], {"a": "1"}, {"a": 1}),
    (int | None, "7", 7),
    (int | str, "7", "7"),
    (str | int, "7", "7"),
    (int | datetime.date, "2026-01-31", datetime.date(2026, 1, 31)),
    (Snake, {"orderId": "7", "from": "x", "htmlBody2": None}, Snake(7, "x")),
    (Snake, {"order_id": 7, "html_body_2": 1, "orderid": 2}, Snake(7, "", 1)),
    (SnakeDict, {"orderId": 7}, {"order_id": 7}),
    (SnakeTuple, {"orderId": "7"}, SnakeTuple(7)),
    (Both, {"aB": 1, "a_b": 2}, Both(2, 1)),
]

BAD = [
    (tuple[int, str], [1], "it has 1 items, and should have 2"),
    (tuple[int, str], ["a", 1], "[0] is a string, and should be an integer"),
    (list[str], "abc", "it is a string, and should be an array"),
    (list[str], {"x": 1}, "it is an object, and should be an array"),
    (list[list[int]], [[1], ["a"]], "[1][0] is a string, and should be an integer"),
    (set[int], [1, "a"], "[1] is a string"),
    (frozenset, [[1]], "items that cannot be those of a set"),
    (int, True, "it is true, and should be an integer"),
    (int, 1.0, "it is a number, and should be an integer"),
    (bool, 1, "should be true or false"),
    (float, "1", "should be a number"),
    (str, None, "it is null, and should be a string"),
    (Literal[1], True, "should be one of 1"),
    (Literal["a"], "b", "should be one of 'a'"),
    (Color, "green", "should be one of 'red', 'blue'"),
    (Level, 1.0, "should be one of 1"),
    (Level, True, "should be one of 1"),
    (Rights, 64, "should be one of 1, 2"),
    (datetime.datetime, 7, "should be a date and time such as"),
    (datetime.datetime, "2026-01-31", "should be a date and time such as"),
    (datetime.datetime, "2026-02-31T00:00:00", "should be a date and time such as"),
    (datetime.date, "2026-01-31T00:00:00", "should be a date such as"),
    (datetime.timedelta, 7, "should be a duration such as PT90S"),
    (datetime.timedelta, "P", "should be a duration such as PT90S"),
    (datetime.timedelta, "P999999999999D", "should be a duration"),
    (uuid.UUID, "{}" + str(ID), "should be a UUID"),
    (decimal.Decimal, "NaN", "finite"),
    (decimal.Decimal, "x", "should be a number"),
    (decimal.Decimal, True, "should be a number"),
    (list[bytes], ["?"], "[0] should be bytes in base64"),
    (dict[int, str], {"a": "b"}, "a is a string, and should be an integer"),
    (dict[str, int], {"a": "b"}, "a is a string, and should be an integer"),
    (Item, {"name": "a", "count": "many"}, "count is a string, and should be an integer"),
    (Item, {"count": 1}, "name is missing"),
    (Node, {"value": 1, "below": [{"value": 2, "below": [{}]}]}, "below[0].below[0].value is missing"),
    (Page[Item], {"items": [{}]}, "items[0].name is missing"),
    (Strings, {"items": [1]}, "items[0] is an integer"),
    (Bill, {"net": -1}, "it is refused: net is below zero"),
    (Movie, {"year": 1}, "name is missing"),
    (Movie, {"name": "a", "year": "b"}, "year is a string"),
    (Partial, {"name": "a"}, "must is missing"),
    (Pair, [1, 2, 3], "it has 3 items"),
    (Cat | Dog, {"kind": "cow", "name": "a"}, "it is no Cat | Dog: kind is a string, and should be one of 'cat'"),
    (int | list[str], [1], "[0] is an integer, and should be a string"),
    (int, "1.0", "it is a string, and should be an integer"),
    (int, "", "it is a string, and should be an integer"),
    (int, "+1", "it is a string, and should be an integer"),
    (Snake, {"orderId": 1, "order_id": 2}, "order_id is there twice, once as orderId"),
    (Snake, {"OrderId": 1}, "order_id is missing"),
    (int | str, [1], "it is an array, and should be int or str"),
]


def named(value: Any) -> str | None:
    return str(value)[:40] if isinstance(value, type) or typing.get_origin(value) else None


@pytest.mark.parametrize(("kind", "sent", "wanted"), GOOD, ids=named)
def test_json_becomes_what_the_annotation_says(kind: Any, sent: Any, wanted: Any) -> None:
    read = _codec.decoder(kind, "it")
    found = read(json.dumps(sent).encode(), _codec.JSON)
    if kind is Bill:
        assert (found.net, found.gross) == (3, 15), "what the object computes is not taken from outside"
        return
    assert found == wanted and type(found) is type(wanted)
    again = _codec.encode(found, _codec.JSON, "it")
    back = read(again, _codec.JSON)
    assert back == wanted and type(back) is type(wanted), "what is sent is what is read"


@pytest.mark.parametrize(("kind", "sent", "says"), BAD, ids=named)
def test_what_is_not_as_annotated_is_refused_by_name(kind: Any, sent: Any, says: str) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        _codec.decoder(kind, "it", refusal=errors.InvalidArgument)(json.dumps(sent).encode(), _codec.JSON)
    assert says in refused.value.detail


class Foreign:
    pass


class Odd(enum.Enum):
    A = object()


@dataclass
class Holder:
    inner: Foreign


@pytest.mark.parametrize(
    "kind",
    [
        Foreign,
        list[Foreign],
        Holder,
        complex,
        Odd,
        Literal[b"x"],
        dict[tuple[int, int], str],
        dict[Item, int],
        abc.Callable[[], int],
        type[int],
        collections.defaultdict[str, int],
        range,
    ],
    ids=str,
)
def test_what_cannot_be_promised_is_refused_when_it_is_declared(kind: Any) -> None:
    service = micro.Service("lab")
    name = getattr(kind, "__name__", "") if not typing.get_args(kind) else ""
    with pytest.raises(
        TypeError, match=f"the request of Lab.Take cannot be promised: .*{name if kind is not Holder else 'Foreign'}"
    ):

        @service.endpoint("Lab.Take", request=kind)
        async def take(request: Any) -> None: ...

    with pytest.raises(TypeError, match="what Lab.Give returns cannot be promised"):

        @service.endpoint("Lab.Give", response=kind)
        async def give(request: Any) -> None: ...

    with pytest.raises(TypeError):
        _codec.of_replies(kind, "the reply")


async def test_both_ends_keep_the_promise_for_calls_and_streams(fleet: Fleet) -> None:
    service = micro.Service("lab")
    seen: list[Any] = []

    @dataclass
    class Order:
        when: datetime.datetime
        items: abc.Sequence[Item]
        color: Color = Color.RED

    @service.endpoint("Lab.Call")
    async def call(order: Order) -> Order:
        seen.append(order)
        return order

    @service.endpoint("Lab.Thread")
    def thread(order: Order) -> Order:
        seen.append(order)
        return order

    @service.endpoint("Lab.Chat")
    async def chat(orders: AsyncIterator[Order]) -> AsyncIterator[Order]:
        async for order in orders:
            seen.append(order)
            yield order

    @service.endpoint("Lab.Broken")
    async def broken(request: None) -> Any:
        return {"when": 7, "items": []}

    await fleet.start(service)
    client, order = fleet.client, Order(WHEN, [Item("a")])
    for name in ("Lab.Call", "Lab.Thread"):
        assert await client.call("lab", name, order, returns=Order) == order
        with pytest.raises(errors.InvalidArgument, match=r"the request of .* is no Order: items\[0\].name is missing"):
            await client.call("lab", name, {"when": "2026-01-31T12:00:00Z", "items": [{}]})
    assert [one async for one in client.bidi_stream("lab", "Lab.Chat", [order, order], returns=Order)] == [order, order]
    assert seen == [order] * 4
    stream = client.bidi_stream("lab", "Lab.Chat", [order, {"when": 7, "items": []}], returns=Order)
    with pytest.raises(errors.InvalidArgument, match="when is an integer, and should be a date and time"):
        [one async for one in stream]
    with pytest.raises(errors.Internal, match="the reply is no Order: when is an integer"):
        await client.call("lab", "Lab.Broken", returns=Order)


async def test_types_may_be_written_below_their_first_use(fleet: Fleet) -> None:
    service = micro.Service("lab")
    module = types.ModuleType("late")
    module.__dict__.update(service=service, dataclass=dataclass)
    sys.modules["late"] = module
    try:
        exec(LATE, module.__dict__)
        await fleet.start(service)
        assert await fleet.client.call("lab", "Lab.Take", {"inner": {"name": "a"}}) == "a"
        with pytest.raises(errors.InvalidArgument, match=r"inner\.name is missing"):
            await fleet.client.call("lab", "Lab.Take", {"inner": {}})
    finally:
        del sys.modules["late"]


LATE = """
@dataclass
class Outer:
    inner: 'Inner'

@service.endpoint('Lab.Take')
async def take(outer: Outer) -> str:
    return outer.inner.name

@dataclass
class Inner:
    name: str
"""


async def test_a_type_that_is_nowhere_is_refused_at_the_start(fleet: Fleet) -> None:
    service = micro.Service("lab")

    @dataclass
    class Outer:
        inner: Nowhere  # type: ignore[name-defined]  # noqa: F821

    @service.endpoint("Lab.Take")
    async def take(outer: Outer) -> None: ...

    with pytest.raises(TypeError, match="types of the handler of Lab.Take cannot be read: .*Nowhere"):
        await fleet.start(service)
    with pytest.raises(TypeError, match="types of Outer cannot be read: .*Nowhere"):
        await fleet.client.call("lab", "Lab.Take", returns=Outer)


def test_pydantic_models_are_read_and_written_by_their_own_rules() -> None:
    pydantic = pytest.importorskip("pydantic")

    class Order(pydantic.BaseModel):  # type: ignore[misc, name-defined]
        item_name: str = pydantic.Field(alias="itemName")
        price: float = 0

    Model: Any = Order
    read = _codec.decoder(list[Model], "it")
    order = Model(itemName="a")
    written = bytes(_codec.encode([order], _codec.JSON, "it"))
    assert json.loads(written) == [{"itemName": "a", "price": 0}] and read(written, _codec.JSON) == [order]
    alone = bytes(_codec.encode(order, _codec.JSON, "it"))
    assert _codec.decoder(Model, "it")(alone, _codec.JSON) == order
    with pytest.raises(errors.Internal, match=r"\[0\]\.itemName is refused: Field required"):
        read(b"[{}]", _codec.JSON)
    with pytest.raises(errors.Internal, match="it has NaN"):
        _codec.decoder(Model, "it")(b'{"itemName":"a","price":NaN}', _codec.JSON)
    few = _codec.decoder(typing.Annotated[int, pydantic.Field(gt=3)], "it")
    assert few(b"4", _codec.JSON) == 4
    with pytest.raises(errors.Internal, match="greater than 3"):
        few(b"3", _codec.JSON)


def test_a_shape_knows_nothing_of_values_it_refuses() -> None:
    shape = Shapes().of(Item)
    assert shape is not None
    with pytest.raises(Wrong) as wrong:
        shape({"name": "x" * 10_000, "count": "secret"})
    assert "secret" not in str(wrong.value) and len(str(wrong.value)) < 200
