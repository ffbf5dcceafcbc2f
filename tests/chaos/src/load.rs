//! Calls at a steady rate, whether or not the ones before were answered: a user does not wait for
//! another user's answer. Latency counts from when a call was due.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use micro::{Client, Code, Error, Raw};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::Outcome;
use crate::node::SERVICE;

/// Calls under way; what is due beyond counts as failed.
const UNDERWAY: usize = 50_000;
/// Time between two looks at what is due.
const TICK: Duration = Duration::from_millis(1);
/// Longest wait for the last calls.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is called, how often, and how long its caller waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offered {
    /// Taken in turn.
    pub(crate) endpoints: &'static [&'static str],
    /// Calls a second.
    pub(crate) rate: f64,
    pub(crate) timeout: Duration,
}

/// What became of a call.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// When it was due.
    pub(crate) due: Instant,
    /// From then to its end.
    pub(crate) took: Duration,
    pub(crate) endpoint: &'static str,
    pub(crate) failure: Option<Failure>,
}

/// How a call failed.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    /// Id and address of the node of the last attempt.
    pub(crate) node: String,
    pub(crate) detail: String,
}

impl Failure {
    fn of(error: &Error) -> Self {
        let node = error.origin().map(|origin| origin.node.clone()).unwrap_or_default();
        Self { code: error.code(), node, detail: error.detail().to_owned() }
    }

    /// The code and a short reason without what differs from call to call.
    pub(crate) fn cause(&self) -> String {
        const REASONS: [(&str, &str); 10] = [
            ("is overloaded", "shed"),
            ("its limit of", "shed"),
            ("cannot connect", "cannot connect"),
            ("keep-alive", "keepalive timed out"),
            ("connection broke", "connection broke"),
            ("connection closed", "connection closed"),
            ("deadline", "deadline"),
            ("no nodes", "no nodes"),
            ("not sent", "not sent"),
            ("the caller went away", "caller went away"),
        ];
        let reason = REASONS.iter().find(|(words, _)| self.detail.contains(words));
        let reason: String =
            reason.map_or_else(|| self.detail.chars().take(60).collect(), |r| r.1.into());
        format!("{:?}: {reason}", self.code)
    }
}

/// A load that goes on until it is stopped.
#[derive(Debug)]
pub(crate) struct Load {
    shared: Arc<Shared>,
    making: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    over: AtomicBool,
    underway: AtomicUsize,
    records: Mutex<Vec<Record>>,
}

impl Load {
    pub(crate) fn start(client: &Client, offered: Offered) -> Self {
        let shared = Arc::<Shared>::default();
        let making = tokio::spawn(make(client.clone(), offered, shared.clone()));
        Self { shared, making }
    }

    /// Makes no more calls and waits for the last ones.
    pub(crate) async fn stop(self) -> Outcome<Vec<Record>> {
        self.shared.over.store(true, Ordering::Relaxed);
        self.making.await?;
        let ended = async {
            while self.shared.underway.load(Ordering::Acquire) > 0 {
                tokio::time::sleep(TICK).await;
            }
        };
        timeout(PATIENCE, ended).await.map_err(|_| {
            let left = self.shared.underway.load(Ordering::Relaxed);
            format!("{left} calls did not end within {PATIENCE:?} after the load")
        })?;
        Ok(std::mem::take(&mut *self.shared.records()))
    }

    /// Calls for `span`.
    pub(crate) async fn during(
        client: &Client,
        offered: Offered,
        span: Duration,
    ) -> Outcome<Vec<Record>> {
        let load = Self::start(client, offered);
        tokio::time::sleep(span).await;
        load.stop().await
    }
}

impl Shared {
    fn records(&self) -> std::sync::MutexGuard<'_, Vec<Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn make(client: Client, offered: Offered, shared: Arc<Shared>) {
    let start = Instant::now();
    let mut made = 0_u64;
    while !shared.over.load(Ordering::Relaxed) {
        let now = Instant::now();
        let due = (now.saturating_duration_since(start).as_secs_f64() * offered.rate) as u64;
        while made < due {
            let at = start + Duration::from_secs_f64(made as f64 / offered.rate);
            let endpoint = offered.endpoints[made as usize % offered.endpoints.len()];
            made += 1;
            if shared.underway.load(Ordering::Relaxed) >= UNDERWAY {
                let detail = "not sent: too many calls are under way".to_owned();
                let failure = Failure { code: Code::Unknown, node: String::new(), detail };
                let failure = Some(failure);
                shared.records().push(Record { due: at, took: TICK, endpoint, failure });
                continue;
            }
            shared.underway.fetch_add(1, Ordering::Relaxed);
            let (client, shared) = (client.clone(), shared.clone());
            tokio::spawn(async move {
                let failure = call(&client, endpoint, at + offered.timeout).await;
                shared.records().push(Record { due: at, took: at.elapsed(), endpoint, failure });
                shared.underway.fetch_sub(1, Ordering::Release);
            });
        }
        sleep_until(now + TICK).await;
    }
}

async fn call(client: &Client, endpoint: &'static str, deadline: Instant) -> Option<Failure> {
    let left = deadline.saturating_duration_since(Instant::now());
    let call = client.call::<_, Raw>(SERVICE, endpoint, Raw::from("chaos")).timeout(left);
    match call.await {
        Ok(reply) if &reply.0[..] == b"chaos" => None,
        Ok(_) => Some(Failure {
            code: Code::DataLoss,
            node: String::new(),
            detail: "an answer that was not asked for".to_owned(),
        }),
        Err(error) => Some(Failure::of(&error)),
    }
}

/// Callers that call again as soon as they have an answer; how many answers a second.
pub(crate) async fn peak(
    client: &Client,
    endpoint: &'static str,
    callers: usize,
    span: Duration,
) -> Outcome<f64> {
    let start = Instant::now();
    let mut calling = tokio::task::JoinSet::new();
    for _ in 0..callers {
        let client = client.clone();
        calling.spawn(async move {
            let mut answered = 0_u64;
            while start.elapsed() < span {
                let failed =
                    call(&client, endpoint, Instant::now() + Duration::from_secs(10)).await;
                answered += u64::from(failed.is_none());
            }
            answered
        });
    }
    let answered: u64 = calling.join_all().await.into_iter().sum();
    Ok(answered as f64 / start.elapsed().as_secs_f64())
}

/// Failures by cause.
pub(crate) fn causes(records: &[Record]) -> BTreeMap<String, u64> {
    let mut causes = BTreeMap::new();
    for failure in records.iter().filter_map(|record| record.failure.as_ref()) {
        *causes.entry(failure.cause()).or_default() += 1;
    }
    causes
}

/// Calls that were answered.
pub(crate) fn answered(records: &[Record]) -> usize {
    records.iter().filter(|record| record.failure.is_none()).count()
}

/// The duration in milliseconds that `part` of the answered calls are no longer than.
pub(crate) fn percentile(records: &[Record], part: f64) -> f64 {
    let mut times: Vec<_> =
        records.iter().filter(|r| r.failure.is_none()).map(|record| record.took).collect();
    times.sort_unstable();
    let rank = (times.len() as f64 * part).ceil() as usize;
    times.get(rank.saturating_sub(1)).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}
