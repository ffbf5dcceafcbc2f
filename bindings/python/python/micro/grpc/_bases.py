"""Classes of grpcio for threads, which have parameters for type checkers alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc

if TYPE_CHECKING:
    Future = grpc.Future[Any]
    UnaryUnary = grpc.UnaryUnaryMultiCallable[Any, Any]
    UnaryStream = grpc.UnaryStreamMultiCallable[Any, Any]
    StreamUnary = grpc.StreamUnaryMultiCallable[Any, Any]
    StreamStream = grpc.StreamStreamMultiCallable[Any, Any]
else:
    Future = grpc.Future
    UnaryUnary, UnaryStream = grpc.UnaryUnaryMultiCallable, grpc.UnaryStreamMultiCallable
    StreamUnary, StreamStream = grpc.StreamUnaryMultiCallable, grpc.StreamStreamMultiCallable
