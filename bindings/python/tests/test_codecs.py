"""Content types of the program's own, by the example of MessagePack."""

from __future__ import annotations

import datetime
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import msgpack
import pytest

import micro
from micro import errors
from micro.testing import Fleet


@dataclass
class Part:
    name: str
    drawing: bytes = b""


@dataclass
class Order:
    pieces: int
    due: datetime.date
    parts: list[Part] = field(default_factory=list)


ORDER = Order(3, datetime.date(2026, 1, 31), [Part("bolt", b"\x00\xff")])


@pytest.fixture(autouse=True)
def msgpack_is_known() -> None:
    micro.codec("msgpack", dumps=msgpack.packb, loads=msgpack.unpackb)


async def double(request: Order, context: micro.Context) -> Order:
    request.pieces *= 2
    return request


async def test_both_sides_speak_an_added_codec(fleet: Fleet) -> None:
    service = micro.Service("shop")
    service.endpoint("Shop.Double")(double)

    @service.bidi_stream("Shop.Each")
    async def each(requests: AsyncIterator[Order]) -> AsyncIterator[Part]:
        async for request in requests:
            for part in request.parts:
                yield part

    @service.endpoint("Shop.Raw")
    async def raw(request: bytes) -> bytes:
        return request

    await fleet.start(service)
    call = fleet.client.call
    doubled = await call("shop", "Shop.Double", ORDER, returns=Order, codec="msgpack")
    assert doubled == Order(6, ORDER.due, ORDER.parts)
    assert await call("shop", "Shop.Double", ORDER, codec="msgpack") == {
        "pieces": 6,
        "due": "2026-01-31",
        "parts": [{"name": "bolt", "drawing": b"\x00\xff"}],
    }
    # What goes over the wire is what the format writes.
    sent = await call("shop", "Shop.Raw", Part("bolt", b"\x00"), returns=bytes, codec="msgpack")
    assert sent == msgpack.packb({"name": "bolt", "drawing": b"\x00"})
    stream = fleet.client.bidi_stream("shop", "Shop.Each", [ORDER, ORDER], returns=Part, codec="msgpack")
    assert [part async for part in stream] == ORDER.parts * 2


async def test_a_handler_on_a_thread_speaks_it_too(fleet: Fleet) -> None:
    service = micro.Service("shop")

    @service.endpoint("Shop.Count")
    def count(request: Order) -> int:
        return request.pieces

    await fleet.start(service)
    assert await fleet.client.call("shop", "Shop.Count", ORDER, returns=int, codec="msgpack") == 3


async def test_protobuf_and_pydantic_speak_it_as_they_do_json(fleet: Fleet, pb: Any) -> None:
    pydantic = pytest.importorskip("pydantic")
    model = pydantic.create_model("Item", name=(str, ...), due=(datetime.date, ...))
    service = micro.Service("shop")

    async def greet(request: pb.HelloRequest) -> pb.HelloReply:  # type: ignore[name-defined]
        return pb.HelloReply(message=request.name, total_count=request.times_greeted)

    async def item(request: model) -> model:  # type: ignore[valid-type]
        return request

    service.endpoint("Shop.Greet", request=pb.HelloRequest, response=pb.HelloReply)(greet)
    service.endpoint("Shop.Item", request=model, response=model)(item)
    await fleet.start(service)
    call = fleet.client.call
    asked = pb.HelloRequest(name="Ada", times_greeted=2)
    reply = await call("shop", "Shop.Greet", asked, returns=pb.HelloReply, codec="msgpack")
    assert (reply.message, reply.total_count) == ("Ada", 2)
    packed = msgpack.packb({"name": "Ada", "timesGreeted": 2, "unknown": 1})
    plain = msgpack.unpackb(await call("shop", "Shop.Greet", packed, returns=bytes, codec="msgpack"))
    assert plain["total_count"] in (2, "2")
    one = model(name="bolt", due="2026-01-31")
    assert await call("shop", "Shop.Item", one, returns=model, codec="msgpack") == one


async def test_what_cannot_be_read_or_written_is_said(fleet: Fleet) -> None:
    service = micro.Service("shop")
    service.endpoint("Shop.Double")(double)
    await fleet.start(service)
    call = fleet.client.call
    with pytest.raises(errors.InvalidArgument, match="no msgpack"):
        await call("shop", "Shop.Double", b"\xc1", codec="msgpack")
    with pytest.raises(errors.InvalidArgument, match="pieces is a string, and should be an integer"):
        await call("shop", "Shop.Double", {"pieces": "x", "due": "2026-01-31"}, codec="msgpack")
    with pytest.raises(ValueError, match="complex, which cannot be written as msgpack"):
        await call("shop", "Shop.Double", 1j, codec="msgpack")
    with pytest.raises(ValueError, match=r"codec 'cbor' is unknown: .* or add it with micro.codec"):
        await call("shop", "Shop.Double", ORDER, codec="cbor")


async def test_names_are_checked_and_may_be_given_again(fleet: Fleet) -> None:
    for name in ("json", "Upper", "grpc-web", ""):
        with pytest.raises(errors.InvalidArgument, match="for example `msgpack`"):
            micro.codec(name, dumps=msgpack.packb, loads=msgpack.unpackb)
    micro.codec("x-twice", dumps=repr, loads=repr)  # type: ignore[arg-type]
    micro.codec("x-twice", dumps=lambda value: json.dumps(value).encode(), loads=json.loads)
    service = micro.Service("shop")
    service.endpoint("Shop.Double")(double)
    await fleet.start(service)
    order = {"pieces": 1, "due": "2026-01-31"}
    assert (await fleet.client.call("shop", "Shop.Double", order, returns=Order, codec="x-twice")).pieces == 2
