//! How many connections a client keeps, and for how long.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use micro::client::ClientBuilder;
use micro::network::{Io, Listener, Memory, Network};
use micro::registry::Registry as _;
use micro::server::Endpoint;
use micro::{Client, Code, Raw, Result, Service, Streaming, registry};

use super::Pipes;
use super::support::{call, echo, held};

/// A client over the pipes of `network` with other settings.
fn client_of(
    network: &Arc<Pipes>,
    registry: &Arc<registry::Memory>,
    set: impl FnOnce(ClientBuilder) -> ClientBuilder,
) -> Client {
    let builder = Client::builder().registry(registry.clone()).network(network.clone());
    set(builder).build().expect("a client")
}

async fn serve(network: &Arc<Pipes>, registry: &Arc<registry::Memory>, name: &str) -> Service {
    let (held, _) = held();
    let endless = |_: micro::Context, _: Raw| async {
        Ok(stream::iter([Ok(Raw::default())]).chain(stream::pending()))
    };
    Service::builder(name)
        .registry(registry.clone())
        .network(network.clone())
        .handle_signals(false)
        .propagation(Duration::ZERO)
        .handle(held)
        .handle(Endpoint::unary("Echo.Fast", |_: micro::Context, request: Raw| async {
            Ok::<_, micro::Error>(request)
        }))
        .handle(Endpoint::server_stream("Echo.Watch", endless))
        .start()
        .await
        .expect("the service starts")
}

async fn fast(client: &Client, name: &str) -> Result<Raw> {
    client.call(name, "Echo.Fast", Raw::from("hi")).await
}

#[tokio::test(start_paused = true)]
async fn connections_without_calls_are_closed_in_time() -> Result<()> {
    for (set, quiet, idle) in [
        (None, 299, Duration::from_secs(300)),
        (Some(Duration::from_secs(10)), 9, Duration::from_secs(10)),
    ] {
        let (network, registry) = (Arc::new(Pipes::default()), Arc::new(registry::Memory::new()));
        let running = serve(&network, &registry, "echo").await;
        let client = client_of(&network, &registry, |builder| match set {
            Some(idle) => builder.idle_timeout(idle),
            None => builder,
        });
        let open = || network.callers.open.load(SeqCst);
        // Used now and then, it is not idle.
        for _ in 0..3 {
            fast(&client, "echo").await?;
            tokio::time::sleep(Duration::from_secs(quiet)).await;
            assert_eq!(open(), 1, "{quiet} s are not enough");
        }
        tokio::time::sleep(idle / 2).await;
        assert_eq!(open(), 0, "nothing for {:?}", idle * 3 / 2);
        // The next call has another.
        fast(&client, "echo").await?;
        assert_eq!(open(), 1);
        running.stop().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn connections_with_calls_or_streams_are_not_idle() -> Result<()> {
    let (network, registry) = (Arc::new(Pipes::default()), Arc::new(registry::Memory::new()));
    let running = serve(&network, &registry, "echo").await;
    let client = client_of(&network, &registry, |b| b.idle_timeout(Duration::from_secs(10)));
    let open = || network.callers.open.load(SeqCst);
    let mut watch: Streaming<Raw> =
        client.server_stream("echo", "Echo.Watch", Raw::default()).await?;
    watch.message().await?;
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(open(), 1, "a stream is open on it");
    let call = client.call::<_, Raw>("echo", "Echo.Call", Raw::default()).no_timeout();
    let calling = tokio::spawn(call.send());
    drop(watch);
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(open(), 1, "a call waits on it");
    calling.abort();
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(open(), 0, "no call uses it any more");
    let kept = client_of(&network, &registry, |builder| builder.idle_timeout(None));
    fast(&kept, "echo").await?;
    tokio::time::sleep(Duration::from_secs(36_000)).await;
    assert_eq!(open(), 1, "told to keep it");
    running.stop().await
}

#[tokio::test(start_paused = true)]
async fn connections_to_nodes_that_left_the_registry_are_closed() -> Result<()> {
    let (network, registry) = (Arc::new(Pipes::default()), Arc::new(registry::Memory::new()));
    let running = serve(&network, &registry, "echo").await;
    let client = client_of(&network, &registry, |builder| builder);
    fast(&client, "echo").await?;
    let mut watch: Streaming<Raw> =
        client.server_stream("echo", "Echo.Watch", Raw::default()).await?;
    watch.message().await?;
    let record = registry.get("echo").await?.remove(0);
    registry.deregister(&record).await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(network.callers.open.load(SeqCst), 1, "a stream is open on it");
    drop(watch);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(network.callers.open.load(SeqCst), 0, "the node is no more");
    running.stop().await
}

#[tokio::test(start_paused = true)]
async fn connections_of_a_client_are_bounded_and_the_idlest_gives_way() -> Result<()> {
    let (network, registry) = (Arc::new(Pipes::default()), Arc::new(registry::Memory::new()));
    let mut fleet = Vec::new();
    for index in 0..6 {
        fleet.push(serve(&network, &registry, &format!("echo-{index}")).await);
    }
    let client = client_of(&network, &registry, |builder| builder.max_connections(3));
    for round in 0..3 {
        for index in 0..6 {
            fast(&client, &format!("echo-{index}")).await?;
            let open = network.callers.open.load(SeqCst);
            assert!(open <= 3, "{open} connections in round {round}");
        }
    }
    let mut watches = Vec::new();
    for index in 0..3 {
        let name = format!("echo-{index}");
        let watch: Streaming<Raw> =
            client.server_stream(&name, "Echo.Watch", Raw::default()).await?;
        watches.push(watch);
    }
    let error = fast(&client, "echo-4").await.expect_err("all are in use");
    assert_eq!(error.code(), Code::Unavailable, "{error}");
    assert!(error.detail().contains("max_connections"), "{error}");
    fast(&client, "echo-2").await?;
    watches.pop();
    fast(&client, "echo-4").await?;
    for running in fleet {
        running.stop().await?;
    }
    Ok(())
}

/// Pipes on which a forged address swallows what is sent there, and never answers.
#[derive(Debug, Default)]
struct Forged {
    inner: Memory,
    under_way: Arc<AtomicUsize>,
    most: AtomicUsize,
}

struct UnderWay(Arc<AtomicUsize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

#[async_trait::async_trait]
impl Network for Forged {
    async fn connect(&self, address: &str) -> io::Result<Io> {
        let under_way = self.under_way.fetch_add(1, SeqCst) + 1;
        let _under_way = UnderWay(self.under_way.clone());
        self.most.fetch_max(under_way, SeqCst);
        if address.starts_with("10.9.") {
            std::future::pending::<()>().await;
        }
        self.inner.connect(address).await
    }

    async fn bind(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        self.inner.bind(address).await
    }
}

#[tokio::test(start_paused = true)]
async fn few_unknown_nodes_are_dialed_at_once_and_calls_go_to_known_ones() -> Result<()> {
    let network = Arc::new(Forged::default());
    let registry = Arc::new(registry::Memory::new());
    let running = Service::builder("shop")
        .registry(registry.clone())
        .network(network.clone())
        .handle_signals(false)
        .handle(echo())
        .start()
        .await?;
    let client = Client::builder().registry(registry.clone()).network(network.clone()).build()?;
    call(&client, "shop").await?;
    let record = registry.get("shop").await?.remove(0);
    let forged = (0..4_000).map(|index| registry::Node {
        id: format!("shop-forged-{index}"),
        address: format!("10.9.{}.{}:80", index / 250, index % 250),
        metadata: registry::Labels::new(),
    });
    let forged = registry::Service { nodes: forged.collect(), ..record };
    registry.register(&forged, None).await?;
    let mut failed = 0;
    for _ in 0..20 {
        let calls = (0..100).map(|_| call(&client, "shop"));
        failed += join_all(calls).await.iter().filter(|outcome| outcome.is_err()).count();
    }
    let most = network.most.load(SeqCst);
    assert!(most <= 16, "{most} connections were in the making");
    assert!(failed <= 20 * 16, "{failed} of 2000 calls waited for nodes that are none");
    running.stop().await
}
