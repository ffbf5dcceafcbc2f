//! What became of a delivery.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use micro::Result;
use micro::broker::{Settle, Verdict};
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::desk::{Desk, Entry};

/// One delivery.
pub(crate) struct Open {
    desk: Arc<Desk>,
    entry: Option<Entry>,
    /// When another may have it.
    until: Mutex<Instant>,
}

impl Open {
    pub(crate) fn new(desk: Arc<Desk>, entry: Entry) -> Self {
        let until = Mutex::new(Instant::now() + desk.subscription.lease);
        Self { desk, entry: Some(entry), until }
    }

    /// It is with another already, who says what becomes of it.
    fn is_over(&self) -> bool {
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        self.desk.queue().is_some() && until <= Instant::now()
    }
}

#[async_trait]
impl Settle for Open {
    async fn settle(mut self: Box<Self>, verdict: Verdict) -> Result<()> {
        let Some(entry) = self.entry.take() else { return Ok(()) };
        match verdict {
            Verdict::Ack => self.desk.acknowledge(&[&entry.id]).await,
            _ if self.is_over() => Ok(()),
            Verdict::Retry(after, _) if entry.attempt < self.desk.subscription.max_attempts => {
                self.desk.try_again(entry, after);
                Ok(())
            }
            Verdict::Retry(_, reason) | Verdict::Reject(reason) => {
                let buried = self.desk.bury(&entry, &reason).await;
                if buried.is_err() && self.desk.queue().is_none() {
                    // Nothing else knows of it.
                    self.desk.try_again(entry, Duration::from_secs(1));
                }
                buried
            }
            _ => {
                self.desk.try_again(entry, Duration::ZERO);
                Ok(())
            }
        }
    }

    fn extend(&self) {
        let Some(entry) = &self.entry else { return };
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) =
            Instant::now() + self.desk.subscription.lease;
        if self.desk.queue().is_some()
            && let Ok(runtime) = Handle::try_current()
        {
            let (desk, id) = (self.desk.clone(), entry.id.clone());
            runtime.spawn(async move {
                if let Err(error) = desk.renew(&[id]).await {
                    tracing::debug!(%error, "a lease cannot be renewed");
                }
            });
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.desk.let_go();
        if let Some(entry) = self.entry.take().filter(|_| !self.is_over()) {
            self.desk.try_again(entry, Duration::ZERO);
        }
    }
}
