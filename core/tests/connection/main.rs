//! What a connection does with the calls on it, seen from underneath.
#![allow(clippy::expect_used, reason = "a test says what it expects by failing")]

mod idle;
mod sharing;
#[path = "../support/mod.rs"]
mod support;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::join_all;
use micro::network::{Io, Listener, Memory, Network};
use micro::server::Endpoint;
use micro::{Client, Code, Raw, Result, Service, registry};
use support::{call, echo, held};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout};

/// What was done with one side's ends of all connections.
#[derive(Debug, Default)]
struct Seen {
    open: AtomicUsize,
    writes: AtomicUsize,
    /// From now on, nothing that is written arrives.
    mute: AtomicBool,
}

struct Tapped {
    inner: Io,
    seen: Arc<Seen>,
}

impl Tapped {
    fn over(inner: Io, seen: &Arc<Seen>) -> Io {
        seen.open.fetch_add(1, SeqCst);
        Io::new(Self { inner, seen: seen.clone() })
    }
}

impl Drop for Tapped {
    fn drop(&mut self) {
        self.seen.open.fetch_sub(1, SeqCst);
    }
}

impl AsyncRead for Tapped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.seen.mute.load(SeqCst) {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes));
        self.seen.writes.fetch_add(1, SeqCst);
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Pipes inside of the process that tell what is done with them.
#[derive(Debug, Default)]
struct Pipes {
    inner: Memory,
    callers: Arc<Seen>,
    servers: Arc<Seen>,
}

struct TappedListener {
    inner: Box<dyn Listener>,
    seen: Arc<Seen>,
}

#[async_trait::async_trait]
impl Network for Pipes {
    async fn connect(&self, address: &str) -> io::Result<Io> {
        Ok(Tapped::over(self.inner.connect(address).await?, &self.callers))
    }

    async fn bind(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        let inner = self.inner.bind(address).await?;
        Ok(Box::new(TappedListener { inner, seen: self.servers.clone() }))
    }
}

#[async_trait::async_trait]
impl Listener for TappedListener {
    async fn accept(&self) -> io::Result<(Io, SocketAddr)> {
        let (io, peer) = self.inner.accept().await?;
        Ok((Tapped::over(io, &self.seen), peer))
    }

    fn address(&self) -> io::Result<SocketAddr> {
        self.inner.address()
    }
}

/// A service over pipes and a client whose connections are probed ten times a second.
async fn pair(endpoint: Endpoint) -> Result<(Arc<Pipes>, Service, Client)> {
    let registry = Arc::new(registry::Memory::new());
    let network = Arc::new(Pipes::default());
    let running = Service::builder("echo")
        .registry(registry.clone())
        .network(network.clone())
        .handle_signals(false)
        .handle(endpoint)
        .start()
        .await?;
    let client = Client::builder()
        .registry(registry)
        .network(network.clone())
        .keepalive(Duration::from_millis(100))
        .keepalive_timeout(Duration::from_millis(100))
        .build()?;
    Ok((network, running, client))
}

// With a worker: its threads run what was woken last first.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn calls_made_at_once_share_their_writes() -> Result<()> {
    let (network, running, client) = pair(echo()).await?;
    call(&client, "echo").await?;
    for (side, seen) in [("callers", &network.callers), ("servers", &network.servers)] {
        seen.writes.store(0, SeqCst);
        let client = client.clone();
        let calls = tokio::spawn(async move {
            let made = (0..64).map(|_| {
                let client = client.clone();
                tokio::spawn(async move { call(&client, "echo").await })
            });
            join_all(made.collect::<Vec<_>>()).await
        });
        for reply in calls.await.expect("the callers run") {
            assert_eq!(reply.expect("the caller runs")?, Raw::from("hi"));
        }
        // The requests or the replies, acknowledgements of settings and windows.
        let writes = seen.writes.load(SeqCst);
        assert!((1..=16).contains(&writes), "64 calls took the {side} {writes} writes");
    }
    running.stop().await
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_falls_silent_is_found_out() -> Result<()> {
    let (endpoint, held) = held();
    let (network, running, client) = pair(endpoint).await?;
    let waiting = tokio::spawn({
        let client = client.clone();
        async move {
            let call = client.call::<_, Raw>("echo", "Echo.Call", Raw::from("hi"));
            call.no_timeout().retries(0).send().await
        }
    });
    held.entered.notified().await;
    let begun = Instant::now();
    network.servers.mute.store(true, SeqCst);
    let error = waiting.await.expect("the caller runs").expect_err("nothing comes any more");
    assert_eq!(error.code(), Code::Unavailable, "{error}");
    assert!(begun.elapsed() < Duration::from_secs(1), "it took {:?}", begun.elapsed());
    held.release.notify_one();
    running.stop().await
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_only_slow_is_not() -> Result<()> {
    let (endpoint, held) = held();
    let (network, running, client) = pair(endpoint).await?;
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.call::<_, Raw>("echo", "Echo.Call", Raw::from("hi")).no_timeout().await }
    });
    held.entered.notified().await;
    let before = network.callers.writes.load(SeqCst);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(network.callers.writes.load(SeqCst) > before + 10, "it was probed");
    held.release.notify_one();
    assert_eq!(waiting.await.expect("the caller runs")?, Raw::from("hi"));
    running.stop().await
}

#[tokio::test]
async fn connections_of_a_client_that_is_dropped_are_closed() -> Result<()> {
    let (network, running, client) = pair(echo()).await?;
    call(&client, "echo").await?;
    assert_eq!(network.callers.open.load(SeqCst), 1);
    drop(client);
    let closed = async {
        while network.callers.open.load(SeqCst) + network.servers.open.load(SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), closed).await.expect("both ends are closed");
    running.stop().await
}
