"""What a function says of itself, however it was made: plain, decorated, partial, bound, or an object that can be called."""

from __future__ import annotations

import collections.abc as abc
import functools
import inspect
import sys
import typing
from collections.abc import Callable
from typing import Any

from ._context import Context
from ._streams import Requests
from ._threads import IncomingRequests

_REQUESTS = (
    abc.AsyncIterator,
    abc.AsyncIterable,
    abc.AsyncGenerator,
    abc.Iterator,
    abc.Iterable,
    abc.Generator,
    Requests,
    IncomingRequests,
)
_REPLIES = (abc.AsyncIterator, abc.AsyncIterable, abc.AsyncGenerator)
_REPLIES_ON_A_THREAD = (abc.Iterator, abc.Generator)
_LATER = (abc.Awaitable, abc.Coroutine)
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_DEEPEST = 64
"""Wrappers around wrappers."""


class Signature:
    """A handler's function: what it takes and gives, and where it runs.

    Raises ``TypeError`` for what could not be served as it looks.
    """

    def __init__(self, name: str, function: Any, names: dict[str, Any] | None, *, is_told: bool) -> None:
        if isinstance(function, classmethod) or isinstance(function, type) or not callable(function):
            raise TypeError(f"the handler of {name} is {_article(function)}: give a function, or a method of an object")
        outer, inner = _direct(function), _innermost(function)
        self._name = name
        speaker, parameters = _spoken(name, function)
        hints = _hints(name, speaker, names)
        self.parameters = self._taken(inner, parameters, hints, is_told)
        self.takes_context = len(self.parameters) == 2
        self.takes_request = bool(self.parameters)
        given = _bare(hints.get(self.parameters[0].name)) if self.parameters else None
        self.streamed = _origin(given) in _REQUESTS
        self.request = _first(given) if self.streamed else hints.get(self.parameters[0].name) if self.parameters else None
        returned = _bare(hints.get("return"))
        later = _origin(returned) in _LATER
        if later:
            returned = (typing.get_args(returned) or (None,))[-1]
        self.is_certain = inspect.iscoroutinefunction(outer)
        """True for what gives an awaitable for sure."""
        self.is_async = (
            inspect.iscoroutinefunction(outer)
            or inspect.isasyncgenfunction(outer)
            or inspect.iscoroutinefunction(inner)
            or inspect.isasyncgenfunction(inner)
            or later
            or (not inspect.isgeneratorfunction(outer) and _origin(returned) in _REPLIES and not self.is_certain)
        )
        """Runs on the event loop."""
        lists = _REPLIES if self.is_async else (*_REPLIES, *_REPLIES_ON_A_THREAD)
        self.yields = (
            any(inspect.isasyncgenfunction(one) or inspect.isgeneratorfunction(one) for one in (outer, inner))
            or (_origin(returned) in lists and not self.is_certain)
        )  # fmt: skip
        """Sends a stream of replies."""
        many = _origin(returned) in (*_REPLIES, *_REPLIES_ON_A_THREAD) or (self.yields and _origin(returned) is abc.Iterable)
        whole = hints.get("return") if not later else returned
        self.response = _first(returned) if many else whole

    def _taken(
        self, inner: Any, every: list[inspect.Parameter], hints: dict[str, Any], is_told: bool
    ) -> list[inspect.Parameter]:
        name = self._name
        found = [one for one in every if one.kind in _POSITIONAL]
        rest = [one for one in every if one.kind is inspect.Parameter.VAR_POSITIONAL]
        if rest and not found:
            if is_told:
                return rest
            raise TypeError(
                f"the handler of {name} takes *{rest[0].name}, which does not say what it takes: "
                "use functools.wraps in its decorator, or give `request`"
            )
        needed = [one for one in found if one.default is inspect.Parameter.empty]
        keyword = any(one.kind is inspect.Parameter.KEYWORD_ONLY and one.default is inspect.Parameter.empty for one in every)
        if found and found[0].name in ("self", "cls") and _is_within_class(inner):
            raise TypeError(
                f"the handler of {name} is a method that has no object yet: "
                f'`service.endpoint("{name}")(handlers.{getattr(inner, "__name__", "method")})`, once there is one'
            )
        if len(needed) > 2 or keyword:
            raise TypeError(f"the handler of {name} should take a request, or a request and a context")
        if len(needed) == 2 and not _may_be_context(needed[1], hints):
            raise TypeError(
                f"the handler of {name} should take a request, or a request and a context: "
                f"`{needed[1].name}` is annotated as neither"
            )
        if len(needed) <= 1 and len(found) >= 2 and _is_context(found[1], hints):
            return found[:2]
        return found[: max(1, len(needed))]


def _article(function: Any) -> str:
    if isinstance(function, type):
        return f"the class {function.__name__}"
    return f"a {type(function).__name__}"


def _direct(function: Any) -> Any:
    """The function that runs when this is called."""
    for _ in range(_DEEPEST):
        if isinstance(function, functools.partial):
            function = function.func
        elif isinstance(function, staticmethod) or inspect.ismethod(function):
            function = function.__func__
        elif not inspect.isroutine(function) and not isinstance(function, type) and _calls(function) is not None:
            function = _calls(function)
        else:
            break
    return function


def _calls(function: Any) -> Any:
    call = getattr(type(function), "__call__", None)  # noqa: B004
    return call if inspect.isfunction(call) or inspect.ismethod(call) else None


def _innermost(function: Any) -> Any:
    """The function that its decorators say is meant."""
    for _ in range(_DEEPEST):
        function = _direct(function)
        wrapped = getattr(function, "__wrapped__", None)
        if wrapped is None:
            break
        function = wrapped
    return function


def _spoken(name: str, function: Any) -> tuple[Any, list[inspect.Parameter]]:
    """The first function, from the outside, that says what it takes; and what that is."""
    if isinstance(function, staticmethod):
        function = function.__func__
    if isinstance(function, functools.partial):
        speaker, taken = _spoken(name, function.func)
        return speaker, _left(taken, function)
    found: list[inspect.Parameter] = []
    for _ in range(_DEEPEST):
        try:
            found = list(inspect.signature(function, follow_wrapped=False).parameters.values())
        except (TypeError, ValueError) as error:
            raise TypeError(f"the handler of {name} does not say what it takes: {error}") from None
        wrapped = getattr(function, "__wrapped__", None) or getattr(_direct(function), "__wrapped__", None)
        is_hidden = any(one.kind is inspect.Parameter.VAR_POSITIONAL for one in found)
        if wrapped is None or not is_hidden or any(one.kind in _POSITIONAL for one in found):
            break
        if inspect.ismethod(function) and not inspect.ismethod(wrapped):
            # What was wrapped has the object in front of what the wrapper is given.
            wrapped = wrapped.__get__(function.__self__)
        elif _is_object(function) and inspect.isfunction(wrapped) and _calls(function) is _direct(function):
            wrapped = wrapped.__get__(function) if getattr(function, "__wrapped__", None) is None else wrapped
        function = wrapped
    return function, found


def _left(parameters: list[inspect.Parameter], partial: functools.partial[Any]) -> list[inspect.Parameter]:
    """What is still to be given to a partial function."""
    out, given, by_name = [], len(partial.args), False
    for one in parameters:
        if one.kind in _POSITIONAL:
            if given:
                given -= 1
                continue
            # From the first that is given by its name on, none can be given by its place.
            by_name |= one.name in partial.keywords
            if by_name:
                one = one.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        if one.name in partial.keywords:
            one = one.replace(default=None)
        out.append(one)
    return out


def _is_object(function: Any) -> bool:
    return not inspect.isroutine(function) and not isinstance(function, functools.partial)


def _hints(name: str, function: Any, names: dict[str, Any] | None) -> dict[str, Any]:
    plain = _direct(function)
    try:
        return typing.get_type_hints(plain, localns=names, include_extras=True)
    except NameError as error:
        raise TypeError(f"the types of the handler of {name} cannot be read: {error}") from None
    except (TypeError, AttributeError):
        # What was not written in Python has none.
        return {}


def _bare(hint: Any) -> Any:
    while typing.get_origin(hint) is typing.Annotated:
        hint = typing.get_args(hint)[0]
    return hint


def _origin(hint: Any) -> Any:
    return typing.get_origin(hint) or hint


def _first(hint: Any) -> Any:
    return (typing.get_args(hint) or (None,))[0]


def _is_within_class(function: Any) -> bool:
    """True for a function that stands in the body of a class."""
    path = getattr(function, "__qualname__", "").split(".")
    return len(path) > 1 and path[-2] != "<locals>" and not inspect.ismethod(function)


def _is_context(parameter: inspect.Parameter, hints: dict[str, Any]) -> bool:
    hint = _bare(hints.get(parameter.name))
    return hint is Context or "Context" in str(parameter.annotation) or parameter.name in ("context", "ctx", "cx")


def _may_be_context(parameter: inspect.Parameter, hints: dict[str, Any]) -> bool:
    hint = _bare(hints.get(parameter.name))
    return hint in (None, Any, object) or _is_context(parameter, hints)


def caller_names(depth: int = 2) -> dict[str, Any] | None:
    """Local names of the code that decorates a handler inside of a function, for annotations that are text."""
    frame = sys._getframe(depth)
    return None if frame.f_locals is frame.f_globals else dict(frame.f_locals)


Function = Callable[..., Any]
