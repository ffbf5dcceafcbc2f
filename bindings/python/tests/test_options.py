"""Options that cannot be meant are refused by name, and every kind of number that can be is taken."""

from __future__ import annotations

import datetime
import decimal
import fractions
import math
from typing import Any

import pytest

import micro
from micro import errors
from micro._options import NO_TIMEOUT, document, nanoseconds
from micro.testing import Fleet


@pytest.mark.parametrize(
    ("timeout", "wanted"),
    [
        (1, 10**9),
        (decimal.Decimal("0.5"), 5 * 10**8),
        (fractions.Fraction(1, 4), 25 * 10**7),
        (datetime.timedelta(seconds=2), 2 * 10**9),
        (math.inf, NO_TIMEOUT),
        (decimal.Decimal("Infinity"), NO_TIMEOUT),
        (1e300, NO_TIMEOUT - 1),
        (-1, 1),
        (0, 1),
        (None, 0),
    ],
)
def test_a_timeout_is_any_kind_of_number(timeout: Any, wanted: int) -> None:
    assert nanoseconds(timeout) == wanted


def test_a_timeout_of_four_hundred_digits_is_no_limit() -> None:
    assert nanoseconds(10**400) > 10**18
    assert nanoseconds(-(10**400)) == 1


@pytest.mark.parametrize("timeout", [math.nan, -math.inf, decimal.Decimal("NaN"), True, b"1", [1], object(), 1j])
async def test_a_timeout_that_is_none_is_refused_by_name(fleet: Fleet, timeout: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="timeout is .*seconds"):
        await fleet.client.call("a", "A.B", timeout=timeout)
    with pytest.raises((TypeError, ValueError), match="timeout is .*seconds"):
        micro.Client(timeout=timeout)


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ({"x": 5}, "metadata `x` is int: give text"),
        ({"x": None}, "metadata `x` is NoneType"),
        ({"x": [1]}, "metadata `x` is int"),
        ({"x": {"y": "z"}}, "metadata `x` is dict"),
        ({1: "x"}, "a name of metadata is int"),
        ({"x": "\ud800"}, "half a surrogate pair"),
        ([("x",)], "give pairs of a name and a value"),
        ([1], "metadata has int in it"),
        (7, "metadata is int: give a mapping"),
        (b"x", "metadata is bytes: give a mapping"),
    ],
)
async def test_metadata_that_is_none_is_refused_by_name(fleet: Fleet, metadata: Any, says: str) -> None:
    with pytest.raises((TypeError, ValueError), match=says):
        await fleet.client.call("a", "A.B", metadata=metadata)


@pytest.mark.parametrize("metadata", [{"grüße": "x"}, {"": "x"}, {"x y": "z"}, {"x": "a\nb"}, {"x": b"\xff"}])
async def test_metadata_that_no_header_can_be_says_so(fleet: Fleet, metadata: Any) -> None:
    with pytest.raises(errors.Error, match="metadata") as refused:
        await fleet.client.call("a", "A.B", metadata=metadata)
    assert refused.value.code is errors.Code.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"grace": math.nan}, "grace is no number"),
        ({"grace": -math.inf}, "grace is -inf"),
        ({"limiter": {"patience": math.nan}}, "limiter.patience is no number"),
        ({"limiter": {"at_least": decimal.Decimal(3)}}, "limiter.at_least is .*Decimal.*: give text, a number"),
        ({"version": object()}, "version is .*: give text"),
        ({"metadata": {"zone": b"a"}}, "metadata.zone is b'a' .bytes.: give text"),
        ({"metadata": {1: "a"}}, "an option metadata is named by 1"),
        ({"max_message_size": math.inf}, "max_message_size is inf"),
        ({"version": "\ud800"}, "version has half a surrogate pair"),
    ],
)
def test_an_option_that_is_none_is_refused_by_name(options: Any, says: str) -> None:
    with pytest.raises((TypeError, ValueError), match=says):
        document(options)


@pytest.mark.parametrize("given", [0, -1, True, 1.5, "8", math.nan])
@pytest.mark.parametrize("option", ["threads", "stream_threads"])
def test_a_number_of_threads_is_one(option: Any, given: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=f"{option} is .*: give a number from 1 on"):
        micro.Service("a", **{option: given})


@pytest.mark.parametrize("name", [None, 7, b"a", object()])
async def test_names_of_what_is_called_are_text(fleet: Fleet, name: Any) -> None:
    with pytest.raises(TypeError, match="the name of the service is .*: give text"):
        await fleet.client.call(name, "A.B")
    with pytest.raises(TypeError, match="the name of the endpoint is .*: give text"):
        fleet.client.server_stream("a", name)


def test_no_end_is_the_most_the_core_takes() -> None:
    assert document({"grace": math.inf, "keepalive": math.inf}) == '{"grace": "31622400s", "keepalive": "none"}'
