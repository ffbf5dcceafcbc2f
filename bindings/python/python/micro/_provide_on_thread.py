"""What a program without an event loop provides: a loop on a thread of its own calls it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from typing import TYPE_CHECKING

from ._provide import provide as _provide

if TYPE_CHECKING:
    from ._provide import Registry
    from ._provide_broker import Broker
    from ._runtime import Runtime


class Provided:
    """A registry or a broker that is provided under a name. Closing it, or leaving ``with``, withdraws the name."""

    def __init__(self, name: str, provided: Registry | Broker, runtime: Runtime | None) -> None:
        ready: concurrent.futures.Future[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = concurrent.futures.Future()

        async def serve() -> None:
            over = asyncio.Event()
            try:
                open = _provide(name, provided, runtime=runtime)
            except BaseException as error:
                ready.set_exception(error)
                return
            ready.set_result((open.url, asyncio.get_running_loop(), over))
            async with open:
                await over.wait()

        self._thread = threading.Thread(target=lambda: asyncio.run(serve()), name=f"micro {name}", daemon=True)
        self._thread.start()
        self.url, self._loop, self._over = ready.result()
        """``url`` opens it in this process, for example ``host://mine``."""

    def close(self) -> None:
        """Withdraws the name, and returns when it is free. Harmless when repeated."""
        try:
            self._loop.call_soon_threadsafe(self._over.set)
        except RuntimeError:
            # Its loop is closed.
            return
        # A method of what is provided that closes it does not wait for itself.
        if self._thread is not threading.current_thread():
            self._thread.join()

    def __enter__(self) -> Provided:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<micro.sync.Provided {self.url}>"


def provide(name: str, provided: Registry | Broker, *, runtime: Runtime | None = None) -> Provided:
    """As :func:`micro.provide`, for programs without an event loop: one on a thread of its own calls it."""
    return Provided(name, provided, runtime)
