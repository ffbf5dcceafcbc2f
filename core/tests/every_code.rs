//! Every code, and every reason a call can have of its own, through every protocol and back.
#![allow(clippy::expect_used, reason = "a test says what it expects by failing")]

use futures_util::{StreamExt as _, stream};
use micro::registry::{Memory, Node, Registry as _};
use micro::selector::Filter;
use micro::{Code, Context, Error, Json, Reach, Reason, Result, Service, Streaming};
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

mod support;

/// Fails with the code it is asked for, and names itself for every other code.
fn failure(code: i32) -> Error {
    let code = Code::from_grpc(code).expect("a code");
    let error = Error::new(code, format!("it is {code}"));
    if code.grpc() % 2 == 0 { error.with_id("codes") } else { error }
}

async fn service(registry: &Arc<Memory>) -> Service {
    support::service(registry, "codes")
        .endpoint("Codes.Fail", |_: Context, Json(code): Json<i32>| async move {
            Result::<Json<()>>::Err(failure(code))
        })
        .server_stream("Codes.Stream", |_: Context, Json(code): Json<i32>| async move {
            Ok(stream::iter([Ok(Json(code)), Err(failure(code))]))
        })
        .start()
        .await
        .expect("the service starts")
}

/// The answer to a POST over HTTP/1.1, head and body.
async fn post(service: &Service, path: &str, content_type: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(service.address()).await.expect("connects");
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).await.expect("sends");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

fn framed(body: &str) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a short body").to_be_bytes();
    [&[0], &length[..], body.as_bytes()].concat()
}

/// Connect's spelling.
fn connect(code: Code) -> String {
    match code {
        Code::Cancelled => "canceled".to_owned(),
        code => code.name().to_ascii_lowercase(),
    }
}

#[tokio::test]
async fn every_code_arrives_as_itself() {
    let registry = support::memory();
    let service = service(&registry).await;
    let client = support::client(&registry);
    for number in 1..=16 {
        let sent = failure(number);
        let arrived = |error: &Error| {
            assert_eq!(error.code(), sent.code());
            assert_eq!(error.http_code(), sent.http_code(), "{error}");
            assert_eq!((error.detail(), error.id()), (sent.detail(), sent.id()));
            assert_eq!((error.reason(), error.reach()), (None, Reach::Maybe));
            assert!(error.is_remote());
        };
        let call = client.call("codes", "Codes.Fail", Json(number)).retries(0);
        arrived(&Result::<Json<()>>::expect_err(call.await, "gRPC, as go-micro has it"));
        let replies = client.server_stream("codes", "Codes.Stream", Json(number)).await;
        let mut replies: Streaming<Json<i32>> = replies.expect("the stream opens");
        assert_eq!(replies.message().await, Ok(Some(Json(number))));
        arrived(&replies.next().await.expect("an end").expect_err("a stream"));

        let code = sent.code();
        let (body, text) = (number.to_string(), sent.detail());
        let told = post(&service, "/Codes/Fail", "application/json", body.as_bytes()).await;
        let json = format!(r#"{{"code":"{}","#, connect(code));
        assert!(told.contains(&json) && told.contains(text), "Connect: {told}");
        let framed = framed(&body);
        for path in ["/Codes/Fail", "/Codes/Stream"] {
            let told = post(&service, path, "application/connect+json", &framed).await;
            let json = format!(r#"{{"error":{{"code":"{}","#, connect(code));
            assert!(told.contains(&json) && told.contains(text), "Connect stream: {told}");
            let told = post(&service, path, "application/grpc-web+json", &framed).await;
            let status = format!("grpc-status: {number}\r\n");
            assert!(told.contains(&status) && told.contains(text), "gRPC-Web: {told}");
        }
    }
    service.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_reason_is_the_callers_own_and_does_not_travel() -> Result<()> {
    let registry = support::memory();
    let codes = service(&registry).await;
    // What is left of another service at the address of this one.
    let node =
        Node { id: "gone-1".into(), address: codes.node().address.clone(), ..Node::default() };
    let gone = micro::registry::Service {
        nodes: vec![node],
        ..micro::registry::Service::new("gone", "1")
    };
    registry.register(&gone, None).await?;
    let inner = support::client(&registry);
    let ask = move |reason: String| {
        let inner = inner.clone();
        async move {
            let call = |service| inner.call(service, "Codes.Fail", Json(5)).retries(0);
            let call = match reason.as_str() {
                "no_nodes" => call("nobody"),
                "no_match" => call("codes").filter(Filter::version("9")),
                _ => call("gone"),
            };
            let answer: Result<Json<()>> = call.await;
            answer
        }
    };
    let pass_on = ask.clone();
    let front = support::service(&registry, "front")
        .endpoint("Front.Ask", move |_: Context, Json(reason): Json<String>| pass_on(reason))
        .start()
        .await?;
    let client = support::client(&registry);
    let of_stores = [Reason::Conflict, Reason::StaleToken, Reason::TooLarge, Reason::HistoryGone];
    for reason in Reason::ALL.into_iter().filter(|reason| !of_stores.contains(reason)) {
        let own = ask(reason.name().to_owned()).await.expect_err("it cannot be");
        let seen = (own.code(), own.http_code(), own.reason(), own.reach());
        assert_eq!(seen, (Code::Unavailable, 500, Some(reason), Reach::Never), "{own}");
        let call = client.call("front", "Front.Ask", Json(reason.name().to_owned())).retries(0);
        let passed_on = Result::<Json<()>>::expect_err(call.await, "it is passed on");
        let seen = (passed_on.code(), passed_on.http_code(), passed_on.reason(), passed_on.reach());
        assert_eq!(seen, (Code::Unavailable, 500, None, Reach::Maybe), "{passed_on}");
        assert_eq!((passed_on.id(), passed_on.detail()), (own.id(), own.detail()));
        let body = format!("\"{reason}\"");
        let told = post(&front, "/Front/Ask", "application/json", body.as_bytes()).await;
        assert!(
            told.starts_with("HTTP/1.1 503") && told.contains(r#""code":"unavailable""#),
            "{told}"
        );
        let told = post(&front, "/Front/Ask", "application/grpc-web+json", &framed(&body)).await;
        assert!(told.contains("grpc-status: 14") && !told.contains("micro-refused"), "{told}");
    }
    front.stop().await?;
    codes.stop().await
}
