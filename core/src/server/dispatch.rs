//! From a request's head to its answer: find the endpoint, read the call's terms, run the handler.
//!
//! Every endpoint is served as a bidirectional stream and a handler starts as soon as its message
//! is there. Waiting for the client to half-close, as generated servers do, would hang go-micro
//! clients and proxies, which never do (wire reference 1.5).

use std::any::Any;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, Request as HttpRequest, Response as HttpResponse, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::Instrument as _;

use super::call::{CallRecord, InFlight};
use super::endpoint::{Endpoint, Routes};
use super::handler::{Body, Handler, NO_MESSAGE, Request};
use super::reply::{ReplyBody, StreamBody};
use super::unsent::Unsent;
use crate::auth::expect_bearer;
use crate::codec::Codec;
use crate::context::{Arrival, Context};
use crate::error::{Error, Result};
use crate::metadata::Metadata;
use crate::streaming::Messages;
use crate::telemetry::Metrics;
use crate::transport::{
    Compression, Compressor, FrameError, Frames, broken, caller_is_micro, frame, read_timeout,
    restore_names, write_status,
};

/// Bytes of a refused request that are read before the answer.
const MAX_DISCARDED: usize = 64 * 1024;
/// Time for that.
const DISCARD_TIME: Duration = Duration::from_secs(1);

/// Everything a connection needs to answer calls.
pub(crate) struct Dispatch {
    pub(super) service: Arc<str>,
    pub(super) routes: Routes,
    /// Health and reflection, which no user's endpoint of the same short name replaces.
    pub(super) standard: Routes,
    /// The layers, when there are any.
    pub(super) layers: Option<Handler>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) in_flight: Arc<InFlight>,
    pub(super) max_calls: usize,
    pub(super) max_message: usize,
    pub(super) compression: Option<Compression>,
}

/// What is known of the connection a request came on.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(super) address: Option<SocketAddr>,
    pub(super) renamed: Arc<AtomicBool>,
    pub(super) unsent: Arc<Unsent>,
}

/// The head of a call, read.
struct Terms {
    endpoint: Arc<Endpoint>,
    codec: Codec,
    incoming: Option<Compression>,
    outgoing: Option<Compression>,
    record: CallRecord,
}

impl Dispatch {
    /// Answers one request. Never fails: every failure is an answer.
    pub(super) async fn answer(
        self: Arc<Self>,
        request: HttpRequest<Incoming>,
        peer: Peer,
    ) -> Result<HttpResponse<ReplyBody>, Infallible> {
        let (parts, body) = request.into_parts();
        let mut headers = parts.headers;
        if parts.method != Method::POST {
            discard(body).await;
            let mut response =
                refusal(StatusCode::METHOD_NOT_ALLOWED, "this port speaks gRPC: calls are POST\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return Ok(response);
        }
        let Some(content_type) = headers.get(CONTENT_TYPE).filter(|value| is_grpc(value)).cloned()
        else {
            discard(body).await;
            return Ok(refusal(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "this port speaks gRPC: content-type is application/grpc\n",
            ));
        };
        if peer.renamed.load(Ordering::Relaxed) {
            restore_names(&mut headers);
        }
        let mut terms = match self.terms(parts.uri.path(), &content_type, &mut headers, &peer) {
            Ok(terms) => terms,
            Err(error) => {
                let micro = caller_is_micro(&headers);
                return Ok(failure(&content_type, HeaderMap::new(), &error, micro));
            }
        };
        let outcome = self.run(&terms, body, &peer.unsent).await;
        let context = terms.record.context();
        let mut headers = context.take_reply_headers();
        let chosen = context.compression();
        let outgoing = chosen.unwrap_or(terms.outgoing);
        let framed = match outcome {
            Ok(Body::Message(message)) => {
                let wanted = chosen.is_some() || worth_compressing(&message);
                frame(&message, outgoing.filter(|_| wanted))
            }
            Ok(Body::Stream(messages)) => {
                Compressor::announce(&mut headers, outgoing);
                let body = StreamBody::new(messages, outgoing, terms.record, peer.unsent);
                return Ok(success(&content_type, headers, ReplyBody::Stream(Box::new(body))));
            }
            Err(error) => Err(error),
        };
        let mut trailers = context.take_reply_trailers();
        match framed {
            Ok(message) => {
                terms.record.finish(None);
                write_status(&mut trailers, None, false);
                if message.first() == Some(&1) {
                    Compressor::announce(&mut headers, outgoing);
                }
                let message = peer.unsent.count(message);
                let body = ReplyBody::Message(Some(message), Some(trailers));
                Ok(success(&content_type, headers, body))
            }
            Err(error) => {
                let micro = caller_is_micro(context.metadata().headers());
                terms.record.finish(Some(&error));
                // A failure has no messages: its trailers travel in the head.
                headers.extend(trailers);
                Ok(failure(&content_type, headers, &error, micro))
            }
        }
    }

    /// Reads the terms of a call off its head.
    fn terms(
        &self,
        path: &str,
        content_type: &HeaderValue,
        headers: &mut HeaderMap,
        peer: &Peer,
    ) -> Result<Terms> {
        let standard = path.starts_with("/grpc.health.") || path.starts_with("/grpc.reflection.");
        let routes = if standard { &self.standard } else { &self.routes };
        let endpoint = routes.find(path)?.clone();
        // go-micro exempts its own `Debug`; probes of the platform carry whatever they carry.
        if !standard && !endpoint.name.starts_with("Debug.") {
            expect_bearer(headers).map_err(|error| error.with_id(self.service.to_string()))?;
        }
        let codec = content_type
            .to_str()
            .map_err(|_| Error::unimplemented("content-type is not text"))
            .and_then(Codec::from_content_type)
            .map_err(|error| error.with_id("go.micro.server"))?;
        let incoming = Compressor::incoming(headers)?;
        let outgoing = self.compression.filter(|c| Compressor::peer_reads(headers, *c));
        let permit = self.in_flight.enter(self.max_calls).ok_or_else(|| {
            Error::resource_exhausted(format!(
                "{} is serving its limit of {} calls: try another node or later",
                self.service, self.max_calls
            ))
            .with_id("go.micro.server")
        })?;
        let deadline = read_timeout(headers).and_then(|left| Instant::now().checked_add(left));
        let context = Context::new(Arrival {
            service: self.service.clone(),
            endpoint: endpoint.name.clone(),
            metadata: Metadata::from(std::mem::take(headers)),
            deadline,
            peer: peer.address,
        });
        let edge =
            self.metrics.edge(context.caller().unwrap_or_default(), &self.service, &endpoint.name);
        let record = CallRecord::begin(context, edge, permit);
        Ok(Terms { endpoint, codec, incoming, outgoing, record })
    }

    /// Runs the handler with everything that bounds it: deadline, panic, cancellation by drop.
    async fn run(&self, terms: &Terms, body: Incoming, unsent: &Unsent) -> Result<Body> {
        let context = terms.record.context().clone();
        let deadline = context.deadline();
        let kind = terms.endpoint.kind;
        let span = tracing::info_span!(
            "serve",
            service = &*self.service,
            endpoint = &*terms.endpoint.name,
            caller = context.caller().unwrap_or_default(),
        );
        let handle = async {
            unsent.room().await;
            let mut frames = Frames::new(body, terms.incoming, self.max_message);
            let body = if kind.client_streams() {
                Body::Stream(requests(frames, context.clone()))
            } else {
                let message = frames.next().await.map_err(unreadable)?;
                context.note_compressed(frames.compressed());
                Body::Message(message.ok_or_else(|| Error::unimplemented(NO_MESSAGE))?)
            };
            let request = Request {
                context: context.clone(),
                kind,
                codec: terms.codec,
                body,
                route: terms.endpoint.handler.clone(),
            };
            let handler = self.layers.as_ref().unwrap_or(&terms.endpoint.handler);
            // The call inside `async` puts a handler's own panic before its first await in here.
            let handled = AssertUnwindSafe(async { handler.handle(request).await }).catch_unwind();
            match context.clone().scope(handled).await {
                Ok(answer) => answer.map(|response| response.body),
                Err(panic) => Err(panicked(panic.as_ref())),
            }
        };
        let handle = handle.instrument(span);
        match deadline {
            Some(at) => timeout_at(at, handle).await.unwrap_or_else(|_| Err(deadline_passed())),
            None => handle.await,
        }
    }
}

/// Compressing less than this costs more than it saves.
fn worth_compressing(message: &Bytes) -> bool {
    message.len() >= 256
}

fn requests(mut frames: Frames<Incoming>, context: Context) -> Messages {
    Messages::new(futures_util::stream::poll_fn(move |cx| {
        let next = ready!(frames.poll_next(cx));
        context.note_compressed(frames.compressed());
        Poll::Ready(next.map_err(unreadable).transpose())
    }))
}

fn unreadable(error: FrameError<hyper::Error>) -> Error {
    match error {
        FrameError::Message(error) => error,
        FrameError::Body(error) => {
            let cause = broken(&error);
            // Whatever broke it, nobody waits for the answer any more.
            Error::cancelled(format!("the caller went away: {}", cause.detail()))
        }
    }
}

pub(super) fn deadline_passed() -> Error {
    Error::deadline_exceeded("context deadline exceeded").with_id("go.micro.server")
}

/// go-micro's error of a handler that panicked (wire reference 1.4).
pub(super) fn panicked(panic: &(dyn Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "unknown cause".to_owned());
    tracing::error!(panic = text, "handler panicked");
    Error::internal(format!("panic recovered: {text}")).with_id("go.micro.server")
}

fn is_grpc(content_type: &HeaderValue) -> bool {
    let bytes = content_type.as_bytes();
    bytes.len() >= 16
        && bytes[..16].eq_ignore_ascii_case(b"application/grpc")
        && matches!(bytes.get(16), None | Some(b'+' | b';'))
}

/// Reads a request to its end that is going to be refused, as far as that is no burden. HTTP/2 resets
/// a stream that is answered before its end, and many clients then never look at the answer.
async fn discard(mut body: Incoming) {
    let read = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > MAX_DISCARDED {
                return;
            }
        }
    };
    let _ = timeout(DISCARD_TIME, read).await;
}

/// Answer to something that is not gRPC at all, with a text for whoever reads it.
fn refusal(status: StatusCode, text: &'static str) -> HttpResponse<ReplyBody> {
    let text = Bytes::from_static(text.as_bytes());
    let mut response = HttpResponse::new(ReplyBody::Message(Some(text), None));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// The answer's content type is the request's, bare or with its subtype (wire reference 1.3).
fn success(
    content_type: &HeaderValue,
    mut headers: HeaderMap,
    body: ReplyBody,
) -> HttpResponse<ReplyBody> {
    headers.insert(CONTENT_TYPE, content_type.clone());
    let mut response = HttpResponse::new(body);
    *response.headers_mut() = headers;
    response
}

fn failure(
    content_type: &HeaderValue,
    mut headers: HeaderMap,
    error: &Error,
    micro: bool,
) -> HttpResponse<ReplyBody> {
    write_status(&mut headers, Some(error), micro);
    // What this side reads; a client whose encoding was refused needs it.
    Compressor::accept(&mut headers);
    if let Some(wait) = error.retry_after() {
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        headers.insert("grpc-retry-pushback-ms", HeaderValue::from(millis));
    }
    success(content_type, headers, ReplyBody::Empty)
}
