//! A server with too much to do: what it refuses, what it never refuses, and what callers make of it.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expects by failing")]

mod support;

use std::future::IntoFuture as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use micro::resilience::{Backoff, Limiter};
use micro::server::Endpoint;
use micro::{Client, Code, Context, Error, Raw, Result};
use serde_json::json;
use support::{call, client, held, memory, service};

#[tokio::test]
async fn a_full_server_answers_how_it_is() -> Result<()> {
    let registry = memory();
    let (endpoint, held) = held();
    let running = service(&registry, "full")
        .server(|server| server.max_concurrent_calls(1))
        .handle(endpoint)
        .start()
        .await?;
    let client = client(&registry);
    let first = tokio::spawn({
        let client = client.clone();
        async move { call(&client, "full").await }
    });
    held.entered.notified().await;
    let refused = call(&client, "full").await.expect_err("the server is full");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    for endpoint in ["/grpc.health.v1.Health/Check", "Debug.Health", "Debug.Stats", "Debug.Load"] {
        let probe = client.call::<_, Raw>("full", endpoint, Raw::default());
        probe.await.unwrap_or_else(|error| panic!("{endpoint}: {error}"));
    }
    let load: micro::Json<serde_json::Value> =
        client.call("full", "Debug.Load", micro::Json(json!({}))).await?;
    // The question is a call, too.
    assert_eq!((&load.0["in_flight"], &load.0["shed"]), (&json!("2"), &json!("1")), "{}", load.0);
    assert_eq!(load.0["endpoints"][0]["endpoint"], "Echo.Call");
    held.release.notify_one();
    first.await.expect("the call ends")?;
    running.stop().await
}

/// A fleet that refuses everything gets a tenth more than its callers asked for, no more.
#[tokio::test]
async fn refusals_are_not_amplified_by_retries() -> Result<()> {
    let registry = memory();
    let seen = Arc::new(AtomicU64::new(0));
    let counted = seen.clone();
    let refusing = Endpoint::unary("Echo.Call", move |_: Context, _: Raw| {
        counted.fetch_add(1, Ordering::Relaxed);
        async {
            let wait = Duration::from_millis(1);
            Err::<Raw, _>(Error::resource_exhausted("full").with_retry_after(wait))
        }
    });
    let running = service(&registry, "full").handle(refusing.idempotent()).start().await?;
    let client = Client::builder()
        .registry(registry.clone())
        .backoff(Backoff::None)
        .timeout(Duration::from_secs(60))
        .build()?;
    const CALLS: u64 = 3_000;
    for _ in 0..CALLS / 100 {
        join_all((0..100).map(|_| call(&client, "full"))).await;
    }
    let attempts = seen.load(Ordering::Relaxed);
    // The floor of the budget is 100 in ten seconds, and the run may last longer than one window.
    assert!(attempts <= CALLS * 11 / 10 + 100, "{attempts} attempts for {CALLS} calls");
    assert!(attempts > CALLS, "idempotent calls are tried again");
    running.stop().await
}

/// A handler with one worker of a millisecond, asked by many at once: with a deadline, callers are
/// refused early; without the limiter they wait in line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_are_refused_instead_of_waiting_until_it_is_too_late() -> Result<()> {
    for (limiter, refuses) in [(Limiter::adaptive(), true), (Limiter::off(), false)] {
        let registry = memory();
        let worker = Arc::new(tokio::sync::Semaphore::new(1));
        let running = service(&registry, "busy")
            .server(|server| server.limiter(limiter))
            .endpoint("Echo.Call", move |_: Context, request: Raw| {
                let worker = worker.clone();
                async move {
                    let _working = worker.acquire().await;
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    Ok(request)
                }
            })
            .start()
            .await?;
        let client = client(&registry);
        for _ in 0..60 {
            call(&client, "busy").await?;
        }
        let (mut refused, mut pushed_back) = (0, 0);
        for _ in 0..10 {
            let calls = (0..300).map(|_| {
                let call = client.call::<_, Raw>("busy", "Echo.Call", Raw::from("hi"));
                call.timeout(Duration::from_millis(400)).retries(0).into_future()
            });
            for error in join_all(calls).await.into_iter().filter_map(|outcome| outcome.err()) {
                if error.code() == Code::ResourceExhausted {
                    refused += 1;
                    pushed_back += u64::from(error.retry_after().is_some());
                }
            }
        }
        assert_eq!(running.server().shed() > 0, refuses, "{:?}", running.server().loads());
        assert_eq!(refused > 0, refuses);
        assert_eq!(pushed_back, refused, "a refusal says when to come back");
        running.stop().await?;
    }
    Ok(())
}
