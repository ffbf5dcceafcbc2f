"""What the operator of a program says of its service: flags, variables, a document."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from . import _micro
from ._errors import Cancelled, InvalidArgument
from ._options import document


class Setting(NamedTuple):
    """A setting of a service, its value, and what set it."""

    key: str
    """As in a document, such as ``client.timeout``."""
    value: str
    """As a document has it; secrets are left out."""
    kind: Literal["default", "code", "document", "variable", "flag"]
    """What set it."""
    source: str
    """Which one: the name of the flag, the variable or the document."""


def explained(name: str, options: Mapping[str, Any]) -> list[Setting]:
    """Every setting of a service with these options, as a start would find them now."""
    told = json.loads(_micro.explain(name, document(options)))
    return [Setting(one["key"], one["value"], one["kind"], one["source"]) for one in told]


def arguments(name: str, options: Mapping[str, Any], argv: bool | Sequence[str]) -> dict[str, Any]:
    """The option that hands the flags of the program over; none where they are left to the program.

    Help and the version are printed and end the program with 0; what is wrong is, and ends it with 2.
    """
    if argv is False or argv is None:
        return {}
    given = sys.argv[1:] if argv is True else argv
    if isinstance(given, (str, bytes)) or not all(isinstance(one, str) for one in given):
        raise TypeError(f"argv is {argv!r}: give True for the flags of the program, or a list of texts without its name")
    args = {"args": list(given)}
    try:
        explained(name, {**options, **args})
    except Cancelled as asked:
        print(asked.detail)
        raise SystemExit(0) from None
    except InvalidArgument as error:
        print(f"{name}: {error.detail}", file=sys.stderr)
        raise SystemExit(2) from None
    return args


__all__ = ["Setting", "arguments", "explained"]
