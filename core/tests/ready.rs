//! Calls to services that are not there yet, not there any more, or not to be reached.
#![allow(clippy::expect_used, reason = "a test says what it expects by failing")]

use std::sync::Arc;
use std::time::Duration;

use micro::registry::{Memory, Node, Registry as _};
use micro::selector::Filter;
use micro::{Client, Code, Error, Raw, Reason, Result, Streaming};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};

mod support;

/// Long enough for anything that is going to happen.
const PATIENCE: Duration = Duration::from_secs(20);

fn waiting(client: &Client) -> tokio::task::JoinHandle<Result<Raw>> {
    let call = client.call("echo", "Echo.Call", Raw::from("hi")).wait_for_ready(true);
    tokio::spawn(call.timeout(PATIENCE).into_future())
}

/// Registers a node by hand.
async fn register(registry: &Arc<Memory>, id: &str, address: &str) -> Result<()> {
    let node = Node { id: id.into(), address: address.into(), ..Node::default() };
    let service = micro::registry::Service {
        nodes: vec![node],
        ..micro::registry::Service::new("echo", "latest")
    };
    registry.register(&service, None).await
}

fn failed(answer: Result<Raw>) -> Error {
    answer.expect_err("no node is there")
}

#[tokio::test]
async fn a_call_that_may_wait_is_answered_once_there_is_a_node() -> Result<()> {
    let registry = support::memory();
    let client = support::client(&registry);
    // It is known that there is none, so only the watch can tell of one.
    assert_eq!(failed(support::call(&client, "echo").await).reason(), Some(Reason::NoNodes));
    let call = waiting(&client);
    let stream = client.server_stream("echo", "Echo.Call", Raw::from("hi")).wait_for_ready(true);
    let stream = tokio::spawn(stream.timeout(PATIENCE).into_future());
    tokio::task::yield_now().await;
    assert!(!call.is_finished() && !stream.is_finished());
    let service = support::service(&registry, "echo").handle(support::echo()).start().await?;
    assert_eq!(call.await.expect("the call ends")?, Raw::from("hi"));
    let mut replies: Streaming<Raw> = stream.await.expect("the stream opens")?;
    assert_eq!(replies.message().await?, Some(Raw::from("hi")));
    service.stop().await
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_with_the_deadline_and_says_for_what() {
    let registry = support::memory();
    let call = |patience| {
        let call = support::client(&registry).call("echo", "Echo.Call", Raw::from("hi"));
        call.wait_for_ready(true).timeout(patience)
    };
    let began = Instant::now();
    let error = failed(call(Duration::from_secs(3)).await);
    assert_eq!(began.elapsed(), Duration::from_secs(3));
    assert_eq!((error.code(), error.reason()), (Code::DeadlineExceeded, Some(Reason::NoNodes)));
    assert!(error.detail().contains("waiting for a node: service echo: not found"), "{error}");
    register(&registry, "echo-1", "127.0.0.1:1").await.expect("registers");
    let west = call(Duration::from_secs(3)).filter(Filter::label("zone", "west"));
    let error = failed(west.await);
    assert_eq!((error.code(), error.reason()), (Code::DeadlineExceeded, Some(Reason::NoMatch)));
    assert!(error.detail().contains("label zone=west matches 0 of 1"), "{error}");
}

#[tokio::test]
async fn a_call_that_waited_and_then_took_too_long_does_not_blame_the_wait() -> Result<()> {
    let registry = support::memory();
    let client = support::client(&registry);
    let call = client.call("echo", "Echo.Call", Raw::from("hi")).wait_for_ready(true);
    let call = tokio::spawn(call.timeout(Duration::from_secs(1)).into_future());
    tokio::task::yield_now().await;
    let (endpoint, held) = support::held();
    let service = support::service(&registry, "echo").handle(endpoint).start().await?;
    held.entered.notified().await;
    let error = failed(call.await.expect("the call ends"));
    assert_eq!((error.code(), error.reason()), (Code::DeadlineExceeded, None));
    assert!(!error.detail().contains("waiting"), "{error}");
    service.stop().await
}

#[tokio::test]
async fn a_call_that_may_wait_tries_again_until_a_node_takes_connections() -> Result<()> {
    let registry = support::memory();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    drop(listener);
    register(&registry, "echo-1", &address).await?;
    let client = support::client(&registry);
    let error = failed(support::call(&client, "echo").await);
    assert_eq!((error.code(), error.reason()), (Code::Unavailable, None), "a node is known");
    let call = waiting(&client);
    tokio::task::yield_now().await;
    // The same record, so the registry has nothing to tell.
    let server = micro::server::Server::builder("echo");
    let server = server.address(&address).handle(support::echo()).start().await?;
    assert_eq!(call.await.expect("the call ends")?, Raw::from("hi"));
    server.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_new_node_ends_the_wait_for_one_that_cannot_be_reached() -> Result<()> {
    let registry = support::memory();
    register(&registry, "echo-1", "127.0.0.1:1").await?;
    let client = support::client(&registry);
    let call = waiting(&client);
    tokio::task::yield_now().await;
    let service = support::service(&registry, "echo").handle(support::echo()).start().await?;
    assert_eq!(call.await.expect("the call ends")?, Raw::from("hi"));
    service.stop().await
}

#[tokio::test]
async fn an_address_that_is_another_services_now_is_no_node_to_wait_for_less() -> Result<()> {
    let registry = support::memory();
    let other = support::service(&registry, "other").handle(support::echo()).start().await?;
    register(&registry, "echo-1", &other.node().address).await?;
    let client = support::client(&registry);
    assert_eq!(failed(support::call(&client, "echo").await).reason(), Some(Reason::OtherService));
    let call = waiting(&client);
    tokio::task::yield_now().await;
    let service = support::service(&registry, "echo").handle(support::echo()).start().await?;
    assert_eq!(call.await.expect("the call ends")?, Raw::from("hi"));
    service.stop().await?;
    other.stop().await
}

#[tokio::test]
async fn a_wait_that_is_given_up_leaves_nothing_behind() -> Result<()> {
    let registry = support::memory();
    let client = support::client(&registry);
    for _ in 0..100 {
        let call = client.call::<_, Raw>("echo", "Echo.Call", Raw::from("hi"));
        let call = call.wait_for_ready(true).no_timeout().into_future();
        assert!(timeout(Duration::from_millis(1), call).await.is_err());
    }
    let service = support::service(&registry, "echo").handle(support::echo()).start().await?;
    assert_eq!(waiting(&client).await.expect("the call ends")?, Raw::from("hi"));
    service.stop().await
}

#[tokio::test]
async fn every_way_that_there_is_no_node_has_a_text_of_its_own() -> Result<()> {
    let registry = support::memory();
    let none = failed(support::call(&support::client(&registry), "echo").await);
    register(&registry, "echo-1", "127.0.0.1:1").await?;
    let client = support::client(&registry);
    let call = client.call("echo", "Echo.Call", Raw::from("hi"));
    let filtered = failed(call.filter(Filter::version("9")).await);
    let refused = failed(support::call(&client, "echo").await);
    let seen = [&none, &filtered, &refused].map(|error| (error.code(), error.reason()));
    assert_eq!(
        seen,
        [
            (Code::Unavailable, Some(Reason::NoNodes)),
            (Code::Unavailable, Some(Reason::NoMatch)),
            (Code::Unavailable, None),
        ]
    );
    assert!(none.detail().contains("it has no node now"), "{none}");
    assert!(filtered.detail().contains("version 9 matches 0 of 1"), "{filtered}");
    assert!(refused.detail().contains("127.0.0.1:1"), "{refused}");
    // go-micro's number for a call that cannot be, which it repeats.
    assert_eq!([none.http_code(), filtered.http_code()], [500, 500]);
    Ok(())
}

#[tokio::test]
async fn a_handler_passes_the_failure_on_without_the_reason() -> Result<()> {
    let registry = support::memory();
    let inner = support::client(&registry);
    let front = micro::server::Endpoint::unary("Front.Call", move |_: micro::Context, _: Raw| {
        let inner = inner.clone();
        async move { support::call(&inner, "behind").await }
    });
    let service = support::service(&registry, "front").handle(front).start().await?;
    let client = support::client(&registry);
    let error = failed(client.call("front", "Front.Call", Raw::default()).retries(0).await);
    assert_eq!((error.code(), error.reason()), (Code::Unavailable, None));
    assert_eq!((error.id(), error.http_code()), ("go.micro.client", 500));
    assert!(
        error.is_remote() && error.detail().starts_with("service behind: not found"),
        "{error}"
    );
    service.stop().await
}
