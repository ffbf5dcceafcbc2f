"""Metadata: what is sent along with a message."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from . import _micro

Value = str | bytes
"""A value: ``bytes`` under names that end in ``-bin``, ``str`` under all others."""

MetadataLike = Mapping[str, Value | Iterable[Value]] | Iterable[tuple[str, Value]]
"""What can be given as metadata: a mapping of names to one value or many, or pairs."""


class Metadata(Mapping[str, str]):
    """Names and values that came along with a message. Names are lower case, and looked up in any case.

    As a mapping it has the first text of each name; :meth:`get_all` has all of them. Names that end in ``-bin`` have bytes,
    which :meth:`get_binary` reads. :attr:`pairs` has everything, in the order it was sent.
    """

    __slots__ = ("pairs",)

    def __init__(self, pairs: Iterable[tuple[str, Value]] = ()) -> None:
        self.pairs: tuple[tuple[str, Value], ...] = tuple(pairs)

    def __getitem__(self, name: str) -> str:
        wanted = _text_name(name)
        for known, value in self.pairs:
            if known == wanted:
                return _text(value)
        raise KeyError(name)

    def get_all(self, name: str) -> list[str]:
        """Every text under this name, in the order they were sent."""
        wanted = _text_name(name)
        return [_text(value) for known, value in self.pairs if known == wanted]

    def get_binary(self, name: str) -> bytes | None:
        """The first value under this name as bytes; ``None`` where there is none."""
        return next(iter(self.get_all_binary(name)), None)

    def get_all_binary(self, name: str) -> list[bytes]:
        """Every value under this name as bytes, in the order they were sent."""
        wanted = name.lower()
        return [value.encode() if isinstance(value, str) else value for known, value in self.pairs if known == wanted]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and any(known == name.lower() for known, _ in self.pairs)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for name, _ in self.pairs if not name.endswith("-bin")))

    def __len__(self) -> int:
        return len({name for name, _ in self.pairs if not name.endswith("-bin")})

    def __eq__(self, other: object) -> bool:
        return self.pairs == other.pairs if isinstance(other, Metadata) else super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Metadata({list(self.pairs)!r})"

    def __reduce__(self) -> tuple[type[Metadata], tuple[tuple[tuple[str, Value], ...]]]:
        return Metadata, (self.pairs,)


def _text_name(name: str) -> str:
    wanted = name.lower()
    if wanted.endswith("-bin"):
        raise TypeError(f"metadata `{name}` is bytes, as all whose name ends in -bin: read it with get_binary({name!r})")
    return wanted


def _text(value: Value) -> str:
    # What is no UTF-8 comes as bytes, and HTTP's own text is Latin-1.
    return value if isinstance(value, str) else value.decode("latin-1")


def of_block(block: bytes) -> Metadata:
    """The metadata of a block that came in."""
    return Metadata(_micro.unpack(block)[0])


def of_blocks(blocks: bytes | None) -> tuple[Metadata, Metadata]:
    """Headers and trailers."""
    if not blocks:
        return Metadata(), Metadata()
    headers, trailers = _micro.unpack(blocks)
    return Metadata(headers), Metadata(trailers)


def pairs(metadata: MetadataLike | None) -> list[tuple[str, Value]] | None:
    """Pairs of whatever is given as metadata. Raises ``TypeError`` that names what cannot be metadata."""
    if metadata is None:
        return None
    if isinstance(metadata, Metadata):
        return list(metadata.pairs)
    if isinstance(metadata, bytes) or not isinstance(metadata, Iterable):
        raise TypeError(f"metadata is {type(metadata).__name__}: give a mapping of names to values, or pairs of both")
    out: list[tuple[str, Value]] = []
    if isinstance(metadata, Mapping):
        # A mapping is an iterable too, which type checkers take for pairs.
        known: Mapping[str, Value | Iterable[Value]] = metadata  # pyright: ignore[reportAssignmentType]
        for name, value in known.items():
            if isinstance(value, (str, bytes)) or not isinstance(value, (list, tuple, set, frozenset, Iterator)):
                out.append(_pair(name, value))
            else:
                out.extend(_pair(name, one) for one in value)
        return out
    for pair in metadata:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(f"metadata has {type(pair).__name__} in it: give pairs of a name and a value")
        out.append(_pair(*pair))
    return out


def _pair(name: Any, value: Any) -> tuple[str, Value]:
    if not isinstance(name, str):
        raise TypeError(f"a name of metadata is {type(name).__name__}: give text")
    if not isinstance(value, (str, bytes)):
        raise TypeError(f"metadata `{name}` is {type(value).__name__}: give text, or bytes under a name that ends in -bin")
    try:
        name.encode(), value.encode() if isinstance(value, str) else value
    except UnicodeEncodeError:
        raise ValueError(f"metadata `{name!a}` has half a surrogate pair: give text that UTF-8 can say") from None
    return name, value
