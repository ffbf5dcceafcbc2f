//! Records that are not shown any more, though they are still in the files.

use std::sync::Arc;

use bytes::Bytes;

use super::Log;
use super::terms::Hidden;

impl Log {
    /// Shows these records of a topic no more, and those that were hidden before again unless they are among them. That is for as long as
    /// the log is open.
    pub(crate) fn hide(&self, topic: &[u8], hidden: Hidden) {
        self.shared.state().hidden.insert(Bytes::copy_from_slice(topic), Arc::new(hidden));
    }

    /// Which records of a topic are not shown.
    pub(crate) fn hidden(&self, topic: &[u8]) -> Arc<Hidden> {
        self.shared.state().hidden.get(topic).cloned().unwrap_or_default()
    }
}
