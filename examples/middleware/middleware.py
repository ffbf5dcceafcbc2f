"""Functions around calls, on both sides, and around the start and the stop of a service."""

import asyncio
from collections.abc import AsyncIterator

import micro
from micro import errors

shop = micro.Service("shop", registry="memory://shop", network="memory://shop")
client = micro.Client(registry="memory://shop", network="memory://shop")


@shop.endpoint("Shop.Buy")
async def buy(pieces: int, context: micro.Context) -> str:
    return f"{pieces} pieces, to {context.metadata['tenant']}"


@shop.endpoint("Shop.Prices")
async def prices(pieces: int) -> AsyncIterator[int]:
    for piece in range(1, pieces + 1):
        yield 3 * piece


@shop.use
async def log(request, context, call_next):
    try:
        reply = await call_next()
    except errors.Error as error:
        print(f"{context.endpoint}: {error.detail}")
        raise
    print(f"{context.endpoint}: fine")
    return reply


@shop.use(endpoints=["Shop.Buy"])
async def at_least_one(pieces, context, call_next):
    if pieces == 0:
        raise errors.InvalidArgument("pieces: order at least one")
    return await call_next()


@client.use
async def tenant(call, call_next):
    call.options.setdefault("metadata", {"tenant": "blue"})
    return await call_next()


@client.use
async def doubled(call, call_next):
    replies = await call_next()
    if call.shape != "server_stream":
        return replies

    async def each():
        async for reply in replies:
            yield 2 * reply

    return each()


@shop.before_start
async def connect():
    print("connects to the database")


@shop.after_stop
def disconnect():
    print("and lets it go")


async def main() -> None:
    async with shop, client:
        print(await client.call("shop", "Shop.Buy", 2))
        try:
            await client.call("shop", "Shop.Buy", 0)
        except errors.InvalidArgument as error:
            print(error.detail)
        print([price async for price in client.server_stream("shop", "Shop.Prices", 3)])


asyncio.run(main())
