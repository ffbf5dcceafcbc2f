//! Bodies for callers that cannot read HTTP trailers, browsers above all: what would be a trailer
//! is the last message.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame};

/// How a protocol writes the last message.
#[derive(Debug, Clone, Copy)]
pub(in crate::server) struct LastMessage {
    /// The message, framed, out of what would be the trailers.
    pub(in crate::server) write: fn(&HeaderMap) -> Bytes,
    /// All of the body is base64.
    pub(in crate::server) base64: bool,
}

/// A body whose trailers are its last message.
pub(crate) struct Ending<B> {
    inner: B,
    last: LastMessage,
    done: bool,
}

impl<B> Ending<B> {
    pub(super) fn new(inner: B, last: LastMessage) -> Self {
        Self { inner, last, done: false }
    }
}

impl<B: Body<Data = Bytes, Error = Infallible> + Unpin> Body for Ending<B> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.done {
            return Poll::Ready(None);
        }
        let Some(Ok(frame)) = ready!(Pin::new(&mut self.inner).poll_frame(cx)) else {
            self.done = true;
            return Poll::Ready(None);
        };
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                self.done = true;
                (self.last.write)(&frame.into_trailers().unwrap_or_default())
            }
        };
        // Padded wherever it ends: readers take the pieces one by one.
        let data = if self.last.base64 { STANDARD.encode(&data).into() } else { data };
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.done
    }
}

/// A message in the frame of gRPC and Connect, with a `flag` that says what it is.
pub(in crate::server) fn framed(flag: u8, message: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(5 + message.len());
    out.put_u8(flag);
    // Trailers are bounded by what goes into a head.
    out.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    out.put(message);
    out.freeze()
}
