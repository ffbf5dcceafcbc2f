//! A job that a node runs by itself.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::job::Job;
use super::ledger::MOST_RUNS;
use super::plan::due;
use super::run::{Outcome, Run, Running, Way, shortened};
use super::schedule::{Schedule, Tick, millis, time};
use crate::broker::{Delivered, Message};
use crate::error::Result;
use crate::metadata::Metadata;
use crate::telemetry::Trace;

/// Longest sleep: the clock may be set meanwhile.
const NAP: Duration = Duration::from_secs(30);
/// A clock that is put back by less is waited for.
const STEP: u64 = 1_000;

/// A job on its node.
pub(super) struct Own {
    job: Job,
    name: String,
    node: String,
    book: Mutex<Book>,
}

struct Book {
    schedule: Schedule,
    /// The last moment that was run or left out.
    done: Tick,
    runs: VecDeque<Run>,
}

impl Own {
    pub(super) fn new(node: &str, job: Job) -> Result<Arc<Self>> {
        let now = millis(SystemTime::now());
        let schedule = job.schedule()?.counted_from(now);
        let book = Mutex::new(Book { schedule, done: now, runs: VecDeque::new() });
        Ok(Arc::new(Self { name: job.named(), job, node: node.to_owned(), book }))
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When it runs next, and what is known of its runs.
    pub(super) fn status(&self) -> (Option<SystemTime>, Vec<Run>) {
        let book = self.book();
        let after = book.done.max(millis(SystemTime::now()));
        (book.schedule.after(after).map(time), book.runs.iter().cloned().collect())
    }

    /// Runs it whenever its time has come, until the token is cancelled; what is under way then goes on to its end.
    pub(super) async fn tick(self: Arc<Self>, way: Way, ending: CancellationToken) {
        loop {
            let (due, left) = self.plan();
            for tick in due {
                self.run(tick, &way, &ending).await;
                if ending.is_cancelled() {
                    return;
                }
                self.book().done = tick;
                // What was missed meanwhile is for the policy to say.
                if self.plan().0.first().is_none_or(|next| *next > tick) {
                    break;
                }
            }
            tokio::select! {
                () = sleep(left.min(NAP)) => {}
                () = ending.cancelled() => return,
            }
        }
    }

    /// What is due, and how long it is until the next.
    fn plan(&self) -> (Vec<Tick>, Duration) {
        let now = millis(SystemTime::now());
        let mut book = self.book();
        if matches!(book.schedule, Schedule::Every { .. }) && book.done > now + STEP {
            // The clock was put back: the interval goes on from here.
            book.schedule = book.schedule.clone().counted_from(now);
            book.done = now;
        }
        let due = due(&book.schedule, book.done, now, self.job.missed);
        let next = book.schedule.after(book.done.max(now)).unwrap_or(u64::MAX);
        (due, Duration::from_millis(next.saturating_sub(now)))
    }

    async fn run(&self, tick: Tick, way: &Way, ending: &CancellationToken) {
        for attempt in 1..=self.job.max_attempts {
            let begun = millis(SystemTime::now());
            self.remember(Run { attempt, ..Run::begun(tick, self.node.clone(), begun) });
            let running = Running { job: self.name.clone(), time: time(tick), attempt };
            let (outcome, took) = way.run(running, self.delivered(attempt)).await;
            {
                let mut book = self.book();
                if let Some(run) = book.runs.back_mut() {
                    run.took = Some(took);
                    run.outcome = if outcome.is_ok() { Outcome::Done } else { Outcome::Failed };
                    run.error = outcome.as_ref().err().map(|error| shortened(error.to_string()));
                }
            }
            let Err(error) = outcome else { return };
            tracing::warn!(job = self.name, attempt, %error, "a run of a job failed");
            if error.forbids_retry() || attempt == self.job.max_attempts {
                return;
            }
            let after = error.retry_after().unwrap_or_else(|| self.job.retry.wait(attempt));
            tokio::select! {
                () = sleep(after) => {}
                () = ending.cancelled() => return,
            }
        }
    }

    fn remember(&self, run: Run) {
        let mut book = self.book();
        book.runs.push_back(run);
        while book.runs.len() > MOST_RUNS {
            book.runs.pop_front();
        }
    }

    /// What layers see, as if a message had come.
    fn delivered(&self, attempt: u32) -> Arc<Delivered> {
        let mut message = Message::new(format!("jobs.{}", self.name), "");
        let mut headers = http::HeaderMap::new();
        Trace::root().write(&mut headers);
        message.headers = Metadata::from(headers);
        Arc::new(Delivered { message, attempt, sequence: None, published: SystemTime::now() })
    }
}
