"""What callers may know of the types of an endpoint."""

from __future__ import annotations

import datetime
import enum
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypedDict, TypeVar

import pytest

import micro
from micro._fields import tree
from micro.testing import Fleet

T = TypeVar("T")


class Kind(enum.Enum):
    PLAIN = "plain"


@dataclass
class Person:
    name: str
    home: Home | None = None


@dataclass
class Home:
    city: str
    owner: Person | None = None


class Line(TypedDict, total=False):
    part: int
    price: float


class Place(NamedTuple):
    left: int
    top: int


@dataclass
class Order:
    id: int
    buyer: Person
    lines: list[Line]
    place: Place
    labels: dict[str, int]
    kind: Kind
    due: datetime.date
    drawing: bytes
    flag: Annotated[bool, "a remark"] = False
    size: Literal["s", "m"] = "s"
    either: int | str = 0
    anything: Any = None
    pair: tuple[int, str] = (0, "")
    grid: list[list[float]] = field(default_factory=list)
    secret: int = field(init=False, default=0)


@dataclass
class Page(Generic[T]):
    items: list[T]
    first: T


def said(told: dict[str, Any]) -> str:
    """A tree in one line, as in ``Order{lines []Line}``."""
    fields = [f"{one['name']} {said(one)}" for one in told["values"] or ()]
    return f"{told['type']}{{{', '.join(fields)}}}" if fields else str(told["type"])


def test_fields_are_told_as_go_names_them() -> None:
    assert said(tree(Order)) == (
        "Order{id int64, buyer Person{name string, home Home}, lines []Line, place Place{left int64, top int64}, labels , "
        "kind Kind, due string, drawing []uint8, flag bool, size string, either , anything , pair [], grid [][]float64}"
    )
    assert said(tree(Person)) == "Person{name string, home Home{city string, owner Person}}"
    assert said(tree(Page[Line])) == "Page{items []Line, first Line{part int64, price float64}}"
    assert [said(tree(kind)) for kind in (str, list[int], dict[str, int], int | None)] == ["string", "[]int64", "dict", "int64"]


def test_models_tell_theirs_by_the_names_they_are_read_by() -> None:
    pydantic = pytest.importorskip("pydantic")
    item = pydantic.create_model("Item", count=(int, pydantic.Field(alias="itemCount")), home=(Home, ...))
    assert said(tree(item)) == "Item{itemCount int64, home Home{city string, owner Person}}"


def test_types_that_are_not_there_yet_are_told_without_fields() -> None:
    @dataclass
    class Early:
        later: Later  # type: ignore[name-defined]  # noqa: F821

    assert said(tree(Early)) == "Early{later }"


async def test_the_registry_has_the_fields_of_what_a_handler_takes_and_gives(fleet: Fleet) -> None:
    service = micro.Service("shop")

    @service.endpoint("Shop.Buy")
    async def buy(request: Order) -> list[Line]:
        return request.lines

    @service.server_stream("Shop.Lines")
    async def lines(request: Person) -> AsyncIterator[Line]:
        yield {"part": 1}

    @service.endpoint("Shop.Any")
    async def anything(request: dict[str, Any]) -> Any:
        return request

    await fleet.start(service)
    (record,) = await fleet.client.lookup("shop")
    told = {one.name: one for one in record.endpoints}
    assert said(told["Shop.Buy"].request) == said(tree(Order))
    assert (told["Shop.Buy"].response["name"], said(told["Shop.Buy"].response)) == ("list", "[]Line")
    assert said(told["Shop.Lines"].request) == said(tree(Person))
    assert said(told["Shop.Lines"].response) == said(tree(Line))
    assert told["Shop.Any"].request["type"] == "dict"
