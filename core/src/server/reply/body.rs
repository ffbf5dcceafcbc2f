//! Bodies of answers: a status alone, one message and a status, or messages as they come.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::ending::{Ending, LastMessage};
use super::stream::StreamBody;
use crate::transport::Turn;

/// What hyper sends after the head.
pub(crate) enum ReplyBody {
    /// Nothing: the status went with the head.
    Empty,
    /// One message, then the trailers.
    Message(Option<Bytes>, Option<HeaderMap>),
    /// A stream.
    Stream(Box<StreamBody>),
    /// Any of these, for those who cannot read trailers.
    Ending(Box<Ending<ReplyBody>>),
}

impl ReplyBody {
    /// This body with its trailers as its last message.
    pub(in crate::server) fn ending(self, last: LastMessage) -> Self {
        Self::Ending(Box::new(Ending::new(self, last)))
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Message(message, trailers) => Poll::Ready(
                message
                    .take()
                    .map(Frame::data)
                    .or_else(|| trailers.take().map(Frame::trailers))
                    .map(Ok),
            ),
            Self::Stream(body) => body.poll(cx).map(|frame| frame.map(Ok)),
            Self::Ending(body) => Pin::new(&mut **body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Message(message, trailers) => message.is_none() && trailers.is_none(),
            Self::Stream(_) => false,
            Self::Ending(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            // Nothing follows, so the head can tell the length.
            Self::Message(Some(message), None) => SizeHint::with_exact(message.len() as u64),
            _ => SizeHint::default(),
        }
    }
}

/// A reply over HTTP/1.1, which takes requests one after the other.
pub(crate) struct Served {
    body: ReplyBody,
    _turn: Turn,
}

impl Served {
    pub(in crate::server) fn new(body: ReplyBody, turn: Turn) -> Self {
        Self { body, _turn: turn }
    }
}

impl Body for Served {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
