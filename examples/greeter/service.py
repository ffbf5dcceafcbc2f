"""Greets its callers, and says which process did."""

import os

import micro

service = micro.Service("greeter")


@service.endpoint("Greeter.Hello", idempotent=True)
async def hello(request: dict) -> str:
    return f"Hello, {request['name']}! I am process {os.getpid()}."


service.run()
