//! The terms a call is made on: its own options, on top of those of its client.

use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderValue;

use super::options::{CallOptions, Parent};
use super::seen::Seen;
use crate::codec::Codec;
use crate::context::Context;
use crate::forward::Forward;
use crate::metadata::Metadata;
use crate::resilience::{Backoff, Retry};
use crate::selector::{Filter, Hash, Strategy};
use crate::transport::Compression;

/// go-micro's request timeout.
const TIMEOUT: Duration = Duration::from_secs(5);
const RETRIES: u32 = 2;

/// Heeds the keys of calls, where no other strategy is chosen.
static BY_KEY: Hash = Hash;

/// Time for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timeout {
    /// As the call or its client says; `None` for ever.
    Set(Option<Duration>),
    /// The default, which counts only where no deadline is inherited.
    Default,
}

impl Timeout {
    /// The time for a call that inherits a deadline, or none; `None` for ever.
    pub(super) fn beside(self, inherits_deadline: bool) -> Option<Duration> {
        match self {
            Self::Set(timeout) => timeout,
            Self::Default if inherits_deadline => None,
            Self::Default => Some(TIMEOUT),
        }
    }
}

/// The terms of one call.
#[derive(Debug)]
pub(super) struct Terms {
    /// Time for the whole call, retries included.
    pub(super) timeout: Timeout,
    /// The call's own: what the client adds stands in its headers.
    pub(super) metadata: Metadata,
    pub(super) codec: Option<Codec>,
    pub(super) addresses: Vec<String>,
    pub(super) filters: Vec<Filter>,
    strategy: Option<Arc<dyn Strategy>>,
    pub(super) key: Option<Vec<u8>>,
    pub(super) idempotent: Option<bool>,
    /// Waits for a node instead of failing at once.
    pub(super) wait_for_ready: bool,
    /// Attempts after the first.
    pub(super) retries: u32,
    pub(super) retry: Retry,
    pub(super) backoff: Backoff,
    pub(super) compression: Option<Compression>,
    parent: Option<Parent>,
    /// What goes on of the inbound call; `None` for the default rule.
    pub(super) forward: Option<Arc<Forward>>,
    pub(super) seen: Option<Seen>,
    /// The service that was looked up for the addresses, where the client has done that by itself.
    pub(super) found_for: Option<HeaderValue>,
    /// The reply counts among those that are held until its bytes are released.
    pub(super) counted: bool,
}

impl Terms {
    /// Time for a call with the options `own`. A stream has no timeout but its own.
    pub(super) fn timeout(client: &CallOptions, own: &CallOptions, unary: bool) -> Timeout {
        match own.timeout.or(if unary { client.timeout } else { Some(None) }) {
            Some(timeout) => Timeout::Set(timeout),
            None => Timeout::Default,
        }
    }

    /// The inbound call that one with these options belongs to.
    pub(super) fn parent_of(client: &CallOptions, own: &CallOptions) -> Option<Context> {
        parent(own.parent.as_ref().or(client.parent.as_ref()))
    }

    /// `own` on top of the options of the client.
    pub(super) fn new(client: &CallOptions, own: CallOptions, unary: bool) -> Self {
        let timeout = Self::timeout(client, &own, unary);
        let retry = || client.retry.clone().unwrap_or_default();
        Self {
            timeout,
            metadata: own.metadata,
            codec: own.codec.or(client.codec),
            addresses: joined(&client.addresses, own.addresses),
            filters: joined(&client.filters, own.filters),
            strategy: own.strategy.or_else(|| client.strategy.clone()),
            key: own.key.or_else(|| client.key.clone()),
            idempotent: own.idempotent.or(client.idempotent),
            wait_for_ready: own.wait_for_ready.or(client.wait_for_ready).unwrap_or(false),
            retries: own.retries.or(client.retries).unwrap_or(RETRIES),
            retry: own.retry.unwrap_or_else(retry),
            backoff: own.backoff.unwrap_or_else(|| client.backoff.clone().unwrap_or_default()),
            compression: own.compression.or(client.compression).flatten(),
            parent: own.parent.or_else(|| client.parent.clone()),
            forward: own.forward.or_else(|| client.forward.clone()),
            seen: own.seen.or_else(|| client.seen.clone()),
            found_for: own.found_for.or_else(|| client.found_for.clone()),
            counted: own.counted || client.counted,
        }
    }

    /// The inbound call that this one belongs to.
    pub(super) fn parent(&self) -> Option<Context> {
        parent(self.parent.as_ref())
    }

    /// The strategy that was chosen, or one that heeds the key where there is one, or else `usual`.
    pub(super) fn strategy<'a>(&'a self, usual: &'a dyn Strategy) -> &'a dyn Strategy {
        match &self.strategy {
            Some(chosen) => chosen.as_ref(),
            None if self.key.is_some() => &BY_KEY,
            None => usual,
        }
    }
}

/// The inbound call that was named, or the one that this task serves.
fn parent(named: Option<&Parent>) -> Option<Context> {
    match named {
        None => Context::current(),
        Some(Parent::This(context)) => Some(context.clone()),
        Some(Parent::None) => None,
    }
}

/// Most clients have none.
fn joined<T: Clone>(first: &[T], then: Vec<T>) -> Vec<T> {
    if first.is_empty() {
        return then;
    }
    let mut all = first.to_vec();
    all.extend(then);
    all
}

#[cfg(test)]
mod tests;
