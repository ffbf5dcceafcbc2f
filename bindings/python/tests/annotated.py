"""Types that tests annotate messages with."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import typing
import uuid
from dataclasses import dataclass, field
from typing import Literal

T = typing.TypeVar("T")
UserId = typing.NewType("UserId", int)


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


@dataclass
class Item:
    name: str
    count: int = 1


@dataclass
class Node:
    value: int
    below: list[Node] = field(default_factory=list)


@dataclass
class Page(typing.Generic[T]):
    items: list[T]
    next: T | None = None


@dataclass
class Strings(Page[str]):
    pass


@dataclass
class Bill:
    net: int
    gross: int = field(init=False)
    rate: dataclasses.InitVar[int] = 2

    def __post_init__(self, rate: int) -> None:
        if self.net < 0:
            raise ValueError("net is below zero")
        self.gross = self.net * rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    x: float
    y: float = 0.0


class Movie(typing.TypedDict):
    name: str
    year: typing.NotRequired[int]


class Partial(Movie, total=False):
    stars: typing.Annotated[int, "of five"]
    must: typing.Required[bool]


class Pair(typing.NamedTuple):
    left: int
    right: Item | None = None


@dataclass
class Cat:
    kind: Literal["cat"]
    name: str


@dataclass
class Dog:
    kind: Literal["dog"]
    name: str


@dataclass
class Wide:
    name: str
    count: int
    extra: str


UTC = datetime.UTC
WHEN = datetime.datetime(2026, 1, 31, 12, 30, 5, 250000, tzinfo=UTC)
ID = uuid.UUID("12345678-1234-5678-1234-567812345678")
