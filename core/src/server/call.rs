//! The bookkeeping of one inbound call, done once wherever and however the call ends.

use std::sync::Arc;

use tokio::time::Instant;

use super::admission::Place;
use crate::context::Context;
use crate::error::Error;
use crate::telemetry::{EdgeStats, Measured};
use crate::transport::Hold;

/// One call, from its arrival to its end. Dropped unfinished, it counts as cancelled.
pub(super) struct CallRecord {
    context: Context,
    measured: Measured,
    /// Present once the call can run.
    place: Option<Place>,
    /// What its head holds, where that is much.
    _head: Option<Hold>,
}

impl CallRecord {
    /// A call that arrived at `arrived`.
    pub(super) fn begin(
        context: Context,
        edge: Arc<EdgeStats>,
        head: Option<Hold>,
        arrived: Instant,
    ) -> Self {
        let measured = Measured::begin_at(edge, arrived.into_std());
        Self { context, measured, place: None, _head: head }
    }

    /// The call can run, in its place.
    pub(super) fn enter(&mut self, place: Place) {
        self.place = Some(place);
    }

    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    /// The call was answered; `None` is success.
    pub(super) fn finish(&mut self, error: Option<&Error>) {
        self.measured.finish(error.map(Error::code));
        if let Some(error) = error {
            tracing::debug!(
                endpoint = self.context.endpoint(),
                caller = self.context.caller().unwrap_or_default(),
                elapsed = ?self.measured.elapsed(),
                %error,
                "call failed"
            );
        }
    }
}

impl Drop for CallRecord {
    fn drop(&mut self) {
        self.context.end();
    }
}
