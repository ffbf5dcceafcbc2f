//! What browsers need: gRPC-Web, named origins, reads that may be cached.

use serde_json::json;

use super::{ANN, Peer, get, post, server};

#[tokio::test]
async fn get_serves_what_changes_nothing_and_caches_as_the_handler_says() {
    let server = server(|builder| builder).await;
    let mut peer = Peer::to(&server).await;
    let ann = "encoding=json&message=%7B%22name%22%3A%22Ann%22%7D";
    let answer = peer.ask(get("/Greeter/Look", ann)).await;
    assert_eq!((answer.status(), answer.json()), (200, json!({ "greeting": "Hello Ann" })));
    assert_eq!(answer.header("cache-control"), Some("no-cache"), "caches do not guess");
    let base64 = "connect=v1&encoding=json&base64=1&message=eyJuYW1lIjoiQW5uIiwibWF4QWdlIjo2MH0";
    let answer = peer.ask(get("/Greeter/Look", base64)).await;
    assert_eq!((answer.status(), answer.header("cache-control")), (200, Some("max-age=60")));
    let answer = peer.ask(get("/Greeter/Look", "encoding=json&message=%7B%7D")).await;
    assert_eq!((answer.status(), answer.header("cache-control")), (404, Some("no-store")));
    for (query, status) in [
        ("encoding=json", 400),
        ("encoding=json&base64=1&message=%21", 400),
        ("encoding=json&message=%7B%7D&compression=br", 501),
        ("encoding=json&message=%7B%7D&connect=v2", 400),
        ("encoding=xml&message=%7B%7D", 415),
    ] {
        assert_eq!(peer.ask(get("/Greeter/Look", query)).await.status(), status, "{query}");
    }
    let answer = peer.ask(get("/Greeter/Hello", ann)).await;
    assert_eq!((answer.status(), answer.header("allow")), (405, Some("POST")));
}

#[tokio::test]
async fn grpc_web_in_base64_carries_the_status_in_the_body() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    let server = server(|builder| builder).await;
    let mut message = vec![0, 0, 0, 0, 14];
    message.extend_from_slice(ANN.as_bytes());
    let body = STANDARD.encode(message);
    let length = body.len();
    let mut peer = Peer::to(&server).await;
    peer.send(format!(
        "POST /Greeter/Hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/grpc-web-text+json\r\ncontent-length: {length}\r\n\r\n{body}"
    ))
    .await;
    let answer = peer.answer().await;
    assert_eq!(answer.header("content-type"), Some("application/grpc-web-text+json"));
    peer.closed().await;
    // Chunks: a length, a text, a length, a text, nothing.
    let text = String::from_utf8(peer.rest).expect("text");
    let pieces: Vec<_> = text
        .split("\r\n")
        .skip(1)
        .step_by(2)
        .map(|piece| STANDARD.decode(piece).expect("base64"))
        .collect();
    let body = pieces.concat();
    let reply = r#"{"greeting":"Hello Ann"}"#;
    assert_eq!(&body[5..5 + reply.len()], reply.as_bytes());
    let trailers = &body[5 + reply.len()..];
    assert_eq!(trailers[0], 0x80);
    let block = String::from_utf8_lossy(&trailers[5..]);
    assert!(block.contains("grpc-status: 0\r\n") && block.contains("greeted: Ann\r\n"), "{block}");
}

#[tokio::test]
async fn only_named_origins_may_call_from_a_browser() {
    let open = server(|builder| builder.allow_origin("https://app.example")).await;
    let closed = server(|builder| builder).await;
    let preflight = |origin: &str| {
        format!(
            "OPTIONS /Greeter/Hello HTTP/1.1\r\nhost: x\r\norigin: {origin}\r\naccess-control-request-method: POST\r\naccess-control-request-headers: content-type\r\n\r\n"
        )
    };
    let allowed = "access-control-allow-origin";
    let mut peer = Peer::to(&open).await;
    let answer = peer.ask(preflight("https://app.example")).await;
    assert_eq!((answer.status(), answer.header(allowed)), (204, Some("https://app.example")));
    assert_eq!(answer.header("access-control-allow-headers"), Some("content-type"));
    let answer = peer.ask(post("/Greeter/Hello", "origin: https://app.example\r\n", ANN)).await;
    assert_eq!(answer.header(allowed), Some("https://app.example"));
    let exposed = answer.header("access-control-expose-headers").expect("names");
    assert!(exposed.contains("trailer-greeted"), "{exposed}");
    let answer = peer.ask(preflight("https://evil.example")).await;
    assert_eq!((answer.status(), answer.header(allowed)), (405, None));
    let answer = Peer::to(&closed).await.ask(preflight("https://app.example")).await;
    assert_eq!((answer.status(), answer.header(allowed)), (405, None));
}
