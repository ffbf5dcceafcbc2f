//! A registry inside this process: for tests, and for services that share one process.
//!
//! Expiry is driven by one timer that exists only while some node has a time to live, so an idle
//! registry costs nothing and a paused clock in a test drives it exactly.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::{Action, Change, Endpoint, Labels, Node, Registry, Service, WatchSender, Watcher};
use crate::error::Result;
use crate::named::ByName;

/// Registry of this process. Clones are handles on the same records.
///
/// ```
/// use micro::registry::{Memory, Node, Registry, Service};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> micro::Result<()> {
/// let registry = Memory::new();
/// let mut greeter = Service::new("greeter", "latest");
/// greeter.nodes.push(Node { id: "greeter-1".into(), address: "127.0.0.1:9000".into(), ..Node::default() });
/// registry.register(&greeter, None).await?;
/// assert_eq!(registry.get("greeter").await?, [greeter]);
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
pub struct Memory {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Wakes the timer when a node will expire before the one it waits for. Apart from the rest,
    /// so that the timer can wait without keeping the registry alive.
    sooner: Arc<Notify>,
}

#[derive(Default)]
struct State {
    services: BTreeMap<String, BTreeMap<String, Version>>,
    expiries: BTreeSet<Expiry>,
    watchers: Vec<WatchSender>,
    timer: Option<AbortOnDropHandle<()>>,
}

#[derive(Default)]
struct Version {
    metadata: Labels,
    endpoints: Vec<Endpoint>,
    nodes: BTreeMap<String, Entry>,
}

struct Entry {
    node: Node,
    expires: Option<Instant>,
}

/// When a node expires, then which: service, version, id.
type Expiry = (Instant, String, String, String);

/// Registries that `memory://name` shares within this process, as long as they are held.
static NAMED: LazyLock<ByName<Shared>> = LazyLock::new(ByName::default);

/// Makes what this file shares in a process, see [`crate::fork`].
pub(crate) fn warm_up() {
    LazyLock::force(&NAMED);
}

/// In a child of a fork.
pub(crate) fn in_child() {
    NAMED.begin_anew();
}

impl Memory {
    /// An empty registry that only this handle and its clones see.
    pub fn new() -> Self {
        Self::default()
    }

    /// A registry that holds `services` from the start, for ever.
    pub fn preloaded(services: impl IntoIterator<Item = Service>) -> Self {
        let registry = Self::new();
        let mut state = registry.lock();
        for service in services {
            state.register(&service, None);
        }
        drop(state);
        registry
    }

    /// The registry that this process knows by `name`, as `memory://name` does. It lives, with its
    /// records, while a handle on it is held.
    pub fn named(name: &str) -> Self {
        Self { shared: NAMED.get(name) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Memory")
            .field("services", &state.services.len())
            .field("watchers", &state.watchers.len())
            .finish()
    }
}

#[async_trait]
impl Registry for Memory {
    async fn register(&self, service: &Service, ttl: Option<Duration>) -> Result<()> {
        service.validate()?;
        let mut state = self.lock();
        let now = state.expire();
        let first = state.expiries.first().map(|expiry| expiry.0);
        state.register(service, ttl.and_then(|ttl| now.checked_add(ttl)));
        let next = state.expiries.first().map(|expiry| expiry.0);
        if next.is_some() && (first.is_none() || next < first) {
            self.shared.sooner.notify_one();
        }
        self.shared.ensure_timer(&mut state);
        Ok(())
    }

    async fn deregister(&self, service: &Service) -> Result<()> {
        let mut state = self.lock();
        state.expire();
        let ids: Vec<&str> = service.nodes.iter().map(|node| node.id.as_str()).collect();
        state.remove(&service.name, &service.version, &ids);
        Ok(())
    }

    async fn get(&self, name: &str) -> Result<Vec<Service>> {
        let mut state = self.lock();
        state.expire();
        match state.services.get(name) {
            Some(versions) => {
                Ok(versions.iter().map(|(label, version)| version.record(name, label)).collect())
            }
            None => Err(Service::not_found(name)),
        }
    }

    async fn list(&self) -> Result<Vec<Service>> {
        let mut state = self.lock();
        state.expire();
        let versions = state.services.iter().flat_map(|(name, versions)| {
            versions.iter().map(move |(label, version)| version.record(name, label))
        });
        Ok(versions.collect())
    }

    async fn watch(&self, service: Option<&str>) -> Result<Watcher> {
        let mut state = self.lock();
        state.expire();
        state.watchers.retain(|watcher| !watcher.is_closed());
        let (sender, watcher) = Watcher::channel(service);
        state.watchers.push(sender);
        self.shared.ensure_timer(&mut state);
        // The reader may outlive every handle and still be told of expiries.
        Ok(watcher.with_guard(self.clone()))
    }

    fn name(&self) -> &'static str {
        "memory"
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // State is consistent at every await-free step, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the timer when something can expire and none runs, also after its runtime ended.
    fn ensure_timer(self: &Arc<Self>, state: &mut State) {
        if state.expiries.is_empty() || state.timer.as_ref().is_some_and(|t| !t.is_finished()) {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            let timer = run_timer(Arc::downgrade(self), Arc::clone(&self.sooner));
            state.timer = Some(AbortOnDropHandle::new(runtime.spawn(timer)));
        }
    }
}

async fn run_timer(shared: Weak<Shared>, sooner: Arc<Notify>) {
    loop {
        let next = {
            let Some(shared) = shared.upgrade() else { return };
            let mut state = shared.lock();
            state.expire();
            match state.expiries.first() {
                Some((at, ..)) => *at,
                None => {
                    state.timer = None;
                    return;
                }
            }
        };
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            () = sooner.notified() => {}
        }
    }
}

impl State {
    fn register(&mut self, service: &Service, expires: Option<Instant>) {
        let (name, label) = (&service.name, &service.version);
        let version =
            self.services.entry(name.clone()).or_default().entry(label.clone()).or_default();
        let replaced =
            version.metadata != service.metadata || version.endpoints != service.endpoints;
        if replaced {
            version.metadata.clone_from(&service.metadata);
            version.endpoints.clone_from(&service.endpoints);
        }

        let mut created = version.without_nodes(name, label);
        let mut updated = created.clone();
        if replaced {
            let given = |id: &str| service.nodes.iter().any(|node| node.id == id);
            let others = version.nodes.values().filter(|entry| !given(&entry.node.id));
            updated.nodes.extend(others.map(|entry| entry.node.clone()));
        }
        for node in &service.nodes {
            let before =
                version.nodes.insert(node.id.clone(), Entry { node: node.clone(), expires });
            if let Some(at) = before.as_ref().and_then(|entry| entry.expires) {
                self.expiries.remove(&(at, name.clone(), label.clone(), node.id.clone()));
            }
            if let Some(at) = expires {
                self.expiries.insert((at, name.clone(), label.clone(), node.id.clone()));
            }
            match before {
                None => created.nodes.push(node.clone()),
                Some(entry) if replaced || entry.node != *node => updated.nodes.push(node.clone()),
                Some(_) => {}
            }
        }
        self.announce(Action::Update, updated);
        self.announce(Action::Create, created);
    }

    fn remove(&mut self, name: &str, label: &str, ids: &[&str]) {
        let Some(versions) = self.services.get_mut(name) else { return };
        let Some(version) = versions.get_mut(label) else { return };
        let mut removed = version.without_nodes(name, label);
        for &id in ids {
            let Some(entry) = version.nodes.remove(id) else { continue };
            if let Some(at) = entry.expires {
                self.expiries.remove(&(at, name.to_owned(), label.to_owned(), id.to_owned()));
            }
            removed.nodes.push(entry.node);
        }
        if version.nodes.is_empty() {
            versions.remove(label);
        }
        if versions.is_empty() {
            self.services.remove(name);
        }
        self.announce(Action::Delete, removed);
    }

    /// Removes what is past its time, and says what time it is.
    fn expire(&mut self) -> Instant {
        let now = Instant::now();
        while self.expiries.first().is_some_and(|expiry| expiry.0 <= now) {
            if let Some((_, name, label, id)) = self.expiries.pop_first() {
                self.remove(&name, &label, &[&id]);
            }
        }
        now
    }

    fn announce(&mut self, action: Action, service: Service) {
        if !service.nodes.is_empty() {
            let change = Arc::new(Change { action, service });
            self.watchers.retain(|watcher| watcher.send(&change));
        }
    }
}

impl Version {
    fn without_nodes(&self, name: &str, label: &str) -> Service {
        Service {
            name: name.to_owned(),
            version: label.to_owned(),
            metadata: self.metadata.clone(),
            endpoints: self.endpoints.clone(),
            nodes: Vec::new(),
        }
    }

    fn record(&self, name: &str, label: &str) -> Service {
        let nodes = self.nodes.values().map(|entry| entry.node.clone()).collect();
        Service { nodes, ..self.without_nodes(name, label) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;
    use crate::registry::contract::Subject;

    crate::registry_contract!(|| {
        tokio::time::pause();
        let registry = Memory::new();
        Subject::new(registry.clone(), registry)
    });

    fn greeter(id: &str) -> Service {
        let node = Node { id: id.into(), address: "127.0.0.1:1".into(), ..Node::default() };
        Service { nodes: vec![node], ..Service::new("greeter", "1") }
    }

    #[tokio::test(start_paused = true)]
    async fn timer_runs_only_while_something_can_expire() {
        let registry = Memory::new();
        registry.register(&greeter("for-ever"), None).await.unwrap();
        assert!(registry.lock().timer.is_none());
        let mut watcher = registry.watch(None).await.unwrap();
        registry.register(&greeter("brief"), Some(Duration::from_secs(5))).await.unwrap();
        assert!(registry.lock().timer.is_some());
        assert_eq!(watcher.next().await.unwrap().action, Action::Create);
        assert_eq!(watcher.next().await.unwrap().action, Action::Delete);
        tokio::task::yield_now().await;
        assert!(registry.lock().timer.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn shorter_time_to_live_is_not_held_up_by_a_longer_one() {
        let registry = Memory::new();
        let mut watcher = registry.watch(None).await.unwrap();
        registry.register(&greeter("long"), Some(Duration::from_secs(60))).await.unwrap();
        tokio::task::yield_now().await;
        registry.register(&greeter("short"), Some(Duration::from_secs(1))).await.unwrap();
        let start = Instant::now();
        while watcher.next().await.unwrap().action != Action::Delete {}
        assert_eq!(start.elapsed().as_secs(), 1);
    }

    #[test]
    fn expiry_survives_the_end_of_the_runtime_that_ran_the_timer() {
        let registry = Memory::new();
        let runtime =
            || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime().block_on(async {
            registry.register(&greeter("a"), Some(Duration::from_millis(20))).await.unwrap();
        });
        runtime().block_on(async {
            let mut watcher = registry.watch(None).await.unwrap();
            if registry.get("greeter").await.is_ok() {
                assert_eq!(watcher.next().await.unwrap().action, Action::Delete);
            }
            assert_eq!(registry.get("greeter").await.unwrap_err().code(), Code::NotFound);
        });
    }

    #[tokio::test]
    async fn preloaded_services_are_found() {
        let registry = Memory::preloaded([greeter("a")]);
        assert_eq!(registry.get("greeter").await.unwrap(), [greeter("a")]);
    }

    #[tokio::test]
    async fn name_is_shared_while_it_is_held_and_forgotten_after() {
        let name = uuid::Uuid::new_v4().to_string();
        let first = Memory::named(&name);
        first.register(&greeter("a"), None).await.unwrap();
        assert!(Memory::named(&name).get("greeter").await.is_ok());
        drop(first);
        assert!(Memory::named(&name).get("greeter").await.is_err());
    }
}
