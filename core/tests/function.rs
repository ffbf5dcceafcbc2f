//! Functions: services that serve one call or message, and end.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expects by failing")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use micro::broker::{Broker as _, Memory, Message};
use micro::registry::Registry as _;
use micro::{Client, Code, Context, Error, Json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

mod support;

const PATIENCE: Duration = Duration::from_secs(20);

/// A function that runs, and tells when it serves.
async fn started(
    registry: &Arc<micro::registry::Memory>,
    broker: &Memory,
    release: &Arc<Notify>,
    calls: &Arc<AtomicUsize>,
) -> JoinHandle<micro::Result<()>> {
    let serves = Arc::new(Notify::new());
    let (told, release, counted) = (serves.clone(), release.clone(), calls.clone());
    let messages = calls.clone();
    let function = support::service(registry, "resize")
        .broker(Arc::new(broker.clone()))
        .endpoint("Resize.Call", move |_: Context, Json(width): Json<u32>| {
            let (release, calls) = (release.clone(), counted.clone());
            async move {
                calls.fetch_add(1, Ordering::SeqCst);
                if width == 0 {
                    return Err(Error::invalid_argument("no width"));
                }
                release.notified().await;
                Ok(Json(width / 2))
            }
        })
        .subscribe("images", move |_: Context, Json(image): Json<u32>| {
            messages.fetch_add(1, Ordering::SeqCst);
            async move {
                assert_ne!(image, 0, "an image that cannot be resized");
                Ok(())
            }
        })
        .after_start(move || {
            told.notify_one();
            async { Ok(()) }
        });
    let running = tokio::spawn(function.run_once());
    timeout(PATIENCE, serves.notified()).await.expect("it starts");
    running
}

async fn call(client: &Client, width: u32) -> micro::Result<Json<u32>> {
    client.call("resize", "Resize.Call", Json(width)).retries(0).await
}

async fn ended(running: JoinHandle<micro::Result<()>>) {
    timeout(PATIENCE, running).await.expect("it ends").expect("without a panic").expect("in order");
}

#[tokio::test]
async fn a_function_answers_one_call_refuses_others_and_ends() {
    let (registry, broker) = (support::memory(), Memory::new());
    let (release, calls) = (Arc::new(Notify::new()), Arc::default());
    let client = support::client(&registry);
    let running = started(&registry, &broker, &release, &calls).await;
    let asking = client.clone();
    let first = tokio::spawn(async move { call(&asking, 8).await });
    while calls.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let second = call(&client, 10).await.expect_err("it has got its call");
    assert_eq!(second.code(), Code::Unavailable);
    assert!(!running.is_finished(), "it ended before it had answered");
    release.notify_one();
    assert_eq!(first.await.expect("ends").expect("an answer"), Json(4));
    ended(running).await;
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert!(registry.get("resize").await.is_err(), "it is still registered");
    // A failure is an answer as well.
    let running = started(&registry, &broker, &release, &calls).await;
    assert_eq!(call(&client, 0).await.expect_err("no width").code(), Code::InvalidArgument);
    ended(running).await;
}

#[tokio::test]
async fn one_message_ends_a_function_also_when_its_handler_panics() {
    let (registry, broker) = (support::memory(), Memory::new());
    let (release, calls) = (Arc::new(Notify::new()), Arc::<AtomicUsize>::default());
    for (round, image) in ["7", "0"].into_iter().enumerate() {
        let running = started(&registry, &broker, &release, &calls).await;
        let mut message = Message::new("images", image);
        message.content_type = Some("application/json".into());
        let handled = timeout(PATIENCE, broker.publish(message)).await.expect("in time");
        assert_eq!(handled.is_ok(), image == "7");
        ended(running).await;
        assert_eq!(calls.load(Ordering::SeqCst), round + 1);
    }
}

#[tokio::test]
async fn a_function_that_nothing_calls_ends_when_it_is_told_to() {
    let registry = support::memory();
    let token = tokio_util::sync::CancellationToken::new();
    let function = support::service(&registry, "resize").shutdown_on(token.clone());
    let running = tokio::spawn(function.run_once());
    token.cancel();
    ended(running).await;
}
