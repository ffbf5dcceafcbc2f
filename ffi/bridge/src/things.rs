//! What an id can lead to.

use std::sync::Arc;

use tokio::task::AbortHandle;

use crate::credit::Credit;
use crate::inbound::Inbound;
use crate::outbox::Outbox;

/// Something under way.
#[derive(Debug, Clone)]
pub(crate) enum Thing {
    /// An operation with one end: its task, once it runs.
    Operation(Option<AbortHandle>),
    /// A stream this side opened.
    Stream(Arc<Open>, Option<AbortHandle>),
    /// A call that came in.
    Call(Arc<Inbound>),
}

/// Both directions of a stream this side opened.
#[derive(Debug)]
pub(crate) struct Open {
    /// `None` when the one request was sent with the opening.
    pub(crate) outbox: Option<Arc<Outbox>>,
    pub(crate) credit: Credit,
}

impl Thing {
    /// Ties the thing to the task that works on it.
    pub(crate) fn started(&mut self, task: AbortHandle) {
        match self {
            Self::Operation(slot) | Self::Stream(_, slot) => *slot = Some(task),
            Self::Call(_) => {}
        }
    }
}
