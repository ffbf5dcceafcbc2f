//! The messages of a caller, as they come out of its body.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;

use super::arriving::Arriving;
use crate::context::Context as CallContext;
use crate::error::{Error, Result};
use crate::streaming::{HeldMessage, Messages};
use crate::transport::Hold;

/// Messages on their way in.
pub(super) trait Requests: Send + Sized + 'static {
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

    /// Bytes of the body that have come.
    fn received(&self) -> u64 {
        0
    }

    /// True while a message has begun that is not all there.
    fn is_partial(&self) -> bool {
        false
    }

    /// What is held for the message before.
    fn take_hold(&mut self) -> Option<Hold> {
        None
    }

    /// The messages as a stream, each of which may take so long to come once it has begun. What is known of each is noted in
    /// `context`.
    fn into_messages(mut self, context: CallContext, patience: Duration) -> Messages {
        let held = Arc::new(HeldMessage::default());
        let (kept, mut holding, mut arriving) = (held.clone(), false, None);
        let messages = futures_util::stream::poll_fn(move |cx| {
            if std::mem::take(&mut holding) {
                held.put(None);
            }
            let Poll::Ready(next) = self.poll_message(cx) else {
                if !self.is_partial() {
                    arriving = None;
                    return Poll::Pending;
                }
                let received = self.received();
                let arriving = arriving.get_or_insert_with(|| Arriving::new(patience, received));
                return arriving.poll(received, cx).map(|late| Some(Err(late)));
            };
            arriving = None;
            context.note_compressed(self.compressed());
            if let Some(hold) = self.take_hold() {
                held.put(Some(hold));
                holding = true;
            }
            Poll::Ready(next.transpose())
        });
        Messages::new(messages).holding(kept)
    }
}
