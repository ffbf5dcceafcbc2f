use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::intern::Interner;
use super::*;
use crate::error::{Code, Error, Result};
use crate::registry::{Action, Change, Endpoint, Memory, Node, Registry, Service, Watcher};
use crate::selector::Outcome;

/// A registry that can be switched off, and that counts what it is asked.
#[derive(Debug, Clone, Default)]
struct Switched {
    inner: Memory,
    counts: Arc<Counts>,
    off: Arc<watch::Sender<bool>>,
}

#[derive(Debug, Default)]
struct Counts {
    gets: AtomicUsize,
    watches: AtomicUsize,
    /// Lookups take a moment.
    slow: AtomicBool,
}

impl Switched {
    fn switch(&self, on: bool) {
        self.off.send_replace(!on);
    }

    fn ask(&self) -> Result<()> {
        if *self.off.borrow() { Err(Error::unavailable("switched off")) } else { Ok(()) }
    }

    fn gets(&self) -> usize {
        self.counts.gets.load(SeqCst)
    }
}

#[async_trait]
impl Registry for Switched {
    async fn register(&self, service: &Service, ttl: Option<Duration>) -> Result<()> {
        self.inner.register(service, ttl).await
    }

    async fn deregister(&self, service: &Service) -> Result<()> {
        self.inner.deregister(service).await
    }

    async fn get(&self, name: &str) -> Result<Vec<Service>> {
        self.counts.gets.fetch_add(1, SeqCst);
        let records = self.inner.get(name).await;
        if self.counts.slow.load(SeqCst) {
            sleep(Duration::from_millis(50)).await;
        }
        self.ask()?;
        records
    }

    async fn list(&self) -> Result<Vec<Service>> {
        self.inner.list().await
    }

    async fn watch(&self, service: Option<&str>) -> Result<Watcher> {
        self.counts.watches.fetch_add(1, SeqCst);
        self.ask()?;
        let mut inner = self.inner.watch(service).await?;
        let (sender, watcher) = Watcher::channel(service);
        let mut off = self.off.subscribe();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    biased;
                    _ = off.wait_for(|off| *off) => return,
                    change = inner.next() => match change {
                        Ok(change) if sender.send(&Arc::new(change.clone())) => {}
                        _ => return,
                    },
                }
            }
        });
        Ok(watcher)
    }

    fn name(&self) -> &'static str {
        "switched"
    }
}

fn service(name: &str, version: &str, ids: &[&str]) -> Service {
    let node = |id: &&str| Node { id: (*id).into(), address: "h:1".into(), ..Node::default() };
    let endpoint = |name: &str, idempotent: &str| Endpoint {
        name: name.into(),
        metadata: [("idempotent".to_owned(), idempotent.to_owned())].into(),
        ..Endpoint::default()
    };
    Service {
        endpoints: vec![endpoint("Greeter.Hello", "true"), endpoint("Greeter.Bye", "false")],
        nodes: ids.iter().map(node).collect(),
        ..Service::new(name, version)
    }
}

async fn cached(service: &Service) -> (Switched, Cache, Arc<Snapshot>) {
    let registry = Switched::default();
    registry.register(service, None).await.unwrap();
    let cache = Cache::new(Arc::new(registry.clone()));
    let snapshot = cache.resolve(&service.name).await.unwrap();
    (registry, cache, snapshot)
}

fn ids(snapshot: &Snapshot) -> Vec<&str> {
    snapshot.nodes().iter().map(|node| node.id()).collect()
}

/// Lets every task run until all wait for time to pass.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

/// Waits, in paused time, until the cache holds what `wanted` says.
async fn until(cache: &Cache, name: &str, wanted: impl Fn(Option<&Snapshot>) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !wanted(cache.peek(name).as_deref()) {
        assert!(Instant::now() < deadline, "the cache never got there: {:?}", cache.peek(name));
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn second_lookup_does_not_touch_the_registry() {
    let (registry, cache, first) = cached(&service("greeter", "1", &["a", "b"])).await;
    let second = cache.resolve("greeter").await.unwrap();
    assert!(Arc::ptr_eq(&first, &second) && registry.gets() == 1);
    assert_eq!(cache.get("greeter").await.unwrap(), [service("greeter", "1", &["a", "b"])]);
}

#[tokio::test(start_paused = true)]
async fn callers_that_ask_at_once_share_one_read() {
    let registry = Switched::default();
    registry.counts.slow.store(true, SeqCst);
    registry.register(&service("greeter", "1", &["a"]), None).await.unwrap();
    let cache = Arc::new(Cache::new(Arc::new(registry.clone())));
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let cache = Arc::clone(&cache);
            tokio::spawn(async move { cache.resolve("greeter").await })
        })
        .collect();
    callers[0].abort();
    for caller in callers.into_iter().skip(1) {
        assert_eq!(ids(&caller.await.unwrap().unwrap()), ["a"]);
    }
    assert_eq!((registry.gets(), registry.counts.watches.load(SeqCst)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn changes_reach_the_snapshot() {
    let (registry, cache, _) = cached(&service("greeter", "1", &["a"])).await;
    registry.register(&service("greeter", "2", &["b"]), None).await.unwrap();
    settle().await;
    assert_eq!(ids(&cache.peek("greeter").unwrap()), ["a", "b"]);
    registry.deregister(&service("greeter", "1", &["a"])).await.unwrap();
    settle().await;
    assert_eq!(ids(&cache.peek("greeter").unwrap()), ["b"]);
    registry.deregister(&service("greeter", "2", &["b"])).await.unwrap();
    settle().await;
    assert!(cache.peek("greeter").is_none());
    assert_eq!(cache.resolve("greeter").await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn change_of_one_node_keeps_the_others_and_what_was_learned() {
    let mut greeter = service("greeter", "1", &["a", "b", "c"]);
    let (registry, cache, before) = cached(&greeter).await;
    let attempt = before.nodes()[1].begin();
    before.nodes()[1].begin().finish(Outcome::Refused);
    greeter.nodes[1].metadata.insert("zone".into(), "west".into());
    registry.register(&greeter, None).await.unwrap();
    settle().await;
    let after = cache.peek("greeter").unwrap();
    for kept in [0, 2] {
        assert!(Arc::ptr_eq(&before.nodes()[kept], &after.nodes()[kept]));
    }
    let changed = &after.nodes()[1];
    assert_eq!((changed.label("zone"), changed.in_flight()), (Some("west"), 1));
    assert!(changed.is_ejected(Instant::now()) && changed.is_same(&before.nodes()[1]));
    drop(attempt);
    assert_eq!(changed.in_flight(), 0);

    greeter.nodes[1].address = "h:2".into();
    registry.register(&greeter, None).await.unwrap();
    settle().await;
    assert!(!cache.peek("greeter").unwrap().nodes()[1].is_ejected(Instant::now()));
}

#[tokio::test(start_paused = true)]
async fn unknown_name_is_remembered_for_a_second_or_until_it_appears() {
    let (registry, cache, _) = cached(&service("greeter", "1", &["a"])).await;
    for _ in 0..10 {
        assert_eq!(cache.resolve("nobody").await.unwrap_err().code(), Code::Unavailable);
    }
    assert_eq!(registry.gets(), 2);
    sleep(Duration::from_secs(1)).await;
    cache.resolve("nobody").await.unwrap_err();
    assert_eq!(registry.gets(), 3);
    registry.register(&service("nobody", "1", &["n"]), None).await.unwrap();
    settle().await;
    assert_eq!(ids(&cache.resolve("nobody").await.unwrap()), ["n"]);
}

#[tokio::test(start_paused = true)]
async fn flood_of_unknown_names_leaves_nothing_behind() {
    let (registry, cache, _) = cached(&service("greeter", "1", &["a"])).await;
    for index in 0..3000 {
        cache.resolve(&format!("nobody-{index}")).await.unwrap_err();
    }
    assert_eq!((cache.table.len(), registry.gets()), (1, 3001));
    // The newest are still remembered, the oldest made room.
    cache.resolve("nobody-2999").await.unwrap_err();
    assert_eq!(registry.gets(), 3001);
    cache.resolve("nobody-0").await.unwrap_err();
    assert_eq!(registry.gets(), 3002);
}

#[tokio::test(start_paused = true)]
async fn last_known_nodes_stay_while_the_registry_is_down_and_are_renewed_after() {
    let (registry, cache, _) = cached(&service("greeter", "1", &["a", "b"])).await;
    registry.switch(false);
    settle().await;
    registry.deregister(&service("greeter", "1", &["a"])).await.unwrap();
    registry.register(&service("greeter", "2", &["c"]), None).await.unwrap();
    for _ in 0..30 {
        sleep(Duration::from_secs(1)).await;
        assert_eq!(ids(&cache.resolve("greeter").await.unwrap()), ["a", "b"]);
    }
    let watches = registry.counts.watches.load(SeqCst);
    assert!((6..20).contains(&watches), "{watches} attempts in 30 s are not a backoff");
    registry.switch(true);
    until(&cache, "greeter", |known| known.is_some_and(|known| ids(known) == ["b", "c"])).await;
}

#[tokio::test(start_paused = true)]
async fn service_that_vanished_during_the_outage_is_dropped_after_it() {
    let (registry, cache, _) = cached(&service("greeter", "1", &["a"])).await;
    registry.switch(false);
    settle().await;
    registry.deregister(&service("greeter", "1", &["a"])).await.unwrap();
    sleep(Duration::from_secs(5)).await;
    assert!(cache.peek("greeter").is_some());
    registry.switch(true);
    until(&cache, "greeter", |known| known.is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn lookup_of_an_unread_service_fails_at_once_while_the_registry_is_down() {
    let (registry, cache, _) = cached(&service("greeter", "1", &["a"])).await;
    registry.switch(false);
    settle().await;
    let start = Instant::now();
    assert_eq!(cache.resolve("other").await.unwrap_err().code(), Code::Unavailable);
    assert!(start.elapsed() < Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn change_during_a_read_is_not_lost() {
    let (registry, cache, _) = cached(&service("other", "1", &["x"])).await;
    registry.register(&service("greeter", "1", &["a", "b"]), None).await.unwrap();
    registry.counts.slow.store(true, SeqCst);
    let cache = Arc::new(cache);
    let lookup = tokio::spawn({
        let cache = Arc::clone(&cache);
        async move { cache.resolve("greeter").await }
    });
    sleep(Duration::from_millis(10)).await;
    registry.deregister(&service("greeter", "1", &["a"])).await.unwrap();
    registry.register(&service("greeter", "1", &["c"]), None).await.unwrap();
    assert_eq!(ids(&lookup.await.unwrap().unwrap()), ["b", "c"]);
    assert_eq!(registry.gets(), 2);
}

#[tokio::test(start_paused = true)]
async fn background_task_ends_with_the_cache() {
    let (registry, cache, _) = cached(&service("greeter", "1", &["a"])).await;
    let alive = Arc::strong_count(&registry.counts);
    drop(cache);
    settle().await;
    // The handle of the cache and that of its task are gone; the test keeps its own.
    assert!(alive > 1 && Arc::strong_count(&registry.counts) == 1);
}

#[test]
fn cache_goes_on_in_another_runtime() {
    let registry = Memory::preloaded([service("greeter", "1", &["a"]), service("b", "1", &["b"])]);
    let cache = Cache::new(Arc::new(registry));
    for name in ["greeter", "b"] {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        assert!(runtime.block_on(cache.resolve(name)).is_ok());
    }
}

#[test]
fn endpoints_are_found_by_version_or_any() {
    let old = service("greeter", "1", &["a"]);
    let mut new = service("greeter", "2", &["b"]);
    new.endpoints[0].metadata.clear();
    new.endpoints.push(Endpoint { name: "Greeter.New".into(), ..Endpoint::default() });
    let snapshot = Snapshot::of("greeter", &[old, new]);
    assert!(snapshot.endpoint(Some("1"), "Greeter.New").is_none());
    assert!(snapshot.endpoint(Some("2"), "Greeter.New").is_some());
    assert!(snapshot.endpoint(None, "Greeter.New").is_some());
    assert!(snapshot.is_idempotent(Some("1"), "Greeter.Hello"));
    assert!(!snapshot.is_idempotent(None, "Greeter.Hello"), "version 2 does not say so");
    assert!(!snapshot.is_idempotent(None, "Greeter.Unknown"));
}

#[test]
fn nodes_of_equal_versions_share_labels_and_endpoints() {
    let records = [service("greeter", "1", &["a", "b"])];
    let snapshot = Snapshot::of("greeter", &records);
    let [a, b] = snapshot.nodes() else { panic!("two nodes") };
    assert!(Arc::ptr_eq(a.release(), b.release()) && std::ptr::eq(a.labels(), b.labels()));
}

#[test]
fn deletion_of_a_version_leaves_the_others() {
    let records = [service("greeter", "1", &["a", "b"]), service("greeter", "2", &["c"])];
    let snapshot = Snapshot::of("greeter", &records);
    let whole = Change { action: Action::Delete, service: Service::new("greeter", "1") };
    assert_eq!(ids(&snapshot.changed(&whole, &mut Interner::default())), ["c"]);
}
