//! The wait that a refused caller is asked for.

use std::time::Duration;

/// Shortest and longest wait a refused caller is asked for.
const PUSHBACK: (Duration, Duration) = (Duration::from_millis(25), Duration::from_secs(2));

/// How long a refused caller should wait: about the length of the line, spread so that those who
/// were refused together do not come back together.
pub(super) fn pushback(line: Duration) -> Duration {
    line.mul_f64(1.0 + fastrand::f64()).clamp(PUSHBACK.0, PUSHBACK.1)
}
