"""Orders that are published, billed once whatever fails, and looked at when they cannot be."""

import asyncio
import sys

import micro

service = micro.Service("billing")


@service.subscribe("orders", queue="billing", max_attempts=3)
async def bill(order: int, context: micro.Context) -> None:
    assert context.delivery is not None
    if order == 13:
        raise micro.errors.FailedPrecondition("the card was refused")
    print(f"order {order}, attempt {context.delivery.delivered.attempt}", flush=True)


@service.subscribe("orders.dead", queue="people")
async def look(order: int, context: micro.Context) -> None:
    print(f"order {order} was given up: {context.metadata['micro-dead-reason']}", flush=True)


async def publish(order: int) -> None:
    async with micro.Client() as client:
        await client.publish("orders", order, metadata={"tenant": "blue"})


async def audit() -> None:
    async with micro.Client() as client, await client.subscribe("orders", queue="audit", start="first", returns=int) as orders:
        async for delivery in orders:
            with delivery:
                print(f"seen {delivery.message}", flush=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["audit"]:
            asyncio.run(audit())
        case [order]:
            asyncio.run(publish(int(order)))
        case _:
            service.run()
