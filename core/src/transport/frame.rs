//! Messages cut out of gRPC's framing.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body;

use super::compression::Compression;
use super::held::{COUNTED, Hold, Room, Share};
use super::prefix::PREFIX;
use crate::error::{Error, Result};

/// A message is given at most this much memory before its bytes arrive, and less while few of them have: a peer that only
/// claims a large one costs nothing.
const FIRST_RESERVE: usize = 64 * 1024;

/// Messages cut out of an HTTP body as they arrive.
pub(crate) struct Frames<B> {
    body: B,
    compression: Option<Compression>,
    limit: usize,
    /// Bytes that arrived and belong to no message yet.
    rest: Bytes,
    /// The message being put together from several chunks.
    partial: Option<Partial>,
    trailers: Option<HeaderMap>,
    ended: bool,
    /// Whether the message cut last was compressed.
    compressed: bool,
    /// Where what is put together is counted; absent where it is not bounded.
    room: Option<Room>,
    /// The message that is held came out: it is its reader's until the next one is asked for.
    delivered: bool,
}

struct Partial {
    compressed: bool,
    length: usize,
    bytes: Vec<u8>,
}

impl<B> Frames<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    pub(crate) fn new(body: B, compression: Option<Compression>, limit: usize) -> Self {
        Self {
            body,
            compression,
            limit,
            rest: Bytes::new(),
            partial: None,
            trailers: None,
            ended: false,
            compressed: false,
            room: None,
            delivered: false,
        }
    }

    /// The same, with every message of some size counted in `share` from its first byte until the next one is asked for, or
    /// for as long as its [`Frames::take_hold`] lasts.
    pub(crate) fn within(mut self, share: Arc<Share>) -> Self {
        self.room = Some(Room::new(share));
        self
    }

    /// The next message; `None` at the end of the body.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, FrameError<B::Error>> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    pub(crate) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, FrameError<B::Error>>> {
        if std::mem::take(&mut self.delivered) {
            self.give_up();
        }
        loop {
            if let Some(message) = ready!(self.poll_cut(cx)).map_err(FrameError::Message)? {
                self.delivered = true;
                return Poll::Ready(Ok(Some(message)));
            }
            if self.ended {
                return Poll::Ready(if self.rest.is_empty() && self.partial.is_none() {
                    Ok(None)
                } else {
                    self.rest.clear();
                    self.partial = None;
                    self.give_up();
                    Err(FrameError::Message(Error::invalid_argument(
                        "the stream ended in the middle of a message",
                    )))
                });
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => self.ended = true,
                Some(Err(error)) => {
                    self.ended = true;
                    self.rest.clear();
                    self.partial = None;
                    self.give_up();
                    return Poll::Ready(Err(FrameError::Body(error)));
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.push(data),
                    Err(frame) => {
                        self.trailers = frame.into_trailers().ok();
                        self.ended = true;
                    }
                },
            }
        }
    }

    /// What comes next of the body, in its frames; for those who do not ask for messages.
    #[cfg(feature = "tonic")]
    pub(crate) fn poll_frames(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, B::Error>> {
        while self.rest.is_empty() && !self.ended {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => self.ended = true,
                Some(Err(error)) => {
                    self.ended = true;
                    return Poll::Ready(Err(error));
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.push(data),
                    Err(frame) => {
                        self.trailers = frame.into_trailers().ok();
                        self.ended = true;
                    }
                },
            }
        }
        let frames = std::mem::take(&mut self.rest);
        Poll::Ready(Ok((!frames.is_empty()).then_some(frames)))
    }

    /// Whether the message that came out last was compressed.
    pub(crate) fn compressed(&self) -> bool {
        self.compressed
    }

    /// Trailers, once [`Frames::next`] has returned `None`.
    pub(crate) fn take_trailers(&mut self) -> Option<HeaderMap> {
        self.trailers.take()
    }

    fn push(&mut self, data: Bytes) {
        if self.rest.is_empty() {
            self.rest = data;
        } else {
            // Only a prefix can be cut in two here: anything longer is in `partial`.
            let mut joined = BytesMut::with_capacity(self.rest.len() + data.len());
            joined.extend_from_slice(&self.rest);
            joined.extend_from_slice(&data);
            self.rest = joined.freeze();
        }
    }

    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        if self.partial.is_none() {
            if self.rest.len() < PREFIX {
                return Poll::Ready(Ok(None));
            }
            let (compressed, length) = self.prefix()?;
            if let Some(end) = PREFIX.checked_add(length).filter(|end| *end <= self.rest.len()) {
                let message = &self.rest[PREFIX..end];
                let larger = match self.compression {
                    Some(compression) if compressed => compression.most(message, self.limit),
                    _ => 0,
                };
                let counted = if length < COUNTED { 0 } else { length };
                ready!(self.poll_room(counted.saturating_add(larger), cx))?;
                self.rest.advance(PREFIX);
                let message = self.rest.split_to(length);
                return Poll::Ready(self.open(compressed, message).map(Some));
            }
            self.rest.advance(PREFIX);
            self.partial = Some(Partial { compressed, length, bytes: Vec::new() });
        }
        let Some(partial) = &mut self.partial else { return Poll::Ready(Ok(None)) };
        let missing = partial.length - partial.bytes.len();
        let taken = missing.min(self.rest.len());
        let capacity = partial.bytes.capacity();
        if partial.bytes.len() + taken > capacity {
            let first = (4 * taken).min(FIRST_RESERVE);
            let grown = (2 * capacity).max(partial.bytes.len() + taken).max(first);
            let grown = grown.min(partial.length);
            let counted = if partial.length < COUNTED { 0 } else { grown - capacity };
            if let Some(room) = &mut self.room {
                ready!(room.poll_take(counted, cx))?;
            }
            partial.bytes.reserve_exact(grown - partial.bytes.len());
        }
        partial.bytes.extend_from_slice(&self.rest.split_to(taken));
        if partial.bytes.len() < partial.length {
            return Poll::Ready(Ok(None));
        }
        let larger = match self.compression {
            Some(compression) if partial.compressed => compression.most(&partial.bytes, self.limit),
            _ => 0,
        };
        if let Some(room) = &mut self.room {
            ready!(room.poll_take(larger, cx))?;
        }
        let Some(partial) = self.partial.take() else { return Poll::Ready(Ok(None)) };
        Poll::Ready(self.open(partial.compressed, partial.bytes.into()).map(Some))
    }

    /// What the prefix at the front of `rest` says: whether the message is compressed, and its length.
    fn prefix(&self) -> Result<(bool, usize)> {
        let compressed = match self.rest[0] {
            0 => false,
            1 => true,
            flag => {
                return Err(Error::invalid_argument(format!(
                    "message begins with flag {flag}, gRPC knows 0 and 1: is the peer speaking gRPC?"
                )));
            }
        };
        let length = (&self.rest[1..PREFIX]).get_u32() as usize;
        if length > self.limit {
            return Err(Error::resource_exhausted(format!(
                "message of {length} bytes is larger than the limit of {} bytes: raise max_message_size or send less",
                self.limit
            )));
        }
        if compressed && self.compression.is_none() {
            return Err(Error::internal(
                "message is marked compressed but the headers name no grpc-encoding",
            ));
        }
        Ok((compressed, length))
    }

    fn poll_room(&mut self, bytes: usize, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match &mut self.room {
            Some(room) => room.poll_take(bytes, cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn open(&mut self, compressed: bool, message: Bytes) -> Result<Bytes> {
        self.compressed = compressed;
        let message = match self.compression {
            Some(compression) if compressed => compression.decompress(&message, self.limit)?,
            _ => message,
        };
        if let Some(room) = &mut self.room {
            room.settle(if message.len() < COUNTED { 0 } else { message.len() });
        }
        Ok(message)
    }

    fn give_up(&mut self) {
        if let Some(room) = &mut self.room {
            room.clear();
        }
    }

    /// What is held for the message that came out last, for as long as the caller likes.
    pub(crate) fn take_hold(&mut self) -> Option<Hold> {
        self.room.as_mut()?.take_hold()
    }

    /// True while a message has begun that is not all there.
    pub(crate) fn is_partial(&self) -> bool {
        self.partial.is_some() || !self.rest.is_empty()
    }

    /// The body that messages are cut out of.
    pub(crate) fn body(&self) -> &B {
        &self.body
    }
}

/// Why no message came out.
#[derive(Debug)]
pub(crate) enum FrameError<E> {
    /// The bytes are not a message.
    Message(Error),
    /// The body broke off.
    Body(E),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;
    use crate::transport::frame_into;
    use std::collections::VecDeque;
    use std::convert::Infallible;

    struct Chunks(VecDeque<Bytes>);

    impl Body for Chunks {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop_front().map(|chunk| Ok(http_body::Frame::data(chunk))))
        }
    }

    async fn read(chunks: Vec<Bytes>, limit: usize) -> Result<Vec<Bytes>> {
        let mut frames = Frames::new(Chunks(chunks.into()), Some(Compression::Gzip), limit);
        let mut messages = Vec::new();
        loop {
            match frames.next().await {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => return Ok(messages),
                Err(FrameError::Message(error)) => return Err(error),
                Err(FrameError::Body(never)) => match never {},
            }
        }
    }

    #[tokio::test]
    async fn messages_survive_any_chunking() -> Result<()> {
        let long = vec![7; 300];
        let mut wire = BytesMut::new();
        frame_into(&mut wire, b"", None)?;
        frame_into(&mut wire, b"one", None)?;
        frame_into(&mut wire, &long, Some(Compression::Gzip))?;
        let wire = wire.freeze();
        for size in 1..=wire.len() {
            let chunks = wire.chunks(size).map(Bytes::copy_from_slice).collect();
            assert_eq!(read(chunks, 300).await?, [&b""[..], b"one", &long], "chunks of {size}");
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_message_over_the_limit_is_refused_by_its_prefix() {
        let error = read(vec![Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff])], 4096).await;
        assert_eq!(error.expect_err("too large").code(), Code::ResourceExhausted);
    }

    #[tokio::test]
    async fn half_a_message_and_unknown_flags_are_errors() {
        let half = read(vec![Bytes::from_static(&[0, 0, 0, 0, 9, 1, 2])], 4096).await;
        assert_eq!(half.expect_err("ends early").code(), Code::InvalidArgument);
        let flag = read(vec![Bytes::from_static(&[9, 0, 0, 0, 0])], 4096).await;
        assert_eq!(flag.expect_err("flag").code(), Code::InvalidArgument);
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_nor_exceed_the_limit(
            chunks in proptest::collection::vec(proptest::collection::vec(0u8..8, 0..64), 0..16),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
            let chunks = chunks.into_iter().map(Bytes::from).collect();
            if let Ok(messages) = runtime.block_on(read(chunks, 32)) {
                proptest::prop_assert!(messages.iter().all(|message| message.len() <= 32));
            }
        }
    }
}
