//! Lines 7 to 10, 13, 14, 26 and 35: paths, content types, framing, headers, deadlines.

use std::time::Duration;

use micro::{Code, Raw};
use micro_tests::greeter::{
    CountReply, CountRequest, HeadersReply, HeadersRequest, HelloReply, HelloRequest, RelayReply,
    RelayRequest, WaitReply, WaitRequest,
};
use micro_tests::{Need, go, isolated, ours};
use prost::Message as _;
use serde_json::{Value, json};

/// Ann's request as bytes on the wire.
fn ann() -> Value {
    go::message(&HelloRequest { name: "Ann".into(), ..HelloRequest::default() })
}

fn greeting(outcome: &Value) -> String {
    assert_eq!(outcome["status"]["code"], 0, "{outcome}");
    assert_eq!(outcome["messages"].as_array().map(Vec::len), Some(1), "{outcome}");
    let reply = HelloReply::decode(&*go::unframe(&outcome["messages"][0])).unwrap();
    reply.greeting
}

#[test]
fn p0_07_any_prefix_of_the_type_and_none_reach_the_handler() {
    isolated(&[Need::Go], || async {
        let ours = ours::serve("greeter").await;
        let peer = go::client().await;
        for path in [
            "/greeter.Greeter/Hello",
            "/Greeter/Hello",
            "/x.Greeter/Hello",
            "/any.thing.Greeter/Hello",
            "/go-micro.srv_1.Greeter/Hello",
        ] {
            let fields = json!({ "subtype": "proto", "messages": [ann()] });
            let outcome = go::wire(&peer, ours.address(), path, fields).await;
            assert_eq!(greeting(&outcome), "Hello Ann", "{path}");
        }
    });
}

#[test]
fn p0_07_wrong_paths_end_in_gos_statuses_and_texts() {
    isolated(&[Need::Go], || async {
        let ours = ours::serve("greeter").await;
        let peer = go::client().await;
        for (path, code, text) in [
            ("/a/b/c", 3, r#"malformed method name: "/a/b/c""#),
            ("/Greeter/", 3, r#"malformed method name: "/Greeter/""#),
            ("//Hello", 3, r#"malformed method name: "//Hello""#),
            ("/greeter.Nope/Hello", 12, "unknown service Nope"),
            ("/greeter.Greeter/Nope", 12, "unknown service Greeter.Nope"),
        ] {
            let outcome =
                go::wire(&peer, ours.address(), path, json!({ "messages": [ann()] })).await;
            let status = &outcome["status"];
            assert_eq!(
                (&status["code"], &status["message"]),
                (&json!(code), &json!(text)),
                "{path}"
            );
        }
    });
}

#[test]
fn p0_08_our_answer_has_the_content_type_of_the_request() {
    isolated(&[Need::Go], || async {
        let ours = ours::serve("greeter").await;
        let peer = go::client().await;
        let json_request = go::bytes(br#"{"name":"Ann"}"#);
        for (subtype, message, content_type) in [
            ("", ann(), "application/grpc"),
            ("proto", ann(), "application/grpc+proto"),
            ("json", json_request, "application/grpc+json"),
        ] {
            let fields = json!({ "subtype": subtype, "messages": [message] });
            let outcome = go::wire(&peer, ours.address(), "/greeter.Greeter/Hello", fields).await;
            assert_eq!(outcome["status"]["code"], 0, "{subtype}: {outcome}");
            assert_eq!(outcome["header"]["content-type"], json!([content_type]));
            let reply = go::unframe(&outcome["messages"][0]);
            let greeting = if subtype == "json" {
                serde_json::from_slice::<Value>(&reply).unwrap()["greeting"].clone()
            } else {
                json!(HelloReply::decode(&*reply).unwrap().greeting)
            };
            assert_eq!(greeting, "Hello Ann");
        }
    });
}

#[test]
fn p0_08_go_client_calls_us_with_every_content_type_of_its_table() {
    isolated(&[Need::Go], || async {
        let _ours = ours::serve("greeter").await;
        let client = go::client().await;
        for content_type in [
            "application/json",
            "application/grpc+json",
            "application/proto",
            "application/protobuf",
            "application/octet-stream",
            "application/grpc",
            "application/grpc+proto",
        ] {
            let fields = json!({ "contentType": content_type, "request": { "name": "Ann" } });
            let outcome = go::call_with(&client, "greeter", "Greeter.Hello", fields).await;
            assert_eq!(outcome["response"]["greeting"], "Hello Ann", "{content_type}: {outcome}");
        }
    });
}

#[test]
fn p0_08_our_client_calls_go_with_every_codec_go_has_for_it() {
    isolated(&[Need::Go], || async {
        let _greeter = go::serve("greeter").await;
        let client = ours::client();
        for content_type in ["application/grpc", "application/grpc+proto", "application/json"] {
            let call = client
                .call("greeter", "Greeter.Hello", super::full_request())
                .content_type(content_type);
            let reply: HelloReply = call.await.unwrap();
            assert_eq!(reply.request, Some(super::full_request()), "{content_type}");
        }
    });
}

#[test]
fn p0_09_calls_that_are_never_half_closed_are_answered() {
    isolated(&[Need::Go], || async {
        let ours = ours::serve("greeter").await;
        let peer = go::client().await;
        let fields = json!({ "subtype": "proto", "messages": [ann()], "keepOpen": true });
        let unary = go::wire(&peer, ours.address(), "/greeter.Greeter/Hello", fields).await;
        assert_eq!(greeting(&unary), "Hello Ann");

        let count = go::message(&CountRequest { to: 3, failure: None });
        let fields = json!({ "subtype": "proto", "messages": [count], "keepOpen": true });
        let stream = go::wire(&peer, ours.address(), "/greeter.Greeter/Count", fields).await;
        assert_eq!(stream["status"]["code"], 0, "{stream}");
        let messages = stream["messages"].as_array().unwrap().iter();
        let counted = messages.map(|m| CountReply::decode(&*go::unframe(m)).unwrap().value);
        assert_eq!(counted.collect::<Vec<_>>(), [1, 2, 3]);
    });
}

#[test]
fn p0_10_headers_of_http_1_do_our_server_no_harm() {
    isolated(&[Need::Go], || async {
        let ours = ours::serve("greeter").await;
        let client = go::client().await;
        let metadata = json!({
            "Content-Length": "15",
            "Connection": "keep-alive",
            "Transfer-Encoding": "chunked",
            "Upgrade": "h2c",
            "Keep-Alive": "5",
            "Host": "example.org",
        });
        let fields = json!({ "metadata": metadata, "request": {} });
        let outcome = go::call_with(&client, "greeter", "Greeter.Headers", fields).await;
        let headers = &outcome["response"]["headers"];
        assert_eq!(headers["content-length"], "15", "{outcome}");
        assert_eq!(headers["connection"], "keep-alive");
        let called = ours.next_call().await;
        assert_eq!(called.context.metadata().get("Transfer-Encoding"), Some("chunked"));
    });
}

#[test]
fn p0_10_our_client_passes_no_http_1_headers_on() {
    isolated(&[Need::Go], || async {
        let _ours = ours::serve("relay").await;
        let reply = go::message(&HeadersReply::default());
        let server = go::scripted("scripted", json!([{ "messages": [reply] }])).await;
        let client = go::client().await;
        let fields = json!({
            "metadata": { "Content-Length": "15", "Connection": "keep-alive", "Tenant": "blue" },
            "request": { "service": "scripted" },
        });
        let outcome = go::call_with(&client, "relay", "Greeter.Relay", fields).await;
        assert!(outcome["response"].is_object(), "{outcome}");
        let sent = &server.next("call").await["metadata"];
        assert_eq!(sent["tenant"], json!(["blue"]), "other metadata goes on");
        for name in ["content-length", "connection", "host", "remote"] {
            assert!(sent.get(name).is_none(), "{name} in {sent}");
        }
    });
}

#[test]
fn p0_14_the_service_a_call_is_for_does_not_reach_past_a_go_handler() {
    isolated(&[Need::Go], || async {
        let ours = ours::serve("greeter").await;
        let _relay = go::serve("relay").await;
        let client = ours::client();
        // Go's handler sends on what it was sent, the name of its own service too.
        for address in [String::new(), ours.address().to_owned()] {
            let request = RelayRequest { service: "greeter".into(), address };
            let reply: RelayReply = client.call("relay", "Greeter.Relay", request).await.unwrap();
            assert_eq!(reply.here["Micro-Target"], "relay");
            assert_eq!(reply.there["micro-target"], "relay");
            let called = ours.next_call().await;
            assert_eq!(called.context.endpoint(), "Greeter.Headers");
        }
    });
}

#[test]
fn p0_13_our_client_sends_the_time_left_as_nanoseconds() {
    isolated(&[Need::Go], || async {
        let reply = go::message(&HelloReply::default());
        let server = go::scripted("scripted", json!([{ "messages": [reply] }])).await;
        let call = ours::client().call("scripted", "Greeter.Hello", HelloRequest::default());
        let _: HelloReply = call.timeout(Duration::from_secs(3)).await.unwrap();
        let seen = server.next("call").await;
        let nanoseconds: u64 =
            seen["metadata"]["timeout"][0].as_str().expect("a timeout header").parse().unwrap();
        assert!((2_000_000_000..=3_000_000_000).contains(&nanoseconds), "{nanoseconds}");
        let grpc = seen["remainingMs"].as_u64().expect("a grpc-timeout");
        assert!((2_000..=3_000).contains(&grpc), "{grpc}");
    });
}

#[test]
fn p0_13_go_server_sees_the_deadline_of_our_client_and_is_cancelled_at_it() {
    isolated(&[Need::Go], || async {
        let greeter = go::serve("greeter").await;
        let request = WaitRequest { milliseconds: 20_000 };
        let call = ours::client().call("greeter", "Greeter.Wait", request);
        let call = call.timeout(Duration::from_secs(1));
        let error = micro::Result::<WaitReply>::expect_err(call.await, "the time is up");
        assert_eq!((error.code(), error.http_code()), (Code::DeadlineExceeded, 408));
        let remaining = greeter.next("call").await["remainingMs"].as_i64().expect("a deadline");
        assert!((1..=1_000).contains(&remaining), "{remaining}");
        let waited = greeter.next("wait").await;
        assert!(waited["elapsedMs"].as_u64().unwrap() < 5_000, "{waited}");
    });
}

#[test]
fn p0_13_our_server_honours_the_shorter_of_timeout_and_grpc_timeout() {
    isolated(&[Need::Go], || async {
        let ours = ours::serve("greeter").await;
        let peer = go::client().await;
        let request = go::message(&WaitRequest { milliseconds: 20_000 });
        let fields = json!({
            "messages": [request],
            "metadata": { "timeout": ["1000000000"], "x-content-type": ["application/grpc+proto"] },
            "timeoutMs": 8_000,
        });
        let outcome = go::wire(&peer, ours.address(), "/greeter.Greeter/Wait", fields).await;
        assert_eq!(outcome["status"]["code"], Code::DeadlineExceeded.grpc(), "{outcome}");
        assert!(outcome["status"]["message"].as_str().unwrap().contains(r#""code":408"#));
        let remaining = ours.next_call().await.remaining.expect("a deadline");
        assert!(remaining <= Duration::from_secs(1), "{remaining:?}");
        assert!(!ours.next_end().await.finished, "the handler is cancelled");
    });
}

#[test]
fn p0_13_go_client_that_gives_up_cancels_our_handler() {
    isolated(&[Need::Go], || async {
        let ours = ours::serve("greeter").await;
        let client = go::client().await;
        let fields = json!({
            "request": { "milliseconds": "20000" }, "timeoutMs": 1_000, "retries": 0,
        });
        let outcome = go::call_with(&client, "greeter", "Greeter.Wait", fields).await;
        assert!(outcome["error"].is_object(), "{outcome}");
        assert!(ours.next_call().await.remaining.unwrap() <= Duration::from_secs(1));
        assert!(!ours.next_end().await.finished, "the handler is cancelled");
    });
}

#[test]
fn p0_14_go_handler_sees_our_metadata_title_cased() {
    isolated(&[Need::Go], || async {
        let greeter = go::serve("greeter").await;
        let call = ours::client().call("greeter", "Greeter.Headers", HeadersRequest {});
        let call = call.metadata("X-Tenant-Id", "blue").metadata("multi", "a");
        let reply: HeadersReply = call.metadata("multi", "b").await.unwrap();
        assert_eq!(reply.headers["X-Tenant-Id"], "blue");
        assert_eq!(reply.headers["Multi"], "a, b");
        let seen = greeter.next("call").await;
        assert!(seen["headers"].get("x-tenant-id").is_none(), "{seen}");
    });
}

#[test]
fn p0_14_our_client_sends_lower_case_names() {
    isolated(&[Need::Go], || async {
        let reply = go::message(&HeadersReply::default());
        let server = go::scripted("scripted", json!([{ "messages": [reply] }])).await;
        let call = ours::client().call("scripted", "Greeter.Headers", HeadersRequest {});
        let _: HeadersReply = call.metadata("X-Tenant-Id", "blue").await.unwrap();
        let seen = server.next("call").await;
        assert_eq!(seen["metadata"]["x-tenant-id"], json!(["blue"]));
    });
}

#[test]
fn p0_14_our_handler_reads_gos_metadata_in_any_case() {
    isolated(&[Need::Go], || async {
        let ours = ours::serve("greeter").await;
        let client = go::client().await;
        let fields = json!({ "metadata": { "X-Tenant-Id": "blue" }, "request": {} });
        let outcome = go::call_with(&client, "greeter", "Greeter.Headers", fields).await;
        assert_eq!(outcome["response"]["headers"]["x-tenant-id"], "blue", "{outcome}");
        let called = ours.next_call().await;
        for name in ["x-tenant-id", "X-Tenant-Id", "X-TENANT-ID"] {
            assert_eq!(called.context.metadata().get(name), Some("blue"), "{name}");
        }
    });
}

#[test]
fn p1_26_go_asks_for_our_health_which_is_not_advertised() {
    isolated(&[Need::Go], || async {
        let ours = ours::serve("greeter").await;
        let client = go::client().await;
        let outcome = go::call(&client, "greeter", "Debug.Health", json!({})).await;
        assert_eq!(outcome["response"]["status"], "ok", "{outcome}");
        let record = go::once_found(&client, "get", json!({ "service": "greeter" })).await;
        assert!(!record.to_string().contains("Debug."), "{record}");
        assert!(ours.service.record().endpoints.iter().all(|e| !e.name.starts_with("Debug.")));
    });
}

#[test]
fn p1_26_we_ask_a_go_service_for_its_health() {
    isolated(&[Need::Go], || async {
        let _greeter = go::serve("greeter").await;
        // Field 1, text, "ok".
        let reply: Raw = ours::client()
            .call("greeter", "Debug.Health", Raw::default())
            .content_type("application/grpc+proto")
            .await
            .unwrap();
        assert_eq!(&reply.0[..], b"\x0a\x02ok");
    });
}

#[test]
fn p2_35_go_client_reaches_us_by_address_by_the_static_selector_and_as_its_proxy() {
    isolated(&[Need::Go], || async {
        let ours = ours::serve("greeter").await;
        let (at, ann) = (ours.address(), json!({ "name": "Ann" }));
        let greeted = |outcome: &Value| outcome["response"]["greeting"] == "Hello Ann";
        let fields = json!({ "request": &ann, "address": at });
        let by_address = go::client().await;
        let outcome = go::call_with(&by_address, "greeter", "Greeter.Hello", fields).await;
        assert!(greeted(&outcome), "{outcome}");

        let by_name = go::client_with(&["--static"], &[]).await;
        let outcome = go::call(&by_name, at, "Greeter.Hello", ann.clone()).await;
        assert!(greeted(&outcome), "{outcome}");

        let by_proxy = go::client_with(&[], &[("MICRO_PROXY", at)]).await;
        let outcome = go::call(&by_proxy, "nowhere", "Greeter.Hello", ann).await;
        assert!(greeted(&outcome), "{outcome}");
    });
}
