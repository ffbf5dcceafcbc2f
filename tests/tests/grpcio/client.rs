//! The grpcio client calls our service.

use std::time::Duration;

use micro::Compression;
use micro_tests::ours::{self, Ours};
use micro_tests::peer::Peer;
use micro_tests::{Need, isolated, python};
use serde_json::{Value, json};
use tokio::time::timeout;

/// Both sides, up.
async fn pair() -> (Ours, Peer) {
    (ours::serve("greeter").await, python::client().await)
}

/// Asks for an operation on a method of the Greeter.
async fn ask(client: &Peer, ours: &Ours, op: &str, method: &str, mut fields: Value) -> Value {
    fields["address"] = json!(ours.address());
    fields["path"] = json!(format!("/greeter.Greeter/{method}"));
    client.ask(op, fields).await
}

async fn call(client: &Peer, ours: &Ours, method: &str, request: Value) -> Value {
    ask(client, ours, "call", method, json!({ "request": request })).await
}

/// Opens the stream `s`.
async fn open(client: &Peer, ours: &Ours, method: &str) {
    ask(client, ours, "streamOpen", method, json!({ "key": "s" })).await;
}

async fn send(client: &Peer, request: Value) {
    client.ask("streamSend", json!({ "key": "s", "request": request })).await;
}

async fn receive(client: &Peer) -> Value {
    client.ask("streamReceive", json!({ "key": "s" })).await
}

#[test]
fn unary_call_carries_every_kind_of_field() {
    isolated(&[Need::Grpcio], || async {
        let (ours, client) = pair().await;
        let request = json!({
            "name": "Ann Ö 😈", "big": "-9223372036854775808", "kind": "KIND_STRANGER",
            "blob": "APv/", "tags": ["a", ""], "labels": { "k": "v" }, "ratio": -0.5,
            "huge": "18446744073709551615", "display_name": "snake_case",
            "home": { "street_name": "Allee", "house_number": -7 }, "loud": true,
        });
        let outcome = call(&client, &ours, "Hello", request.clone()).await;
        assert_eq!(outcome["response"]["greeting"], "Hello Ann Ö 😈", "{outcome}");
        assert_eq!(outcome["response"]["request"], request);
    });
}

#[test]
fn server_stream_ends_after_its_last_message() {
    isolated(&[Need::Grpcio], || async {
        let (ours, client) = pair().await;
        open(&client, &ours, "Count").await;
        send(&client, json!({ "to": "2" })).await;
        assert_eq!(receive(&client).await["message"]["value"], "1");
        assert_eq!(receive(&client).await["message"]["value"], "2");
        assert_eq!(receive(&client).await["end"], true);
    });
}

#[test]
fn client_stream_is_answered_at_its_half_close() {
    isolated(&[Need::Grpcio], || async {
        let (ours, client) = pair().await;
        open(&client, &ours, "Sum").await;
        send(&client, json!({ "value": "40" })).await;
        send(&client, json!({ "value": "2" })).await;
        client.ask("streamHalfClose", json!({ "key": "s" })).await;
        let reply = receive(&client).await;
        assert_eq!(reply["message"], json!({ "total": "42", "count": 2 }));
        assert_eq!(receive(&client).await["end"], true);
    });
}

#[test]
fn bidirectional_stream_answers_each_message_and_ends_with_the_half_close() {
    isolated(&[Need::Grpcio], || async {
        let (ours, client) = pair().await;
        open(&client, &ours, "Chat").await;
        for text in ["one", "two"] {
            send(&client, json!({ "text": text })).await;
            assert_eq!(receive(&client).await["message"]["text"], format!("echo: {text}"));
        }
        client.ask("streamHalfClose", json!({ "key": "s" })).await;
        assert_eq!(receive(&client).await["end"], true);
        assert!(ours.next_end().await.finished);
    });
}

#[test]
fn error_is_grpcs_number_and_plain_text() {
    isolated(&[Need::Grpcio], || async {
        let (ours, client) = pair().await;
        for (code, number) in [(400, 3), (404, 5), (408, 4), (500, 13), (503, 14)] {
            let request = json!({ "id": "my.id", "code": code, "detail": "no such 100% ö\n" });
            let outcome = call(&client, &ours, "Fail", request).await;
            assert_eq!(outcome["error"]["code"], number, "{outcome}");
            assert_eq!(outcome["error"]["message"], "no such 100% ö\n");
            assert!(outcome["error"]["details"].is_string(), "go-micro's error goes along");
        }
    });
}

#[test]
fn stream_error_comes_after_the_messages() {
    isolated(&[Need::Grpcio], || async {
        let (ours, client) = pair().await;
        open(&client, &ours, "Count").await;
        let failure = json!({ "id": "my.id", "code": 409, "detail": "taken" });
        send(&client, json!({ "to": "1", "failure": failure })).await;
        assert_eq!(receive(&client).await["message"]["value"], "1");
        let error = &receive(&client).await["error"];
        assert_eq!((&error["code"], &error["message"]), (&json!(6), &json!("taken")));
    });
}

#[test]
fn metadata_goes_both_ways_with_bytes_under_bin_names() {
    isolated(&[Need::Grpcio], || async {
        let (ours, client) = pair().await;
        let metadata =
            json!([["tenant", "blue"], ["many", "a"], ["many", "b"], ["token-bin", "AP8="]]);
        let outcome = ask(&client, &ours, "call", "Headers", json!({ "metadata": metadata })).await;
        let called = ours.next_call().await;
        let seen = called.context.metadata();
        assert_eq!(seen.get("tenant"), Some("blue"));
        assert_eq!(seen.get_all("many").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(seen.get_bin("token-bin"), Some(b"\x00\xff".to_vec()));

        let contains = |pairs: &Value, pair: Value| pairs.as_array().unwrap().contains(&pair);
        assert!(contains(&outcome["header"], json!(["answered-by", "micro"])), "{outcome}");
        assert!(contains(&outcome["header"], json!(["answered-bin", "AP8="])), "{outcome}");
        assert!(contains(&outcome["trailer"], json!(["ended-by", "micro"])), "{outcome}");
        assert!(contains(&outcome["trailer"], json!(["trailer-bin", "Af4="])), "{outcome}");
    });
}

#[test]
fn deadline_reaches_our_handler_and_cancels_it() {
    isolated(&[Need::Grpcio], || async {
        let (ours, client) = pair().await;
        let fields = json!({ "request": { "milliseconds": "20000" }, "timeoutMs": 1_000 });
        let outcome = ask(&client, &ours, "call", "Wait", fields).await;
        assert_eq!(outcome["error"]["name"], "DEADLINE_EXCEEDED", "{outcome}");
        let remaining = ours.next_call().await.remaining.expect("a deadline");
        assert!(remaining <= Duration::from_secs(1), "{remaining:?}");
        assert!(!ours.next_end().await.finished);
    });
}

#[test]
fn cancelled_call_cancels_our_handler() {
    isolated(&[Need::Grpcio], || async {
        let (ours, client) = pair().await;
        let fields = json!({
            "address": ours.address(), "path": "/greeter.Greeter/Wait", "key": "c",
            "request": { "milliseconds": "20000" }, "timeoutMs": 30_000,
        });
        let outcome = client.post("call", fields);
        ours.next_call().await;
        client.ask("cancel", json!({ "key": "c" })).await;
        assert_eq!(outcome.await["error"]["name"], "CANCELLED");
        assert!(!ours.next_end().await.finished);
    });
}

#[test]
fn cancelled_stream_cancels_our_handler() {
    isolated(&[Need::Grpcio], || async {
        let (ours, client) = pair().await;
        open(&client, &ours, "Chat").await;
        send(&client, json!({ "text": "one" })).await;
        receive(&client).await;
        client.ask("cancel", json!({ "key": "s" })).await;
        assert_eq!(receive(&client).await["error"]["name"], "CANCELLED");
        assert!(!ours.next_end().await.finished);
    });
}

#[test]
fn gzip_goes_both_ways() {
    isolated(&[Need::Grpcio], || async {
        let ours = ours::serve_with("greeter", |builder| {
            builder.server(|server| server.compression(Compression::Gzip))
        })
        .await;
        let client = python::client().await;
        let name = "Ann ".repeat(10_000);
        let fields = json!({ "request": { "name": name }, "compression": "gzip" });
        let outcome = ask(&client, &ours, "call", "Hello", fields).await;
        assert_eq!(outcome["response"]["request"]["name"], name);
        let called = ours.next_call().await;
        assert_eq!(called.context.metadata().get("grpc-encoding"), Some("gzip"));

        let fields = json!({ "key": "s", "compression": "gzip" });
        ask(&client, &ours, "streamOpen", "Chat", fields).await;
        send(&client, json!({ "text": name })).await;
        assert_eq!(receive(&client).await["message"]["text"], format!("echo: {name}"));
    });
}

#[test]
fn health_is_checked_by_name() {
    isolated(&[Need::Grpcio], || async {
        let (ours, client) = pair().await;
        let check = async |service: &str| {
            let fields = json!({ "service": service });
            python::call(&client, ours.address(), "/grpc.health.v1.Health/Check", fields).await
        };
        assert_eq!(check("").await["response"]["status"], "SERVING");
        assert_eq!(check("greeter").await["response"]["status"], "SERVING");
        assert_eq!(check("nobody").await["error"]["name"], "NOT_FOUND");
        ours.service.server().health().set("greeter", false);
        assert_eq!(check("greeter").await["response"]["status"], "NOT_SERVING");
    });
}

#[test]
fn health_watcher_hears_of_every_change_and_of_the_stop() {
    isolated(&[Need::Grpcio], || async {
        let (ours, client) = pair().await;
        let fields = json!({
            "address": ours.address(), "path": "/grpc.health.v1.Health/Watch", "key": "s",
        });
        client.ask("streamOpen", fields).await;
        send(&client, json!({ "service": "greeter" })).await;
        assert_eq!(receive(&client).await["message"]["status"], "SERVING");
        let health = ours.service.server().health();
        health.set("greeter", false);
        assert_eq!(receive(&client).await["message"]["status"], "NOT_SERVING");
        health.set("greeter", true);
        assert_eq!(receive(&client).await["message"]["status"], "SERVING");
        let hear = async {
            assert_eq!(receive(&client).await["message"]["status"], "NOT_SERVING");
            assert_eq!(receive(&client).await["error"]["name"], "UNAVAILABLE");
        };
        // A watch never ends by itself, so a stop that waited for it would take all of its grace.
        let stop = timeout(Duration::from_secs(5), ours.service.stop());
        let (stopped, ()) = tokio::join!(stop, hear);
        stopped.expect("an early end").unwrap();
    });
}

/// What reflection of one version says, from the list to a call built on nothing else.
async fn reflects(version: &str) {
    let (ours, client) = pair().await;
    let about = |symbol: &str| {
        json!({
            "address": ours.address(), "version": version, "symbol": symbol, "method": "Hello",
            "request": { "name": "Ann", "home": { "street_name": "Allee" } },
        })
    };
    let listed = client.ask("services", about("")).await;
    let names = listed["names"].as_array().unwrap();
    for name in ["greeter.Greeter", "grpc.health.v1.Health"] {
        assert!(names.contains(&json!(name)), "{name} in {listed}");
    }
    let described = client.ask("describe", about("greeter.Greeter")).await;
    let methods = &described["methods"];
    assert_eq!(methods.as_object().unwrap().len(), 8, "{described}");
    assert_eq!(methods["Hello"]["input"], "greeter.HelloRequest");
    assert_eq!(methods["Hello"]["output"], "greeter.HelloReply");
    assert_eq!(methods["Count"]["serverStreaming"], true);
    assert_eq!(methods["Sum"]["clientStreaming"], true);
    let outcome = client.ask("callReflected", about("greeter.Greeter")).await;
    assert_eq!(outcome["response"]["greeting"], "Hello Ann", "{outcome}");
    assert_eq!(outcome["response"]["request"]["home"]["street_name"], "Allee");
}

#[test]
fn reflection_v1_lists_describes_and_is_enough_for_a_call() {
    isolated(&[Need::Grpcio], || reflects("v1"));
}

#[test]
fn reflection_v1alpha_lists_describes_and_is_enough_for_a_call() {
    isolated(&[Need::Grpcio], || reflects("v1alpha"));
}
