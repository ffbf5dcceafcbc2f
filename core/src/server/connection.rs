//! The connections of a server: what each of them has of it, and which one goes when all places are taken.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::unsent::{self, Unsent};
use crate::transport::{Reservoir, Share};

/// How long a connection that was asked to leave may take, before another one is asked.
const LEAVING: Duration = Duration::from_millis(500);
/// One in so many connections goes at a time: a crowd that comes at once does not wait for each other.
const CROWD: usize = 128;
/// How often a full server says so.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// A connection, as its calls see it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) address: SocketAddr,
    /// What its messages hold.
    pub(super) share: Arc<Share>,
    pub(super) unsent: Unsent,
    /// Calls that run.
    pub(super) running: AtomicUsize,
    /// Requests that are not all there yet.
    pub(super) unfinished: AtomicUsize,
    /// When its last call came, in milliseconds of the server's life.
    last: AtomicU64,
    born: Instant,
    leave: CancellationToken,
}

impl Connection {
    /// A call came.
    pub(super) fn called(&self, at: Instant) {
        self.last.store(milliseconds(at.saturating_duration_since(self.born)), Relaxed);
    }

    /// Waits until it is asked to make room for another one.
    pub(super) async fn asked_to_leave(&self) {
        self.leave.cancelled().await;
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leave.is_cancelled()
    }

    /// True while a call runs, or its request is waited for.
    pub(super) fn has_calls(&self) -> bool {
        self.running.load(Relaxed) + self.unfinished.load(Relaxed) > 0
    }

    fn is_idle(&self) -> bool {
        !self.has_calls() && !self.is_leaving()
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Bytes that the connections of a server may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes {
    pub(super) max_buffered: usize,
    pub(super) per_connection: usize,
    pub(super) max_message: usize,
    pub(super) max_unsent: usize,
}

/// All connections of a server.
#[derive(Debug)]
pub(super) struct Connections {
    open: Mutex<HashMap<u64, Arc<Connection>>>,
    count: Arc<AtomicUsize>,
    next: AtomicU64,
    places: Arc<Semaphore>,
    most: usize,
    bytes: Bytes,
    buffered: Arc<Reservoir>,
    unsent: Arc<Reservoir>,
    born: Instant,
    said: Mutex<Option<Instant>>,
}

/// A connection that is open, until dropped.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) connection: Arc<Connection>,
    connections: Arc<Connections>,
    number: u64,
    _place: OwnedSemaphorePermit,
}

impl Connections {
    /// No connections yet, and at most `most`; `count` tells how many are open.
    pub(super) fn new(most: usize, bytes: Bytes, count: Arc<AtomicUsize>) -> Arc<Self> {
        Arc::new(Self {
            open: Mutex::default(),
            count,
            next: AtomicU64::new(0),
            places: Arc::new(Semaphore::new(most)),
            most,
            bytes,
            buffered: Reservoir::new(bytes.max_buffered, bytes.max_message),
            unsent: unsent::everybody(bytes.max_unsent),
            born: Instant::now(),
            said: Mutex::default(),
        })
    }

    /// A place for one more connection. Where there is none, those that have been idle for longest are asked to leave.
    pub(super) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Some(place);
        }
        loop {
            self.ask_idlest("as many connections as may be are open");
            tokio::select! {
                // Never closed.
                place = self.places.clone().acquire_owned() => return place.ok(),
                () = sleep(LEAVING) => {}
            }
        }
    }

    /// A new connection of `address` in its place.
    pub(super) fn open(
        self: &Arc<Self>,
        address: SocketAddr,
        place: OwnedSemaphorePermit,
    ) -> Opened {
        let Bytes { per_connection, max_message, max_unsent, .. } = self.bytes;
        let connection = Arc::new(Connection {
            address,
            share: Share::new(&self.buffered, per_connection, max_message),
            unsent: Unsent::new(&self.unsent, max_unsent),
            running: AtomicUsize::new(0),
            unfinished: AtomicUsize::new(0),
            last: AtomicU64::new(0),
            born: self.born,
            leave: CancellationToken::new(),
        });
        connection.called(Instant::now());
        let number = self.next.fetch_add(1, Relaxed);
        self.count.fetch_add(1, Relaxed);
        self.lock().insert(number, connection.clone());
        Opened { connection, connections: self.clone(), number, _place: place }
    }

    /// Asks the connections that have been idle for longest to leave. `why` is for the log.
    pub(super) fn ask_idlest(&self, why: &str) {
        let mut idle: Vec<_> = self
            .lock()
            .values()
            .filter(|connection| connection.is_idle())
            .map(|connection| (connection.last.load(Relaxed), connection.clone()))
            .collect();
        if self.says() {
            tracing::warn!(
                open = self.count.load(Relaxed),
                idle = idle.len(),
                max_connections = self.most,
                "{why}: those that have been idle for longest are closed; raise max_connections or the limit of open files, or look who connects"
            );
        }
        let some = (self.most / CROWD).clamp(1, idle.len().max(1));
        if idle.len() > some {
            idle.select_nth_unstable_by_key(some - 1, |(last, _)| *last);
        }
        for (_, connection) in idle.into_iter().take(some) {
            connection.leave.cancel();
        }
    }

    /// True once in a while.
    pub(super) fn says(&self) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let says = said.is_none_or(|at| at.elapsed() >= SAY_AGAIN);
        if says {
            *said = Some(Instant::now());
        }
        says
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.connections.lock().remove(&self.number);
        self.connections.count.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(most: usize) -> Arc<Connections> {
        let bytes = Bytes { max_buffered: 0, per_connection: 0, max_message: 0, max_unsent: 0 };
        Connections::new(most, bytes, Arc::default())
    }

    async fn open(connections: &Arc<Connections>) -> Opened {
        let place = connections.place().await.expect("a place");
        connections.open(([127, 0, 0, 1], 1).into(), place)
    }

    #[tokio::test(start_paused = true)]
    async fn the_connection_that_was_idle_for_longest_makes_room() {
        let connections = connections(3);
        let [busy, idle, fresh] =
            [open(&connections).await, open(&connections).await, open(&connections).await];
        busy.connection.running.store(1, Relaxed);
        tokio::time::advance(Duration::from_secs(9)).await;
        fresh.connection.called(Instant::now());
        let newcomer = tokio::spawn({
            let connections = connections.clone();
            async move { open(&connections).await }
        });
        idle.connection.asked_to_leave().await;
        assert!(!fresh.connection.leave.is_cancelled() && !busy.connection.leave.is_cancelled());
        drop(idle);
        newcomer.await.expect("a place");
        assert!(!fresh.connection.leave.is_cancelled());
    }
}
