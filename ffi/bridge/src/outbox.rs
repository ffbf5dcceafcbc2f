//! Messages that a host sends on a stream, on their way to HTTP/2.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_util::Stream;
use micro::{Error, Raw};

use crate::event::{Event, EventKind};
use crate::failure::{Failure, Result};
use crate::id::Id;
use crate::queue::Queue;
use crate::status::Status;

/// Messages that may wait.
const MESSAGES: usize = 64;
/// Bytes that may wait, unless they are one message.
const BYTES: usize = 256 * 1024;

/// A bounded backlog of messages. A host that finds it full is told when it is not.
#[derive(Debug)]
pub(crate) struct Outbox {
    backlog: Mutex<Backlog>,
    queue: Weak<Queue>,
    token: u64,
}

#[derive(Debug, Default)]
struct Backlog {
    id: Id,
    messages: VecDeque<Bytes>,
    bytes: usize,
    /// The host has sent its last, well or with an error.
    end: Option<Option<Error>>,
    /// The host sends no more, whether that was read or not.
    closed: bool,
    /// The messages are no longer read.
    over: bool,
    /// The host waits for room.
    refused: bool,
    reader: Option<Waker>,
}

impl Outbox {
    pub(crate) fn new(queue: &Arc<Queue>, token: u64) -> Arc<Self> {
        Arc::new(Self { backlog: Mutex::default(), queue: Arc::downgrade(queue), token })
    }

    /// Says which call these messages are of, once that is known.
    pub(crate) fn name(&self, id: Id) {
        self.backlog().id = id;
    }

    /// Sends a message; with `last`, it is the last one.
    ///
    /// # Errors
    /// [`Status::FULL`] when there is no room: an [`EventKind::Writable`] will tell when there is. [`Status::CLOSED`] after
    /// the last one, [`Status::STALE`] when the stream is over.
    pub(crate) fn send(&self, message: Bytes, last: bool) -> Result<()> {
        let mut backlog = self.backlog();
        backlog.check()?;
        let full = backlog.messages.len() >= MESSAGES
            || (backlog.bytes + message.len() > BYTES && !backlog.messages.is_empty());
        if full {
            backlog.refused = true;
            return Err(Failure::new(
                Status::FULL,
                "the far side is slow: wait for the WRITABLE event of this stream, then send again",
            ));
        }
        backlog.bytes += message.len();
        backlog.messages.push_back(message);
        if last {
            backlog.finish(None);
        }
        wake(backlog);
        Ok(())
    }

    /// No more messages, and how it ended.
    ///
    /// # Errors
    /// As [`Outbox::send`], but for a backlog that is full.
    pub(crate) fn close(&self, error: Option<Error>) -> Result<()> {
        let mut backlog = self.backlog();
        backlog.check()?;
        backlog.finish(error);
        wake(backlog);
        Ok(())
    }

    /// The last message and the end, whether there is room or not.
    ///
    /// # Errors
    /// As [`Outbox::close`].
    pub(crate) fn finish(&self, message: Bytes) -> Result<()> {
        let mut backlog = self.backlog();
        backlog.check()?;
        backlog.bytes += message.len();
        backlog.messages.push_back(message);
        backlog.finish(None);
        wake(backlog);
        Ok(())
    }

    /// Where the messages come out.
    pub(crate) fn messages(self: &Arc<Self>) -> Messages {
        Messages(self.clone())
    }

    fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        let mut backlog = self.backlog();
        let Some(message) = backlog.messages.pop_front() else {
            return match backlog.end.take() {
                Some(error) => {
                    backlog.over = true;
                    Poll::Ready(error.map(Err))
                }
                None if backlog.over => Poll::Ready(None),
                None => {
                    backlog.reader = Some(cx.waker().clone());
                    Poll::Pending
                }
            };
        };
        backlog.bytes -= message.len();
        let half_empty = backlog.messages.len() <= MESSAGES / 2 && backlog.bytes <= BYTES / 2;
        let tell = backlog.refused && half_empty && backlog.end.is_none();
        let id = backlog.id;
        if tell {
            backlog.refused = false;
        }
        drop(backlog);
        if tell && let Some(queue) = self.queue.upgrade() {
            queue.push(Event::new(EventKind::Writable, self.token, id));
        }
        Poll::Ready(Some(Ok(message)))
    }

    fn backlog(&self) -> MutexGuard<'_, Backlog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backlog {
    fn check(&self) -> Result<()> {
        if self.closed {
            return Err(Failure::closed("sending side of the stream"));
        }
        if self.over {
            return Err(Failure::stale());
        }
        Ok(())
    }

    fn finish(&mut self, error: Option<Error>) {
        self.end = Some(error);
        self.closed = true;
    }
}

fn wake(mut backlog: MutexGuard<'_, Backlog>) {
    let reader = backlog.reader.take();
    drop(backlog);
    if let Some(reader) = reader {
        reader.wake();
    }
}

/// The messages of an [`Outbox`], in order. Dropping it tells the host's next send that the stream is over.
#[derive(Debug)]
pub(crate) struct Messages(Arc<Outbox>);

impl Stream for Messages {
    type Item = Result<Bytes, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next(cx)
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        let mut backlog = self.0.backlog();
        backlog.over = true;
        backlog.messages.clear();
        backlog.bytes = 0;
    }
}

/// The requests of a client's stream: what a host sends cannot fail but by cancelling the stream.
pub(crate) fn requests(messages: Messages) -> impl Stream<Item = Raw> + Send + 'static {
    futures_util::StreamExt::filter_map(messages, |message| {
        std::future::ready(message.ok().map(Raw))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;

    use futures_util::{FutureExt as _, StreamExt as _};

    use super::*;

    fn outbox() -> Arc<Outbox> {
        Arc::new(Outbox { backlog: Mutex::default(), queue: Weak::new(), token: 0 })
    }

    fn status(sent: Result<()>) -> Option<Status> {
        sent.err().map(|failure| failure.status())
    }

    #[test]
    fn the_side_of_a_host_that_has_sent_its_last_is_closed_also_once_that_was_read() {
        let outbox = outbox();
        let mut messages = outbox.messages();
        assert_eq!(status(outbox.send(Bytes::from_static(b"a"), true)), None);
        assert_eq!(status(outbox.send(Bytes::new(), false)), Some(Status::CLOSED));
        assert!(messages.next().now_or_never().is_some_and(|message| message.is_some()));
        assert!(messages.next().now_or_never().is_some_and(|end| end.is_none()));
        assert_eq!(status(outbox.send(Bytes::new(), false)), Some(Status::CLOSED));
        assert_eq!(status(outbox.close(None)), Some(Status::CLOSED));
    }

    #[test]
    fn a_stream_whose_messages_are_not_read_any_more_is_over() {
        let outbox = outbox();
        drop(outbox.messages());
        assert_eq!(status(outbox.send(Bytes::new(), false)), Some(Status::STALE));
        assert_eq!(status(outbox.close(None)), Some(Status::STALE));
    }
}
