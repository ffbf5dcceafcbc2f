"""Greets its callers, once or more often."""

import asyncio

import grpc
from greeter_pb2 import HelloReply
from greeter_pb2_grpc import GreeterServicer, add_GreeterServicer_to_server

import micro


class Greeter(GreeterServicer):
    async def Hello(self, request, context):
        if not request.name:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a name is missing")
        return HelloReply(message=f"Hello, {request.name}!")

    async def Again(self, request, context):
        for number in range(request.times):
            yield HelloReply(message=f"Hello for the {number + 1}. time, {request.name}!")


async def main() -> None:
    server = micro.grpc.server(micro.Service("greeter"))
    add_GreeterServicer_to_server(Greeter(), server)
    await server.start()
    await server.wait_for_termination()


asyncio.run(main())
