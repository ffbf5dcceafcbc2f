//! What an id can lead to. Of what area a thing is, it does not know.

use std::sync::Arc;

use bytes::Bytes;
use micro::{Context, Error, Metadata};
use tokio::task::AbortHandle;

use crate::delivery::Lent;
use crate::failure::{Failure, Result};
use crate::flow::{Flow, no_messages};
use crate::id::Id;

/// Something under way.
#[derive(Debug, Clone)]
pub(crate) enum Thing {
    /// What this side began, and what messages of it go through.
    Operation(Task, Option<Arc<dyn Flow>>),
    /// What came in, to be answered by the host.
    Call(Arc<dyn Call>),
    /// A message, to be settled by the host.
    Delivery(Lent),
}

/// A call that came in.
pub(crate) trait Call: Flow {
    fn context(&self) -> &Context;

    /// Begins the answer of a stream, so that its headers leave.
    ///
    /// # Errors
    /// [`Status::ARG`](crate::Status::ARG) for an endpoint that answers with one message.
    fn begin(&self) -> Result<(), Failure>;

    /// The one answer; the call is over with it.
    fn answer(&self, answer: Result<Bytes, Error>, trailers: Metadata);

    /// The host can answer no more: the runtime ends.
    fn abandon(&self, id: Id);
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

impl Thing {
    /// What messages of it go through.
    ///
    /// # Errors
    /// [`Status::ARG`](crate::Status::ARG) for what has none.
    pub(crate) fn flow(&self) -> Result<&dyn Flow, Failure> {
        match self {
            Self::Operation(_, flow) => flow.as_deref().ok_or_else(no_messages),
            Self::Call(call) => Ok(&**call),
            Self::Delivery(_) => Err(no_messages()),
        }
    }

    /// Ties the thing to the task that works on it; returns the task if it is to be aborted.
    pub(crate) fn started(&mut self, task: AbortHandle) -> Option<AbortHandle> {
        match self {
            Self::Operation(Task::Unwanted, _) => Some(task),
            Self::Operation(slot, _) => {
                *slot = Task::Running(task);
                None
            }
            Self::Call(_) | Self::Delivery(_) => None,
        }
    }

    /// Cancels an operation: returns the task to be aborted, or has it aborted once it is here.
    pub(crate) fn cancel(&mut self) -> Option<AbortHandle> {
        match self {
            Self::Operation(Task::Running(task), _) => Some(task.clone()),
            Self::Operation(slot, _) => {
                *slot = Task::Unwanted;
                None
            }
            Self::Call(_) | Self::Delivery(_) => None,
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
        let mut early = Thing::Operation(Task::Coming, None);
        assert!(early.cancel().is_none());
        assert!(early.started(task()).is_some(), "it was cancelled before it ran");
        let mut late = Thing::Operation(Task::Coming, None);
        assert!(late.started(task()).is_none());
        assert!(late.cancel().is_some());
    }
}
