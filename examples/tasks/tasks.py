"""Work that is sent, and whose answer is asked for later, by its id."""

import asyncio
import sys

import micro

service = micro.Service("calculator")


@service.task("double", max_attempts=3)
async def double(number: int) -> int:
    return 2 * number


async def send(number: int) -> None:
    async with micro.Client() as client:
        print(await client.task("double", number))


async def ask(id: str) -> None:
    async with micro.Client() as client:
        print((await client.task_state(id)).state)
        print(await client.task_result(id, returns=int, timeout=60))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["send", number]:
            asyncio.run(send(int(number)))
        case ["ask", id]:
            asyncio.run(ask(id))
        case _:
            service.run()
