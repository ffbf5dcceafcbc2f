//! What the log, its writer and its readers have in common.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::inbox::Inbox;
use super::index::{Extent, Index};
use super::state::State;

pub(super) struct Shared {
    pub(super) inbox: Inbox,
    pub(super) state: Mutex<State>,
    /// Indexes of full segments that were read last.
    pub(super) indexes: Mutex<Vec<(Extent, Arc<Index>)>>,
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
