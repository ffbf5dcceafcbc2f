//! How a data folder is kept.

use std::sync::Arc;
use std::time::Duration;

use super::log::Level;
use crate::broker::durable::engine::Retention;

/// How a folder is kept, where this process owns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Terms {
    /// How safe messages are once they are published.
    pub(crate) level: Level,
    /// How long ids are remembered.
    pub(crate) dedup: Duration,
    pub(crate) retention: Retention,
}

impl Default for Terms {
    fn default() -> Self {
        let age = Duration::from_secs(7 * 24 * 60 * 60);
        let retention = Retention { bytes: 1 << 30, age, compacted: Arc::default() };
        Self { level: Level::Synced, dedup: Duration::from_secs(120), retention }
    }
}
