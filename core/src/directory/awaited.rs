//! Callers that wait until more is known of a service than there is now.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::snapshot::Snapshot;
use crate::error::{Error, Result};

type Answer = oneshot::Sender<Result<Arc<Snapshot>>>;

/// Names from which on those whose callers have given up are looked for.
const SWEEP: usize = 1024;

/// Those who wait, by service. Each is a call under way, which bounds their number.
#[derive(Default)]
pub(super) struct Awaited(HashMap<Arc<str>, Vec<Answer>>);

impl Awaited {
    pub(super) fn add(&mut self, service: &Arc<str>, answer: Answer) {
        if self.0.len() >= SWEEP && self.0.len() == self.0.capacity() {
            self.0.retain(|_, answers| answers.iter().any(|answer| !answer.is_closed()));
        }
        let answers = self.0.entry(Arc::clone(service)).or_default();
        if answers.len() == answers.capacity() {
            // Before it grows: callers that gave up do not add up.
            answers.retain(|answer| !answer.is_closed());
        }
        answers.push(answer);
    }

    /// True when a call waits for `service`.
    pub(super) fn holds(&self, service: &str) -> bool {
        self.0.get(service).is_some_and(|answers| answers.iter().any(|answer| !answer.is_closed()))
    }

    /// The services that are waited for.
    pub(super) fn services(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.keys().filter(|service| self.holds(service))
    }

    /// There is something new.
    pub(super) fn tell(&mut self, snapshot: &Arc<Snapshot>) {
        for answer in self.0.remove(snapshot.service()).unwrap_or_default() {
            let _ = answer.send(Ok(Arc::clone(snapshot)));
        }
    }

    /// Waiting will not help.
    pub(super) fn refuse(&mut self, service: &str, error: &Error) {
        for answer in self.0.remove(service).unwrap_or_default() {
            let _ = answer.send(Err(error.clone()));
        }
    }
}
