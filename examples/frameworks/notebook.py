# ruff: noqa: F704
# %%
import micro

service = micro.Service("greeter")


@service.endpoint("Greeter.Hello")
async def hello(request: dict) -> str:
    return f"Hello, {request['name']}!"


await service.start()

# %%
client = micro.Client()
await client.call("greeter", "Greeter.Hello", {"name": "Ada"})

# %%
await client.close()
await service.stop()
