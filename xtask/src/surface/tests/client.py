class Client:
    async def call(self) -> None:
        pass

    async def add(
        self, service: Record, *, ttl: float | None = None, timeout: float | None = None
    ) -> None:
        """Adds a node."""
        await self._asked(question("registry.register", timeout, service=of(service), ttl=milliseconds(ttl)))

    async def watch(self, *, timeout: float | None = None) -> Stream[Any, Change]:
        return self._follow(question("registry.watch", timeout))
