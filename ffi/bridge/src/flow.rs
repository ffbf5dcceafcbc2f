//! What messages go through, as the host handles it: a stream, a watch, a call that came in.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::credit::Credit;
use crate::failure::{Failure, Result};
use crate::outbox::Outbox;

/// Messages in one direction or both.
pub(crate) trait Flow: fmt::Debug + Send + Sync {
    /// Sends a message; with `last`, this side sends no more.
    ///
    /// # Errors
    /// As [`Runtime::send`](crate::Runtime::send).
    fn send(&self, message: Bytes, last: bool) -> Result<()>;

    /// This side sends no more.
    ///
    /// # Errors
    /// As [`Runtime::close`](crate::Runtime::close).
    fn close(&self) -> Result<()>;

    /// Where it is counted what the host is ready to receive.
    ///
    /// # Errors
    /// [`Status::ARG`](crate::Status::ARG) for what receives no messages.
    fn credit(&self) -> Result<&Credit>;
}

/// A stream that this side opened, or something it follows.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    /// `None` when nothing is sent after the opening.
    pub(crate) outbox: Option<Arc<Outbox>>,
    pub(crate) credit: Credit,
    /// Of what is followed: the host wants no more of it.
    pub(crate) closing: Option<CancellationToken>,
}

impl Opened {
    fn outbox(&self) -> Result<&Outbox> {
        self.outbox.as_deref().ok_or_else(no_messages)
    }
}

impl Flow for Opened {
    fn send(&self, message: Bytes, last: bool) -> Result<()> {
        self.outbox()?.send(message, last)
    }

    fn close(&self) -> Result<()> {
        match &self.closing {
            Some(closing) => closing.cancel(),
            None => self.outbox()?.close(None)?,
        }
        Ok(())
    }

    fn credit(&self) -> Result<&Credit> {
        Ok(&self.credit)
    }
}

/// The failure of sending where nothing is received, and the other way round.
pub(crate) fn no_messages() -> Failure {
    Failure::argument("this is no stream of messages in that direction")
}
