//! A network of the user's own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use micro::network::{Io, Listener, Memory, Network};
use micro::server::Endpoint;
use micro::{Client, Context, Raw, Result, Service, registry};

use super::support::call;

/// A network of one's own: counts what passes.
#[derive(Debug, Default)]
struct Counted {
    inner: Memory,
    connected: AtomicUsize,
    accepted: Arc<AtomicUsize>,
}

struct CountedListener {
    inner: Box<dyn Listener>,
    accepted: Arc<AtomicUsize>,
}

#[async_trait::async_trait]
impl Network for Counted {
    async fn connect(&self, address: &str) -> std::io::Result<Io> {
        self.connected.fetch_add(1, Ordering::SeqCst);
        self.inner.connect(address).await
    }

    async fn bind(&self, address: &str) -> std::io::Result<Box<dyn Listener>> {
        let inner = self.inner.bind(address).await?;
        Ok(Box::new(CountedListener { inner, accepted: self.accepted.clone() }))
    }
}

#[async_trait::async_trait]
impl Listener for CountedListener {
    async fn accept(&self) -> std::io::Result<(Io, SocketAddr)> {
        let accepted = self.inner.accept().await?;
        self.accepted.fetch_add(1, Ordering::SeqCst);
        Ok(accepted)
    }

    fn address(&self) -> std::io::Result<SocketAddr> {
        self.inner.address()
    }
}

#[tokio::test]
async fn any_network_will_do_and_calls_share_its_connections() -> Result<()> {
    let registry = Arc::new(registry::Memory::new());
    let network = Arc::new(Counted::default());
    let running = Service::builder("echo")
        .registry(registry.clone())
        .network(network.clone())
        .handle(Endpoint::unary("Echo.Call", |_: Context, r: Raw| async { Ok(r) }))
        .start()
        .await?;
    let client = Client::builder().registry(registry).network(network.clone()).build()?;
    for _ in 0..50 {
        call(&client, "echo").await?;
    }
    assert_eq!(network.connected.load(Ordering::SeqCst), 1);
    assert_eq!(network.accepted.load(Ordering::SeqCst), 1);
    running.stop().await
}
