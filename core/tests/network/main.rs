//! The whole framework over pipes inside the process: what holds over TCP holds here.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expects by failing")]

mod own;
#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use micro::network::{Memory, Network as _};
use micro::resilience::Backoff;
use micro::service::ServiceBuilder;
use micro::{
    Client, ClientTls, Code, Context, Error, Raw, Result, ServerTls, Service, Streaming, registry,
};
use support::{call, echo, held};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Services and callers that share a network and a registry.
#[derive(Default)]
struct Fleet {
    network: Arc<Memory>,
    registry: Arc<registry::Memory>,
}

impl Fleet {
    fn service(&self, name: &str) -> ServiceBuilder {
        Service::builder(name)
            .registry(self.registry.clone())
            .network(self.network.clone())
            .handle_signals(false)
    }

    fn client(&self) -> Client {
        Client::builder()
            .registry(self.registry.clone())
            .network(self.network.clone())
            .build()
            .expect("a client")
    }
}

fn text(raw: &Raw) -> &str {
    std::str::from_utf8(&raw.0).expect("text")
}

#[tokio::test]
async fn a_service_is_called_without_a_socket() -> Result<()> {
    let fleet = Fleet::default();
    let running = fleet.service("echo").handle(echo()).start().await?;
    assert!(running.address().ip().is_loopback());
    assert_eq!(running.node().address, running.address().to_string());
    // Nothing of the system listens there.
    assert!(tokio::net::TcpStream::connect(running.address()).await.is_err());
    assert_eq!(call(&fleet.client(), "echo").await?, Raw::from("hi"));
    assert_eq!(call(running.client(), "echo").await?, Raw::from("hi"));
    running.stop().await
}

#[tokio::test]
async fn names_are_addresses() -> Result<()> {
    let fleet = Fleet::default();
    let running =
        fleet.service("echo").address("greeter.example:80").handle(echo()).start().await?;
    assert_eq!(call(&fleet.client(), "echo").await?, Raw::from("hi"));
    let client = fleet.client();
    let fixed = client.call::<_, Raw>("echo", "Echo.Call", Raw::from("hi"));
    assert_eq!(fixed.address("greeter.example:80").await?, Raw::from("hi"));
    running.stop().await
}

#[tokio::test]
async fn two_networks_do_not_meet() -> Result<()> {
    let fleet = Fleet::default();
    let running = fleet.service("echo").handle(echo()).start().await?;
    let elsewhere = Fleet { registry: fleet.registry.clone(), ..Fleet::default() };
    let error = call(&elsewhere.client(), "echo").await.expect_err("no server listens there");
    assert_eq!(error.code(), Code::Unavailable, "{error}");
    running.stop().await
}

#[tokio::test]
async fn messages_larger_than_a_pipe_pass_both_ways() -> Result<()> {
    let fleet = Fleet::default();
    let running = fleet.service("echo").handle(echo()).start().await?;
    let client = fleet.client();
    let mut callers = JoinSet::new();
    for i in 0..8_u8 {
        let client = client.clone();
        callers.spawn(async move {
            let large = Raw(vec![i; 1 << 20].into());
            let back: Raw = client.call("echo", "Echo.Call", large.clone()).await?;
            assert!(back == large, "what came back is what was sent");
            Ok::<_, Error>(())
        });
    }
    while let Some(outcome) = callers.join_next().await {
        outcome.expect("the caller runs")?;
    }
    running.stop().await
}

#[tokio::test]
async fn streams_run_in_both_directions_and_end_in_order() -> Result<()> {
    let fleet = Fleet::default();
    let running = fleet
        .service("echo")
        .bidi_stream(
            "Echo.Chat",
            |_: Context, requests: Streaming<Raw>| async move { Ok(requests) },
        )
        .start()
        .await?;
    let sent: Vec<_> = (0..200).map(|i| Raw::from(i.to_string())).collect();
    let client = fleet.client();
    let mut replies: Streaming<Raw> =
        client.bidi_stream("echo", "Echo.Chat", stream::iter(sent.clone())).await?;
    let mut received = Vec::new();
    while let Some(reply) = replies.next().await {
        received.push(reply?);
    }
    assert_eq!(received, sent);
    running.stop().await
}

#[tokio::test]
async fn a_stream_whose_caller_leaves_is_cancelled_at_the_handler() -> Result<()> {
    let fleet = Fleet::default();
    let left = Arc::new(Notify::new());
    let seen = left.clone();
    let running = fleet
        .service("echo")
        .server_stream("Echo.Watch", move |cx: Context, request: Raw| {
            let seen = seen.clone();
            async move {
                tokio::spawn(async move {
                    cx.cancelled().await;
                    seen.notify_one();
                });
                Ok(stream::iter([Ok(request)]).chain(stream::pending()))
            }
        })
        .start()
        .await?;
    let mut replies: Streaming<Raw> =
        fleet.client().server_stream("echo", "Echo.Watch", Raw::from("hi")).await?;
    assert_eq!(text(&replies.next().await.expect("a reply")?), "hi");
    drop(replies);
    left.notified().await;
    running.stop().await
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_call_on_both_sides() -> Result<()> {
    let fleet = Fleet::default();
    let (ended, mut over) = tokio::sync::mpsc::channel(1);
    let running = fleet
        .service("stuck")
        .endpoint("Echo.Call", move |cx: Context, request: Raw| {
            let ended = ended.clone();
            async move {
                tokio::spawn(async move {
                    cx.cancelled().await;
                    let _ = ended.send(()).await;
                });
                std::future::pending::<()>().await;
                Ok(request)
            }
        })
        .start()
        .await?;
    let begun = Instant::now();
    let client = fleet.client();
    let call = client.call::<_, Raw>("stuck", "Echo.Call", Raw::default());
    let error = call.timeout(Duration::from_secs(3)).await.expect_err("no answer comes");
    assert_eq!(error.code(), Code::DeadlineExceeded, "{error}");
    let took = begun.elapsed();
    assert!((2_999..3_100).contains(&took.as_millis()), "{took:?}");
    over.recv().await.expect("the handler's context ended");
    running.stop().await
}

#[tokio::test(start_paused = true)]
async fn the_stop_waits_for_running_calls_and_refuses_new_ones() -> Result<()> {
    let fleet = Fleet::default();
    let (endpoint, held) = held();
    let running = Arc::new(fleet.service("slow").handle(endpoint).start().await?);
    let client = fleet.client();
    let pending = tokio::spawn({
        let client = client.clone();
        async move { call(&client, "slow").await }
    });
    held.entered.notified().await;
    let stopping = tokio::spawn({
        let running = running.clone();
        async move { running.stop().await }
    });
    // Paused time moves only when no task has anything to do: the listener is gone by then.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!stopping.is_finished(), "a call is still running");
    let refused = fleet.network.connect(&running.address().to_string()).await;
    assert_eq!(refused.expect_err("closed").kind(), std::io::ErrorKind::ConnectionRefused);
    held.release.notify_one();
    assert_eq!(pending.await.expect("the call ends")?, Raw::from("hi"));
    stopping.await.expect("the stop ends")?;
    let error = call(&client, "slow").await.expect_err("no server is there");
    assert!(error.code() == Code::Unavailable, "{error}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn calls_that_outlive_the_grace_period_are_cut_off() -> Result<()> {
    let fleet = Fleet::default();
    let (endpoint, held) = held();
    let running =
        fleet.service("stuck").grace(Duration::from_secs(3)).handle(endpoint).start().await?;
    let client = fleet.client();
    let pending = tokio::spawn(async move { call(&client, "stuck").await });
    held.entered.notified().await;
    let begun = Instant::now();
    running.stop().await?;
    // The grace period and the time for callers to hear of the end.
    assert!((3_000..3_300).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    let error = pending.await.expect("the call ends").expect_err("cut off");
    assert_eq!(error.code(), Code::Unavailable, "{error}");
    Ok(())
}

#[tokio::test]
async fn a_rolling_restart_under_load_fails_no_call() -> Result<()> {
    let fleet = Fleet::default();
    let node = || fleet.service("fleet").handle(echo()).start();
    let mut nodes = [node().await?, node().await?, node().await?];
    let client = fleet.client();
    let (over, made) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let mut callers = JoinSet::new();
    for _ in 0..8 {
        let (client, over, made) = (client.clone(), over.clone(), made.clone());
        callers.spawn(async move {
            let calls = async {
                loop {
                    if let Err(error) = call(&client, "fleet").await {
                        return error;
                    }
                    made.fetch_add(1, Ordering::SeqCst);
                }
            };
            tokio::select! {
                error = calls => Err(error),
                () = over.notified() => Ok(()),
            }
        });
    }
    for old in &mut nodes {
        let before = made.load(Ordering::SeqCst);
        let fresh = node().await?;
        std::mem::replace(old, fresh).stop().await?;
        assert!(made.load(Ordering::SeqCst) > before, "callers went on meanwhile");
    }
    over.notify_waiters();
    while let Some(outcome) = callers.join_next().await {
        outcome.expect("the caller runs")?;
    }
    for node in nodes {
        node.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_connection_that_is_too_old_is_replaced_without_a_failed_call() -> Result<()> {
    let fleet = Fleet::default();
    let running = fleet
        .service("echo")
        .server(|server| server.max_connection_age(Duration::from_millis(5)))
        .handle(echo())
        .start()
        .await?;
    let client = fleet.client();
    let end = Instant::now() + Duration::from_millis(100);
    while Instant::now() < end {
        call(&client, "echo").await?;
    }
    running.stop().await
}

#[tokio::test]
async fn a_node_that_is_gone_is_replaced_within_the_call() -> Result<()> {
    let fleet = Fleet::default();
    let alive = fleet.service("fleet").handle(echo()).start().await?;
    let dead = fleet.service("fleet").handle(echo()).start().await?;
    drop(dead);
    let client = fleet.client();
    for _ in 0..20 {
        let call = client.call::<_, Raw>("fleet", "Echo.Call", Raw::from("hi")).idempotent(false);
        assert_eq!(call.backoff(Backoff::None).await?, Raw::from("hi"));
    }
    alive.stop().await
}

#[tokio::test]
async fn tls_verifies_names_as_over_tcp() -> Result<()> {
    let fleet = Fleet::default();
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["greeter.example".to_owned()]).expect("a certificate");
    let (certificate, key) = (cert.pem(), signing_key.serialize_pem());
    let running = fleet
        .service("echo")
        .address("greeter.example:8443")
        .advertise("greeter.example:8443")
        .tls(ServerTls::new(certificate.as_bytes(), key.as_bytes())?)
        .handle(echo())
        .start()
        .await?;
    let client = Client::builder()
        .registry(fleet.registry.clone())
        .network(fleet.network.clone())
        .tls(ClientTls::trusting(certificate.as_bytes())?)
        .build()?;
    assert_eq!(call(&client, "echo").await?, Raw::from("hi"));
    let other = client.call::<_, Raw>("echo", "Echo.Call", Raw::from("hi"));
    let error = other.address(running.address().to_string()).await.expect_err("another name");
    assert_eq!(error.code(), Code::Unavailable, "{error}");
    running.stop().await
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_nothing_is_dropped() -> Result<()> {
    let fleet = Fleet::default();
    let running = fleet
        .service("echo")
        .server(|server| server.handshake_timeout(Duration::from_secs(4)))
        .handle(echo())
        .start()
        .await?;
    for said in [&b""[..], b"PRI * HT"] {
        let begun = Instant::now();
        let mut peer = fleet.network.connect(&running.address().to_string()).await?;
        peer.write_all(said).await?;
        assert_eq!(peer.read(&mut [0]).await?, 0, "the server hangs up");
        assert_eq!(begun.elapsed().as_secs(), 4);
    }
    running.stop().await
}
