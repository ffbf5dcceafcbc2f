//! Whether a call is let in: the fixed bound on calls at once, the line before the handlers, and
//! the gate of its endpoint.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use super::arriving::Unfinished;
use super::connection::Connection;
use super::endpoint::Endpoint;
use super::failure::deadline_passed;
use super::in_flight::{InFlight, Permit};
use super::routes::Routes;
use crate::error::{Error, Result};
use crate::resilience::{Gate, Load, Pass, StandingQueue};

/// Probes that get in when the server is full of calls: a monitor must not take it for dead.
const PROBES: usize = 1_024;
/// Requests that may wait for their end, however few calls may run.
const UNFINISHED: usize = 1_024;
/// The last one in so many places is kept for connections that have few.
const KEPT: usize = 8;

/// What a server lets in.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(super) service: Arc<str>,
    pub(super) in_flight: Arc<InFlight>,
    /// Requests that are not all there yet: they have places of their own.
    pub(super) unfinished: Arc<InFlight>,
    /// Connections that are open.
    pub(super) connections: Arc<AtomicUsize>,
    pub(super) max_calls: usize,
    pub(super) line: Option<StandingQueue>,
    /// Calls refused because of `max_calls`.
    pub(super) shed: AtomicU64,
}

/// When a call arrived and how long its caller waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    pub(super) arrived: Instant,
    pub(super) budget: Option<Duration>,
}

impl Timing {
    pub(super) fn deadline(self) -> Option<Instant> {
        self.budget.and_then(|budget| self.arrived.checked_add(budget))
    }
}

impl Admission {
    /// Lets a call go on before anything of it is read but the head. It has no place yet. Returns the time, if it had to look.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED` when the server has enough to do, `DEADLINE_EXCEEDED` for a call whose
    /// time is over.
    pub(super) fn enter(
        &self,
        endpoint: &Endpoint,
        probe: bool,
        timing: Timing,
    ) -> Result<Option<Instant>> {
        if self.in_flight.count() >= self.most(probe) {
            return Err(self.full());
        }
        if timing.budget.is_none() && self.line.is_none() {
            return Ok(None);
        }
        let now = Instant::now();
        if let (Some(line), false) = (&self.line, probe) {
            line.pass(timing.arrived, now, timing.budget).map_err(|wait| {
                let waited = now.saturating_duration_since(timing.arrived);
                self.overloaded(endpoint, &format!("a call waited {waited:?} to be started"), wait)
            })?;
        }
        if timing.deadline().is_some_and(|deadline| deadline <= now) {
            return Err(deadline_passed());
        }
        Ok(Some(now))
    }

    /// The slot of a call that can run.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED` when there is none, or when the last ones are kept for other connections.
    pub(super) fn slot(&self, connection: &Arc<Connection>, probe: bool) -> Result<Slot> {
        let own = connection.running.fetch_add(1, Relaxed);
        let permit = if probe || self.is_fair(&self.in_flight, self.max_calls, own) {
            self.in_flight.enter(self.most(probe))
        } else {
            None
        };
        match permit {
            Some(permit) => Ok(Slot { connection: connection.clone(), _permit: permit }),
            None => {
                connection.running.fetch_sub(1, Relaxed);
                Err(self.full())
            }
        }
    }

    /// The place of a request that is not all there yet.
    ///
    /// # Errors
    /// As [`Admission::slot`].
    pub(super) fn wait(&self, connection: &Arc<Connection>) -> Result<Unfinished> {
        let most = self.max_calls.max(UNFINISHED);
        let own = connection.unfinished.load(Relaxed);
        let fair = self.is_fair(&self.unfinished, most, own);
        match self.unfinished.enter(most).filter(|_| fair) {
            Some(permit) => Ok(Unfinished::new(connection, permit)),
            None => {
                self.shed.fetch_add(1, Relaxed);
                Err(refusal(format!(
                    "{} waits for the end of as many requests as it can: send whole requests, or try another node",
                    self.service
                )))
            }
        }
    }

    /// Whether a connection that has `own` places may have one more. While there are plenty, it may. The last ones are shared
    /// by all connections, so that those which took the others find an end before all are gone.
    fn is_fair(&self, taken: &InFlight, most: usize, own: usize) -> bool {
        let free = most.saturating_sub(taken.count());
        if free > most / KEPT || own == 0 {
            return true;
        }
        let connections = self.connections.load(Relaxed);
        connections <= 1 || own < free / connections
    }

    fn most(&self, probe: bool) -> usize {
        if probe { self.max_calls.saturating_add(PROBES) } else { self.max_calls }
    }

    #[cold]
    fn full(&self) -> Error {
        self.shed.fetch_add(1, Relaxed);
        refusal(format!(
            "{} is serving its limit of {} calls: try another node or later",
            self.service, self.max_calls
        ))
    }

    /// Lets a call whose request is there into its handler; `now` is the time, if it is known. `None` where the endpoint has
    /// no gate.
    ///
    /// # Errors
    /// As [`Admission::enter`].
    pub(super) fn start<'a>(
        &self,
        endpoint: &'a Endpoint,
        deadline: Option<Instant>,
        now: Option<Instant>,
    ) -> Result<Option<Pass<'a>>> {
        let gate = endpoint.gate.as_deref();
        if gate.is_none() && deadline.is_none() {
            return Ok(None);
        }
        let now = now.unwrap_or_else(Instant::now);
        let left = deadline.map(|deadline| deadline.saturating_duration_since(now));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(deadline_passed());
        }
        let Some(gate) = gate else { return Ok(None) };
        gate.enter(now, left).map(Some).map_err(|wait| {
            let inside = gate.in_flight();
            self.overloaded(endpoint, &format!("{inside} calls are as many as it can answer"), wait)
        })
    }

    /// Calls refused by the server as a whole.
    pub(super) fn shed(&self) -> u64 {
        self.shed.load(Relaxed) + self.line.as_ref().map_or(0, StandingQueue::shed)
    }

    #[cold]
    fn overloaded(&self, endpoint: &Endpoint, why: &str, wait: Duration) -> Error {
        refusal(format!(
            "{} {} is overloaded, {why}: try another node or later",
            self.service, endpoint.name
        ))
        .with_retry_after(wait)
    }
}

/// The slot of a call that runs, until dropped.
#[derive(Debug)]
pub(super) struct Slot {
    connection: Arc<Connection>,
    _permit: Permit,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.connection.running.fetch_sub(1, Relaxed);
    }
}

#[cold]
fn refusal(detail: String) -> Error {
    Error::resource_exhausted(detail).with_id("go.micro.server")
}

/// The gates of a server's endpoints, by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Gates(Arc<[(Arc<str>, Arc<Gate>)]>);

impl Gates {
    pub(super) fn of(routes: &Routes) -> Self {
        let gates = routes
            .sorted()
            .into_iter()
            .filter_map(|endpoint| endpoint.gate.clone().map(|gate| (endpoint.name.clone(), gate)));
        Self(gates.collect())
    }

    pub(super) fn loads(&self) -> Vec<Load> {
        self.0.iter().map(|(name, gate)| gate.load(name)).collect()
    }

    pub(super) fn shed(&self) -> u64 {
        self.0.iter().map(|(_, gate)| gate.shed()).sum()
    }
}

/// What `Debug.Load` says of how busy a server is.
#[derive(Debug, Clone)]
pub(super) struct Pressure {
    pub(super) admission: Arc<Admission>,
    pub(super) gates: Gates,
}

impl Pressure {
    pub(super) fn shed(&self) -> u64 {
        self.admission.shed() + self.gates.shed()
    }
}
