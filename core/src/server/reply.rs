//! Bodies of answers: a status alone, one message and a status, or messages as they come.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::call::CallRecord;
use super::connection::Connection;
use super::dispatch::{Peer, deadline_passed, panicked, told};
use super::protocol::Ending;
use crate::error::{Error, Result};
use crate::streaming::Messages;
use crate::transport::{
    Compression, Said, Turn, begin_frame, caller_is_micro, end_frame, frame_into, write_status,
};

/// Messages that are ready together leave together, up to about this many bytes.
const BATCH: usize = 32 * 1024;

/// What hyper sends after the head.
pub(crate) enum ReplyBody {
    /// Nothing: the status went with the head.
    Empty,
    /// One message, then the trailers.
    Message(Option<Bytes>, Option<HeaderMap>),
    /// A stream.
    Stream(Box<StreamBody>),
    /// Any of these, for those who cannot read trailers.
    Ending(Box<Ending>),
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
    pub(super) fn new(body: ReplyBody, turn: Turn) -> Self {
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

/// Replies of a streaming handler on their way out. The handler runs inside [`StreamBody::poll`],
/// so HTTP/2's flow control is its back-pressure: it is asked for the next message only when the
/// last ones were taken.
pub(crate) struct StreamBody {
    messages: Messages,
    buffer: BytesMut,
    /// The last batch was full, so the next one may be.
    busy: bool,
    compression: Option<Compression>,
    deadline: Option<Pin<Box<Sleep>>>,
    record: CallRecord,
    connection: Arc<Connection>,
    said: Arc<Said>,
    /// How the call ended, once it has.
    outcome: Option<Option<Error>>,
    done: bool,
}

impl StreamBody {
    pub(super) fn new(
        messages: Messages,
        compression: Option<Compression>,
        record: CallRecord,
        peer: &Peer,
    ) -> Self {
        let deadline = record.context().deadline();
        Self {
            messages,
            buffer: BytesMut::new(),
            busy: false,
            compression,
            deadline: deadline.map(|at| Box::pin(tokio::time::sleep_until(at))),
            record,
            connection: peer.link.connection.clone(),
            said: peer.link.said.clone(),
            outcome: None,
            done: false,
        }
    }

    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<Option<Frame<Bytes>>> {
        if self.done {
            return Poll::Ready(None);
        }
        if self.outcome.is_none() && !self.fill(cx) && self.buffer.is_empty() {
            return Poll::Pending;
        }
        if !self.buffer.is_empty() {
            let messages = self.connection.unsent.count(self.buffer.split().freeze());
            return Poll::Ready(Some(Frame::data(messages)));
        }
        let mut error = self.outcome.take().flatten();
        self.done = true;
        let mut trailers = self.record.context().take_reply_trailers();
        if let Err(large) = self.said.takes("the trailers of the answer", &trailers) {
            trailers.clear();
            error = error.or(Some(large));
        }
        self.record.finish(error.as_ref());
        let context = self.record.context();
        let micro = error.is_some() && caller_is_micro(context.metadata().headers());
        write_status(&mut trailers, error.as_ref(), micro);
        Poll::Ready(Some(Frame::trailers(trailers)))
    }

    /// Takes what the handler has ready. False when it has nothing yet.
    fn fill(&mut self, cx: &mut TaskContext<'_>) -> bool {
        if self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready()) {
            self.outcome = Some(Some(deadline_passed()));
            return true;
        }
        let context = self.record.context().clone();
        if std::mem::take(&mut self.busy) {
            self.buffer.reserve(BATCH);
        }
        let (messages, buffer, announced) =
            (&mut self.messages, &mut self.buffer, self.compression);
        let mut whole = buffer.len();
        let polled = catch_unwind(AssertUnwindSafe(|| {
            context.enter(|| {
                while whole < BATCH {
                    let compression = || context.compression_within(announced);
                    match append(messages, buffer, compression, cx) {
                        Poll::Ready(Some(Ok(()))) => whole = buffer.len(),
                        other => return other,
                    }
                }
                Poll::Ready(Some(Ok(())))
            })
        }));
        let outcome = match polled {
            Ok(Poll::Ready(Some(Ok(())))) => {
                self.busy = true;
                return true;
            }
            Ok(Poll::Ready(Some(Err(error)))) => Some(Some(told(error, &context))),
            Ok(Poll::Ready(None)) => Some(None),
            Ok(Poll::Pending) => None,
            Err(panic) => Some(Some(panicked(panic.as_ref(), &context))),
        };
        // What was begun after that is no message.
        self.buffer.truncate(whole);
        if self.buffer.is_empty() {
            // Nothing may come for long.
            self.buffer = BytesMut::new();
        }
        self.outcome = outcome;
        self.outcome.is_some()
    }
}

/// Appends the next message of a stream to `buffer`, framed. Where it does not succeed, a part of one may stand there.
/// `compression` is asked once the message is there, since a handler may choose with each.
fn append(
    messages: &mut Messages,
    buffer: &mut BytesMut,
    compression: impl FnOnce() -> Option<Compression>,
    cx: &mut TaskContext<'_>,
) -> Poll<Option<Result<()>>> {
    if buffer.capacity() < BATCH {
        let Some(message) = ready!(Pin::new(messages).poll_next(cx)?) else {
            return Poll::Ready(None);
        };
        // A second message that is ready means there may be many: room for a batch.
        if !buffer.is_empty() {
            buffer.reserve(BATCH);
        }
        return Poll::Ready(Some(frame_into(buffer, &message, compression())));
    }
    // Written where it is sent from.
    let start = begin_frame(buffer);
    match ready!(messages.poll_append(cx, buffer)?) {
        Some(()) => Poll::Ready(Some(end_frame(buffer, start, compression()))),
        None => Poll::Ready(None),
    }
}
