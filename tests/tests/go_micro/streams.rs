//! Lines 9 and 16: streams with Go on either side.

use futures_util::{StreamExt as _, stream};
use micro::{Code, Streaming};
use micro_tests::greeter::{
    ChatMessage, CountReply, CountRequest, FailRequest, SumReply, SumRequest,
};
use micro_tests::peer::Peer;
use micro_tests::{Need, go, isolated, ours};
use serde_json::{Value, json};

fn said(text: &str) -> ChatMessage {
    ChatMessage { text: text.into(), failure: None }
}

fn failing() -> FailRequest {
    FailRequest {
        id: "my.id".into(),
        code: 409,
        detail: "100% taken".into(),
        ..FailRequest::default()
    }
}

/// Opens a stream of the Go client, which is called `s` from then on.
async fn open(client: &Peer, service: &str, endpoint: &str) {
    let fields = json!({ "stream": "s", "service": service, "endpoint": endpoint });
    let opened = go::once_found(client, "streamOpen", fields).await;
    assert_eq!(opened, json!({}), "{endpoint}");
}

async fn send(client: &Peer, request: Value) {
    let sent = client.ask("streamSend", json!({ "stream": "s", "request": request })).await;
    assert_eq!(sent, json!({}));
}

async fn receive(client: &Peer) -> Value {
    client.ask("streamReceive", json!({ "stream": "s" })).await
}

#[test]
fn p1_16_go_client_chats_with_our_server_until_it_says_bye() {
    isolated(&[Need::Go], || async {
        let ours = ours::serve("greeter").await;
        let client = go::client().await;
        open(&client, "greeter", "Greeter.Chat").await;
        for text in ["one", "two", "three"] {
            send(&client, json!({ "text": text })).await;
            assert_eq!(receive(&client).await["message"]["text"], format!("echo: {text}"));
        }
        send(&client, json!({ "text": "bye" })).await;
        assert_eq!(receive(&client).await, json!({ "end": true }));
        assert!(ours.next_end().await.finished);
    });
}

#[test]
fn p1_16_go_client_reads_our_stream_error_as_that_of_a_go_server() {
    isolated(&[Need::Go], || async {
        let _ours = ours::serve("ours").await;
        let _theirs = go::serve("theirs").await;
        let client = go::client().await;
        let failure = json!({ "id": "my.id", "code": 409, "detail": "100% taken" });
        let mut seen = Vec::new();
        for service in ["ours", "theirs"] {
            open(&client, service, "Greeter.Chat").await;
            send(&client, json!({ "text": "", "failure": failure })).await;
            seen.push(receive(&client).await);
        }
        assert_eq!(seen[0], seen[1]);
        assert_eq!(
            seen[0]["error"]["grpc"]["message"],
            r#"{"id":"my.id","code":409,"detail":"100% taken","status":"Conflict"}"#
        );
    });
}

#[test]
fn p0_09_go_client_receives_our_server_stream_without_half_closing() {
    isolated(&[Need::Go], || async {
        let ours = ours::serve("greeter").await;
        let client = go::client().await;
        open(&client, "greeter", "Greeter.Count").await;
        send(&client, json!({ "to": "3" })).await;
        for value in ["1", "2", "3"] {
            assert_eq!(receive(&client).await["message"]["value"], value);
        }
        assert_eq!(receive(&client).await, json!({ "end": true }));
        assert!(ours.next_end().await.finished);
    });
}

#[test]
fn p1_16_go_client_sends_us_a_stream_and_receives_one_reply() {
    isolated(&[Need::Go], || async {
        let _ours = ours::serve("greeter").await;
        let client = go::client().await;
        open(&client, "greeter", "Greeter.Sum").await;
        send(&client, json!({ "value": "40" })).await;
        send(&client, json!({ "value": "2", "last": true })).await;
        let reply = receive(&client).await;
        assert_eq!(reply["message"], json!({ "total": "42", "count": 2 }));
        assert_eq!(receive(&client).await, json!({ "end": true }));
    });
}

#[test]
fn p1_16_go_client_that_closes_its_stream_ends_our_handler() {
    isolated(&[Need::Go], || async {
        let ours = ours::serve("greeter").await;
        let client = go::client().await;
        open(&client, "greeter", "Greeter.Chat").await;
        send(&client, json!({ "text": "one" })).await;
        receive(&client).await;
        client.ask("streamClose", json!({ "stream": "s" })).await;
        // Half-close and reset race; either is a normal end.
        assert_eq!(ours.next_end().await.endpoint, "Greeter.Chat");
    });
}

#[test]
fn p1_16_our_client_chats_with_a_go_server_until_it_says_bye() {
    isolated(&[Need::Go], || async {
        let greeter = go::serve("greeter").await;
        let call = ours::client().open::<ChatMessage, ChatMessage>("greeter", "Greeter.Chat");
        let (outgoing, mut incoming) = call.await.unwrap();
        for text in ["one", "two", "three"] {
            outgoing.send(said(text)).await.unwrap();
            let echo = incoming.message().await.unwrap().expect("an echo");
            assert_eq!(echo.text, format!("echo: {text}"));
        }
        outgoing.send(said("bye")).await.unwrap();
        assert_eq!(incoming.message().await, Ok(None));
        assert_eq!(greeter.next("streamEnd").await["outcome"], "ok");
    });
}

#[test]
fn p1_16_our_half_close_is_the_end_of_a_go_handlers_input() {
    isolated(&[Need::Go], || async {
        let greeter = go::serve("greeter").await;
        let client = ours::client();
        let (outgoing, mut incoming) =
            client.open::<ChatMessage, ChatMessage>("greeter", "Greeter.Chat").await.unwrap();
        outgoing.send(said("one")).await.unwrap();
        outgoing.close();
        assert_eq!(incoming.message().await.unwrap().expect("an echo").text, "echo: one");
        assert_eq!(incoming.message().await, Ok(None));
        assert_eq!(greeter.next("streamEnd").await["outcome"], "ok");

        let values = stream::iter([40, 2]).map(|value| SumRequest { value, last: false });
        let sum: SumReply = client.client_stream("greeter", "Greeter.Sum", values).await.unwrap();
        assert_eq!(sum, SumReply { total: 42, count: 2 });
    });
}

#[test]
fn p1_16_our_client_reads_the_error_a_go_stream_ends_with() {
    isolated(&[Need::Go], || async {
        let _greeter = go::serve("greeter").await;
        let client = ours::client();
        let request = CountRequest { to: 2, failure: Some(failing()) };
        let counted: Streaming<CountReply> =
            client.server_stream("greeter", "Greeter.Count", request).await.unwrap();
        let mut ends: Vec<_> = counted.collect().await;
        let error = ends.pop().expect("an end").expect_err("a failure");
        assert_eq!(ends, [Ok(CountReply { value: 1 }), Ok(CountReply { value: 2 })]);
        assert_eq!(
            (error.code(), error.id(), error.http_code(), error.detail()),
            (Code::AlreadyExists, "my.id", 409, "100% taken")
        );
    });
}

#[test]
fn p1_16_our_client_that_drops_a_stream_ends_the_go_handler() {
    isolated(&[Need::Go], || async {
        let greeter = go::serve("greeter").await;
        let request = CountRequest { to: i64::MAX, failure: None };
        let mut counted: Streaming<CountReply> =
            ours::client().server_stream("greeter", "Greeter.Count", request).await.unwrap();
        assert_eq!(counted.message().await, Ok(Some(CountReply { value: 1 })));
        drop(counted);
        assert_ne!(greeter.next("streamEnd").await["outcome"], "ok");
    });
}

#[test]
fn p1_16_ten_thousand_messages_arrive_in_order_both_ways() {
    isolated(&[Need::Go], || async {
        let _greeter = go::serve("greeter").await;
        let texts = (0..10_000).map(|n| n.to_string());
        let echoes: Streaming<ChatMessage> = ours::client()
            .bidi_stream("greeter", "Greeter.Chat", stream::iter(texts.clone()).map(|t| said(&t)))
            .await
            .unwrap();
        let heard: Vec<_> = echoes.map(|echo| echo.unwrap().text).collect().await;
        assert!(heard.into_iter().eq(texts.map(|text| format!("echo: {text}"))));
    });
}
