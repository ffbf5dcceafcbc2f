//! Lines 27 and 28: traces, caller, namespace, authorization and what is propagated.

use futures_util::StreamExt as _;
use micro::{Client, Streaming};
use micro_tests::greeter::{
    CountReply, CountRequest, HeadersReply, HeadersRequest, RelayReply, RelayRequest,
};
use micro_tests::{Need, go, isolated, ours};
use serde_json::{Value, json};

#[test]
fn p1_27_a_trace_goes_from_go_through_us_to_go() {
    isolated(&[Need::Go], || async {
        let ours = ours::serve("relay").await;
        let greeter = go::serve("greeter").await;
        let client = go::client().await;
        let request = json!({ "service": "greeter" });
        let outcome = go::call(&client, "relay", "Greeter.Relay", request).await;
        let (here, there) = (&outcome["response"]["here"], &outcome["response"]["there"]);
        let trace = here["micro-trace-id"].as_str().expect("Go sends a trace");
        assert_eq!(there["Micro-Trace-Id"], trace, "{outcome}");

        let called = ours.next_call().await;
        let ours = called.context.trace();
        assert_eq!(ours.trace_id(), trace);
        assert_eq!(ours.parent_id(), here["micro-span-id"].as_str());

        let spans = greeter.ask("spans", Value::Null).await;
        let span = spans.as_array().unwrap().iter().find(|span| span["Trace"] == trace);
        let parent = &span.unwrap_or_else(|| panic!("no span of {trace} in {spans}"))["Parent"];
        assert!(parent.as_str().is_some_and(|id| !id.is_empty()), "{spans}");
        assert_ne!(*parent, here["micro-span-id"], "ours is between the two");
    });
}

#[test]
fn p1_27_a_trace_goes_from_us_through_go_to_us() {
    isolated(&[Need::Go], || async {
        let ours = ours::serve("greeter").await;
        let _relay = go::serve("relay").await;
        let request = RelayRequest { service: "greeter".into(), address: ours.address().into() };
        let reply: RelayReply =
            ours::client().call("relay", "Greeter.Relay", request).await.unwrap();
        let trace = &reply.here["Micro-Trace-Id"];
        assert_eq!(reply.there["micro-trace-id"], *trace);
        assert_eq!(ours.next_call().await.context.trace().trace_id(), *trace);
    });
}

#[test]
fn p1_28_our_unary_calls_say_who_calls_and_in_which_namespace() {
    isolated(&[Need::Go], || async {
        let ours = ours::serve("caller").await;
        let reply = go::message(&HeadersReply::default());
        let server = go::scripted("scripted", json!([{ "messages": [reply] }])).await;
        let call = ours.service.client().call("scripted", "Greeter.Headers", HeadersRequest {});
        let _: HeadersReply = call.await.unwrap();
        let sent = &server.next("call").await["metadata"];
        assert_eq!(sent["micro-from-service"], json!(["caller"]));
        assert_eq!(sent["micro-namespace"], json!(["go.micro"]));
        assert_eq!(sent["x-content-type"], json!(["application/grpc+proto"]));
    });
}

#[test]
fn p1_28_our_streams_say_who_calls_and_no_namespace() {
    isolated(&[Need::Go], || async {
        let ours = ours::serve("caller").await;
        let reply = go::message(&CountReply { value: 1 });
        let server = go::scripted("scripted", json!([{ "messages": [reply] }])).await;
        let client: &Client = ours.service.client();
        let counted: Streaming<CountReply> = client
            .server_stream("scripted", "Greeter.Count", CountRequest::default())
            .await
            .unwrap();
        assert_eq!(counted.count().await, 1);
        let sent = &server.next("call").await["metadata"];
        assert_eq!(sent["micro-from-service"], json!(["caller"]));
        assert!(sent.get("micro-namespace").is_none(), "{sent}");
    });
}

#[test]
fn p1_28_our_handler_knows_the_go_caller_and_its_namespace() {
    isolated(&[Need::Go], || async {
        let ours = ours::serve("greeter").await;
        let client = go::client().await;
        go::call(&client, "greeter", "Greeter.Headers", json!({})).await;
        let called = ours.next_call().await;
        assert_eq!(called.context.caller(), Some("go.caller"));
        assert_eq!(called.context.metadata().get("micro-namespace"), Some("go.micro"));
    });
}

#[test]
fn p1_28_authorization_of_any_scheme_reaches_our_handler() {
    isolated(&[Need::Go], || async {
        let ours = ours::serve("greeter").await;
        let client = go::client().await;
        for sent in ["Bearer t", "bearer t", "Basic eDp5"] {
            let fields = json!({ "metadata": { "Authorization": sent }, "request": {} });
            let outcome = go::call_with(&client, "greeter", "Greeter.Headers", fields).await;
            assert!(outcome["response"].is_object(), "{outcome}");
            let called = ours.next_call().await;
            assert_eq!(called.context.metadata().get("authorization"), Some(sent));
        }
    });
}

#[test]
fn p1_28_health_is_told_whatever_the_authorization() {
    isolated(&[Need::Go], || async {
        let _ours = ours::serve("greeter").await;
        let client = go::client().await;
        let fields = json!({ "metadata": { "Authorization": "Basic eDp5" }, "request": {} });
        let outcome = go::call_with(&client, "greeter", "Debug.Health", fields).await;
        assert_eq!(outcome["response"]["status"], "ok", "{outcome}");
    });
}

#[test]
fn p1_28_metadata_goes_through_us_but_for_what_belongs_to_one_hop() {
    isolated(&[Need::Go], || async {
        let _relay = ours::serve("relay").await;
        let reply = go::message(&HeadersReply::default());
        let server = go::scripted("scripted", json!([{ "messages": [reply] }])).await;
        let client = go::client().await;
        let fields = json!({
            "contentType": "application/json",
            "metadata": {
                "Tenant": "blue", "Authorization": "Bearer t", "Micro-Namespace": "my.space",
                "Remote": "10.0.0.1:1", "Upgrade": "h2c", "Timeout": "1",
            },
            "request": { "service": "scripted" },
            "deadlineMs": 4_000,
        });
        let outcome = go::call_with(&client, "relay", "Greeter.Relay", fields).await;
        assert!(outcome["response"].is_object(), "{outcome}");
        let seen = server.next("call").await;
        let sent = &seen["metadata"];
        assert_eq!(sent["tenant"], json!(["blue"]));
        assert_eq!(sent["authorization"], json!(["Bearer t"]));
        assert_eq!(sent["micro-namespace"], json!(["my.space"]));
        assert_eq!(sent["micro-from-service"], json!(["relay"]), "the direct caller");
        assert_eq!(sent["x-content-type"], json!(["application/grpc+proto"]), "this hop's");
        for name in ["remote", "upgrade"] {
            assert!(sent.get(name).is_none(), "{name} in {sent}");
        }
        assert!(sent["user-agent"][0].as_str().unwrap().starts_with("micro/"), "{sent}");
        // The deadline of the first caller, not a new one.
        assert!(seen["remainingMs"].as_i64().unwrap() <= 4_000, "{seen}");
    });
}
