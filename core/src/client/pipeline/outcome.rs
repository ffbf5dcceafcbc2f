//! How attempts and calls end, and who is told.

use std::sync::Arc;

use super::run::Run;
use crate::error::{Code, Error, Origin, Reach, Reason};
use crate::resilience::Lost;
use crate::selector::{Finished, Node, Outcome};

impl Run {
    /// An attempt on `node` begins. It is told how it ended by [`Run::tell`], once.
    pub(super) fn begin(&mut self, node: &Arc<Node>) {
        self.attempts += 1;
        self.attempt_at(node);
    }

    /// The attempt is one on `node`; where it was to be one on another, that one is given up.
    pub(super) fn attempt_at(&mut self, node: &Arc<Node>) {
        self.give_up();
        self.span.record("node", node.id());
        self.attempt = Some(node.begin());
        self.node = Some(node.clone());
    }

    /// The attempt, if one is open, was given up before the node could show what it is worth.
    pub(super) fn give_up(&mut self) {
        self.tell(Outcome::Cancelled, None);
    }

    /// The attempt failed, and another one may follow.
    pub(super) fn lost(&mut self, error: &Error, lost: Lost) {
        let outcome = match lost {
            // It closes connections for their age, and the request was not looked at: that says nothing of the node.
            Lost::Gone { served: true } if error.reach() == Reach::Never => Outcome::Cancelled,
            _ => outcome_of(error),
        };
        self.tell(outcome, Some(error));
    }

    /// The call succeeded: the node did well.
    pub(in crate::client) fn succeed(&mut self) {
        self.tell(Outcome::Success, None);
        self.measured.finish(None);
    }

    /// The call failed for good: counts it, and adds where that was. An attempt that is still open was ended by the deadline,
    /// or broke off in a stream.
    pub(in crate::client) fn fail(&mut self, error: Error) -> Error {
        self.tell(outcome_of(&error), Some(&error));
        self.measured.finish(Some(error.code()));
        self.explain(error)
    }

    /// The one place where the end of an attempt is told: to the selector, the registry and the log. An attempt that was told
    /// of already is over.
    pub(super) fn tell(&mut self, outcome: Outcome, error: Option<&Error>) {
        let Some(attempt) = self.attempt.take() else { return };
        let elapsed = attempt.timed(outcome);
        let Some(node) = &self.node else { return };
        let strategy = self.terms.strategy(self.client.0.strategy.as_ref());
        strategy.finished(&Finished {
            service: &self.target.service,
            endpoint: &self.target.endpoint,
            node,
            outcome,
            elapsed,
        });
        let Some(error) = error else { return };
        self.suspect(node, error, outcome);
        tracing::debug!(
            service = &*self.target.service,
            endpoint = &*self.target.endpoint,
            node = node.id(),
            attempt = self.attempts,
            %error,
            "attempt failed"
        );
    }

    /// Tells the registry of a node that refused a connection, or whose connection broke: it may be gone.
    fn suspect(&self, node: &Node, error: &Error, outcome: Outcome) {
        let broke =
            outcome == Outcome::Failure && error.code() == Code::Unavailable && !error.is_remote();
        if (broke || outcome == Outcome::Refused) && self.is_registered() {
            self.client.0.cache.registry().suspect(&self.target.service, &node.record());
        }
    }

    /// Adds where the call failed.
    fn explain(&self, error: Error) -> Error {
        let node = self.node.as_ref().map_or_else(String::new, |node| {
            if node.id() == node.address() {
                node.id().to_owned()
            } else {
                format!("{} at {}", node.id(), node.address())
            }
        });
        error.with_origin(Origin {
            service: self.target.service.to_string(),
            endpoint: self.target.endpoint.to_string(),
            node,
            attempts: self.attempts,
        })
    }
}

/// A call that is dropped gives its attempt up.
impl Drop for Run {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// What a failure says about the node.
pub(super) fn outcome_of(error: &Error) -> Outcome {
    match error.code() {
        _ if error.reason() == Some(Reason::OtherService) => Outcome::Refused,
        // What could not be sent has not reached it.
        _ if error.forbids_retry() && !error.is_remote() => Outcome::Cancelled,
        _ if error.reach() == Reach::Never && !error.is_remote() => Outcome::Refused,
        Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded => Outcome::Failure,
        Code::Internal if !error.is_remote() => Outcome::Failure,
        // Said at once, it must not make the node the fastest. A node that does not know the endpoint is no better.
        Code::Internal | Code::Unknown | Code::DataLoss | Code::Unimplemented | Code::Cancelled => {
            Outcome::Fault
        }
        // The service has answered.
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unauthenticated => Outcome::Success,
    }
}
