"""Classes of grpcio that have parameters for type checkers, and in most of its versions for them alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
from grpc import aio

if TYPE_CHECKING:
    Future = grpc.Future[Any]
    UnaryUnary = grpc.UnaryUnaryMultiCallable[Any, Any]
    UnaryStream = grpc.UnaryStreamMultiCallable[Any, Any]
    StreamUnary = grpc.StreamUnaryMultiCallable[Any, Any]
    StreamStream = grpc.StreamStreamMultiCallable[Any, Any]
    AioUnaryUnary = aio.UnaryUnaryMultiCallable[Any, Any]
    AioUnaryStream = aio.UnaryStreamMultiCallable[Any, Any]
    AioStreamUnary = aio.StreamUnaryMultiCallable[Any, Any]
    AioStreamStream = aio.StreamStreamMultiCallable[Any, Any]
    UnaryUnaryCall = aio.UnaryUnaryCall[Any, Any]
    UnaryStreamCall = aio.UnaryStreamCall[Any, Any]
    StreamUnaryCall = aio.StreamUnaryCall[Any, Any]
    StreamStreamCall = aio.StreamStreamCall[Any, Any]
    AioContext = aio.ServicerContext[Any, Any]
else:
    Future = grpc.Future
    UnaryUnary, UnaryStream = grpc.UnaryUnaryMultiCallable, grpc.UnaryStreamMultiCallable
    StreamUnary, StreamStream = grpc.StreamUnaryMultiCallable, grpc.StreamStreamMultiCallable
    AioUnaryUnary, AioUnaryStream = aio.UnaryUnaryMultiCallable, aio.UnaryStreamMultiCallable
    AioStreamUnary, AioStreamStream = aio.StreamUnaryMultiCallable, aio.StreamStreamMultiCallable
    UnaryUnaryCall, UnaryStreamCall = aio.UnaryUnaryCall, aio.UnaryStreamCall
    StreamUnaryCall, StreamStreamCall = aio.StreamUnaryCall, aio.StreamStreamCall
    AioContext = aio.ServicerContext
