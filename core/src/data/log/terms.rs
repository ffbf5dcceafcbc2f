//! What is written, how safely, and how the log is kept.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use super::format::Record;

/// How a log is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// Bytes of a segment.
    pub(crate) segment_bytes: u64,
    /// How long what was acknowledged as written may wait for its sync.
    pub(crate) sync_within: Duration,
    /// Bytes of records that wait to be written.
    pub(crate) waiting_bytes: usize,
    /// Bytes of one record.
    pub(crate) record_bytes: usize,
    /// Bytes, from the newest on, whose checksums are verified when the log is opened; all are when they are read.
    pub(crate) verified_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            sync_within: Duration::from_secs(1),
            waiting_bytes: 16 << 20,
            record_bytes: 16 << 20,
            verified_bytes: 1 << 30,
        }
    }
}

/// What an acknowledgement means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// The system has it: it survives this process, and most often a power cut.
    Written,
    /// The disk has it.
    Synced,
}

/// A record to be written.
#[derive(Debug, Clone)]
pub(crate) struct Append {
    pub(crate) topic: Bytes,
    /// Its body, in pieces.
    pub(crate) body: [Bytes; 2],
}

impl Append {
    pub(super) fn size(&self) -> usize {
        Record::size(self.topic.len(), self.body.iter().map(Bytes::len).sum())
    }
}

/// Which records of a topic are not shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Hidden {
    /// All before.
    pub(crate) before: u64,
    /// And these.
    pub(crate) numbers: BTreeSet<u64>,
}

impl Hidden {
    /// Whether this one is not shown.
    pub(crate) fn has(&self, number: u64) -> bool {
        number < self.before || self.numbers.contains(&number)
    }
}
