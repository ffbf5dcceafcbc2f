//! The body of a request, read to its end.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::error::Error;

/// How long a caller may take to end a request that was answered, and how much may come until then.
const LAST_WORDS: (Duration, usize) = (Duration::from_secs(1), 256 * 1024);

/// The body of a request. What no handler reads is read to its end and thrown away: dropping a body before the caller ended it
/// makes HTTP/2 reset the stream. It remembers some fifty of those, takes what comes for the others for mistakes of the peer,
/// and after a thousand of them closes the connection with every call on it. Callers that send the end of a request a little
/// after its message would be cut off that way.
pub(super) struct Upload {
    /// Present until this is dropped.
    body: Option<Incoming>,
    /// Present once it was asked for.
    read: Option<Arc<AtomicBool>>,
    /// Bytes that have come.
    received: u64,
}

impl Upload {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body: Some(body), read: None, received: 0 }
    }

    /// Bytes that have come.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Becomes true once all of it was read: only then can an HTTP/1.1 connection be used again.
    pub(super) fn read(&mut self) -> Arc<AtomicBool> {
        let ended = self.is_end_stream();
        self.read.get_or_insert_with(|| Arc::new(AtomicBool::new(ended))).clone()
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            self.received += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        if let Some(read) = &self.read
            && (frame.is_none() || self.is_end_stream())
        {
            read.store(true, Ordering::Release);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(mut body) = self.body.take().filter(|body| !body.is_end_stream()) else { return };
        let mut now = Context::from_waker(Waker::noop());
        if poll_rest(&mut body, &mut now).is_pending()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move {
                let rest = poll_fn(|cx| poll_rest(&mut body, cx));
                let _ = tokio::time::timeout(LAST_WORDS.0, rest).await;
            });
        }
    }
}

/// Throws away what is left of a body; ready at its end, or when there is too much at a time.
fn poll_rest(body: &mut Incoming, cx: &mut Context<'_>) -> Poll<()> {
    let mut thrown = 0;
    while thrown <= LAST_WORDS.1 {
        match ready!(Pin::new(&mut *body).poll_frame(cx)) {
            Some(Ok(frame)) => thrown += frame.data_ref().map_or(0, Bytes::len),
            None | Some(Err(_)) => break,
        }
    }
    Poll::Ready(())
}

/// Whatever broke the body, the caller no longer waits for the answer.
pub(super) fn gone(error: &hyper::Error) -> Error {
    // hyper's own text does not say what HTTP/2 said.
    let http2 =
        std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<h2::Error>());
    let cause = http2.map_or_else(|| error.to_string(), h2::Error::to_string);
    Error::cancelled(format!("the caller went away: connection broke: {cause}"))
}
