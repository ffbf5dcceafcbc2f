//! How long to wait before trying again.

use std::time::Duration;

/// Past this attempt go-micro waits [`LONGEST`].
const STEPS: u32 = 13;
const LONGEST: Duration = Duration::from_secs(120);
const UNIT_MILLIS: f64 = 100.0;

/// The wait before an attempt, by its index from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Backoff {
    /// go-micro's formula, spread evenly from half to the whole of it, so that callers that failed
    /// together do not come back together.
    #[default]
    Jittered,
    /// go-micro's formula to the millisecond: `trunc(n^e)` times 100 ms, two minutes past n = 13
    /// (`util/backoff/backoff.go:11-16`).
    GoMicro,
    /// No wait at all.
    None,
}

impl Backoff {
    /// The wait before attempt `attempt`; the first is 0 and never waits.
    pub fn wait(self, attempt: u32) -> Duration {
        match self {
            Self::None => Duration::ZERO,
            Self::GoMicro => formula(attempt),
            Self::Jittered => formula(attempt).mul_f64(0.5 + 0.5 * fastrand::f64()),
        }
    }
}

fn formula(attempt: u32) -> Duration {
    if attempt > STEPS {
        return LONGEST;
    }
    let units = f64::from(attempt).powf(std::f64::consts::E).trunc();
    Duration::from_millis((units * UNIT_MILLIS) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_those_of_go_micro() {
        let millis: Vec<_> = (0..15).map(|n| Backoff::GoMicro.wait(n).as_millis()).collect();
        assert_eq!(
            millis,
            [
                0, 100, 600, 1_900, 4_300, 7_900, 13_000, 19_800, 28_500, 39_200, 52_200, 67_700,
                85_800, 106_600, 120_000
            ]
        );
    }

    #[test]
    fn jitter_stays_between_half_and_the_whole() {
        for _ in 0..1_000 {
            let wait = Backoff::Jittered.wait(2);
            assert!((300..=600).contains(&wait.as_millis()), "{wait:?}");
        }
        assert_eq!(Backoff::Jittered.wait(0), Duration::ZERO);
    }
}
