"""A registry in plain Python, in memory: what a program would write over a database of its own."""

import asyncio
from collections.abc import AsyncIterator, Iterable

import micro
from micro import Change, Node, Record, errors


class InMemory:
    """Records by service and version. Nodes that are not registered again in time are gone, and watchers hear of it."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], Record] = {}
        self.expiries: dict[tuple[str, str, str], asyncio.TimerHandle] = {}
        self.watchers: list[Changes] = []

    def register(self, service: Record, ttl: float | None) -> None:
        if not service.nodes or not all(node.id for node in service.nodes):
            raise errors.InvalidArgument(f"service {service.name}: every registration needs a node with an id")
        key = service.name, service.version
        known = self.records.get(key, service._replace(nodes=()))
        before = {node.id: node for node in known.nodes}
        after = before | {node.id: node for node in service.nodes}
        self.records[key] = service._replace(nodes=tuple(after.values()))
        described = (known.endpoints, known.metadata) == (service.endpoints, service.metadata)
        for node in service.nodes:
            if timer := self.expiries.pop((*key, node.id), None):
                timer.cancel()
            if ttl is not None:
                expire = asyncio.get_running_loop().call_later(ttl, self.deregister, service._replace(nodes=(node,)))
                self.expiries[*key, node.id] = expire
        self.tell("create", service, [node for node in service.nodes if node.id not in before])
        # What describes a version describes each of its nodes.
        changed = [node for node in after.values() if node.id in before and (node != before[node.id] or not described)]
        self.tell("update", service, changed)

    def deregister(self, service: Record) -> None:
        key = service.name, service.version
        known = self.records.get(key)
        if known is None:
            return
        ids = {node.id for node in service.nodes}
        for id in ids:
            if timer := self.expiries.pop((*key, id), None):
                timer.cancel()
        left = tuple(node for node in known.nodes if node.id not in ids)
        if left:
            self.records[key] = known._replace(nodes=left)
        else:
            del self.records[key]
        self.tell("delete", known, [node for node in known.nodes if node.id in ids])

    def get(self, name: str) -> list[Record]:
        return [record for record in self.list() if record.name == name]

    def list(self) -> list[Record]:
        return [self.records[key] for key in sorted(self.records)]

    def watch(self, name: str | None) -> "Changes":
        changes = Changes(self, name)
        self.watchers.append(changes)
        return changes

    def tell(self, action: str, service: Record, nodes: Iterable[Node]) -> None:
        affected = service._replace(nodes=tuple(nodes))
        for watcher in self.watchers:
            if affected.nodes and watcher.name in (None, service.name):
                watcher.queue.put_nowait(Change(action, affected))


class Changes(AsyncIterator[Change]):
    """What one watcher is told, from the moment it was made."""

    def __init__(self, registry: InMemory, name: str | None) -> None:
        self.registry, self.name = registry, name
        self.queue: asyncio.Queue[Change] = asyncio.Queue()

    async def __anext__(self) -> Change:
        return await self.queue.get()

    async def aclose(self) -> None:
        self.registry.watchers.remove(self)


async def main() -> None:
    service = micro.Service("greeter", registry="host://mine", address="127.0.0.1:0")

    @service.endpoint("Greeter.Hello")
    async def hello(name: str) -> str:
        return f"Hello, {name}!"

    async with micro.provide("mine", InMemory()) as mine, service, micro.Client(registry=mine.url) as client:
        print(await client.call("greeter", "Greeter.Hello", "Ada"))


if __name__ == "__main__":
    asyncio.run(main())
