"""Reads a stream, sends a stream, and holds a conversation."""

import asyncio

import micro


async def main() -> None:
    async with micro.Client() as client:
        async for number in client.server_stream("numbers", "Numbers.Count", 3):
            print(f"counted {number}")

        total = await client.client_stream("numbers", "Numbers.Sum", [1, 2, 3])
        print(f"the sum is {total}")

        # Both directions are open at once: each request is sent after the reply to the last one.
        async with client.bidi_stream("numbers", "Numbers.Double", returns=int) as stream:
            number = 1
            while number < 10:
                await stream.send(number)
                twice = await anext(stream)
                print(f"twice {number} is {twice}")
                number = twice


asyncio.run(main())
