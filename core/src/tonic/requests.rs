//! What a caller sends, as tonic reads it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::Stream as _;
use http_body::{Body as HttpBody, Frame};

use super::status::to_status;
use crate::error::Result;
use crate::server::Body;
use crate::streaming::Messages;
use crate::transport::frame;

/// Messages from so many bytes on are not copied behind their prefix.
const LARGE: usize = 4 * 1024;

/// Messages, each behind its prefix.
pub(super) struct Requests {
    source: Source,
    /// The message whose prefix has gone.
    rest: Option<Bytes>,
}

enum Source {
    One(Bytes),
    Many(Messages),
    Ended,
}

impl Requests {
    pub(super) fn new(body: Body) -> Self {
        let source = match body {
            Body::Message(message) => Source::One(message),
            Body::Stream(messages) => Source::Many(messages),
        };
        Self { source, rest: None }
    }

    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        match std::mem::replace(&mut self.source, Source::Ended) {
            Source::One(message) => Poll::Ready(Some(Ok(message))),
            Source::Many(mut messages) => {
                let next = Pin::new(&mut messages).poll_next(cx);
                if !matches!(next, Poll::Ready(None)) {
                    self.source = Source::Many(messages);
                }
                next
            }
            Source::Ended => Poll::Ready(None),
        }
    }

    fn framed(&mut self, message: Bytes) -> Result<Bytes> {
        match u32::try_from(message.len()) {
            Ok(length) if message.len() >= LARGE => {
                let mut prefix = BytesMut::with_capacity(5);
                prefix.put_u8(0);
                prefix.put_u32(length);
                self.rest = Some(message);
                Ok(prefix.freeze())
            }
            _ => frame(&message, None),
        }
    }
}

impl HttpBody for Requests {
    type Data = Bytes;
    type Error = ::tonic::Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        if let Some(rest) = this.rest.take() {
            return Poll::Ready(Some(Ok(Frame::data(rest))));
        }
        let message = ready!(this.poll_message(cx));
        Poll::Ready(message.map(|message| {
            message.and_then(|message| this.framed(message)).map(Frame::data).map_err(to_status)
        }))
    }
}
