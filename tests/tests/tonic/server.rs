//! What our server adds to a service of tonic: registration, layers, health, reflection, drain, gRPC-Web and Connect.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{StreamExt as _, stream};
use micro::registry::Registry as _;
use micro::server::{Body, BoxFuture, Handler, Request, Response, Server as MicroServer};
use micro::{Code, Error, Json, Messages, Raw, Result, Streaming};
use micro_tests::hall::greeter_client::GreeterClient;
use micro_tests::hall::greeter_server::GreeterServer;
use micro_tests::hall::{CountRequest, DESCRIPTORS, HelloReply};
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::greeter::Host;
use crate::hall::{Channel, Hall, Server, client, generated, memory, service, soon};
use crate::shapes::hello;

#[tokio::test]
async fn the_registry_knows_the_methods_that_descriptors_have() {
    let hall = Hall::open(Server::Described).await;
    let found = hall.registry.get("hall").await.expect("registered");
    let endpoints: Vec<_> = found[0].endpoints.iter().map(|e| e.name.as_str()).collect();
    let all = ["Greeter.Chat", "Greeter.Count", "Greeter.Hello", "Greeter.Look", "Greeter.Sum"];
    assert_eq!(endpoints, all);
    let label = |at: usize, label: &str| found[0].endpoints[at].metadata.get(label).cloned();
    assert_eq!(label(1, "stream").as_deref(), Some("true"));
    assert_eq!((label(2, "stream"), label(2, "idempotent")), (None, None));
    assert_eq!(label(3, "idempotent").as_deref(), Some("true"));
    let request = found[0].endpoints[2].request.as_ref().expect("its type");
    assert_eq!(request.name, "HelloRequest");

    let hall = Hall::open(Server::Ours).await;
    let found = hall.registry.get("hall").await.expect("registered");
    let endpoints: Vec<_> = found[0].endpoints.iter().map(|e| e.name.as_str()).collect();
    assert_eq!(endpoints, ["Greeter.*"]);
}

/// The part of `ServerReflectionRequest` that the test sends.
#[derive(Clone, PartialEq, prost::Message)]
struct Question {
    #[prost(string, optional, tag = "4")]
    file_containing_symbol: Option<String>,
    #[prost(string, optional, tag = "7")]
    list_services: Option<String>,
}

/// The part of `ServerReflectionResponse` that it reads.
#[derive(Clone, PartialEq, prost::Message)]
struct Told {
    #[prost(message, optional, tag = "4")]
    files: Option<Files>,
    #[prost(message, optional, tag = "6")]
    list: Option<List>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Files {
    #[prost(bytes = "vec", repeated, tag = "1")]
    files: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct List {
    #[prost(message, repeated, tag = "1")]
    services: Vec<Named>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Named {
    #[prost(string, tag = "1")]
    name: String,
}

async fn reflection(hall: &Hall, question: Question) -> Told {
    let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let questions = stream::iter([Raw::from(question.encode_to_vec())]);
    let call = client(&hall.registry).bidi_stream("hall", path, questions);
    let mut told: Streaming<Raw> = call.content_type("application/grpc").await.expect("reflection");
    decoded(&told.message().await.expect("an answer").expect("one").0)
}

#[tokio::test]
async fn health_and_reflection_know_the_service() {
    for server in [Server::Ours, Server::Described] {
        let hall = Hall::open(server).await;
        let service = hall.service.as_ref().expect("ours");
        assert_eq!(service.server().health().is_serving("hall.Greeter"), Some(true), "{server:?}");
        let list = Question { list_services: Some(String::new()), ..Question::default() };
        let listed = reflection(&hall, list).await.list.expect("a list").services;
        assert!(listed.iter().any(|service| service.name == "hall.Greeter"), "{listed:?}");
        let symbol = Some("hall.Greeter.Hello".to_owned());
        let told =
            reflection(&hall, Question { file_containing_symbol: symbol, ..Question::default() });
        let files = told.await.files.map_or(0, |files| files.files.len());
        assert_eq!(files, usize::from(server == Server::Described), "{server:?}");
    }
}

#[tokio::test]
async fn our_callers_call_it_too_by_any_of_its_names() {
    for server in [Server::Ours, Server::Described] {
        let hall = Hall::open(server).await;
        let client = client(&hall.registry);
        for endpoint in ["Greeter.Hello", "hall.Greeter.Hello", "/other.Greeter/Hello"] {
            let request = Raw::from(hello("Ada").encode_to_vec());
            let call = client.call("hall", endpoint, request).content_type("application/grpc");
            let reply: Result<Raw> = call.await;
            let reply: HelloReply = decoded(&reply.expect(endpoint).0);
            assert_eq!(reply.greeting, "Hello, Ada!", "{endpoint}");
        }
    }
}

#[tokio::test]
async fn an_endpoint_beside_it_is_served_and_keeps_its_name() {
    let registry = memory();
    let running = service(&registry)
        .endpoint("Greeter.Wave", |_, request: Raw| async move { Ok(request) })
        .tonic(generated(Host::called("one")))
        .endpoint("Hall.Open", |_, request: Raw| async move { Ok(request) })
        .start()
        .await
        .expect("the service starts");
    let client = client(&registry);
    for endpoint in ["Greeter.Wave", "Hall.Open"] {
        let reply: Result<Raw> = client.call("hall", endpoint, Raw::from("hi")).await;
        assert_eq!(reply.expect(endpoint).0.as_ref(), b"hi");
    }
    let mut greeter = GreeterClient::new(client.channel("hall"));
    greeter.hello(hello("Ada")).await.expect("a reply");
    running.stop().await.expect("it stops");
}

/// Counts calls and replies, and refuses those who are banned.
#[derive(Clone, Default)]
struct Guard {
    calls: Arc<AtomicUsize>,
    replies: Arc<AtomicUsize>,
}

#[derive(Clone)]
struct Guarded(Handler, Guard);

impl tower::Layer<Handler> for Guard {
    type Service = Guarded;
    fn layer(&self, inner: Handler) -> Guarded {
        Guarded(inner, self.clone())
    }
}

impl tower::Service<Request> for Guarded {
    type Response = Response;
    type Error = Error;
    type Future = BoxFuture<Result<Response>>;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<()>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        self.1.calls.fetch_add(1, Ordering::SeqCst);
        if request.context.metadata().get("banned").is_some() {
            return Box::pin(async { Err(Error::permission_denied("banned by a layer")) });
        }
        let replies = self.1.replies.clone();
        let answer = self.0.call(request);
        Box::pin(async move {
            let messages = answer.await?.body.into_messages().inspect(move |_| {
                replies.fetch_add(1, Ordering::SeqCst);
            });
            Ok(Response { body: Body::Stream(Messages::new(messages)) })
        })
    }
}

#[tokio::test]
async fn layers_of_the_service_see_its_calls_and_may_refuse_them() {
    for described in [false, true] {
        let registry = memory();
        let guard = Guard::default();
        let mut builder = service(&registry).layer(guard.clone());
        if described {
            builder = builder.descriptors(DESCRIPTORS);
        }
        let running = builder.tonic(generated(Host::called("one"))).start().await.expect("started");
        let mut greeter = GreeterClient::new(client(&registry).channel("hall"))
            .accept_compressed(tonic::codec::CompressionEncoding::Gzip);
        let reply = greeter.hello(hello("Ada")).await.expect("a reply").into_inner();
        assert_eq!(reply.greeting, "Hello, Ada!");
        let counted = greeter.count(CountRequest { to: 3, fail: false }).await.expect("a stream");
        assert_eq!(counted.into_inner().filter(|n| std::future::ready(n.is_ok())).count().await, 3);
        assert_eq!(guard.calls.load(Ordering::SeqCst), 2);
        assert_eq!(guard.replies.load(Ordering::SeqCst), 4);
        let mut banned = tonic::Request::new(hello("Ada"));
        banned.metadata_mut().insert("banned", "yes".parse().expect("text"));
        let status = greeter.hello(banned).await.expect_err("banned");
        assert_eq!(status.code(), tonic::Code::PermissionDenied);
        assert_eq!(status.message(), "banned by a layer");
        running.stop().await.expect("it stops");
    }
}

#[tokio::test]
async fn a_stop_lets_running_calls_finish_and_tells_later_ones_to_go_elsewhere() {
    let hall = Hall::open(Server::Ours).await;
    let mut greeter = hall.client(Channel::Tonic).await;
    let running = tokio::spawn({
        let mut greeter = greeter.clone();
        async move { greeter.hello(hello("wait")).await }
    });
    soon("the call", hall.host.entered.notified()).await;
    let service = hall.service.as_ref().expect("ours");
    assert_eq!(service.server().in_flight(), 1);
    let release = async {
        // Released once the service has said that it goes.
        while service.server().health().is_serving("hall.Greeter") == Some(true) {
            tokio::task::yield_now().await;
        }
        hall.host.release.notify_one();
    };
    let (stopped, ()) = soon("the stop", async { tokio::join!(service.stop(), release) }).await;
    stopped.expect("nothing was cut off");
    let reply = running.await.expect("no panic").expect("the running call finishes");
    assert_eq!(reply.into_inner().greeting, "waited");
    greeter.hello(hello("Ada")).await.expect_err("it is gone");
    hall.registry.get("hall").await.expect_err("it is not registered");
}

#[tokio::test]
async fn the_bound_on_calls_holds_and_refused_calls_are_counted() {
    let registry = memory();
    let host = Host::called("one");
    let running = service(&registry)
        .server(|server| server.max_concurrent_calls(1))
        .tonic(generated(host.clone()))
        .start()
        .await
        .expect("the service starts");
    let channel = client(&registry).channel("hall");
    let mut greeter = GreeterClient::new(channel);
    let waiting = tokio::spawn({
        let mut greeter = greeter.clone();
        async move { greeter.hello(hello("wait")).await }
    });
    soon("the call", host.entered.notified()).await;
    let mut request = tonic::Request::new(hello("Ada"));
    request.extensions_mut().insert(micro::client::CallOptions::new().retries(0));
    let status = greeter.hello(request).await.expect_err("full");
    assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{status}");
    host.release.notify_one();
    waiting.await.expect("no panic").expect("a reply");
    assert!(running.server().shed() >= 1);
    running.stop().await.expect("it stops");
}

#[tokio::test]
async fn calls_are_counted_by_their_method() {
    for server in [Server::Ours, Server::Described] {
        let hall = Hall::open(server).await;
        let mut greeter = hall.client(Channel::Tonic).await;
        for _ in 0..3 {
            greeter.hello(hello("Ada")).await.expect("a reply");
        }
        greeter.hello(hello("full")).await.expect_err("full");
        let reply = greeter.hello(hello("context")).await.expect("a reply").into_inner();
        assert_eq!(reply.greeting, "hall Greeter.Hello ");
        let service = hall.service.as_ref().expect("ours");
        let edges = service.server().metrics().snapshot();
        let hellos = edges.iter().find(|(edge, _)| &*edge.endpoint == "Greeter.Hello");
        let (_, stats) = hellos.expect("counted");
        assert_eq!((stats.calls(), stats.errors()), (5, 1), "{server:?}");
        assert_eq!(stats.with_code(Some(Code::FailedPrecondition)), 1);
    }
}

/// Sends a request of HTTP/1.1 and reads the answer to its end.
async fn http1(hall: &Hall, path: &str, content_type: &str, body: &[u8]) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(hall.address).await.expect("a connection");
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: hall\r\nconnection: close\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.write_all(body).await.expect("sent");
    let mut answer = Vec::new();
    soon("the answer", stream.read_to_end(&mut answer)).await.expect("read");
    let at = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    (String::from_utf8_lossy(&answer[..at]).into_owned(), answer[at + 4..].to_vec())
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("short").to_be_bytes();
    [&[0][..], &length, message].concat()
}

#[tokio::test]
async fn grpc_web_reaches_it() {
    for server in [Server::Ours, Server::Described] {
        let hall = Hall::open(server).await;
        let request = framed(&hello("Ada").encode_to_vec());
        let (head, body) =
            http1(&hall, "/hall.Greeter/Hello", "application/grpc-web+proto", &request).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.contains("served-by: one"), "{head}");
        let text = String::from_utf8_lossy(&body);
        assert!(text.contains("Hello, Ada!") && text.contains("grpc-status: 0"), "{text}");
    }
}

#[tokio::test]
async fn connect_reaches_what_descriptors_describe_and_is_told_otherwise() {
    let request = hello("Ada").encode_to_vec();
    let hall = Hall::open(Server::Described).await;
    let (head, body) = http1(&hall, "/hall.Greeter/Hello", "application/proto", &request).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let at = body.windows(11).position(|part| part == b"Hello, Ada!").expect("the greeting");
    assert!(at < 20);
    let full = hello("full").encode_to_vec();
    let (head, body) = http1(&hall, "/hall.Greeter/Hello", "application/proto", &full).await;
    assert!(head.starts_with("HTTP/1.1 400"), "{head}");
    let text = String::from_utf8_lossy(&body);
    assert!(text.contains("failed_precondition") && text.contains("ErrorInfo"), "{text}");

    let hall = Hall::open(Server::Ours).await;
    let (head, body) = http1(&hall, "/hall.Greeter/Hello", "application/proto", &request).await;
    assert!(!head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(!body.is_empty());
}

#[tokio::test]
async fn callers_may_send_json_to_what_descriptors_describe() {
    let hall = Hall::open(Server::Described).await;
    let ask = async |hall: &Hall, body: &str| {
        let path = "/hall.Greeter/Hello";
        let (head, body) = http1(hall, path, "application/json", body.as_bytes()).await;
        (head, String::from_utf8(body).expect("text"))
    };
    let (head, body) = ask(&hall, r#"{"name":"Ada","ballast":"AQI="}"#).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(body, r#"{"greeting":"Hello, Ada!","node":"one","ballast":"AQI="}"#);
    let (head, body) = ask(&hall, r#"{"name":7}"#).await;
    assert!(head.starts_with("HTTP/1.1 400"), "{head}");
    assert!(body.contains("HelloRequest") && body.contains("name"), "{body}");

    let caller = client(&hall.registry);
    let request = Json(serde_json::json!({ "to": 3 }));
    let counted = caller.server_stream("hall", "Greeter.Count", request).await;
    let counted: Streaming<Json<serde_json::Value>> = counted.expect("a stream");
    let values: Vec<_> = counted.map(|n| n.expect("a number").0["value"].clone()).collect().await;
    assert_eq!(values, [1, 2, 3]);

    let plain = Hall::open(Server::Ours).await;
    let request = Json(serde_json::json!({ "name": "Ada" }));
    let refused: Result<Json<serde_json::Value>> =
        client(&plain.registry).call("hall", "Greeter.Hello", request).await;
    let refused = refused.expect_err("no descriptors");
    assert_eq!(refused.code(), Code::Unimplemented);
    assert!(refused.detail().contains("descriptors"), "{refused}");
}

#[tokio::test]
async fn what_cannot_be_mounted_is_refused_at_the_start() {
    #[derive(Clone)]
    struct Health;
    impl tonic::server::NamedService for Health {
        const NAME: &'static str = "grpc.health.v1.Health";
    }
    impl tower::Service<http::Request<tonic::body::Body>> for Health {
        type Response = http::Response<tonic::body::Body>;
        type Error = std::convert::Infallible;
        type Future = std::future::Ready<Result<Self::Response, Self::Error>>;
        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), Self::Error>> {
            std::task::Poll::Ready(Ok(()))
        }
        fn call(&mut self, _: http::Request<tonic::body::Body>) -> Self::Future {
            std::future::ready(Ok(http::Response::default()))
        }
    }
    let greeter = || GreeterServer::new(Host::called("one"));
    let server = || MicroServer::builder("hall").address("127.0.0.1:0");
    let twice = server().tonic(greeter()).tonic(greeter()).start().await.expect_err("twice");
    assert_eq!(twice.code(), Code::AlreadyExists, "{twice}");
    let beside = server().descriptors(DESCRIPTORS).tonic(greeter());
    let hello = micro::server::Endpoint::unary("hall.Greeter.Hello", |_, r: Raw| async { Ok(r) });
    let beside = beside.handle(hello).start().await.expect_err("a method twice");
    assert_eq!(beside.code(), Code::AlreadyExists, "{beside}");
    let health = server().tonic(Health).start().await.expect_err("health");
    assert!(health.detail().contains("grpc.health.v1.Health"), "{health}");
    let none = server().descriptors(b"no descriptors").tonic(greeter()).start().await;
    let none = none.expect_err("descriptors");
    assert!(none.detail().contains("FileDescriptorSet"), "{none}");
}

fn decoded<T: prost::Message + Default>(bytes: &[u8]) -> T {
    T::decode(bytes).expect("a message")
}
