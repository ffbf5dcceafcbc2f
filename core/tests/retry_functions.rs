//! Functions of the program that decide whether a call is tried again, and how long it waits before.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expects by failing")]

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use micro::resilience::{Backoff, Retry};
use micro::server::Endpoint;
use micro::{Client, Code, Compression, Context, Error, Raw, Result};
use tokio::time::Instant;

mod support;
use support::{client, memory, service};

/// `Echo.Call` that fails every time, and counts.
fn failing(code: Code) -> (Endpoint, Arc<AtomicUsize>) {
    let count: Arc<AtomicUsize> = Arc::default();
    let counted = count.clone();
    let endpoint = Endpoint::unary("Echo.Call", move |_: Context, _: Raw| {
        counted.fetch_add(1, SeqCst);
        async move { Err::<Raw, _>(Error::new(code, "not today")) }
    });
    (endpoint, count)
}

#[tokio::test]
async fn a_retry_function_sees_the_call_and_its_own_error_is_the_callers() -> Result<()> {
    let registry = memory();
    let (endpoint, count) = failing(Code::NotFound);
    let running = service(&registry, "echo").handle(endpoint).start().await?;
    let seen: Arc<Mutex<Vec<_>>> = Arc::default();
    let asked = seen.clone();
    let ask = Retry::ask(move |failed| {
        asked.lock().expect("the list").push(failed.clone());
        async move {
            // It may take its time.
            tokio::task::yield_now().await;
            match failed.attempt {
                0 | 1 => Ok(true),
                _ => Err(Error::new(Code::Aborted, "enough").with_source(failed.error)),
            }
        }
    });
    let client = client(&registry);
    for compression in [None, Some(Compression::Gzip)] {
        let mut call = client.call::<_, Raw>("echo", "Echo.Call", Raw::from("hi"));
        if let Some(compression) = compression {
            call = call.compression(compression);
        }
        let call = call.retry(ask.clone()).retries(9).backoff(Backoff::None);
        let error = call.metadata("tenant", "blue").await.expect_err("it fails each time");
        assert_eq!((error.code(), error.detail()), (Code::Aborted, "enough"));
        assert_eq!(error.origin().expect("where").attempts, 3);
        assert_eq!(count.swap(0, SeqCst), 3);
        let seen = std::mem::take(&mut *seen.lock().expect("the list"));
        for (attempt, failed) in (0..).zip(&seen) {
            assert_eq!((&*failed.service, &*failed.endpoint), ("echo", "Echo.Call"));
            assert_eq!((failed.error.code(), failed.attempt), (Code::NotFound, attempt));
            assert_eq!(failed.metadata.get("tenant"), Some("blue"));
            assert_eq!(failed.message.as_deref(), Some(&b"hi"[..]));
            assert!(failed.context.is_none() && !failed.idempotent);
        }
        assert_eq!(seen.len(), 3);
    }
    let never = client.call::<_, Raw>("echo", "Echo.Call", Raw::default());
    let error = never.retry(Retry::ask(|_| async { Ok(false) })).await.expect_err("at once");
    assert_eq!((error.code(), count.load(SeqCst)), (Code::NotFound, 1));
    running.stop().await
}

#[tokio::test]
async fn a_retry_function_sees_the_inbound_call() -> Result<()> {
    let registry = memory();
    let (endpoint, _) = failing(Code::Unavailable);
    let inner = service(&registry, "echo").handle(endpoint).start().await?;
    let outer = service(&registry, "outer")
        .endpoint("Outer.Call", |context: Context, request: Raw| async move {
            let ask = Retry::ask(|failed| async move {
                let outer = failed.context.map(|context| context.endpoint().to_owned());
                Err(Error::not_found(outer.unwrap_or_default()))
            });
            context.client()?.call::<_, Raw>("echo", "Echo.Call", request).retry(ask).await
        })
        .start()
        .await?;
    let call = client(&registry).call::<_, Raw>("outer", "Outer.Call", Raw::default());
    assert_eq!(call.await.expect_err("not found").detail(), "Outer.Call");
    outer.stop().await?;
    inner.stop().await
}

#[tokio::test(start_paused = true)]
async fn a_retry_function_that_waits_is_ended_by_the_deadline() -> Result<()> {
    // No service: the first attempt fails before the network.
    let client = Client::builder().registry(memory()).address("10.255.255.1:1");
    let client = client.network(Arc::new(micro::network::Memory::new())).build()?;
    let call = client.call::<_, Raw>("echo", "Echo.Call", Raw::default());
    let began = Instant::now();
    let waits = Retry::ask(|_| std::future::pending());
    let error = call.retry(waits).timeout(Duration::from_secs(2)).await.expect_err("it is late");
    assert_eq!((error.code(), began.elapsed().as_secs()), (Code::DeadlineExceeded, 2));
    Ok(())
}

#[tokio::test]
async fn always_tries_again_whatever_the_failure() -> Result<()> {
    let registry = memory();
    let (endpoint, count) = failing(Code::PermissionDenied);
    let running = service(&registry, "echo").handle(endpoint).start().await?;
    let call = client(&registry).call::<_, Raw>("echo", "Echo.Call", Raw::default());
    let error = call.retry(Retry::Always).retries(3).backoff(Backoff::None).await;
    assert_eq!(error.expect_err("denied").code(), Code::PermissionDenied);
    assert_eq!(count.load(SeqCst), 4);
    running.stop().await
}

#[tokio::test]
async fn a_backoff_function_says_the_wait_before_each_attempt_after_the_first() -> Result<()> {
    let registry = memory();
    let (endpoint, count) = failing(Code::Unavailable);
    let running = service(&registry, "echo").handle(endpoint.idempotent()).start().await?;
    let asked: Arc<Mutex<Vec<u32>>> = Arc::default();
    let log = asked.clone();
    let backoff = Backoff::custom(move |attempt| {
        log.lock().expect("the list").push(attempt);
        Duration::from_millis(20)
    });
    let client = Client::builder().registry(registry).backoff(backoff).retries(3).build()?;
    let call = || client.call::<_, Raw>("echo", "Echo.Call", Raw::default());
    let began = Instant::now();
    call().await.expect_err("unavailable");
    assert_eq!(count.swap(0, SeqCst), 4);
    assert!(began.elapsed() >= Duration::from_millis(60), "{:?}", began.elapsed());
    assert_eq!(std::mem::take(&mut *asked.lock().expect("the list")), [1, 2, 3]);
    // A call's own comes before that of its client, and a wait beyond the deadline is none.
    let long = call().backoff(Backoff::custom(|_| Duration::from_secs(3600)));
    assert_eq!(long.await.expect_err("unavailable").code(), Code::Unavailable);
    assert_eq!((count.load(SeqCst), asked.lock().expect("the list").len()), (1, 0));
    running.stop().await
}
