//! Keeps a node in the registry while it lives and is fit for calls, under the address it has now.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::address::Advertised;
use super::hook::Check;
use crate::error::{Code, Error, Result};
use crate::registry::{self, Guarded, Registry as _};
use crate::resilience::Backoff;
use crate::server::Health;
use crate::time::deadline_after;

/// Tries of one registration; the next heartbeat tries again.
const TRIES: u32 = 3;
/// How often one that is not renewed is looked after: tried again where it failed, and its check asked.
const UNRENEWED: Duration = Duration::from_secs(30);
/// How often an address that may change is looked at.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);

/// Registers again and again until stopped.
#[derive(Debug)]
pub(super) struct Heartbeat {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

/// What a heartbeat does.
pub(super) struct Beat {
    pub(super) registry: Guarded,
    /// The record with the address that people are shown.
    pub(super) record: Arc<ArcSwap<registry::Service>>,
    pub(super) advertised: Advertised,
    /// `None` is for ever.
    pub(super) ttl: Option<Duration>,
    /// How often a registration is renewed; `None` for never.
    pub(super) interval: Option<Duration>,
    pub(super) check: Option<Check>,
    pub(super) health: Health,
    /// The address of the last registration that succeeded.
    pub(super) registered_at: Option<String>,
}

impl Heartbeat {
    /// Registers once, then every interval, and at once when the address changed. The first
    /// registration has been tried when this returns; where the registry could not be asked, the
    /// service serves all the same and the next beat tries again.
    ///
    /// # Errors
    /// What the registry says when it will never take this record.
    pub(super) async fn start(mut beat: Beat) -> Result<Self> {
        let mut registered = false;
        if let Err(error) = beat.once(&mut registered).await
            && is_permanent(&error)
        {
            return Err(error);
        }
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let work = async {
                loop {
                    beat.rest().await;
                    // The error is logged, and the next beat may do better.
                    let _ = beat.once(&mut registered).await;
                }
            };
            tokio::select! {
                () = work => {}
                () = stopped.cancelled() => {}
            }
        });
        Ok(Self { task, stop })
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
    /// Waits until the node should be registered anew.
    async fn rest(&self) {
        let next = deadline_after(self.interval.unwrap_or(UNRENEWED));
        if !self.advertised.may_move() {
            return sleep_until(next).await;
        }
        while Instant::now() < next {
            sleep_until(next.min(deadline_after(FOLLOW_EVERY))).await;
            if self.moved() && !self.registry.tells_each_interface() {
                return;
            }
        }
    }

    /// Notes the address of this moment. True when it is another one than before.
    fn moved(&self) -> bool {
        let address = self.advertised.resolved();
        let old = self.record.load();
        let moved = old.nodes.first().is_some_and(|node| node.address != address);
        if moved {
            let service = &old.name;
            tracing::info!(
                service,
                from = old.nodes[0].address,
                to = address,
                "the address changed"
            );
            let mut record = registry::Service::clone(&old);
            record.nodes[0].address = address;
            self.record.store(Arc::new(record));
        }
        moved
    }

    /// Checks and registers; takes the node out while the check fails.
    async fn once(&mut self, registered: &mut bool) -> Result<()> {
        let record = self.told();
        let service = &record.name;
        if let Some(check) = &self.check
            && let Err(error) = check.run().await
        {
            tracing::warn!(service, %error, "the register check failed");
            self.health.set_all(false);
            if *registered {
                match self.registry.deregister(&record).await {
                    Ok(()) => *registered = false,
                    Err(error) => tracing::warn!(service, %error, "cannot deregister"),
                }
            }
            return Ok(());
        }
        if self.check.is_some() {
            self.health.set_all(true);
        }
        let address = &record.nodes[0].address;
        if self.interval.is_none() && *registered && self.registered_at.as_ref() == Some(address) {
            return Ok(());
        }
        let outcome = self.register(&record).await;
        match &outcome {
            Ok(()) => {
                *registered = true;
                self.registered_at = Some(address.clone());
            }
            Err(error) if is_permanent(error) => tracing::error!(
                service,
                %error,
                "the registry refuses this service: no client finds it until that is mended"
            ),
            Err(error) => tracing::warn!(
                service,
                %error,
                next = ?self.interval.unwrap_or(UNRENEWED),
                "cannot register; serving all the same and trying again"
            ),
        }
        outcome
    }

    /// The record as this registry should hold it.
    fn told(&self) -> registry::Service {
        self.moved();
        let mut record = registry::Service::clone(&self.record.load());
        if self.registry.tells_each_interface() {
            record.nodes.iter_mut().for_each(|node| node.address = self.advertised.open());
        }
        record
    }

    async fn register(&self, record: &registry::Service) -> Result<()> {
        let mut tries = 0;
        loop {
            let error = match self.registry.register(record, self.ttl).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            tries += 1;
            if tries == TRIES || is_permanent(&error) {
                return Err(error);
            }
            sleep(Backoff::GoMicro.wait(tries)).await;
        }
    }
}

/// True for refusals that waiting does not change: what was asked for is wrong, or not allowed.
pub(super) fn is_permanent(error: &Error) -> bool {
    matches!(
        error.code(),
        Code::InvalidArgument
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::FailedPrecondition
    )
}
