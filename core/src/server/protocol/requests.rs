//! The messages of a caller, as they come out of its body.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::context::Context as CallContext;
use crate::error::{Error, Result};
use crate::streaming::Messages;
use crate::transport::{FrameError, Frames, broken};

/// Messages on their way in.
pub(in crate::server) trait Requests: Send + Sized + 'static {
    /// The next message; `None` after the last.
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>>;

    /// Nothing, once it is certain that the message before was the only one.
    ///
    /// # Errors
    /// `UNIMPLEMENTED` when there is another one, as gRPC prescribes.
    fn poll_only(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(match ready!(self.poll_message(cx))? {
            None => Ok(()),
            Some(_) => Err(Error::unimplemented("expected one request message, got several")),
        })
    }

    /// Whether the message before was compressed by itself; a compressed body does not count.
    fn compressed(&self) -> bool {
        false
    }

    /// The messages as a stream. What is known of each is noted in `context`.
    fn into_messages(mut self, context: CallContext) -> Messages {
        Messages::new(futures_util::stream::poll_fn(move |cx| {
            let next = ready!(self.poll_message(cx));
            context.note_compressed(self.compressed());
            Poll::Ready(next.transpose())
        }))
    }
}

/// Messages of a gRPC call.
impl Requests for Frames<Incoming> {
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        self.poll_next(cx).map_err(unreadable)
    }

    fn compressed(&self) -> bool {
        Frames::compressed(self)
    }

    /// Waits for nothing: go-micro's clients and proxies never half-close (wire reference 1.5).
    fn poll_only(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Requests for Frames<Upload> {
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        self.poll_next(cx).map_err(unreadable)
    }

    fn compressed(&self) -> bool {
        Frames::compressed(self)
    }
}

fn unreadable(error: FrameError<hyper::Error>) -> Error {
    match error {
        FrameError::Message(error) => error,
        FrameError::Body(error) => gone(&error),
    }
}

/// Whatever broke the body, nobody waits for the answer any more.
pub(super) fn gone(error: &hyper::Error) -> Error {
    let cause = broken(error);
    Error::cancelled(format!("the caller went away: {}", cause.detail()))
}

/// The body of a request that may have come over HTTP/1.1, whose connection can be used again only
/// when all of it was read.
pub(super) struct Upload {
    body: Incoming,
    read: Arc<AtomicBool>,
}

impl Upload {
    pub(super) fn new(body: Incoming) -> Self {
        let read = Arc::new(AtomicBool::new(body.is_end_stream()));
        Self { body, read }
    }

    /// True once all of it was read.
    pub(super) fn read(&self) -> Arc<AtomicBool> {
        self.read.clone()
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() || self.body.is_end_stream() {
            self.read.store(true, Ordering::Release);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
