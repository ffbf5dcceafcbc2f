//! Lines 18 and 19: our services behind go-micro's HTTP gateway, which finds their routes in the registry.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use micro::server::Endpoint;
use micro::{Context, Error, Json, Streaming};
use micro_tests::greeter::{ChatMessage, HelloReply, HelloRequest};
use micro_tests::ours::{self, Ours};
use micro_tests::peer::Peer;
use micro_tests::{Need, go, isolated};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);
const JSON: (&str, &str) = ("content-type", "application/json");

/// An endpoint that the gateway routes to, as go-micro's own services say it.
fn routed(endpoint: Endpoint, methods: &str, path: &str) -> Endpoint {
    let name = endpoint.name().to_owned();
    endpoint
        .metadata("endpoint", &name)
        .metadata("handler", "rpc")
        .metadata("method", methods)
        .metadata("path", path)
}

/// Endpoints of every kind of message, behind a gateway that knows them.
async fn behind_a_gateway() -> (Ours, Peer) {
    let hello = |context: Context, request: HelloRequest| async move {
        let served_by = context.metadata().get("method").unwrap_or_default().to_owned();
        let greeting = format!("Hello {}", request.name);
        Ok(HelloReply { greeting, served_by, request: Some(request) })
    };
    let plain = |_: Context, Json(request): Json<HashMap<String, Value>>| async move {
        match request.get("fail") {
            Some(_) => Err(Error::not_found("user 7").with_id("users")),
            None => Ok(Json(request)),
        }
    };
    let nothing = |_: Context, _: HelloRequest| async move { Ok(Json(())) };
    let chat = |_: Context, said: Streaming<ChatMessage>| async move { Ok(said) };
    let ours = ours::serve_with("go.micro.api.users", |builder| {
        builder
            .handle(routed(Endpoint::unary("Users.Hello", hello), "POST,GET", "/hello/{name}"))
            .handle(routed(Endpoint::unary("Users.Plain", plain), "POST,GET", "/plain"))
            .handle(routed(Endpoint::unary("Users.Nothing", nothing), "POST", "/nothing"))
            .handle(routed(Endpoint::bidi_stream("Users.Chat", chat), "GET", "/chat"))
    })
    .await;
    let gateway = go::gateway().await;
    // It learns of services in its own time.
    let begun = Instant::now();
    while ask(&gateway, "POST", "/nothing", &[JSON], "{}").await.0 != 200 {
        assert!(begun.elapsed() < PATIENCE, "the gateway does not find the routes");
    }
    (ours, gateway)
}

fn head(gateway: &Peer, method: &str, path: &str, headers: &[(&str, &str)]) -> String {
    let host = gateway.fact("address");
    let lines = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
    format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n{}\r\n", lines.collect::<String>())
}

/// Status, head and body of what the gateway answers.
async fn ask(
    gateway: &Peer,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, String, String) {
    let length = body.len().to_string();
    let more = [("connection", "close"), ("content-length", length.as_str())];
    let request = head(gateway, method, path, &[headers, &more].concat()) + body;
    let answer = async {
        let mut stream = TcpStream::connect(gateway.fact("address")).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = timeout(PATIENCE, answer).await.expect("an answer in time");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, head.to_owned(), body.to_owned())
}

fn parsed(body: &str) -> Value {
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{body:?} is no JSON: {error}"))
}

#[test]
fn p1_18_a_go_gateway_calls_our_service_with_json_and_tells_its_answer() {
    isolated(&[Need::Go], || async {
        let (_ours, gateway) = behind_a_gateway().await;
        let body = r#"{"name":"over","loud":true}"#;
        let (status, _, told) = ask(&gateway, "POST", "/hello/ann?ratio=0.5", &[JSON], body).await;
        let told = parsed(&told);
        assert_eq!((status, &told["greeting"]), (200, &json!("Hello over")), "{told}");
        let request = &told["request"];
        assert_eq!((&request["loud"], &request["ratio"]), (&json!(true), &json!(0.5)), "{told}");
    });
}

#[test]
fn p1_18_our_errors_are_statuses_of_a_go_gateway() {
    isolated(&[Need::Go], || async {
        let (_ours, gateway) = behind_a_gateway().await;
        let (status, _, told) = ask(&gateway, "POST", "/plain", &[JSON], r#"{"fail":1}"#).await;
        let error =
            json!({ "id": "users", "code": 404, "detail": "user 7", "status": "Not Found" });
        assert_eq!((status, parsed(&told)), (404, error));
        let (status, _, told) = ask(&gateway, "POST", "/hello/ann", &[JSON], r#"{"loud":7}"#).await;
        assert_eq!((status, &parsed(&told)["code"]), (400, &json!(400)), "{told}");
    });
}

#[test]
fn p1_18_null_and_empty_payloads_of_a_go_gateway_are_requests_without_fields() {
    isolated(&[Need::Go], || async {
        let (_ours, gateway) = behind_a_gateway().await;
        // A GET without a query has no payload, which the gateway sends as `null`.
        for (method, headers) in
            [("GET", &[][..]), ("POST", &[][..]), ("GET", &[JSON][..]), ("POST", &[JSON][..])]
        {
            let (status, _, told) = ask(&gateway, method, "/plain", headers, "").await;
            assert_eq!((status, told.as_str()), (200, "{}"), "{method} {headers:?}");
        }
        let (status, _, told) = ask(&gateway, "POST", "/nothing", &[], "").await;
        assert_eq!((status, told.as_str()), (200, "null"));
    });
}

#[test]
fn p1_19_metadata_of_our_endpoint_makes_a_go_gateway_route_to_it() {
    isolated(&[Need::Go], || async {
        let (_ours, gateway) = behind_a_gateway().await;
        for method in ["GET", "POST"] {
            let (status, _, told) = ask(&gateway, method, "/hello/ann", &[JSON], "").await;
            let told = parsed(&told);
            assert_eq!((status, &told["greeting"]), (200, &json!("Hello ann")), "{told}");
            assert_eq!(told["served_by"], method, "the handler is told the method: {told}");
        }
        let (status, _, told) = ask(&gateway, "PUT", "/hello/ann", &[JSON], "").await;
        assert_eq!(status, 500, "no endpoint has this method: {told}");
    });
}

#[test]
fn p1_19_a_stream_of_ours_is_a_websocket_of_a_go_gateway() {
    isolated(&[Need::Go], || async {
        let (_ours, gateway) = behind_a_gateway().await;
        let mut stream = TcpStream::connect(gateway.fact("address")).await.unwrap();
        let upgrade = [
            JSON,
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let request = head(&gateway, "GET", "/chat", &upgrade);
        stream.write_all(request.as_bytes()).await.unwrap();
        let told = async {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.expect("the head goes on"));
            }
            assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
            let mut told = Vec::new();
            for text in [r#"{"text":"one"}"#, r#"{"text":"two"}"#] {
                // One frame of text, under a mask of zeros.
                let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0];
                frame.extend_from_slice(text.as_bytes());
                stream.write_all(&frame).await.unwrap();
                let (kind, length) =
                    (stream.read_u8().await.unwrap(), stream.read_u8().await.unwrap());
                assert_eq!(kind, 0x81, "a frame of text");
                let mut body = vec![0; usize::from(length)];
                stream.read_exact(&mut body).await.unwrap();
                told.push(parsed(std::str::from_utf8(&body).unwrap()));
            }
            told
        };
        let told = timeout(PATIENCE, told).await.expect("frames in time");
        assert_eq!(told.iter().map(|message| &message["text"]).collect::<Vec<_>>(), ["one", "two"]);
    });
}
