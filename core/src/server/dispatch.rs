//! What every call goes through, whichever way it is written: find the endpoint, read the call's
//! terms, run the handler.
//!
//! Every gRPC endpoint is served as a bidirectional stream and a handler starts as soon as its
//! message is there. Waiting for the client to half-close, as generated servers do, would hang
//! go-micro clients and proxies, which never do (wire reference 1.5).

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt as _;
use http::HeaderMap;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument as _;

use super::admission::{Admission, Timing};
use super::arriving::Wait;
use super::call::CallRecord;
use super::connection::Connection;
use super::cors::Cors;
use super::endpoint::{Endpoint, Role};
use super::failure::{deadline_passed, panicked, told};
use super::handler::{Body, Handler, NO_MESSAGE, Request};
use super::path::Path;
use super::query::Query;
use super::requests::Requests;
use super::routes::Routes;
use crate::codec::Codec;
use crate::context::{Arrival, Context, Home};
use crate::error::{Code, Error, Result};
use crate::metadata::Metadata;
use crate::telemetry::Metrics;
use crate::transport::{Compression, Hold, Said, size_of_headers};

/// Everything a connection needs to answer calls.
pub(crate) struct Dispatch {
    pub(super) service: Arc<str>,
    pub(super) home: Arc<Home>,
    /// True where the registry has this server under its name, and under no other.
    pub(super) registered: bool,
    pub(super) routes: Routes,
    /// Health and reflection, which no user's endpoint of the same short name replaces.
    pub(super) standard: Routes,
    /// Answers what no endpoint does.
    pub(super) fallback: Option<Arc<Endpoint>>,
    /// The layers, when there are any.
    pub(super) layers: Option<Handler>,
    /// The layers also stand around the endpoints that every server has.
    pub(super) layer_standard: bool,
    pub(super) metrics: Arc<Metrics>,
    pub(super) admission: Arc<Admission>,
    pub(super) max_message: usize,
    /// How long a message may take to come.
    pub(super) patience: Duration,
    pub(super) compression: Option<Compression>,
    /// Web pages of other origins that may call.
    pub(super) cors: Option<Cors>,
}

/// What all requests of a connection share.
pub(crate) struct Link {
    pub(super) dispatch: Arc<Dispatch>,
    pub(super) connection: Arc<Connection>,
    /// What its peer said of itself.
    pub(super) said: Arc<Said>,
}

/// Where a request came from, and when.
pub(crate) struct Peer {
    pub(super) link: Arc<Link>,
    /// True when the request is for another service, which had this address before.
    pub(super) misdirected: bool,
    /// When the request came.
    pub(super) arrived: Instant,
}

/// What a protocol reads off the head of a call.
pub(super) struct Head {
    pub(super) codec: Codec,
    /// Compression of the requests.
    pub(super) incoming: Option<Compression>,
    /// Compression of the replies that are worth it.
    pub(super) outgoing: Option<Compression>,
    /// Time the caller gives the call.
    pub(super) timeout: Option<Duration>,
    /// The query of a call that was made by GET.
    pub(super) query: Option<Query>,
}

/// A call that was let in.
pub(super) struct Admitted {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) head: Head,
    pub(super) record: CallRecord,
    probe: bool,
    /// When it was let in, as long as it did not wait since: clocks are not free.
    now: Option<Instant>,
}

/// A head of so many bytes and more is counted.
const LARGE_HEAD: usize = 4 * 1024;

/// What a call's head holds, where that is much.
///
/// # Errors
/// `RESOURCE_EXHAUSTED` when there is no room for it.
fn held(headers: &HeaderMap, connection: &Connection) -> Result<Option<Hold>> {
    let bytes = size_of_headers(headers);
    if bytes < LARGE_HEAD { Ok(None) } else { connection.share.take(bytes).map(Some) }
}

impl Dispatch {
    /// The endpoint at `path`.
    pub(super) fn find(&self, path: &str) -> Result<Arc<Endpoint>> {
        let found = self.routes_of(path).find(path);
        match (&self.fallback, &found) {
            (Some(fallback), Err(error))
                if error.code() == Code::Unimplemented && !is_standard(path) =>
            {
                Ok(fallback.clone())
            }
            _ => found,
        }
    }

    fn routes_of(&self, path: &str) -> &Routes {
        if is_standard(path) { &self.standard } else { &self.routes }
    }

    /// Lets a call in, or says why not. `read` takes the protocol's part of the headers; the rest
    /// become the call's metadata.
    pub(super) fn admit(
        &self,
        path: &str,
        headers: &mut HeaderMap,
        peer: &Peer,
        read: impl FnOnce(&mut HeaderMap) -> Result<Head>,
    ) -> Result<Admitted> {
        if peer.misdirected {
            return Err(self.misdirected());
        }
        let endpoint = self.find(path)?;
        // go-micro exempts its own `Debug`; probes of the platform carry whatever they carry.
        let probe = is_standard(path) || endpoint.name.starts_with("Debug.");
        let mut head = read(headers)?;
        let timing = Timing { arrived: peer.arrived, budget: head.timeout };
        let now = self.admission.enter(&endpoint, probe, timing)?;
        let held = held(headers, &peer.link.connection)?;
        let unknown = endpoint.role == Role::Fallback;
        let name = if unknown { Path::endpoint(path) } else { endpoint.name.clone() };
        let context = Context::new(Arrival {
            home: self.home.clone(),
            endpoint: name,
            metadata: Metadata::from(std::mem::take(headers)),
            deadline: timing.deadline(),
            peer: Some(peer.link.connection.address),
        });
        if unknown {
            context.insert(Path::new(path));
        }
        if let Some(query) = head.query.take() {
            context.insert(query);
        }
        let edge =
            self.metrics.edge(context.caller().unwrap_or_default(), &self.service, &endpoint.name);
        let record = CallRecord::begin(context, edge, held, timing.arrived);
        Ok(Admitted { endpoint, head, record, probe, now })
    }

    /// go-micro's number of a call that could not be, so that its rules repeat it too.
    #[cold]
    fn misdirected(&self) -> Error {
        let own = &self.service;
        let detail = format!("the call is for another service, and {own} has its address now");
        Error::unavailable(detail).with_id("go.micro.server").with_http_code(500)
    }

    /// Runs the handler with everything that bounds it: deadline, panic, cancellation by drop.
    pub(super) async fn run(
        &self,
        call: &mut Admitted,
        mut requests: impl Requests,
        connection: &Arc<Connection>,
    ) -> Result<Body> {
        let context = call.record.context().clone();
        let deadline = context.deadline();
        let shape = call.endpoint.shape;
        let span = tracing::info_span!(
            "serve",
            service = &*self.service,
            endpoint = &*call.endpoint.name,
            caller = context.caller().unwrap_or_default(),
        );
        let handle = async {
            // What is held for the one message stays so until the handler is done, whatever it makes of it.
            let mut _held = None;
            let body = if shape.client_streams() {
                call.record.enter(self.admission.slot(connection, call.probe)?);
                call.now = None;
                connection.unsent.room().await;
                Body::Stream(requests.into_messages(context.clone(), self.patience))
            } else {
                let mut wait = Wait::new(self.patience);
                let place = || self.admission.wait(connection);
                if !connection.unsent.has_room() {
                    call.now = None;
                    let _waiting = place()?;
                    connection.unsent.room().await;
                }
                let now = &mut call.now;
                let message = poll_fn(|cx| match requests.poll_message(cx) {
                    Poll::Pending => {
                        *now = None;
                        wait.poll(requests.received(), cx, place)
                    }
                    ready => ready,
                })
                .await?;
                context.note_compressed(requests.compressed());
                _held = requests.take_hold();
                poll_fn(|cx| match requests.poll_only(cx) {
                    Poll::Pending => {
                        *now = None;
                        wait.poll(requests.received(), cx, place)
                    }
                    ready => ready,
                })
                .await?;
                drop(wait);
                call.record.enter(self.admission.slot(connection, call.probe)?);
                Body::Message(message.ok_or_else(|| Error::unimplemented(NO_MESSAGE))?)
            };
            let pass = self.admission.start(&call.endpoint, deadline, call.now)?;
            let request = Request {
                context: context.clone(),
                shape,
                codec: call.head.codec,
                body,
                route: call.endpoint.handler.clone(),
            };
            let layered = self.layer_standard || call.endpoint.role != Role::Standard;
            let layers = self.layers.as_ref().filter(|_| layered);
            let handler = layers.unwrap_or(&call.endpoint.handler);
            // The call inside `async` puts a handler's own panic before its first await in here.
            let handled = AssertUnwindSafe(async { handler.run(request).await }).catch_unwind();
            let handled = context.clone().scope(handled).await;
            if let Some(pass) = pass {
                let now = Instant::now();
                pass.finish(now, matches!(handled, Ok(Ok(_))));
                if matches!(&handled, Ok(Ok(response)) if matches!(response.body, Body::Message(_)))
                {
                    call.record.answered(now);
                }
            }
            match handled {
                Ok(answer) => {
                    answer.map(|response| response.body).map_err(|error| told(error, &context))
                }
                Err(panic) => Err(panicked(panic.as_ref(), &context)),
            }
        };
        // Pinned where it is: moving it from wrapper to wrapper costs more than some handlers.
        let handle = pin!(handle);
        let handle = handle.instrument(span);
        match deadline {
            Some(at) => timeout_at(at, handle).await.unwrap_or_else(|_| Err(deadline_passed())),
            None => handle.await,
        }
    }
}

/// Health and reflection, which probes and tools ask for.
fn is_standard(path: &str) -> bool {
    path.starts_with("/grpc.health.") || path.starts_with("/grpc.reflection.")
}
