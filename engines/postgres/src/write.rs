//! Changes: those that wait while a transaction is made are the next one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use micro::store::Batch;
use micro::{Code, Error, Result};
use tokio::sync::oneshot;

use crate::queue::{Job, Work, size};
use crate::shared::Shared;
use crate::tidy::tidy;
use crate::transact::tried;

/// Of one transaction.
const MOST_BATCHES: usize = 256;
const MOST_BYTES: usize = 8 << 20;
/// How often what is not needed any more is removed.
const TIDY: Duration = Duration::from_secs(30);

/// Makes changes.
pub(crate) async fn apply(shared: &Arc<Shared>, batch: Batch) -> Result<Vec<u64>> {
    enqueue(shared, Work::Batch(batch)).await
}

/// Deletes records that have ended, and tells those that watch.
pub(crate) async fn end(shared: &Arc<Shared>) -> Result<()> {
    enqueue(shared, Work::End).await.map(drop)
}

async fn enqueue(shared: &Arc<Shared>, work: Work) -> Result<Vec<u64>> {
    let _room = shared.queue.room.acquire().await.map_err(Error::unexpected)?;
    let (answer, answered) = oneshot::channel();
    let is_first = {
        let mut inner = shared.queue.inner();
        let process = std::process::id();
        let is_first = inner.at_it != Some(process);
        if is_first {
            // In a child of a fork, what waits is its parent's.
            inner.waiting.clear();
            inner.at_it = Some(process);
        }
        inner.waiting.push_back(Job { work, answer });
        is_first
    };
    if is_first {
        // On its own, so that one caller that gives up does not take the others along.
        tokio::spawn(drain(AtIt { shared: shared.clone(), is_done: false }));
    }
    answered.await.unwrap_or_else(|_| {
        let text = "the runtime ended while changes were made: they may have been made or not";
        Err(Error::unavailable(text))
    })
}

/// While there is something to do.
struct AtIt {
    shared: Arc<Shared>,
    /// It has said so itself, and another may be at it already.
    is_done: bool,
}

impl Drop for AtIt {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        let mut inner = self.shared.queue.inner();
        if inner.at_it == Some(std::process::id()) {
            inner.at_it = None;
            inner.waiting.clear();
        }
    }
}

async fn drain(mut at_it: AtIt) {
    let shared = &at_it.shared.clone();
    loop {
        let mut group: Vec<Job> = Vec::new();
        let is_tidy;
        {
            let mut inner = shared.queue.inner();
            let mut bytes = 0;
            while let Some(job) = inner.waiting.front() {
                let Work::Batch(batch) = &job.work else {
                    if group.is_empty()
                        && let Some(job) = inner.waiting.pop_front()
                    {
                        group.push(job);
                    }
                    break;
                };
                bytes += size(batch);
                if group.len() == MOST_BATCHES || (bytes > MOST_BYTES && !group.is_empty()) {
                    break;
                }
                let Some(job) = inner.waiting.pop_front() else { break };
                // Nothing was done for one that gave up.
                if !job.answer.is_closed() {
                    group.push(job);
                }
            }
            if group.is_empty() {
                at_it.is_done = true;
                inner.at_it = None;
                return;
            }
            is_tidy = inner.tidied.is_some_and(|tidied| tidied.elapsed() < TIDY);
            if !is_tidy {
                inner.tidied = Some(Instant::now());
            }
        }
        run(shared, group).await;
        if !is_tidy && let Err(error) = tidy(shared).await {
            tracing::debug!(%error, "what has ended cannot be removed");
        }
    }
}

/// Does what a group asks for, and answers it.
async fn run(shared: &Arc<Shared>, group: Vec<Job>) {
    if let Some(Job { work: Work::End, .. }) = group.first() {
        let done = tried(shared, None).await;
        for job in group {
            let _ = job.answer.send(done.as_ref().map(|_| Vec::new()).map_err(Error::clone));
        }
        return;
    }
    let batches: Vec<&Batch> = group.iter().filter_map(|job| job.work.batch()).collect();
    match tried(shared, Some(&batches)).await {
        Ok(results) => {
            for (job, result) in group.into_iter().zip(results) {
                let _ = job.answer.send(result);
            }
        }
        Err(error) if error.code() == Code::Unavailable || group.len() == 1 => {
            for job in group {
                let _ = job.answer.send(Err(error.clone()));
            }
        }
        // One of them may be the reason: each has its own then.
        Err(_) => {
            for job in group {
                let Some(batch) = job.work.batch() else { continue };
                let done = tried(shared, Some(&[batch])).await;
                let done = done.and_then(|mut results| results.pop().unwrap_or_else(|| Ok(vec![])));
                let _ = job.answer.send(done);
            }
        }
    }
}
