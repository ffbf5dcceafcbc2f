//! A registry that tells of changes late, and can be cut off.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use micro::registry::{Memory, Registry, Service, WATCH_CAPACITY, Watcher};
use micro::{Error, Result};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

/// A registry shared by all hosts. Nodes do not expire: hosts do not share a clock.
#[derive(Debug, Clone)]
pub(crate) struct Lagging {
    inner: Memory,
    /// Milliseconds that an answer or a change takes.
    lag: Range<u64>,
    down: Arc<watch::Sender<bool>>,
}

impl Lagging {
    pub(crate) fn new(lag: Range<u64>) -> Self {
        Self { inner: Memory::new(), lag, down: Arc::new(watch::Sender::new(false)) }
    }

    /// Ends every watch and answers nothing, until told otherwise.
    pub(crate) fn set_down(&self, down: bool) {
        self.down.send_replace(down);
    }

    /// What it holds, at once.
    pub(crate) fn inner(&self) -> &Memory {
        &self.inner
    }

    async fn travel(&self) -> Result<()> {
        sleep(Duration::from_millis(fastrand::u64(self.lag.clone()))).await;
        if *self.down.borrow() { Err(Error::unavailable("cut off")) } else { Ok(()) }
    }
}

#[async_trait]
impl Registry for Lagging {
    async fn register(&self, service: &Service, _: Option<Duration>) -> Result<()> {
        self.travel().await?;
        self.inner.register(service, None).await
    }

    async fn deregister(&self, service: &Service) -> Result<()> {
        self.travel().await?;
        self.inner.deregister(service).await
    }

    async fn get(&self, name: &str) -> Result<Vec<Service>> {
        let found = self.inner.get(name).await;
        self.travel().await?;
        found
    }

    async fn list(&self) -> Result<Vec<Service>> {
        let found = self.inner.list().await;
        self.travel().await?;
        found
    }

    async fn watch(&self, service: Option<&str>) -> Result<Watcher> {
        self.travel().await?;
        let mut changes = self.inner.watch(service).await?;
        let (sender, watcher) = Watcher::channel(service);
        let mut down = self.down.subscribe();
        let lag = self.lag.clone();
        let (travelling, mut arriving) = mpsc::channel(WATCH_CAPACITY);
        // Changes travel side by side, and arrive in order.
        tokio::spawn(async move {
            while let Ok(change) = changes.next().await {
                let arrives = Instant::now() + Duration::from_millis(fastrand::u64(lag.clone()));
                if travelling.send((arrives, change)).await.is_err() {
                    return;
                }
            }
        });
        tokio::spawn(async move {
            let cut = async { down.wait_for(|down| *down).await.map(drop) };
            let tell = async {
                while let Some((arrives, change)) = arriving.recv().await {
                    sleep_until(arrives).await;
                    if !sender.send(&Arc::new(change)) {
                        return;
                    }
                }
            };
            tokio::select! {
                biased;
                _ = cut => {}
                () = tell => {}
            }
        });
        Ok(watcher)
    }

    fn name(&self) -> &'static str {
        "lagging"
    }
}
