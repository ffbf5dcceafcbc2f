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

use super::connect::end_of_stream;
use crate::server::reply::ReplyBody;

/// Marks the message that holds gRPC-Web's trailers.
const WEB_TRAILERS: u8 = 0x80;
/// Marks the message that ends a Connect stream.
const CONNECT_END: u8 = 0x02;

/// How the last message is written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Last {
    /// gRPC-Web: an HTTP/1 header block.
    Web,
    /// The same, all of the body in base64.
    WebText,
    /// Connect: JSON.
    Connect,
}

/// A body whose trailers are its last message.
pub(crate) struct Ending {
    inner: ReplyBody,
    last: Last,
    done: bool,
}

impl Ending {
    /// `inner` with its trailers as its last message.
    pub(super) fn body(inner: ReplyBody, last: Last) -> ReplyBody {
        ReplyBody::Ending(Box::new(Self { inner, last, done: false }))
    }
}

impl Body for Ending {
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
                self.last.write(&frame.into_trailers().unwrap_or_default())
            }
        };
        let data = match self.last {
            // Padded wherever it ends: readers take the pieces one by one.
            Last::WebText => STANDARD.encode(&data).into(),
            Last::Web | Last::Connect => data,
        };
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.done
    }
}

impl Last {
    fn write(self, trailers: &HeaderMap) -> Bytes {
        match self {
            Self::Web | Self::WebText => {
                let mut block = BytesMut::new();
                for (name, value) in trailers {
                    block.put(name.as_str().as_bytes());
                    block.put(&b": "[..]);
                    block.put(value.as_bytes());
                    block.put(&b"\r\n"[..]);
                }
                framed(WEB_TRAILERS, &block)
            }
            Self::Connect => framed(CONNECT_END, &end_of_stream(trailers)),
        }
    }
}

fn framed(flag: u8, message: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(5 + message.len());
    out.put_u8(flag);
    // Trailers are bounded by what goes into a head.
    out.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    out.put(message);
    out.freeze()
}
