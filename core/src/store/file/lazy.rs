//! The table file is opened when records are asked for: a folder of messages alone has none.

use std::sync::Arc;

use tokio::sync::OnceCell;

use super::engine::Engine;
use crate::data::Disk;
use crate::data::log::Log;
use crate::error::Result;

/// Records of a folder, once they are asked for.
pub(crate) struct Lazy {
    disk: Arc<dyn Disk>,
    log: Arc<Log>,
    engine: OnceCell<Arc<Engine>>,
}

impl Lazy {
    pub(crate) fn new(disk: Arc<dyn Disk>, log: Arc<Log>) -> Self {
        Self { disk, log, engine: OnceCell::new() }
    }

    /// The records.
    ///
    /// # Errors
    /// Those of [`Engine::open`]; the next call tries again.
    pub(crate) async fn get(&self) -> Result<&Arc<Engine>> {
        let open = || async {
            let opened = Engine::open(self.disk.clone(), self.log.clone()).await?;
            Ok(Arc::new(opened))
        };
        self.engine.get_or_try_init(open).await
    }

    /// The first number that is to be kept in the log, at most `before`.
    ///
    /// # Errors
    /// Those of the disk.
    pub(crate) async fn keep(&self, before: u64) -> Result<u64> {
        match before > 0 && (self.engine.initialized() || Engine::is_in(&self.log)) {
            true => self.get().await?.keep(before).await,
            false => Ok(before),
        }
    }

    /// Whether it takes no more.
    pub(crate) fn is_closed(&self) -> bool {
        self.log.is_closed()
    }

    /// Takes no more changes, and returns once those that were taken are made.
    pub(crate) async fn close(&self) {
        if let Some(engine) = self.engine.get() {
            engine.close().await;
        }
    }
}
