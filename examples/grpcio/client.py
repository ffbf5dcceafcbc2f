"""Calls the greeter."""

import asyncio

import grpc
from greeter_pb2 import HelloRequest
from greeter_pb2_grpc import GreeterStub

import micro


async def main() -> None:
    async with micro.grpc.channel("greeter") as channel:
        stub = GreeterStub(channel)
        print((await stub.Hello(HelloRequest(name="Ada"), timeout=5)).message)
        async for reply in stub.Again(HelloRequest(name="Ada", times=2)):
            print(reply.message)
        try:
            await stub.Hello(HelloRequest())
        except grpc.RpcError as error:
            print(error.code().name, error.details())


asyncio.run(main())
