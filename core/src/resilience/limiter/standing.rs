//! The line before the handlers: calls that have arrived and wait for the processor.
//!
//! That wait is pure queueing, so it needs no comparison. Yet a short burst, or a process that was
//! stopped for a moment, also makes calls wait, and is worked off best by working. So calls are
//! refused only while the line *stands*: for a whole window not one call got through quickly.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use super::pushback::pushback;

/// How long the line has to stand.
const WINDOW: Duration = Duration::from_millis(100);
/// Waits shorter than this make no line.
const SHORT: Duration = Duration::from_millis(10);

/// Watches how long calls wait to be started.
#[derive(Debug)]
pub(crate) struct StandingQueue {
    start: Instant,
    patience: Option<Duration>,
    /// End of the window, in nanoseconds since `start`.
    until: AtomicU64,
    /// A call of this window waited no longer than [`SHORT`].
    quick: AtomicBool,
    standing: AtomicBool,
    shed: AtomicU64,
}

impl StandingQueue {
    pub(super) fn new(patience: Option<Duration>) -> Self {
        Self {
            start: Instant::now(),
            patience,
            until: AtomicU64::new(0),
            quick: AtomicBool::new(true),
            standing: AtomicBool::new(false),
            shed: AtomicU64::new(0),
        }
    }

    /// A call that arrived at `arrived` is about to be started at `now`; its caller waits for
    /// `budget`. An error says how long to stay away.
    pub(crate) fn pass(
        &self,
        arrived: Instant,
        now: Instant,
        budget: Option<Duration>,
    ) -> Result<(), Duration> {
        let waited = now.saturating_duration_since(arrived);
        if waited <= SHORT && !self.quick.load(Relaxed) {
            self.quick.store(true, Relaxed);
            self.standing.store(false, Relaxed);
        }
        let moment = now.saturating_duration_since(self.start).as_nanos() as u64;
        let until = self.until.load(Relaxed);
        if moment >= until {
            let next = moment + WINDOW.as_nanos() as u64;
            if self.until.compare_exchange(until, next, Relaxed, Relaxed).is_ok() {
                // After a pause there is no line, whatever the last window was.
                let fresh = moment - until < WINDOW.as_nanos() as u64;
                let quick = self.quick.swap(waited <= SHORT, Relaxed);
                self.standing.store(fresh && !quick && waited > SHORT, Relaxed);
            }
        }
        if waited <= SHORT || !self.standing.load(Relaxed) {
            return Ok(());
        }
        match self.patience.or(budget.map(|budget| budget / 4)) {
            Some(patience) if waited > patience.max(SHORT) => {
                self.shed.fetch_add(1, Relaxed);
                Err(pushback(waited))
            }
            _ => Ok(()),
        }
    }

    /// Calls refused so far.
    pub(crate) fn shed(&self) -> u64 {
        self.shed.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Option<Duration> = Some(Duration::from_millis(200));
    const STEP: Duration = Duration::from_millis(1);

    /// Calls that waited for `waited`, one a millisecond from `from` on; how many were refused.
    fn refused(line: &StandingQueue, from: Instant, calls: u32, waited: Duration) -> u32 {
        let refused = |call: &u32| {
            let now = from + STEP * *call;
            line.pass(now - waited, now, BUDGET).is_err()
        };
        (0..calls).filter(refused).count() as u32
    }

    #[test]
    fn a_burst_is_worked_off() {
        let line = StandingQueue::new(None);
        let start = line.start + Duration::from_secs(9);
        assert_eq!(refused(&line, start, 50, Duration::ZERO), 0);
        assert_eq!(refused(&line, start + STEP * 50, 90, Duration::from_millis(150)), 0);
    }

    #[test]
    fn a_line_that_stands_is_shortened_to_a_quarter_of_what_callers_give() {
        let line = StandingQueue::new(None);
        let start = line.start + Duration::from_secs(9);
        refused(&line, start, 500, Duration::from_millis(60));
        assert_eq!(refused(&line, start + STEP * 500, 100, Duration::from_millis(60)), 100);
        assert_eq!(refused(&line, start + STEP * 600, 100, Duration::from_millis(40)), 0);
        assert_eq!(refused(&line, start + STEP * 700, 1, Duration::ZERO), 0);
        assert_eq!(refused(&line, start + STEP * 701, 50, Duration::from_millis(60)), 0);
    }

    #[test]
    fn callers_without_a_deadline_may_wait() {
        let line = StandingQueue::new(None);
        let start = line.start + Duration::from_secs(9);
        for call in 0..1_000 {
            let now = start + STEP * call;
            assert!(line.pass(now - Duration::from_secs(5), now, None).is_ok());
        }
    }

    #[test]
    fn after_a_pause_no_call_is_refused() {
        let line = StandingQueue::new(None);
        let start = line.start + Duration::from_secs(9);
        refused(&line, start, 500, Duration::from_millis(60));
        let later = start + Duration::from_secs(60);
        assert_eq!(refused(&line, later, 90, Duration::from_millis(60)), 0);
    }
}
