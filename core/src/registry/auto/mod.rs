//! The registry of a program that chose none: mDNS where multicast works, [`Local`] where it does not.
//!
//! The choice is made on first use and logged with its reason: two programs on one machine come to the
//! same one. It is looked at again every few seconds, because networks come and go: when multicast
//! begins or ends to work, and stays so for a while, the services of this process move. For
//! [`Pace::overlap`] they are in both registries, so that no client misses them while others move too;
//! watches go on, and are told then what is there no more.

mod relay;
mod told;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{OnceCell, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use self::relay::relay;
use self::told::Told;
use super::{Change, Local, Mdns, Node, Registry, Service, Watcher, Witness, Witnesses, mdns};
use crate::error::{Code, Error, Result};
use crate::interface::default_address;

/// Longest that a registry may take for one request of a move.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a look waits for its own packet: a busy machine must not seem to have lost its network.
const LOOK_PATIENCE: Duration = Duration::from_secs(1);

/// Zero-configuration registry; see the module of the same name for how it chooses.
#[derive(Debug)]
pub struct Auto {
    shared: Arc<Shared>,
    /// Begun with the first use.
    supervisor: OnceCell<AbortOnDropHandle<()>>,
}

/// How fast it looks and moves.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// Time between two looks at whether multicast works.
    look: Duration,
    /// Looks in a row that have to say the same before a move to mDNS, and before one away from it,
    /// which costs the view of every other machine.
    to_mdns: u32,
    to_local: u32,
    /// How long both registries are used after a move.
    overlap: Duration,
    /// Shortest time between two moves; doubled by each, up to the longest, and back to it when
    /// nothing moved for that long.
    stay: (Duration, Duration),
}

const PACE: Pace = Pace {
    look: Duration::from_secs(3),
    to_mdns: 2,
    to_local: 4,
    overlap: Duration::from_secs(15),
    stay: (Duration::from_secs(20), Duration::from_secs(600)),
};

#[derive(Debug)]
struct Shared {
    options: mdns::Options,
    pace: Pace,
    state: Mutex<State>,
    /// Those given to this registry; whatever it uses is given the same.
    witnesses: Witnesses,
    /// Told to watches.
    stage: watch::Sender<Option<Stage>>,
}

#[derive(Debug, Default)]
struct State {
    /// Left a moment ago, and used until others have left it too.
    previous: Option<Arc<dyn Registry>>,
    /// What is registered, by service, version and node.
    records: BTreeMap<Key, Record>,
    /// What callers were told of.
    told: Told,
}

type Key = (String, String, String);

#[derive(Debug, Clone)]
struct Record {
    /// With its one node.
    service: Service,
    ttl: Option<Duration>,
    /// Address it was registered with.
    told: String,
}

/// Where things stand.
#[derive(Debug, Clone)]
struct Stage {
    /// How often it has moved.
    moves: u64,
    registry: Arc<dyn Registry>,
    /// What the last move changed, once it is over.
    changes: Arc<[Arc<Change>]>,
    over: bool,
}

impl Default for Auto {
    fn default() -> Self {
        Self::with_options(mdns::Options::default())
    }
}

impl Auto {
    /// Tries mDNS on every interface.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tries mDNS with these options.
    pub fn with_options(options: mdns::Options) -> Self {
        Self::with_pace(options, PACE)
    }

    fn with_pace(options: mdns::Options, pace: Pace) -> Self {
        let (state, stage) = (Mutex::default(), watch::Sender::new(None));
        let witnesses = Witnesses::default();
        let shared = Arc::new(Shared { options, pace, state, witnesses, stage });
        Self { shared, supervisor: OnceCell::new() }
    }

    /// The registry of this moment; the first to ask chooses.
    async fn chosen(&self) -> Result<Arc<dyn Registry>> {
        let begin = async || {
            let registry = self.shared.choose().await?;
            let changes = Arc::new([]);
            let stage = Stage { moves: 0, registry, changes, over: true };
            self.shared.stage.send_replace(Some(stage));
            let supervise = supervise(self.shared.clone());
            Ok::<_, Error>(AbortOnDropHandle::new(tokio::spawn(supervise)))
        };
        self.supervisor.get_or_try_init(begin).await?;
        self.shared.current().ok_or_else(|| Error::internal("no registry was chosen"))
    }
}

impl Shared {
    async fn choose(&self) -> Result<Arc<dyn Registry>> {
        let reason = match self.open_mdns().await {
            Ok(mdns) => return Ok(mdns),
            Err(reason) => reason,
        };
        let local = Local::new().map_err(|error| {
            Error::unavailable(format!(
                "no registry works here: mDNS: {}; local: {}; set MICRO_REGISTRY",
                reason.detail(),
                error.detail()
            ))
        })?;
        tracing::warn!(
            reason = reason.detail(),
            folder = %local.path().display(),
            "mDNS does not work here: services are found on this machine only"
        );
        Ok(Arc::new(local))
    }

    async fn open_mdns(&self) -> Result<Arc<dyn Registry>> {
        Mdns::probe(&self.options).await?;
        self.new_mdns()
    }

    fn new_mdns(&self) -> Result<Arc<dyn Registry>> {
        let mdns = Mdns::new(self.options.clone())?;
        mdns.witness(self.witnesses.as_witness());
        Ok(Arc::new(mdns))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn current(&self) -> Option<Arc<dyn Registry>> {
        self.stage.borrow().as_ref().map(|stage| stage.registry.clone())
    }

    fn previous(&self) -> Option<Arc<dyn Registry>> {
        self.state().previous.clone()
    }

    /// Moves everything to `registry`, and lets go of the old one when others had time to move too.
    async fn move_to(&self, registry: Arc<dyn Registry>) {
        let Some(old) = self.current() else { return };
        let moves = self.stage.borrow().as_ref().map_or(0, |stage| stage.moves) + 1;
        self.state().previous = Some(old.clone());
        let changes = Arc::new([]);
        let stage = Stage { moves, registry: registry.clone(), changes, over: false };
        self.stage.send_replace(Some(stage.clone()));
        self.register_all(&registry).await;
        sleep(self.pace.overlap).await;
        let changes = self.compare(&registry).await;
        self.state().previous = None;
        let records: Vec<Record> = self.state().records.values().cloned().collect();
        for record in records {
            let _ = timeout(PATIENCE, old.deregister(&record.service)).await;
        }
        self.stage.send_replace(Some(Stage { changes: changes.into(), over: true, ..stage }));
    }

    /// Registers all that is registered.
    async fn register_all(&self, registry: &Arc<dyn Registry>) {
        let records: Vec<Record> = self.state().records.values().cloned().collect();
        for record in records {
            self.register_again(registry, record).await;
        }
    }

    /// Registers anew what has another address now, where the registry does not follow by itself.
    async fn follow(&self) {
        let current = self.current();
        let Some(registry) = current.filter(|registry| !registry.tells_each_interface()) else {
            return;
        };
        let moved = |record: &&Record| {
            let told = told_to(&*registry, &record.service);
            told.nodes.iter().any(|node| node.address != record.told)
        };
        let records: Vec<Record> = self.state().records.values().filter(moved).cloned().collect();
        for record in records {
            self.register_again(&registry, record).await;
        }
    }

    async fn register_again(&self, registry: &Arc<dyn Registry>, record: Record) {
        let Record { service, ttl, .. } = record;
        match register_in(&**registry, &service, ttl).await {
            Ok(told) if !self.remember(&service, &told) => {
                // It was deregistered meanwhile.
                let _ = timeout(PATIENCE, registry.deregister(&service)).await;
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(
                service = service.name,
                %error,
                "cannot register; the next heartbeat tries again"
            ),
        }
    }

    /// Notes the address that was told of what is registered. False when it is registered no more.
    fn remember(&self, service: &Service, told: &Service) -> bool {
        let mut state = self.state();
        let mut known = true;
        for (key, node) in keys(service).into_iter().zip(&told.nodes) {
            match state.records.get_mut(&key) {
                Some(record) => node.address.clone_into(&mut record.told),
                None => known = false,
            }
        }
        known
    }

    /// What is different in `registry` from what callers were told.
    async fn compare(&self, registry: &Arc<dyn Registry>) -> Vec<Arc<Change>> {
        let names = self.state().told.names();
        let mut changes = Vec::new();
        for name in names {
            let found = match timeout(PATIENCE, registry.get(&name)).await {
                Ok(Ok(found)) => found,
                Ok(Err(error)) if error.code() == Code::NotFound => Vec::new(),
                // Not to know is no reason to forget.
                _ => continue,
            };
            changes.extend(self.state().told.replace(&name, &found).into_iter().map(Arc::new));
        }
        changes
    }
}

/// Looks, follows and moves, for as long as the registry is used.
async fn supervise(shared: Arc<Shared>) {
    let pace = shared.pace;
    let (mut against, mut stay) = (0, pace.stay.0);
    let mut moved: Option<Instant> = None;
    loop {
        sleep(pace.look).await;
        shared.follow().await;
        let Some(current) = shared.current() else { return };
        let on_mdns = current.name() == "mdns";
        let works = Mdns::probe_within(&shared.options, LOOK_PATIENCE).await;
        against = if works.is_ok() == on_mdns { 0 } else { against + 1 };
        let quiet = moved.map(|at| at.elapsed());
        if quiet.is_some_and(|quiet| quiet > pace.stay.1) {
            stay = pace.stay.0;
        }
        let enough = if on_mdns { pace.to_local } else { pace.to_mdns };
        if against < enough || quiet.is_some_and(|quiet| quiet < stay) {
            continue;
        }
        let next: Result<Arc<dyn Registry>> = match works {
            Ok(()) => shared.new_mdns(),
            Err(_) => Local::new().map(|local| Arc::new(local) as _),
        };
        let next = match next {
            Ok(next) => next,
            Err(error) => {
                tracing::warn!(%error, "the registry stays as it is: the other does not open");
                continue;
            }
        };
        match &works {
            Ok(()) => tracing::info!("multicast works now: services are found by mDNS"),
            Err(reason) => tracing::warn!(
                reason = reason.detail(),
                "mDNS does not work any more: services are found on this machine only"
            ),
        }
        if moved.is_some() {
            stay = (stay * 2).min(pace.stay.1);
        }
        shared.move_to(next).await;
        (against, moved) = (0, Some(Instant::now()));
    }
}

/// Registers, within [`PATIENCE`]; gives what was told.
async fn register_in(
    registry: &dyn Registry,
    service: &Service,
    ttl: Option<Duration>,
) -> Result<Service> {
    let told = told_to(registry, service);
    match timeout(PATIENCE, registry.register(&told, ttl)).await {
        Ok(registered) => registered.map(|()| told),
        Err(_) => Err(Error::unavailable(format!(
            "registry {} did not answer within {PATIENCE:?}",
            registry.name()
        ))),
    }
}

/// The record as `registry` should hold it: one address where it cannot tell each interface its own.
fn told_to(registry: &dyn Registry, service: &Service) -> Service {
    let mut told = service.clone();
    if !registry.tells_each_interface() {
        for node in &mut told.nodes {
            if let Ok(address) = node.address.parse::<SocketAddr>()
                && address.ip().is_unspecified()
            {
                let ip = default_address(address.is_ipv6());
                node.address = SocketAddr::new(ip, address.port()).to_string();
            }
        }
    }
    told
}

fn keys(service: &Service) -> Vec<Key> {
    let key = |node: &Node| (service.name.clone(), service.version.clone(), node.id.clone());
    service.nodes.iter().map(key).collect()
}

#[async_trait]
impl Registry for Auto {
    async fn register(&self, service: &Service, ttl: Option<Duration>) -> Result<()> {
        let registry = self.chosen().await?;
        let told = register_in(&*registry, service, ttl).await?;
        for ((key, node), told) in keys(service).into_iter().zip(&service.nodes).zip(&told.nodes) {
            let service = Service { nodes: vec![node.clone()], ..service.clone() };
            let record = Record { service, ttl, told: told.address.clone() };
            self.shared.state().records.insert(key, record);
        }
        // A move that began meanwhile did not know of it.
        let others = self.shared.current().into_iter().chain(self.shared.previous());
        for other in others.filter(|other| !Arc::ptr_eq(other, &registry)) {
            if let Err(error) = register_in(&*other, service, ttl).await {
                tracing::debug!(service = service.name, %error, "not registered in both");
            }
        }
        Ok(())
    }

    async fn deregister(&self, service: &Service) -> Result<()> {
        let registry = self.chosen().await?;
        for key in keys(service) {
            self.shared.state().records.remove(&key);
        }
        if let Some(previous) = self.shared.previous() {
            let _ = timeout(PATIENCE, previous.deregister(service)).await;
        }
        registry.deregister(service).await
    }

    async fn get(&self, name: &str) -> Result<Vec<Service>> {
        let mut found = self.chosen().await?.get(name).await;
        if found.as_ref().is_err_and(|error| error.code() == Code::NotFound)
            && let Some(previous) = self.shared.previous()
        {
            found = previous.get(name).await;
        }
        if let Ok(found) = &found {
            self.shared.state().told.note(found);
        }
        found
    }

    async fn list(&self) -> Result<Vec<Service>> {
        let mut found = self.chosen().await?.list().await?;
        if let Some(previous) = self.shared.previous() {
            found.extend(previous.list().await.unwrap_or_default());
            found.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
            found.dedup_by(|a, b| (&a.name, &a.version) == (&b.name, &b.version));
        }
        Ok(found)
    }

    async fn watch(&self, service: Option<&str>) -> Result<Watcher> {
        self.chosen().await?;
        let mut stages = self.shared.stage.subscribe();
        let Some(stage) = stages.borrow_and_update().clone() else {
            return Err(Error::internal("no registry was chosen"));
        };
        let inner = stage.registry.watch(service).await?;
        let (sender, watcher) = Watcher::channel(service);
        let service = service.map(str::to_owned);
        let relay = relay(self.shared.clone(), service, inner, sender, (stage.moves, stages));
        Ok(watcher.with_guard(AbortOnDropHandle::new(tokio::spawn(relay))))
    }

    fn name(&self) -> &'static str {
        self.shared.current().map_or("auto", |registry| registry.name())
    }

    async fn ready(&self) -> Result<()> {
        self.chosen().await?.ready().await
    }

    fn tells_each_interface(&self) -> bool {
        true
    }

    fn witness(&self, witness: Weak<dyn Witness>) {
        self.shared.witnesses.add(witness);
    }

    fn suspect(&self, service: &str, node: &Node) {
        if let Some(registry) = self.shared.current() {
            registry.suspect(service, node);
        }
    }
}

#[cfg(test)]
mod tests;
