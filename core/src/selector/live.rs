//! What this process learned about a node by calling it, in atomics, so that choosing and
//! reporting take no lock.

use std::fmt;
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// How fast a latency is forgotten: after this long without calls, about a third of it is left.
const TAU: f64 = 10e9;
/// The worst latency that failures are counted as.
const WORST: f64 = 60e9;
/// Latency that a failure counts at least as, before it is doubled.
const FAILURE: f64 = 1e6;
/// What each call in flight weighs at a node without a known latency: enough to wait for
/// the first answer before sending more.
const UNKNOWN: f64 = 10e9;
/// First and longest time that a node which refused a connection is left out.
const EJECTION: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// Moments are nanoseconds since this one, so that they fit an atomic. It lies back a while, because
/// a paused clock may have begun before the first node was called.
static EPOCH: LazyLock<std::time::Instant> = LazyLock::new(|| {
    let now = std::time::Instant::now();
    now.checked_sub(Duration::from_secs(3600)).unwrap_or(now)
});

/// Makes what this file shares in a process, see [`crate::fork`].
pub(crate) fn warm_up() {
    LazyLock::force(&EPOCH);
}

fn nanos(at: Instant) -> u64 {
    let since = at.into_std().saturating_duration_since(*EPOCH);
    // Zero means never, so no moment is zero.
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX).max(1)
}

/// What this process learned about a node.
#[derive(Default)]
pub(super) struct Live {
    in_flight: AtomicU32,
    /// Peak-EWMA of the latency in nanoseconds, as bits of an `f64`; zero while unknown.
    latency: AtomicU64,
    /// Moment of the last sample.
    sampled: AtomicU64,
    /// Consecutive refusals.
    refusals: AtomicU32,
    /// Moment from which one caller may probe the node; zero while it is in use.
    probe_at: AtomicU64,
    /// Moment of the last refusal.
    ejected_at: AtomicU64,
    /// Consecutive faults.
    faults: AtomicU32,
    /// For watchers of the end of the node: says that it has left, or is dropped with this.
    left: OnceLock<watch::Sender<bool>>,
}

/// How an attempt on a node ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The node answered, be it with an error of the service.
    Success,
    /// The node did not do what it was asked: no answer in time, or an answer that says it cannot.
    Failure,
    /// The node answered that something in it broke, which may be the fault of the request. One alone says nothing; those that
    /// follow each other make it look slow.
    Fault,
    /// No connection: the request did not reach the node.
    Refused,
    /// The caller gave up before the node could show what it is worth.
    Cancelled,
}

/// An attempt under way. It counts as in flight until it is finished; dropped, it is cancelled.
#[derive(Debug)]
#[must_use = "an attempt that is dropped counts as cancelled"]
pub struct Attempt {
    live: Arc<Live>,
    started: Instant,
    finished: bool,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("in_flight", &self.in_flight)
            .field("latency_ns", &f64::from_bits(self.latency.load(Relaxed)))
            .field("refusals", &self.refusals)
            .finish()
    }
}

impl Live {
    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    pub(super) fn latency(&self, now: Instant) -> Option<Duration> {
        let latency = self.latency_at(nanos(now));
        (latency > 0.0).then(|| Duration::from_nanos(latency as u64))
    }

    pub(super) fn load(&self, now: Instant) -> f64 {
        let in_flight = f64::from(self.in_flight());
        let latency = self.latency_at(nanos(now));
        if latency > 0.0 { latency * (in_flight + 1.0) } else { UNKNOWN * in_flight }
    }

    /// True once the node has answered.
    pub(super) fn is_known(&self) -> bool {
        self.latency.load(Relaxed) != 0
    }

    /// True, or closed, once the node is no longer known.
    pub(super) fn left(&self) -> watch::Receiver<bool> {
        self.left.get_or_init(watch::Sender::default).subscribe()
    }

    pub(super) fn leave(&self) {
        if let Some(left) = self.left.get() {
            left.send_replace(true);
        }
    }

    pub(super) fn is_ejected(&self, now: Instant) -> bool {
        let probe_at = self.probe_at.load(Relaxed);
        probe_at != 0 && nanos(now) < probe_at
    }

    /// How long it is still left out.
    pub(super) fn ejected_for(&self, now: Instant) -> Duration {
        Duration::from_nanos(self.probe_at.load(Relaxed).saturating_sub(nanos(now)))
    }

    pub(super) fn admit(&self, now: Instant) -> bool {
        let probe_at = self.probe_at.load(Relaxed);
        if probe_at == 0 {
            return true;
        }
        let now = nanos(now);
        // A probe that never ends gives way to another after as long again.
        let next = now.saturating_add(self.ejection());
        now >= probe_at && self.probe_at.compare_exchange(probe_at, next, Relaxed, Relaxed).is_ok()
    }

    pub(super) fn ejected_at(&self) -> u64 {
        self.ejected_at.load(Relaxed)
    }

    fn latency_at(&self, now: u64) -> f64 {
        let latency = f64::from_bits(self.latency.load(Relaxed));
        if latency == 0.0 {
            return 0.0;
        }
        let idle = now.saturating_sub(self.sampled.load(Relaxed));
        // Never quite forgotten: calls in flight keep counting.
        (latency * (-(idle as f64) / TAU).exp()).max(1.0)
    }

    /// Adds a sample. A peak counts at once; less than the average counts by the time that passed.
    fn sample(&self, latency: f64, now: u64) {
        // Each span of time is claimed by one sample, so concurrent samples do not count it twice.
        let elapsed = now.saturating_sub(self.sampled.fetch_max(now, Relaxed));
        let weight = (-(elapsed as f64) / TAU).exp();
        let latency = latency.max(1.0);
        let _ = self.latency.fetch_update(Relaxed, Relaxed, |bits| {
            let average = f64::from_bits(bits);
            let next = if latency >= average {
                latency
            } else {
                average * weight + latency * (1.0 - weight)
            };
            Some(next.to_bits())
        });
    }

    fn finish(&self, outcome: Outcome, started: Instant) -> Duration {
        self.in_flight.fetch_sub(1, Relaxed);
        let at = Instant::now();
        let now = nanos(at);
        let took = at.saturating_duration_since(started);
        let elapsed = took.as_nanos() as f64;
        match outcome {
            Outcome::Success => {
                self.sample(elapsed, now);
                if self.faults.load(Relaxed) != 0 {
                    self.faults.store(0, Relaxed);
                }
                self.readmit();
            }
            Outcome::Failure => {
                // A node that fails fast must not look like a fast one: each failure counts as
                // twice the latency known so far.
                let doubled = 2.0 * f64::from_bits(self.latency.load(Relaxed)).max(FAILURE / 2.0);
                self.sample(elapsed.max(doubled.min(WORST)), now);
                // It did accept the connection, which is all that ejection is about.
                self.readmit();
            }
            Outcome::Fault => {
                // Nor must one that breaks at every call, while one call of many that breaks is no reason to go elsewhere.
                let known = f64::from_bits(self.latency.load(Relaxed)).max(FAILURE / 2.0);
                let times = if self.faults.fetch_add(1, Relaxed) == 0 { 1.0 } else { 2.0 };
                self.sample(elapsed.max((times * known).min(WORST)), now);
                self.readmit();
            }
            Outcome::Refused => {
                // Calls that were under way when the node went are one refusal, not many, and of
                // several that end at once one counts.
                let known = self.ejected_at.load(Relaxed);
                if nanos(started) > known
                    && self.ejected_at.compare_exchange(known, now, Relaxed, Relaxed).is_ok()
                {
                    self.refusals.fetch_add(1, Relaxed);
                    self.probe_at.store(now.saturating_add(self.ejection()), Relaxed);
                }
            }
            Outcome::Cancelled => {
                // A probe given up proves nothing: let the next caller have it.
                let _ = self.probe_at.fetch_update(Relaxed, Relaxed, |probe_at| {
                    (probe_at > now && nanos(started) > self.ejected_at.load(Relaxed))
                        .then_some(now)
                });
            }
        }
        took
    }

    fn readmit(&self) {
        if self.probe_at.load(Relaxed) != 0 {
            self.refusals.store(0, Relaxed);
            self.probe_at.store(0, Relaxed);
        }
    }

    /// How long the node is left out after so many refusals, in nanoseconds: doubled each time and
    /// up to a quarter shorter, so that callers do not probe in step.
    fn ejection(&self) -> u64 {
        let (first, longest) = EJECTION;
        let doublings = self.refusals.load(Relaxed).saturating_sub(1).min(16);
        let full = first.saturating_mul(1 << doublings).min(longest);
        (full.as_nanos() as f64 * (1.0 - 0.25 * fastrand::f64())) as u64
    }
}

impl Attempt {
    pub(super) fn on(live: &Arc<Live>) -> Self {
        live.in_flight.fetch_add(1, Relaxed);
        Self { live: Arc::clone(live), started: Instant::now(), finished: false }
    }

    /// Reports how the attempt ended.
    pub fn finish(self, outcome: Outcome) {
        self.timed(outcome);
    }

    /// Reports how the attempt ended; returns how long it took.
    pub(crate) fn timed(mut self, outcome: Outcome) -> Duration {
        self.finished = true;
        self.live.finish(outcome, self.started)
    }

    /// When the attempt started.
    pub fn started(&self) -> Instant {
        self.started
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.finished {
            self.live.finish(Outcome::Cancelled, self.started);
        }
    }
}
