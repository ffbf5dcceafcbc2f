//! The messages of a caller, as they come out of its body.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::context::Context as CallContext;
use crate::error::{Error, Result};
use crate::streaming::Messages;
use crate::transport::{FrameError, Frames};

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

/// How long a caller may take to end a request that was answered, and how much may come until then.
const LAST_WORDS: (Duration, usize) = (Duration::from_secs(1), 256 * 1024);

/// Messages of a gRPC call. What nobody reads is read to its end and thrown away: dropping a body before the caller has
/// ended it makes HTTP/2 reset the stream. It remembers some fifty of those, takes what comes for the others for mistakes of
/// the peer, and after a thousand of them closes the connection with every call on it. Callers that send the end of a request
/// a little after its message would be cut off that way.
pub(super) struct Conversation(Option<Frames<Incoming>>);

impl Conversation {
    pub(super) fn new(frames: Frames<Incoming>) -> Self {
        Self(Some(frames))
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        let Some(mut frames) = self.0.take().filter(|frames| !frames.is_ended()) else { return };
        let mut now = Context::from_waker(Waker::noop());
        if frames.poll_rest(&mut now, LAST_WORDS.1).is_pending()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move {
                let rest = poll_fn(|cx| frames.poll_rest(cx, LAST_WORDS.1));
                let _ = tokio::time::timeout(LAST_WORDS.0, rest).await;
            });
        }
    }
}

impl Requests for Conversation {
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        match &mut self.0 {
            Some(frames) => frames.poll_next(cx).map_err(unreadable),
            None => Poll::Ready(Ok(None)),
        }
    }

    fn compressed(&self) -> bool {
        self.0.as_ref().is_some_and(Frames::compressed)
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
    // hyper's own text does not say what HTTP/2 said.
    let http2 =
        std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<h2::Error>());
    let cause = http2.map_or_else(|| error.to_string(), h2::Error::to_string);
    Error::cancelled(format!("the caller went away: connection broke: {cause}"))
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
