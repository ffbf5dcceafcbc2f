//! The listener of an HTTP broker: one POST is one message for one subscription (wire reference 6.3).

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::broker::{Delivery, Settle, Verdict, envelope};
use crate::error::{Error, Result};
use crate::fork::Uninherited;
use crate::transport::network::Io;

/// Connections at once; further ones wait to be accepted.
const CONNECTIONS: usize = 1024;
/// Bytes of a request: a message of 4 MiB in base64, and its headers.
const REQUEST_BYTES: usize = 6 << 20;
/// How long a request may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(30);
/// How long a message waits for a subscriber that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// Subscriptions by the id of their node.
pub(super) type Subscriptions = Mutex<HashMap<String, (String, mpsc::Sender<Delivery>)>>;

/// A listener that runs.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) address: std::net::SocketAddr,
    _accepting: AbortOnDropHandle<()>,
}

/// Begins to listen.
pub(super) async fn listen(address: &str, subscriptions: Arc<Subscriptions>) -> Result<Listening> {
    let failed = |error: std::io::Error| {
        Error::unavailable(format!("the http broker cannot listen on {address}: {error}"))
    };
    let listener = Uninherited::new(TcpListener::bind(address).await.map_err(failed)?);
    let address = listener.local_addr().map_err(failed)?;
    let accepting = tokio::spawn(accept(listener, subscriptions));
    Ok(Listening { address, _accepting: AbortOnDropHandle::new(accepting) })
}

async fn accept(listener: Uninherited<TcpListener>, subscriptions: Arc<Subscriptions>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => Io::from(stream),
            Err(error) => {
                tracing::warn!(%error, "the http broker cannot accept a connection");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let subscriptions = subscriptions.clone();
        connections.spawn(async move {
            let _place = place;
            let answer = service_fn(|request| answer(request, &subscriptions));
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(ARRIVAL).max_buf_size(64 << 10);
            if let Err(error) = builder.serve_connection(TokioIo::new(stream), answer).await {
                tracing::debug!(%error, "a connection of the http broker ended");
            }
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    subscriptions: &Subscriptions,
) -> std::result::Result<Response<Full<Bytes>>, Infallible> {
    let (status, error) = match take(request, subscriptions).await {
        Ok(()) => (StatusCode::OK, None),
        Err((status, error)) => (status, Some(error)),
    };
    let body = error.map_or_else(Bytes::new, |error| format!("{}\n", error.to_json()).into());
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    Ok(response)
}

/// Hands a message to the subscription that it is for.
async fn take(
    request: Request<Incoming>,
    subscriptions: &Subscriptions,
) -> std::result::Result<(), (StatusCode, Error)> {
    let internal = |error| (StatusCode::INTERNAL_SERVER_ERROR, error);
    if request.method() != Method::POST {
        let error = Error::from_http("go.micro.broker", "Method not allowed", 400);
        return Err((StatusCode::METHOD_NOT_ALLOWED, error));
    }
    let id = request.uri().query().and_then(|query| {
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs.find(|(name, _)| name == "id").map(|(_, id)| id.into_owned())
    });
    let body = Limited::new(request.into_body(), REQUEST_BYTES).collect();
    let unread = |why: String| {
        let detail = format!("Error reading request body: {why}");
        internal(Error::from_http("go.micro.broker", detail, 500))
    };
    let body = timeout(ARRIVAL, body).await.map_err(|_| unread("it took too long".into()))?;
    let body = body.map_err(|error| unread(error.to_string()))?.to_bytes();
    let message = envelope::read(&body, None).map_err(internal)?;
    let sender = {
        let subscriptions = subscriptions.lock().unwrap_or_else(PoisonError::into_inner);
        let known = id.and_then(|id| subscriptions.get(&id));
        known.filter(|(topic, _)| *topic == message.topic).map(|(_, sender)| sender.clone())
    };
    // One that is for a subscription which has ended is none of ours.
    let Some(sender) = sender else { return Ok(()) };
    let delivery = Delivery::new(message, 1, None, SystemTime::now(), Box::new(Forgotten));
    match sender.send_timeout(delivery, PATIENCE).await {
        Err(mpsc::error::SendTimeoutError::Timeout(_)) => {
            let busy = Error::from_http("go.micro.broker", "the subscriber is busy", 503);
            Err((StatusCode::SERVICE_UNAVAILABLE, busy))
        }
        _ => Ok(()),
    }
}

/// Nothing is told to the publisher.
struct Forgotten;

#[async_trait]
impl Settle for Forgotten {
    async fn settle(self: Box<Self>, _verdict: Verdict) -> Result<()> {
        Ok(())
    }
}
