//! Retries in proportion to calls: at most a tenth more load, however much fails.
//!
//! Counted over a sliding window of ten seconds in slots of one. A floor of ten retries a second
//! lets quiet callers retry at all; it is bounded, so it cannot amplify an outage.

use tokio::time::Instant;

use crate::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

const SLOTS: usize = 10;
/// Retries per hundred calls.
const PERCENT: u64 = 10;
/// Retries always allowed within a window.
const FLOOR: u64 = 10 * SLOTS as u64;

/// The retry budget of one service as one client sees it.
#[derive(Debug)]
pub(crate) struct Budget {
    start: Instant,
    slots: [Slot; SLOTS],
}

#[derive(Debug, Default)]
struct Slot {
    /// The second this slot counts.
    second: AtomicU64,
    calls: AtomicU32,
    retries: AtomicU32,
}

impl Budget {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), slots: Default::default() }
    }

    /// Counts a call that was made for the first time.
    pub(crate) fn deposit(&self) {
        self.slot(self.now()).calls.fetch_add(1, Relaxed);
    }

    /// True, and counted, when one more retry is within the budget.
    pub(crate) fn withdraw(&self) -> bool {
        let now = self.now();
        // Counted before it is known to be allowed, so that threads that ask at once cannot all get
        // the last one.
        let own = &self.slot(now).retries;
        own.fetch_add(1, Relaxed);
        let (mut calls, mut retries) = (0, 0);
        for slot in &self.slots {
            if now.saturating_sub(slot.second.load(Relaxed)) < SLOTS as u64 {
                calls += u64::from(slot.calls.load(Relaxed));
                retries += u64::from(slot.retries.load(Relaxed));
            }
        }
        let allowed = retries <= FLOOR.max(calls * PERCENT / 100);
        if !allowed {
            // The slot may have been emptied meanwhile.
            let _ = own.fetch_update(Relaxed, Relaxed, |retries| retries.checked_sub(1));
        }
        allowed
    }

    fn now(&self) -> u64 {
        // Seconds are counted from one window in, so that an untouched slot is never current.
        self.start.elapsed().as_secs() + SLOTS as u64
    }

    /// The slot of second `now`, emptied if it still counts an older one. Two threads may both
    /// empty it in the same instant; the few counts lost make the budget stricter, not looser.
    fn slot(&self, now: u64) -> &Slot {
        let slot = &self.slots[(now % SLOTS as u64) as usize];
        let counted = slot.second.load(Relaxed);
        if counted != now && slot.second.compare_exchange(counted, now, Relaxed, Relaxed).is_ok() {
            slot.calls.store(0, Relaxed);
            slot.retries.store(0, Relaxed);
        }
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn retries_are_a_tenth_of_calls() {
        let budget = Budget::new();
        for _ in 0..5_000 {
            budget.deposit();
        }
        assert_eq!((0..5_000).filter(|_| budget.withdraw()).count(), 500);
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_caller_has_the_floor_and_gets_it_back() {
        let budget = Budget::new();
        let spent = |budget: &Budget| (0..1_000).filter(|_| budget.withdraw()).count() as u64;
        assert_eq!(spent(&budget), FLOOR);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(spent(&budget), 0);
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(spent(&budget), FLOOR);
    }
}
