"""What a registry knows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from ._options import seconds

_NONE: Mapping[str, str] = MappingProxyType({})


class Node(NamedTuple):
    """One running instance of a service."""

    id: str
    address: str
    metadata: Mapping[str, str] = _NONE


class Endpoint(NamedTuple):
    """What callers may know of an endpoint."""

    name: str
    request: Any = None
    response: Any = None
    metadata: Mapping[str, str] = _NONE


class Record(NamedTuple):
    """One version of a service."""

    name: str
    version: str
    nodes: tuple[Node, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    metadata: Mapping[str, str] = _NONE


class Change(NamedTuple):
    """A change of a service: ``create``, ``update`` or ``delete``, and the record after it."""

    action: str
    service: Record


class Health(NamedTuple):
    """Whether a node wants calls."""

    node: str
    address: str
    version: str
    serving: bool
    detail: str | None = None
    """Why it could not be asked."""


class KnownNode(NamedTuple):
    """A node as a client sees it."""

    node: str
    address: str
    version: str
    in_flight: int
    """Calls of this client that are under way."""
    latency_ms: float | None
    """Of late; ``None`` before the first answer."""
    ejected: bool
    """Whether calls avoid it for now, because others failed."""


def record(value: Mapping[str, Any]) -> Record:
    """A record of the registry's JSON."""
    nodes = tuple(Node(node["id"], node["address"], node.get("metadata") or {}) for node in value.get("nodes") or ())
    endpoints = tuple(
        Endpoint(one["name"], one.get("request"), one.get("response"), one.get("metadata") or {})
        for one in value.get("endpoints") or ()
    )
    metadata = value.get("metadata") or {}
    return Record(value["name"], value.get("version", ""), nodes, endpoints, metadata)


def document_of(record: Record) -> dict[str, Any]:
    """A record as the registry's JSON."""
    return {
        "name": record.name,
        "version": record.version,
        "metadata": dict(record.metadata),
        "endpoints": [{**one._asdict(), "metadata": dict(one.metadata)} for one in record.endpoints],
        "nodes": [{**node._asdict(), "metadata": dict(node.metadata)} for node in record.nodes],
    }


def milliseconds(ttl: float | None) -> int | None:
    """A time to live as the core takes it."""
    return None if ttl is None else round(seconds(ttl, "ttl") * 1000)


def records(payload: Any) -> list[Record]:
    """Records of a lookup."""
    return [record(one) for one in json.loads(bytes(payload))]


def change(payload: Any) -> Change:
    """A change of a watch."""
    value = json.loads(bytes(payload))
    return Change(value["action"], record(value["service"]))


def healths(payload: Any) -> list[Health]:
    """Answers of nodes."""
    return [Health(**one) for one in json.loads(bytes(payload))]


def known_nodes(payload: Any) -> list[KnownNode]:
    """Nodes that a client chooses from."""
    return [KnownNode(**one) for one in json.loads(bytes(payload))]
