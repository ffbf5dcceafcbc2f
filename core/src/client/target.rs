//! What is called, and what is known of it.

use std::borrow::Cow;
use std::sync::Arc;

use http::header::HeaderValue;
use http::uri::PathAndQuery;
use tokio::sync::Semaphore;

use super::pool::DIALS_OF_SERVICE;
use crate::resilience::Budget;
use crate::telemetry::EdgeStats;

/// One endpoint of one service, as this client calls it.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) service: Box<str>,
    pub(super) endpoint: Box<str>,
    pub(super) path: PathAndQuery,
    /// The name of the service as a header, where it can be one.
    pub(super) named: Option<HeaderValue>,
    pub(super) edge: Arc<EdgeStats>,
    pub(super) callee: Arc<Callee>,
}

/// What all calls of this client to one service share.
#[derive(Debug)]
pub(super) struct Callee {
    /// What may be repeated.
    pub(super) budget: Budget,
    /// Places for connections in the making.
    pub(super) dials: Semaphore,
}

impl Callee {
    pub(super) fn new() -> Self {
        Self { budget: Budget::new(), dials: Semaphore::new(DIALS_OF_SERVICE) }
    }
}

impl Target {
    /// The names under which a node may advertise the endpoint: as it is called, with its package, without.
    pub(super) fn names(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let (kind, method) =
            self.path.path().trim_start_matches('/').split_once('/').unwrap_or_default();
        let short = kind.rsplit_once('.').map_or(kind, |(_, kind)| kind);
        let names = [format!("{kind}.{method}"), format!("{short}.{method}")];
        std::iter::once(Cow::Borrowed(&*self.endpoint)).chain(names.into_iter().map(Cow::Owned))
    }
}
