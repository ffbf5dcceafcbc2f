//! What waits for the writer.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::segment;
use super::terms::{Append, Level};
use crate::error::Result;

/// Bytes of a batch, but for one record that has more.
const BATCH_BYTES: usize = 4 << 20;

/// Records of one caller, to be written together.
pub(super) struct Submission {
    pub(super) records: Vec<Append>,
    pub(super) level: Level,
    pub(super) done: oneshot::Sender<Result<Range<u64>>>,
    /// Their part of what may wait to be written.
    pub(super) _room: OwnedSemaphorePermit,
}

/// What waits for the writer.
#[derive(Default)]
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    came: Condvar,
}

#[derive(Default)]
struct Waiting {
    submissions: VecDeque<Submission>,
    is_closed: bool,
}

impl Inbox {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands one over, or gives it back after the end.
    pub(super) fn push(&self, submission: Submission) -> Option<Submission> {
        let mut waiting = self.waiting();
        if waiting.is_closed {
            return Some(submission);
        }
        let was_empty = waiting.submissions.is_empty();
        waiting.submissions.push_back(submission);
        drop(waiting);
        if was_empty {
            self.came.notify_one();
        }
        None
    }

    /// Takes no more; what waits is written.
    pub(super) fn close(&self) {
        self.waiting().is_closed = true;
        self.came.notify_one();
    }

    /// Takes the next batch; an empty one at `until`, and none at the end.
    pub(super) fn take(&self, until: Option<Instant>) -> Option<Vec<Submission>> {
        let mut waiting = self.waiting();
        while waiting.submissions.is_empty() {
            if waiting.is_closed {
                return None;
            }
            waiting = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => return Some(Vec::new()),
                Some(left) => {
                    let woken = self.came.wait_timeout(waiting, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.came.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            };
        }
        let mut bytes = 0;
        let mut fits = |submission: &Submission| {
            bytes += segment::batch_size(submission.records.iter().map(Append::size));
            bytes <= BATCH_BYTES
        };
        let count = waiting.submissions.iter().map_while(|next| fits(next).then_some(())).count();
        Some(waiting.submissions.drain(..count.max(1)).collect())
    }
}
