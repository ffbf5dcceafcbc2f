//! What `curl` and browsers see: HTTP/1.1 and JSON on the port of gRPC, by bare sockets.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expects by failing")]

mod browser;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use micro::server::{Endpoint, Server, ServerBuilder};
use micro::{Code, Context, Error, Json, Raw};
use serde_json::{Value, json};
use support::held;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);

const LIMIT: usize = 1024;

/// A server with `Greeter.Hello`, which greets `{"name":…}`, and `Greeter.Look`, which changes nothing.
async fn server(set: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Server {
    async fn hello(context: Context, Json(request): Json<Value>) -> Result<Json<Value>, Error> {
        let name = request["name"]
            .as_str()
            .ok_or_else(|| Error::not_found("no name to greet").with_id("greeter"))?;
        if let Some(age) = request["maxAge"].as_u64() {
            context.set_header("cache-control", &format!("max-age={age}"))?;
        }
        context.set_trailer("greeted", name)?;
        Ok(Json(json!({ "greeting": format!("Hello {name}") })))
    }
    let builder = Server::builder("greeter")
        .address("127.0.0.1:0")
        .max_message_size(LIMIT)
        .handle(Endpoint::unary("Greeter.Hello", hello))
        .handle(Endpoint::unary("Greeter.Look", hello).read_only());
    set(builder).start().await.expect("the server starts")
}

/// A connection, and what of the answers on it was not read yet.
struct Peer {
    stream: TcpStream,
    rest: Vec<u8>,
}

struct HttpAnswer {
    head: String,
    body: Vec<u8>,
}

impl HttpAnswer {
    fn status(&self) -> u16 {
        let status = self.head.split(' ').nth(1).and_then(|text| text.parse().ok());
        status.unwrap_or_else(|| panic!("no status in {:?}", self.head))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("no JSON: {:?}", String::from_utf8_lossy(&self.body)))
    }
}

impl Peer {
    async fn to(server: &Server) -> Self {
        let stream = TcpStream::connect(server.address()).await.expect("a connection");
        Self { stream, rest: Vec::new() }
    }

    async fn send(&mut self, text: impl AsRef<[u8]>) {
        self.stream.write_all(text.as_ref()).await.expect("sent");
    }

    /// More bytes; false at the end.
    async fn more(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.rest)).await;
        read.expect("bytes or an end in time").is_ok_and(|length| length > 0)
    }

    /// The next answer, which must tell its length.
    async fn answer(&mut self) -> HttpAnswer {
        let end = loop {
            if let Some(end) = self.rest.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            assert!(self.more().await, "no head but {:?}", String::from_utf8_lossy(&self.rest));
        };
        let head: Vec<u8> = self.rest.drain(..end).collect();
        let mut answer =
            HttpAnswer { head: String::from_utf8(head).expect("a head of text"), body: Vec::new() };
        let length = answer.header("content-length").and_then(|text| text.parse().ok());
        let length: usize = length.unwrap_or_default();
        while self.rest.len() < length {
            assert!(self.more().await, "the body ends early");
        }
        answer.body = self.rest.drain(..length).collect();
        answer
    }

    async fn closed(&mut self) {
        while self.more().await {}
    }

    async fn ask(&mut self, text: impl AsRef<[u8]>) -> HttpAnswer {
        self.send(text).await;
        self.answer().await
    }
}

/// A POST of JSON.
fn post(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    )
}

fn get(path: &str, query: &str) -> String {
    format!("GET {path}?{query} HTTP/1.1\r\nhost: x\r\n\r\n")
}

const ANN: &str = r#"{"name":"Ann"}"#;

#[tokio::test]
async fn connect_and_grpc_web_know_the_codecs_that_the_program_has_added() {
    micro::codec::declare("x.sealed").expect("a name");
    let echo = |_: Context, bytes: Raw| async move { Ok(bytes) };
    let server = server(|builder| builder.handle(Endpoint::unary("Echo.Call", echo))).await;
    for (content_type, body) in [
        ("application/x.sealed", "hi"),
        ("application/grpc-web+x.sealed", "\0\0\0\0\u{2}hi"),
        ("application/grpc-web-text+x.sealed", "AAAAAAJoaQ=="),
    ] {
        let mut peer = Peer::to(&server).await;
        let length = body.len();
        let head = format!(
            "POST /Echo/Call HTTP/1.1\r\nhost: x\r\ncontent-type: {content_type}\r\nconnection: close"
        );
        peer.send(format!("{head}\r\ncontent-length: {length}\r\n\r\n{body}")).await;
        peer.closed().await;
        let answer = String::from_utf8_lossy(&peer.rest);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains(&format!("content-type: {content_type}\r\n")), "{answer}");
        assert!(
            answer.split_once("\r\n\r\n").is_some_and(|(_, told)| told.contains(body)),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn json_is_answered_with_json_under_every_name_of_the_endpoint() {
    let server = server(|builder| builder).await;
    let mut peer = Peer::to(&server).await;
    for path in ["/greeter.Greeter/Hello", "/Greeter/Hello", "/any.Greeter/Hello"] {
        let answer = peer.ask(post(path, "", ANN)).await;
        assert_eq!((answer.status(), answer.json()), (200, json!({ "greeting": "Hello Ann" })));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("trailer-greeted"), Some("Ann"));
    }
}

#[tokio::test]
async fn every_server_tells_its_health_in_json() {
    let server = server(|builder| builder).await;
    let mut peer = Peer::to(&server).await;
    let answer = peer.ask(post("/grpc.health.v1.Health/Check", "", "{}")).await;
    assert_eq!((answer.status(), answer.json()), (200, json!({ "status": "SERVING" })));
}

#[tokio::test]
async fn an_error_says_what_grpc_would() {
    let server = server(|builder| builder).await;
    let mut peer = Peer::to(&server).await;
    let answer = peer.ask(post("/Greeter/Hello", "", "{}")).await;
    assert_eq!(answer.status(), 404);
    let error = answer.json();
    assert_eq!(
        (&error["code"], &error["message"]),
        (&json!("not_found"), &json!("no name to greet"))
    );
    assert_eq!(error["details"][0]["type"], "errors.Error", "the id survives");
    let answer = peer.ask(post("/Greeter/Gone", "", "{}")).await;
    assert_eq!((answer.status(), &answer.json()["code"]), (404, &json!("unimplemented")));
    let counted = server.metrics().snapshot();
    let failed: u64 = counted.iter().map(|(_, edge)| edge.with_code(Some(Code::NotFound))).sum();
    assert_eq!(failed, 1, "it is counted");
}

#[tokio::test]
async fn json_that_is_none_is_a_bad_request() {
    let server = server(|builder| builder).await;
    let mut peer = Peer::to(&server).await;
    for body in ["{", "}", "\u{1}"] {
        let answer = peer.ask(post("/Greeter/Hello", "", body)).await;
        assert_eq!((answer.status(), &answer.json()["code"]), (400, &json!("invalid_argument")));
    }
    assert_eq!(peer.ask(post("/Greeter/Hello", "", ANN)).await.status(), 200);
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_before_it_is_sent() {
    let server = server(|builder| builder).await;
    let mut peer = Peer::to(&server).await;
    let mut request = post("/Greeter/Hello", "", &" ".repeat(LIMIT + 1));
    request.truncate(request.len() - 1);
    let answer = peer.ask(request).await;
    assert_eq!((answer.status(), &answer.json()["code"]), (429, &json!("resource_exhausted")));
    assert_eq!(answer.header("connection"), Some("close"), "its body was not read");
    peer.closed().await;
}

#[tokio::test]
async fn chunks_over_the_limit_are_refused_as_they_come() {
    let server = server(|builder| builder).await;
    let mut peer = Peer::to(&server).await;
    let head = "POST /Greeter/Hello HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = format!("400\r\n{}\r\n", " ".repeat(0x400));
    let answer = peer.ask(format!("{head}{chunk}{chunk}")).await;
    assert_eq!(answer.status(), 429);
}

#[tokio::test]
async fn a_timeout_ends_the_call() {
    let (endpoint, _held) = held();
    let server = server(|builder| builder.handle(endpoint)).await;
    let mut peer = Peer::to(&server).await;
    let answer = peer.ask(post("/Echo/Call", "connect-timeout-ms: 30\r\n", "{}")).await;
    assert_eq!((answer.status(), &answer.json()["code"]), (504, &json!("deadline_exceeded")));
    let answer = peer.ask(post("/Echo/Call", "connect-timeout-ms: soon\r\n", "{}")).await;
    assert_eq!(answer.status(), 400);
}

#[tokio::test]
async fn a_caller_that_hangs_up_ends_the_call() {
    let (endpoint, held) = held();
    let server = server(|builder| builder.handle(endpoint)).await;
    let mut peer = Peer::to(&server).await;
    peer.send(post("/Echo/Call", "", "{}")).await;
    held.entered.notified().await;
    drop(peer);
    let ended = async {
        while server.in_flight() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, ended).await.expect("the call ends");
}

#[tokio::test]
async fn a_stop_lets_the_call_finish_and_closes_kept_connections() {
    let (endpoint, held) = held();
    let server = server(|builder| builder.handle(endpoint)).await;
    let mut idle = Peer::to(&server).await;
    assert_eq!(idle.ask(post("/Greeter/Hello", "", ANN)).await.status(), 200);
    let mut busy = Peer::to(&server).await;
    busy.send(post("/Echo/Call", "", "{}")).await;
    held.entered.notified().await;
    let stop = server.stop();
    let rest = async {
        idle.closed().await;
        held.release.notify_one();
        let answer = busy.answer().await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.header("connection"), Some("close"));
        busy.closed().await;
    };
    let (clean, ()) = timeout(PATIENCE, async { tokio::join!(stop, rest) }).await.expect("an end");
    assert!(clean, "nothing was cut off");
}

#[tokio::test]
async fn the_limit_of_calls_counts_for_all() {
    let (endpoint, held) = held();
    let server = server(|builder| builder.handle(endpoint).max_concurrent_calls(1)).await;
    let mut first = Peer::to(&server).await;
    first.send(post("/Echo/Call", "", "{}")).await;
    held.entered.notified().await;
    let answer = Peer::to(&server).await.ask(post("/Greeter/Hello", "", ANN)).await;
    assert_eq!(answer.status(), 429);
    held.release.notify_one();
    assert_eq!(first.answer().await.status(), 200);
}

#[tokio::test]
async fn authorization_is_metadata_where_the_server_does_not_ask_for_it() {
    let tell = |context: Context, _: Json<Value>| async move {
        let sent: Vec<_> = context.metadata().get_all("authorization").collect();
        Ok(Json(json!(sent)))
    };
    let server = server(|builder| builder.handle(Endpoint::unary("Greeter.Tell", tell))).await;
    let mut peer = Peer::to(&server).await;
    for sent in ["Basic eA==", "bearer t", "Bearer t", "Bearer", "Digest a=\"b\", c=d", "t"] {
        let head = format!("authorization: {sent}\r\n");
        let answer = peer.ask(post("/Greeter/Tell", &head, "{}")).await;
        assert_eq!((answer.status(), answer.json()), (200, json!([sent])));
    }
}

#[tokio::test]
async fn a_slow_head_and_a_long_one_are_cut_off() {
    let server = server(|builder| {
        builder.handshake_timeout(Duration::from_millis(50)).max_header_size(16 * 1024)
    })
    .await;
    let mut slow = Peer::to(&server).await;
    slow.send("POST /Greeter/Hello HTTP/1.1\r\n").await;
    slow.closed().await;
    let mut cut = Peer::to(&server).await;
    cut.send("PRI * HT").await;
    cut.closed().await;
    let mut long = Peer::to(&server).await;
    let header = format!("long: {}\r\n", "x".repeat(32 * 1024));
    let answer = long.ask(post("/Greeter/Hello", &header, ANN)).await;
    assert_eq!(answer.status(), 431);
    long.closed().await;
}

#[tokio::test]
async fn what_is_no_call_is_told_so() {
    let server = server(|builder| builder).await;
    for (request, status) in [
        ("GET / HTTP/1.1\r\nhost: x\r\n\r\n", 405),
        ("PUT /Greeter/Hello HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n", 405),
        (
            "POST /Greeter/Hello HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\ncontent-length: 0\r\n\r\n",
            415,
        ),
        (
            "POST /Greeter/Hello HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\n\r\n",
            505,
        ),
        (
            "POST /grpc.health.v1.Health/Watch HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
            415,
        ),
    ] {
        assert_eq!(Peer::to(&server).await.ask(request).await.status(), status, "{request}");
    }
}

#[tokio::test]
async fn a_second_message_where_one_is_expected_is_unimplemented() {
    let server = server(|builder| builder).await;
    let mut message = vec![0, 0, 0, 0, 14];
    message.extend_from_slice(ANN.as_bytes());
    let body = message.repeat(2);
    let mut request = format!(
        "POST /Greeter/Hello HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc-web+json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(&body);
    let answer = Peer::to(&server).await.ask(request).await;
    assert_eq!(answer.header("grpc-status"), Some("12"));
}
