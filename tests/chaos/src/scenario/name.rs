//! The scenarios by name.

use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

/// What can be run alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Name {
    Rolling,
    Overload,
    Processor,
    Slow,
    Mayhem,
    Messages,
}

impl Name {
    pub(crate) const ALL: [Self; 6] =
        [Self::Rolling, Self::Overload, Self::Processor, Self::Slow, Self::Mayhem, Self::Messages];

    /// What is done and promised, in a sentence.
    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Rolling => {
                "Three nodes are restarted one after the other (SIGTERM, drain, new process), ten times over, under 2 000 calls a second: half idempotent, half not. No call fails."
            }
            Self::Overload => {
                "A node whose handler has 16 workers of 10 ms gets five times the calls it can answer, each with 250 ms to live. The limiter keeps it answering; without it, calls die in line."
            }
            Self::Processor => {
                "As overload, for a handler that keeps a processor busy, on a thread of its own."
            }
            Self::Slow => {
                "One node of five takes 50 times as long. P2C callers hardly notice, round-robin callers do."
            }
            Self::Mayhem => {
                "Four nodes are killed, paused, restarted and put behind slow and lossy links at random. Every call ends in time, fails only for a fault that was there, and the fleet recovers."
            }
            Self::Messages => {
                "Publishers and consumers of a durable broker, the owner of its files among them, are killed and stopped every few seconds. Nothing acknowledged is lost, no attempt is made twice, keys keep their order, poison ends in the dead letters."
            }
        }
    }

    /// Its part of the time, when `all` of these are run.
    pub(crate) fn share(self, all: &[Self]) -> f64 {
        let weight = |name: Self| match name {
            Self::Rolling | Self::Slow => 1.0,
            Self::Overload | Self::Processor => 1.5,
            Self::Mayhem | Self::Messages => 2.0,
        };
        weight(self) / all.iter().copied().map(weight).sum::<f64>()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rolling => "rolling",
            Self::Overload => "overload",
            Self::Processor => "processor",
            Self::Slow => "slow",
            Self::Mayhem => "mayhem",
            Self::Messages => "messages",
        })
    }
}
