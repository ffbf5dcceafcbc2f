"""An HTTP API with FastAPI that asks services: `uvicorn web:app`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

import micro

client = micro.Client()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with client:
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/hello/{name}")
async def hello(name: str) -> str:
    return await client.call("greeter", "Greeter.Hello", {"name": name}, returns=str, timeout=5)


@app.exception_handler(micro.Error)
async def failed(request: Request, error: micro.Error) -> JSONResponse:
    return JSONResponse({"detail": error.detail}, error.http)
