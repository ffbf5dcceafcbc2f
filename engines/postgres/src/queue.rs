//! What waits to be written.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use micro::Result;
use micro::store::{Batch, Change, What};
use tokio::sync::{Semaphore, oneshot};

/// Batches that wait, at most; who comes later waits to wait.
const WAITING: usize = 1024;

/// What waits to be written.
#[derive(Debug)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    pub(crate) room: Semaphore,
}

#[derive(Debug, Default)]
pub(crate) struct Inner {
    pub(crate) waiting: VecDeque<Job>,
    /// The process that is at it.
    pub(crate) at_it: Option<u32>,
    pub(crate) tidied: Option<Instant>,
}

#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) work: Work,
    pub(crate) answer: oneshot::Sender<Result<Vec<u64>>>,
}

#[derive(Debug)]
pub(crate) enum Work {
    Batch(Batch),
    /// Deletes what has ended.
    End,
}

impl Default for Queue {
    fn default() -> Self {
        Self { inner: Mutex::default(), room: Semaphore::new(WAITING) }
    }
}

impl Queue {
    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    pub(crate) fn batch(&self) -> Option<&Batch> {
        match self {
            Self::Batch(batch) => Some(batch),
            Self::End => None,
        }
    }
}

/// Bytes of its values.
pub(crate) fn size(batch: &Batch) -> usize {
    let value = |change: &Change| match &change.what {
        What::Write { value, .. } => value.len(),
        _ => 0,
    };
    batch.changes.iter().map(value).sum()
}
