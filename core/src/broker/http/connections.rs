//! Connections to subscribers that are kept for their next message.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use crate::error::{Error, Result};
use crate::fork;
use crate::transport::network::Io;

/// How long one waits for a message before it is closed: less than subscribers wait for one.
const IDLE: Duration = Duration::from_secs(10);
/// Connections that wait, to one address and to all.
const OF_ADDRESS: usize = 8;
const ALL: usize = 256;

/// A connection, which carries one message at a time.
pub(super) struct Connection {
    pub(super) sender: SendRequest<Full<Bytes>>,
    /// It carried one before, so that its other end may just have closed it.
    pub(super) is_used: bool,
    /// Since when it waits; none while it carries a message.
    waits: watch::Sender<Option<Instant>>,
    _running: AbortOnDropHandle<()>,
}

impl Connection {
    /// A new one.
    pub(super) async fn open(address: &str) -> Result<Self> {
        let unreachable = |error: &dyn std::fmt::Display| Error::unavailable(error.to_string());
        let stream = TcpStream::connect(address).await.map_err(|error| unreachable(&error))?;
        let _ = stream.set_nodelay(true);
        let io = TokioIo::new(Io::from(stream));
        let (sender, connection) =
            http1::handshake(io).await.map_err(|error| unreachable(&error))?;
        let (waits, waiting) = watch::channel(None);
        let running = tokio::spawn(async move {
            tokio::select! {
                ended = connection => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a connection to a subscriber ended");
                    }
                }
                () = idle(waiting) => {}
            }
        });
        let _running = AbortOnDropHandle::new(running);
        Ok(Self { sender, is_used: false, waits, _running })
    }
}

/// Returns once a connection has waited for so long that it is to be closed.
async fn idle(mut waits: watch::Receiver<Option<Instant>>) {
    loop {
        let since = *waits.borrow_and_update();
        let expiry = async {
            match since {
                Some(since) => sleep_until(since + IDLE).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = expiry => return,
            changed = waits.changed() => if changed.is_err() { return },
        }
    }
}

/// Connections that wait for a message, by address.
#[derive(Default)]
pub(super) struct Connections {
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    /// The process that they are of.
    generation: u32,
    by_address: HashMap<String, Vec<Connection>>,
}

impl Idle {
    /// In a child of a fork, those of its parent are forgotten: nothing runs there that could use or end them.
    fn here(&mut self) -> &mut HashMap<String, Vec<Connection>> {
        let generation = fork::generation();
        if self.generation != generation {
            self.generation = generation;
            std::mem::forget(std::mem::take(&mut self.by_address));
        }
        &mut self.by_address
    }
}

impl Connections {
    /// One that waits, if there is one that can still be used.
    pub(super) fn take(&self, address: &str) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = idle.here().get_mut(address)?;
        waiting.retain(|connection| !connection.sender.is_closed());
        let connection = waiting.pop()?;
        connection.waits.send_replace(None);
        Some(connection)
    }

    /// Keeps one that has carried a message, where there is room.
    pub(super) fn keep(&self, address: &str, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = idle.here();
        if waiting.values().map(Vec::len).sum::<usize>() >= ALL {
            waiting.retain(|_, waiting| {
                waiting.retain(|connection| !connection.sender.is_closed());
                !waiting.is_empty()
            });
        }
        let has_room = waiting.len() < ALL;
        let connection = Connection { is_used: true, ..connection };
        connection.waits.send_replace(Some(Instant::now()));
        match waiting.get_mut(address) {
            Some(waiting) if waiting.len() < OF_ADDRESS => waiting.push(connection),
            None if has_room => drop(waiting.insert(address.to_owned(), vec![connection])),
            _ => {}
        }
    }
}
