//! What an id can lead to.

use std::sync::Arc;

use tokio::task::AbortHandle;

use crate::credit::Credit;
use crate::inbound::Inbound;
use crate::outbox::Outbox;

/// Something under way.
#[derive(Debug, Clone)]
pub(crate) enum Thing {
    /// An operation with one end.
    Operation(Task),
    /// A stream this side opened.
    Stream(Arc<Open>, Task),
    /// A call that came in.
    Call(Arc<Inbound>),
}

/// What works on an operation.
#[derive(Debug, Clone, Default)]
pub(crate) enum Task {
    /// It is about to run, and can end before its handle is here.
    #[default]
    Coming,
    Running(AbortHandle),
    /// Cancelled before its handle was here.
    Unwanted,
}

/// Both directions of a stream this side opened.
#[derive(Debug)]
pub(crate) struct Open {
    /// `None` when the one request was sent with the opening.
    pub(crate) outbox: Option<Arc<Outbox>>,
    pub(crate) credit: Credit,
}

impl Thing {
    /// Ties the thing to the task that works on it; returns the task if it is to be aborted.
    pub(crate) fn started(&mut self, task: AbortHandle) -> Option<AbortHandle> {
        match self {
            Self::Operation(Task::Unwanted) | Self::Stream(_, Task::Unwanted) => Some(task),
            Self::Operation(slot) | Self::Stream(_, slot) => {
                *slot = Task::Running(task);
                None
            }
            Self::Call(_) => None,
        }
    }

    /// Cancels an operation: returns the task to be aborted, or has it aborted once it is here.
    pub(crate) fn cancel(&mut self) -> Option<AbortHandle> {
        match self {
            Self::Operation(Task::Running(task)) | Self::Stream(_, Task::Running(task)) => {
                Some(task.clone())
            }
            Self::Operation(slot) | Self::Stream(_, slot) => {
                *slot = Task::Unwanted;
                None
            }
            Self::Call(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> AbortHandle {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.spawn(std::future::pending::<()>()).abort_handle()
    }

    #[test]
    fn cancelling_what_is_about_to_run_is_not_lost() {
        let mut early = Thing::Operation(Task::Coming);
        assert!(early.cancel().is_none());
        assert!(early.started(task()).is_some(), "it was cancelled before it ran");
        let mut late = Thing::Operation(Task::Coming);
        assert!(late.started(task()).is_none());
        assert!(late.cancel().is_some());
    }
}
