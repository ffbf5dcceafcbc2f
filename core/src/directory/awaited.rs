//! Callers that wait until more is known of a service than there is now.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::snapshot::Snapshot;
use crate::error::{Error, Result};

/// How a caller that waits is told.
pub(super) type Waiter = oneshot::Sender<Result<Arc<Snapshot>>>;

/// From this many names on, those that no caller waits for any more are looked for.
const SWEEP: usize = 1024;

/// The callers that wait, by service. Each is a call under way, which bounds their number.
#[derive(Default)]
pub(super) struct Awaited(HashMap<Arc<str>, Vec<Waiter>>);

impl Awaited {
    pub(super) fn add(&mut self, service: &Arc<str>, waiter: Waiter) {
        if self.0.len() >= SWEEP && self.0.len() == self.0.capacity() {
            self.0.retain(|_, waiters| waiters.iter().any(|waiter| !waiter.is_closed()));
        }
        let waiters = self.0.entry(Arc::clone(service)).or_default();
        if waiters.len() == waiters.capacity() {
            // Before it grows: callers that gave up do not add up.
            waiters.retain(|waiter| !waiter.is_closed());
        }
        waiters.push(waiter);
    }

    /// True when a call waits for `service`.
    pub(super) fn holds(&self, service: &str) -> bool {
        self.0.get(service).is_some_and(|waiters| waiters.iter().any(|waiter| !waiter.is_closed()))
    }

    /// The services that are waited for.
    pub(super) fn services(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.keys().filter(|service| self.holds(service))
    }

    /// There is something new.
    pub(super) fn tell(&mut self, snapshot: &Arc<Snapshot>) {
        for waiter in self.0.remove(snapshot.service()).unwrap_or_default() {
            let _ = waiter.send(Ok(Arc::clone(snapshot)));
        }
    }

    /// Waiting will not help.
    pub(super) fn refuse(&mut self, service: &str, error: &Error) {
        for waiter in self.0.remove(service).unwrap_or_default() {
            let _ = waiter.send(Err(error.clone()));
        }
    }
}
