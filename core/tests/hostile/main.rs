//! Peers that break the rules, by a bare HTTP/2 client: each gets a clear answer, and the service
//! goes on as if nothing had been.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expects by failing")]

mod connection;

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Method, Request, StatusCode};
use micro::server::{Endpoint, Server, ServerBuilder};
use micro::{Code, Compression, Context, Error, Raw, Result};

use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);

/// Limit of a message, small so that breaking it is quick.
const LIMIT: usize = 64 * 1024;

/// A server with an echo, and `set` on top.
async fn server(set: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Server {
    let echo =
        Endpoint::unary(
            "Echo.Call",
            |_: Context, request: Raw| async move { Ok::<_, Error>(request) },
        );
    let builder =
        Server::builder("echo").address("127.0.0.1:0").max_message_size(LIMIT).handle(echo);
    set(builder).start().await.expect("the server starts")
}

async fn connect(server: &Server) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(server.address()).await.expect("a connection");
    let (sender, connection) = h2::client::handshake(stream).await.expect("a handshake");
    tokio::spawn(connection);
    sender
}

/// A call of the echo as it should be; tests spoil it.
fn proper(server: &Server) -> Request<()> {
    Request::builder()
        .method(Method::POST)
        .uri(format!("http://{}/echo.Echo/Call", server.address()))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .expect("a request")
}

fn with(server: &Server, name: &'static str, value: &str) -> Request<()> {
    let mut request = proper(server);
    request.headers_mut().insert(name, value.parse().expect("a header value"));
    request
}

/// A message behind its prefix.
fn frame(flag: u8, message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("a length");
    [&[flag], &length.to_be_bytes()[..], message].concat().into()
}

/// What a peer is told.
#[derive(Debug)]
struct Told {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
    trailers: HeaderMap,
}

impl Told {
    fn code(&self) -> Option<Code> {
        let status =
            self.trailers.get("grpc-status").or_else(|| self.headers.get("grpc-status"))?;
        Code::from_grpc(status.to_str().ok()?.parse().ok()?)
    }
}

/// Sends a request with `body` and reads the whole answer.
async fn ask(
    sender: &SendRequest<Bytes>,
    request: Request<()>,
    body: Bytes,
    half_close: bool,
) -> Result<Told, h2::Error> {
    let exchange = async {
        let mut sender = sender.clone().ready().await?;
        let (response, mut sending) = sender.send_request(request, false)?;
        // An answer that does not wait for the body resets the rest of it.
        let _ = sending.send_data(body, half_close);
        let (parts, mut incoming) = response.await?.into_parts();
        let mut body = Vec::new();
        while let Some(data) = incoming.data().await {
            let data = data?;
            incoming.flow_control().release_capacity(data.len())?;
            body.extend_from_slice(&data);
        }
        let trailers = incoming.trailers().await?.unwrap_or_default();
        Ok(Told { status: parts.status, headers: parts.headers, body, trailers })
    };
    timeout(PATIENCE, exchange).await.expect("an answer in time")
}

/// The code that `request` with `body` ends in; the same connection and the server are fine after.
async fn code(server: &Server, request: Request<()>, body: Bytes) -> Option<Code> {
    let sender = connect(server).await;
    let told = ask(&sender, request, body, true).await.expect("an answer");
    assert_eq!(told.status, StatusCode::OK, "{told:?}");
    echoes(server, &sender).await;
    unharmed(server).await;
    told.code()
}

/// A proper call on this connection succeeds.
async fn echoes(server: &Server, sender: &SendRequest<Bytes>) {
    let told = ask(sender, proper(server), frame(0, b"hello"), true).await.expect("an answer");
    // Code::from_grpc knows failures only.
    assert_eq!(told.trailers.get("grpc-status").map(|v| v.as_bytes()), Some(&b"0"[..]));
    assert_eq!(told.body, frame(0, b"hello"));
}

/// Another peer is served, and nothing is left running.
async fn unharmed(server: &Server) {
    echoes(server, &connect(server).await).await;
    let idle = async {
        while server.in_flight() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, idle).await.expect("no call is left");
}

fn gzip(message: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(message).expect("memory");
    encoder.finish().expect("memory")
}

#[tokio::test]
async fn unreadable_timeouts_count_as_none() {
    let server = server(|builder| builder).await;
    let unreadable = [
        ("grpc-timeout", &["", "soon", "-1S", "5x", "5", "S", "1.5S", "999999999S"][..]),
        ("timeout", &["", "soon", "-1", "1.5", "5s", "99999999999999999999"]),
    ];
    for (name, values) in unreadable {
        for value in values {
            let code = code(&server, with(&server, name, value), frame(0, b"x")).await;
            assert_eq!(code, None, "{name}: {value:?}");
        }
    }
}

#[tokio::test]
async fn no_time_at_all_is_deadline_exceeded_and_no_handler_runs() {
    let server = server(|builder| builder).await;
    for name in ["grpc-timeout", "timeout"] {
        let value = if name == "timeout" { "0" } else { "0n" };
        // The body never comes, so that only the clock can end the call.
        let sender = connect(&server).await;
        let told = ask(&sender, with(&server, name, value), Bytes::new(), false).await;
        assert_eq!(told.expect("an answer").code(), Some(Code::DeadlineExceeded), "{name}");
        unharmed(&server).await;
    }
    let never = Endpoint::unary("Echo.Call", |_: Context, _: Raw| async {
        Err::<Raw, _>(Error::internal("the handler ran"))
    });
    let builder = Server::builder("echo").address("127.0.0.1:0").handle(never);
    let server = builder.start().await.expect("the server starts");
    let late = with(&server, "grpc-timeout", "1n");
    let told = ask(&connect(&server).await, late, frame(0, b"x"), true).await;
    assert_eq!(told.expect("an answer").code(), Some(Code::DeadlineExceeded));
}

#[tokio::test]
async fn claimed_size_over_the_limit_is_resource_exhausted_before_the_bytes_come() {
    let server = server(|builder| builder).await;
    for length in [LIMIT as u32 + 1, u32::MAX] {
        let sender = connect(&server).await;
        let prefix = [&[0], &length.to_be_bytes()[..]].concat().into();
        let told = ask(&sender, proper(&server), prefix, false).await.expect("an answer");
        assert_eq!(told.code(), Some(Code::ResourceExhausted), "{length}");
        echoes(&server, &sender).await;
        unharmed(&server).await;
    }
}

#[tokio::test]
async fn message_of_just_the_limit_is_served() {
    let server = server(|builder| builder).await;
    let message = vec![7; LIMIT];
    let sender = connect(&server).await;
    let told = ask(&sender, proper(&server), frame(0, &message), true).await.expect("an answer");
    assert_eq!(told.body, frame(0, &message));
}

#[tokio::test]
async fn gzip_bomb_is_resource_exhausted() {
    let server = server(|builder| builder).await;
    let bomb = gzip(&vec![0; 32 << 20]);
    assert!(bomb.len() < LIMIT, "it comes in under the limit");
    let request = with(&server, "grpc-encoding", "gzip");
    assert_eq!(code(&server, request, frame(1, &bomb)).await, Some(Code::ResourceExhausted));
}

#[tokio::test]
async fn broken_compression_is_a_bad_request() {
    let server = server(|builder| builder).await;
    let mut cut = gzip(b"hello");
    cut.truncate(12);
    for (encoding, message, expected) in [
        ("gzip", &cut[..], Code::InvalidArgument),
        ("gzip", b"no gzip", Code::InvalidArgument),
        ("zstd", b"no zstd", Code::InvalidArgument),
        // gRPC's own word for a message that claims a compression which was not named.
        ("identity", b"x", Code::Internal),
    ] {
        let request = with(&server, "grpc-encoding", encoding);
        let code = code(&server, request, frame(1, message)).await;
        assert_eq!(code, Some(expected), "{encoding}");
    }
}

#[tokio::test]
async fn unknown_encoding_is_unimplemented_and_the_known_ones_are_named() {
    let server = server(|builder| builder).await;
    let sender = connect(&server).await;
    let request = with(&server, "grpc-encoding", "snappy");
    let told = ask(&sender, request, frame(1, b"x"), true).await.expect("an answer");
    assert_eq!(told.code(), Some(Code::Unimplemented));
    let accepted = told.headers["grpc-accept-encoding"].to_str().expect("text");
    assert!(accepted.contains("gzip") && accepted.contains("identity"), "{accepted}");
    unharmed(&server).await;
}

#[tokio::test]
async fn reply_is_compressed_only_for_a_peer_that_reads_it() {
    let server = server(|builder| builder.compression(Compression::Gzip)).await;
    let message = [7; 4096];
    let sender = connect(&server).await;
    let request = with(&server, "grpc-accept-encoding", "identity, gzip");
    let told = ask(&sender, request, frame(0, &message), true).await.expect("an answer");
    assert_eq!(told.headers["grpc-encoding"], "gzip");
    assert!(told.body[0] == 1 && told.body.len() < 200, "{} bytes", told.body.len());
    let told = ask(&sender, proper(&server), frame(0, &message), true).await.expect("an answer");
    assert_eq!(told.headers.get("grpc-encoding"), None);
    assert_eq!(told.body, frame(0, &message));
}

#[tokio::test]
async fn handlers_choice_of_compression_is_only_for_a_peer_that_reads_it() {
    let choosing = |context: Context, request: Raw| async move {
        context.set_compression(Compression::Gzip);
        Ok::<_, Error>(request)
    };
    let server = server(|builder| builder.handle(Endpoint::unary("Choosing.Call", choosing))).await;
    let sender = connect(&server).await;
    for (accepted, named) in [("gzip", Some("gzip")), ("identity,zstd", None), ("", None)] {
        let mut request = with(&server, "grpc-accept-encoding", accepted);
        let path = format!("http://{}/choosing.Choosing/Call", server.address());
        *request.uri_mut() = path.parse().expect("a path");
        let told = ask(&sender, request, frame(0, b"small"), true).await.expect("an answer");
        assert_eq!(
            told.headers.get("grpc-encoding").map(|name| name.as_bytes()),
            named.map(str::as_bytes)
        );
        assert_eq!(told.body[0], u8::from(named.is_some()), "{accepted:?}");
    }
}

#[tokio::test]
async fn malformed_framing_ends_in_a_status() {
    let server = server(|builder| builder).await;
    for (body, expected) in [
        (frame(7, b"x"), Code::InvalidArgument),
        (frame(0, b"hello").slice(..7), Code::InvalidArgument),
        (Bytes::from_static(b"\0\0"), Code::InvalidArgument),
        (Bytes::new(), Code::Unimplemented),
    ] {
        assert_eq!(code(&server, proper(&server), body.clone()).await, Some(expected), "{body:?}");
    }
}

#[tokio::test]
async fn headers_over_the_limit_are_refused() {
    let server = server(|builder| builder).await;
    let sender = connect(&server).await;
    // Below h2's own bound on one block, above the server's limit in sum.
    let mut request = proper(&server);
    for number in 0..40 {
        let name: http::HeaderName = format!("x-{number}").parse().expect("a name");
        request.headers_mut().insert(name, "a".repeat(4_000).parse().expect("a value"));
    }
    match ask(&sender, request, frame(0, b"x"), true).await {
        Ok(told) => assert_eq!(told.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        Err(error) => assert!(error.is_reset() || error.is_go_away(), "{error}"),
    }
    unharmed(&server).await;
}

#[tokio::test]
async fn anything_but_post_is_405() {
    let server = server(|builder| builder).await;
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let sender = connect(&server).await;
        let mut request = proper(&server);
        *request.method_mut() = method.clone();
        let told = ask(&sender, request, Bytes::new(), true).await.expect("an answer");
        assert_eq!(told.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(told.headers["allow"], "POST");
        assert!(!told.body.is_empty(), "{told:?}");
        echoes(&server, &sender).await;
    }
    unharmed(&server).await;
}

#[tokio::test]
async fn any_content_type_that_is_no_protocols_is_415() {
    let server = server(|builder| builder).await;
    for content_type in ["", "text/plain", "text/html", "application/grpc-website", "a\u{ff}b"] {
        let sender = connect(&server).await;
        let request = with(&server, "content-type", content_type);
        let told = ask(&sender, request, frame(0, b"x"), true).await.expect("an answer");
        assert_eq!(told.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content_type}");
        assert!(!told.body.is_empty(), "{told:?}");
        echoes(&server, &sender).await;
    }
    unharmed(&server).await;
}

#[tokio::test]
async fn unknown_subtype_is_unimplemented() {
    let server = server(|builder| builder).await;
    let request = with(&server, "content-type", "application/grpc+foo");
    assert_eq!(code(&server, request, frame(0, b"x")).await, Some(Code::Unimplemented));
}
