//! A registry that hangs or panics in any of its methods harms neither the service nor its callers: both
//! start, go on and end in time, and find each other again once it works.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expects by failing")]

mod support;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use micro::registry::{self, Memory, Node, Registry, Watcher, Witness};
use micro::{Client, Result, Service};
use support::{call, echo};
use tokio::time::{Instant, sleep, timeout};

/// The methods of a registry. The first six are asynchronous.
const METHODS: [&str; 10] = [
    "register",
    "deregister",
    "get",
    "list",
    "watch",
    "ready",
    "name",
    "tells_each_interface",
    "suspect",
    "witness",
];

/// What a method does wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    Hangs,
    Panics,
    /// It hangs, and panics when it is given up.
    PanicsWhenDropped,
}

/// A registry with one method that is at fault until it is mended.
#[derive(Debug)]
struct Faulty {
    inner: Memory,
    method: &'static str,
    fault: Fault,
    mended: AtomicBool,
}

/// Panics when it is dropped.
#[derive(Debug)]
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a bug of the registry: a destructor");
    }
}

impl Faulty {
    fn new(method: &'static str, fault: Fault) -> Arc<Self> {
        Arc::new(Self { inner: Memory::new(), method, fault, mended: AtomicBool::new(false) })
    }

    fn at_fault(&self, method: &str) -> bool {
        self.method == method && !self.mended.load(Ordering::SeqCst)
    }

    fn told(&self, method: &str) {
        assert!(!self.at_fault(method), "a bug of the registry: {method}");
    }

    async fn asked(&self, method: &str) {
        if self.at_fault(method) {
            let _bomb = match self.fault {
                Fault::Panics => panic!("a bug of the registry: {method}"),
                Fault::PanicsWhenDropped => Some(Bomb),
                Fault::Hangs => None,
            };
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl Registry for Faulty {
    async fn register(&self, service: &registry::Service, ttl: Option<Duration>) -> Result<()> {
        self.asked("register").await;
        self.inner.register(service, ttl).await
    }

    async fn deregister(&self, service: &registry::Service) -> Result<()> {
        self.asked("deregister").await;
        self.inner.deregister(service).await
    }

    async fn get(&self, name: &str) -> Result<Vec<registry::Service>> {
        self.asked("get").await;
        self.inner.get(name).await
    }

    async fn list(&self) -> Result<Vec<registry::Service>> {
        self.asked("list").await;
        self.inner.list().await
    }

    async fn watch(&self, service: Option<&str>) -> Result<Watcher> {
        self.asked("watch").await;
        let watcher = self.inner.watch(service).await?;
        Ok(if self.fault == Fault::PanicsWhenDropped { watcher.with_guard(Bomb) } else { watcher })
    }

    async fn ready(&self) -> Result<()> {
        self.asked("ready").await;
        self.inner.ready().await
    }

    fn name(&self) -> &'static str {
        self.told("name");
        "faulty"
    }

    fn tells_each_interface(&self) -> bool {
        self.told("tells_each_interface");
        false
    }

    fn suspect(&self, service: &str, node: &Node) {
        self.told("suspect");
        self.inner.suspect(service, node);
    }

    fn witness(&self, witness: Weak<dyn Witness>) {
        self.told("witness");
        self.inner.witness(witness);
    }
}

#[test]
fn no_method_of_a_registry_is_left_out_here() {
    let source = include_str!("../src/registry/mod.rs");
    let (_, registry) = source.split_once("pub trait Registry").expect("the trait");
    let (body, _) = registry.split_once("\n}\n").expect("its end");
    let names = body.lines().filter_map(|line| {
        let line = line.trim_start();
        let declared = line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn "))?;
        Some(declared.split_once('(')?.0)
    });
    assert_eq!(names.collect::<BTreeSet<_>>(), METHODS.into());
}

/// The outcome of `work`, which must have one within two minutes.
async fn ends<T>(what: impl Debug, work: impl Future<Output = T>) -> T {
    let ended = timeout(Duration::from_secs(120), work).await;
    ended.unwrap_or_else(|_| panic!("{what:?} did not end"))
}

#[tokio::test(start_paused = true)]
async fn a_method_that_hangs_or_panics_harms_neither_a_service_nor_its_callers() -> Result<()> {
    for (position, method) in METHODS.into_iter().enumerate() {
        for fault in [Fault::Panics, Fault::Hangs, Fault::PanicsWhenDropped] {
            if fault == Fault::Panics || position < 6 {
                service_and_callers(method, fault).await?;
            }
        }
    }
    Ok(())
}

async fn service_and_callers(method: &'static str, fault: Fault) -> Result<()> {
    let case = (method, fault);
    let registry = Faulty::new(method, fault);
    let network = Arc::new(micro::network::Memory::new());
    let service = Service::builder("echo")
        .registry(registry.clone())
        .network(network.clone())
        .address("127.0.0.1:0")
        .register_interval(Duration::from_secs(5))
        .register_timeout(Duration::from_secs(2))
        .handle(echo());
    let service = ends(("start", case), service.start()).await?;
    let client = Client::builder().registry(registry.clone()).network(network).build()?;

    // With the fault, everything ends.
    let _ = ends(("call", case), call(&client, "echo")).await;
    let _ = ends(("health", case), client.health("echo")).await;
    let _ = ends(("list", case), client.registry().list()).await;
    let _ = ends(("watch", case), client.registry().watch(None)).await;
    client.registry().suspect("echo", &Node::default());
    let _ = client.registry().name();
    sleep(Duration::from_secs(12)).await;

    // Without it, the service is registered by the next heartbeat, and the client hears of it by itself.
    registry.mended.store(true, Ordering::SeqCst);
    let again = registry::Service { nodes: vec![service.node()], ..(*service.record()).clone() };
    registry.inner.deregister(&again).await?;
    let begun = Instant::now();
    while let Err(error) = call_registered(&registry.inner, &client).await {
        assert!(begun.elapsed() < Duration::from_secs(60), "{case:?}: {error}");
        sleep(Duration::from_millis(100)).await;
    }
    registry.mended.store(false, Ordering::SeqCst);
    let stopped = ends(("stop", case), service.stop()).await;
    assert_eq!(stopped.is_err(), method == "deregister", "{case:?}: {stopped:?}");
    Ok(())
}

async fn call_registered(registry: &Memory, client: &Client) -> Result<()> {
    registry.get("echo").await?;
    call(client, "echo").await.map(|_| ())
}
