//! How long to wait before trying again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Past this attempt go-micro waits [`LONGEST`].
const STEPS: u32 = 13;
const LONGEST: Duration = Duration::from_secs(120);
const UNIT_MILLIS: f64 = 100.0;

/// The wait before an attempt, by its index from 0.
#[derive(Clone, Default)]
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
    /// Whatever the function says of the index of the attempt that is to follow, from 1.
    Custom(Arc<Wait>),
}

type Wait = dyn Fn(u32) -> Duration + Send + Sync;

impl Backoff {
    /// Waits of one's own, by the index of the attempt that is to follow, from 1. A call that has less time left than it
    /// would wait fails at once.
    ///
    /// ```
    /// # use std::time::Duration;
    /// use micro::resilience::Backoff;
    ///
    /// let steady = Backoff::custom(|attempt| Duration::from_millis(50) * attempt.min(10));
    /// assert_eq!(steady.wait(2), Duration::from_millis(100));
    /// ```
    pub fn custom(wait: impl Fn(u32) -> Duration + Send + Sync + 'static) -> Self {
        Self::Custom(Arc::new(wait))
    }

    /// The wait before attempt `attempt`; the first is 0 and never waits.
    pub fn wait(&self, attempt: u32) -> Duration {
        match self {
            Self::Custom(_) if attempt == 0 => Duration::ZERO,
            Self::None => Duration::ZERO,
            Self::GoMicro => formula(attempt),
            Self::Jittered => formula(attempt).mul_f64(0.5 + 0.5 * fastrand::f64()),
            Self::Custom(wait) => wait(attempt),
        }
    }
}

/// Two functions are equal where they are one.
impl PartialEq for Backoff {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Custom(one), Self::Custom(other)) => Arc::ptr_eq(one, other),
            (Self::Custom(_), _) | (_, Self::Custom(_)) => false,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

impl Eq for Backoff {}

impl fmt::Debug for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Jittered => "Jittered",
            Self::GoMicro => "GoMicro",
            Self::None => "None",
            Self::Custom(_) => "Custom",
        })
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
