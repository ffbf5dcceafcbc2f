//! Our client calls the grpcio server.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use micro::{Client, Code, Compression, Error, Proto, Raw, Result, Streaming};
use micro_tests::greeter::{
    ChatMessage, CountReply, CountRequest, FailReply, FailRequest, HeadersReply, HeadersRequest,
    HelloReply, HelloRequest, Home, Kind, SumReply, SumRequest, WaitReply, WaitRequest,
};
use micro_tests::peer::Peer;
use micro_tests::{Need, isolated, ours, python};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage};

/// A client whose calls all go to `server`.
fn client_of(server: &Peer) -> Client {
    let address = server.fact("address");
    Client::builder().registry(ours::registry()).address(address).build().unwrap()
}

async fn pair() -> (Peer, Client) {
    let server = python::server().await;
    let client = client_of(&server);
    (server, client)
}

fn said(text: &str) -> ChatMessage {
    ChatMessage { text: text.into(), failure: None }
}

#[test]
fn unary_call_carries_every_kind_of_field() {
    isolated(&[Need::Grpcio], || async {
        let (_server, client) = pair().await;
        let request = HelloRequest {
            name: "Ann Ö 😈".into(),
            big: i64::MIN,
            kind: Kind::Stranger.into(),
            blob: vec![0, 0xfb, 0xff],
            tags: vec!["a".into(), String::new()],
            labels: [("k".into(), "v".into())].into(),
            ratio: -0.5,
            huge: u64::MAX,
            display_name: "x".into(),
            home: Some(Home { street_name: "Allee".into(), house_number: -7 }),
            loud: true,
        };
        let reply: HelloReply =
            client.call("greeter", "Greeter.Hello", request.clone()).await.unwrap();
        assert_eq!(reply.greeting, "Hello Ann Ö 😈");
        assert_eq!(reply.request, Some(request));
    });
}

#[test]
fn server_stream_ends_after_its_last_message() {
    isolated(&[Need::Grpcio], || async {
        let (_server, client) = pair().await;
        let request = CountRequest { to: 3, failure: None };
        let counted: Streaming<CountReply> =
            client.server_stream("greeter", "Greeter.Count", request).await.unwrap();
        let values: Vec<_> = counted.map(|reply| reply.unwrap().value).collect().await;
        assert_eq!(values, [1, 2, 3]);
    });
}

#[test]
fn client_stream_is_answered_at_our_half_close() {
    isolated(&[Need::Grpcio], || async {
        let (_server, client) = pair().await;
        let values = stream::iter([40, 2]).map(|value| SumRequest { value, last: false });
        let sum: SumReply = client.client_stream("greeter", "Greeter.Sum", values).await.unwrap();
        assert_eq!(sum, SumReply { total: 42, count: 2 });
    });
}

#[test]
fn client_stream_that_is_answered_early_ends_early() {
    isolated(&[Need::Grpcio], || async {
        let (_server, client) = pair().await;
        let first = stream::iter([SumRequest { value: 42, last: true }]);
        let endless = first.chain(stream::pending());
        let sum: SumReply = client.client_stream("greeter", "Greeter.Sum", endless).await.unwrap();
        assert_eq!(sum, SumReply { total: 42, count: 1 });
    });
}

#[test]
fn bidirectional_stream_answers_each_message_and_ends_with_our_half_close() {
    isolated(&[Need::Grpcio], || async {
        let (_server, client) = pair().await;
        let (outgoing, mut incoming) =
            client.open::<ChatMessage, ChatMessage>("greeter", "Greeter.Chat").await.unwrap();
        for text in ["one", "two"] {
            outgoing.send(said(text)).await.unwrap();
            let echo = incoming.message().await.unwrap().expect("an echo");
            assert_eq!(echo.text, format!("echo: {text}"));
        }
        outgoing.close();
        assert_eq!(incoming.message().await, Ok(None));
    });
}

#[test]
fn error_is_grpcs_number_and_plain_text() {
    isolated(&[Need::Grpcio], || async {
        let (_server, client) = pair().await;
        for number in 1..=16 {
            let request = FailRequest {
                code: number,
                detail: "no such 100% ö\n".into(),
                ..FailRequest::default()
            };
            let call = client.call("greeter", "Greeter.Fail", request).retries(0);
            let error = Result::<FailReply>::expect_err(call.await, "it fails");
            assert_eq!(error.code().grpc(), number);
            assert_eq!((error.detail(), error.is_remote()), ("no such 100% ö\n", true));
        }
    });
}

#[test]
fn unknown_method_is_unimplemented() {
    isolated(&[Need::Grpcio], || async {
        let (_server, client) = pair().await;
        let call = client.call("greeter", "Greeter.Nope", HelloRequest::default());
        let error = Result::<HelloReply>::expect_err(call.await, "there is none");
        assert_eq!(error.code(), Code::Unimplemented);
    });
}

#[test]
fn stream_error_comes_after_the_messages() {
    isolated(&[Need::Grpcio], || async {
        let (_server, client) = pair().await;
        let failure = FailRequest { code: 6, detail: "taken".into(), ..FailRequest::default() };
        let request = CountRequest { to: 1, failure: Some(failure) };
        let mut counted: Streaming<CountReply> =
            client.server_stream("greeter", "Greeter.Count", request).await.unwrap();
        assert_eq!(counted.message().await, Ok(Some(CountReply { value: 1 })));
        let error: Error = counted.message().await.expect_err("a failure");
        assert_eq!((error.code(), error.detail()), (Code::AlreadyExists, "taken"));
    });
}

#[test]
fn metadata_goes_both_ways_with_bytes_under_bin_names() {
    isolated(&[Need::Grpcio], || async {
        let (server, client) = pair().await;
        let call = client.call("greeter", "Greeter.Headers", HeadersRequest {});
        let call = call.metadata("Tenant", "blue").metadata("many", "a").metadata("many", "b");
        let reply = call.metadata("token-bin", "AP8").send().await.unwrap();
        let seen = server.next("call").await;
        let sent = seen["metadata"].as_array().unwrap();
        for pair in [["tenant", "blue"], ["many", "a"], ["many", "b"], ["token-bin", "AP8="]] {
            assert!(sent.contains(&serde_json::json!(pair)), "{pair:?} in {seen}");
        }
        let _: &HeadersReply = &reply.message;
        assert_eq!(reply.headers.get("answered-by"), Some("grpcio"));
        assert_eq!(reply.headers.get_bin("answered-bin"), Some(b"\x00\xff".to_vec()));
        assert_eq!(reply.trailers.get("trailer"), Some("last"));
        assert_eq!(reply.trailers.get_bin("trailer-bin"), Some(b"\x01\xfe".to_vec()));
    });
}

#[test]
fn deadline_reaches_the_handler_and_ends_it() {
    isolated(&[Need::Grpcio], || async {
        let (server, client) = pair().await;
        let request = WaitRequest { milliseconds: 20_000 };
        let call = client.call("greeter", "Greeter.Wait", request);
        let call = call.timeout(Duration::from_secs(1));
        let error = Result::<WaitReply>::expect_err(call.await, "the time is up");
        assert_eq!(error.code(), Code::DeadlineExceeded);
        let remaining = server.next("call").await["remainingMs"].as_i64().expect("a deadline");
        assert!((0..=1_000).contains(&remaining), "{remaining}");
        assert_eq!(server.next("wait").await["outcome"], "ended");
    });
}

#[test]
fn dropped_call_ends_the_handler() {
    isolated(&[Need::Grpcio], || async {
        let (server, client) = pair().await;
        let request = WaitRequest { milliseconds: 20_000 };
        let call = client.call::<_, WaitReply>("greeter", "Greeter.Wait", request).no_timeout();
        let calling = tokio::spawn(call.send());
        server.next("call").await;
        calling.abort();
        assert_eq!(server.next("wait").await["outcome"], "ended");
    });
}

#[test]
fn dropped_stream_ends_the_handler() {
    isolated(&[Need::Grpcio], || async {
        let (server, client) = pair().await;
        let (outgoing, mut incoming) =
            client.open::<ChatMessage, ChatMessage>("greeter", "Greeter.Chat").await.unwrap();
        outgoing.send(said("one")).await.unwrap();
        incoming.message().await.unwrap();
        drop(incoming);
        assert_eq!(server.next("streamEnd").await["method"], "Chat");
        drop(outgoing);
    });
}

#[test]
fn gzip_goes_both_ways() {
    isolated(&[Need::Grpcio], || async {
        let server = python::server_with(&["--gzip"]).await;
        let client = client_of(&server);
        let request = HelloRequest { name: "Ann ".repeat(10_000), ..HelloRequest::default() };
        let call = client.call("greeter", "Greeter.Hello", request.clone());
        let reply = call.compression(Compression::Gzip).send().await.unwrap();
        assert_eq!(reply.headers.get("grpc-encoding"), Some("gzip"));
        let message: HelloReply = reply.message;
        assert_eq!(message.request, Some(request.clone()));

        let said = stream::iter([said(&request.name)]);
        let mut echoes: Streaming<ChatMessage> = client
            .bidi_stream("greeter", "Greeter.Chat", said)
            .compression(Compression::Gzip)
            .await
            .unwrap();
        let echo = echoes.message().await.unwrap().expect("an echo");
        assert_eq!(echo.text, format!("echo: {}", request.name));
    });
}

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// `grpc.health.v1.HealthCheckResponse`: 1 is serving, 2 is not.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthReply {
    #[prost(int32, tag = "1")]
    status: i32,
}

#[test]
fn health_is_checked_and_watched() {
    isolated(&[Need::Grpcio], || async {
        let (server, client) = pair().await;
        let about = || Proto(HealthRequest { service: "greeter.Greeter".into() });
        let Proto(HealthReply { status }) =
            client.call("", "/grpc.health.v1.Health/Check", about()).await.unwrap();
        assert_eq!(status, 1);
        let mut watched: Streaming<Proto<HealthReply>> =
            client.server_stream("", "/grpc.health.v1.Health/Watch", about()).await.unwrap();
        assert_eq!(watched.message().await.unwrap().expect("a status").0.status, 1);
        let change = serde_json::json!({ "service": "greeter.Greeter", "status": "NOT_SERVING" });
        server.ask("setHealth", change).await;
        assert_eq!(watched.message().await.unwrap().expect("a status").0.status, 2);
    });
}

/// The question of `grpc.reflection.v1.ServerReflectionRequest` that the test asks.
#[derive(Clone, PartialEq, prost::Message)]
struct ReflectionRequest {
    #[prost(string, tag = "4")]
    file_containing_symbol: String,
}

/// The answer to it.
#[derive(Clone, PartialEq, prost::Message)]
struct ReflectionReply {
    #[prost(message, optional, tag = "4")]
    files: Option<Files>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Files {
    #[prost(bytes = "vec", repeated, tag = "1")]
    files: Vec<Vec<u8>>,
}

async fn calls_what_reflection_describes(version: &str) {
    let (_server, client) = pair().await;
    let ask = Proto(ReflectionRequest { file_containing_symbol: "greeter.Greeter".into() });
    let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
    let mut answers: Streaming<Proto<ReflectionReply>> =
        client.bidi_stream("", &path, stream::iter([ask])).await.unwrap();
    let Proto(answer) = answers.message().await.unwrap().expect("an answer");
    let mut pool = DescriptorPool::new();
    for file in answer.files.expect("files").files {
        pool.decode_file_descriptor_proto(&*file).unwrap();
    }
    let greeter = pool.get_service_by_name("greeter.Greeter").expect("the Greeter");
    let hello = greeter.methods().find(|method| method.name() == "Hello").expect("Hello");
    let mut request = DynamicMessage::new(hello.input());
    request.set_field_by_name("name", prost_reflect::Value::String("Ann".into()));
    let Raw(reply) =
        client.call("greeter", "Greeter.Hello", Raw::from(request.encode_to_vec())).await.unwrap();
    let reply = DynamicMessage::decode(hello.output(), reply).unwrap();
    let greeting = reply.get_field_by_name("greeting").expect("a greeting");
    assert_eq!(greeting.as_str(), Some("Hello Ann"));
}

#[test]
fn reflection_v1_describes_enough_for_a_call() {
    isolated(&[Need::Grpcio], || calls_what_reflection_describes("v1"));
}

#[test]
fn reflection_v1alpha_describes_enough_for_a_call() {
    isolated(&[Need::Grpcio], || calls_what_reflection_describes("v1alpha"));
}
