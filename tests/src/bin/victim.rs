//! The process that hostile peers attack: a server, and a client, whose memory and sockets are its own.
//!
//! Driven over JSON lines like every peer: `state` says what is going on, `call` calls an address.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test program, driven over its stdout"
)]

use std::io::BufRead as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _};
use micro::server::{Endpoint, Server, ServerBuilder};
use micro::{Client, Context, Error, Raw, Result, Streaming, registry};
use serde_json::{Value, json};

/// Bytes of the reply of `Echo.Blob`.
const BLOB: usize = 1024 * 1024;

#[tokio::main(worker_threads = 2)]
async fn main() {
    let builder = Server::builder("echo")
        .address("127.0.0.1:0")
        // Short and small, so that a test sees what they do.
        .handshake_timeout(Duration::from_secs(1))
        .keepalive(Some(Duration::from_secs(1)))
        .body_timeout(Duration::from_secs(2))
        .max_unsent_replies(8 * BLOB)
        .max_buffered_per_connection(8 * BLOB)
        .max_buffered(32 * BLOB);
    let server = Arc::new(endpoints(builder).start().await.expect("the server starts"));
    let registry = registry::connect("memory://").expect("a registry");
    let client = Client::builder().registry(registry).build().expect("a client");
    println!(
        "{}",
        json!({
            "ready": true,
            "address": server.address().to_string(),
            "pid": std::process::id().to_string(),
        })
    );
    // Reading stdin blocks, and a runtime waits for blocked threads of its own.
    let (lines, mut asked) = tokio::sync::mpsc::channel(16);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(std::io::Result::ok) {
            if lines.blocking_send(line).is_err() {
                return;
            }
        }
    });
    while let Some(line) = asked.recv().await {
        let request: Value = serde_json::from_str(&line).expect("a line of JSON");
        let (server, client) = (server.clone(), client.clone());
        tokio::spawn(async move {
            let result = match request["op"].as_str() {
                Some("state") => json!({
                    "inFlight": server.in_flight(),
                    "tasks": tokio::runtime::Handle::current().metrics().num_alive_tasks(),
                }),
                _ => call(&client, &request).await,
            };
            println!("{}", json!({ "id": request["id"], "result": result }));
        });
    }
}

fn endpoints(builder: ServerBuilder) -> ServerBuilder {
    builder
        .handle(Endpoint::unary("Echo.Call", |_: Context, request: Raw| async move { Ok(request) }))
        .handle(Endpoint::unary("Echo.Blob", |_: Context, _: Raw| async {
            // Filled, so that the memory is really there.
            Ok(Raw(vec![7; BLOB].into()))
        }))
        .handle(Endpoint::unary("Echo.Wait", |context: Context, _: Raw| async move {
            context.cancelled().await;
            Err::<Raw, _>(Error::cancelled("the caller no longer waits"))
        }))
        .handle(Endpoint::server_stream("Echo.Pour", |_: Context, _: Raw| async {
            Ok(stream::repeat_with(|| Ok(Raw(vec![7; BLOB].into()))).take(1_000))
        }))
        .handle(Endpoint::client_stream(
            "Echo.Hoard",
            |_: Context, mut requests: Streaming<Raw>| async move {
                while requests.message().await?.is_some() {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Ok(Raw::default())
            },
        ))
        .handle(Endpoint::client_stream(
            "Echo.Drain",
            |_: Context, mut requests: Streaming<Raw>| async move {
                let mut count = 0_u64;
                while requests.message().await?.is_some() {
                    count += 1;
                }
                Ok(Raw(count.to_string().into()))
            },
        ))
}

/// One unary call to `address`, with `size` bytes; says how it ended.
async fn call(client: &Client, request: &Value) -> Value {
    let begun = Instant::now();
    let number = |key: &str| request[key].as_u64().unwrap_or_default();
    let message = Raw(vec![7; usize::try_from(number("size")).unwrap()].into());
    let called: Result<Raw> = client
        .call("echo", "Echo.Call", message)
        .address(request["address"].as_str().expect("an address"))
        .timeout(Duration::from_millis(number("timeoutMs")))
        .await;
    let code = called.as_ref().err().map(|error| format!("{:?}", error.code()));
    json!({
        "code": code,
        "detail": called.as_ref().err().map(Error::to_string),
        "milliseconds": u64::try_from(begun.elapsed().as_millis()).unwrap(),
    })
}
