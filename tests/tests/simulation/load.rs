//! Calls, one after another and side by side.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use micro::{Client, Raw};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::trace::{Event, Log, Terms};
use super::world::{SERVICE, ms, number};

/// How a caller calls.
#[derive(Clone)]
pub(crate) struct Load {
    /// Calls under way at a time.
    pub(crate) width: u32,
    /// When calls begin; nodes need a moment to register.
    pub(crate) from: Duration,
    pub(crate) until: Duration,
    /// Milliseconds between the end of a call and the next.
    pub(crate) pause: Range<u64>,
    pub(crate) terms: Terms,
    /// Share of calls that may be repeated.
    pub(crate) idempotent: f64,
    /// What is called: once only, and again if need be.
    pub(crate) endpoints: [&'static str; 2],
}

impl Default for Load {
    fn default() -> Self {
        Self {
            width: 4,
            from: ms(200),
            until: ms(6_000),
            pause: 0..40,
            terms: Terms { timeout: ms(1_000), retries: 2 },
            idempotent: 0.5,
            endpoints: ["Work.Once", "Work.Again"],
        }
    }
}

impl Load {
    /// Calls until the time has come, and waits for the last call.
    pub(crate) async fn put_on(&self, client: Client, log: Log, first: u32) {
        sleep(self.from.saturating_sub(turmoil::sim_elapsed().unwrap())).await;
        let next = Arc::new(AtomicU32::new(first));
        let mut lanes = JoinSet::new();
        for _ in 0..self.width {
            let (load, client, log, next) =
                (self.clone(), client.clone(), log.clone(), next.clone());
            lanes.spawn(async move {
                while turmoil::sim_elapsed().unwrap() < load.until {
                    load.call(&client, &log, next.fetch_add(1, Ordering::Relaxed)).await;
                    sleep(ms(fastrand::u64(load.pause.clone()))).await;
                }
            });
        }
        while let Some(lane) = lanes.join_next().await {
            lane.unwrap();
        }
    }

    async fn call(&self, client: &Client, log: &Log, call: u32) {
        let idempotent = fastrand::f64() < self.idempotent;
        log.write(Event::Began { call, idempotent });
        let endpoint = self.endpoints[usize::from(idempotent)];
        let reply = client
            .call::<_, Raw>(SERVICE, endpoint, Raw::from(call.to_string()))
            .timeout(self.terms.timeout)
            .retries(self.terms.retries)
            .await;
        let ended = match reply {
            Ok(reply) => {
                assert_eq!(number(&reply), call, "an answer to another call");
                Event::Ended { call, failed: None, attempts: 1, node: String::new() }
            }
            Err(error) => {
                let origin = error.origin().cloned();
                let attempts = origin.as_ref().map_or(0, |origin| origin.attempts);
                let node = origin.map(|origin| origin.node.to_string()).unwrap_or_default();
                Event::Ended { call, failed: Some(error.code()), attempts, node }
            }
        };
        log.write(ended);
    }
}
