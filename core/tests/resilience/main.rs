//! Failures of nodes and registries, as callers meet them.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expects by failing")]

mod restart;
#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use micro::resilience::{Backoff, Retry};
use micro::selector::{Filter, RoundRobin};
use micro::server::Endpoint;
use micro::{Client, Code, Context, Error, Raw, Result, Service};
use support::{call, client, echo, memory, service};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// A service whose endpoint answers with its own version.
async fn versioned(registry: &Arc<micro::registry::Memory>, version: &str) -> Service {
    let answer = version.to_owned();
    service(registry, "fleet")
        .version(version)
        .metadata("zone", format!("zone-{version}"))
        .handle(
            Endpoint::unary("Echo.Call", move |_: Context, _: Raw| {
                let answer = answer.clone();
                async move { Ok(Raw::from(answer)) }
            })
            .idempotent(),
        )
        .start()
        .await
        .expect("the service starts")
}

#[tokio::test]
async fn a_node_that_dies_under_load_costs_idempotent_callers_nothing() -> Result<()> {
    let registry = memory();
    let mut fleet = Vec::new();
    for version in ["1", "2", "3"] {
        fleet.push(versioned(&registry, version).await);
    }
    let client = client(&registry);
    let made = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..16 {
        let (client, made) = (client.clone(), made.clone());
        callers.spawn(async move {
            for _ in 0..100 {
                call(&client, "fleet").await?;
                made.fetch_add(1, Ordering::SeqCst);
            }
            Ok::<_, Error>(())
        });
    }
    while made.load(Ordering::SeqCst) < 200 {
        tokio::task::yield_now().await;
    }
    // Dropped without a goodbye: the registry still lists the node.
    drop(fleet.pop());
    while let Some(outcome) = callers.join_next().await {
        outcome.expect("the caller runs")?;
    }
    assert_eq!(made.load(Ordering::SeqCst), 1_600);
    Ok(())
}

#[tokio::test]
async fn a_call_that_may_have_run_is_not_repeated_unless_idempotent() -> Result<()> {
    let registry = memory();
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    let running = service(&registry, "flaky")
        .endpoint("Echo.Call", move |_: Context, _: Raw| {
            counted.fetch_add(1, Ordering::SeqCst);
            async { Result::<Raw>::Err(Error::unavailable("busy")) }
        })
        .start()
        .await?;
    let client = client(&registry);
    assert!(call(&client, "flaky").await.is_err());
    assert_eq!(runs.swap(0, Ordering::SeqCst), 1);
    let again =
        || client.call::<_, Raw>("flaky", "Echo.Call", Raw::default()).backoff(Backoff::None);
    let error = again().idempotent(true).retries(3).await.expect_err("still busy");
    assert_eq!(runs.swap(0, Ordering::SeqCst), 4);
    assert_eq!(error.origin().map(|origin| origin.attempts), Some(4));
    assert!(again().idempotent(true).retry(Retry::Never).await.is_err());
    assert_eq!(runs.swap(0, Ordering::SeqCst), 1);
    running.stop().await
}

#[tokio::test]
async fn the_go_micro_policy_repeats_500_once_whatever_the_endpoint() -> Result<()> {
    let registry = memory();
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    let running = service(&registry, "flaky")
        .endpoint("Echo.Call", move |_: Context, code: Raw| {
            counted.fetch_add(1, Ordering::SeqCst);
            let code = String::from_utf8_lossy(&code.0).parse().unwrap_or(500);
            async move { Result::<Raw>::Err(Error::from_http("flaky", "no", code)) }
        })
        .start()
        .await?;
    let client = client(&registry);
    for (code, expected) in [("500", 2), ("408", 2), ("404", 1), ("503", 1)] {
        let call = client.call::<_, Raw>("flaky", "Echo.Call", Raw::from(code)).go_micro_retries();
        assert!(call.await.is_err());
        assert_eq!(runs.swap(0, Ordering::SeqCst), expected, "code {code}");
    }
    running.stop().await
}

#[tokio::test]
async fn retries_stop_when_the_budget_is_spent() -> Result<()> {
    let registry = memory();
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    let running = service(&registry, "flaky")
        .handle(
            Endpoint::unary("Echo.Call", move |_: Context, _: Raw| {
                counted.fetch_add(1, Ordering::SeqCst);
                async { Result::<Raw>::Err(Error::unavailable("busy")) }
            })
            .idempotent(),
        )
        .start()
        .await?;
    let client =
        Client::builder().registry(registry.clone()).backoff(Backoff::None).retries(1).build()?;
    const CALLS: usize = 2_000;
    let started = std::time::Instant::now();
    for _ in 0..CALLS {
        assert!(call(&client, "flaky").await.is_err());
    }
    let retries = runs.load(Ordering::SeqCst) - CALLS;
    // A slow machine takes longer than one window, and each second is worth ten retries.
    let floor = 10 * started.elapsed().as_secs() as usize;
    let allowed = 100..=CALLS / 10 + floor + 1;
    assert!(allowed.contains(&retries), "{retries} retries of {CALLS} calls");
    running.stop().await
}

#[tokio::test]
async fn a_node_that_refuses_connections_is_replaced_within_the_call() -> Result<()> {
    let registry = memory();
    let alive = versioned(&registry, "1").await;
    let dead = versioned(&registry, "2").await;
    drop(dead);
    let client = client(&registry);
    for _ in 0..20 {
        // Not idempotent: only the proof that nothing was sent allows another attempt.
        let call = client.call::<_, Raw>("fleet", "Echo.Call", Raw::default()).idempotent(false);
        assert_eq!(call.await?, Raw::from("1"));
    }
    alive.stop().await
}

#[tokio::test]
async fn filters_choose_by_version_and_label() -> Result<()> {
    let registry = memory();
    let _fleet = [versioned(&registry, "1").await, versioned(&registry, "2").await];
    let client = client(&registry);
    for filter in [Filter::version("2"), Filter::label("zone", "zone-2")] {
        for _ in 0..10 {
            let call = client.call::<_, Raw>("fleet", "Echo.Call", Raw::default());
            assert_eq!(call.filter(filter.clone()).await?, Raw::from("2"));
        }
    }
    let none = client.call::<_, Raw>("fleet", "Echo.Call", Raw::default());
    let error = none.filter(Filter::version("3")).await.expect_err("no such version");
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.detail().contains("none available"), "{error}");
    Ok(())
}

#[tokio::test]
async fn round_robin_and_keys_spread_as_they_say() -> Result<()> {
    let registry = memory();
    let _fleet = [versioned(&registry, "1").await, versioned(&registry, "2").await];
    let client = client(&registry);
    let rotating = Client::builder()
        .registry(registry.clone())
        .strategy(Arc::new(RoundRobin::new()))
        .build()?;
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(call(&rotating, "fleet").await?);
    }
    assert!(answers[0] != answers[1] && answers[0] == answers[2] && answers[1] == answers[3]);
    let keyed = async |key: &str| {
        client.call::<_, Raw>("fleet", "Echo.Call", Raw::default()).key(key).await
    };
    for key in ["ada", "bob", "cy"] {
        assert_eq!(keyed(key).await?, keyed(key).await?);
    }
    Ok(())
}

#[tokio::test]
async fn fixed_addresses_need_no_registry_and_fail_over() -> Result<()> {
    let running = service(&memory(), "echo").handle(echo()).start().await?;
    let closed = service(&memory(), "closed").handle(echo()).start().await?;
    let dead = closed.address().to_string();
    drop(closed);
    let client = client(&memory());
    for _ in 0..10 {
        let reply: Raw = client
            .call("anything", "Echo.Call", Raw::from("hi"))
            .address(dead.clone())
            .address(running.address().to_string())
            .await?;
        assert_eq!(reply, Raw::from("hi"));
    }
    let alone = client.call::<_, Raw>("anything", "Echo.Call", Raw::default()).address(dead);
    let error = alone.backoff(Backoff::None).await.expect_err("no server listens");
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.detail().contains("cannot connect"), "{error}");
    running.stop().await
}

/// An address that answers no connection, for as long as the rest is kept.
async fn black_hole() -> Result<(String, impl Sized)> {
    // A listener whose backlog is full answers no further connection.
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind("127.0.0.1:0".parse().expect("an address"))?;
    let listener = socket.listen(1)?;
    let address = listener.local_addr()?;
    let mut fill = Vec::new();
    while let Ok(Ok(stream)) =
        timeout(Duration::from_millis(100), tokio::net::TcpStream::connect(address)).await
    {
        fill.push(stream);
    }
    Ok((address.to_string(), (listener, fill)))
}

#[tokio::test]
async fn a_node_with_an_address_that_swallows_packets_is_reached_by_its_next_one() -> Result<()> {
    let (swallows, _kept) = black_hole().await?;
    let running = service(&memory(), "echo").handle(echo()).start().await?;
    let client = client(&memory());
    let begun = std::time::Instant::now();
    let call = client.call::<_, Raw>("echo", "Echo.Call", Raw::from("hi"));
    let both = format!("{swallows}, {}", running.address());
    assert_eq!(call.address(both).retry(Retry::Never).await?, Raw::from("hi"));
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(250), "the first had its head start: {took:?}");
    assert!(took < Duration::from_secs(3), "and no more than that: {took:?}");
    running.stop().await
}

#[tokio::test]
async fn a_server_that_asks_not_to_be_tried_again_is_not() -> Result<()> {
    let registry = memory();
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    let running = service(&registry, "flaky")
        .endpoint("Echo.Call", move |_: Context, stop: Raw| {
            counted.fetch_add(1, Ordering::SeqCst);
            let error = Error::unavailable("busy").with_retry_after(Duration::from_millis(1));
            async move {
                let asked = if stop.0.is_empty() { error } else { error.without_retry() };
                Result::<Raw>::Err(asked)
            }
        })
        .start()
        .await?;
    let client = client(&registry);
    for (request, wanted) in [("", 3), ("stop", 1)] {
        let call = client.call::<_, Raw>("flaky", "Echo.Call", Raw::from(request));
        let error = call.idempotent(true).await.expect_err("it is busy");
        assert_eq!(error.code(), Code::Unavailable, "{error}");
        assert_eq!(runs.swap(0, Ordering::SeqCst), wanted, "{request:?}");
    }
    running.stop().await
}

#[tokio::test]
async fn a_black_hole_fails_after_the_dial_timeout() -> Result<()> {
    let (address, _kept) = black_hole().await?;
    let client = Client::builder()
        .registry(memory())
        .dial_timeout(Duration::from_millis(50))
        .retry(Retry::Never)
        .build()?;
    let call = client.call::<_, Raw>("x", "Echo.Call", Raw::default()).address(address);
    let error = call.await.expect_err("no server accepts");
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.detail().contains("within 50ms"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_deadline_shrinks_over_hops_and_is_never_extended() -> Result<()> {
    let registry = memory();
    let leaf = service(&registry, "leaf")
        .endpoint("Echo.Call", |cx: Context, _: Raw| async move {
            let left = cx.remaining().map_or(u128::MAX, |left| left.as_millis());
            Ok(Raw::from(left.to_string()))
        })
        .start()
        .await?;
    let inner = client(&registry);
    let relay = service(&registry, "relay")
        .endpoint("Echo.Call", move |_: Context, request: Raw| {
            let inner = inner.clone();
            async move {
                let call = inner.call::<_, Raw>("leaf", "Echo.Call", request);
                call.timeout(Duration::from_secs(60)).await
            }
        })
        .start()
        .await?;
    let outer = client(&registry);
    let left: Raw = outer
        .call("relay", "Echo.Call", Raw::default())
        .timeout(Duration::from_millis(700))
        .await?;
    let left: u128 = String::from_utf8_lossy(&left.0).parse().expect("milliseconds");
    assert!(left <= 700, "{left} ms are more than the caller gave");
    relay.stop().await?;
    leaf.stop().await
}

#[tokio::test]
async fn giving_up_cancels_the_handler() -> Result<()> {
    let registry = memory();
    let (ended, mut over) = tokio::sync::mpsc::channel(1);
    let running = service(&registry, "slow")
        .endpoint("Echo.Call", move |cx: Context, request: Raw| {
            let ended = ended.clone();
            async move {
                tokio::spawn(async move {
                    let _ = ended.send("running").await;
                    cx.cancelled().await;
                    let _ = ended.send("cancelled").await;
                });
                std::future::pending::<()>().await;
                Ok(request)
            }
        })
        .start()
        .await?;
    let client = client(&registry);
    let pending = tokio::spawn(async move { call(&client, "slow").await });
    assert_eq!(over.recv().await, Some("running"));
    pending.abort();
    assert_eq!(over.recv().await, Some("cancelled"));
    running.stop().await
}
