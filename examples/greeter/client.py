"""Calls the greeter by its name, wherever it runs."""

import asyncio

import micro


async def main() -> None:
    async with micro.Client() as client:
        print(await client.call("greeter", "Greeter.Hello", {"name": "Ada"}, timeout=2))


asyncio.run(main())
