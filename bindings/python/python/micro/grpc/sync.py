"""Channels for stubs on threads, as :func:`micro.grpc.channel` is for those in asyncio."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc as _grpc

from .._options import ClientOptions
from ..sync import Client
from ._method import options_of as _options_of
from ._thread_channel import Channel as _Channel

if TYPE_CHECKING:
    from typing import Unpack

__all__ = ["channel"]


def channel(
    service: str, *, client: Client | None = None, detached: bool = False, **options: Unpack[ClientOptions]
) -> _grpc.Channel:
    """A channel to all nodes of a service: what ``grpc.insecure_channel`` is to an address.

    Interceptors are added with ``grpc.intercept_channel``. The rest is as with :func:`micro.grpc.channel`; ``client`` is a
    :class:`micro.sync.Client`.
    """
    return _Channel(service, client, detached, _options_of(client, options))
