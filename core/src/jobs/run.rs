//! A run of a job: what is remembered of it, and how it is carried out.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::schedule::{Tick, millis, time};
use crate::broker::{Delivered, Incoming, MessageHandler};
use crate::context::{Arrival, Context, Home};
use crate::error::{Error, Result};
use crate::server::failure::{panicked, told};

/// Bytes of an error that are kept.
const ERROR_BYTES: usize = 500;

/// The run of a job that a handler carries out, see [`Context::job`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Running {
    /// Name of the job.
    pub job: String,
    /// When it was to run.
    pub time: SystemTime,
    /// Which attempt at this run it is, from 1. A run whose node died is attempted again, whatever its handler had done by then.
    pub attempt: u32,
}

/// What is remembered of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Run {
    /// When it was to run.
    #[serde(with = "moment")]
    pub time: SystemTime,
    /// Which attempt at it this was, from 1.
    pub attempt: u32,
    /// Id of the node that ran it.
    pub node: String,
    /// When it began, by the clock of that node.
    #[serde(with = "moment")]
    pub began: SystemTime,
    /// How long it took, once it has ended.
    pub took: Option<Duration>,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it failed, in at most 500 bytes.
    pub error: Option<String>,
}

/// What became of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// It is under way.
    Running,
    /// Its handler succeeded.
    Done,
    /// Its handler failed, panicked or took too long.
    Failed,
    /// Its time had passed, see [`Missed`](super::Missed).
    Skipped,
    /// Its node died or stood still, and another took it over.
    Lost,
}

impl Outcome {
    /// As it is written: `running`, `done`, `failed`, `skipped` or `lost`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Lost => "lost",
        }
    }
}

impl Run {
    pub(super) fn begun(tick: Tick, node: String, at: Tick) -> Self {
        let (time, began) = (time(tick), time(at));
        Self { time, attempt: 1, node, began, took: None, outcome: Outcome::Running, error: None }
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "time_ms": millis(self.time),
            "attempt": self.attempt,
            "node": self.node,
            "began_ms": millis(self.began),
            "took_ms": self.took.map(|took| took.as_millis() as u64),
            "outcome": self.outcome.name(),
            "error": self.error,
        })
    }
}

/// An error as it is remembered.
pub(super) fn shortened(mut error: String) -> String {
    let mut end = error.len().min(ERROR_BYTES);
    while !error.is_char_boundary(end) {
        end -= 1;
    }
    error.truncate(end);
    error
}

impl Context {
    /// The run of a job that is being carried out, where this is one.
    pub fn job(&self) -> Option<Arc<Running>> {
        self.extension()
    }
}

/// Moments as milliseconds since 1970.
mod moment {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::jobs::schedule::{millis, time};

    pub(super) fn serialize<S: Serializer>(moment: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
        millis(*moment).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SystemTime, D::Error> {
        u64::deserialize(from).map(time)
    }
}

/// How a run is carried out.
pub(super) struct Way {
    pub(super) home: Arc<Home>,
    /// What runs, with its layers around it.
    pub(super) handler: MessageHandler,
    /// The most time.
    pub(super) limit: Option<Duration>,
}

impl Way {
    /// Runs the handler to its end; a panic and too long a time are failures. How long it took.
    pub(super) async fn run(
        &self,
        running: Running,
        delivered: Arc<Delivered>,
    ) -> (Result<()>, Duration) {
        let begun = Instant::now();
        let context = Context::new(Arrival {
            home: self.home.clone(),
            endpoint: running.job.as_str().into(),
            metadata: delivered.message.headers.clone(),
            deadline: self.limit.map(crate::time::deadline_after),
            peer: None,
        });
        context.insert(delivered.clone());
        context.insert(Arc::new(running));
        let incoming = Incoming { context: context.clone(), delivered };
        let handled = async { self.handler.run(incoming).await };
        let handled = AssertUnwindSafe(context.clone().scope(handled)).catch_unwind();
        let outcome = match self.limit {
            Some(limit) => timeout(limit, handled).await.unwrap_or_else(|_| {
                Ok(Err(Error::deadline_exceeded(format!("the job did not end within {limit:?}"))))
            }),
            None => handled.await,
        };
        context.end();
        let outcome = match outcome {
            Ok(outcome) => outcome.map_err(|error| told(error, &context)),
            Err(panic) => Err(panicked(panic.as_ref(), &context)),
        };
        (outcome, begun.elapsed())
    }
}
