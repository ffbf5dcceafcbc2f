//! A call under way: what all stages share.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;
use tokio::time::Instant;
use tracing::Span;

use crate::client::handle::Client;
use crate::client::layers::AttemptWay;
use crate::client::options::CallOptions;
use crate::client::target::Target;
use crate::client::terms::{Terms, Timeout};
use crate::codec::Codec;
use crate::context::Context;
use crate::error::{Code, Error};
use crate::selector::{Attempt, Node};
use crate::shape::Shape;
use crate::telemetry::{Measured, Trace};
use crate::transport::Share;

/// A call under way: its terms, and how far it has come.
pub(in crate::client) struct Run {
    pub(in crate::client) client: Client,
    pub(in crate::client) target: Arc<Target>,
    pub(in crate::client) terms: Terms,
    pub(in crate::client) codec: Codec,
    pub(in crate::client) context: Option<Context>,
    pub(in crate::client) trace: Trace,
    pub(in crate::client) deadline: Option<Instant>,
    pub(in crate::client) shape: Shape,
    /// Layers around the attempts of this call, within those of its client.
    pub(in crate::client) attempt_layers: Option<AttemptWay>,
    pub(super) tried: SmallVec<[Arc<Node>; 4]>,
    pub(in crate::client) node: Option<Arc<Node>>,
    pub(in crate::client) attempt: Option<Attempt>,
    pub(in crate::client) attempts: u32,
    /// What the call waits for, once it waits.
    pub(in crate::client) waits_for: Option<Error>,
    pub(in crate::client) measured: Measured,
    pub(in crate::client) span: Span,
}

impl Run {
    pub(in crate::client) fn new(
        client: Client,
        target: Arc<Target>,
        options: CallOptions,
        preferred: Codec,
        shape: Shape,
    ) -> Self {
        let terms = Terms::new(&client.0.options, options, shape == Shape::Unary);
        let codec = terms.codec.unwrap_or(preferred);
        let context = terms.parent();
        let deadline = deadline(context.as_ref(), terms.timeout);
        let measured = Measured::begin(target.edge.clone());
        let span = tracing::info_span!(
            "call",
            service = &*target.service,
            endpoint = &*target.endpoint,
            node = tracing::field::Empty,
        );
        let trace = context.as_ref().map_or_else(Trace::root, |context| context.trace().child());
        Self {
            client,
            target,
            terms,
            codec,
            context,
            trace,
            deadline,
            shape,
            attempt_layers: None,
            tried: SmallVec::new(),
            node: None,
            attempt: None,
            attempts: 0,
            waits_for: None,
            measured,
            span,
        }
    }

    /// Unary calls carry headers that go-micro does not put on streams.
    pub(super) fn unary(&self) -> bool {
        self.shape == Shape::Unary
    }

    /// The way of an attempt, where there are layers around it.
    pub(super) fn attempt_way(&self) -> Option<AttemptWay> {
        self.client.0.attempts.as_ref().or(self.attempt_layers.as_ref()).cloned()
    }

    /// Largest reply message, in bytes.
    pub(in crate::client) fn max_message(&self) -> usize {
        self.client.0.max_message
    }

    /// Where reply messages are counted: those of each stream apart, so that one which is not read leaves room for others.
    pub(in crate::client) fn share(&self) -> Arc<Share> {
        let client = &self.client.0;
        if self.unary() {
            return client.replies.clone();
        }
        Share::new(&client.buffered, client.max_buffered, client.max_message)
    }

    /// True when the nodes of the call come from the registry.
    pub(super) fn is_registered(&self) -> bool {
        self.terms.addresses.is_empty()
    }

    /// Time until the deadline.
    pub(super) fn left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// A peer that resets the call because the deadline passed means the deadline, whatever it says.
    pub(in crate::client) fn settle(&self, error: Error) -> Error {
        let late = self.deadline.is_some_and(|deadline| deadline <= Instant::now());
        if late && error.code() == Code::Cancelled { deadline_passed() } else { error }
    }
}

/// When a call ends that has this `timeout`, and is part of the call `context`.
pub(in crate::client) fn deadline(context: Option<&Context>, timeout: Timeout) -> Option<Instant> {
    let inherited = context.and_then(Context::deadline);
    let own =
        timeout.beside(inherited.is_some()).and_then(|timeout| Instant::now().checked_add(timeout));
    match (inherited, own) {
        (Some(inherited), Some(own)) => Some(inherited.min(own)),
        (inherited, own) => inherited.or(own),
    }
}

pub(in crate::client) fn deadline_passed() -> Error {
    Error::deadline_exceeded("context deadline exceeded").with_id("go.micro.client")
}
