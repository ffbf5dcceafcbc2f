"""The three kinds of stream: many replies, many requests, and both at once."""

from collections.abc import AsyncIterator

import micro

service = micro.Service("numbers")


@service.endpoint("Numbers.Count")
async def count(to: int) -> AsyncIterator[int]:
    for number in range(1, to + 1):
        yield number


@service.endpoint("Numbers.Sum")
async def total(numbers: AsyncIterator[int]) -> int:
    return sum([number async for number in numbers])


@service.endpoint("Numbers.Double")
async def double(numbers: AsyncIterator[int]) -> AsyncIterator[int]:
    async for number in numbers:
        yield number * 2


service.run()
