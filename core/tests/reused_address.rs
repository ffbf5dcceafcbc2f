//! Nodes that crashed, and whose address belongs to another service by now.
#![allow(clippy::expect_used, reason = "a test says what it expects by failing")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::stream;
use micro::registry::{Memory, Node, Registry as _};
use micro::server::Endpoint;
use micro::{Client, Code, Context, Error, Raw, Reach, Reason, Result, Service, Streaming};

mod support;

/// A service that counts the calls it runs, with an endpoint of every kind.
async fn counting(registry: &Arc<Memory>, name: &str) -> Result<(Service, Arc<AtomicUsize>)> {
    let ran = Arc::new(AtomicUsize::new(0));
    let count = || {
        let ran = ran.clone();
        move || ran.fetch_add(1, Ordering::SeqCst)
    };
    let (one, some, chat) = (count(), count(), count());
    let service = support::service(registry, name)
        .handle(Endpoint::unary("Echo.Call", move |_: Context, request: Raw| {
            one();
            async move { Ok(request) }
        }))
        .handle(Endpoint::server_stream("Echo.Many", move |_: Context, request: Raw| {
            some();
            async move { Ok(stream::iter([Ok(request)])) }
        }))
        .handle(Endpoint::bidi_stream("Echo.Chat", move |_: Context, requests: Streaming<Raw>| {
            chat();
            async move { Ok(requests) }
        }));
    Ok((service.start().await?, ran))
}

/// What is left in the registry of a node of `staging` that crashed at `address`.
async fn left_behind(registry: &Arc<Memory>, address: &str) -> Result<()> {
    let node = Node { id: "staging-1".into(), address: address.into(), ..Node::default() };
    let record = micro::registry::Service {
        nodes: vec![node],
        ..micro::registry::Service::new("staging", "latest")
    };
    registry.register(&record, None).await
}

fn refused(error: &Error) {
    let seen = (error.code(), error.reach(), error.reason());
    assert_eq!(seen, (Code::Unavailable, Reach::Never, Some(Reason::OtherService)), "{error}");
    assert!(error.detail().contains("production has its address now"), "{error}");
}

fn failed<T>(answer: Result<T>) -> Error {
    answer.err().expect("it is refused")
}

#[tokio::test]
async fn another_service_at_the_address_runs_no_call_of_any_kind() -> Result<()> {
    let registry = support::memory();
    let (production, ran) = counting(&registry, "production").await?;
    left_behind(&registry, &production.node().address).await?;
    let client = support::client(&registry);
    let hi = || Raw::from("hi");
    for endpoint in ["Echo.Call", "/staging.Echo/Call", "/foreign.package.Echo/Call"] {
        let call = client.call::<_, Raw>("staging", endpoint, hi());
        refused(&failed(call.await));
    }
    refused(&failed(client.server_stream::<_, Raw>("staging", "Echo.Many", hi()).await));
    let mut chat: Streaming<Raw> =
        client.bidi_stream("staging", "Echo.Chat", stream::iter([hi()])).await?;
    refused(&failed(chat.message().await));
    assert_eq!(ran.load(Ordering::SeqCst), 0);
    let health = client.health("staging").await?;
    refused(health[0].answer.as_ref().expect_err("it is another service's word"));
    assert!(client.health("production").await?[0].is_serving());
    production.stop().await
}

#[tokio::test]
async fn the_call_goes_to_a_node_of_its_service() -> Result<()> {
    let registry = support::memory();
    let (production, ran) = counting(&registry, "production").await?;
    let (staging, ran_there) = counting(&registry, "staging").await?;
    left_behind(&registry, &production.node().address).await?;
    let client = support::client(&registry);
    for _ in 0..50 {
        // It is not idempotent, and nothing of it is a retry.
        let call = client.call("staging", "Echo.Call", Raw::from("hi")).retries(0);
        assert_eq!(call.await, Ok(Raw::from("hi")));
    }
    assert_eq!((ran.load(Ordering::SeqCst), ran_there.load(Ordering::SeqCst)), (0, 50));
    let first = client.cache().peek("staging").expect("it is known");
    let left = first.nodes().iter().find(|node| node.id() == "staging-1").expect("it is there");
    assert!(left.is_ejected(tokio::time::Instant::now()), "it is left alone");
    staging.stop().await?;
    production.stop().await
}

#[tokio::test]
async fn a_caller_that_names_no_service_of_the_registry_is_served() -> Result<()> {
    let registry = support::memory();
    let (production, _) = counting(&registry, "production").await?;
    let address = production.node().address.clone();
    let client: Client = support::client(&registry);
    for (service, endpoint) in
        [("staging", "Echo.Call"), ("", "Echo.Call"), ("", "/helloworld.Echo/Call")]
    {
        let call = client.call(service, endpoint, Raw::from("hi")).address(&address);
        assert_eq!(call.await, Ok(Raw::from("hi")), "{service} {endpoint}");
    }
    let own = client.call("production", "/foreign.package.Echo/Call", Raw::from("hi"));
    assert_eq!(own.await, Ok(Raw::from("hi")));
    production.stop().await
}

#[tokio::test]
async fn the_name_goes_no_further_than_the_node() -> Result<()> {
    let registry = support::memory();
    let (behind, _) = counting(&registry, "behind").await?;
    let inner = support::client(&registry);
    let front = Endpoint::unary("Front.Call", move |cx: Context, request: Raw| {
        let inner = inner.clone();
        async move {
            let all = cx.metadata().clone();
            let call = inner.call("behind", "Echo.Call", request).metadata_all(all);
            let answer: Result<Raw> = call.await;
            answer
        }
    });
    let front = support::service(&registry, "front").handle(front).start().await?;
    let client = support::client(&registry);
    let call = client.call("front", "Front.Call", Raw::from("hi"));
    assert_eq!(call.await, Ok(Raw::from("hi")));
    for name in ["micro-target", "micro-target-at", "micro-refused"] {
        assert!(micro::Metadata::new().insert(name, "x").is_err(), "{name}");
    }
    front.stop().await?;
    behind.stop().await
}
