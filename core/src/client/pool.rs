//! Connections, shared by all calls to one address.
//!
//! One HTTP/2 connection carries many calls, but every frame on it passes one lock and one socket.
//! Another is opened when all open ones are busy with [`BUSY`] calls, up to [`MAX_CONNECTIONS`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use papaya::HashMap;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::error::Result;
use crate::transport::{Connection, Dial};

/// Calls on one connection from which on another one pays.
const BUSY: usize = 100;
const MAX_CONNECTIONS: usize = 4;
/// Addresses kept; past that, the ones unused for longest go.
const MAX_ADDRESSES: usize = 10_000;
/// An address unused for this long may go.
const IDLE: Duration = Duration::from_secs(300);

/// Connections to every address a client has called.
#[derive(Debug)]
pub(super) struct Pool {
    dial: Dial,
    start: Instant,
    addresses: HashMap<Box<str>, Arc<Connections>, RandomState>,
}

/// Connections to one address.
#[derive(Debug)]
struct Connections {
    open: ArcSwap<Vec<Arc<Connection>>>,
    /// Held while connecting, so that many calls wait for one connection.
    connecting: Mutex<()>,
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
    pub(super) fn new(dial: Dial) -> Self {
        Self { dial, start: Instant::now(), addresses: HashMap::default() }
    }

    /// A connection to `address`, opened if need be.
    ///
    /// # Errors
    /// What [`Dial::connect`] says.
    pub(super) async fn lease(&self, address: &str) -> Result<Lease> {
        let connections = self.connections(address);
        let best = connections.best();
        match best {
            Some(connection) if connection.in_flight() < BUSY => {
                return Ok(Lease::new(&connection));
            }
            Some(connection) if connections.open.load().len() >= MAX_CONNECTIONS => {
                return Ok(Lease::new(&connection));
            }
            _ => {}
        }
        let _connecting = connections.connecting.lock().await;
        // Whoever held the lock before may have opened the connection this call needs.
        let best = connections.best();
        if let Some(connection) = &best
            && (connection.in_flight() < BUSY || connections.open.load().len() >= MAX_CONNECTIONS)
        {
            return Ok(Lease::new(connection));
        }
        // Apart from the call, whose state it would make several times as large; it is rare.
        match Box::pin(self.dial.connect(address)).await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                connections.open.rcu(|open| {
                    let mut open: Vec<_> =
                        open.iter().filter(|connection| connection.is_open()).cloned().collect();
                    open.push(connection.clone());
                    open
                });
                Ok(Lease::new(&connection))
            }
            // A second connection is a wish; the call does not depend on it.
            Err(error) => best.map(|connection| Lease::new(&connection)).ok_or(error),
        }
    }

    /// True while a connection to `address` is open.
    pub(super) fn is_connected(&self, address: &str) -> bool {
        self.addresses.pin().get(address).is_some_and(|connections| connections.best().is_some())
    }

    fn connections(&self, address: &str) -> Arc<Connections> {
        let now = self.start.elapsed().as_secs();
        let addresses = self.addresses.pin();
        if let Some(connections) = addresses.get(address) {
            connections.used.store(now, Relaxed);
            return connections.clone();
        }
        if addresses.len() >= MAX_ADDRESSES {
            addresses.retain(|_, connections| {
                now.saturating_sub(connections.used.load(Relaxed)) < IDLE.as_secs()
            });
        }
        let fresh = || {
            Arc::new(Connections {
                open: ArcSwap::default(),
                connecting: Mutex::default(),
                used: AtomicU64::new(now),
            })
        };
        if addresses.len() >= MAX_ADDRESSES {
            return fresh();
        }
        addresses.get_or_insert_with(address.into(), fresh).clone()
    }
}

impl Connections {
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
