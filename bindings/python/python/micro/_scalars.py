"""Values without parts, as JSON writes them, and what is said of those that are wrong."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

Read = Callable[[Any], Any]


class Wrong(Exception):
    """Something that is not what its type promises, and where it is."""

    def __init__(self, wanted: str, value: Any) -> None:
        super().__init__(wanted)
        self.path: list[str | int] = []
        self.text = f"is {kind_of(value)}, and should be {wanted}"

    @classmethod
    def saying(cls, text: str) -> Wrong:
        """With a text of its own, which goes on from the name of the field."""
        wrong = cls("", None)
        wrong.text = text
        return wrong

    @classmethod
    def of_pydantic(cls, error: Exception) -> Wrong:
        """The first of what pydantic complains of."""
        errors = getattr(error, "errors", None)
        if errors is None:
            return cls.saying(f"is refused: {error}")
        found = errors(include_url=False, include_context=False, include_input=False)
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        wrong = cls.saying(f"is refused: {found[0]['msg']}{more}")
        wrong.path = list(found[0]["loc"])
        return wrong

    def at(self, name: str | int) -> Wrong:
        """As part of something."""
        self.path.insert(0, name)
        return self

    def __str__(self) -> str:
        out = ""
        for step in self.path[:16]:
            if isinstance(step, int):
                out += f"[{step}]"
            else:
                name = step if len(step) <= 40 else step[:40] + "…"
                out += f".{name}" if out else name
        return f"{out or 'it'} {self.text}"


def kind_of(value: Any) -> str:
    """What JSON calls a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    names = {int: "an integer", str: "a string", list: "an array", dict: "an object"}
    return names.get(type(value), "a number" if isinstance(value, float) else type(value).__name__)


def described(kind: Any) -> str:
    """How a type is written."""
    name = getattr(kind, "__name__", None)
    return name if name and not getattr(kind, "__args__", None) else _HOME.sub("", str(kind))


_HOME = re.compile(r"(?:\b\w+\.|<locals>\.)+(?=\w)")
"""Where a type was written."""


class Digits(float):
    """A number with the digits it was written with."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> Digits:
        self = super().__new__(cls, text)
        self.text = text
        return self


def number(name: str) -> Any:
    """The number or boolean that the name of a field is; text that is neither stays."""
    if name in ("true", "false"):
        return name == "true"
    try:
        if re.fullmatch(r"-?\d{1,4300}", name, re.ASCII):
            return int(name)
        return float(name) if re.fullmatch(r"-?\d{1,400}(\.\d{1,400})?([eE][+-]?\d{1,3})?", name, re.ASCII) else name
    except ValueError:
        return name


def member(values: dict[tuple[type, Any], Any], missing: Callable[[Any], Any] | None) -> Read:
    """One of some values; ``missing`` may know others of the same types, as ``Flag`` does."""
    some = ", ".join(repr(value) for _, value in list(values)[:10]) + (", …" if len(values) > 10 else "")
    kinds = {kind for kind, _ in values}

    def read(value: Any) -> Any:
        kind = type(value)
        if kind in kinds:
            found = values.get((kind, value))
            if found is not None or (kind, value) in values:
                return found
            if missing is not None:
                try:
                    return missing(value)
                except (ValueError, TypeError):
                    pass
        raise Wrong(f"one of {some}", value)

    return read


def _exactly(kind: type, wanted: str) -> Read:
    def read(value: Any) -> Any:
        if type(value) is not kind:
            raise Wrong(wanted, value)
        return value

    return read


_digits = re.compile(r"-?\d{1,4300}", re.ASCII).fullmatch


def whole(value: Any) -> int:
    """An integer, or text of its digits, which is how protobuf writes those of 64 bits."""
    if type(value) is int:
        return value
    if type(value) is str and _digits(value):
        return int(value)
    raise Wrong("an integer", value)


def _float(value: Any) -> float:
    kind = type(value)
    if kind is int:
        try:
            return float(value)
        except OverflowError:
            raise Wrong.saying("is larger than a number can be") from None
    if kind is not float and kind is not Digits:
        raise Wrong("a number", value)
    found = float(value)
    if not math.isfinite(found):
        raise Wrong.saying("is larger than a number can be")
    return found


def _bytes(kind: Any) -> Read:
    def read(value: Any) -> Any:
        import base64

        if type(value) is bytes:
            # In a format that has them.
            return kind(value)
        if type(value) is not str:
            raise Wrong("bytes in base64", value)
        try:
            return kind(base64.b64decode(value, validate=True))
        except ValueError:
            raise Wrong.saying("should be bytes in base64") from None

    return read


def _written(form: str, wanted: str, make: Callable[[Any, str], Any]) -> Callable[[Any], Read]:
    """Of a type whose values are text of a form."""
    matches = re.compile(form, re.ASCII | re.DOTALL).fullmatch

    def of(kind: Any) -> Read:
        def read(value: Any) -> Any:
            if type(value) is not str:
                raise Wrong(wanted, value)
            try:
                if matches(value):
                    return make(kind, value)
            except (ValueError, ArithmeticError):
                pass
            raise Wrong.saying(f"should be {wanted}")

        return read

    return of


def _duration(kind: Any, text: str) -> Any:
    sign, *parts = _DURATION.fullmatch(text).groups()  # type: ignore[union-attr]
    if not any(parts) or text.endswith("T"):
        raise ValueError(text)
    names = ("weeks", "days", "hours", "minutes", "seconds", "microseconds")
    given = {name: int(part) for name, part in zip(names[:5], parts[:5], strict=True) if part}
    given["microseconds"] = int((parts[5] or "0").ljust(6, "0")[:6])
    return -kind(**given) if sign == "-" else kind(**given)


def _decimal(kind: Any) -> Read:
    def read(value: Any) -> Any:
        given = value.text if type(value) is Digits else repr(value) if type(value) is float else value
        if type(given) not in (str, int):
            raise Wrong("a number, or text of one", value)
        try:
            found = kind(given)
        except ArithmeticError:
            raise Wrong.saying("should be a number, or text of one") from None
        if not found.is_finite():
            raise Wrong.saying("should be a number that is finite")
        return found

    return read


_DURATION = re.compile(
    r"([+-])?P(?:(\d{1,9})W)?(?:(\d{1,9})D)?(?:T(?:(\d{1,12})H)?(?:(\d{1,12})M)?(?:(\d{1,15})(?:\.(\d{1,9}))?S)?)?", re.ASCII
)
_TIME = r"\d\d:?\d\d(:?\d\d([.,]\d{1,9})?)?([zZ]|[+-]\d\d(:?\d\d(:?\d\d(\.\d+)?)?)?)?"
_ADDRESS = _written(r"[0-9a-fA-F:./%\w]{2,100}", "an IP address", lambda kind, text: kind(text))


class Scalar(NamedTuple):
    """A type without parts."""

    read: Read
    is_exact: bool = False
    """True when it needs every digit of a number."""


_BY_NAME: dict[tuple[str, str], Callable[[Any], Read]] = {
    ("builtins", "bytes"): _bytes,
    ("builtins", "bytearray"): _bytes,
    ("builtins", "memoryview"): _bytes,
    ("datetime", "datetime"): _written(
        r"\d{4}-\d\d-\d\d[Tt ]" + _TIME,
        "a date and time such as 2026-01-31T12:00:00Z",
        lambda kind, text: kind.fromisoformat(text.upper()),
    ),
    ("datetime", "date"): _written(
        r"\d{4}-\d\d-\d\d", "a date such as 2026-01-31", lambda kind, text: kind.fromisoformat(text)
    ),
    ("datetime", "time"): _written(_TIME, "a time such as 12:00:00", lambda kind, text: kind.fromisoformat(text.upper())),
    ("datetime", "timedelta"): _written(".*", "a duration such as PT90S", lambda kind, text: _length(kind, text)),
    ("uuid", "UUID"): _written(
        r"[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}", "a UUID", lambda kind, text: kind(text)
    ),
    ("decimal", "Decimal"): _decimal,
    **{("ipaddress", f"IPv{version}{what}"): _ADDRESS for version in (4, 6) for what in ("Address", "Network", "Interface")},
    **{
        ("pathlib", name): _written(r"[^\0]*", "a path", lambda kind, text: kind(text))
        for name in ("Path", "PurePath", "PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath")
    },
}
_BUILTIN: dict[Any, Scalar] = {
    int: Scalar(whole),
    str: Scalar(_exactly(str, "a string")),
    bool: Scalar(_exactly(bool, "true or false")),
    float: Scalar(_float),
}


def _length(kind: Any, text: str) -> Any:
    if _DURATION.fullmatch(text) is None:
        raise ValueError(text)
    return _duration(kind, text)


def scalar(kind: Any) -> Scalar | None:
    """How a type without parts is read; ``None`` for one that has parts. By name, so that no module is loaded for it."""
    if not isinstance(kind, type):
        return None
    found = _BUILTIN.get(kind)
    if found is None:
        home = kind.__module__.partition(".")[0]
        make = _BY_NAME.get((home, kind.__qualname__))
        if make is None:
            return None
        found = _BUILTIN[kind] = Scalar(make(kind), is_exact=kind.__qualname__ == "Decimal")
    return found
