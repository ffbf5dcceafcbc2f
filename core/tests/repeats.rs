//! What calls cost nodes that do not take them: repeats of all kinds together are bounded.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expects by failing")]

mod support;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use futures_util::future::join_all;
use h2::Reason;
use micro::network::{Io, Listener, Memory, Network};
use micro::resilience::Retry;
use micro::selector::{Filter, strategy};
use micro::server::Endpoint;
use micro::{Client, Code, Context, Error, Raw, Result, Service, registry};
use support::echo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::sleep;

const CALLS: usize = 300;
/// A tenth of the calls, and what a quiet caller may repeat in ten seconds.
const REPEATS: usize = CALLS / 10 + 100;

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicUsize,
    requests: AtomicUsize,
}

/// A node that behaves in this way on each of its connections.
async fn node<F>(
    network: &Memory,
    name: &str,
    counts: &Arc<Counts>,
    behave: impl Fn(Io, Arc<Counts>) -> F + Send + 'static,
) -> String
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = network.bind(&format!("{name}:80")).await.expect("a free name");
    let counts = counts.clone();
    tokio::spawn(async move {
        while let Ok((io, _)) = listener.accept().await {
            counts.connections.fetch_add(1, SeqCst);
            tokio::spawn(behave(io, counts.clone()));
        }
    });
    format!("{name}:80")
}

/// Refuses every request unread.
async fn refuse(io: Io, counts: Arc<Counts>) {
    let Ok(mut connection) = h2::server::handshake(io).await else { return };
    while let Some(Ok((_, mut response))) = connection.accept().await {
        counts.requests.fetch_add(1, SeqCst);
        response.send_reset(Reason::REFUSED_STREAM);
    }
}

/// Goes away at the first request, and says that it has served none.
async fn go_away(mut io: Io, counts: Arc<Counts>) {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let talk = async {
        io.write_all(&SETTINGS).await?;
        io.read_exact(&mut [0; 24]).await?;
        loop {
            let mut head = [0; 9];
            io.read_exact(&mut head).await?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            io.read_exact(&mut vec![0; length]).await?;
            if head[3] == 1 {
                counts.requests.fetch_add(1, SeqCst);
                io.write_all(&GOAWAY).await?;
                return io.shutdown().await;
            }
        }
    };
    let _: io::Result<()> = talk.await;
}

fn client(network: &Memory) -> Client {
    let network = Arc::new(network.clone());
    let registry = Arc::new(registry::Memory::new());
    Client::builder().registry(registry).network(network).build().expect("a client")
}

async fn call(client: &Client, addresses: &[String]) -> Result<Raw> {
    let call = client.call::<_, Raw>("shop", "Echo.Call", Raw::default()).idempotent(true);
    addresses.iter().fold(call, |call, address| call.address(address)).await
}

#[tokio::test(start_paused = true)]
async fn nodes_that_refuse_every_request_are_asked_a_tenth_more() {
    for size in [1, 10] {
        let (network, counts) = (Memory::new(), Arc::new(Counts::default()));
        let mut nodes = Vec::new();
        for index in 0..size {
            nodes.push(node(&network, &format!("node-{index}"), &counts, refuse).await);
        }
        let client = client(&network);
        for outcome in join_all((0..CALLS).map(|_| call(&client, &nodes))).await {
            assert_eq!(outcome.expect_err("all refuse").code(), Code::Unavailable);
        }
        let requests = counts.requests.load(SeqCst);
        assert!((CALLS..=CALLS + REPEATS).contains(&requests), "{size} nodes: {requests} requests");
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_that_go_away_before_they_serve_are_not_hammered() {
    for size in [1, 10] {
        let (network, counts) = (Memory::new(), Arc::new(Counts::default()));
        let mut nodes = Vec::new();
        for index in 0..size {
            nodes.push(node(&network, &format!("node-{index}"), &counts, go_away).await);
        }
        let client = client(&network);
        for outcome in join_all((0..CALLS).map(|_| call(&client, &nodes))).await {
            assert!(outcome.is_err());
        }
        let most = CALLS + REPEATS;
        for (what, count) in [("requests", &counts.requests), ("connections", &counts.connections)]
        {
            let count = count.load(SeqCst);
            assert!(count <= most, "{size} nodes: {count} {what} for {CALLS} calls");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn repeats_wait() {
    let (network, counts) = (Memory::new(), Arc::new(Counts::default()));
    let node = node(&network, "node", &counts, refuse).await;
    let begun = tokio::time::Instant::now();
    assert!(call(&client(&network), &[node]).await.is_err());
    assert_eq!(counts.requests.load(SeqCst), 3);
    assert!(begun.elapsed() >= Duration::from_millis(50 + 300), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn nodes_that_cannot_be_reached_cost_a_call_nothing() -> Result<()> {
    let (network, counts) = (Memory::new(), Arc::new(Counts::default()));
    let running = Service::builder("shop")
        .registry(Arc::new(registry::Memory::new()))
        .network(Arc::new(network.clone()))
        .address("alive:80")
        .handle_signals(false)
        .handle(echo())
        .start()
        .await?;
    let nodes = ["dead-1:80", "dead-2:80", "alive:80"].map(str::to_owned);
    for name in ["dead-1:80", "dead-2:80"] {
        drop(network.bind(name).await.expect("a name"));
    }
    let client = client(&network);
    for outcome in join_all((0..CALLS).map(|_| call(&client, &nodes))).await {
        outcome?;
    }
    drop(counts);
    running.stop().await
}

/// A network on which no node can be reached, after a while.
#[derive(Debug, Default)]
struct Unreachable(AtomicUsize);

#[async_trait::async_trait]
impl Network for Unreachable {
    async fn connect(&self, _: &str) -> io::Result<Io> {
        self.0.fetch_add(1, SeqCst);
        sleep(Duration::from_secs(1)).await;
        Err(io::ErrorKind::HostUnreachable.into())
    }

    async fn bind(&self, _: &str) -> io::Result<Box<dyn Listener>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_for_one_connection_fail_with_it() -> Result<()> {
    let network = Arc::new(Unreachable::default());
    let registry = Arc::new(registry::Memory::new());
    let client = Client::builder().registry(registry).network(network.clone()).build()?;
    let calls = (0..50).map(|_| {
        let call = client.call::<_, Raw>("shop", "Echo.Call", Raw::default());
        call.address("node:80").retry(Retry::Never).send()
    });
    for outcome in join_all(calls).await {
        let error = outcome.map(drop).expect_err("no node is there");
        assert_eq!(error.code(), Code::Unavailable, "{error}");
        assert!(error.detail().contains("cannot connect"), "{error}");
    }
    assert_eq!(network.0.load(SeqCst), 1, "one attempt was enough to know");
    Ok(())
}

/// The share of `calls` that goes to the one of three nodes which answers at once with `code`, while the others take 10 ms.
async fn share(code: Code, strategy_name: &str, calls: usize) -> Result<f64> {
    let registry = Arc::new(registry::Memory::new());
    let network = Arc::new(Memory::new());
    let asked = Arc::new(AtomicUsize::new(0));
    let mut fleet = Vec::new();
    for index in 0..3 {
        let asked = asked.clone();
        let endpoint = Endpoint::unary("Echo.Call", move |_: Context, request: Raw| {
            let asked = asked.clone();
            async move {
                if index == 0 {
                    asked.fetch_add(1, SeqCst);
                    return Err(Error::new(code, "at once"));
                }
                sleep(Duration::from_millis(10)).await;
                Ok(request)
            }
        });
        let builder = Service::builder("shop").registry(registry.clone()).network(network.clone());
        fleet.push(builder.handle_signals(false).handle(endpoint).start().await?);
    }
    let client = Client::builder()
        .registry(registry)
        .network(network)
        .strategy(strategy(strategy_name)?)
        .retry(Retry::Never)
        .build()?;
    let caller = |_: usize| {
        let client = client.clone();
        async move {
            for _ in 0..calls / 5 {
                let _: Result<Raw> = client.call("shop", "Echo.Call", Raw::default()).await;
            }
        }
    };
    join_all((0..5).map(caller)).await;
    Ok(asked.load(SeqCst) as f64 / calls as f64)
}

#[tokio::test(start_paused = true)]
async fn a_node_that_fails_at_once_does_not_draw_calls() -> Result<()> {
    fastrand::seed(7);
    for code in [
        Code::Cancelled,
        Code::Unknown,
        Code::DeadlineExceeded,
        Code::ResourceExhausted,
        Code::Unimplemented,
        Code::Internal,
        Code::Unavailable,
        Code::DataLoss,
    ] {
        for (strategy, most) in [("p2c", 0.3), ("random", 0.45), ("round_robin", 0.45)] {
            let share = share(code, strategy, 300).await?;
            assert!(share <= most, "{code:?} with {strategy}: {share:.2} of all calls");
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn answers_of_the_service_are_no_fault_of_the_node() -> Result<()> {
    fastrand::seed(7);
    for code in [
        Code::InvalidArgument,
        Code::NotFound,
        Code::AlreadyExists,
        Code::PermissionDenied,
        Code::FailedPrecondition,
        Code::Aborted,
        Code::OutOfRange,
        Code::Unauthenticated,
    ] {
        let share = share(code, "p2c", 300).await?;
        assert!(share > 0.2, "{code:?}: a node that answers is not left out, but got {share:.2}");
    }
    Ok(())
}

#[tokio::test]
async fn a_version_that_fails_is_still_called_by_those_who_ask_for_it() -> Result<()> {
    let registry = support::memory();
    let running = support::service(&registry, "shop")
        .version("2")
        .endpoint("Echo.Call", |_: Context, _: Raw| async {
            Result::<Raw>::Err(Error::internal("broken"))
        })
        .start()
        .await?;
    let client = support::client(&registry);
    for _ in 0..20 {
        let call = client.call::<_, Raw>("shop", "Echo.Call", Raw::default());
        let error = call.filter(Filter::version("2")).await.expect_err("it is broken");
        assert_eq!(error.code(), Code::Internal);
    }
    running.stop().await
}
