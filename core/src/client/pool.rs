//! Connections, shared by all calls to one address.
//!
//! One HTTP/2 connection carries many calls, but every frame on it passes one lock and one socket.
//! Another is opened when all open ones are busy, as [`Sharing`] says.
//!
//! A registry may name more nodes than there are, and a stranger may have put them there. So few are dialed at once, and
//! all connections of a client together are bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use papaya::HashMap;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::error::{Error, Reach, Result};
use crate::selector::Node;
use crate::transport::{Connection, Dial};

/// Connections that a client makes at once, and of these to the nodes of one service.
const DIALS: usize = 64;
pub(super) const DIALS_OF_SERVICE: usize = 16;
/// Addresses kept; past that, the ones unused for longest go.
const MAX_ADDRESSES: usize = 10_000;
/// Addresses kept without a look at whether they are still used.
const FEW_ADDRESSES: usize = 64;
/// An address unused for this long may go.
const UNUSED: Duration = Duration::from_secs(300);

/// How the calls to one address share connections.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sharing {
    /// Calls on each connection from which on another one pays.
    pub(super) calls: usize,
    /// Connections at most; from there on they share what comes.
    pub(super) connections: usize,
}

impl Default for Sharing {
    fn default() -> Self {
        Self { calls: 100, connections: 4 }
    }
}

/// Connections to every address a client has called.
#[derive(Debug)]
pub(super) struct Pool {
    dial: Dial,
    start: Instant,
    addresses: HashMap<Box<str>, Arc<Connections>, RandomState>,
    /// Addresses that were left when unused ones were last looked for.
    swept: AtomicUsize,
    dials: Semaphore,
    /// One place for each connection that may be open.
    places: Arc<Semaphore>,
    max_connections: usize,
    sharing: Sharing,
}

/// Connections to one address.
#[derive(Debug)]
struct Connections {
    open: ArcSwap<Vec<Arc<Connection>>>,
    /// Held while connecting, so that many calls wait for one connection, and fail together when it fails.
    connecting: Mutex<Option<Error>>,
    /// Connections that could not be made.
    failures: AtomicU64,
    /// Seconds from the pool's start to the last use.
    used: AtomicU64,
}

/// A connection with one more call on it, until dropped.
#[derive(Debug)]
pub(super) struct Lease(Arc<Connection>);

impl Lease {
    fn new(connection: &Arc<Connection>) -> Self {
        connection.begin();
        Self(connection.clone())
    }
}

impl std::ops::Deref for Lease {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Pool {
    pub(super) fn new(dial: Dial, max_connections: usize, sharing: Sharing) -> Self {
        let max_connections = max_connections.min(Semaphore::MAX_PERMITS);
        Self {
            dial,
            start: Instant::now(),
            addresses: HashMap::default(),
            swept: AtomicUsize::new(0),
            dials: Semaphore::new(DIALS),
            places: Arc::new(Semaphore::new(max_connections)),
            max_connections,
            sharing,
        }
    }

    /// A connection to `address`, if one is open that has room for a call.
    pub(super) fn ready(&self, address: &str) -> Option<Lease> {
        let addresses = self.addresses.pin();
        let connections = addresses.get(address)?;
        connections.used.store(self.now(), Relaxed);
        connections.ready(self.sharing)
    }

    /// True while one more connection may be made without waiting for others, `dials` being the places of its service.
    pub(super) fn has_room(&self, dials: &Semaphore) -> bool {
        dials.available_permits() > 0
            && self.dials.available_permits() > 0
            && self.places.available_permits() > 0
    }

    /// A connection to the node, opened if need be; waits for one of the places in `dials`.
    ///
    /// # Errors
    /// What [`Dial::connect`] says, and `UNAVAILABLE` when as many connections are open as may be, with calls on all of them.
    pub(super) async fn dial(&self, node: &Node, dials: &Semaphore) -> Result<Lease> {
        let connections = self.connections(node.target());
        let failures = connections.failures.load(Relaxed);
        let mut connecting = connections.connecting.lock().await;
        // The task that held the lock before may have opened the connection this call needs, or found that there is none.
        if let Some(lease) = connections.ready(self.sharing) {
            return Ok(lease);
        }
        if let Some(error) = connecting.as_ref()
            && connections.failures.load(Relaxed) != failures
        {
            return Err(error.clone());
        }
        // Neither is ever closed.
        let _dialing = (dials.acquire().await, self.dials.acquire().await);
        let dialed = match self.place().await {
            Ok(place) => self.dial.connect(node.target(), node.left(), place).await,
            Err(error) => Err(error),
        };
        match dialed {
            Ok(connection) => {
                let connection = Arc::new(connection);
                connections.open.rcu(|open| {
                    let mut open: Vec<_> =
                        open.iter().filter(|connection| connection.is_open()).cloned().collect();
                    open.push(connection.clone());
                    open
                });
                *connecting = None;
                Ok(Lease::new(&connection))
            }
            Err(error) => match connections.best() {
                // A second connection is a wish; the call does not depend on it.
                Some(connection) => Ok(Lease::new(&connection)),
                None => {
                    connections.failures.fetch_add(1, Relaxed);
                    *connecting = Some(error.clone());
                    Err(error)
                }
            },
        }
    }

    /// A place for one more connection: a free one, or that of a connection without calls.
    async fn place(&self) -> Result<OwnedSemaphorePermit> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Ok(place);
        }
        let full = || {
            Error::unavailable(format!(
                "{} connections are open, which is the most this client may have: raise `max_connections`",
                self.max_connections
            ))
            .with_id("go.micro.client")
            .with_reach(Reach::Never)
        };
        if !self.close_idlest() {
            return Err(full());
        }
        match timeout(self.dial.timeout, self.places.clone().acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(full()),
        }
    }

    /// Ends the connection that was not used for longest. False when all are in use.
    fn close_idlest(&self) -> bool {
        let addresses = self.addresses.pin();
        let idle = |connections: &Arc<Connections>| {
            let open = connections.open.load();
            open.iter().find(|open| open.is_open() && open.in_flight() == 0).cloned()
        };
        let idlest = addresses
            .values()
            .filter_map(|connections| Some((connections.used.load(Relaxed), idle(connections)?)))
            .min_by_key(|(used, _)| *used);
        idlest.is_some_and(|(_, connection)| {
            connection.give_way();
            true
        })
    }

    /// True while a connection to `address` is open, whatever is spoken on it.
    pub(super) fn is_connected(&self, address: &str) -> bool {
        let addresses = self.addresses.pin();
        let is_open = |connections: &Arc<Connections>| connections.best().is_some();
        if addresses.get(address).is_some_and(is_open) {
            return true;
        }
        // Asked rarely, when a node falls silent.
        let secure = format!("https://{}", address.replace(',', ",https://"));
        let is_its = |target: &str| target.split('#').next() == Some(&*secure);
        addresses.iter().any(|(target, connections)| is_its(target) && is_open(connections))
    }

    fn connections(&self, address: &str) -> Arc<Connections> {
        let now = self.now();
        let addresses = self.addresses.pin();
        if let Some(connections) = addresses.get(address) {
            connections.used.store(now, Relaxed);
            return connections.clone();
        }
        if addresses.len() >= MAX_ADDRESSES.min(2 * self.swept.load(Relaxed) + FEW_ADDRESSES) {
            addresses.retain(|_, connections| {
                connections.best().is_some()
                    || now.saturating_sub(connections.used.load(Relaxed)) < UNUSED.as_secs()
            });
            self.swept.store(addresses.len(), Relaxed);
        }
        let fresh = || {
            Arc::new(Connections {
                open: ArcSwap::default(),
                connecting: Mutex::default(),
                failures: AtomicU64::new(0),
                used: AtomicU64::new(now),
            })
        };
        if addresses.len() >= MAX_ADDRESSES {
            return fresh();
        }
        addresses.get_or_insert_with(address.into(), fresh).clone()
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_secs()
    }
}

impl Connections {
    /// The open connection with the fewest calls on it, unless it has so many that another one pays.
    fn ready(&self, sharing: Sharing) -> Option<Lease> {
        let best = self.best()?;
        let enough =
            best.in_flight() < sharing.calls || self.open.load().len() >= sharing.connections;
        enough.then(|| Lease::new(&best))
    }

    /// The open connection with the fewest calls on it.
    fn best(&self) -> Option<Arc<Connection>> {
        let open = self.open.load();
        match open.as_slice() {
            [only] => only.is_open().then(|| only.clone()),
            several => several
                .iter()
                .filter(|connection| connection.is_open())
                .min_by_key(|connection| connection.in_flight())
                .cloned(),
        }
    }
}
