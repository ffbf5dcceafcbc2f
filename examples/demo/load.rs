//! Calls, many at once, counted by the process that answered.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use micro::{Client, Error, Json};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::Outcome;

/// Longest wait for the calls of a step.
const PATIENCE: Duration = Duration::from_secs(30);

/// What became of the calls.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) by_process: BTreeMap<u32, u64>,
    pub(crate) failures: Vec<Error>,
    pub(crate) slowest: Duration,
}

impl Tally {
    /// Calls that one process answered.
    pub(crate) fn by(&self, process: u32) -> u64 {
        self.by_process.get(&process).copied().unwrap_or_default()
    }

    /// Calls that were answered.
    pub(crate) fn answered(&self) -> u64 {
        self.by_process.values().sum()
    }
}

/// Calls under way.
pub(crate) struct Load {
    shared: Arc<Shared>,
    callers: JoinSet<()>,
}

struct Shared {
    client: Client,
    over: AtomicBool,
    tally: Mutex<Tally>,
    /// Calls that ended, one way or the other.
    ended: watch::Sender<u64>,
}

impl Load {
    /// Starts callers that call again as soon as they have an answer.
    pub(crate) fn start(client: &Client, callers: usize) -> Self {
        let shared = Arc::new(Shared {
            client: client.clone(),
            over: AtomicBool::new(false),
            tally: Mutex::default(),
            ended: watch::Sender::new(0),
        });
        let callers = (0..callers).map(|_| Arc::clone(&shared).call_on()).collect();
        Self { shared, callers }
    }

    /// Waits until so many more calls have ended.
    pub(crate) async fn calls(&self, more: u64) -> Outcome {
        let mut ended = self.shared.ended.subscribe();
        let goal = *ended.borrow() + more;
        timeout(PATIENCE, ended.wait_for(|ended| *ended >= goal))
            .await
            .map_err(|_| format!("{more} calls took longer than {PATIENCE:?}"))??;
        Ok(())
    }

    /// Waits until a process has answered.
    pub(crate) async fn until_answered_by(&self, process: u32) -> Outcome {
        let mut ended = self.shared.ended.subscribe();
        timeout(PATIENCE, ended.wait_for(|_| self.shared.tally().by(process) > 0))
            .await
            .map_err(|_| format!("process {process} was not called within {PATIENCE:?}"))??;
        Ok(())
    }

    /// What became of the calls so far; counting begins anew.
    pub(crate) fn take(&self) -> Tally {
        std::mem::take(&mut *self.shared.tally())
    }

    /// Lets the calls under way finish.
    pub(crate) async fn end(mut self) -> Outcome<Tally> {
        self.shared.over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.callers.join_next().await {
            ended?;
        }
        Ok(self.take())
    }
}

impl Shared {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call_on(self: Arc<Self>) {
        while !self.over.load(Ordering::Relaxed) {
            let begun = Instant::now();
            let request = Json(json!({ "name": "Ada" }));
            let reply: micro::Result<Json<String>> =
                self.client.call("greeter", "Greeter.Hello", request).await;
            let answer = reply.and_then(|Json(text)| process_of(&text));
            {
                let mut tally = self.tally();
                tally.slowest = tally.slowest.max(begun.elapsed());
                match answer {
                    Ok(process) => *tally.by_process.entry(process).or_default() += 1,
                    Err(error) => tally.failures.push(error),
                }
            }
            self.ended.send_modify(|ended| *ended += 1);
        }
    }
}

/// Who answered `Hello, Ada! I am process 4711.`
fn process_of(greeting: &str) -> micro::Result<u32> {
    greeting
        .rsplit_once(' ')
        .and_then(|(_, process)| process.trim_end_matches('.').parse().ok())
        .ok_or_else(|| Error::internal(format!("an unexpected greeting: {greeting}")))
}
