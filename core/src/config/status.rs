//! How a configuration is doing.

use std::time::SystemTime;

use crate::error::Error;

/// How a configuration is doing.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Status {
    /// Grows with each change of a value, from 1.
    pub version: u64,
    /// The sources, in the order in which they are merged.
    pub sources: Vec<SourceStatus>,
}

impl Status {
    /// Whether every source says what is in use.
    pub fn is_current(&self) -> bool {
        self.sources.iter().all(|source| matches!(source.state, SourceState::Current))
    }
}

/// How a source is doing.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SourceStatus {
    /// Its name.
    pub name: String,
    /// Whether a configuration is loaded without it.
    pub is_optional: bool,
    /// Whether what it says is in use.
    pub state: SourceState,
}

/// Whether what a source says is in use.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum SourceState {
    /// It is.
    Current,
    /// It cannot be read. What it said last is in use, and it is tried again.
    Failing {
        /// Why.
        error: Error,
        /// Since when.
        since: SystemTime,
    },
    /// What it says now is wrong. What it said last is in use.
    Refused {
        /// What is wrong, and where.
        error: Error,
        /// Since when.
        since: SystemTime,
    },
}

impl SourceState {
    /// What is wrong.
    pub fn error(&self) -> Option<&Error> {
        match self {
            Self::Current => None,
            Self::Failing { error, .. } | Self::Refused { error, .. } => Some(error),
        }
    }
}

/// Something that happened to a configuration.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A value is another now.
    Changed {
        /// The new version.
        version: u64,
    },
    /// A source cannot be read. It is told once, until the reason is another.
    Failed {
        /// Its name.
        source: String,
        /// Why.
        error: Error,
    },
    /// What a source says is wrong, and changed nothing.
    Refused {
        /// Its name.
        source: String,
        /// What is wrong, and where.
        error: Error,
    },
    /// What a source says is in use again.
    Recovered {
        /// Its name.
        source: String,
    },
    /// So many events were not read in time and are left out.
    Missed {
        /// How many.
        count: u64,
    },
}
