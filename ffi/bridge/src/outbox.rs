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

/// A bounded line of messages. A host that finds it full is told when it is not.
#[derive(Debug)]
pub(crate) struct Outbox {
    line: Mutex<Line>,
    queue: Weak<Queue>,
    token: u64,
}

#[derive(Debug, Default)]
struct Line {
    id: Id,
    messages: VecDeque<Bytes>,
    bytes: usize,
    /// The host has sent its last, well or with an error.
    end: Option<Option<Error>>,
    /// The messages are no longer read.
    over: bool,
    /// The host waits for room.
    refused: bool,
    reader: Option<Waker>,
}

impl Outbox {
    pub(crate) fn new(queue: &Arc<Queue>, token: u64) -> Arc<Self> {
        Arc::new(Self { line: Mutex::default(), queue: Arc::downgrade(queue), token })
    }

    /// Says which call these messages are of, once that is known.
    pub(crate) fn name(&self, id: Id) {
        self.line().id = id;
    }

    /// Sends a message; with `last`, it is the last one.
    ///
    /// # Errors
    /// [`Status::FULL`] when there is no room: an [`EventKind::Writable`] will tell when there is. [`Status::CLOSED`] after
    /// the last one, [`Status::STALE`] when the stream is over.
    pub(crate) fn send(&self, message: Bytes, last: bool) -> Result<()> {
        let mut line = self.line();
        line.check()?;
        let full = line.messages.len() >= MESSAGES
            || (line.bytes + message.len() > BYTES && !line.messages.is_empty());
        if full {
            line.refused = true;
            return Err(Failure::new(
                Status::FULL,
                "the far side is slow: wait for the WRITABLE event of this stream, then send again",
            ));
        }
        line.bytes += message.len();
        line.messages.push_back(message);
        if last {
            line.end = Some(None);
        }
        wake(line);
        Ok(())
    }

    /// No more messages, and how it ended.
    ///
    /// # Errors
    /// As [`Outbox::send`], but for a line that is full.
    pub(crate) fn close(&self, error: Option<Error>) -> Result<()> {
        let mut line = self.line();
        line.check()?;
        line.end = Some(error);
        wake(line);
        Ok(())
    }

    /// The last message and the end, whether there is room or not.
    ///
    /// # Errors
    /// As [`Outbox::close`].
    pub(crate) fn finish(&self, message: Bytes) -> Result<()> {
        let mut line = self.line();
        line.check()?;
        line.bytes += message.len();
        line.messages.push_back(message);
        line.end = Some(None);
        wake(line);
        Ok(())
    }

    /// Where the messages come out.
    pub(crate) fn messages(self: &Arc<Self>) -> Messages {
        Messages(self.clone())
    }

    fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        let mut line = self.line();
        let Some(message) = line.messages.pop_front() else {
            return match line.end.take() {
                Some(error) => {
                    line.over = true;
                    Poll::Ready(error.map(Err))
                }
                None if line.over => Poll::Ready(None),
                None => {
                    line.reader = Some(cx.waker().clone());
                    Poll::Pending
                }
            };
        };
        line.bytes -= message.len();
        let half_empty = line.messages.len() <= MESSAGES / 2 && line.bytes <= BYTES / 2;
        let tell = line.refused && half_empty && line.end.is_none();
        let id = line.id;
        if tell {
            line.refused = false;
        }
        drop(line);
        if tell && let Some(queue) = self.queue.upgrade() {
            queue.push(Event::new(EventKind::Writable, self.token, id));
        }
        Poll::Ready(Some(Ok(message)))
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn check(&self) -> Result<()> {
        if self.over {
            return Err(Failure::stale());
        }
        if self.end.is_some() {
            return Err(Failure::closed("sending side of the stream"));
        }
        Ok(())
    }
}

fn wake(mut line: MutexGuard<'_, Line>) {
    let reader = line.reader.take();
    drop(line);
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
        let mut line = self.0.line();
        line.over = true;
        line.messages.clear();
        line.bytes = 0;
    }
}

/// The requests of a client's stream: what a host sends cannot fail but by cancelling the stream.
pub(crate) fn requests(messages: Messages) -> impl Stream<Item = Raw> + Send + 'static {
    futures_util::StreamExt::filter_map(messages, |message| {
        std::future::ready(message.ok().map(Raw))
    })
}
