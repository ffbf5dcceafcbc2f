//! What the owner of a data folder is asked about it, and answers.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::types::{Batch, DeadLetters, Letters, Topic, Topics};
use crate::broker::Start;
use crate::broker::stored::{millis, time};

/// Endpoint that is asked, in JSON.
pub(in crate::broker::durable) const ADMIN: &str = "Messages.Admin";

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::broker::durable) enum Ask {
    Topics { after: Option<String>, most: usize },
    Topic { name: String },
    DeadLetters { letters: Letters, from: u64, most: usize },
    Replay { topic: String, queue: String, start: From },
    Retry { letters: Letters, from: u64 },
    DropQueue { topic: String, queue: String },
    DropLetters { letters: Letters, from: u64 },
    DropMessages { topic: String, last: u64 },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::broker::durable) enum Answer {
    Topics(Topics),
    Topic(Topic),
    DeadLetters(DeadLetters),
    Batch(Batch),
    Done,
}

/// Where a queue goes on.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::broker::durable) enum From {
    New,
    Sequence(u64),
    /// In milliseconds since 1970.
    Time(u64),
}

impl std::convert::From<Start> for From {
    fn from(start: Start) -> Self {
        match start {
            Start::New => Self::New,
            Start::First => Self::Sequence(0),
            Start::Sequence(sequence) => Self::Sequence(sequence),
            Start::Time(time) => Self::Time(millis(time)),
        }
    }
}

impl std::convert::From<From> for Start {
    fn from(from: From) -> Self {
        match from {
            From::New => Self::New,
            From::Sequence(sequence) => Self::Sequence(sequence),
            From::Time(at) => Self::Time(time(at).unwrap_or(SystemTime::UNIX_EPOCH)),
        }
    }
}
