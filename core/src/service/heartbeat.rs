//! Keeps a node in the registry while it lives and is fit for calls.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};
use tokio_util::sync::CancellationToken;

use super::builder::Hook;
use crate::error::Result;
use crate::registry::{self, Registry};
use crate::resilience::Backoff;
use crate::server::Health;

/// Tries of one registration; the next heartbeat tries again.
const TRIES: u32 = 3;

/// Registers again and again until stopped.
#[derive(Debug)]
pub(super) struct Heartbeat {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

/// What a heartbeat does.
pub(super) struct Beat {
    pub(super) registry: Arc<dyn Registry>,
    pub(super) record: registry::Service,
    pub(super) ttl: Duration,
    pub(super) interval: Duration,
    pub(super) check: Option<Hook>,
    pub(super) health: Health,
}

impl Heartbeat {
    /// Registers once, then every interval. The first registration has been tried when this
    /// returns; where it failed, the service serves all the same and the next beat tries again.
    pub(super) async fn start(mut beat: Beat) -> Self {
        let mut registered = false;
        beat.once(&mut registered).await;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut ticks = interval_at(Instant::now() + beat.interval, beat.interval);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    () = stopped.cancelled() => return,
                }
                tokio::select! {
                    () = beat.once(&mut registered) => {}
                    () = stopped.cancelled() => return,
                }
            }
        });
        Self { task, stop }
    }

    /// Ends the heartbeat; once this returns, nothing registers the node again.
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Beat {
    /// Checks and registers; takes the node out while the check fails.
    async fn once(&mut self, registered: &mut bool) {
        let name = &self.record.name;
        if let Some(check) = &self.check
            && let Err(error) = check.run().await
        {
            tracing::warn!(service = name, %error, "the register check failed");
            self.health.set_all(false);
            if std::mem::take(registered)
                && let Err(error) = self.registry.deregister(&self.record).await
            {
                tracing::warn!(service = name, %error, "cannot deregister");
                *registered = true;
            }
            return;
        }
        if self.check.is_some() {
            self.health.set_all(true);
        }
        match self.register().await {
            Ok(()) => *registered = true,
            Err(error) => tracing::warn!(
                service = name,
                %error,
                next = ?self.interval,
                "cannot register; serving all the same and trying again"
            ),
        }
    }

    async fn register(&self) -> Result<()> {
        let mut tries = 0;
        loop {
            let attempt = self.registry.register(&self.record, Some(self.ttl));
            // A registry of one's own may panic; that must not end the heartbeat.
            let outcome = std::panic::AssertUnwindSafe(attempt).catch_unwind().await;
            let error = match outcome {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => error,
                Err(_) => crate::Error::internal("the registry panicked"),
            };
            tries += 1;
            if tries == TRIES {
                return Err(error);
            }
            sleep(Backoff::GoMicro.wait(tries)).await;
        }
    }
}
