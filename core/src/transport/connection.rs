//! The client's end of a connection: one HTTP/2 connection to one node.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderMap, Method, Request, Response, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::io::InspectReader;
use tokio_util::sync::CancellationToken;

use super::network::Network;
use super::tls::ClientTls;
use crate::error::{Code, Error, Reach, Result};

/// What a closed connection still has to report is reported well within this time.
const AFTERMATH: Duration = Duration::from_millis(20);

/// How connections are made.
#[derive(Debug, Clone)]
pub(crate) struct Dial {
    pub(crate) network: Arc<dyn Network>,
    pub(crate) tls: Option<ClientTls>,
    pub(crate) timeout: Duration,
    /// A connection whose peer acknowledges nothing for this long is given up.
    pub(crate) unacknowledged: Duration,
    pub(crate) keepalive: Option<Duration>,
    /// Time a probed peer has to answer.
    pub(crate) keepalive_timeout: Duration,
    pub(crate) max_headers: u32,
}

/// An open connection; requests may be sent from many tasks at once.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: http2::SendRequest<RequestBody>,
    scheme: Scheme,
    authority: Authority,
    in_flight: AtomicUsize,
    /// Set when the peer refused a request because the connection is going away; hyper notices a
    /// moment later.
    retired: AtomicBool,
    /// Cancelled when the socket is gone.
    closed: CancellationToken,
}

impl Dial {
    /// Connects to `host:port`. Addresses that begin with `https://`, have port 443 or no port use
    /// TLS even when none is configured, as in go-micro (wire reference 1.7).
    pub(crate) async fn connect(&self, address: &str) -> Result<Connection> {
        let unreached = |code, text: String| {
            Error::new(code, text).with_id("go.micro.client").with_reach(Reach::Never)
        };
        let target = Target::parse(address)
            .map_err(|error| error.with_id("go.micro.client").with_reach(Reach::Never))?;
        let connect = async {
            let stream = self.network.connect(&target.address()).await?;
            stream.set_nodelay()?;
            stream.set_unacknowledged(self.unacknowledged)?;
            Ok::<_, std::io::Error>(stream)
        };
        let open = async {
            let stream = connect.await.map_err(|e| {
                unreached(Code::Unavailable, format!("cannot connect to {address}: {e}"))
            })?;
            let tls = match &self.tls {
                Some(tls) => Some(tls.clone()),
                None if target.tls => Some(ClientTls::system()?),
                None => None,
            };
            let Some(tls) = tls else {
                return self.handshake(stream, Scheme::HTTP, &target).await;
            };
            let name = rustls::pki_types::ServerName::try_from(target.host.clone())
                .map_err(|e| unreached(Code::InvalidArgument, format!("{address}: {e}")))?;
            let stream = TlsConnector::from(tls.0).connect(name, stream).await.map_err(|e| {
                unreached(Code::Unavailable, format!("TLS handshake with {address}: {e}"))
            })?;
            // A go-micro server with a plain TLS listener offers no ALPN at all; that is HTTP/2
            // by prior knowledge. Only a peer that insists on something else is refused.
            if stream.get_ref().1.alpn_protocol().is_some_and(|protocol| protocol != b"h2") {
                return Err(unreached(
                    Code::Unavailable,
                    format!("{address} speaks no HTTP/2 over TLS"),
                ));
            }
            self.handshake(stream, Scheme::HTTPS, &target).await
        };
        timeout(self.timeout, open).await.unwrap_or_else(|_| {
            Err(unreached(
                Code::Unavailable,
                format!("cannot connect to {address} within {:?}", self.timeout),
            ))
        })
    }

    async fn handshake<T>(&self, io: T, scheme: Scheme, target: &Target) -> Result<Connection>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let closed = CancellationToken::new();
        let open = closed.clone().drop_guard();
        // The closure lives as long as the socket, and the guard as long as the closure.
        let io = TokioIo::new(InspectReader::new(io, move |_: &[u8]| {
            let _ = &open;
        }));
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_header_list_size(self.max_headers)
            .keep_alive_interval(self.keepalive)
            .keep_alive_timeout(self.keepalive_timeout);
        let (sender, connection) = builder.handshake(io).await.map_err(|e| {
            Error::unavailable(format!("HTTP/2 handshake with {}: {e}", target.authority))
                .with_id("go.micro.client")
                .with_reach(Reach::Never)
        })?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
        });
        Ok(Connection {
            sender,
            scheme,
            authority: target.authority.clone(),
            in_flight: AtomicUsize::new(0),
            retired: AtomicBool::new(false),
            closed,
        })
    }
}

struct Target {
    host: String,
    port: u16,
    authority: Authority,
    tls: bool,
}

impl Target {
    fn parse(address: &str) -> Result<Self> {
        let (tls, rest) = match address.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            Some((scheme, _)) => {
                return Err(Error::invalid_argument(format!(
                    "address `{address}`: scheme `{scheme}` is not known, use host:port"
                )));
            }
            None => (false, address),
        };
        let authority: Authority = rest.parse().map_err(|e| {
            Error::invalid_argument(format!("address `{address}` is not host:port: {e}"))
        })?;
        let port = authority.port_u16();
        if port.is_none() && authority.as_str().len() > authority.host().len() {
            return Err(Error::invalid_argument(format!(
                "address `{address}` is not host:port: ports go from 0 to 65535"
            )));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(Error::invalid_argument(format!("address `{address}` has no host")));
        }
        Ok(Self {
            tls: tls || port.is_none_or(|port| port == 443),
            port: port.unwrap_or(443),
            host,
            authority,
        })
    }

    /// `host:port`, with a port in any case.
    fn address(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl Connection {
    /// Sends one request and waits for the head of the answer. Dropping the future cancels the
    /// call on the wire.
    pub(crate) async fn send(
        &self,
        path: PathAndQuery,
        headers: HeaderMap,
        body: RequestBody,
    ) -> Result<Response<Incoming>> {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path);
        let uri = Uri::from_parts(parts)
            .map_err(|e| Error::invalid_argument(format!("cannot address the call: {e}")))?;
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let mut sender = self.sender.clone();
        let answered = tokio::select! {
            biased;
            answered = sender.try_send_request(request) => answered,
            () = self.forgotten() => {
                return Err(Error::unavailable("the connection closed before the request was sent")
                    .with_id("go.micro.client")
                    .with_reach(Reach::Never));
            }
        };
        answered.map_err(|mut failure| {
            // hyper hands the request back when not a byte of it was sent.
            let unsent = failure.take_message().is_some();
            let error = broken(failure.error());
            if unsent || is_going_away(failure.error()) {
                self.retired.store(true, Ordering::Relaxed);
            }
            if unsent { error.with_reach(Reach::Never) } else { error }
        })
    }

    /// Resolves when no answer can come any more and none was reported. h2 fails every stream it has
    /// opened when a connection ends, but a request that is handed over at the very moment an idle
    /// connection follows a GOAWAY can stay behind, neither sent nor failed.
    async fn forgotten(&self) {
        self.closed.cancelled().await;
        tokio::time::sleep(AFTERMATH).await;
    }

    /// True while new requests may be sent.
    pub(crate) fn is_open(&self) -> bool {
        !self.sender.is_closed() && !self.retired.load(Ordering::Relaxed)
    }

    /// Calls that run on this connection.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(crate) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

fn is_going_away(error: &hyper::Error) -> bool {
    std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<h2::Error>())
        .is_some_and(h2::Error::is_go_away)
}

/// The error of a connection or stream that broke, by gRPC's table of HTTP/2 codes.
pub(crate) fn broken(error: &hyper::Error) -> Error {
    let source = std::error::Error::source(error).and_then(|s| s.downcast_ref::<h2::Error>());
    let (code, reach) = match source {
        Some(h2) => match h2.reason() {
            Some(h2::Reason::REFUSED_STREAM) => (Code::Unavailable, Reach::Never),
            // Streams above the last one of a clean GOAWAY were never looked at.
            Some(h2::Reason::NO_ERROR) if h2.is_go_away() => (Code::Unavailable, Reach::Never),
            Some(h2::Reason::CANCEL) => (Code::Cancelled, Reach::Maybe),
            Some(h2::Reason::ENHANCE_YOUR_CALM) => (Code::ResourceExhausted, Reach::Maybe),
            Some(h2::Reason::INADEQUATE_SECURITY) => (Code::PermissionDenied, Reach::Maybe),
            Some(_) if h2.is_reset() => (Code::Internal, Reach::Maybe),
            _ => (Code::Unavailable, Reach::Maybe),
        },
        None => (Code::Unavailable, Reach::Maybe),
    };
    let text = match source {
        Some(h2) => format!("connection broke: {h2}"),
        None => format!("connection broke: {error}"),
    };
    Error::new(code, text).with_id("go.micro.client").with_reach(reach)
}

/// Body of a request: one message that is ready, or messages as they come.
#[derive(Debug)]
pub(crate) enum RequestBody {
    Once(Option<Bytes>),
    /// Ends with a reset once the other end of `call` is dropped: hyper resets the stream by itself
    /// only while the head of the answer is still to come. While a message waits for the far side's
    /// window, hyper does not ask for the next, and the reset waits too.
    Stream {
        messages: mpsc::Receiver<Bytes>,
        call: oneshot::Receiver<Infallible>,
    },
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        match self.get_mut() {
            Self::Once(message) => Poll::Ready(message.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream { messages, call } => {
                if Pin::new(call).poll(cx).is_ready() {
                    // The stream is reset with the reason of a body's error.
                    return Poll::Ready(Some(Err(h2::Reason::CANCEL.into())));
                }
                messages.poll_recv(cx).map(|message| message.map(|bytes| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Once(None))
    }

    fn size_hint(&self) -> SizeHint {
        // No hint, hence no content-length: gRPC needs none, and go-micro would pass it on.
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_follows_go_micros_rule_for_addresses() {
        for (address, tls, host, connected) in [
            ("127.0.0.1:80", false, "127.0.0.1", "127.0.0.1:80"),
            ("[::1]:8080", false, "::1", "[::1]:8080"),
            ("https://example.org:8443", true, "example.org", "example.org:8443"),
            ("example.org:443", true, "example.org", "example.org:443"),
            ("example.org", true, "example.org", "example.org:443"),
        ] {
            let target = Target::parse(address).expect(address);
            assert_eq!((target.tls, &*target.host, &*target.address()), (tls, host, connected));
        }
        for address in ["", ":80", "ftp://x:1", "a b:1", "x:99999999"] {
            let error = Target::parse(address).map(|_| ()).expect_err(address);
            assert_eq!(error.code(), Code::InvalidArgument, "{address}");
        }
    }
}
