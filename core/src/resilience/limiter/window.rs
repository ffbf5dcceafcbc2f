//! Counts of durations between two looks at them.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// Buckets per doubling: a duration is known to an eighth.
const STEPS: u32 = 8;
/// From 1 µs to 2^27 µs, a little over two minutes.
const BUCKETS: usize = (STEPS * 27) as usize;

/// Durations counted without a lock.
#[derive(Debug)]
pub(super) struct Durations(Box<[AtomicU32]>);

/// A look at them.
#[derive(Debug)]
pub(super) struct Counts(Vec<u32>);

impl Durations {
    pub(super) fn new() -> Self {
        Self((0..BUCKETS).map(|_| AtomicU32::new(0)).collect())
    }

    pub(super) fn record(&self, nanos: u64) {
        self.0[bucket(nanos)].fetch_add(1, Relaxed);
    }

    /// Everything counted since the last time.
    pub(super) fn take(&self) -> Counts {
        Counts(self.0.iter().map(|bucket| bucket.swap(0, Relaxed)).collect())
    }
}

impl Counts {
    /// How many.
    pub(super) fn total(&self) -> u64 {
        self.0.iter().copied().map(u64::from).sum()
    }

    /// The duration that `percent` of all are no longer than; `None` when nothing was counted.
    pub(super) fn percentile(&self, percent: u64) -> Option<Duration> {
        let rank = (self.total() * percent).div_ceil(100).max(1);
        let mut seen = 0;
        self.0.iter().enumerate().find_map(|(index, count)| {
            seen += u64::from(*count);
            (seen >= rank).then(|| middle(index))
        })
    }
}

/// The top bits of the duration in eighths of a microsecond select the bucket.
fn bucket(nanos: u64) -> usize {
    let eighths = (nanos / 125).max(u64::from(STEPS));
    let doubling = eighths.ilog2() - STEPS.ilog2();
    let step = (eighths >> doubling) as u32 - STEPS;
    ((doubling * STEPS + step) as usize).min(BUCKETS - 1)
}

fn middle(index: usize) -> Duration {
    let (doubling, step) = (index as u32 / STEPS, index as u64 % u64::from(STEPS));
    Duration::from_nanos(((2 * (u64::from(STEPS) + step) + 1) << doubling) * 125 / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_an_eighth_and_taken_once() {
        let durations = Durations::new();
        for micros in 1..=1_000_u64 {
            durations.record(micros * 1_000);
        }
        let counts = durations.take();
        for (percent, exact) in [(10, 100.0), (50, 500.0), (90, 900.0)] {
            let found = counts.percentile(percent).expect("counted").as_secs_f64() * 1e6;
            assert!((0.9..=1.1).contains(&(found / exact)), "{found} µs for {exact}");
        }
        assert_eq!(durations.take().percentile(50), None);
    }

    #[test]
    fn extremes_land_in_the_outer_buckets() {
        assert_eq!((bucket(0), bucket(u64::MAX)), (0, BUCKETS - 1));
    }
}
