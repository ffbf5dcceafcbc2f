//! The replies of a streaming handler, written when they are sent and where they are sent from.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use pin_project_lite::pin_project;

use crate::codec::{Codec, Message, Side};
use crate::error::Result;
use crate::streaming::Source;

/// Memory that messages are cut from, at a time, where middleware wants them as bytes.
const ARENA: usize = 8 * 1024;

pin_project! {
    /// Replies of any type, as a source of messages.
    pub(super) struct Encoded<S> {
        #[pin]
        replies: S,
        codec: Codec,
        arena: BytesMut,
    }
}

impl<S> Encoded<S> {
    pub(super) fn new(replies: S, codec: Codec) -> Self {
        Self { replies, codec, arena: BytesMut::new() }
    }
}

impl<S, T> Stream for Encoded<S>
where
    S: Stream<Item = Result<T>>,
    T: Message,
{
    type Item = Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.project();
        let reply = ready!(this.replies.poll_next(cx));
        if this.arena.capacity() == 0 {
            this.arena.reserve(ARENA);
        }
        Poll::Ready(reply.map(|reply| reply?.carve(*this.codec, Side::Server, this.arena)))
    }
}

impl<S, T> Source for Encoded<S>
where
    S: Stream<Item = Result<T>>,
    T: Message,
{
    fn poll_append(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<Option<Result<()>>> {
        let this = self.project();
        let reply = ready!(this.replies.poll_next(cx));
        Poll::Ready(reply.map(|reply| reply?.encode(*this.codec, Side::Server, buffer)))
    }
}
