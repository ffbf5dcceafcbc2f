"""What is asked beside calls, and what is followed: each a method of the package."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import micro
from adapter import Line
from micro import errors


async def ask(client: micro.Client, operation: str, args: dict[str, Any], timeout: float | None) -> Any:
    """The answer as JSON; ``None`` where there is none."""
    match operation:
        case "client.health":
            return [one._asdict() for one in await client.health(**args, timeout=timeout)]
        case "client.nodes":
            return [one._asdict() for one in await client.nodes(**args, timeout=timeout)]
        case "client.stats":
            return await client.stats(**args, timeout=timeout)
        case "registry.get":
            return [document(one) for one in await client.lookup(**args, timeout=timeout)]
        case "registry.list":
            return [document(one) for one in await client.services(**args, timeout=timeout)]
        case "registry.register":
            return await client.register(**registration(args), timeout=timeout)
        case "registry.deregister":
            return await client.deregister(**registration(args), timeout=timeout)
    raise errors.InvalidArgument(f"nothing is asked by `{operation}`")


async def watch(client: micro.Client, args: dict[str, Any], timeout: float | None) -> Any:
    return await client.watch(**args, timeout=timeout)


def change(told: micro.Change) -> dict[str, Any]:
    return {"action": told.action, "service": document(told.service)}


def arguments(line: Line) -> tuple[dict[str, Any], float | None]:
    """The arguments of a question, and how many seconds its answer may take."""
    timeout = line.get("timeout")
    return line.settings("args"), int(timeout) / 1000 if timeout else None


def registration(args: dict[str, Any]) -> dict[str, Any]:
    """Arguments with a record in place of its document, and with seconds in place of milliseconds."""
    made = dict(args, service=record(args["service"]))
    if isinstance(made.get("ttl"), int):
        made["ttl"] /= 1000
    return made


def record(value: dict[str, Any]) -> micro.Record:
    nodes = tuple(micro.Node(one["id"], one.get("address", ""), labels(one)) for one in value.get("nodes") or ())
    endpoints = tuple(
        micro.Endpoint(one["name"], one.get("request"), one.get("response"), labels(one))
        for one in value.get("endpoints") or ()
    )
    return micro.Record(value["name"], value.get("version", ""), nodes, endpoints, labels(value))


def document(value: micro.Record) -> dict[str, Any]:
    """A record as JSON."""
    return {
        "name": value.name,
        "version": value.version,
        "metadata": dict(value.metadata),
        "endpoints": [{**one._asdict(), "metadata": dict(one.metadata)} for one in value.endpoints],
        "nodes": [{**one._asdict(), "metadata": dict(one.metadata)} for one in value.nodes],
    }


def labels(value: dict[str, Any]) -> dict[str, str]:
    return value.get("metadata") or {}


def registry() -> micro.Registry:
    """The registry of the examples."""
    path = Path(__file__).parents[4] / "examples" / "registry" / "registry.py"
    return runpy.run_path(str(path))["InMemory"]()


def told(answer: Any) -> list[tuple[str, Any]]:
    """How an answer is told."""
    return [] if answer is None else [("answer", json.dumps(answer, ensure_ascii=False))]
