//! The stages of a call, in order: resolve → route → pick → attempt → retry.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TE, USER_AGENT};
use smallvec::SmallVec;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{Instrument as _, Span};

use super::options::CallOptions;
use super::outcome::outcome;
use super::pool::Lease;
use super::reply::{Answer, end, unreadable};
use super::terms::Terms;
use super::{Client, Target};
use crate::codec::Codec;
use crate::context::Context;
use crate::directory::Snapshot;
use crate::error::{Code, Error, Origin, Reach, Reason, Result};
use crate::forward::forward;
use crate::metadata::Metadata;
use crate::resilience::{self, Failure, Lost, Next, Repeats};
use crate::selector::{Attempt, Node, Outcome, Pick, select};
use crate::telemetry::{Measured, Trace};
use crate::transport::{
    Compressor, FROM_SERVICE, Opened, Share, TARGET, remove_timeout, write_timeout,
};

const X_CONTENT_TYPE: HeaderName = HeaderName::from_static("x-content-type");
const NAMESPACE: HeaderName = HeaderName::from_static("micro-namespace");
const AGENT: HeaderValue = HeaderValue::from_static(concat!("micro/", env!("CARGO_PKG_VERSION")));
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");

/// A call under way: its terms, and how far it has come.
pub(super) struct Run {
    pub(super) client: Client,
    pub(super) target: Arc<Target>,
    pub(super) terms: Terms,
    pub(super) codec: Codec,
    context: Option<Context>,
    trace: Trace,
    pub(super) deadline: Option<Instant>,
    /// Unary calls carry headers that go-micro does not put on streams.
    unary: bool,
    pub(super) tried: SmallVec<[Arc<Node>; 4]>,
    node: Option<Arc<Node>>,
    attempt: Option<Attempt>,
    attempts: u32,
    /// What the call waits for, once it waits.
    pub(super) waits_for: Option<Error>,
    measured: Measured,
    span: Span,
}

/// One message and the metadata around it.
pub(super) struct Received {
    pub(super) message: Bytes,
    pub(super) compressed: bool,
    pub(super) headers: Metadata,
    pub(super) trailers: Metadata,
}

/// What an attempt does on a connection to the node that was picked.
pub(super) trait Step: Sync {
    type Done: Send;

    fn attempt(&self, run: &Run, lease: &Lease) -> impl Future<Output = Result<Self::Done>> + Send;
}

/// One request message, one reply.
pub(super) struct Unary(pub(super) Bytes);

impl Step for Unary {
    type Done = Received;

    async fn attempt(&self, run: &Run, lease: &Lease) -> Result<Received> {
        let mut answer = run.send(lease, &self.0).await?;
        let mut message = answer.frames.next().await.map_err(unreadable)?;
        if run.terms.counted
            && let Some(hold) = answer.frames.take_hold()
        {
            message = message.map(|message| hold.on(message));
        }
        let compressed = answer.frames.compressed();
        let mut more = false;
        answer.spoke = message.is_some();
        if answer.spoke {
            more = answer.frames.next().await.map_err(unreadable)?.is_some();
        }
        let trailers = answer.frames.take_trailers();
        let (head, seen) = ((!answer.spoke).then_some(&answer.headers), run.terms.seen.as_ref());
        if !more && let Some(error) = end(head, trailers.as_ref(), seen) {
            return Err(error.with_answer(answer.headers, trailers.unwrap_or_default()));
        }
        let message = message.filter(|_| !more).ok_or_else(|| {
            Error::unimplemented("expected exactly one reply: is the endpoint a stream?")
                .with_id("go.micro.client")
        })?;
        Ok(Received {
            message,
            compressed,
            headers: answer.headers.into(),
            trailers: trailers.unwrap_or_default().into(),
        })
    }
}

/// One request message, many replies: as repeatable as a unary call until the head is there.
pub(super) struct ServerStream(pub(super) Bytes);

impl Step for ServerStream {
    type Done = Answer;

    async fn attempt(&self, run: &Run, lease: &Lease) -> Result<Answer> {
        run.send(lease, &self.0).await
    }
}

/// A stream of requests that has begun. What follows cannot be repeated, so only the way there is.
pub(super) struct OpenStream;

impl Step for OpenStream {
    type Done = Opened;

    async fn attempt(&self, run: &Run, lease: &Lease) -> Result<Opened> {
        lease.open_stream(run.target.path.clone(), run.headers()?)
    }
}

/// Where the nodes of a call come from.
pub(super) enum Nodes {
    Registered(Arc<Snapshot>),
    Fixed(Vec<Arc<Node>>),
}

impl Nodes {
    pub(super) fn as_slice(&self) -> &[Arc<Node>] {
        match self {
            Self::Registered(snapshot) => snapshot.nodes(),
            Self::Fixed(nodes) => nodes,
        }
    }
}

impl Run {
    pub(super) fn new(
        client: Client,
        target: Arc<Target>,
        options: CallOptions,
        preferred: Codec,
        unary: bool,
    ) -> Self {
        let terms = Terms::new(&client.0.options, options, unary);
        let codec = terms.codec.unwrap_or(preferred);
        let context = terms.parent();
        let inherited = context.as_ref().and_then(Context::deadline);
        let own = terms.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let deadline = match (inherited, own) {
            (Some(inherited), Some(own)) => Some(inherited.min(own)),
            (inherited, own) => inherited.or(own),
        };
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
            unary,
            tried: SmallVec::new(),
            node: None,
            attempt: None,
            attempts: 0,
            waits_for: None,
            measured,
            span,
        }
    }

    /// Runs the stages until one attempt succeeds, retries end or time is up. What succeeded keeps its connection.
    pub(super) async fn bounded<S: Step>(&mut self, step: S) -> Result<(S::Done, Lease)> {
        let span = self.span.clone();
        let deadline = self.deadline;
        let result = {
            // Pinned where it is: moving it from wrapper to wrapper costs more than some calls.
            let stages = pin!(self.stages(&step));
            let stages = stages.instrument(span);
            match deadline {
                Some(deadline) => timeout_at(deadline, stages).await.ok(),
                None => Some(stages.await),
            }
        };
        result.unwrap_or_else(|| Err(self.late())).map_err(|error| self.fail(error))
    }

    /// Largest reply message, in bytes.
    pub(super) fn max_message(&self) -> usize {
        self.client.0.max_message
    }

    /// Where reply messages are counted: those of each stream apart, so that one which is not read leaves room for others.
    pub(super) fn share(&self) -> Arc<Share> {
        let client = &self.client.0;
        if self.unary {
            return client.replies.clone();
        }
        Share::new(&client.buffered, client.max_buffered, client.max_message)
    }

    /// The call succeeded: the node did well.
    pub(super) fn succeed(&mut self) {
        if let Some(attempt) = self.attempt.take() {
            attempt.finish(Outcome::Success);
        }
        self.measured.finish(None);
    }

    /// The call failed for good: counts it, and adds where that was.
    pub(super) fn fail(&mut self, error: Error) -> Error {
        // An attempt that is still open was ended by the deadline, or broke off in a stream.
        if let Some(attempt) = self.attempt.take() {
            let outcome = outcome(&error);
            attempt.finish(outcome);
            if let Some(node) = &self.node {
                self.suspect(node, &error, outcome);
            }
        }
        self.measured.finish(Some(error.code()));
        self.explain(error)
    }

    async fn stages<S: Step>(&mut self, step: &S) -> Result<(S::Done, Lease)> {
        let mut nodes = self.resolve().await?;
        self.target.callee.budget.deposit();
        let mut repeats = Repeats::default();
        let mut again = None;
        loop {
            let (node, ready) = match self.choose(&nodes, again.take()) {
                Err(error) if self.terms.wait_for_ready => {
                    nodes = Box::pin(self.until_ready(Some(nodes), error)).await?;
                    continue;
                }
                chosen => chosen?,
            };
            self.waits_for = None;
            self.attempts += 1;
            self.node = Some(node.clone());
            self.span.record("node", node.id());
            self.attempt = Some(node.begin());
            let (error, lost) = match self.connected(&node, ready).await {
                Ok(lease) => match step.attempt(self, &lease).await {
                    Ok(done) => return Ok((done, lease)),
                    Err(error) if lease.is_open() => (error, Lost::Taken),
                    Err(error) => (error, Lost::Gone { served: lease.has_served() }),
                },
                Err(error) => (error, Lost::Unreached),
            };
            let error = self.settle(error);
            self.report(&node, &error, lost);
            if !self.tried.iter().any(|tried| tried.is_same(&node)) {
                self.tried.push(node.clone());
            }
            let elsewhere = nodes.as_slice().len() > self.tried.len();
            let waits = self.terms.wait_for_ready
                && (lost == Lost::Unreached || error.reason() == Some(Reason::OtherService))
                && outcome(&error) == Outcome::Refused;
            if waits && !elsewhere {
                nodes = Box::pin(self.until_ready(Some(nodes), error)).await?;
                repeats.begin_anew();
                continue;
            }
            match self.next(&mut repeats, &error, lost, elsewhere) {
                Next::Fail if waits => {
                    nodes = Box::pin(self.until_ready(Some(nodes), error)).await?;
                    repeats.begin_anew();
                }
                Next::Fail => return Err(error),
                Next::Reconnect => again = Some(node),
                // Waiting would only turn a telling error into a late one.
                Next::Repeat(wait) if self.left().is_some_and(|left| left <= wait) => {
                    return Err(error);
                }
                Next::Repeat(wait) if wait.is_zero() => {}
                Next::Repeat(wait) => sleep(wait).await,
            }
        }
    }

    fn next(&self, repeats: &mut Repeats, error: &Error, lost: Lost, elsewhere: bool) -> Next {
        let idempotent = self.terms.idempotent.unwrap_or_else(|| {
            let endpoint = |node: &Arc<Node>| {
                let advertised = self.target.names().find_map(|name| node.endpoint(&name));
                advertised.is_some_and(|endpoint| endpoint.is_idempotent())
            };
            self.node.as_ref().is_some_and(endpoint)
        });
        let terms = resilience::Terms {
            retry: &self.terms.retry,
            retries: self.terms.retries,
            backoff: self.terms.backoff,
            budget: &self.target.callee.budget,
        };
        let failure = Failure { error, attempt: self.attempts.saturating_sub(1), idempotent };
        repeats.next(terms, failure, lost, elsewhere)
    }

    /// Resolve: the nodes of the service, from the cache without waiting when it is warm.
    async fn resolve(&mut self) -> Result<Nodes> {
        if !self.terms.addresses.is_empty() {
            let at = |address: &String| self.client.node_at(address);
            return Ok(Nodes::Fixed(self.terms.addresses.iter().map(at).collect()));
        }
        let cache = &self.client.0.cache;
        match cache.peek(&self.target.service) {
            Some(snapshot) => Ok(Nodes::Registered(snapshot)),
            // Apart from the call, whose state it would make larger; it is rare.
            None => match Box::pin(cache.resolve(&self.target.service)).await {
                Err(error)
                    if self.terms.wait_for_ready
                        && matches!(error.code(), Code::Unavailable | Code::DeadlineExceeded) =>
                {
                    Box::pin(self.until_ready(None, error)).await
                }
                found => found.map(Nodes::Registered),
            },
        }
    }

    /// Route and pick: the filters narrow, the strategy chooses.
    pub(super) fn pick(&self, nodes: &Nodes) -> Result<Arc<Node>> {
        let strategy = self.terms.strategy(self.client.0.strategy.as_ref());
        select(strategy, nodes.as_slice(), &self.choice()).cloned()
    }

    /// What the call asks of a node.
    pub(super) fn choice(&self) -> Pick<'_> {
        Pick {
            filters: &self.terms.filters,
            tried: &self.tried,
            key: self.terms.key.as_deref(),
            ..Pick::new(&self.target.service, &self.target.endpoint)
        }
    }

    /// Sends one request message and reads the head of the answer.
    async fn send(&self, lease: &Lease, message: &Bytes) -> Result<Answer> {
        let path = self.target.path.clone();
        let response = lease.send(path, self.headers()?, message.clone())?.await?;
        Answer::read(response, self.max_message(), self.share(), self.terms.seen.as_ref())
    }

    /// The headers of an attempt. Time goes by between attempts, so each has its own.
    pub(super) fn headers(&self) -> Result<HeaderMap> {
        let mut headers = self.client.0.heads[usize::from(!self.unary)].clone();
        if self.codec != Codec::Proto {
            let content_type = HeaderValue::from_static(self.codec.grpc_content_type());
            headers.insert(CONTENT_TYPE, content_type.clone());
            headers.insert(X_CONTENT_TYPE, content_type);
        }
        Compressor::announce(&mut headers, self.terms.compression);
        // What is inherited fills the gaps; what the call was given comes before all else.
        let own = self.terms.metadata.headers();
        if let Some(context) = &self.context {
            let inbound = context.metadata().headers();
            let found = self.terms.addresses.is_empty();
            forward(inbound, &mut headers, self.terms.forward.as_deref(), found);
            if let Some(namespace) = inbound.get(NAMESPACE) {
                headers.insert(NAMESPACE, namespace.clone());
            }
        }
        let named = self.target.named.as_ref().filter(|_| self.is_registered());
        if let Some(named) = named.or(self.terms.found_for.as_ref()) {
            headers.insert(TARGET, named.clone());
        }
        self.trace.write(&mut headers);
        match self.left() {
            Some(left) => write_timeout(&mut headers, left),
            None => remove_timeout(&mut headers),
        }
        replace(&mut headers, own)?;
        Ok(headers)
    }

    /// True when the nodes of the call come from the registry.
    fn is_registered(&self) -> bool {
        self.terms.addresses.is_empty()
    }

    fn left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// The one place where a failed attempt is told to the selector and the registry.
    fn report(&mut self, node: &Node, error: &Error, lost: Lost) {
        let outcome = match lost {
            // It closes connections for their age, and the request was not looked at: that says nothing of the node.
            Lost::Gone { served: true } if error.reach() == Reach::Never => Outcome::Cancelled,
            _ => outcome(error),
        };
        if let Some(attempt) = self.attempt.take() {
            attempt.finish(outcome);
        }
        self.suspect(node, error, outcome);
        tracing::debug!(
            service = &*self.target.service,
            endpoint = &*self.target.endpoint,
            node = node.id(),
            attempt = self.attempts,
            %error,
            "attempt failed"
        );
    }

    /// Tells the registry of a node that refused a connection, or whose connection broke: it may be gone.
    fn suspect(&self, node: &Node, error: &Error, outcome: Outcome) {
        let broke =
            outcome == Outcome::Failure && error.code() == Code::Unavailable && !error.is_remote();
        if (broke || outcome == Outcome::Refused) && self.is_registered() {
            self.client.0.cache.registry().suspect(&self.target.service, &node.record());
        }
    }

    /// A peer that resets the call because the deadline passed means the deadline, whatever it says.
    pub(super) fn settle(&self, error: Error) -> Error {
        let late = self.deadline.is_some_and(|deadline| deadline <= Instant::now());
        if late && error.code() == Code::Cancelled { deadline_passed() } else { error }
    }

    /// Adds where the call failed.
    fn explain(&self, error: Error) -> Error {
        let node = self.node.as_ref().map_or_else(String::new, |node| {
            if node.id() == node.address() {
                node.id().to_owned()
            } else {
                format!("{} at {}", node.id(), node.address())
            }
        });
        error.with_origin(Origin {
            service: self.target.service.to_string(),
            endpoint: self.target.endpoint.to_string(),
            node,
            attempts: self.attempts,
        })
    }
}

/// The headers that are the same in every call of a client. Those that differ stand there too, so
/// that a call replaces a value and no map has to grow.
pub(super) fn head(
    name: &str,
    namespace: &str,
    options: &CallOptions,
    unary: bool,
) -> Result<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(24);
    let content_type = HeaderValue::from_static(Codec::Proto.grpc_content_type());
    headers.insert(CONTENT_TYPE, content_type.clone());
    headers.insert(TE, TRAILERS);
    headers.insert(USER_AGENT, AGENT);
    headers.insert(X_CONTENT_TYPE, content_type);
    Compressor::accept(&mut headers);
    let named = |name: &str| HeaderValue::from_str(name).ok().filter(|v| !v.is_empty());
    if let Some(name) = named(name) {
        // The direct caller, not the first of the chain: edges would be wrong otherwise.
        headers.insert(FROM_SERVICE, name);
    }
    if let Some(namespace) = named(namespace).filter(|_| unary) {
        headers.insert(NAMESPACE, namespace);
    }
    write_timeout(&mut headers, Duration::ZERO);
    Trace::root().write(&mut headers);
    replace(&mut headers, options.metadata.headers())?;
    Ok(headers)
}

/// Puts headers in place of those of the same names.
fn replace(headers: &mut HeaderMap, own: &HeaderMap) -> Result<()> {
    for name in own.keys() {
        headers.remove(name);
        for value in own.get_all(name) {
            // What is inherited comes off the wire, and may have left no room.
            headers.try_append(name.clone(), value.clone()).map_err(|_| {
                Error::invalid_argument("metadata of more names than a header list can hold")
            })?;
        }
    }
    Ok(())
}

pub(super) fn deadline_passed() -> Error {
    Error::deadline_exceeded("context deadline exceeded").with_id("go.micro.client")
}
