//! The client's end of a connection: one HTTP/2 connection to one node.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Version};
use http_body::{Body, Frame};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio_util::io::InspectReader;
use tokio_util::sync::CancellationToken;

use super::batched::Batched;
use super::broken::{broken, refusal};
use super::greeting::{self, Greeting, UNSAID, too_large};
use super::state::{self, ConnectionState, Idling, Probing, Waiting};
use crate::error::{Error, Reach, Result};

/// Bytes of one answer, and of all of them, that may be on their way to a reader: enough for a link of 1 Gbit/s and 16 ms.
const STREAM_WINDOW: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 5 * 1024 * 1024;
/// Calls before the peer has said how many it takes.
const FIRST_CALLS: usize = 100;
/// Calls given up whose late answers are let pass without a word, and for how long. To an answer that comes later still,
/// the peer is told once more that the call was given up.
const REMEMBERED: usize = 4096;
const REMEMBERED_FOR: Duration = Duration::from_secs(30);
/// What the frames of less than 256 bytes may lack of that, those of calls given up for the whole life of the connection;
/// about the memory that unread ones take beside their bytes.
const SCRAPS: usize = 16 * 1024 * 1024;

/// The peer speaks TLS.
const TLS: u8 = 1;
/// The peer speaks HTTP/1.
const HTTP1: u8 = 2;

/// What a peer speaks by its first bytes: [`TLS`], [`HTTP1`], or 0. A server with TLS answers one that speaks none by an alert,
/// or in HTTP/1 with a line about it.
fn spoken(bytes: &[u8]) -> u8 {
    let names = |name: &[u8]| bytes.windows(name.len()).any(|part| part == name);
    match bytes {
        [0x15, 3, ..] => TLS,
        _ if !bytes.starts_with(b"HTTP/1.") => 0,
        _ if names(b"TLS") || names(b"HTTPS") || names(b"SSL") => TLS,
        _ => HTTP1,
    }
}

/// An open connection; requests may be sent from many tasks at once.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: SendRequest<Bytes>,
    scheme: Scheme,
    authority: Authority,
    /// The authority, as a header.
    at: Option<HeaderValue>,
    state: Arc<ConnectionState>,
    /// Bytes of headers the peer takes, as it said when it greeted.
    max_headers: u32,
    /// Cancelled when its place is needed for another.
    unwanted: CancellationToken,
}

/// A request that has begun, and whose messages are still to come. Dropping it cancels the call on the wire.
#[derive(Debug)]
pub(crate) struct Opened {
    response: ResponseFuture,
    requests: SendStream<Bytes>,
    state: Arc<ConnectionState>,
}

impl Connection {
    /// Begins HTTP/2 on `io`, and waits for the peer to do so.
    ///
    /// # Errors
    /// What the peer says instead of HTTP/2.
    pub(super) async fn open<T>(
        io: T,
        (scheme, authority): (Scheme, Authority),
        max_headers: u32,
        probing: Option<Probing>,
        idling: Idling,
        place: impl Send + 'static,
    ) -> Result<Self>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let state = Arc::new(ConnectionState::default());
        let failed = |error: h2::Error| {
            let why = said(&state, &error).map_or_else(|| error.to_string(), str::to_owned);
            Error::unavailable(format!("HTTP/2 handshake with {authority}: {why}"))
                .with_id("go.micro.client")
                .with_reach(Reach::Never)
        };
        let (mut greeting, greeted) = Greeting::new();
        let io = InspectReader::new(io, {
            let state = state.clone();
            let mut begun = false;
            move |bytes: &[u8]| {
                state.heard.store(true, Ordering::Relaxed);
                if !begun {
                    begun = true;
                    state.speaks.store(spoken(bytes), Ordering::Relaxed);
                }
                greeting.read(bytes);
            }
        });
        let (sender, mut connection) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_max_send_streams(FIRST_CALLS)
            .max_concurrent_reset_streams(REMEMBERED)
            .reset_stream_duration(REMEMBERED_FOR)
            // Over the life of a connection, late answers alone would reach any limit.
            .max_local_error_reset_streams(None)
            .data_frame_budget(SCRAPS)
            .max_header_list_size(max_headers)
            .enable_push(false)
            .handshake(io)
            .await
            .map_err(failed)?;
        let pings = connection.ping_pong();
        let mut connection = Batched::new(connection);
        let max_headers = tokio::select! {
            biased;
            ended = &mut connection => {
                ended.map_err(failed)?;
                // Greeted, and was gone.
                return Err(failed(Reason::NO_ERROR.into()));
            }
            bound = greeted => bound.unwrap_or(UNSAID),
        };
        let known = state.clone();
        let unwanted = idling.unwanted.clone();
        tokio::spawn(async move {
            // Dropped at the end of this, which fails the calls that are still on it.
            let connection = connection;
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended");
                },
                () = state::probe(pings, probing, &known) => {
                    tracing::debug!("connection given up: the peer did not answer a probe");
                }
                () = state::idle(idling, &known) => tracing::debug!("idle connection closed"),
            }
            known.retire();
            drop(place);
        });
        let at = HeaderValue::from_str(authority.as_str()).ok();
        Ok(Self { sender, scheme, authority, at, state, max_headers, unwanted })
    }

    /// Sends one request with one message, and returns the future of the answer's head. Dropping that cancels the call on the
    /// wire.
    ///
    /// # Errors
    /// What [`broken`] says; [`Reach::Never`] when the peer has not looked at the request.
    pub(crate) fn send(
        &self,
        path: PathAndQuery,
        headers: HeaderMap,
        message: Bytes,
    ) -> Result<impl Future<Output = Result<Response<Answering>>> + Send> {
        let (response, mut requests) = self.begin_request(path, headers)?;
        // A request whose message was not sent never ran.
        requests
            .send_data(message, true)
            .map_err(|error| broken(&error).with_reach(Reach::Never))?;
        Ok(head(response, Waiting::on(&self.state)))
    }

    /// Begins a request whose messages come later.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub(crate) fn open_stream(&self, path: PathAndQuery, headers: HeaderMap) -> Result<Opened> {
        let (response, requests) = self.begin_request(path, headers)?;
        Ok(Opened { response, requests, state: self.state.clone() })
    }

    fn begin_request(
        &self,
        path: PathAndQuery,
        headers: HeaderMap,
    ) -> Result<(ResponseFuture, SendStream<Bytes>)> {
        let size = greeting::size(&headers) + greeting::size_of_request(&path, &self.authority);
        if size >= self.max_headers as usize {
            let peer = self.authority.as_str();
            return Err(too_large("the headers of the call", size, peer, self.max_headers)
                .with_id("go.micro.client"));
        }
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path);
        let uri = Uri::from_parts(parts)
            .map_err(|e| Error::invalid_argument(format!("cannot address the call: {e}")))?;
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        // A clone waits in h2's own queue when the peer takes no more calls for now.
        self.sender.clone().send_request(request, false).map_err(|error| {
            // Nothing was sent: the connection is over, going away, or out of numbers for streams.
            self.state.retire();
            explain(&self.state, &error).unsent()
        })
    }

    /// The authority, where it can stand in a header.
    pub(crate) fn at(&self) -> Option<&HeaderValue> {
        self.at.as_ref()
    }

    /// True while new requests may be sent.
    pub(crate) fn is_open(&self) -> bool {
        !self.state.retired.load(Ordering::Relaxed)
    }

    /// True once an answer has come on it.
    pub(crate) fn has_served(&self) -> bool {
        self.state.served.load(Ordering::Relaxed)
    }

    /// Asks it to end once there are no calls on it.
    pub(crate) fn give_way(&self) {
        self.unwanted.cancel();
    }

    /// Calls that run on this connection.
    pub(crate) fn in_flight(&self) -> usize {
        self.state.in_flight.load(Ordering::Relaxed)
    }

    pub(crate) fn begin(&self) {
        self.state.in_flight.fetch_add(1, Ordering::Relaxed);
        self.state.used.store(true, Ordering::Relaxed);
    }

    pub(crate) fn end(&self) {
        self.state.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The error of a connection that broke, also where the peer has never spoken HTTP/2.
fn explain(state: &ConnectionState, error: &h2::Error) -> Error {
    match said(state, error) {
        Some(why) => Error::unavailable(why).with_id("go.micro.client").with_reach(Reach::Never),
        None => broken(error),
    }
}

/// What the peer speaks instead of HTTP/2, or why it wants nothing of this connection: it took no call then.
fn said(state: &ConnectionState, error: &h2::Error) -> Option<&'static str> {
    match state.speaks.load(Ordering::Relaxed) {
        TLS => Some("the server speaks TLS: set `tls` of the client, or call https://"),
        HTTP1 => Some(
            "the server speaks HTTP/1.1 and no HTTP/2: is the address a gRPC server, or a TLS port?",
        ),
        _ => refusal(error, &error.to_string()),
    }
}

impl Opened {
    /// Sends messages as they come, until their channel is closed, and returns the future of the answer's head. The call is
    /// cancelled on the wire when the other end of `call` is dropped.
    pub(crate) fn run(
        self,
        mut messages: mpsc::Receiver<Bytes>,
        call: oneshot::Receiver<Infallible>,
    ) -> impl Future<Output = Result<Response<Answering>>> + Send {
        self.run_with(move |cx| messages.poll_recv(cx).map(|message| message.map(Ok)), call)
    }

    /// The same with messages that are asked for by `next`, and cancelled on the wire when it fails.
    pub(crate) fn run_with(
        self,
        mut next: impl FnMut(&mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>>
        + Send
        + 'static,
        call: oneshot::Receiver<Infallible>,
    ) -> impl Future<Output = Result<Response<Answering>>> + Send {
        let Self { response, mut requests, state } = self;
        tokio::spawn(async move {
            let mut given_up = false;
            let next = |cx: &mut Context<'_>| {
                let next = next(cx);
                given_up = matches!(next, Poll::Ready(Some(Err(_))));
                next
            };
            let over = tokio::select! {
                biased;
                _ = call => true,
                _ = feed(&mut requests, next) => false,
            };
            if over || given_up {
                requests.send_reset(Reason::CANCEL);
            }
        });
        head(response, Waiting::on(&state))
    }
}

/// The head of the answer.
async fn head(response: ResponseFuture, mut waiting: Waiting) -> Result<Response<Answering>> {
    let response = response.await.map_err(|error| {
        waiting.over();
        if error.is_go_away() {
            waiting.state.retire();
        }
        explain(&waiting.state, &error)
    })?;
    if response.body().is_end_stream() {
        waiting.over();
    } else {
        waiting.begun();
    }
    Ok(response.map(|messages| Answering { messages, waiting, past_data: false }))
}

/// Sends messages as the peer has room for them, until there are no more or the peer wants no more.
async fn feed(
    requests: &mut SendStream<Bytes>,
    mut next: impl FnMut(&mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>>,
) -> Result<(), h2::Error> {
    loop {
        requests.reserve_capacity(1);
        std::future::poll_fn(|cx| {
            while requests.capacity() == 0 {
                match ready!(requests.poll_capacity(cx)) {
                    Some(room) => room?,
                    None => return Poll::Ready(Err(Reason::CANCEL.into())),
                };
            }
            Poll::Ready(Ok::<_, h2::Error>(()))
        })
        .await?;
        let message = std::future::poll_fn(|cx| {
            // The peer may end the call while this side has nothing to say.
            if let Poll::Ready(ended) = requests.poll_reset(cx) {
                return Poll::Ready(Err(ended.map_or_else(|error| error, h2::Error::from)));
            }
            next(cx).map(Option::transpose)
        })
        .await?;
        let Some(message) = message else {
            return requests.send_data(Bytes::new(), true);
        };
        requests.send_data(message, false)?;
    }
}

/// The messages of an answer, and its trailers. Dropping it cancels the call on the wire.
#[derive(Debug)]
pub(crate) struct Answering {
    messages: RecvStream,
    waiting: Waiting,
    past_data: bool,
}

impl Body for Answering {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let this = self.get_mut();
        if !this.past_data {
            match ready!(this.messages.poll_data(cx)) {
                Some(Ok(data)) => {
                    // Fails for a stream that is over, which needs no room any more.
                    let _ = this.messages.flow_control().release_capacity(data.len());
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => {
                    this.waiting.over();
                    return Poll::Ready(unless_it_just_ends(error));
                }
                None => this.past_data = true,
            }
        }
        let trailers = ready!(this.messages.poll_trailers(cx));
        this.waiting.over();
        Poll::Ready(match trailers {
            Ok(trailers) => trailers.map(|trailers| Ok(Frame::trailers(trailers))),
            Err(error) => unless_it_just_ends(error),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.messages.is_end_stream()
    }
}

/// A reset with `NO_ERROR` asks for no more of the request (RFC 9113 8.1); what is missing of the answer then is a matter of
/// gRPC.
fn unless_it_just_ends<T>(error: h2::Error) -> Option<Result<T, h2::Error>> {
    (error.reason() != Some(Reason::NO_ERROR)).then_some(Err(error))
}
