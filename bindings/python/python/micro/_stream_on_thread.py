"""Streams that a thread has opened, and waits for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ._errors import Closed, Stale
from ._metadata import Metadata

if TYPE_CHECKING:
    from ._pipe import QueuePipe

In = TypeVar("In", covariant=True)
Out = TypeVar("Out", contravariant=True)


class Stream(Iterator[In], Generic[Out, In]):
    """A stream that this side opened. Replies are read by iteration. One thread at a time.

    Leaving ``with`` before the end cancels it, and so does letting go of it.
    """

    def __init__(self, pipe: QueuePipe, encode: Callable[[Any], Any]) -> None:
        self._pipe = pipe
        self._encode = encode

    def __next__(self) -> In:
        message: In = self._pipe.next()
        return message

    def send(self, message: Out) -> None:
        """Sends a request. Waits while the far side is slow."""
        payload = self._encode(message)
        try:
            self._pipe.send(payload)
        except (Stale, Closed) as error:
            raise self._pipe.error or error from None

    def done_sending(self) -> None:
        """This side sends no more; the far side may still answer. Harmless when repeated."""
        self._pipe.runtime.close(self._pipe.id)

    def headers(self) -> Metadata:
        """Headers of the answer, once they have come."""
        pipe = self._pipe
        while pipe.headers is None and not pipe.check():
            pipe.wait(pipe._version)
        return pipe.headers or Metadata()

    @property
    def trailers(self) -> Metadata:
        """Trailers of the answer; empty before the end."""
        return self._pipe.trailers

    def cancel(self) -> None:
        """Ends it at once: reading goes on to raise ``Cancelled``. Harmless when late."""
        self._pipe.cancel()

    close = cancel

    def __enter__(self) -> Stream[Out, In]:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.cancel()

    def __del__(self) -> None:
        pipe = self._pipe
        pipe.cancel()
        pipe.queue.close(tell=False)


class LayeredStream(Stream[Any, Any]):
    """A stream that was opened through middleware."""

    def __init__(self, replies: Any, opened: list[Stream[Any, Any]]) -> None:
        self._opened = opened
        if not hasattr(replies, "__iter__"):
            raise TypeError(f"a middleware returned {type(replies).__name__} for a stream: return an iterator")
        self._replies = iter(replies)

    def _stream(self) -> Stream[Any, Any]:
        if not self._opened:
            raise Closed("a middleware has answered this call: it takes no messages")
        return self._opened[-1]

    def __next__(self) -> Any:
        return next(self._replies)

    def send(self, message: Any) -> None:
        self._stream().send(message)

    def done_sending(self) -> None:
        for stream in self._opened:
            stream.done_sending()

    def headers(self) -> Metadata:
        return self._stream().headers()

    @property
    def trailers(self) -> Metadata:
        return self._opened[-1].trailers if self._opened else Metadata()

    def cancel(self) -> None:
        for stream in self._opened:
            stream.cancel()

    close = cancel

    def __exit__(self, *_: object) -> None:
        self.cancel()

    def __del__(self) -> None:
        # What was opened is let go of with it.
        pass
