//! A server that is asked for more than it can do answers what it can, and refuses the rest at once.
//!
//! Without this, calls wait in line until their callers have given up, and the server spends all
//! its time on answers that are never read. There are two lines, and each is watched for itself:
//!
//! * Inside the handler, for a pool, a lock or another service. A [`Gate`] per unary endpoint
//!   watches how long answers take. It has no limit until queueing is seen: the *fast* calls of now
//!   (10th percentile) take much longer than the *slow* calls of before (90th). A handler that is
//!   slow by nature, or fast for some and slow for others, never looks like that. Then the limit is
//!   set by Little's law, tried, and taken back when fewer calls at once make none of them faster:
//!   that was no queue. See [`control`].
//! * Before the handler, for the processor. A [`StandingQueue`] watches how long calls wait to be started.
//!
//! How long a wait is too long, the callers say: a quarter of the time they give. Calls without a
//! deadline wait as long as it takes.
//!
//! Known relatives are Vegas and gradient limiters, which compare with the shortest latency ever
//! seen and so punish handlers of mixed speed, and controlled delay, which this borrows the look at
//! the fastest of a window from.

mod control;
mod gate;
mod load;
mod pushback;
mod standing;
mod window;

#[cfg(test)]
mod simulation;

use std::time::Duration;

use crate::error::{Error, Result};
use crate::settings::range;

pub(crate) use gate::{Gate, Pass};
pub use load::Load;
pub(crate) use standing::StandingQueue;

/// How a server bounds the calls it runs at once, by what it sees. Set with
/// [`ServerBuilder::limiter`](crate::server::ServerBuilder::limiter).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limiter {
    enabled: bool,
    fewest: u32,
    patience: Option<Duration>,
}

impl Limiter {
    /// Refuses calls once they would queue for too long. This is the default.
    pub fn adaptive() -> Self {
        Self { enabled: true, fewest: 1, patience: None }
    }

    /// Leaves it at the fixed bound on concurrent calls.
    pub fn off() -> Self {
        Self { enabled: false, ..Self::adaptive() }
    }

    /// Calls of an endpoint that may always run at once, 1 unless set; 1 to 1 000 000, and no more than the server's
    /// `max_concurrent_calls`.
    pub fn at_least(mut self, calls: u32) -> Self {
        self.fewest = calls;
        self
    }

    /// Longest wait in line that is worth it, 1 ms or more: a quarter of the time callers give, unless set.
    pub fn patience(mut self, wait: Duration) -> Self {
        self.patience = Some(wait);
        self
    }

    /// Refuses options that make no sense.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` with the option, its value and its range.
    pub(crate) fn check(&self, most: usize) -> Result<()> {
        range::AT_LEAST.number(self.fewest)?;
        range::PATIENCE.time(self.patience)?;
        if self.enabled && usize::try_from(self.fewest).is_ok_and(|fewest| fewest > most) {
            return Err(Error::invalid_argument(format!(
                "at_least: {} calls of an endpoint cannot always run where max_concurrent_calls is {most}: raise that, or lower this",
                self.fewest
            )));
        }
        Ok(())
    }

    /// The gate of one endpoint, which never lets more than `most` in.
    pub(crate) fn gate(&self, most: usize) -> Option<Gate> {
        let most = u32::try_from(most).unwrap_or(u32::MAX).max(1);
        self.enabled.then(|| Gate::new(self.fewest.min(most)..=most, self.patience))
    }

    /// The watch on the queue in front of the handlers.
    pub(crate) fn standing_queue(&self) -> Option<StandingQueue> {
        self.enabled.then(|| StandingQueue::new(self.patience))
    }
}

impl Default for Limiter {
    fn default() -> Self {
        Self::adaptive()
    }
}
