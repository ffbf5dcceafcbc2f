//! Latencies in buckets that are never more than an eighth apart, counted without a lock.

use std::time::Duration;

use crate::atomic::{AtomicU64, Ordering};

/// Buckets per doubling.
const STEPS: u32 = 8;
/// Doublings covered, from 1 µs: up to 2^27 µs, a little over two minutes.
const DOUBLINGS: u32 = 27;
const BUCKETS: usize = (STEPS * DOUBLINGS) as usize;

/// Counts of durations from 1 µs to two minutes; shorter and longer ones fall in the outer buckets.
#[derive(Debug)]
pub struct Histogram {
    buckets: Box<[AtomicU64]>,
    total_nanos: AtomicU64,
}

/// Percentiles of a [`Histogram`], each the upper edge of its bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quantiles {
    /// Durations counted.
    pub count: u64,
    /// Their sum.
    pub total: Duration,
    /// Half are no longer than this.
    pub p50: Duration,
    /// 90 % are no longer than this.
    pub p90: Duration,
    /// 99 % are no longer than this.
    pub p99: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            total_nanos: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.total_nanos.fetch_add(nanos, Ordering::Relaxed);
        self.buckets[bucket(nanos)].fetch_add(1, Ordering::Relaxed);
    }

    /// Percentiles of everything counted so far.
    pub fn quantiles(&self) -> Quantiles {
        let counts: Vec<u64> = self.buckets.iter().map(|b| b.load(Ordering::Relaxed)).collect();
        let count: u64 = counts.iter().sum();
        let at = |fraction: f64| {
            let rank = ((count as f64) * fraction).ceil() as u64;
            let mut seen = 0;
            for (index, bucket) in counts.iter().enumerate() {
                seen += bucket;
                if seen >= rank.max(1) {
                    return upper_edge(index);
                }
            }
            Duration::ZERO
        };
        Quantiles {
            count,
            total: Duration::from_nanos(self.total_nanos.load(Ordering::Relaxed)),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
        }
    }
}

/// The top bits of the duration in eighths of a microsecond select the bucket.
fn bucket(nanos: u64) -> usize {
    let eighths = (nanos / 125).max(u64::from(STEPS));
    let doubling = eighths.ilog2() - STEPS.ilog2();
    let step = (eighths >> doubling) as u32 - STEPS;
    ((doubling * STEPS + step) as usize).min(BUCKETS - 1)
}

fn upper_edge(index: usize) -> Duration {
    let (doubling, step) = (index as u32 / STEPS, index as u64 % u64::from(STEPS));
    Duration::from_nanos(((u64::from(STEPS) + step + 1) << doubling) * 125)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_an_eighth() {
        let histogram = Histogram::default();
        for micros in 1..=1000 {
            histogram.record(Duration::from_micros(micros));
        }
        let quantiles = histogram.quantiles();
        assert_eq!(quantiles.count, 1000);
        for (found, exact) in
            [(quantiles.p50, 500.0), (quantiles.p90, 900.0), (quantiles.p99, 990.0)]
        {
            let ratio = found.as_secs_f64() * 1e6 / exact;
            assert!((1.0..=1.13).contains(&ratio), "{found:?} for {exact} µs");
        }
    }

    #[test]
    fn extremes_land_in_the_outer_buckets() {
        assert_eq!(bucket(0), 0);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert!((1..BUCKETS).all(|i| upper_edge(i) > upper_edge(i - 1)));
    }
}
