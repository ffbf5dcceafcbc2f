//! What a handler knows about the call it serves, and what calls made from it inherit.
//!
//! The context of a running handler is also found by the client: a call made inside the handler
//! carries on the deadline, the trace and the metadata without being told. Work moved to another
//! task takes the context along with [`crate::client::Call::context`].

use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use http::{Extensions, HeaderMap};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::auth::Account;
use crate::metadata::{self, Metadata};
use crate::telemetry::Trace;
use crate::transport::{Compression, Compressor, FROM_SERVICE};

tokio::task_local! {
    static CURRENT: Context;
}

/// The inbound call a handler is serving. Cheap to clone.
#[derive(Clone)]
pub struct Context(Arc<Inner>);

struct Inner {
    home: Arc<Home>,
    endpoint: Arc<str>,
    metadata: Metadata,
    deadline: Option<Instant>,
    peer: Option<SocketAddr>,
    /// Read from the headers when a handler asks: most never do.
    trace: OnceLock<Trace>,
    account: OnceLock<Account>,
    cancel: OnceLock<CancellationToken>,
    ended: AtomicBool,
    /// Whether the request message read last came compressed.
    compressed: AtomicBool,
    /// How the handler wants its messages: [`UNDECIDED`], [`PLAIN`] or a [`Compression`].
    compression: AtomicU8,
    /// Boxed, because most handlers add nothing and every context is moved.
    reply: Mutex<Option<Box<ReplyMetadata>>>,
    extensions: Mutex<Extensions>,
}

/// The handler leaves compression to the server.
const UNDECIDED: u8 = u8::MAX;
/// The handler wants its messages as they are.
const PLAIN: u8 = 0;

/// Metadata a handler adds to its answer.
#[derive(Default)]
struct ReplyMetadata {
    headers: HeaderMap,
    trailers: HeaderMap,
}

/// Where calls are served.
pub(crate) struct Home {
    name: Arc<str>,
    /// The service around the server, where there is one: it knows itself what it is.
    service: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl Home {
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self { name, service: OnceLock::new() }
    }

    /// The server belongs to this service. What was said first stays.
    pub(crate) fn settle(&self, service: impl Any + Send + Sync) {
        let _ = self.service.set(Box::new(service));
    }
}

/// What the server read off the wire about a call.
pub(crate) struct Arrival {
    pub(crate) home: Arc<Home>,
    pub(crate) endpoint: Arc<str>,
    pub(crate) metadata: Metadata,
    pub(crate) deadline: Option<Instant>,
    pub(crate) peer: Option<SocketAddr>,
}

impl Context {
    pub(crate) fn new(arrival: Arrival) -> Self {
        Self(Arc::new(Inner {
            home: arrival.home,
            endpoint: arrival.endpoint,
            metadata: arrival.metadata,
            deadline: arrival.deadline,
            peer: arrival.peer,
            trace: OnceLock::new(),
            account: OnceLock::new(),
            cancel: OnceLock::new(),
            ended: AtomicBool::new(false),
            compressed: AtomicBool::new(false),
            compression: AtomicU8::new(UNDECIDED),
            reply: Mutex::default(),
            extensions: Mutex::default(),
        }))
    }

    /// For bindings: a question to a plugin of another language, which comes to it as a call does.
    #[doc(hidden)]
    pub fn of_question(
        service: &str,
        endpoint: &str,
        metadata: Metadata,
        deadline: Option<Instant>,
    ) -> Self {
        let (home, endpoint) = (Arc::new(Home::new(service.into())), endpoint.into());
        Self::new(Arrival { home, endpoint, metadata, deadline, peer: None })
    }

    /// The context of the handler that is running on this task, if one is.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Runs `future` as part of this call: client calls made in it inherit from this context.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        CURRENT.scope(self, future).await
    }

    /// Runs `work` as part of this call, for hand-written polling.
    pub(crate) fn enter<R>(&self, work: impl FnOnce() -> R) -> R {
        CURRENT.sync_scope(self.clone(), work)
    }

    /// Name of the service that is serving.
    pub fn service(&self) -> &str {
        &self.0.home.name
    }

    /// What the service around the server has left of itself.
    pub(crate) fn home<T: Any>(&self) -> Option<&T> {
        self.0.home.service.get()?.downcast_ref()
    }

    /// Endpoint that was called, for example `Greeter.Hello`.
    pub fn endpoint(&self) -> &str {
        &self.0.endpoint
    }

    /// The message that is being handled, where this is no call.
    pub fn delivered(&self) -> Option<Arc<crate::broker::Delivered>> {
        self.extension()
    }

    /// Whether a message is being handled.
    pub(crate) fn is_message(&self) -> bool {
        self.delivered().is_some()
    }

    /// Headers the caller sent. Names ignore case.
    pub fn metadata(&self) -> &Metadata {
        &self.0.metadata
    }

    /// Service that called, from `micro-from-service`; `None` for foreign clients.
    pub fn caller(&self) -> Option<&str> {
        self.0.metadata.headers().get(FROM_SERVICE)?.to_str().ok()
    }

    /// When the caller stops waiting; `None` when it waits for ever.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.deadline
    }

    /// Time left until the deadline; zero when it has passed, `None` when there is none.
    pub fn remaining(&self) -> Option<Duration> {
        self.0.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Address of the caller's socket.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.0.peer
    }

    /// Trace the call belongs to.
    pub fn trace(&self) -> &Trace {
        self.0.trace.get_or_init(|| Trace::inbound(self.0.metadata.headers()))
    }

    /// Who is calling, once authentication has said so.
    pub fn account(&self) -> Option<&Account> {
        self.0.account.get()
    }

    /// Says who is calling; for authentication middleware. False when the account is set already.
    pub fn set_account(&self, account: Account) -> bool {
        self.0.account.set(account).is_ok()
    }

    /// Resolves when the caller no longer waits: the call was answered, cancelled or its
    /// deadline passed. The handler's own future is dropped then; this is for tasks it started.
    pub async fn cancelled(&self) {
        let token = self.0.cancel.get_or_init(CancellationToken::new);
        if self.0.ended.load(Ordering::SeqCst) {
            return;
        }
        token.cancelled().await;
    }

    /// Adds metadata to the answer's headers. Without effect once the answer's head has gone out:
    /// in a stream that is after the handler has returned its stream.
    ///
    /// # Errors
    /// As [`Metadata::insert`].
    pub fn set_header(&self, name: &str, value: &str) -> crate::Result<()> {
        let mut metadata = Metadata::new();
        metadata.append(name, value)?;
        self.extend_headers(metadata)
    }

    /// Adds metadata to the answer's trailers, which follow the last message.
    ///
    /// # Errors
    /// As [`Metadata::insert`].
    pub fn set_trailer(&self, name: &str, value: &str) -> crate::Result<()> {
        let mut metadata = Metadata::new();
        metadata.append(name, value)?;
        self.extend_trailers(metadata)
    }

    /// Adds a whole set of metadata to the answer's headers.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for more names than metadata has room for, see [`Metadata::insert`].
    pub fn extend_headers(&self, metadata: Metadata) -> crate::Result<()> {
        self.with_reply(|reply| extend(&mut reply.headers, metadata))
    }

    /// Adds a whole set of metadata to the answer's trailers.
    ///
    /// # Errors
    /// As [`Context::extend_headers`].
    pub fn extend_trailers(&self, metadata: Metadata) -> crate::Result<()> {
        self.with_reply(|reply| extend(&mut reply.trailers, metadata))
    }

    /// Whether the request message came compressed; in a stream, the one that was read last.
    pub fn request_compressed(&self) -> bool {
        self.0.compressed.load(Ordering::Relaxed)
    }

    /// Compresses the messages of the answer that follow, or with `None` sends them as they are;
    /// unless it is called, the server's own settings hold. Messages of every size are compressed,
    /// but nothing that the caller cannot read.
    ///
    /// A stream may change between compressed and plain before each message it yields. Its
    /// compression is named in the head, so it must be set once before the handler returns the
    /// stream; messages under another one go out plain.
    pub fn set_compression(&self, compression: impl Into<Option<Compression>>) {
        let choice = compression.into().map_or(PLAIN, Compression::to_byte);
        self.0.compression.store(choice, Ordering::Relaxed);
    }

    pub(crate) fn note_compressed(&self, compressed: bool) {
        self.0.compressed.store(compressed, Ordering::Relaxed);
    }

    /// What the handler chose, as far as the caller can read it; `None` when it did not choose.
    pub(crate) fn compression(&self) -> Option<Option<Compression>> {
        let choice = self.0.compression.load(Ordering::Relaxed);
        if choice == UNDECIDED {
            return None;
        }
        let headers = self.0.metadata.headers();
        Some(Compression::from_byte(choice).filter(|c| Compressor::peer_reads(headers, *c)))
    }

    /// Compression of the next message of a stream whose head named `announced`.
    pub(crate) fn compression_within(&self, announced: Option<Compression>) -> Option<Compression> {
        let choice = self.0.compression.load(Ordering::Relaxed);
        announced.filter(|named| choice == UNDECIDED || choice == named.to_byte())
    }

    /// Keeps a value for later middleware and the handler; one per type.
    pub fn insert<T: Clone + Send + Sync + 'static>(&self, value: T) {
        self.0.extensions.lock().unwrap_or_else(PoisonError::into_inner).insert(value);
    }

    /// The value of type `T` that middleware left here.
    pub fn extension<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        self.0.extensions.lock().unwrap_or_else(PoisonError::into_inner).get().cloned()
    }

    pub(crate) fn take_reply_headers(&self) -> HeaderMap {
        self.taken(|reply| &mut reply.headers)
    }

    pub(crate) fn take_reply_trailers(&self) -> HeaderMap {
        self.taken(|reply| &mut reply.trailers)
    }

    /// Tells everyone in [`Context::cancelled`] that the call is over.
    pub(crate) fn end(&self) {
        self.0.ended.store(true, Ordering::SeqCst);
        if let Some(token) = self.0.cancel.get() {
            token.cancel();
        }
    }

    fn with_reply<T>(&self, change: impl FnOnce(&mut ReplyMetadata) -> T) -> T {
        let mut reply = self.0.reply.lock().unwrap_or_else(PoisonError::into_inner);
        change(reply.get_or_insert_default())
    }

    fn taken(&self, part: impl FnOnce(&mut ReplyMetadata) -> &mut HeaderMap) -> HeaderMap {
        let mut reply = self.0.reply.lock().unwrap_or_else(PoisonError::into_inner);
        reply.as_deref_mut().map(|reply| std::mem::take(part(reply))).unwrap_or_default()
    }
}

/// Adds metadata to what is there, also under the same names.
///
/// # Errors
/// `INVALID_ARGUMENT` for more names than there is room for.
pub(crate) fn extend(target: &mut HeaderMap, metadata: Metadata) -> crate::Result<()> {
    let mut name = None;
    for (next, value) in metadata.into_headers() {
        name = next.or(name);
        if let Some(name) = &name {
            metadata::append(target, name.clone(), value)?;
        }
    }
    Ok(())
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("service", &self.0.home.name)
            .field("endpoint", &self.0.endpoint)
            .field("peer", &self.0.peer)
            .field("remaining", &self.remaining())
            .field("metadata", &self.0.metadata)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context {
        Context::new(Arrival {
            home: Arc::new(Home::new("greeter".into())),
            endpoint: "Greeter.Hello".into(),
            metadata: Metadata::new(),
            deadline: None,
            peer: None,
        })
    }

    #[tokio::test]
    async fn current_context_is_visible_inside_the_scope_only() {
        assert!(Context::current().is_none());
        let inside = context().scope(async { Context::current().map(|c| c.endpoint().to_owned()) });
        assert_eq!(inside.await.as_deref(), Some("Greeter.Hello"));
        assert!(Context::current().is_none());
    }

    #[tokio::test]
    async fn cancelled_resolves_when_the_call_ends_before_and_after_asking() {
        let context = context();
        let waiting = tokio::spawn({
            let context = context.clone();
            async move { context.cancelled().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        context.end();
        waiting.await.expect("the waiting task ends");
        context.cancelled().await;
    }
}
