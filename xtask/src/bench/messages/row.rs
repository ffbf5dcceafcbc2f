//! What the rows of messages have in common.

use crate::bench::row::{Goal, Sample, Spec};

/// Bytes of each message.
pub(super) const SIZE: u32 = 1024;

pub(super) const fn spec(
    id: &'static str,
    title: &'static str,
    unit: &'static str,
    goal: Goal,
) -> Spec {
    Spec { id, title, unit, goal }
}

pub(super) fn sample(value: f64) -> Sample {
    Sample { value, cpu_us: None }
}
