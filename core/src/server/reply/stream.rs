//! Replies of a streaming handler, framed and sent as they come.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use http_body::Frame;
use tokio::time::Sleep;

use crate::error::{Error, Result};
use crate::server::call::CallRecord;
use crate::server::connection::Connection;
use crate::server::failure::{deadline_passed, panicked, told};
use crate::streaming::Messages;
use crate::transport::{
    Compression, Said, begin_frame, caller_is_micro, end_frame, frame_into, write_status,
};

/// Messages that are ready together leave together, up to about this many bytes.
const BATCH: usize = 32 * 1024;

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
    pub(in crate::server) fn new(
        messages: Messages,
        compression: Option<Compression>,
        record: CallRecord,
        connection: Arc<Connection>,
        said: Arc<Said>,
    ) -> Self {
        let deadline = record.context().deadline();
        Self {
            messages,
            buffer: BytesMut::new(),
            busy: false,
            compression,
            deadline: deadline.map(|at| Box::pin(tokio::time::sleep_until(at))),
            record,
            connection,
            said,
            outcome: None,
            done: false,
        }
    }

    pub(super) fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<Option<Frame<Bytes>>> {
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
    compression: impl Fn() -> Option<Compression>,
    cx: &mut TaskContext<'_>,
) -> Poll<Option<Result<()>>> {
    #[cfg(feature = "tonic")]
    if let Some(packed) = messages.framed()
        && packed == compression()
    {
        return messages.poll_frames(cx, buffer);
    }
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
