//! Rate, errors and duration of every edge: who calls which endpoint, and how it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use papaya::{Equivalent, HashMap};

use super::clipped::clipped;
use super::histogram::{Histogram, Quantiles};
use super::queues::{QueueName, QueueStats, Queues};
use crate::error::Code;

/// Edges kept apart; what comes later is counted together under `other`, so that a caller who
/// makes up names cannot fill the memory.
const MAX_EDGES: usize = 4096;

/// Caller, callee and endpoint of a kind of call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Edge {
    /// Service that calls; empty for a program that is no service.
    pub caller: Box<str>,
    /// Service that is called.
    pub callee: Box<str>,
    /// Endpoint that is called, for example `Greeter.Hello`.
    pub endpoint: Box<str>,
}

/// An [`Edge`] that is only looked up, not kept.
#[derive(Hash)]
struct EdgeRef<'a> {
    caller: &'a str,
    callee: &'a str,
    endpoint: &'a str,
}

impl Equivalent<Edge> for EdgeRef<'_> {
    fn equivalent(&self, key: &Edge) -> bool {
        *self.caller == *key.caller
            && *self.callee == *key.callee
            && *self.endpoint == *key.endpoint
    }
}

/// The numbers of one edge.
#[derive(Debug, Default)]
pub struct EdgeStats {
    /// Calls by gRPC code, 0 being success.
    codes: [AtomicU64; 17],
    in_flight: AtomicU64,
    latency: Histogram,
}

impl EdgeStats {
    fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    fn end(&self, code: Option<Code>, duration: Duration) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.codes[code.map_or(0, |code| code.grpc() as usize)].fetch_add(1, Ordering::Relaxed);
        self.latency.record(duration);
    }

    /// Calls that ended.
    pub fn calls(&self) -> u64 {
        self.codes.iter().map(|code| code.load(Ordering::Relaxed)).sum()
    }

    /// Calls that ended in a failure.
    pub fn errors(&self) -> u64 {
        self.codes[1..].iter().map(|code| code.load(Ordering::Relaxed)).sum()
    }

    /// Calls that ended with `code`; `None` is success.
    pub fn with_code(&self, code: Option<Code>) -> u64 {
        self.codes[code.map_or(0, |code| code.grpc() as usize)].load(Ordering::Relaxed)
    }

    /// Calls that are running.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// How long calls took.
    pub fn latency(&self) -> Quantiles {
        self.latency.quantiles()
    }
}

/// One call on its edge, counted once however it ends: dropped unfinished, it was cancelled.
#[derive(Debug)]
pub(crate) struct Measured {
    edge: Arc<EdgeStats>,
    started: Instant,
    finished: bool,
}

impl Measured {
    pub(crate) fn begin(edge: Arc<EdgeStats>) -> Self {
        Self::begin_at(edge, Instant::now())
    }

    pub(crate) fn begin_at(edge: Arc<EdgeStats>, started: Instant) -> Self {
        edge.begin();
        Self { edge, started, finished: false }
    }

    /// Counts how the call ended; `None` is success. Only the first end counts.
    pub(crate) fn finish(&mut self, code: Option<Code>) {
        self.finish_at(code, Instant::now());
    }

    /// As [`Measured::finish`], where the time is known.
    pub(crate) fn finish_at(&mut self, code: Option<Code>, now: Instant) {
        if !std::mem::replace(&mut self.finished, true) {
            self.edge.end(code, now.saturating_duration_since(self.started));
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        if !self.finished {
            self.finish(Some(Code::Cancelled));
        }
    }
}

/// Every edge this process has seen, from one side: a client has one, a server has one.
#[derive(Debug, Default)]
pub struct Metrics {
    edges: HashMap<Edge, Arc<EdgeStats>, RandomState>,
    queues: Queues,
}

impl Metrics {
    /// The numbers of one edge, made on first sight.
    pub(crate) fn edge(&self, caller: &str, callee: &str, endpoint: &str) -> Arc<EdgeStats> {
        let [caller, callee, endpoint] = [caller, callee, endpoint].map(clipped);
        let edges = self.edges.pin();
        if let Some(stats) = edges.get(&EdgeRef { caller, callee, endpoint }) {
            return stats.clone();
        }
        let known = edges.len() < MAX_EDGES;
        let [caller, callee, endpoint] =
            if known { [caller, callee, endpoint] } else { ["other"; 3] };
        edges
            .get_or_insert_with(
                Edge { caller: caller.into(), callee: callee.into(), endpoint: endpoint.into() },
                Arc::default,
            )
            .clone()
    }

    /// Every edge with its numbers, sorted by caller, callee and endpoint.
    pub fn snapshot(&self) -> Vec<(Edge, Arc<EdgeStats>)> {
        let mut edges: Vec<_> =
            self.edges.pin().iter().map(|(edge, stats)| (edge.clone(), stats.clone())).collect();
        edges.sort_by(|(a, _), (b, _)| {
            (&a.caller, &a.callee, &a.endpoint).cmp(&(&b.caller, &b.callee, &b.endpoint))
        });
        edges
    }

    /// Every edge with its numbers as JSON, sorted as [`Metrics::snapshot`] is: `caller`, `callee`, `endpoint`, `calls`,
    /// `errors`, `codes` (ended calls by gRPC's code, those there are), `in_flight`, and the latency in microseconds as
    /// `p50_us`, `p90_us` and `p99_us`.
    pub fn to_json(&self) -> serde_json::Value {
        let edge = |(edge, stats): (Edge, Arc<EdgeStats>)| {
            let latency = stats.latency();
            let microseconds = |d: Duration| u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
            let codes = stats.codes.iter().enumerate().filter_map(|(code, count)| {
                let count = count.load(Ordering::Relaxed);
                (count > 0).then(|| (code.to_string(), count.into()))
            });
            serde_json::json!({
                "caller": edge.caller,
                "callee": edge.callee,
                "endpoint": edge.endpoint,
                "calls": stats.calls(),
                "errors": stats.errors(),
                "codes": codes.collect::<serde_json::Map<_, _>>(),
                "in_flight": stats.in_flight(),
                "p50_us": microseconds(latency.p50),
                "p90_us": microseconds(latency.p90),
                "p99_us": microseconds(latency.p99),
            })
        };
        self.snapshot().into_iter().map(edge).collect()
    }

    /// The numbers of the messages of one queue, made on first sight; without a name, of subscribers without a queue.
    pub(crate) fn queue(&self, topic: &str, queue: Option<&str>) -> Arc<QueueStats> {
        self.queues.get(topic, queue.unwrap_or_default())
    }

    /// Every queue that messages were handled for, with its numbers, sorted by topic and queue.
    pub fn queues(&self) -> Vec<(QueueName, Arc<QueueStats>)> {
        self.queues.snapshot()
    }

    /// Every queue with its numbers as JSON, sorted as [`Metrics::queues`] is: `topic`, `queue`, the counts `delivered`, `acked`,
    /// `retried` and `dead`, and as they are now `held`, `lag_ms`, `oldest_ms` (0 where none is held) and `stalled`.
    pub fn queues_to_json(&self) -> serde_json::Value {
        self.queues.to_json()
    }

    /// Calls that ended and, of these, failed, over all edges.
    pub fn totals(&self) -> (u64, u64) {
        self.edges
            .pin()
            .values()
            .fold((0, 0), |(calls, errors), stats| (calls + stats.calls(), errors + stats.errors()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::clipped::MAX_NAME;
    use super::*;

    #[test]
    fn an_edge_counts_every_call_once_by_its_end() {
        let metrics = Metrics::default();
        let edge = metrics.edge("web", "greeter", "Greeter.Hello");
        let mut first = Measured::begin(edge.clone());
        assert_eq!(edge.in_flight(), 1);
        first.finish(None);
        Measured::begin(edge.clone()).finish(Some(Code::NotFound));
        drop(Measured::begin(edge.clone()));
        let again = metrics.edge("web", "greeter", "Greeter.Hello");
        assert_eq!((again.calls(), again.errors(), again.in_flight()), (3, 2, 0));
        assert_eq!(again.with_code(Some(Code::NotFound)), 1);
        assert_eq!(again.with_code(Some(Code::Cancelled)), 1);
        assert_eq!(metrics.totals(), (3, 2));
        let json = metrics.to_json();
        assert_eq!(json[0]["codes"], serde_json::json!({ "0": 1, "1": 1, "5": 1 }));
        assert_eq!((&json[0]["caller"], &json[0]["calls"]), (&"web".into(), &3.into()));
    }

    #[test]
    fn made_up_callers_share_one_edge_past_the_limit() {
        let metrics = Metrics::default();
        for caller in 0..MAX_EDGES + 100 {
            metrics.edge(&caller.to_string(), "greeter", "Greeter.Hello");
        }
        assert_eq!(metrics.snapshot().len(), MAX_EDGES + 1);
    }

    #[test]
    fn long_names_are_clipped_at_a_whole_character() {
        let metrics = Metrics::default();
        for tail in ["a", "b"] {
            let long = "\u{e9}".repeat(MAX_NAME) + tail;
            metrics.edge(&format!("x{long}"), &long, &long);
        }
        let edges = metrics.snapshot();
        let (edge, _) = &edges[0];
        assert_eq!(edges.len(), 1, "what differs past the limit is counted together");
        assert_eq!((edge.caller.len(), edge.callee.len()), (MAX_NAME - 1, MAX_NAME));
    }
}
