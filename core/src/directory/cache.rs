//! The reader's side: lookups that are answered from the table, or by the task that keeps it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::follow::{Follower, Request, Wanted};
use super::snapshot::{Snapshot, Table};
use crate::error::{Code, Error, Result};
use crate::registry::{Guarded, Node, Registry, Service, Watcher, Witness};

/// Longest that the registry may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Lookups that may wait for the background task to take them.
const REQUESTS: usize = 1024;

/// A cache in front of any registry. It is a [`Registry`] itself: lookups are answered from
/// snapshots, everything else is passed on.
///
/// The registry has 10 s for each request, which ends with `DEADLINE_EXCEEDED` then; one that panics ends
/// with `INTERNAL`.
///
/// A snapshot trails the registry by the time a watch event takes. The background task starts with
/// the first lookup, in the runtime of its caller, and ends when the cache is dropped.
pub struct Cache {
    registry: Arc<dyn Registry>,
    pub(super) table: Arc<Table>,
    requests: Mutex<Option<mpsc::Sender<Request>>>,
}

impl Cache {
    /// An empty cache in front of `registry`.
    pub fn new(registry: Arc<dyn Registry>) -> Self {
        let registry = Arc::new(Guarded::new(registry, PATIENCE));
        Self { registry, table: Arc::default(), requests: Mutex::default() }
    }

    /// What is known of `service`, at once; `None` before it was resolved and after its last node
    /// is gone. Takes no lock and allocates nothing.
    pub fn peek(&self, service: &str) -> Option<Arc<Snapshot>> {
        let table = self.table.pin();
        let snapshot = table.get(service)?;
        snapshot.mark_used();
        Some(Arc::clone(snapshot))
    }

    /// What is known of `service`, read from the registry if need be. Any number of callers that
    /// ask at once share one read.
    ///
    /// # Errors
    /// `UNAVAILABLE` when no live node has that name, with the reason
    /// [`NoNodes`](crate::Reason::NoNodes); that is remembered for a second unless the watch reports one
    /// sooner. `UNAVAILABLE` without a reason when the registry is down and nothing is known.
    pub async fn resolve(&self, service: &str) -> Result<Arc<Snapshot>> {
        match self.find(service).await {
            Err(error) if error.code() == Code::NotFound => Err(Service::no_nodes(service)),
            found => found,
        }
    }

    /// What is known of `service` once that is something else than `than`: waits for a node where there is none, and for the
    /// next change of what is known. Dropping the future ends the wait.
    ///
    /// # Errors
    /// What the registry says of the name; not that it is down, or knows no such service.
    pub(crate) async fn newer(
        &self,
        service: &str,
        than: Option<&Arc<Snapshot>>,
    ) -> Result<Arc<Snapshot>> {
        self.ask(service, Wanted::Newer(than.cloned())).await
    }

    async fn find(&self, service: &str) -> Result<Arc<Snapshot>> {
        match self.peek(service) {
            Some(snapshot) => Ok(snapshot),
            None => self.ask(service, Wanted::Any).await,
        }
    }

    async fn ask(&self, service: &str, wanted: Wanted) -> Result<Arc<Snapshot>> {
        let (waiter, answered) = oneshot::channel();
        let request = Request { service: service.into(), wanted, waiter };
        let ended = || Error::unavailable("the registry cache lost its runtime: resolve again");
        self.requests()?.send(request).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }

    /// The registry behind the cache, with the same deadline for each request.
    pub fn registry(&self) -> &Arc<dyn Registry> {
        &self.registry
    }

    /// The way to the background task, which is started when there is none.
    fn requests(&self) -> Result<mpsc::Sender<Request>> {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = requests.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let runtime = Handle::try_current().map_err(|error| {
            Error::failed_precondition("resolve services from within a tokio runtime")
                .with_source(error)
        })?;
        let (sender, receiver) = mpsc::channel(REQUESTS);
        let follower = Follower::new(Arc::clone(&self.registry), Arc::clone(&self.table));
        runtime.spawn(follower.run(receiver));
        Ok(requests.insert(sender).clone())
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("registry", &self.registry)
            .field("services", &self.table.len())
            .finish()
    }
}

#[async_trait]
impl Registry for Cache {
    async fn register(&self, service: &Service, ttl: Option<Duration>) -> Result<()> {
        self.registry.register(service, ttl).await
    }

    async fn deregister(&self, service: &Service) -> Result<()> {
        self.registry.deregister(service).await
    }

    /// Records made from the snapshot, free to be changed.
    async fn get(&self, name: &str) -> Result<Vec<Service>> {
        Ok(self.find(name).await?.records())
    }

    async fn list(&self) -> Result<Vec<Service>> {
        self.registry.list().await
    }

    async fn watch(&self, service: Option<&str>) -> Result<Watcher> {
        self.registry.watch(service).await
    }

    fn name(&self) -> &'static str {
        self.registry.name()
    }

    async fn ready(&self) -> Result<()> {
        self.registry.ready().await
    }

    fn tells_each_interface(&self) -> bool {
        self.registry.tells_each_interface()
    }

    fn suspect(&self, service: &str, node: &Node) {
        self.registry.suspect(service, node);
    }

    fn witness(&self, witness: Weak<dyn Witness>) {
        self.registry.witness(witness);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Notes what it is asked, and answers otherwise than a registry that leaves out a method.
    #[derive(Debug, Default)]
    struct Asked(Mutex<BTreeSet<&'static str>>);

    impl Asked {
        fn note(&self, method: &'static str) {
            self.0.lock().unwrap().insert(method);
        }
    }

    #[async_trait]
    impl Registry for Asked {
        async fn register(&self, _service: &Service, _ttl: Option<Duration>) -> Result<()> {
            self.note("register");
            Ok(())
        }

        async fn deregister(&self, _service: &Service) -> Result<()> {
            self.note("deregister");
            Ok(())
        }

        async fn get(&self, name: &str) -> Result<Vec<Service>> {
            self.note("get");
            Err(Service::not_found(name))
        }

        async fn list(&self) -> Result<Vec<Service>> {
            self.note("list");
            Ok(Vec::new())
        }

        async fn watch(&self, service: Option<&str>) -> Result<Watcher> {
            self.note("watch");
            Ok(Watcher::channel(service).1)
        }

        fn name(&self) -> &'static str {
            self.note("name");
            "asked"
        }

        async fn ready(&self) -> Result<()> {
            self.note("ready");
            Err(Error::failed_precondition("not before noon"))
        }

        fn tells_each_interface(&self) -> bool {
            self.note("tells_each_interface");
            true
        }

        fn suspect(&self, _service: &str, _node: &Node) {
            self.note("suspect");
        }

        fn witness(&self, _witness: Weak<dyn Witness>) {
            self.note("witness");
        }
    }

    #[derive(Debug)]
    struct Blind;

    impl Witness for Blind {
        fn vouches(&self, _address: &str) -> bool {
            false
        }
    }

    /// The methods of the trait, as its source has them.
    fn methods() -> BTreeSet<&'static str> {
        let source = include_str!("../registry/mod.rs");
        let (_, registry) = source.split_once("pub trait Registry").unwrap();
        let (body, _) = registry.split_once("\n}\n").unwrap();
        let names = body.lines().filter_map(|line| {
            let line = line.trim_start();
            let declared = line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn "))?;
            Some(declared.split_once('(')?.0)
        });
        names.collect()
    }

    #[tokio::test]
    async fn every_method_of_a_registry_reaches_the_one_behind_the_cache() {
        let asked = Arc::new(Asked::default());
        let cache = Cache::new(asked.clone());
        let service = Service::new("greeter", "1");
        cache.register(&service, None).await.unwrap();
        cache.deregister(&service).await.unwrap();
        assert_eq!(cache.get("greeter").await.unwrap_err().code(), Code::NotFound);
        assert!(cache.list().await.unwrap().is_empty());
        asked.0.lock().unwrap().remove("watch");
        cache.watch(None).await.unwrap();
        assert_eq!(cache.name(), "asked");
        assert_eq!(cache.ready().await.unwrap_err().code(), Code::FailedPrecondition);
        assert!(cache.tells_each_interface());
        cache.suspect("greeter", &Node::default());
        let witness: Arc<dyn Witness> = Arc::new(Blind);
        cache.witness(Arc::downgrade(&witness));
        let methods = methods();
        assert!(methods.len() >= 10, "the trait is not found: {methods:?}");
        assert_eq!(*asked.0.lock().unwrap(), methods);
    }
}
