//! What cannot be read is the fault of its sender: a request is `INVALID_ARGUMENT` in every protocol, a reply `INTERNAL`.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expects by failing")]

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::{BufMut as _, Bytes};
use futures_util::{StreamExt as _, stream};
use micro::server::{Endpoint, Server};
use micro::{Client, Code, Context, Error, Json, Proto, Raw, Result, Streaming};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

mod support;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Order {
    customer: Customer,
    lines: Vec<OrderLine>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Customer {
    name: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct OrderLine {
    count: u32,
}

/// Bodies that are no [`Order`], and what the answer has to name.
fn bad_orders() -> Vec<(Vec<u8>, &'static str)> {
    let deep = [b"{\"lines\":".to_vec(), vec![b'['; 1_000_000]].concat();
    let digits =
        format!(r#"{{"customer":{{"name":"a"}},"lines":[{{"count":{}}}]}}"#, "9".repeat(4300));
    vec![
        (b"{".to_vec(), "EOF"),
        (b"{bad".to_vec(), "line 1 column 2"),
        (b"[1]".to_vec(), "expected struct Customer"),
        (b"17".to_vec(), "struct Order"),
        (b"null".to_vec(), "Order"),
        (
            br#"{"customer":{"name":"a"},"lines":[{"count":1},{"count":"x"}]}"#.to_vec(),
            "lines[1].count",
        ),
        (br#"{"customer":{"name":7},"lines":[]}"#.to_vec(), "customer.name"),
        (br#"{"customer":{"name":7},"lines":[]}"#.to_vec(), "expected a string"),
        (br#"{"customer":{},"lines":[]}"#.to_vec(), "missing field `name`"),
        (br#"{"lines":[],"lines":[]}"#.to_vec(), "duplicate field `lines`"),
        (b"{\"customer\":{\"name\":\"\xff\"},\"lines\":[]}".to_vec(), "UTF-8"),
        (b"{\"customer\":{\"name\":\"a\"},\"unknown\":\"\xc3\"}".to_vec(), "UTF-8"),
        (br#"{"customer":{"name":"\ud800"},"lines":[]}"#.to_vec(), "customer.name"),
        (br#"{"customer":{"name":"a"},"lines":[]} {}"#.to_vec(), "trailing"),
        (br#"{"customer":{"name":"a"},"lines":[{"count":-1}]}"#.to_vec(), "lines[0].count"),
        (digits.into_bytes(), "lines[0].count"),
        (deep, "lines"),
        (vec![b'['; 1_000_000], "Order"),
        ("[{\"a\":".repeat(100_000).into_bytes(), "Order"),
    ]
}

async fn server() -> Server {
    let order = |_: Context, _: Json<Order>| async { Ok(Json(true)) };
    let orders = |_: Context, mut orders: Streaming<Json<Order>>| async move {
        while orders.message().await?.is_some() {}
        Ok(Json(true))
    };
    let chat = |_: Context, orders: Streaming<Json<Order>>| async move { Ok(orders) };
    let time = |_: Context, time: Proto<prost_types::FieldMask>| async move { Ok(time) };
    let builder = Server::builder("shop")
        .address("127.0.0.1:0")
        .handle(Endpoint::unary("Shop.Order", order).read_only())
        .handle(Endpoint::client_stream("Shop.Orders", orders))
        .handle(Endpoint::bidi_stream("Shop.Chat", chat))
        .handle(Endpoint::unary("Shop.Time", time));
    builder.start().await.expect("the server starts")
}

fn client(server: &Server) -> Client {
    let builder =
        Client::builder().registry(support::memory()).address(server.address().to_string());
    builder.content_type("application/grpc+json").build().expect("a client")
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(5 + body.len());
    out.put_u8(0);
    out.put_u32(u32::try_from(body.len()).expect("a small body"));
    out.put(body);
    out
}

/// The answer to a request over HTTP/1.1: its status and body.
async fn http(server: &Server, line: &str, content_type: &str, body: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(server.address()).await.expect("connects");
    let head = format!(
        "{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("sends");
    // A server that has seen enough may close before it has read everything.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no status in {answer:?}")), answer)
}

#[tokio::test]
async fn a_request_that_cannot_be_read_is_a_bad_request_in_every_protocol() {
    let server = server().await;
    let client = client(&server);
    for (body, named) in bad_orders() {
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        let raw = || Raw(Bytes::from(body.clone()));
        let told = |error: Error| {
            assert_eq!((error.code(), error.http_code()), (Code::InvalidArgument, 400), "{shown}");
            assert!(error.detail().contains(named), "{shown}: {error}");
            assert!(error.detail().len() < 1024, "{shown}: {} bytes", error.detail().len());
        };
        let answer: Result<Raw> = client.call("shop", "Shop.Order", raw()).await;
        told(answer.expect_err("unary gRPC"));
        let requests = stream::iter([raw()]);
        let answer: Result<Raw> = client.client_stream("shop", "Shop.Orders", requests).await;
        told(answer.expect_err("a stream of requests"));
        let chat = client.bidi_stream("shop", "Shop.Chat", stream::iter([raw()])).await;
        let mut chat: Streaming<Raw> = chat.expect("the stream opens");
        told(chat.next().await.expect("an answer").expect_err("a stream both ways"));

        let (status, text) = http(&server, "POST /Shop/Order", "application/json", &body).await;
        assert!(status == 400 && text.contains("invalid_argument"), "Connect: {shown}: {text}");
        assert!(text.contains(&named.replace('"', "\\\"")), "Connect: {shown}: {text}");
        let framed = framed(&body);
        let streamed =
            http(&server, "POST /Shop/Orders", "application/connect+json", &framed).await;
        assert!(streamed.1.contains("invalid_argument"), "Connect stream: {shown}: {}", streamed.1);
        let (_, text) =
            http(&server, "POST /Shop/Order", "application/grpc-web+json", &framed).await;
        assert!(text.contains("grpc-status: 3"), "gRPC-Web: {shown}: {text}");
        let in_text = STANDARD.encode(&framed);
        let form = "application/grpc-web-text+json";
        let (_, text) = http(&server, "POST /Shop/Order", form, in_text.as_bytes()).await;
        assert!(text.contains("grpc-status: 3"), "gRPC-Web in text: {shown}: {text}");

        let query = URL_SAFE_NO_PAD.encode(&body);
        let get = format!("GET /Shop/Order?connect=v1&encoding=json&base64=1&message={query}");
        let (status, text) = http(&server, &get, "application/json", b"").await;
        match body.len() {
            // Longer than a head may be.
            100_000.. => {
                assert!(matches!(status, 400 | 414 | 431), "Connect by GET: {shown}: {text}")
            }
            _ => assert!(status == 400 && text.contains("invalid_argument"), "{shown}: {text}"),
        }
    }
    let deep = "[".repeat(10_000);
    let get = format!("GET /Shop/Order?connect=v1&encoding=json&message={deep}");
    let (status, text) = http(&server, &get, "application/json", b"").await;
    assert!(status == 400 && text.contains("invalid_argument"), "{text}");
    server.stop().await;
}

#[tokio::test]
async fn a_request_in_protobuf_that_cannot_be_read_is_a_bad_request_too() {
    let server = server().await;
    let client = client(&server);
    // Field 1 of 9 bytes of which two come; a text that is no UTF-8; groups within groups.
    let bodies = [b"\x0a\x09ab".to_vec(), b"\x0a\x02\xff\xff".to_vec(), vec![0x13; 1_000_000]];
    for body in bodies {
        let call = client.call("shop", "Shop.Time", Raw(body.clone().into()));
        let answer: Result<Raw> = call.content_type("application/grpc+proto").await;
        let error = answer.expect_err("no FieldMask");
        assert_eq!((error.code(), error.http_code()), (Code::InvalidArgument, 400), "{error}");
        assert!(error.detail().contains("FieldMask"), "{error}");
        let (status, text) = http(&server, "POST /Shop/Time", "application/proto", &body).await;
        assert!(status == 400 && text.contains("FieldMask"), "{text}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_ends_too_early_or_is_not_compressed_as_it_says_is_a_bad_request() {
    let server = server().await;
    let cut = &framed(b"{\"lines\":[]}")[..9];
    let (_, text) = http(&server, "POST /Shop/Order", "application/grpc-web+json", cut).await;
    assert!(text.contains("grpc-status: 3"), "{text}");
    let (_, text) = http(&server, "POST /Shop/Orders", "application/connect+json", cut).await;
    assert!(text.contains("invalid_argument"), "{text}");
    let (_, text) =
        http(&server, "POST /Shop/Order", "application/grpc-web-text+json", b"A!==").await;
    assert!(text.contains("grpc-status: 3"), "{text}");
    let gzip = "application/json\r\ncontent-encoding: gzip";
    let (status, text) = http(&server, "POST /Shop/Order", gzip, b"no gzip").await;
    assert!(status == 400 && text.contains("invalid_argument"), "{text}");
    server.stop().await;
}

#[tokio::test]
async fn a_reply_that_cannot_be_read_is_internal_and_says_so() {
    let echo = |_: Context, reply: Raw| async move { Ok(reply) };
    let count = |_: Context, reply: Raw| async move { Ok(stream::iter([Ok(reply)])) };
    let server = Server::builder("shop")
        .address("127.0.0.1:0")
        .handle(Endpoint::unary("Shop.Order", echo))
        .handle(Endpoint::server_stream("Shop.Count", count));
    let server = server.start().await.expect("the server starts");
    let client = client(&server);
    for (body, named) in bad_orders() {
        let raw = || Raw(Bytes::from(body.clone()));
        let told = |error: Error| {
            assert_eq!((error.code(), error.http_code()), (Code::Internal, 500), "{error}");
            assert!(error.detail().starts_with("the reply cannot be read: "), "{error}");
            assert!(error.detail().contains(named), "{error}");
        };
        let answer: Result<Json<Order>> = client.call("shop", "Shop.Order", raw()).await;
        told(answer.expect_err("no order"));
        let requests = stream::iter([raw()]);
        let answer: Result<Json<Order>> =
            client.client_stream("shop", "Shop.Order", requests).await;
        told(answer.expect_err("no order"));
        let replies = client.server_stream("shop", "Shop.Count", raw()).await;
        let mut replies: Streaming<Json<Order>> = replies.expect("the stream opens");
        told(replies.next().await.expect("an answer").expect_err("no order"));
    }
    server.stop().await;
}
