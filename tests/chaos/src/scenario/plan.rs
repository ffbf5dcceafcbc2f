//! What a scenario is given.

use std::time::Duration;

/// How long and how hard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// Time of this scenario.
    pub(crate) time: Duration,
    /// Low rates, and no verdict that depends on the machine's speed.
    pub(crate) bounded: bool,
}
