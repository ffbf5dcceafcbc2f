//! What an [`Auto`](super::Auto) registry and its tasks share: the registry of the moment, what is
//! registered, and how both move to another registry.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::told::{Key, Told};
use crate::error::{Code, Error, Result};
use crate::interface::default_address;
use crate::registry::{Change, Local, Mdns, Node, Registry, Service, Witnesses, mdns};

/// Longest that a registry may take for one request of a move.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How fast it looks and moves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Time between two looks at whether multicast works.
    pub(super) look: Duration,
    /// Looks in a row that have to say the same before a move to mDNS, and before one away from it,
    /// which costs the view of every other machine.
    pub(super) to_mdns: u32,
    pub(super) to_local: u32,
    /// How long both registries are used after a move.
    pub(super) overlap: Duration,
    /// Shortest time between two moves; doubled by each, up to the longest, and back to it when
    /// nothing moved for that long.
    pub(super) stay: (Duration, Duration),
}

pub(super) const PACE: Pace = Pace {
    look: Duration::from_secs(3),
    to_mdns: 2,
    to_local: 4,
    overlap: Duration::from_secs(15),
    stay: (Duration::from_secs(20), Duration::from_secs(600)),
};

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: mdns::Options,
    pub(super) pace: Pace,
    pub(super) state: Mutex<State>,
    /// Those given to this registry; whatever it uses is given the same.
    pub(super) witnesses: Witnesses,
    /// Told to watches.
    pub(super) stage: watch::Sender<Option<Stage>>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// Left a moment ago, and used until others have left it too.
    pub(super) previous: Option<Arc<dyn Registry>>,
    /// What is registered, by service, version and node.
    pub(super) records: BTreeMap<Key, Record>,
    /// What callers were told of.
    pub(super) told: Told,
}

#[derive(Debug, Clone)]
pub(super) struct Record {
    /// With its one node.
    pub(super) service: Service,
    pub(super) ttl: Option<Duration>,
    /// Address it was registered with.
    pub(super) told: String,
}

/// Where things stand.
#[derive(Debug, Clone)]
pub(super) struct Stage {
    /// How often it has moved.
    pub(super) moves: u64,
    pub(super) registry: Arc<dyn Registry>,
    /// What the last move changed, once it is over.
    pub(super) changes: Arc<[Arc<Change>]>,
    pub(super) over: bool,
}

impl Shared {
    pub(super) async fn choose(&self) -> Result<Arc<dyn Registry>> {
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

    pub(super) async fn open_mdns(&self) -> Result<Arc<dyn Registry>> {
        Mdns::probe(&self.options).await?;
        self.new_mdns()
    }

    pub(super) fn new_mdns(&self) -> Result<Arc<dyn Registry>> {
        let mdns = Mdns::new(self.options.clone())?;
        mdns.witness(self.witnesses.as_witness());
        Ok(Arc::new(mdns))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn current(&self) -> Option<Arc<dyn Registry>> {
        self.stage.borrow().as_ref().map(|stage| stage.registry.clone())
    }

    pub(super) fn previous(&self) -> Option<Arc<dyn Registry>> {
        self.state().previous.clone()
    }

    /// Moves everything to `registry`, and lets go of the old one when others had time to move too.
    pub(super) async fn move_to(&self, registry: Arc<dyn Registry>) {
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
    pub(super) async fn register_all(&self, registry: &Arc<dyn Registry>) {
        let records: Vec<Record> = self.state().records.values().cloned().collect();
        for record in records {
            self.register_again(registry, record).await;
        }
    }

    /// Registers anew what has another address now, where the registry does not follow by itself.
    pub(super) async fn follow(&self) {
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

    pub(super) async fn register_again(&self, registry: &Arc<dyn Registry>, record: Record) {
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
    pub(super) fn remember(&self, service: &Service, told: &Service) -> bool {
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
    pub(super) async fn compare(&self, registry: &Arc<dyn Registry>) -> Vec<Arc<Change>> {
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

/// Registers, within [`PATIENCE`]; gives what was told.
pub(super) async fn register_in(
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
pub(super) fn told_to(registry: &dyn Registry, service: &Service) -> Service {
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

pub(super) fn keys(service: &Service) -> Vec<Key> {
    let key = |node: &Node| (service.name.clone(), service.version.clone(), node.id.clone());
    service.nodes.iter().map(key).collect()
}
