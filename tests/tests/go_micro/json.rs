//! Line 17: the JSON of both sides.

use micro::{Client, Code};
use micro_tests::greeter::{HelloReply, HelloRequest};
use micro_tests::peer::Peer;
use micro_tests::{Need, go, isolated, ours};
use serde_json::{Value, json};

use super::full_request;

async fn go_json(client: &Peer, request: Value) -> Value {
    let fields = json!({ "contentType": "application/json", "request": request });
    go::call_with(client, "greeter", "Greeter.Hello", fields).await
}

#[test]
fn p1_17_our_decoder_accepts_go_client_json_and_go_accepts_our_answer() {
    isolated(&[Need::Go], || async {
        let ours = ours::serve("greeter").await;
        let client = go::client().await;
        let request = json!({
            "name": "Ann <&> \"Ö\" 😈", "big": "-9223372036854775808", "kind": "KIND_STRANGER",
            "blob": "APv/", "tags": ["a", ""], "labels": { "k": "v" }, "ratio": -0.5,
            "huge": "18446744073709551615", "display_name": "snake_case",
            "home": { "street_name": "Allee", "house_number": -7 }, "loud": true,
        });
        let outcome = go_json(&client, request.clone()).await;
        assert_eq!(outcome["response"]["request"], request, "{outcome}");
        assert_eq!(
            ours.next_call().await.context.metadata().get("content-type"),
            Some("application/grpc+json")
        );
        let outcome = go_json(&client, json!({})).await;
        assert_eq!(outcome["response"]["greeting"], "Hello ", "all defaults: {outcome}");
    });
}

#[test]
fn p1_17_our_answer_in_json_has_proto_names_defaults_and_64_bit_strings() {
    isolated(&[Need::Go], || async {
        let ours = ours::serve("greeter").await;
        let peer = go::client().await;
        let request = go::bytes(br#"{"displayName":"x","big":5}"#);
        let fields = json!({ "subtype": "json", "messages": [request] });
        let outcome = go::wire(&peer, ours.address(), "/greeter.Greeter/Hello", fields).await;
        let reply: Value = serde_json::from_slice(&go::unframe(&outcome["messages"][0])).unwrap();
        assert_eq!(
            reply["request"],
            json!({
                "name": "", "big": "5", "kind": "KIND_UNSPECIFIED", "blob": "", "tags": [],
                "labels": {}, "ratio": 0.0, "huge": "0", "display_name": "x", "loud": false,
            })
        );
    });
}

#[test]
fn p1_17_go_server_accepts_our_json_and_we_read_its_answer() {
    isolated(&[Need::Go], || async {
        let _greeter = go::serve("greeter").await;
        let client = Client::builder()
            .registry(ours::registry())
            .content_type("application/json")
            .build()
            .unwrap();
        for request in [full_request(), HelloRequest::default()] {
            let reply: HelloReply =
                client.call("greeter", "Greeter.Hello", request.clone()).await.unwrap();
            assert_eq!(reply.request, Some(request));
        }
    });
}

#[test]
fn p1_17_our_client_sends_json_with_camel_case_names_and_without_defaults() {
    isolated(&[Need::Go], || async {
        let answer = go::bytes(br#"{"greeting":"hi","request":null,"served_by":""}"#);
        let server = go::scripted("scripted", json!([{ "messages": [answer] }])).await;
        let request = HelloRequest { big: 5, display_name: "x".into(), ..HelloRequest::default() };
        let call = ours::client().call("scripted", "Greeter.Hello", request);
        let reply: HelloReply = call.content_type("application/json").await.unwrap();
        assert_eq!(reply.greeting, "hi");
        let seen = server.next("call").await;
        let sent: Value = serde_json::from_slice(&go::unframe(&seen["messages"][0])).unwrap();
        assert_eq!(sent, json!({ "big": "5", "displayName": "x" }));
    });
}

#[test]
fn p1_17_json_of_another_type_is_a_bad_request_in_gos_words() {
    isolated(&[Need::Go], || async {
        let ours = ours::serve("greeter").await;
        let peer = go::client().await;
        let fields =
            json!({ "subtype": "json", "messages": [go::bytes(br#"{"unknown":1,"big":"nope"}"#)] });
        let outcome = go::wire(&peer, ours.address(), "/greeter.Greeter/Hello", fields).await;
        assert_eq!(outcome["status"]["code"], Code::InvalidArgument.grpc(), "{outcome}");
        let message = outcome["status"]["message"].as_str().unwrap();
        assert!(message.starts_with("grpc: failed to unmarshal the received message"), "{message}");
        assert!(message.contains("`big`"), "{message}");
    });
}
