//! Lines 11, 12 and 29: errors, and which of them are tried again.

use std::time::{Duration, Instant};

use micro::{Client, Code, Error, Result};
use micro_tests::greeter::{FailReply, FailRequest, Form, HelloReply, HelloRequest};
use micro_tests::ours::PATIENCE;
use micro_tests::peer::Peer;
use micro_tests::{Need, go, isolated, ours};
use serde_json::{Value, json};

/// Every code go-micro has a constructor or a status for, and some it has none for.
const CODES: [i32; 15] =
    [400, 401, 403, 404, 405, 408, 409, 412, 418, 429, 499, 500, 501, 503, 504];

fn failing(code: i32, form: Form) -> FailRequest {
    FailRequest {
        form: form.into(),
        id: "my.id".into(),
        code,
        detail: "no such 100% <b>&\u{f6}".into(),
        key: code.to_string(),
        times: 0,
    }
}

async fn failed(client: &Client, service: &str, request: FailRequest) -> Error {
    let call = client.call(service, "Greeter.Fail", request).go_micro_retries().retries(0);
    Result::<FailReply>::expect_err(call.await, "the handler fails")
}

/// What the Go client makes of a failure at a fixed address.
async fn go_failed(client: &Peer, address: &str, code: i32) -> Value {
    let request =
        json!({ "id": "my.id", "code": code, "detail": "no such 100% <b>&ö", "key": "k" });
    let fields = json!({ "address": address, "request": request, "retries": 0 });
    let mut outcome = go::call_with(client, "greeter", "Greeter.Fail", fields).await;
    assert!(outcome["error"].is_object(), "{outcome}");
    outcome["error"].take()
}

#[test]
fn p0_11_go_client_sees_our_errors_exactly_as_those_of_a_go_server() {
    isolated(&[Need::Go], || async {
        let ours = ours::serve("ours").await;
        let theirs = go::serve("theirs").await;
        let client = go::client().await;
        for code in CODES {
            let seen = go_failed(&client, ours.address(), code).await;
            assert_eq!(seen, go_failed(&client, theirs.fact("address"), code).await, "{code}");
            assert_eq!((&seen["id"], &seen["code"]), (&json!("my.id"), &json!(code)));
            assert_eq!(seen["detail"], "no such 100% <b>&ö");
        }
    });
}

#[test]
fn p0_11_our_status_has_gos_number_and_text_and_the_micro_error_as_its_only_detail() {
    isolated(&[Need::Go], || async {
        let ours = ours::serve("ours").await;
        let theirs = go::serve("theirs").await;
        let peer = go::client().await;
        for (code, grpc) in [
            (400, 3),
            (401, 16),
            (403, 7),
            (404, 5),
            (408, 4),
            (409, 6),
            (412, 9),
            (500, 13),
            (501, 12),
            (503, 14),
        ] {
            let fields = json!({
                "messages": [go::message(&failing(code, Form::Micro))],
                "metadata": { "x-content-type": ["application/grpc+proto"] },
            });
            let path = "/greeter.Greeter/Fail";
            let by_us = go::wire(&peer, ours.address(), path, fields.clone()).await;
            let by_go = go::wire(&peer, theirs.fact("address"), path, fields).await;
            assert_eq!(by_us["status"], by_go["status"], "{code}");
            assert_eq!(by_us["status"]["code"], grpc);
            let details = by_us["status"]["details"].as_array().unwrap();
            assert_eq!(details.len(), 1);
            assert_eq!(details[0]["type"], "type.googleapis.com/errors.Error");
        }
    });
}

#[test]
fn p0_11_errors_of_our_framework_have_no_other_detail_either() {
    isolated(&[Need::Go], || async {
        let ours = ours::serve("greeter").await;
        let peer = go::client().await;
        for path in ["/greeter.Greeter/Nope", "/greeter.Nope/Hello", "/a/b/c"] {
            let fields = json!({ "metadata": { "micro-from-service": ["go.caller"] } });
            let outcome = go::wire(&peer, ours.address(), path, fields).await;
            let details = outcome["status"]["details"].as_array().unwrap();
            assert!(
                details.iter().all(|d| d["type"] == "type.googleapis.com/errors.Error"),
                "{path}: {outcome}"
            );
        }
    });
}

#[test]
fn p0_11_a_service_without_a_node_behind_ours_is_to_go_what_it_is_behind_a_go_server() {
    isolated(&[Need::Go], || async {
        let ours = ours::serve("ours").await;
        let theirs = go::serve("theirs").await;
        let client = go::client().await;
        let mut seen = Vec::new();
        for address in [ours.address(), theirs.fact("address")] {
            let request = json!({ "service": "nobody" });
            let fields = json!({ "address": address, "request": request, "retries": 0 });
            let mut outcome = go::call_with(&client, "greeter", "Greeter.Relay", fields).await;
            seen.push(outcome["error"].take());
        }
        let (ours, theirs) = (&seen[0], &seen[1]);
        for field in ["id", "code", "status"] {
            assert_eq!(ours[field], theirs[field], "{seen:?}");
        }
        assert_eq!((&ours["id"], &ours["code"]), (&json!("go.micro.client"), &json!(500)));
        let text = theirs["detail"].as_str().unwrap();
        assert!(ours["detail"].as_str().unwrap().starts_with(text), "{seen:?}");
    });
}

#[test]
fn p0_12_our_client_reads_a_go_error_from_its_details() {
    isolated(&[Need::Go], || async {
        let _greeter = go::serve("greeter").await;
        let client = ours::client();
        for code in CODES {
            let error = failed(&client, "greeter", failing(code, Form::Micro)).await;
            assert_eq!((error.id(), error.http_code()), ("my.id", code));
            assert_eq!(error.detail(), "no such 100% <b>&ö");
            assert!(error.is_remote());
        }
    });
}

#[test]
fn p0_12_our_client_reads_a_go_error_from_json_in_the_text() {
    isolated(&[Need::Go], || async {
        let _greeter = go::serve("greeter").await;
        let error = failed(&ours::client(), "greeter", failing(404, Form::Json)).await;
        // Go's number for an error it does not know is UNKNOWN; the JSON says more.
        assert_eq!((error.code(), error.id(), error.http_code()), (Code::NotFound, "my.id", 404));
        assert_eq!((error.detail(), error.status()), ("no such 100% <b>&ö", "Not Found"));
    });
}

#[test]
fn p0_12_our_client_reads_a_go_error_from_plain_text() {
    isolated(&[Need::Go], || async {
        let _greeter = go::serve("greeter").await;
        let error = failed(&ours::client(), "greeter", failing(404, Form::Plain)).await;
        assert_eq!((error.code(), error.detail()), (Code::Unknown, "no such 100% <b>&ö"));
    });
}

#[test]
fn p0_12_a_foreign_detail_leaves_number_and_text_as_they_are() {
    isolated(&[Need::Go], || async {
        let detail = json!({ "type": "type.googleapis.com/google.rpc.BadRequest", "value": "" });
        let status = json!({ "code": 3, "message": "bad", "details": [detail] });
        let _server = go::scripted("scripted", json!([{ "status": status }])).await;
        let error = failed(&ours::client(), "scripted", FailRequest::default()).await;
        assert_eq!((error.code(), error.detail()), (Code::InvalidArgument, "bad"));
    });
}

/// How often the Go greeter's `Fail` was called with a key so far.
async fn attempts(client: &Client, key: &str) -> i32 {
    let request = FailRequest { key: key.into(), times: 1, code: 404, ..FailRequest::default() };
    let reply: FailReply =
        client.call("greeter", "Greeter.Fail", request).retries(0).await.unwrap();
    reply.attempt - 1
}

#[test]
fn p1_29_our_client_retries_once_on_408_and_500_as_go_does() {
    isolated(&[Need::Go], || async {
        let _greeter = go::serve("greeter").await;
        let client = ours::client();
        for code in CODES {
            let request = failing(code, Form::Micro);
            let began = Instant::now();
            let call = client.call("greeter", "Greeter.Fail", request).go_micro_retries();
            let error = Result::<FailReply>::expect_err(call.await, "it fails every time");
            assert_eq!(error.http_code(), code);
            let retried = matches!(code, 408 | 500);
            assert_eq!(
                attempts(&client, &code.to_string()).await,
                1 + i32::from(retried),
                "{code}"
            );
            // 100 ms before the second attempt.
            assert!(!retried || began.elapsed() >= Duration::from_millis(100), "{code}");
        }
    });
}

#[test]
fn p1_29_the_second_attempt_may_succeed() {
    isolated(&[Need::Go], || async {
        let _greeter = go::serve("greeter").await;
        let request = FailRequest { times: 1, ..failing(500, Form::Micro) };
        let call = ours::client().call("greeter", "Greeter.Fail", request).go_micro_retries();
        let reply: FailReply = call.await.unwrap();
        assert_eq!(reply.attempt, 2);
    });
}

#[test]
fn p1_29_what_is_no_micro_error_is_a_500_to_gos_policy() {
    isolated(&[Need::Go], || async {
        let down = json!({ "status": { "code": 14, "message": "down" } });
        let fine = json!({ "messages": [go::message(&HelloReply::default())] });
        let server = go::scripted("scripted", json!([down, fine])).await;
        let call = ours::client().call("scripted", "Greeter.Hello", HelloRequest::default());
        let _: HelloReply = call.go_micro_retries().await.unwrap();
        server.next("call").await;
        server.next("call").await;
    });
}

#[test]
fn p1_29_our_own_policy_repeats_nothing_a_handler_has_seen() {
    isolated(&[Need::Go], || async {
        let _greeter = go::serve("greeter").await;
        let client = ours::client();
        for code in [408, 500, 503] {
            let call = client.call("greeter", "Greeter.Fail", failing(code, Form::Micro));
            Result::<FailReply>::expect_err(call.await, "it fails every time");
            assert_eq!(attempts(&client, &code.to_string()).await, 1, "{code}");
        }
    });
}

#[test]
fn p1_29_go_client_retries_our_408_and_500_once() {
    isolated(&[Need::Go], || async {
        let ours = ours::serve("greeter").await;
        let client = go::client().await;
        for code in [404, 408, 500, 503] {
            let request = json!({ "id": "my.id", "code": code, "key": "k" });
            let outcome = go::call(&client, "greeter", "Greeter.Fail", request).await;
            assert_eq!(outcome["error"]["code"], code, "{outcome}");
            let expected = 1 + usize::from(matches!(code, 408 | 500));
            assert_eq!(outcome["nodes"].as_array().unwrap().len(), expected, "{outcome}");
            for _ in 0..expected {
                ours.next_call().await;
            }
        }
    });
}

#[test]
fn p1_29_a_crashed_go_node_is_left_for_one_that_lives() {
    isolated(&[Need::Go], || async {
        let crashing = go::serve("greeter").await;
        let living = go::serve("greeter").await;
        let client = ours::client();
        let hello = async || -> Result<HelloReply> {
            client.call("greeter", "Greeter.Hello", HelloRequest::default()).await
        };
        let crashed = crashing.fact("node").to_owned();
        let used = async { while hello().await.unwrap().served_by != crashed {} };
        tokio::time::timeout(PATIENCE, used).await.expect("both are used");
        crashing.crash();
        for _ in 0..20 {
            assert_eq!(hello().await.unwrap().served_by, living.fact("node"));
        }
    });
}
